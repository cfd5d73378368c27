"""QDQ and QONNX: scales that the model brings along."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from dna.network.importer.graph import Array, Node, as_float, attribute_integer
from dna.network.importer.imported import BYTE, FloatArray, TensorScale
from dna.network.importer.lower import Constant, Lowering, Value
from dna.network.importer.stages import UNBOUNDED, Tensor


def quantize_linear(lowering: Lowering, node: Node) -> Value:
    """Of a tensor: its scale. Of a constant: the integers, kept as the reals they stand for."""
    value = lowering.value(node, 0)
    assert value is not None
    scale, zero_point = _parameters(lowering, node)
    kind = zero_point.dtype if zero_point.size else np.dtype(np.uint8)
    low, high = _range(node, kind)
    if isinstance(value, Constant):
        steps = _aligned(node, value.array, scale)
        offset = _aligned(node, value.array, zero_point.astype(np.float64)) if zero_point.size else np.zeros(1)
        integers = np.clip(np.rint(as_float(node, value.array, "input") / steps) + offset, low, high)
        return Constant((integers - offset) * steps, np.broadcast_to(steps, _scale_shape(value.array, steps)).copy())
    return _scaled(lowering, node, value, scale, _one(node, zero_point) if zero_point.size else 0, (low, high))


def dequantize_linear(lowering: Lowering, node: Node) -> Value:
    """Of integer constants: the reals. Of a quantised tensor: nothing more."""
    value = lowering.value(node, 0)
    assert value is not None
    scale, zero_point = _parameters(lowering, node)
    if isinstance(value, Tensor):
        if value.stage.op == "input" and lowering.integer:
            step = np.full(value.stage.channels, float(scale.reshape(-1)[0]))
            first = _one(node, zero_point) if zero_point.size else 0
            return lowering.builder.times_plus(node, value, step, -first * step)
        if value.stage.scale is None and value.stage.op in ("maxpool", "concat"):
            zero = _one(node, zero_point) if zero_point.size else 0  # integers were joined, or their maxima taken
            return _scaled(lowering, node, value, scale, zero, _range(node, zero_point.dtype))
        if value.stage.scale is None and lowering.given_scales:
            raise node.refuse("its input was not quantised by a QuantizeLinear node")
        return value
    if value.array.dtype.kind == "f":
        return value  # a QuantizeLinear of a constant came before
    if value.array.dtype.kind not in "iu":
        raise node.refuse(f"its input has type {value.array.dtype}; it must be an integer type")
    steps = _aligned(node, value.array, scale)
    offset = _aligned(node, value.array, zero_point.astype(np.float64)) if zero_point.size else np.zeros(1)
    if np.any(offset != 0) and value.array.ndim > 1:
        lowering.notice(node, "weights with a zero point: their integers change, their values do not")
    reals = (value.array.astype(np.float64) - offset) * steps
    return Constant(reals, steps if not np.any(offset != 0) else None)


def quant(lowering: Lowering, node: Node) -> Value:
    """QONNX's Quant(x, scale, zero point, bit width)."""
    value = lowering.value(node, 0)
    assert value is not None
    scale = lowering.floats(node, 1, "scale")
    zero_point = lowering.floats(node, 2, "zero point")
    bits = lowering.floats(node, 3, "bit width")
    if scale is None or zero_point is None or bits is None or bits.size != 1:
        raise node.refuse("it needs a scale, a zero point and one bit width")
    signed, narrow = attribute_integer(node, "signed", 1), attribute_integer(node, "narrow", 0)
    width = int(bits.reshape(-1)[0])
    if not 2 <= width <= 8:
        raise node.refuse(f"{width} bits; 2 to 8 are supported")
    low = -(1 << (width - 1)) + (1 if narrow else 0) if signed else 0
    high = (1 << (width - 1)) - 1 if signed else (1 << width) - 1 - (1 if narrow else 0)
    if isinstance(value, Tensor):
        return _scaled(lowering, node, value, scale, _one(node, zero_point), (low, high))
    if np.any(zero_point != 0):
        raise node.refuse("weights with a zero point; quantise them symmetrically")
    steps = scale.reshape((1,) * (value.array.ndim - scale.ndim) + scale.shape)
    integers = np.clip(np.rint(as_float(node, value.array, "input") / steps), low, high)
    return Constant(integers * steps, steps)


def _scaled(
    lowering: Lowering, node: Node, tensor: Tensor, scale: FloatArray, zero_point: int, limits: tuple[int, int]
) -> Tensor:
    """The tensor with this scale as its own."""
    if not lowering.given_scales:
        return tensor
    if scale.size != 1 or not scale.reshape(-1)[0] > 0:
        raise node.refuse("activations must have one positive scale for the whole tensor")
    step, (low, high) = float(scale.reshape(-1)[0]), limits
    if tensor.stage.op == "input" and tensor.stage.scale is None and not lowering.integer and not any(tensor.padding):
        return _input(lowering, node, tensor, step, zero_point, limits)
    low, high = low - zero_point, high - zero_point
    signed = low < 0
    if signed and (low < -128 or high > 127):
        raise node.refuse(
            f"its zero point {zero_point} leaves integers in [{low}, {high}], which are no signed byte; quantise"
            " activations symmetrically, or import without the given scales and calibrate anew"
        )
    given = TensorScale(step, signed, low, high)
    padding = tensor.padding
    tensor = lowering.builder.plain(node, replace(tensor, padding=(0, 0, 0, 0)))
    other = tensor.stage.scale is not None and tensor.stage.scale != given
    if tensor.stage.op == "input" and tensor.stage.scale is None or other and not tensor.sole:
        tensor = lowering.builder.copy(node, tensor.stage, "requantised").with_axes(tensor.axes)
    elif other:
        lowering.notice(node, "the rounding before it is left out: both scales belong to one layer")
    tensor.stage.scale = given
    if not signed and not tensor.stage.nonnegative:
        bounds = tensor.stage.bounds
        tensor.stage.bounds = (0.0, bounds[1] if bounds != UNBOUNDED else math.inf)
    return replace(tensor, padding=padding)


def _input(
    lowering: Lowering, node: Node, tensor: Tensor, step: float, zero_point: int, limits: tuple[int, int]
) -> Tensor:
    """The network's input: its integers are the model's own, zero point included, for it can be folded."""
    low, high = limits
    stage = tensor.stage
    if tensor.affine is None:  # nothing is said about bytes: the input is what this node makes of it
        stage.scale = TensorScale(step, low < 0, low, high)
        if zero_point == 0:
            return tensor
        ones = np.ones(stage.channels)
        return replace(tensor, affine=(ones, -zero_point * step * ones))
    factor, shift = tensor.affine
    same = np.allclose(factor * BYTE, step, rtol=1e-6) and np.allclose(shift / step + zero_point, 0, atol=1e-3)
    if same and limits == (0, 255):  # what the node makes of a byte is the byte
        stage.scale = TensorScale(BYTE, False, low, high)
        return tensor
    made = lowering.builder.scaled(node, stage, tensor.affine, "normalised")
    lowering.notice(node, "the given scale of the normalised image needs a layer of its own in front")
    return _scaled(lowering, node, made.with_axes(tensor.axes), np.array([step]), zero_point, limits)


def _parameters(lowering: Lowering, node: Node) -> tuple[FloatArray, Array]:
    scale = lowering.floats(node, 1, "scale")
    if scale is None:
        raise node.refuse("it has no scale")
    if np.any(scale <= 0):
        raise node.refuse("its scale must be positive")
    zero_point = lowering.constant(node, 2, "zero point")
    return scale, np.zeros(0, np.uint8) if zero_point is None else zero_point.array


def _range(node: Node, kind: np.dtype[np.generic]) -> tuple[int, int]:
    name = str(kind)
    ranges = {"uint8": (0, 255), "int8": (-128, 127), "uint4": (0, 15), "int4": (-8, 7), "int32": (-(2**31), 2**31 - 1)}
    if name not in ranges:
        raise node.refuse(f"quantised type {name}; 8 or 4 bits are supported")
    return ranges[name]


def _one(node: Node, array: Array) -> int:
    if array.size != 1:
        raise node.refuse("activations must have one zero point for the whole tensor")
    return int(array.reshape(-1)[0])


def _aligned(node: Node, array: Array, values: Array) -> FloatArray:
    """Values per tensor or along the node's axis, so that they broadcast against the array."""
    if values.size == 1:
        return values.astype(np.float64).reshape((1,) * array.ndim)
    axis = attribute_integer(node, "axis", 1) % max(array.ndim, 1)
    if attribute_integer(node, "block_size", 0) or values.ndim != 1 or values.size != array.shape[axis]:
        raise node.refuse(f"scales of shape {values.shape} do not fit a constant of shape {array.shape}")
    shape = [1] * array.ndim
    shape[axis] = values.size
    return values.astype(np.float64).reshape(shape)


def _scale_shape(array: Array, steps: FloatArray) -> tuple[int, ...]:
    return steps.shape if steps.ndim == array.ndim else (1,) * array.ndim
