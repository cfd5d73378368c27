"""Damaged, hostile and unsupported models: one clear line each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dna.errors import UserError
from dna.network.importer import graph, load_network
from tests.network.importer.models import Model


def refused(source: Any, message: str, **options: Any) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_network(source, **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def simple(seed: int = 0) -> tuple[Model, str]:
    m = Model(seed)
    return m, m.node("Relu", m.conv("x", 3, 4, name="first"))


def save(folder: Path, proto: onnx.ModelProto) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_every_truncation(tmp_path: Path) -> None:
    m, output = simple()
    whole = m.proto(output).SerializeToString()
    path = tmp_path / "cut.onnx"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        try:
            imported = load_network(path)
        except UserError as error:
            assert "\n" not in str(error)
        else:  # only what follows the graph was cut off
            assert imported.network.macs == load_network(save(tmp_path, m.proto(output))).network.macs


def test_flipped_bytes(tmp_path: Path) -> None:
    """Whatever one wrong byte does, it is an import or a UserError."""
    m, output = simple()
    whole = m.proto(output).SerializeToString()
    rng, path = np.random.default_rng(0), tmp_path / "flipped.onnx"
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(damaged))
        try:
            load_network(path)
        except UserError as error:
            assert "\n" not in str(error)


def test_no_model(tmp_path: Path) -> None:
    refused(tmp_path / "absent.onnx", "there is no such file")
    refused(tmp_path, "there is no such file")
    text = tmp_path / "text.onnx"
    text.write_text("this is no model\n" * 30)
    refused(text, "text.onnx: (not a readable ONNX model|the model holds no operators)")
    (tmp_path / "empty.onnx").write_bytes(b"")
    refused(tmp_path / "empty.onnx", "holds no operators")
    (tmp_path / "weights.pth").write_bytes(b"")
    refused(tmp_path / "weights.pth", "checkpoint.*export it to ONNX")


def test_size_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    m, output = simple()
    path = m.save(tmp_path, output)
    monkeypatch.setattr(graph, "MAX_NODES", 1)
    refused(path, "2 nodes; at most 1")
    monkeypatch.undo()
    monkeypatch.setattr(graph, "MAX_CONSTANT_BYTES", 64)
    refused(path, "constants of 0 MiB; at most")
    monkeypatch.undo()
    huge = m.proto(output)
    huge.graph.initializer[0].dims[0] = 1 << 40
    refused(save(tmp_path, huge), "elements are beyond what is read")
    many = Model()
    shape = many.constant([1 << 20, 1 << 20], np.int64)
    refused(many.save(tmp_path, many.node("Add", "x", many.node("ConstantOfShape", shape))), "too large")


def test_external_data_missing(tmp_path: Path) -> None:
    m, output = simple()
    onnx.save(m.proto(output), str(tmp_path / "m.onnx"), save_as_external_data=True, location="w.bin", size_threshold=0)
    assert load_network(tmp_path / "m.onnx").network.macs > 0
    (tmp_path / "w.bin").unlink()
    refused(tmp_path / "m.onnx", "external data cannot be read.*w.bin")


def test_external_data_outside_the_folder(tmp_path: Path) -> None:
    m, output = simple()
    proto = m.proto(output)
    (tmp_path / "secret").write_bytes(b"\0" * 4096)
    (tmp_path / "inner").mkdir()
    tensor = proto.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, "../secret")
    tensor.ClearField("raw_data")
    refused(save(tmp_path / "inner", proto), "external data cannot be read")


def test_cycle(tmp_path: Path) -> None:
    m = Model()
    m.node("Add", "x", "b_out", name="a")
    refused(m.save(tmp_path, m.node("Relu", "a_out", name="b")), r"node '[ab]' .*depends on its own output")


def test_nodes_in_any_order_and_very_deep(tmp_path: Path) -> None:
    m = Model()
    output = "x"
    for _ in range(3000):
        output = m.node("Relu", output)
    m.nodes.reverse()
    assert len(load_network(m.save(tmp_path, output)).network.layers) == 1


def test_dangling_values(tmp_path: Path) -> None:
    m, _ = simple()
    refused(m.save(tmp_path, "nowhere"), "nothing writes the value 'nowhere'")
    m = Model()
    refused(m.save(tmp_path, m.node("Relu", "lost")), "nothing writes the value 'lost'")
    m = Model()
    m.node("Relu", "x", name="a")
    m.node("Identity", "x", name="a")
    refused(m.save(tmp_path, "a_out"), "written twice")


def test_inputs_and_outputs(tmp_path: Path) -> None:
    m, output = simple()
    proto = m.proto(output)
    proto.graph.input.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]))
    refused(save(tmp_path, proto), r"must have one input.*has 2 \('x', 'y'\)")
    proto = m.proto(output)
    proto.graph.output.append(proto.graph.output[0])
    refused(save(tmp_path, proto), "must have one output")
    refused(m.save(tmp_path, output, kind=TensorProto.INT64), "has type INT64")
    only = Model()
    refused(only.save(tmp_path, only.node("Relu", only.constant([1.0]))), "(does not depend|must depend)")


def test_shapes(tmp_path: Path) -> None:
    m, output = simple()
    refused(m.save(tmp_path, output, shape=(1, 3, "H", "W")), r"\[1, 3, 'H', 'W'\] is dynamic; give it as input_shape")
    refused(m.save(tmp_path, output, shape=(4, 3, 8, 8)), "the batch is 4")
    refused(m.save(tmp_path, output, shape=(1, 3, 8)), "has 3 axes")
    refused(m.save(tmp_path, output), "contradicts", input_shape=(3, 9, 9))
    refused(m.save(tmp_path, output, shape=(1, 3, "H", "W")), "must be positive", input_shape=(3, -1, 9))
    refused(m.save(tmp_path, output, shape=(1, 5, 8, 8)), r"node 'first' \(Conv\): weights of shape .* do not fit 5")
    refused(m.save(tmp_path, output, shape=(1, 3, 8, 0)), "dynamic")


def test_wrong_types(tmp_path: Path) -> None:
    m = Model()
    w = m.constant(np.ones((4, 3, 3, 3)), np.int64)
    refused(m.save(tmp_path, m.node("Conv", "x", w, name="c")), r"node 'c' \(Conv\): its weights has type int64|int64")
    m = Model()
    w = m.constant(np.full((4, 3, 3, 3), np.nan))
    refused(m.save(tmp_path, m.node("Conv", "x", w)), "not finite")
    m = Model()
    bad = m.node("Conv", "x", m.weights(4, 3, 3, 3), group="two")
    refused(m.save(tmp_path, bad), "'group' must be an integer")
    m = Model()
    bad = m.node("Conv", "x", m.weights(4, 3, 3, 3), pads=[1, 1])
    refused(m.save(tmp_path, bad), "pads")
    m, output = simple()
    proto = m.proto(output)
    proto.graph.initializer[0].raw_data = b"\0" * 8
    refused(save(tmp_path, proto), "is damaged")


def conv_then(op: str, *more: str, **attributes: Any) -> Callable[[Model], str]:
    return lambda m: m.node("Relu", m.node(op, m.conv("x", 3, 4), *more, name="bad", **attributes))


UNSUPPORTED: list[tuple[Callable[[Model], str], str]] = [
    (conv_then("HardSwish"), r"node 'bad' \(HardSwish\).*Relu"),
    (conv_then("Sigmoid"), r"'bad' \(Sigmoid\).*HardSigmoid"),
    (conv_then("Softmax"), r"'bad' \(Softmax\).*last node"),
    (conv_then("Gelu"), r"\(Gelu\).*fine-tune"),
    (conv_then("LRN", size=5), r"\(LRN\).*remove it"),
    (conv_then("Frobnicate"), r"\(Frobnicate\).*supported are convolutions"),
    (conv_then("Relu", domain="my.domain"), r"my.domain.Relu"),
    (conv_then("LeakyRelu", alpha=2.0), "slope is larger than 1"),
    (conv_then("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]), "dilated pooling"),
    (conv_then("MaxPool"), "'kernel_shape' is missing"),
    (conv_then("MaxPool", kernel_shape=[20, 20]), "larger than its padded input"),
    (conv_then("AveragePool", kernel_shape=[5, 5], strides=[5, 5]), "layer 'bad': stride .* larger than 4"),
    (conv_then("ReduceMean", axes=[1]), "mean over height and width"),
    (conv_then("Transpose", perm=[0, 1, 1, 2]), "perm"),
    (lambda m: m.node("Mul", m.conv("x", 3, 4), m.conv("x", 3, 4)), "combines two tensors; only Add"),
    (lambda m: m.node("Add", m.conv("x", 3, 4), m.conv("x", 3, 1)), "must have the same shape"),
    (lambda m: m.node("Div", m.constant(1.0), "x"), "divided by a tensor"),
    (lambda m: m.node("Div", "x", m.constant(0.0)), "divides by 0"),
    (lambda m: m.node("Add", "x", m.weights(12, 12)), "one value or one per channel"),
    (lambda m: m.node("Clip", m.conv("x", 3, 4), m.constant(1.0), m.constant(6.0)), r"bounds \[1, 6\] must hold 0"),
    (lambda m: m.node("Conv", "x", m.conv("x", 3, 4)), "its weights depends on the network's input"),
    (lambda m: m.conv("x", 3, 4, kernel=13, name="wide"), "layer 'wide': kernel .* larger than 11"),
    (lambda m: m.node("Concat", "x", m.constant(np.zeros((1, 2, 12, 12))), axis=1), "joins tensors with constants"),
    (lambda m: m.node("Concat", "x", "x", axis=2), "only channels can be joined"),
    (lambda m: m.node("Reshape", "x", m.constant([1, 3, 2, 6, 12], np.int64)), "it splits"),
    (lambda m: m.node("Reshape", "x", m.constant([1, 5, -1], np.int64)), "cannot have the shape"),
    (lambda m: m.node("Gemm", "x", m.weights(12, 5)), "must be one vector of 12 values; flatten it"),
    (lambda m: m.conv(m.node("Pad", "x", m.constant([0, 0, 1, 1] * 2, np.int64), mode="reflect"), 3, 4), "reflect"),
    (
        lambda m: m.conv(m.node("Pad", "x", m.constant([0, 0, 1, 1] * 2, np.int64), m.constant(2.0)), 3, 4),
        "pads with 2",
    ),
    (lambda m: m.node("Pad", "x", m.constant([0, 0, 1, 1] * 2, np.int64)), "padding can only be joined"),
]


@pytest.mark.parametrize(("build", "message"), UNSUPPORTED)
def test_unsupported(tmp_path: Path, build: Callable[[Model], str], message: str) -> None:
    m = Model()
    refused(m.save(tmp_path, build(m)), message)


def test_normalisation_mistakes(tmp_path: Path) -> None:
    m, output = simple()
    path = m.save(tmp_path, output)
    refused(path, "mean has 2 values", mean=(0.1, 0.2))
    refused(path, "std .* positive", std=0.0)
    refused(path, "finite", mean=float("nan"))
    refused(path, "borders is 'mirror'", borders="mirror")
    m = Model()
    path = m.save(tmp_path, m.conv(m.node("Cast", "x", to=1), 3, 4), kind=TensorProto.UINT8)
    refused(path, "takes uint8 pixels; leave mean and std out", mean=0.5)
