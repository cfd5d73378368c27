"""Values of instruction fields that follow from layer, mapping and tile alone, and the streams they load."""

from __future__ import annotations

import numpy as np

from dna.accelerator import tile
from dna.accelerator.chunk import Chunk
from dna.accelerator.isa import MODES, field_limit
from dna.accelerator.mapping import LayerMapping
from dna.compile import layout
from dna.compile.memory_map import Block
from dna.compile.tiling import Span, Step, strides
from dna.network.layer import Layer
from dna.network.network import LayerWeights


def layer_fields(
    layer: Layer, chunk: Chunk, mapping: LayerMapping, kernel_rows: int, residual_multiplier: int
) -> dict[str, int]:
    """Fields of LAYER for slices of `kernel_rows` kernel rows."""
    stride_h, stride_w = strides(layer)
    step_y = int(tile.lane_step(mapping.lane_rows, stride_h))
    pitch = row_pitch(layer, mapping)
    return {
        "mode": MODES["MAX" if layer.op == "maxpool" else "CHANNEL" if layer.per_channel else "MIX"],
        "ones": int(not layer.has_weights),
        "in_signed": int(layer.in_signed),
        "pad_value": layer.pad_value & 0xFF,
        "kernel_h": kernel_rows,
        "kernel_w": layer.kernel[1],
        "stride_h": stride_h,
        "stride_w": stride_w,
        "lane_rows": mapping.lane_rows,
        "lane_cols": mapping.lane_cols,
        "lanes_x": mapping.lanes_x,
        "lanes": mapping.lanes,
        "window_h": tile.window(mapping.lane_rows, stride_h, kernel_rows),
        "window_w": tile.window(mapping.lane_cols, stride_w, layer.kernel[1]),
        "step_y": step_y,
        "step_x": tile.lane_step(mapping.lane_cols, stride_w),
        "row_pitch": pitch,
        "lane_row_pitch": step_y * pitch & field_limit("LAYER", "lane_row_pitch"),
        "slices": tile.post_slices(chunk.oc, chunk.post_lanes, int(layer.per_channel)),
        "lo": layer.lo,
        "hi": layer.hi,
        "residual": int(layer.residual is not None),
        "res_signed": int(layer.residual is not None and layer.residual_signed),
        "res_multiplier": residual_multiplier if layer.residual is not None else 0,
    }


def row_pitch(layer: Layer, mapping: LayerMapping) -> int:
    """Lane words from window row to window row, the same for all tiles and slices of the layer."""
    channels = mapping.out_channels if layer.per_channel else mapping.in_channels
    window_w = tile.window(mapping.lane_cols, strides(layer)[1], layer.kernel[1])
    return int(tile.channel_words(channels) * window_w)


def input_block(step: Step) -> Block:
    """The part of its input that a step reads."""
    groups = Span(step.in_channels.first // tile.WORD, int(tile.channel_words(step.in_channels.count)))
    return Block(step.row_window.image, groups, step.col_window.image)


def output_block(step: Step) -> Block:
    """The part of its output that a step writes, and of its residual that it reads."""
    groups = Span(step.channels.first // tile.WORD, int(tile.channel_words(step.channels.count)))
    return Block(step.rows, groups, step.cols)


def input_fields(step: Step) -> dict[str, int]:
    """Fields of LOAD INPUT that say where in the tile's window the words lie."""
    rows, cols = step.row_window, step.col_window
    groups = int(tile.channel_words(step.in_channels.count))
    return {"cols": cols.image.count, "groups": groups, "row0": rows.offset, "col0": cols.offset}


def tile_fields(layer: Layer, chunk: Chunk, mapping: LayerMapping, step: Step) -> dict[str, int]:
    """Fields of TILE but for buffer addresses and counters."""
    per_channel = int(layer.per_channel)
    rows, cols = step.row_window, step.col_window
    steps = int(tile.steps(step.in_channels.count, chunk.ic, per_channel))
    slices = int(tile.post_slices(chunk.oc, chunk.post_lanes, per_channel))
    mac = tile.mac_cycles(step.kernel.count, layer.kernel[1], steps)
    post = tile.post_cycles(mapping.lanes, slices)
    idle = tile.idle_cycles(post, mac, chunk.dataflow_number) if step.last else 0
    out_pitch = int(tile.channel_words(step.channels.count)) * step.cols.count
    return {
        "steps": steps,
        "groups": tile.output_groups(step.channels.count, chunk.oc, per_channel),
        "row_lo": rows.offset,
        "row_hi": rows.offset + rows.image.count,
        "col_lo": cols.offset,
        "col_hi": cols.offset + cols.image.count,
        "out_rows": step.rows.count,
        "out_cols": step.cols.count,
        "out_pitch": out_pitch,
        "lane_pitch": mapping.lane_rows * out_pitch,
        "slices_last": tile.post_slices_last(step.channels.count, chunk.oc, chunk.post_lanes, per_channel),
        "first": int(step.first),
        "last": int(step.last),
        "idle": idle,
    }


def weight_words(layer: Layer, chunk: Chunk, step: Step) -> int:
    """Buffer words of the step's weights; 0 without weights."""
    if not layer.has_weights:
        return 0
    per_channel = int(layer.per_channel)
    groups = tile.output_groups(step.channels.count, chunk.oc, per_channel)
    steps = tile.steps(step.in_channels.count, chunk.ic, per_channel)
    return int(tile.weight_buffer_words(groups, step.kernel.count, layer.kernel[1], steps, chunk.ic, per_channel))


def weight_stream(layer: Layer, weights: LayerWeights, chunk: Chunk, step: Step) -> bytes:
    """Bytes of the step's weight tile."""
    assert weights.weight is not None
    channels, kernel = slice(step.channels.first, step.channels.end), slice(step.kernel.first, step.kernel.end)
    groups_inner = chunk.dataflow == "input"
    if layer.per_channel:
        return layout.channel_weight_stream(weights.weight[channels, :, kernel], chunk.oc, chunk.ic, groups_inner)
    group = step.channels.first // layer.group_outputs * layer.group_inputs
    inputs = slice(step.in_channels.first - group, step.in_channels.end - group)
    return layout.mix_weight_stream(weights.weight[channels, inputs, kernel], chunk.oc, chunk.ic, groups_inner)


def param_stream(weights: LayerWeights, chunk: Chunk, step: Step) -> bytes:
    """Bytes of the parameters of the step's output channels."""
    part = slice(step.channels.first, step.channels.end)
    bias, multiplier, shift = (
        np.atleast_2d(values)[step.params, part] for values in (weights.bias, weights.multiplier, weights.shift)
    )
    return layout.param_stream(bias, multiplier, shift, chunk.post_lanes)
