"""A layer cut into steps, one per TILE instruction, in the order of its mapping."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from dna.accelerator import tile
from dna.accelerator.mapping import LayerMapping
from dna.network.layer import Layer


@dataclass(frozen=True)
class Span:
    """Indices first .. first + count - 1."""

    first: int
    count: int

    @property
    def end(self) -> int:
        return self.first + self.count


def spans(size: int, part: int) -> list[Span]:
    """`size` indices cut into parts; the last one may be smaller."""
    return [Span(first, min(part, size - first)) for first in range(0, size, part)]


@dataclass(frozen=True)
class Window:
    """Real rows (columns) of the image that a tile reads, and where they lie in the tile's window."""

    image: Span
    offset: int
    """Tile row (column) of the first real one."""


@dataclass(frozen=True)
class Step:
    """One TILE: which outputs, which part of the reduction."""

    rows: Span
    """Output rows."""
    cols: Span
    channels: Span
    """Output channels."""
    in_channels: Span
    """Input channels it reads; those of the output where channels do not mix."""
    kernel: Span
    """Kernel rows."""
    first: bool
    """First slice of its output tile."""
    last: bool
    weights_shared: bool
    """Whether all slices use the same weight tile: without weights, there are only parameters."""
    params: int
    """Row of the layer's parameters: the index of its windows' size in `Layer.window_sizes`."""
    row_window: Window
    """Rows of the image under the tile."""
    col_window: Window
    resident: bool = False
    """Whether its weights are a part of the one weight tile of the layer."""

    @property
    def input_key(self) -> tuple[Span, ...]:
        """Steps next to each other with equal keys use one input tile."""
        return (self.rows, self.cols, self.in_channels, self.kernel)

    @property
    def weight_key(self) -> tuple[object, ...]:
        """Steps next to each other with equal keys use one weight tile."""
        if self.resident:
            return ("resident",)
        if self.weights_shared:
            return (self.channels, self.params)
        return (self.channels, self.in_channels, self.kernel)

    @property
    def needs_params(self) -> bool:
        """Whether its weight tile includes the parameters."""
        return self.last or self.weights_shared


@lru_cache(maxsize=512)
def steps(layer: Layer, mapping: LayerMapping) -> tuple[Step, ...]:
    """The layer's steps in program order."""
    return tuple(_steps(layer, mapping))


def _steps(layer: Layer, mapping: LayerMapping) -> Iterator[Step]:
    stride_h, stride_w = strides(layer)
    columns = Span(0, layer.kernel[1])
    for rows, cols, channels in _output_tiles(layer, mapping):
        group = channels.first // layer.group_outputs * layer.group_inputs
        parts = [
            (kernel, channels if layer.per_channel else Span(group + inputs.first, inputs.count))
            for kernel in spans(layer.kernel[0], mapping.kernel_rows)
            for inputs in spans(layer.group_inputs, mapping.in_channels)
        ]
        counted = layer.counted_rows[rows.first] * layer.counted_cols[cols.first]
        for index, (kernel, inputs) in enumerate(parts):
            yield Step(
                rows=rows,
                cols=cols,
                channels=channels,
                in_channels=inputs,
                kernel=kernel,
                first=index == 0,
                last=index == len(parts) - 1,
                weights_shared=not layer.has_weights,
                params=layer.window_sizes.index(counted),
                row_window=window(rows, kernel, stride_h, layer.padding[0], layer.in_height),
                col_window=window(cols, columns, stride_w, layer.padding[1], layer.in_width),
                resident=mapping.resident,
            )


def framed_steps(layer: Layer, mapping: LayerMapping, frames: Sequence[int]) -> Iterator[tuple[int, Step]]:
    """The steps of several frames in program order, each with its frame.

    Order "weights": for each tile of output channels, frame after frame; order "inputs": frame after frame.
    """
    todo = steps(layer, mapping)
    if mapping.order == "inputs":
        yield from ((frame, step) for frame in frames for step in todo)
        return
    for _, part in groupby(todo, key=lambda step: step.channels):
        sharing = list(part)
        yield from ((frame, step) for frame in frames for step in sharing)


def strides(layer: Layer) -> tuple[int, int]:
    """Rows and columns from output to output as the lanes use them."""
    return tile.tile_stride(layer.stride[0], layer.out_height), tile.tile_stride(layer.stride[1], layer.out_width)


def row_spans(layer: Layer, mapping: LayerMapping) -> list[Span]:
    """Output rows of the tiles, from top to bottom; where windows count differently, another tile begins."""
    return _spans_of_equal(layer, layer.counted_rows, mapping.tile_rows)


def col_spans(layer: Layer, mapping: LayerMapping) -> list[Span]:
    """Output columns of the tiles, from left to right."""
    return _spans_of_equal(layer, layer.counted_cols, mapping.tile_cols)


def _spans_of_equal(layer: Layer, counted: Sequence[int], part: int) -> list[Span]:
    if len(layer.window_sizes) == 1:
        return spans(len(counted), part)
    result: list[Span] = []
    for _, run in groupby(counted):
        first = result[-1].end if result else 0
        result += [Span(first + span.first, span.count) for span in spans(len(list(run)), part)]
    return result


def channel_spans(layer: Layer, mapping: LayerMapping) -> list[Span]:
    """Output channels of the tiles: each lies in one group of a grouped convolution."""
    return [
        Span(group * layer.group_outputs + span.first, span.count)
        for group in range(layer.groups)
        for span in spans(layer.group_outputs, mapping.out_channels)
    ]


def _output_tiles(layer: Layer, mapping: LayerMapping) -> list[tuple[Span, Span, Span]]:
    spatial = [(rows, cols) for rows in row_spans(layer, mapping) for cols in col_spans(layer, mapping)]
    channels = channel_spans(layer, mapping)
    if mapping.order == "inputs":
        return [(rows, cols, part) for rows, cols in spatial for part in channels]
    return [(rows, cols, part) for part in channels for rows, cols in spatial]


@lru_cache(maxsize=1 << 16)
def window(outputs: Span, kernel: Span, stride: int, padding: int, size: int) -> Window:
    """The rows (columns) seen by `outputs` through kernel rows (columns) `kernel`."""
    origin = padding - kernel.first
    first = tile.real_start(outputs.first, stride, origin)
    end = tile.real_end(outputs.first, outputs.count, stride, kernel.count, origin, size)
    assert end > first, "padding smaller than the kernel leaves no window without an image row"
    return Window(Span(first, end - first), first - (outputs.first * stride - origin))
