"""Which mappings can be compiled: `dna.compile.limits` for batches of (array, candidate), with the same functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from dna.accelerator import tile
from dna.accelerator.isa import field_limit
from dna.network.layer import Layer


@dataclass(frozen=True, eq=False)
class Candidates:
    """C mappings of one layer, int64 `(C,)` each, named as in `LayerMapping`; `order`: 0 inputs, 1 weights."""

    lanes_y: Tensor
    lanes_x: Tensor
    lane_rows: Tensor
    lane_cols: Tensor
    out_channels: Tensor
    in_channels: Tensor
    kernel_rows: Tensor
    order: Tensor

    @staticmethod
    def of(rows: Tensor) -> Candidates:
        """From rows `(C, 8)` in the fields' order."""
        return Candidates(*(column.contiguous() for column in rows.unbind(1)))

    def __len__(self) -> int:
        return len(self.order)

    def select(self, ids: Tensor) -> Candidates:
        """The candidates with these row numbers."""
        return Candidates(*(getattr(self, f.name)[ids] for f in fields(self)))


def strides(layer: Layer) -> tuple[int, int]:
    """Rows and columns from output to output as the lanes use them."""
    return tile.tile_stride(layer.stride[0], layer.out_height), tile.tile_stride(layer.stride[1], layer.out_width)


def buffer_needs(layer: Layer, c: Candidates, a: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Depths that the mappings need, int64 `(A, C)` or `(1, C)` by buffer: two slots of one tile each.

    `a`: parameters of the arrays, int64 `(A, 1)` each.
    """
    per_channel = int(layer.per_channel)
    stride_h, stride_w = strides(layer)
    window_h = tile.window(c.lane_rows, stride_h, c.kernel_rows)
    window_w = tile.window(c.lane_cols, stride_w, layer.kernel[1])
    in_channels = c.out_channels if layer.per_channel else c.in_channels
    groups = tile.output_groups(c.out_channels, a["oc"], per_channel)
    weights = torch.zeros_like(groups)
    if layer.has_weights:
        steps = tile.steps(in_channels, a["ic"], per_channel)
        weights = tile.weight_buffer_words(groups, c.kernel_rows, layer.kernel[1], steps, a["ic"], per_channel)
    rows = tile.minimum(c.lanes_y * c.lane_rows, layer.out_height)
    cols = tile.minimum(c.lanes_x * c.lane_cols, layer.out_width)
    words = {
        "input_words": tile.lane_words(window_h, window_w, in_channels)[None],
        "weight_words": weights,
        "param_words": tile.param_buffer_words(c.out_channels, a["post_lanes"]),
        "output_words": tile.output_words(rows, cols, c.out_channels)[None],
    }
    together = torch.broadcast_tensors(*(2 * need for need in words.values()))
    return dict(zip(words, together, strict=True))


def legal(layer: Layer, c: Candidates, a: Mapping[str, Tensor]) -> Tensor:
    """Whether the mappings meet every limit but the buffers' depths, bool `(A, C)`.

    `layer` is one that is executed (`dna.compile.lowering`): nothing is legal for a concat.
    """
    per_channel = int(layer.per_channel)
    stride_h, stride_w = strides(layer)
    groups = tile.output_groups(c.out_channels, a["oc"], per_channel)
    slices = tile.ceil_div(layer.kernel[0], c.kernel_rows)
    if not layer.per_channel:
        slices = slices * tile.ceil_div(layer.group_inputs, c.in_channels)
    idle, steps = last_idle(layer, c, a), tile.steps(c.in_channels, a["ic"], per_channel)
    limits = (
        (c.lanes_y * c.lanes_x, a["px"]),
        (tile.tile_window(c.lanes_y, c.lane_rows, stride_h, c.kernel_rows), field_limit("TILE", "row_hi")),
        (tile.tile_window(c.lanes_x, c.lane_cols, stride_w, layer.kernel[1]), field_limit("TILE", "row_hi")),
        (c.lane_rows * stride_h, field_limit("LAYER", "step_y")),
        (c.lane_cols * stride_w, field_limit("LAYER", "step_x")),
        (c.kernel_rows, field_limit("LAYER", "kernel_h")),
        (layer.kernel[1], field_limit("LAYER", "kernel_w")),
        (max(stride_h, stride_w), field_limit("LAYER", "stride_h")),
        (steps, field_limit("TILE", "steps")),
        (groups, field_limit("TILE", "groups")),
        (tile.channel_words(layer.in_channels), field_limit("LOAD", "groups")),
        (_lane_row_words(layer, c), field_limit("TILE", "lane_pitch")),
        (idle, field_limit("TILE", "idle")),
        (tile.channel_words(layer.in_channels) * layer.in_width, field_limit("LOAD", "stride_inner")),
        (tile.channel_words(layer.out_channels) * layer.out_width, field_limit("LOAD", "stride_inner")),
    )
    sums = tile.sum_places(c.lane_rows * c.lane_cols, groups, (slices > 1) * 1, a["dataflow"])
    fine = sums <= a["sum_words"].clamp(min=1)
    if not layer.computes:
        return torch.zeros_like(fine)
    if layer.padding[0] or layer.padding[2]:
        fine = fine & (c.kernel_rows == layer.kernel[0])
    if layer.residual is not None:
        fine = fine & (a["residual"] == 1)
    for value, limit in limits:
        fine = fine & torch.as_tensor(value <= limit)
    return fine


def last_idle(layer: Layer, c: Candidates, a: Mapping[str, Tensor]) -> Tensor:
    """Cycles a TILE with `last` waits after each pixel for the post lanes, int64 `(A, C)`."""
    per_channel = int(layer.per_channel)
    last = (layer.group_inputs - 1) % c.in_channels + 1
    rows = (layer.kernel[0] - 1) % c.kernel_rows + 1
    mac = tile.mac_cycles(rows, layer.kernel[1], tile.steps(last, a["ic"], per_channel))
    post = tile.post_cycles(c.lanes_y * c.lanes_x, tile.post_slices(a["oc"], a["post_lanes"], per_channel))
    idle: Tensor = tile.idle_cycles(post, mac, a["dataflow"])
    return idle


def _lane_row_words(layer: Layer, c: Candidates) -> Tensor:
    words: Tensor = c.lane_rows * tile.channel_words(c.out_channels)
    return words * tile.minimum(c.lanes_x * c.lane_cols, layer.out_width)
