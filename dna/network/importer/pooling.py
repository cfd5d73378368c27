"""Maxima and means over windows."""

from __future__ import annotations

from dna.network.importer.graph import Node, attribute_integer
from dna.network.importer.lower import Lowering
from dna.network.importer.stages import Tensor
from dna.network.importer.weighted import own_padding, pair


def maxpool(lowering: Lowering, node: Node) -> Tensor:
    """MaxPool. Explicit zero padding before it is allowed where it cannot win: after a ReLU."""
    if pair(node, "dilations", 1) != (1, 1):
        raise node.refuse("dilated pooling is not supported; use a larger window")
    source = lowering.tensor(node)
    if any(source.padding) and not source.lowest and not source.stage.nonnegative:
        raise node.refuse("the Pad before it puts zeros among negative values; use the pooling's own pads")
    return _pool(lowering, node, "maxpool", source, True)


def avgpool(lowering: Lowering, node: Node) -> Tensor:
    """AveragePool, with its padding counted or not."""
    source = lowering.tensor(node)
    if source.lowest:
        raise node.refuse("the Pad before it is no padding with 0")
    return _pool(lowering, node, "avgpool", source, bool(attribute_integer(node, "count_include_pad", 0)))


def _pool(lowering: Lowering, node: Node, op: str, source: Tensor, counts: bool) -> Tensor:
    pending = source.padding
    source = lowering.builder.plain(node, Tensor(source.stage, source.axes, source.sole, source.affine))
    if not source.is_map:
        raise node.refuse(f"only pooling over images is supported; its input has shape {source.shape}")
    if "kernel_shape" not in node.attributes:
        raise node.refuse("its attribute 'kernel_shape' is missing")
    kernel, stride = pair(node, "kernel_shape", 1), pair(node, "strides", 1)
    own = own_padding(node, source, kernel, stride)
    if op == "avgpool" and any(pending) and any(own) and not counts:
        raise node.refuse("its own pads are not counted, those of the Pad before it are; use only one of them")
    top, left, bottom, right = (a + b for a, b in zip(own, pending, strict=True))
    more = [0, 0]
    if attribute_integer(node, "ceil_mode", 0):
        more = [
            _left_over(size, k, s, before, after)
            for size, k, s, before, after in (
                (source.stage.height, kernel[0], stride[0], top, bottom),
                (source.stage.width, kernel[1], stride[1], left, right),
            )
        ]
    padded = any((top, left, bottom, right))
    if op == "avgpool" and any(more) and padded and (counts or any(pending)):
        raise node.refuse("ceil_mode together with counted padding is not supported; switch one of them off")
    padding = (top, left, bottom + more[0], right + more[1])
    height = (source.stage.height + padding[0] + padding[2] - kernel[0]) // stride[0] + 1
    width = (source.stage.width + padding[1] + padding[3] - kernel[1]) // stride[1] + 1
    if height < 1 or width < 1:
        raise node.refuse(f"its window {kernel} is larger than its padded input of shape {source.shape}")
    counted = op != "avgpool" or not any(padding) or ((counts or any(pending)) and not any(more))
    return lowering.stage(
        node, op, source, (source.stage.channels, height, width),
        kernel=kernel, stride=stride, padding=padding, count_padding=counted,
    )  # fmt: skip


def _left_over(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Rows that the last window of a size rounded up reaches beyond the padding; a window must start inside."""
    covered = size + before + after - kernel
    extra = -covered % stride
    return 0 if (covered + extra) >= size + before else extra


def global_avgpool(lowering: Lowering, node: Node) -> Tensor:
    """GlobalAveragePool: one mean per channel."""
    return _global(lowering, node, "avgpool", lowering.tensor(node))


def global_maxpool(lowering: Lowering, node: Node) -> Tensor:
    """GlobalMaxPool, for maps up to the largest window."""
    return _global(lowering, node, "maxpool", lowering.tensor(node))


def _global(lowering: Lowering, node: Node, op: str, source: Tensor) -> Tensor:
    source = lowering.builder.plain(node, source)
    stage = source.stage
    return lowering.stage(node, op, source, (stage.channels, 1, 1), kernel=(stage.height, stage.width))


def reduce_mean(lowering: Lowering, node: Node) -> Tensor:
    """ReduceMean over height and width: global average pooling."""
    source = lowering.tensor(node)
    rank = len(source.axes)
    given = lowering.integers(node, 1, "axes", "axes")
    axes = {axis % rank for axis in (range(rank) if given is None else given)}
    labels = set("".join(source.axes[axis] for axis in axes))
    spatial = {label for label in "HW" if source.size(label) > 1}
    if labels != spatial:
        raise node.refuse("only the mean over height and width together is supported")
    keep = bool(attribute_integer(node, "keepdims", 1))
    kept = tuple("" if axis in axes else label for axis, label in enumerate(source.axes) if keep or axis not in axes)
    if not spatial:
        return source.with_axes(kept)
    return _global(lowering, node, "avgpool", source).with_axes(kept)
