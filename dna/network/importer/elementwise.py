"""Sums, constant arithmetic, batch normalisation and activation functions."""

from __future__ import annotations

import math

import numpy as np

from dna.network.blueprint import Bounds
from dna.network.importer.graph import Node, as_float, attribute_float, attribute_integer
from dna.network.importer.imported import FloatArray
from dna.network.importer.lower import Constant, Lowering, Value, advice
from dna.network.importer.stages import Tensor


def arithmetic(lowering: Lowering, node: Node) -> Tensor:
    """Add, Sub, Mul or Div of a tensor and a constant, or Add of two tensors."""
    left, right = lowering.value(node, 0), lowering.value(node, 1)
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return _two_tensors(lowering, node, left, right)
    swapped = isinstance(left, Constant)
    tensor, constant = (right, left) if swapped else (left, right)
    assert isinstance(tensor, Tensor) and isinstance(constant, Constant)
    values = per_channel(node, tensor, as_float(node, constant.array, "constant"))
    one, zero = np.ones_like(values), np.zeros_like(values)
    if node.op == "Add":
        factor, shift = one, values
    elif node.op == "Sub":
        factor, shift = (-one, values) if swapped else (one, -values)
    elif node.op == "Mul":
        factor, shift = values, zero
    else:
        if swapped:
            raise node.refuse("a constant divided by a tensor is not supported; only tensors divided by constants are")
        if np.any(values == 0):
            raise node.refuse("it divides by 0")
        factor, shift = 1 / values, zero
    return lowering.builder.times_plus(node, tensor, factor, shift)


def per_channel(node: Node, tensor: Tensor, array: FloatArray) -> FloatArray:
    """A constant that broadcasts against the tensor, as one value per channel."""
    if array.size == 1:
        return np.full(tensor.stage.channels, float(array.reshape(-1)[0]))
    if array.ndim > len(tensor.axes):
        raise node.refuse(f"its constant of shape {array.shape} has more axes than its tensor of shape {tensor.shape}")
    shape = (1,) * (len(tensor.axes) - array.ndim) + array.shape
    for size, axis in zip(shape, tensor.axes, strict=True):
        if size != 1 and axis != "C":
            raise node.refuse(
                f"its constant of shape {array.shape} must be one value or one per channel"
                f" of its tensor of shape {tensor.shape}"
            )
    channels = tensor.stage.channels
    if array.size != channels:
        raise node.refuse(f"its constant has {array.size} values for {channels} channels")
    return array.reshape(-1).copy()


def _two_tensors(lowering: Lowering, node: Node, left: Tensor, right: Tensor) -> Tensor:
    if node.op != "Add":
        raise node.refuse(
            "it combines two tensors; only Add does that in the layer set. Squeeze-and-excitation, attention and swish"
            " need such products: use a network without them, or fine-tune one with Relu in their place"
        )
    if left.axes != right.axes or left.shape != right.shape:
        raise node.refuse(f"its tensors of shapes {left.shape} and {right.shape} must have the same shape")
    if left.stage is right.stage and left.affine is None and right.affine is None:
        two = np.full(left.stage.channels, 2.0)
        return lowering.builder.times_plus(node, left, two, np.zeros_like(two))
    stages = lowering.builder.stages
    order = sorted((left, right), key=lambda t: -1 if t.stage.op == "input" else stages.index(t.stage), reverse=True)
    for into, other in (order, order[::-1]):
        if into.sole and into.stage.linear and into.affine is None and not any(into.padding):
            residual = lowering.builder.plain(node, other).stage
            stages.remove(into.stage)  # nobody but this node reads it, so it can wait until the other is there
            stages.append(into.stage)
            if into.stage.scale is not None:
                lowering.notice(node, "the rounding of the operand that takes the sum is left out")
            into.stage.residual, into.stage.scale = residual, None
            return into
    first, second = (lowering.builder.plain(node, tensor) for tensor in order)
    shape = (first.stage.channels, first.stage.height, first.stage.width)
    return lowering.stage(node, "add", first, shape, residual=second.stage).with_axes(left.axes)


def batch_normalization(lowering: Lowering, node: Node) -> Tensor:
    """BatchNormalization at inference: a factor and a shift per channel."""
    if attribute_integer(node, "training_mode", 0):
        raise node.refuse("it is in training mode; export the model for inference (model.eval())")
    tensor = lowering.tensor(node)
    names = ("scale", "bias", "mean", "variance")
    found = [lowering.floats(node, index, name) for index, name in enumerate(names, start=1)]
    channels = tensor.stage.channels
    for name, values in zip(names, found, strict=True):
        if values is None or values.shape != (channels,):
            raise node.refuse(f"its {name} must be a constant of {channels} values")
    scale, bias, mean, variance = (values for values in found if values is not None)
    if np.any(variance < 0):
        raise node.refuse("its variance is negative")
    factor = scale / np.sqrt(variance + attribute_float(node, "epsilon", 1e-5))
    return lowering.builder.times_plus(node, tensor, factor, bias - mean * factor)


def relu(lowering: Lowering, node: Node) -> Tensor:
    return lowering.builder.clipped(node, lowering.tensor(node), (0.0, math.inf))


def clip(lowering: Lowering, node: Node) -> Tensor:
    """Clip: ReLU6 and its like, also a symmetric one."""
    bounds: list[float] = []
    for index, (key, default) in enumerate((("min", -math.inf), ("max", math.inf)), start=1):
        given = lowering.constant(node, index, key)
        if given is None:
            bounds.append(attribute_float(node, key, default))
        elif given.array.size == 1 and given.array.dtype.kind == "f":
            bounds.append(float(given.array.reshape(-1)[0]))
        else:
            raise node.refuse(f"its {key} must be one float")
    return lowering.builder.clipped(node, lowering.tensor(node), _open(bounds[0], bounds[1]))


def _open(low: float, high: float) -> Bounds:
    """Bounds at the ends of the float range are none."""
    return (low if low > -1e30 else -math.inf, high if high < 1e30 else math.inf)


def extremum(lowering: Lowering, node: Node) -> Tensor:
    """Max or Min of a tensor and one constant: a clip on one side."""
    values = [lowering.value(node, index) for index in range(len(node.inputs))]
    tensors = [value for value in values if isinstance(value, Tensor)]
    constants = [value for value in values if isinstance(value, Constant)]
    if len(tensors) != 1 or len(constants) != 1 or constants[0].array.size != 1:
        raise node.refuse("only the extremum of one tensor and one constant is supported")
    bound = float(as_float(node, constants[0].array, "constant").reshape(-1)[0])
    return lowering.builder.clipped(node, tensors[0], (bound, math.inf) if node.op == "Max" else (-math.inf, bound))


def hard_sigmoid(lowering: Lowering, node: Node) -> Tensor:
    """A factor, a shift and a clip to [0, 1]."""
    tensor = lowering.tensor(node)
    factor = np.full(tensor.stage.channels, attribute_float(node, "alpha", 0.2))
    shift = np.full(tensor.stage.channels, attribute_float(node, "beta", 0.5))
    return lowering.builder.clipped(node, lowering.builder.times_plus(node, tensor, factor, shift), (0.0, 1.0))


def leaky_relu(lowering: Lowering, node: Node) -> Tensor:
    """LeakyRelu as slope * x + relu((1 - slope) * x): two depthwise 1 x 1 layers, the second with a residual."""
    tensor = lowering.tensor(node)
    if node.op == "PRelu":
        given = lowering.floats(node, 1, "slope")
        if given is None:
            raise node.refuse("it has no slope")
        slope = per_channel(node, tensor, given)
    else:
        slope = np.full(tensor.stage.channels, attribute_float(node, "alpha", 0.01))
    if np.any(slope > 1):
        raise node.refuse("its slope is larger than 1; use a slope of at most 1")
    builder = lowering.builder
    plain = builder.plain(node, tensor)
    zero = np.zeros_like(slope)
    positive = builder.scaled(node, plain.stage, (1 - slope, zero), "positive").stage
    positive.bounds = (0.0, math.inf)
    made = builder.scaled(node, plain.stage, (slope, zero), "sum")
    made.stage.residual = positive
    lowering.notice(node, "two layers over each element; Relu is free")
    return made.with_axes(tensor.axes)


def last_only(lowering: Lowering, node: Node) -> Value:
    """Softmax and its like at the end of the model: dropped, because they do not change which output is the largest."""
    if node.outputs[0] not in lowering.graph.outputs:
        raise node.refuse(f"this operator is not supported; {advice(node.op)}")
    lowering.notice(node, "dropped: the network's outputs are the values before it")
    return lowering.tensor(node)
