"""Operators whose inputs are all known: computed once, with NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dna.errors import UserError
from dna.network.importer.graph import Array, Node, attribute_integer, attribute_integers

MAX_ELEMENTS = 1 << 28

_TYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}
"""ONNX's numbers of element types."""


def fold(node: Node, inputs: list[Array | None]) -> Array:
    """The node's output. UserError if the operator is unknown, or its inputs do not fit it."""
    compute = _FOLDABLE.get(node.op)
    if compute is None:
        raise node.refuse("this operator is not supported on constants")
    try:
        result = np.asarray(compute(node, *inputs))
    except UserError:
        raise
    except Exception as error:  # whatever NumPy says of arrays that do not fit
        raise node.refuse(f"its constants do not fit ({error})") from None
    return result


def _divide(node: Node, a: Any, b: Any) -> Any:
    return np.trunc(a / b).astype(a.dtype) if a.dtype.kind in "iu" else a / b


def _cast(node: Node, x: Any) -> Any:
    kind = attribute_integer(node, "to", 1)
    if kind not in _TYPES:
        raise node.refuse(f"it casts to the element type {kind}; known are {', '.join(map(str, _TYPES))}")
    return x.astype(_TYPES[kind])


def _reshape(node: Node, x: Any, shape: Any) -> Any:
    return x.reshape([x.shape[i] if size == 0 else int(size) for i, size in enumerate(shape)])


def _axes(node: Node, axes: Any) -> tuple[int, ...]:
    return tuple(int(a) for a in (attribute_integers(node, "axes", []) if axes is None else axes))


def _slice(node: Node, x: Any, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    starts = attribute_integers(node, "starts", []) if starts is None else starts
    ends = attribute_integers(node, "ends", []) if ends is None else ends
    axes = attribute_integers(node, "axes", list(range(len(starts)))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        index[int(axis)] = slice(int(start), int(end), int(step))
    return x[tuple(index)]


def _sized(node: Node, shape: Any) -> list[int]:
    sizes = [int(size) for size in shape]
    if any(size < 0 for size in sizes) or int(np.prod(sizes)) > MAX_ELEMENTS:
        raise node.refuse(f"a constant of shape {sizes} is too large")
    return sizes


def _constant_of_shape(node: Node, shape: Any) -> Any:
    value = np.asarray(node.attributes.get("value", np.zeros(1, np.float32))).reshape(-1)
    return np.full(_sized(node, shape), value[0], value.dtype)


def _expand(node: Node, x: Any, shape: Any) -> Any:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(_sized(node, shape))))


def _gather(node: Node, x: Any, indices: Any) -> Any:
    return np.take(x, indices, axis=attribute_integer(node, "axis", 0))


def _unsqueeze(node: Node, x: Any, axes: Any = None) -> Any:
    return np.expand_dims(x, _axes(node, axes))


def _squeeze(node: Node, x: Any, axes: Any = None) -> Any:
    return np.squeeze(x, _axes(node, axes) or None)


def _reduce_prod(node: Node, x: Any, axes: Any = None) -> Any:
    return np.prod(x, axis=_axes(node, axes) or None, keepdims=bool(attribute_integer(node, "keepdims", 1)))


_FOLDABLE: dict[str, Callable[..., Any]] = {
    "Add": lambda node, a, b: a + b,
    "Sub": lambda node, a, b: a - b,
    "Mul": lambda node, a, b: a * b,
    "Div": _divide,
    "Pow": lambda node, a, b: a**b,
    "Mod": lambda node, a, b: a % b,
    "Max": lambda node, a, b: np.maximum(a, b),
    "Min": lambda node, a, b: np.minimum(a, b),
    "Equal": lambda node, a, b: a == b,
    "Neg": lambda node, x: -x,
    "Abs": lambda node, x: np.abs(x),
    "Sqrt": lambda node, x: np.sqrt(x),
    "Reciprocal": lambda node, x: 1 / x,
    "Floor": lambda node, x: np.floor(x),
    "Ceil": lambda node, x: np.ceil(x),
    "Where": lambda node, condition, a, b: np.where(condition, a, b),
    "Cast": _cast,
    "Reshape": _reshape,
    "Flatten": lambda node, x: x.reshape(int(np.prod(x.shape[: attribute_integer(node, "axis", 1)])), -1),
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Gather": _gather,
    "Slice": _slice,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "ReduceProd": _reduce_prod,
}
FOLDABLE = frozenset(_FOLDABLE)
