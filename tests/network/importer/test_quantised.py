"""QDQ and QONNX models keep their scales, and the integers made of them agree with onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dna.errors import UserError
from dna.network.importer import ImportedNetwork, load_network
from dna.quantize.imported import given_integers
from dna.quantize.reference import run_batch
from tests.network.importer.models import Array, Model, images, normalised, ops, run_imported, run_onnx


class Quantised(Model):
    """Adds QuantizeLinear and DequantizeLinear pairs, or QONNX's Quant."""

    def __init__(self, seed: int = 0, qonnx: bool = False) -> None:
        super().__init__(seed)
        self.qonnx = qonnx

    def act(self, x: str, scale: float, signed: bool, bits: int = 8, zero: int = 0) -> str:
        if self.qonnx:
            constants = (self.constant(scale), self.constant(float(zero)), self.constant(float(bits)))
            return self.node("Quant", x, *constants, domain="qonnx.custom_op.general", signed=int(signed), narrow=0)
        step, point = self.constant(scale), self.constant(zero, np.int8 if signed else np.uint8)
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, step, point), step, point)

    def quantised_weights(self, *shape: int, axis: int = 0, bits: int = 8) -> tuple[str, Array]:
        """The name of the float weights and their scales, one per output channel."""
        real = self.rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        rest = tuple(a for a in range(real.ndim) if a != axis)
        steps = (np.abs(real).max(axis=rest) / (2 ** (bits - 1) - 1)).astype(np.float32)
        if self.qonnx:
            spread = np.expand_dims(steps, rest)
            constants = (self.constant(spread), self.constant(0.0), self.constant(float(bits)))
            name = self.node("Quant", self.constant(real), *constants, domain="onnx.brevitas", signed=1, narrow=1)
            return name, steps
        integers = np.rint(real / np.expand_dims(steps, rest))
        point = self.constant(np.zeros(len(steps)), np.int8)
        name = self.constant(integers, np.int8)
        return self.node("DequantizeLinear", name, self.constant(steps), point, axis=axis), steps

    def qconv(self, x: str, inputs: int, outputs: int, groups: int = 1, **attributes: Any) -> str:
        weights, _ = self.quantised_weights(outputs, inputs // groups, 3, 3)
        return self.node("Conv", x, weights, self.vector(outputs), pads=[1, 1, 1, 1], group=groups, **attributes)


def network(qonnx: bool = False, bits: int = 8) -> tuple[Quantised, str]:
    """Stem, depthwise, residual, pooling, classifier: every tensor with a scale."""
    m = Quantised(qonnx=qonnx)
    x = m.act("x", 1 / 255, False)
    first = m.act(m.node("Relu", m.qconv(x, 3, 8, name="first", strides=[2, 2])), 0.01, False, bits)
    deep = m.act(m.node("Relu", m.qconv(first, 8, 8, groups=8, name="deep")), 0.008, False)
    joined = m.act(m.node("Add", m.qconv(deep, 8, 8, name="joined"), first), 0.02, True)
    pooled = m.act(m.node("MaxPool", joined, kernel_shape=[2, 2], strides=[2, 2], name="pooled"), 0.02, True)
    mean = m.act(m.node("GlobalAveragePool", pooled, name="mean"), 0.01, True)
    weights, _ = m.quantised_weights(5, 8)
    logits = m.node("Gemm", m.node("Flatten", mean), weights, m.vector(5), transB=1, name="logits")
    return m, m.act(logits, 0.015, True)


def agreement(imported: ImportedNetwork, path: Path, m: Model, step: float) -> Array:
    """Integers of ours minus those of onnxruntime, over some frames."""
    pictures = images(m.rng, count=16)
    net, weights = given_integers(imported)
    ours = run_batch(net, weights, imported.input.frames(pictures))
    theirs = np.concatenate([run_onnx(path, normalised(picture[None])) for picture in pictures])
    theirs_NHWC = theirs.reshape(*theirs.shape[:2], *ours.shape[1:3]).transpose(0, 2, 3, 1)
    return ours - np.rint(theirs_NHWC / step)


def test_qdq_scales_are_kept(tmp_path: Path) -> None:
    m, output = network()
    imported = load_network(m.save(tmp_path, output))
    assert {name: scale.scale for name, scale in imported.scales.items()} == pytest.approx(
        {"input": 1 / 255, "first": 0.01, "deep": 0.008, "joined": 0.02, "pooled": 0.02, "mean": 0.01, "logits": 0.015}
    )
    assert [imported.scales[name].signed for name in ("first", "joined")] == [False, True]
    assert imported.unscaled == () and set(imported.weight_scales) == {"first", "deep", "joined", "logits"}
    assert ops(imported) == ["conv", "depthwise", "conv", "maxpool", "avgpool", "fc"]
    layers = imported.network.layers
    assert layers[2].residual == "first" and (layers[0].lo, layers[0].hi) == (0, 255)


def test_qdq_integers_are_kept_and_agree(tmp_path: Path) -> None:
    m, output = network()
    path = m.save(tmp_path, output)
    imported = load_network(path)
    _, weights = given_integers(imported)
    given = [array for array in m.constants.values() if array.dtype == np.int8 and array.ndim == 4]
    for name, array in zip(("first", "deep", "joined"), given, strict=True):
        assert np.array_equal(weights[name].weight, array), name
    difference = agreement(imported, path, m, 0.015)
    assert np.abs(difference).max() <= 1 and (difference != 0).mean() < 0.2


@pytest.mark.parametrize("bits", [8, 4])
def test_qonnx(tmp_path: Path, bits: int) -> None:
    """The same network by Quant nodes gives the same import; fewer bits are narrower clip bounds."""
    m, output = network(qonnx=True, bits=bits)
    imported = load_network(m.save(tmp_path, output))
    twin, twin_output = network()
    reference = load_network(twin.save(tmp_path, twin_output))
    assert ops(imported) == ops(reference)
    assert {n: s.scale for n, s in imported.scales.items()} == {n: s.scale for n, s in reference.scales.items()}
    assert imported.network.layer("first").hi == (255 if bits == 8 else 15)
    for name, weights in given_integers(imported)[1].items():
        expected = given_integers(reference)[1][name].weight
        assert weights.weight is None or np.array_equal(weights.weight, expected), name


def test_scales_can_be_left_aside(tmp_path: Path) -> None:
    """Then it is the float model, with the weights as they were quantised."""
    m, output = network()
    path = m.save(tmp_path, output)
    imported = load_network(path, given_scales=False)
    assert not imported.scales
    pictures = images(m.rng)
    np.testing.assert_allclose(run_imported(imported, pictures), run_onnx(path, normalised(pictures)), atol=0.06)
    with pytest.raises(UserError, match="layer 'first': the model gives no scale for its output"):
        given_integers(imported)


def test_quantiser_clips_like_relu(tmp_path: Path) -> None:
    """onnxruntime leaves the Relu out where an unsigned quantiser follows."""
    m = Quantised()
    x = m.act(m.qconv(m.act("x", 1 / 255, False), 3, 4, name="c"), 0.01, False)
    imported = load_network(m.save(tmp_path, x))
    layer = imported.network.layer("c")
    assert not layer.out_signed and layer.lo == 0
    difference = agreement(imported, tmp_path / "model.onnx", m, 0.01)
    assert np.abs(difference).max() <= 1 and (difference != 0).mean() < 0.02


def test_relu_kept_as_signed_byte(tmp_path: Path) -> None:
    m = Quantised()
    x = m.act(
        m.node("Clip", m.qconv(m.act("x", 1 / 255, False), 3, 4, name="c"), m.constant(0.0), m.constant(0.5)),
        0.01,
        True,
    )
    layer = load_network(m.save(tmp_path, x)).network.layer("c")
    assert layer.out_signed and (layer.lo, layer.hi) == (0, 50)


def test_input_with_zero_point(tmp_path: Path) -> None:
    """The zero point of the input is a mean shared by all channels: folded, and the pad value at borders."""
    m = Quantised()
    x = m.act("x", 0.02, False, zero=118)
    path = m.save(tmp_path, m.act(m.qconv(x, 3, 4, name="c"), 0.02, True))
    imported = load_network(path)
    assert imported.network.layer("c").pad_value == 118
    pictures = images(m.rng, count=4)
    net, weights = given_integers(imported)
    ours = run_batch(net, weights, pictures)
    real = (pictures.astype(np.float32) - 118) * np.float32(0.02)
    theirs = np.concatenate([run_onnx(path, frame[None].transpose(0, 3, 1, 2)) for frame in real]) / 0.02
    difference = ours - np.rint(theirs).transpose(0, 2, 3, 1)
    assert np.abs(difference).max() <= 1 and (difference != 0).mean() < 0.02


def test_normalised_and_quantised_input(tmp_path: Path) -> None:
    """A given scale of the normalised image: a layer in front makes it from bytes."""
    m = Quantised()
    path = m.save(tmp_path, m.act(m.qconv(m.act("x", 0.02, True), 3, 4, name="c"), 0.02, True))
    mean, std = (0.4, 0.5, 0.45), (0.25, 0.2, 0.22)
    imported = load_network(path, mean=mean, std=std)
    assert ops(imported) == ["depthwise", "conv"] and imported.scales["c"].scale == pytest.approx(0.02)
    assert imported.scales[imported.network.layers[0].name].scale == pytest.approx(0.02)


def test_concat_shares_the_largest_scale(tmp_path: Path) -> None:
    m = Quantised()
    x = m.act("x", 1 / 255, False)
    a = m.act(m.node("Relu", m.qconv(x, 3, 4, name="a")), 0.01, False)
    b = m.act(m.node("Relu", m.qconv(x, 3, 4, name="b")), 0.02, False)
    imported = load_network(m.save(tmp_path, m.node("Concat", a, b, axis=1, name="join")))
    assert {round(imported.scales[name].scale, 6) for name in ("a", "b", "join")} == {0.02}
    assert any("share the scale" in notice for notice in imported.notices)


def test_bytes_into_dequantize(tmp_path: Path) -> None:
    m = Quantised()
    x = m.node("DequantizeLinear", "x", m.constant(0.02), m.constant(120, np.uint8))
    path = m.save(tmp_path, m.act(m.qconv(x, 3, 4, name="c"), 0.05, True), kind=2)
    imported = load_network(path)
    assert imported.input.scale == 1.0 and imported.network.layer("c").pad_value == 120
    pictures = images(m.rng)
    net, weights = given_integers(imported)
    ours = run_batch(net, weights, pictures)[0]
    theirs = run_onnx(path, pictures.transpose(0, 3, 1, 2))[0].transpose(1, 2, 0) / 0.05
    assert np.abs(ours - np.rint(theirs)).max() <= 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda m: m.act(m.qconv("x", 3, 4), 0.02, False, zero=100), "zero point 100 .* symmetrically"),
        (lambda m: m.act(m.qconv("x", 3, 4), -0.02, False), "must be positive"),
        (lambda m: m.node("DequantizeLinear", m.conv("x", 3, 4), m.constant(0.1)), "not quantised by a QuantizeLinear"),
        (lambda m: m.node("QuantizeLinear", "x", m.constant(0.1), m.constant(0, np.int16)), "type int16; 8 or 4"),
        (lambda m: m.node("QLinearConv", "x"), "QDQ format"),
        (lambda m: m.act(m.qconv("x", 3, 4), 0.1, True, bits=12), "12 bits; 2 to 8"),
    ],
)  # fmt: skip
def test_refusals(tmp_path: Path, build: Any, message: str) -> None:
    m = Quantised(qonnx="bits" in message)
    with pytest.raises(UserError, match=message):
        load_network(m.save(tmp_path, build(m)))


def test_zero_point_128_is_signed(tmp_path: Path) -> None:
    m = Quantised()
    imported = load_network(
        m.save(tmp_path, m.act(m.qconv(m.act("x", 1 / 255, False), 3, 4, name="c"), 0.02, False, zero=128))
    )
    scale = imported.scales["c"]
    assert scale.signed and (scale.lo, scale.hi) == (-128, 127)
