"""The integer reference against hand-computed cases and an independent formulation in torch float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import LayerWeights, Network, TensorShape, Weights, concat_layer
from dna.network.random import RandomLimits, random_input, random_network
from dna.quantize.random import random_weights
from dna.quantize.reference import requantise, run, run_batch


def weights_of(weight: list | None, bias: list, multiplier: list, shift: list, shared: int = 0) -> LayerWeights:
    array = None if weight is None else np.array(weight, np.int8)
    ints = [np.array(values, np.int32) for values in (bias, multiplier, shift)]
    return LayerWeights(array, *ints, shared)


def only(layer: Layer, weights: LayerWeights, x: list) -> list:
    return run(Network("one", (layer,)), {layer.name: weights}, np.array(x))[layer.name].tolist()


HALF = ([1 << 16], [17])  # multiplier and shift of the scale 1/2
ONE = ([1 << 16], [16])


def test_conv_with_padding_by_hand() -> None:
    layer = Layer("a", "conv", "input", 1, 2, 2, 1, kernel=(2, 2), padding=(1, 0, 0, 1), lo=-128, hi=127)
    # Padded image: [0 0 0] [1 2 0] [3 4 0]; kernel [1 -1] [2 3].
    weights = weights_of([[[[1, -1], [2, 3]]]], [10], *ONE)
    assert only(layer, weights, [[[1], [2]], [[3], [4]]]) == [[[18], [14]], [[27], [20]]]


def test_rounding_is_half_up_for_both_signs() -> None:
    values = requantise(np.array([[1], [-1], [3], [-3], [2]]), np.array([1 << 16]), np.array([17]), -128, 127)
    assert values.ravel().tolist() == [1, 0, 2, -1, 1]


def test_saturation_happens_before_scaling() -> None:
    big = np.array([[(1 << 24)], [(1 << 24) - 1], [-(1 << 24) - 5], [1 << 30]])
    values = requantise(big, np.array([1 << 16]), np.array([40]), -128, 127)
    # (2^24 - 1) * 2^16 + 2^39 is just below 2^40 + 2^39, so the scale 2^-24 gives 1; the negative end gives -1 + 1/2.
    assert values.ravel().tolist() == [1, 1, -1, 1]
    exact = requantise(big, np.array([1 << 16]), np.array([17]), -(1 << 40), 1 << 40)
    assert exact.ravel().tolist() == [1 << 23, 1 << 23, -(1 << 23), 1 << 23]


def test_depthwise_keeps_channels_apart() -> None:
    layer = Layer("a", "depthwise", "input", 2, 1, 2, 2, kernel=(1, 2))
    assert only(layer, weights_of([[[[1, 2]]], [[[3, -4]]]], [0, 1], ONE[0] * 2, ONE[1] * 2), [[[1, 2], [3, 4]]]) == [
        [[7, -9]]
    ]


def test_fc_reduces_the_whole_map() -> None:
    layer = Layer("a", "fc", "input", 1, 2, 2, 2, kernel=(2, 2))
    weights = weights_of([[[[1, 2], [3, 4]]], [[[-1, 0], [0, 0]]]], [0, 0], HALF[0] * 2, HALF[1] * 2)
    assert only(layer, weights, [[[1], [1]], [[1], [2]]]) == [[[7, 0]]]


def test_maxpool_pads_with_the_smallest_value() -> None:
    layer = Layer("a", "maxpool", "input", 1, 1, 2, 1, kernel=(1, 3), padding=(0, 1, 0, 1), pad_value=-128)
    assert only(layer, weights_of(None, [0], *ONE), [[[-7], [-9]]]) == [[[-7], [-7]]]


def test_average_counts_its_padding() -> None:
    layer = Layer("a", "avgpool", "input", 1, 1, 2, 1, kernel=(1, 2), padding=(0, 1, 0, 0))
    assert only(layer, weights_of(None, [0], *HALF), [[[5], [8]]]) == [[[3], [7]]]


def test_average_without_its_padding_has_parameters_per_window_size() -> None:
    layer = Layer("a", "avgpool", "input", 1, 1, 3, 1, kernel=(1, 3), padding=(0, 1, 0, 1), count_padding=False)
    assert layer.window_sizes == (3, 2) and layer.param_shape == (2, 1)
    thirds, halves = round((1 << 18) / 3), 1 << 16
    weights = weights_of(None, [[0], [0]], [[thirds], [halves]], [[18], [17]])
    # (4 + 9) / 2 rounds up to 7, (4 + 9 + 20) / 3 = 11, (9 + 20) / 2 rounds up to 15
    assert only(layer, weights, [[[4], [9], [20]]]) == [[[7], [11], [15]]]


def test_rounded_up_pooling_is_padding_to_the_right() -> None:
    layer = Layer("a", "maxpool", "input", 1, 1, 4, 1, (1, 3), (1, 2), padding=(0, 0, 0, 1), pad_value=-128)
    assert only(layer, weights_of(None, [0], *ONE), [[[-9], [-8], [-7], [-90]]]) == [[[-7], [-7]]]


def test_groups_keep_to_their_channels() -> None:
    layer = Layer("a", "conv", "input", 4, 1, 1, 2, groups=2)
    weights = weights_of([[[[1]], [[2]]], [[[3]], [[-1]]]], [0, 1], ONE[0] * 2, ONE[1] * 2)
    assert only(layer, weights, [[[1, 10, 7, 5]]]) == [[[21, 17]]]


def test_concat_is_its_parts_in_order() -> None:
    first = Layer("a", "conv", "input", 2, 1, 1, 1)
    shapes = {"input": TensorShape(1, 1, 2, True), "a": TensorShape(1, 1, 1, True)}
    both = concat_layer("b", ("a", "input", "a"), shapes)
    weights = {"a": weights_of([[[[1]], [[1]]]], [0], *ONE)}
    tensors = run(Network("n", (first, both)), weights, np.array([[[3, -4]]]))
    assert tensors["b"].tolist() == [[[-1, 3, -4, -1]]]


def test_add_has_one_rounding() -> None:
    layer = Layer("a", "add", "input", 1, 1, 1, 1, residual="input")
    # 3 / 2 + 3 / 2 is 3; rounding each half by itself would give 4.
    assert only(layer, weights_of(None, [0], *HALF, 1 << 16), [[[3]]]) == [[[3]]]


def test_clip_is_inclusive() -> None:
    layer = Layer("a", "conv", "input", 1, 1, 3, 1, lo=-2, hi=5)
    assert only(layer, weights_of([[[[1]]]], [0], *ONE), [[[-3], [5], [6]]]) == [[[-2], [5], [5]]]


def test_wrong_input_is_refused() -> None:
    network = Network("n", (Layer("a", "conv", "input", 1, 1, 1, 1),))
    weights = {"a": weights_of([[[[1]]]], [0], *ONE)}
    with pytest.raises(UserError, match=r"expected \(1, 1, 1\)"):
        run(network, weights, np.zeros((1, 2, 1), int))
    with pytest.raises(UserError, match=r"\[-128, 127\]"):
        run(network, weights, np.full((1, 1, 1), 128))


def at_positions(layer: Layer, x: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    """Parameters per channel, or per position by how many real elements its window counts, [1][channels][...]."""
    if values.ndim == 1:
        return torch.from_numpy(values).double().view(1, -1, 1, 1)
    top, left, bottom, right = layer.padding
    inside = F.pad(torch.ones_like(x[:, :1]), (left, right, top, bottom))
    counts = F.avg_pool2d(inside, layer.kernel, layer.stride, divisor_override=1)[0, 0]
    rows = np.searchsorted(-np.array(layer.window_sizes), -counts.numpy())
    return torch.from_numpy(values[rows]).double().permute(2, 0, 1)[None]


def torch_layer(layer: Layer, weights: LayerWeights, x: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
    """The layer in float64 [1][channels][height][width]; every intermediate stays below 2^53."""
    top, left, bottom, right = layer.padding
    padded = F.pad(x, (left, right, top, bottom), value=float(layer.pad_value))
    if layer.op in ("conv", "fc", "depthwise"):
        groups = layer.in_channels if layer.op == "depthwise" else layer.groups
        acc = F.conv2d(padded, torch.from_numpy(weights.weight).double(), stride=layer.stride, groups=groups)
    elif layer.op == "maxpool":
        acc = F.max_pool2d(padded, layer.kernel, layer.stride)
    elif layer.op == "avgpool":
        acc = F.avg_pool2d(padded, layer.kernel, layer.stride, divisor_override=1)
    else:
        acc = padded
    bias, m, s = (at_positions(layer, x, v) for v in (weights.bias, weights.multiplier, weights.shift))
    a = (acc + bias).clamp(-(2.0**24), 2.0**24 - 1)
    extra = 0.0 if residual is None else residual * weights.residual_multiplier
    return torch.floor((a * m + extra + torch.exp2(s - 1)) / torch.exp2(s)).clamp(layer.lo, layer.hi)


def torch_run(network: Network, weights: Weights, x_HWC: np.ndarray) -> dict[str, np.ndarray]:
    tensors = {"input": torch.from_numpy(x_HWC).double().permute(2, 0, 1)[None]}
    for layer in network.layers:
        if layer.parts:
            tensors[layer.name] = torch.cat([tensors[part] for part in layer.parts], dim=1)
            continue
        residual = tensors[layer.residual] if layer.residual else None
        tensors[layer.name] = torch_layer(layer, weights[layer.name], tensors[layer.input], residual)
    return {name: t[0].permute(1, 2, 0).numpy() for name, t in tensors.items()}


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_match_torch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, RandomLimits(everything=True))
    weights = random_weights(network, rng)
    frames = np.stack([random_input(network, rng) for _ in range(3)])
    tensors = run(network, weights, frames[0])
    expected = torch_run(network, weights, frames[0])
    assert list(tensors) == ["input", *(layer.name for layer in network.layers)]
    for name, tensor in tensors.items():
        assert np.array_equal(tensor, expected[name]), name
    batch = run_batch(network, weights, frames, frames_at_once=2)
    each = [run(network, weights, frame)[network.output] for frame in frames]
    assert np.array_equal(batch, np.stack(each)) and batch.dtype == np.int64
