"""ONNX files as the importer's graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper

from dna.errors import UserError
from dna.network.importer.graph import MAX_CONSTANT_BYTES, Array, Graph, Node

_PLAIN_DOMAINS = {"", "ai.onnx", "com.microsoft", "qonnx.custom_op.general", "onnx.brevitas"}
_FLOATS = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE}
_BYTES = {onnx.TensorProto.UINT8, onnx.TensorProto.INT8}


def read_onnx(path: Path, input_shape: Sequence[int] | None) -> tuple[Graph, str | None]:
    """The graph, and 'uint8' or 'int8' if the model takes integers. UserError for whatever cannot be read."""
    model = _load(path)
    graph = model.graph
    if not graph.node:
        raise UserError(f"{path}: the model holds no operators")
    if graph.sparse_initializer:
        raise UserError(f"{path}: sparse weights are not supported; export them dense")
    constants = {_text(tensor.name): _array(path, tensor) for tensor in graph.initializer}
    inputs = [value for value in graph.input if _text(value.name) not in constants]
    if len(inputs) != 1:
        names = ", ".join(f"'{value.name}'" for value in inputs) or "none"
        raise UserError(f"{path}: the model must have one input, the image; it has {len(inputs)} ({names})")
    if len(graph.output) != 1:
        names = ", ".join(f"'{value.name}'" for value in graph.output) or "none"
        raise UserError(f"{path}: the model must have one output; it has {len(graph.output)} ({names})")
    integer = _input_type(path, inputs[0])
    shape = _shape(path, inputs[0], input_shape)
    nodes = tuple(_node(path, index, node) for index, node in enumerate(graph.node))
    outputs = tuple(_text(value.name) for value in graph.output)
    return Graph(path.stem, nodes, constants, _text(inputs[0].name), shape, outputs), integer


def _text(value: str | bytes) -> str:
    """Names that are no text arrive as bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _load(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    if path.stat().st_size > MAX_CONSTANT_BYTES:
        raise UserError(f"{path}: {path.stat().st_size >> 20} MiB; at most {MAX_CONSTANT_BYTES >> 20} MiB are read")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's own exception types differ between releases
        raise UserError(f"{path}: not a readable ONNX model, or a truncated one ({_line(error)})") from None
    total = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
    if total * 4 > 2 * MAX_CONSTANT_BYTES or any(size < 0 for t in model.graph.initializer for size in t.dims):
        raise UserError(f"{path}: weights with {total} elements are beyond what is read")
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # missing, too short, or outside the model's folder
        raise UserError(f"{path}: its external data cannot be read ({_line(error)})") from None
    return model


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _array(path: Path, tensor: onnx.TensorProto) -> Array:
    try:
        array = numpy_helper.to_array(tensor)
    except Exception as error:  # sizes and types that contradict each other
        raise UserError(f"{path}: the constant '{tensor.name}' is damaged ({_line(error)})") from None
    if array.dtype.name in ("int4", "uint4"):  # types of an extension of NumPy
        return array.astype("int8" if array.dtype.name == "int4" else "uint8")
    return array


def _input_type(path: Path, value: onnx.ValueInfoProto) -> str | None:
    kind = value.type.tensor_type.elem_type
    if kind in _FLOATS:
        return None
    if kind in _BYTES:
        return "uint8" if kind == onnx.TensorProto.UINT8 else "int8"
    name = onnx.TensorProto.DataType.Name(kind) if kind in onnx.TensorProto.DataType.values() else str(kind)
    raise UserError(f"{path}: the input '{value.name}' has type {name}; it must be a float or 8-bit integer tensor")


def _shape(path: Path, value: onnx.ValueInfoProto, given: Sequence[int] | None) -> tuple[int, ...]:
    """The input's shape with batch 1; `given` replaces what the model leaves open, with or without its batch."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        if given is None:
            raise UserError(f"{path}: the input '{value.name}' has no shape; give it as input_shape")
        return _with_batch(list(given), 4)
    sizes = [dim.dim_value if dim.HasField("dim_value") else 0 for dim in tensor.shape.dim]
    if len(sizes) not in (2, 4):
        raise UserError(f"{path}: the input '{value.name}' has {len(sizes)} axes; an image has 4, a vector 2")
    if given is not None:
        wanted = _with_batch(list(given), len(sizes))
        if len(wanted) != len(sizes) or any(s not in (0, w) for s, w in zip(sizes[1:], wanted[1:], strict=True)):
            raise UserError(f"{path}: input_shape {list(given)} contradicts the model's {_shown(tensor)}")
        return wanted
    if sizes[0] not in (0, 1):
        raise UserError(f"{path}: the batch is {sizes[0]}; export the model with batch 1 or a dynamic one")
    if min(sizes[1:]) < 1:
        raise UserError(f"{path}: the input's shape {_shown(tensor)} is dynamic; give it as input_shape")
    return (1, *sizes[1:])


def _with_batch(shape: list[int], rank: int) -> tuple[int, ...]:
    full = shape if len(shape) == rank else [1, *shape]
    if min(full) < 1 or full[0] != 1 or len(full) not in (2, 4):
        raise UserError(
            f"input_shape {shape} must be positive sizes: channels, height and width, as the model has them"
        )
    return tuple(int(size) for size in full)


def _shown(tensor: Any) -> str:
    return str([dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in tensor.shape.dim])


def _node(path: Path, index: int, node: onnx.NodeProto) -> Node:
    op, domain = _text(node.op_type), _text(node.domain)
    name = _text(node.name) or f"{op}_{index}"
    if domain not in _PLAIN_DOMAINS:
        op = f"{domain}.{op}"
    if not node.output:
        raise UserError(f"{path}: node '{name}' ({op}) has no output")
    attributes = {_text(attribute.name): _attribute(path, name, attribute) for attribute in node.attribute}
    return Node(name, op, tuple(map(_text, node.input)), tuple(map(_text, node.output)), attributes)


def _attribute(path: Path, node: str, attribute: onnx.AttributeProto) -> Any:
    try:
        value = onnx.helper.get_attribute_value(attribute)
    except Exception as error:  # an attribute without a type
        raise UserError(f"{path}: node '{node}': attribute '{attribute.name}' is damaged ({_line(error)})") from None
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, onnx.TensorProto):
        return _array(path, value)
    return list(value) if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS) else value
