"""Convolutions and fully connected layers."""

from __future__ import annotations

import numpy as np

from dna.network.importer.graph import Node, as_float, attribute_float, attribute_integer, attribute_integers
from dna.network.importer.imported import FloatArray
from dna.network.importer.lower import Constant, Lowering
from dna.network.importer.stages import NO_PADDING, Tensor
from dna.network.layer import MAX_KERNEL


def conv(lowering: Lowering, node: Node) -> Tensor:
    """Conv in two dimensions, grouped or not; a dilated kernel becomes a larger one with zeros in between."""
    source = lowering.tensor(node)
    weights = _weights(lowering, node, 1)
    if weights.array.ndim != 4 or not source.is_map:
        raise node.refuse(f"only convolutions over images are supported; its weights have shape {weights.array.shape}")
    if source.lowest:
        raise node.refuse("the Pad before it is no padding with 0")
    weight, scale = as_float(node, weights.array, "weights"), weights.scale
    groups = attribute_integer(node, "group", 1)
    channels = source.stage.channels
    if groups < 1 or channels % groups or weight.shape[0] % groups or weight.shape[1] * groups != channels:
        raise node.refuse(f"weights of shape {weight.shape} in {groups} groups do not fit {channels} channels")
    kernel_shape = attribute_integers(node, "kernel_shape", list(weight.shape[2:]))
    if kernel_shape != list(weight.shape[2:]):
        raise node.refuse(f"its kernel_shape {kernel_shape} contradicts its weights of shape {weight.shape}")
    weight = _dilated(lowering, node, weight)
    kernel = (weight.shape[2], weight.shape[3])
    stride = pair(node, "strides", 1)
    padding = conv_padding(node, source, kernel, stride)
    bias = lowering.floats(node, 2, "bias")
    if bias is None:
        bias = np.zeros(weight.shape[0])
    if bias.shape != (weight.shape[0],):
        raise node.refuse(f"its bias has shape {bias.shape}; it must be ({weight.shape[0]},)")
    height, width = _size(node, source, kernel, stride, padding)
    depthwise = groups > 1 and groups == channels == weight.shape[0]
    whole = kernel == (source.stage.height, source.stage.width) != (1, 1) and groups == 1 and not any(padding)
    made = lowering.stage(
        node, "depthwise" if depthwise else "fc" if whole else "conv", source, (weight.shape[0], height, width),
        kernel=kernel, stride=stride, padding=padding, groups=1 if depthwise else groups,
        weight=weight, bias=bias, weight_scale=_per_output(node, scale, weight.shape[0], 0),
    )  # fmt: skip
    _take_affine(lowering, node, source, made)
    return made


def gemm(lowering: Lowering, node: Node) -> Tensor:
    """Gemm with a constant matrix: a fully connected layer."""
    if attribute_integer(node, "transA", 0):
        raise node.refuse("transA is set; only the weights may be transposed")
    transposed = attribute_integer(node, "transB", 0)
    matrix = _weights(lowering, node, 1)
    alpha, beta = attribute_float(node, "alpha", 1.0), attribute_float(node, "beta", 1.0)
    bias = lowering.floats(node, 2, "bias")
    return _fully_connected(lowering, node, matrix, bool(transposed), alpha, None if bias is None else beta * bias)


def matmul(lowering: Lowering, node: Node) -> Tensor:
    """MatMul of a vector and a constant matrix."""
    return _fully_connected(lowering, node, _weights(lowering, node, 1), False, 1.0, None)


def _fully_connected(
    lowering: Lowering, node: Node, matrix: Constant, transposed: bool, alpha: float, bias: FloatArray | None
) -> Tensor:
    source = lowering.tensor(node)
    stage = source.stage
    if matrix.array.ndim != 2:
        raise node.refuse(f"its matrix has shape {matrix.array.shape}; it must have two dimensions")
    weight_OI = as_float(node, matrix.array if transposed else matrix.array.T, "weights") * alpha
    outputs, inputs = weight_OI.shape
    if any(source.padding):
        raise node.refuse("its input is padded; put the Pad before a convolution or pooling")
    if not source.axes or any(source.axes[:-1]) or source.shape[-1] != inputs:
        raise node.refuse(f"its input of shape {source.shape} must be one vector of {inputs} values; flatten it before")
    order = source.axes[-1]
    sizes = [source.size(label) for label in order]
    axes = [0, *(1 + order.index(label) for label in "CHW" if label in order)]
    weight = weight_OI.reshape(outputs, *sizes).transpose(axes)
    weight = weight.reshape(outputs, stage.channels, stage.height, stage.width)
    total = np.zeros(outputs) if bias is None else np.broadcast_to(bias.reshape(-1), (outputs,)).copy()
    scale = matrix.scale if transposed or matrix.scale is None else matrix.scale.T
    made = lowering.stage(
        node, "fc", source, (outputs, 1, 1), kernel=(stage.height, stage.width), weight=weight, bias=total,
        weight_scale=_per_output(node, None if scale is None else scale * abs(alpha), outputs, 0),
    )  # fmt: skip
    _take_affine(lowering, node, source, made)
    return made.with_axes((*source.axes[:-1], "C" if outputs > 1 else ""))


def _take_affine(lowering: Lowering, node: Node, source: Tensor, made: Tensor) -> None:
    """Joins the factor and shift that wait on the input with the new weights; exact at padded borders or not at all."""
    if source.affine is None:
        return
    stage = made.stage
    assert stage.weight is not None and stage.bias is not None
    if source.stage.op == "input":
        stage.input_affine = source.affine  # settled when all that read the input are known
        return
    factor, shift = source.affine
    if any(stage.padding) and np.any(shift != 0):
        # Padding is 0 behind the shift: before it, that would be another value for each channel.
        stage.sources = [lowering.builder.scaled(node, source.stage, source.affine, "scale").stage]
        lowering.builder.stages.remove(stage)
        lowering.builder.stages.append(stage)
        return
    apply_affine(stage.weight, stage.bias, factor, shift, stage.groups if stage.op != "depthwise" else -1)
    if stage.weight_scale is not None and not np.all(factor == factor[0]):
        stage.weight_scale = None
        lowering.notice(node, "factors per input channel were folded into its weights; their given scale is lost")
    elif stage.weight_scale is not None:
        stage.weight_scale = stage.weight_scale * abs(factor[0])


def apply_affine(weight: FloatArray, bias: FloatArray, factor: FloatArray, shift: FloatArray, groups: int) -> None:
    """Changes weight and bias in place so that they take x where they took factor * x + shift; groups -1: depthwise."""
    factor_OI, shift_OI = per_weight(factor, weight, groups), per_weight(shift, weight, groups)
    bias += (weight.sum(axis=(2, 3)) * shift_OI).sum(axis=1)
    weight *= factor_OI[:, :, None, None]


def per_weight(values: FloatArray, weight: FloatArray, groups: int) -> FloatArray:
    """Values per input channel as [out channels][in channels of a group]."""
    outputs, inputs = weight.shape[:2]
    if groups == -1:
        return values.reshape(-1, 1)
    return np.repeat(values.reshape(groups, inputs), outputs // groups, axis=0)


def pair(node: Node, key: str, default: int) -> tuple[int, int]:
    """An attribute with a value for rows and one for columns."""
    values = attribute_integers(node, key, [default, default])
    if len(values) != 2 or min(values) < 1:
        raise node.refuse(f"its attribute '{key}' is {values}; it must be two positive integers")
    return values[0], values[1]


def conv_padding(
    node: Node, source: Tensor, kernel: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int, int, int]:
    """(top, left, bottom, right), pending padding included."""
    own = own_padding(node, source, kernel, stride)
    return tuple(a + b for a, b in zip(own, source.padding, strict=True))  # type: ignore[return-value]


def own_padding(
    node: Node, source: Tensor, kernel: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int, int, int]:
    """The node's pads, or what its auto_pad means."""
    mode = node.attributes.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        _, _, height, width = source.shape
        sides = []
        for size, k, s in zip((height, width), kernel, stride, strict=True):
            total = max(0, (-(-size // s) - 1) * s + k - size)
            less, more = total // 2, total - total // 2
            sides.append((less, more) if mode == "SAME_UPPER" else (more, less))
        return sides[0][0], sides[1][0], sides[0][1], sides[1][1]
    if mode == "VALID":
        return NO_PADDING
    if mode != "NOTSET":
        raise node.refuse(f"auto_pad '{mode}' is unknown")
    pads = attribute_integers(node, "pads", [0, 0, 0, 0])
    if len(pads) != 4 or min(pads) < 0:
        raise node.refuse(f"its pads {pads} must be four numbers that are not negative")
    return pads[0], pads[1], pads[2], pads[3]


def _size(
    node: Node, source: Tensor, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int, int, int]
) -> tuple[int, int]:
    height = (source.stage.height + padding[0] + padding[2] - kernel[0]) // stride[0] + 1
    width = (source.stage.width + padding[1] + padding[3] - kernel[1]) // stride[1] + 1
    if height < 1 or width < 1:
        raise node.refuse(f"its kernel {kernel} is larger than its padded input of shape {source.shape}")
    return height, width


def _weights(lowering: Lowering, node: Node, index: int) -> Constant:
    weights = lowering.constant(node, index, "weights")
    if weights is None:
        raise node.refuse("it has no weights")
    return weights


def _dilated(lowering: Lowering, node: Node, weight: FloatArray) -> FloatArray:
    dilation = pair(node, "dilations", 1)
    if dilation == (1, 1):
        return weight
    height, width = ((k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilation, strict=True))
    if max(height, width) > MAX_KERNEL:
        raise node.refuse(f"dilated by {dilation}, its kernel is {height} x {width}; at most {MAX_KERNEL} is supported")
    spread = np.zeros((*weight.shape[:2], height, width))
    spread[:, :, :: dilation[0], :: dilation[1]] = weight
    lowering.notice(node, f"its dilated kernel is computed as {height} x {width} with zeros in between")
    return spread


def _per_output(node: Node, scale: FloatArray | None, outputs: int, axis: int) -> FloatArray | None:
    """A weight scale as (outputs,)."""
    if scale is None:
        return None
    if scale.size == 1:
        return np.full(outputs, float(scale.reshape(-1)[0]))
    if scale.size != outputs or scale.shape[axis] != outputs:
        raise node.refuse("its weights must have one scale or one for each output channel")
    return scale.reshape(-1).copy()
