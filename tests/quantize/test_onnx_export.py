"""The QDQ file computes the reference's integers in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.small_networks import NETWORKS
from dna.errors import UserError
from dna.network.blueprint import Blueprint
from dna.network.importer.load import load_network
from dna.network.layer import Layer
from dna.network.network import LayerWeights, Network, Weights
from dna.network.random import RandomLimits, random_input, random_network
from dna.network.zoo.builder import Builder, Request
from dna.quantize.float_network import FloatNetwork
from dna.quantize.imported import given_integers
from dna.quantize.onnx_export import export_onnx, to_onnx
from dna.quantize.ptq import quantise
from dna.quantize.random import random_weights
from dna.quantize.reference import run, run_batch

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")


def run_onnx(model: bytes, x_NHWC: NDArray[np.generic]) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    signed = session.get_inputs()[0].type == "tensor(int8)"
    x_NCHW = np.ascontiguousarray(x_NHWC.transpose(0, 3, 1, 2)).astype(np.int8 if signed else np.uint8)
    result: NDArray[np.float32] = session.run(None, {"input": x_NCHW})[0]
    return result


def integers(
    weight: list[int] | None, shape: tuple[int, ...], bias: list[int], m: list[int], s: list[int], mr: int = 0
) -> LayerWeights:
    values = None if weight is None else np.array(weight, np.int8).reshape(shape)
    return LayerWeights(values, np.array(bias, np.int32), np.array(m, np.int32), np.array(s, np.int32), mr)


def test_by_hand() -> None:
    """Weights 2 and -3 with bias 5, factors 1/2 and 1/4: halves go up in the contract, to even in ONNX."""
    layer = Layer("a", "conv", "input", 1, 1, 4, 2, in_signed=False)
    weights: Weights = {"a": integers([2, -3], (2, 1, 1, 1), [5, 5], [1 << 16, 1 << 16], [17, 18])}
    x = np.array([0, 1, 2, 10], np.uint8).reshape(1, 1, 4, 1)
    # (2x + 5) / 2: 2.5, 3.5, 4.5, 12.5; (-3x + 5) / 4: 1.25, 0.5, -0.25, -6.25
    ours = run(Network("n", (layer,)), weights, x[0])["a"][0]
    assert ours[:, 0].tolist() == [3, 4, 5, 13] and ours[:, 1].tolist() == [1, 1, 0, -6]
    theirs = run_onnx(to_onnx(Network("n", (layer,)), weights).SerializeToString(), x).reshape(2, 4)
    assert theirs[0].tolist() == [2, 4, 4, 12] and theirs[1].tolist() == [1, 0, 0, -6]


def test_pad_value_clip_and_residual_by_hand() -> None:
    """A padded row of 10s, a residual of a quarter, and a clip at 20."""
    layers = (
        Layer("a", "conv", "input", 1, 1, 2, 1, kernel=(1, 2), padding=(0, 1, 0, 0), pad_value=10, in_signed=False,
              out_signed=False, lo=0, hi=20, residual="input", residual_signed=False),
    )  # fmt: skip
    network = Network("n", layers)
    weights: Weights = {"a": integers([1, 2], (1, 1, 1, 2), [0], [1 << 15], [16], 1 << 14)}
    x = np.array([4, 100], np.uint8).reshape(1, 1, 2, 1)
    # (10 + 2 * 4) / 2 + 4 / 4 = 10; (4 + 200) / 2 + 25 is clipped
    assert run(network, weights, x[0])["a"].ravel().tolist() == [10, 20]
    assert run_onnx(to_onnx(network, weights).SerializeToString(), x).tolist() == [[10, 20]]
    scaled = to_onnx(network, weights, {"input": 0.5, "a": 0.25})
    assert run_onnx(scaled.SerializeToString(), x).tolist() == [[2.5, 5]]


def every_operator() -> Network:
    net = Builder("all", Request((12, 10, 3), classes=7))
    x = net.conv("stem", "input", 8, 3, stride=2)
    y = net.maxpool("pool", x, 3, 2, padding=1)
    a = net.conv("left", y, 8, 1, activation="relu6")
    b = net.depthwise("right", y, 3)
    x = net.concat("both", [a, b])
    x = net.conv("grouped", x, 16, 3, groups=4)
    x = net.conv("project", x, 16, activation="linear", residual="both")
    net.fc("fc", net.global_avgpool("mean", x), 7)
    return net.blueprint().network


@pytest.mark.parametrize("seed", range(4))
def test_every_operator_agrees(seed: int, tmp_path: Path) -> None:
    network = every_operator()
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (16, 3, 12, 10), generator=generator, dtype=torch.uint8)
    done = quantise(FloatNetwork(network, 1 / 64, generator), images)
    x = images.permute(0, 2, 3, 1).numpy()
    ours = run_batch(done.network, done.weights, x).reshape(16, -1)
    export_onnx(done.network, done.weights, tmp_path / "n.onnx", done.scales)
    theirs = run_onnx((tmp_path / "n.onnx").read_bytes(), x) / done.scales["fc"]
    assert np.abs(np.rint(theirs) - ours).max() <= 1
    assert np.abs(ours).max() > 100  # there was something to compare


def test_mean_without_padding_agrees() -> None:
    layer = Layer("a", "avgpool", "input", 4, 5, 5, 4, kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1),
                  in_signed=False, out_signed=False, lo=0, hi=255, count_padding=False)  # fmt: skip
    images = torch.randint(0, 256, (8, 4, 5, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    done = quantise(FloatNetwork(Network("n", (layer,)), 1 / 64, torch.Generator()), images)
    x = images.permute(0, 2, 3, 1).numpy()
    ours = run_batch(done.network, done.weights, x).transpose(0, 3, 1, 2).reshape(8, -1)
    theirs = run_onnx(to_onnx(done.network, done.weights, done.scales).SerializeToString(), x) / done.scales["a"]
    error = np.abs(np.rint(theirs) - ours)
    assert error.max() <= 1 and (error > 0).mean() < 0.1


def test_what_has_no_form_is_refused() -> None:
    layer = Layer("p", "maxpool", "input", 1, 2, 2, 1, kernel=(2, 2), pad_value=-128)
    network = Network("n", (layer,))
    with pytest.raises(UserError, match="layer 'p': maxpool with a bias"):
        to_onnx(network, {"p": integers(None, (), [3], [1 << 16], [16])})
    with pytest.raises(UserError, match="tensor 'p' has no positive scale"):
        to_onnx(network, {"p": integers(None, (), [0], [1 << 16], [16])}, {"input": 1.0})


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_exported_and_imported_again_are_the_same_integers(network: Callable[[], Blueprint], tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, 32, 32), generator=generator, dtype=torch.uint8)
    done = quantise(FloatNetwork(network(), 1 / 64, generator), images)
    export_onnx(done.network, done.weights, tmp_path / "n.onnx", done.scales)
    imported = load_network(tmp_path / "n.onnx")
    again, weights = given_integers(imported)
    assert len(again.layers) == len(done.network.layers)
    x = images.permute(0, 2, 3, 1).numpy()
    frames = imported.input.frames(x)
    assert np.array_equal(run_batch(again, weights, frames), run_batch(done.network, done.weights, x))


@pytest.mark.parametrize("seed", range(25))
def test_the_exact_form_is_bit_for_bit(seed: int) -> None:
    """Random networks of every operator, with residuals, biases in pooling, pad values and means without padding."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, RandomLimits(everything=True))
    weights = random_weights(network, rng)
    frames = np.stack([random_input(network, rng) for _ in range(3)])
    ours = run_batch(network, weights, frames).transpose(0, 3, 1, 2).reshape(3, -1)
    theirs = run_onnx(to_onnx(network, weights, exact=True).SerializeToString(), frames)
    assert np.array_equal(ours, theirs)


def test_exact_halves_go_up() -> None:
    layer = Layer("a", "conv", "input", 1, 1, 4, 2, in_signed=False)
    weights: Weights = {"a": integers([2, -3], (2, 1, 1, 1), [5, 5], [1 << 16, 1 << 16], [17, 18])}
    x = np.array([0, 1, 2, 10], np.uint8).reshape(1, 1, 4, 1)
    theirs = run_onnx(to_onnx(Network("n", (layer,)), weights, exact=True).SerializeToString(), x).reshape(2, 4)
    assert theirs[0].tolist() == [3, 4, 5, 13] and theirs[1].tolist() == [1, 1, 0, -6]
