"""Reshapes, transposes, padding and concatenation: where values lie, not what they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dna.network.importer.graph import Node, attribute_float, attribute_integer, attribute_integers
from dna.network.importer.lower import Constant, Lowering, Value
from dna.network.importer.stages import Stage, Tensor


def identity(lowering: Lowering, node: Node) -> Value:
    """Nothing to do: Identity, Dropout, Cast between float types."""
    value = lowering.value(node, 0)
    if value is None:
        raise node.refuse("it has no input")
    return value


def reshape(lowering: Lowering, node: Node) -> Tensor:
    """Reshape that neither splits nor reorders channels, rows and columns."""
    tensor = lowering.tensor(node)
    wanted = lowering.integers(node, 1, "shape", "shape")
    if wanted is None:
        raise node.refuse("it has no shape")
    shape = [tensor.shape[axis] if size == 0 and axis < len(tensor.shape) else size for axis, size in enumerate(wanted)]
    return reshaped(node, tensor, shape)


def reshaped(node: Node, tensor: Tensor, shape: list[int]) -> Tensor:
    """The tensor in another shape; one entry may be -1."""
    total = int(np.prod(tensor.shape))
    known = int(np.prod([size for size in shape if size != -1]))
    if shape.count(-1) > 1 or min(shape, default=1) < -1 or known == 0 or total % known:
        raise node.refuse(f"a tensor of shape {tensor.shape} cannot have the shape {shape}")
    shape = [total // known if size == -1 else size for size in shape]
    labels = list("".join(tensor.axes))
    axes: list[str] = []
    for size in shape:
        axis, product = "", 1
        while product < size and labels:
            axis += labels.pop(0)
            product = tensor.with_axes((axis,)).shape[0]
        if product != size:
            raise node.refuse(
                f"from shape {tensor.shape} to {tuple(shape)} it splits channels, rows or columns; only reshapes that"
                " join them are supported (channel shuffles are not)"
            )
        axes.append(axis)
    if labels:
        raise node.refuse(f"a tensor of shape {tensor.shape} cannot have the shape {tuple(shape)}")
    return tensor.with_axes(tuple(axes))


def flatten(lowering: Lowering, node: Node) -> Tensor:
    tensor = lowering.tensor(node)
    axis = attribute_integer(node, "axis", 1)
    axis += len(tensor.axes) if axis < 0 else 0
    return tensor.with_axes(("".join(tensor.axes[:axis]), "".join(tensor.axes[axis:])))


def squeeze(lowering: Lowering, node: Node) -> Tensor:
    """Leaves out axes of size 1: those named, or all."""
    tensor = lowering.tensor(node)
    rank = len(tensor.axes)
    given = lowering.integers(node, 1, "axes", "axes")
    axes = {axis for axis in range(rank) if not tensor.axes[axis]} if given is None else {axis % rank for axis in given}
    if any(tensor.axes[axis] for axis in axes):
        raise node.refuse(f"it squeezes an axis of a tensor of shape {tensor.shape} whose size is not 1")
    return tensor.with_axes(tuple(label for axis, label in enumerate(tensor.axes) if axis not in axes))


def unsqueeze(lowering: Lowering, node: Node) -> Tensor:
    tensor = lowering.tensor(node)
    given = lowering.integers(node, 1, "axes", "axes")
    if given is None:
        raise node.refuse("it has no axes")
    rank = len(tensor.axes) + len(given)
    new = {axis % rank for axis in given}
    labels = iter(tensor.axes)
    return tensor.with_axes(tuple("" if axis in new else next(labels) for axis in range(rank)))


def transpose(lowering: Lowering, node: Node) -> Value:
    """A matter of the axes' names; pairs cancel by themselves. Quantised constants keep their scales."""
    value = lowering.value(node, 0)
    assert value is not None
    rank = value.array.ndim if isinstance(value, Constant) else len(value.axes)
    order = attribute_integers(node, "perm", list(range(rank))[::-1])
    if sorted(order) != list(range(rank)):
        raise node.refuse(f"its perm {order} does not fit {rank} axes")
    if isinstance(value, Constant):
        scale = None if value.scale is None else value.scale.transpose(order)
        return Constant(value.array.transpose(order), scale)
    return value.with_axes(tuple(value.axes[axis] for axis in order))


def shape_of(lowering: Lowering, node: Node) -> Constant:
    """The shape of a tensor is known."""
    value = lowering.value(node, 0)
    assert value is not None
    shape = value.array.shape if isinstance(value, Constant) else value.shape
    start = attribute_integer(node, "start", 0)
    end = attribute_integer(node, "end", len(shape))
    return Constant(np.array(shape[start:end], np.int64))


def pad(lowering: Lowering, node: Node) -> Tensor:
    """Zeros around an image, joined to the convolution or pooling that follows."""
    tensor = lowering.tensor(node)
    mode = node.attributes.get("mode", "constant")
    if mode not in ("constant", b"constant"):
        raise node.refuse(f"mode '{mode}' is not supported; pad with zeros")
    amounts = lowering.integers(node, 1, "pads", "pads")
    value = lowering.constant(node, 2, "value")
    filled = attribute_float(node, "value", 0.0)
    if value is not None and value.array.size:
        if value.array.dtype.kind != "f":
            raise node.refuse(f"its value has type {value.array.dtype}; it must be a float type")
        filled = float(value.array.reshape(-1)[0])
    axes = lowering.integers(node, 3, "axes") or list(range(len(tensor.axes)))
    if amounts is None or len(amounts) != 2 * len(axes):
        raise node.refuse("its pads must be two numbers for each axis")
    if not any(amounts):
        return tensor
    lowest = filled <= -1e30  # what stands for minus infinity in float32
    if (filled != 0 and not lowest) or (any(tensor.padding) and tensor.lowest != lowest):
        raise node.refuse(f"it pads with {filled:g}; pad with 0")
    sides = {"H": (0, 0), "W": (0, 0)}
    for index, axis in enumerate(axes):
        before, after = amounts[index], amounts[index + len(axes)]
        if (before, after) == (0, 0):
            continue
        label = _map_label(tensor, axis % len(tensor.axes))
        if label not in sides or min(before, after) < 0:
            raise node.refuse("only padding of rows and columns, by no negative amount, is supported")
        sides[label] = (before, after)
    top, left, bottom, right = tensor.padding
    (above, below), (before_w, after_w) = sides["H"], sides["W"]
    padding = (top + above, left + before_w, bottom + below, right + after_w)
    return replace(tensor, padding=padding, lowest=lowest)


def _map_label(tensor: Tensor, axis: int) -> str:
    """The label of an axis, also where its size is 1."""
    if tensor.axes[axis]:
        return tensor.axes[axis]
    return "NCHW"[axis] if tensor.is_map else ""


def concat(lowering: Lowering, node: Node) -> Value:
    """Concat of channels: a matter of layout. Of constants: computed."""
    values = [lowering.value(node, index) for index in range(len(node.inputs))]
    if "axis" not in node.attributes:
        raise node.refuse("its attribute 'axis' is missing")
    axis = attribute_integer(node, "axis", 1)
    constants = [value.array for value in values if isinstance(value, Constant)]
    if len(constants) == len(values):
        return Constant(np.concatenate(constants, axis))
    tensors = [value for value in values if isinstance(value, Tensor)]
    if len(tensors) != len(values):
        raise node.refuse("it joins tensors with constants; only tensors can be joined")
    if len(tensors) == 1:
        return tensors[0]
    return _joined(lowering, node, tensors, axis)


def _joined(lowering: Lowering, node: Node, tensors: list[Tensor], axis: int) -> Tensor:
    rank = len(tensors[0].axes)
    for tensor in tensors:
        stage = tensor.stage
        flat = stage.height == stage.width == 1
        axes = [label for index, label in enumerate(tensor.axes) if index != axis % rank]
        expected = [] if flat else ["H" if stage.height > 1 else "", "W" if stage.width > 1 else ""]
        rest = [label for label in axes if label]
        if len(tensor.axes) != rank or tensor.axes[axis % rank] not in ("C", "") or rest != [e for e in expected if e]:
            raise node.refuse(
                f"only channels can be joined; axis {axis} of a tensor of shape {tensor.shape} is not theirs"
            )
    plain = [lowering.builder.plain(node, tensor) for tensor in tensors]
    first = plain[0].stage
    for tensor in plain:
        if (tensor.stage.height, tensor.stage.width) != (first.height, first.width):
            raise node.refuse("its tensors have different heights or widths")
    sources = [tensor.stage for tensor in plain]
    channels = sum(stage.channels for stage in sources)
    made = lowering.builder.add(
        Stage(lowering.builder.name(node.name), "concat", node.name, sources, channels, first.height, first.width)
    )
    labels = list(tensors[0].axes)
    labels[axis % rank] = "C"
    return made.with_axes(tuple(labels))
