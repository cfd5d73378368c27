"""The arithmetic of a tile: the one truth shared by compiler, limits, exact schedule, closed form and search.

Every function takes Python ints or int64 torch tensors alike (broadcasting where shapes differ) and returns the same
kind. Nothing branches on a value; conditions are 0/1 integers. `per_channel` is 1 where channels do not mix (depthwise,
pooling, add) and 0 otherwise. Words are 16 bytes unless the name says buffer words.
"""

from __future__ import annotations

from typing import Any

Int = Any
"""A Python int or an int64 torch tensor."""

WORD = 16
"""Channels (bytes) of a word."""


def ceil_div(a: Int, b: Int) -> Int:
    """a / b rounded up, for b > 0."""
    return -(-a // b)


def maximum(a: Int, b: Int) -> Int:
    if isinstance(a, int):
        return max(a, b) if isinstance(b, int) else b.clamp(min=a)
    return a.clamp(min=b)


def minimum(a: Int, b: Int) -> Int:
    if isinstance(a, int):
        return min(a, b) if isinstance(b, int) else b.clamp(max=a)
    return a.clamp(max=b)


def select(condition: Int, yes: Int, no: Int) -> Int:
    """`yes` where the 0/1 condition is 1, else `no`."""
    return condition * yes + (1 - condition) * no


def channel_words(channels: Int) -> Int:
    """Words of one pixel: groups of 16 channels."""
    return ceil_div(channels, WORD)


# ---------------------------------------------------------------- windows


def tile_stride(stride: Int, out_size: Int) -> Int:
    """Stride the lanes use: 1 where the output has a single position, for there it has no effect."""
    return select((out_size == 1) * 1, 1, stride)


def window(outputs: Int, stride: Int, kernel: Int) -> Int:
    """Input rows (columns) that `outputs` neighbouring output rows (columns) see."""
    return (outputs - 1) * stride + kernel


def lane_step(lane_outputs: Int, stride: Int) -> Int:
    """Input rows (columns) from one lane's window to the next one's."""
    return lane_outputs * stride


def tile_window(lanes: Int, lane_outputs: Int, stride: Int, kernel: Int) -> Int:
    """Input rows (columns) from the first to the last that any lane of a tile could read."""
    return window(lanes * lane_outputs, stride, kernel)


def lane_words(window_h: Int, window_w: Int, channels: Int) -> Int:
    """Words one lane's input buffer holds of a tile with `channels` input channels."""
    return window_h * channel_words(channels) * window_w


def real_start(out_first: Int, stride: Int, padding: Int) -> Int:
    """First row (column) of the image that a tile starting at output `out_first` reads."""
    return maximum(0, out_first * stride - padding)


def real_end(out_first: Int, outputs: Int, stride: Int, kernel: Int, padding: Int, size: Int) -> Int:
    """One past the last row (column) of the image that `outputs` outputs from `out_first` on read."""
    return minimum(size, out_first * stride - padding + window(outputs, stride, kernel))


def _series(first: Int, last: Int) -> Int:
    """first + (first + 1) + ... + (last - 1), 0 if empty; first <= last."""
    return (last - first) * (first + last - 1) // 2


def total_real(out_size: Int, tile: Int, stride: Int, kernel: Int, padding: Int, size: Int) -> Int:
    """Rows (columns) of the image loaded in all tiles of one dimension together, halos counted each time.

    Equals the sum of `real_end - real_start` over the tiles `0, tile, 2 * tile, ...` of `out_size` outputs.
    """
    count = tiles(out_size, tile)
    pitch = tile * stride
    clipped_low = minimum(count, ceil_div(padding, pitch))
    starts = pitch * _series(clipped_low, count) - padding * (count - clipped_low)
    full = count - 1
    reach = window(tile, stride, kernel) - padding
    inside = minimum(full, maximum(0, (size - reach) // pitch + 1))
    ends = pitch * _series(0 * inside, inside) + reach * inside + size * (full - inside)
    last = full * tile
    return ends - starts + real_end(last, out_size - last, stride, kernel, padding, size)


# ---------------------------------------------------------------- the array


def group_channels(oc: Int, per_channel: Int) -> Int:
    """Output channels computed at once."""
    return select(per_channel, minimum(oc, WORD), oc)


def output_groups(channels: Int, oc: Int, per_channel: Int) -> Int:
    """Groups of output channels in a tile of `channels` output channels."""
    return ceil_div(channels, group_channels(oc, per_channel))


def steps(in_channels: Int, ic: Int, per_channel: Int) -> Int:
    """Steps of `ic` input channels per kernel position."""
    return select(per_channel, 1, ceil_div(in_channels, ic))


def mac_cycles(kernel_h: Int, kernel_w: Int, steps_: Int) -> Int:
    """R: cycles one output pixel of a lane takes in the array, for one group of output channels and one slice."""
    return kernel_h * kernel_w * steps_


def post_slices(oc: Int, post_lanes: Int, per_channel: Int) -> Int:
    """Post cycles per lane and full group of output channels."""
    return group_channels(oc, per_channel) // post_lanes


def post_slices_last(channels: Int, oc: Int, post_lanes: Int, per_channel: Int) -> Int:
    """Post cycles per lane for the last group of a tile of `channels` output channels."""
    size = group_channels(oc, per_channel)
    return ceil_div(channels - (ceil_div(channels, size) - 1) * size, post_lanes)


def post_cycles(lanes: Int, slices: Int) -> Int:
    """D: cycles the post lanes need for one pixel of every lane."""
    return lanes * slices


def idle_cycles(post: Int, mac: Int, dataflow: Int) -> Int:
    """Cycles the array waits after each pixel so that the post lanes keep up: max(0, D - R) output-stationary.

    Else max(0, D - 1): then pixels (or groups) are complete cycle by cycle, in the last step of the reduction. Only
    TILEs with `last` wait; those of earlier slices have nothing to hand over and idle 0 cycles. `dataflow`: as in
    `Chunk.integers`.
    """
    return maximum(0, post - select((dataflow == 0) * 1, mac, 1))


def compute_cycles(groups: Int, lane_rows: Int, lane_cols: Int, mac: Int, idle: Int) -> Int:
    """Cycles of one TILE in the array, without its start-up; ragged tiles compute their full rectangles.

    The same in all dataflows: the order of the cycles changes, not their number.
    """
    return groups * lane_rows * lane_cols * (mac + idle)


def buffer_accesses(
    groups: Int, pixels: Int, mac: Int, first: Int, last: Int, per_channel: Int, dataflow: Int
) -> tuple[Int, Int, Int, Int]:
    """Words a TILE reads of each lane's inputs and of the weights, and partial sums it reads and writes in each lane.

    `pixels` per lane; `first`, `last` as in TILE. A word is that of its buffer: 16 bytes of inputs, oc * ic of weights,
    oc sums. Output-stationary, sums are in registers. A word that stays is read once.
    """
    cycles = groups * pixels * mac
    input_stays, weight_stays = (dataflow == 2) * (1 - per_channel), (dataflow == 1) * 1
    in_buffer = (dataflow != 0) * groups * pixels
    return (
        select(input_stays, pixels * mac, cycles),
        select(weight_stays, groups * mac, cycles),
        in_buffer * (mac - first),
        in_buffer * (mac - last),
    )


# ---------------------------------------------------------------- buffers and streams


def sum_places(pixels: Int, groups: Int, sliced: Int, dataflow: Int) -> Int:
    """Places for partial sums that a tile of `pixels` per lane needs, a word of all output channels each.

    1 is the array's own. With `sliced` (0/1) all sums of the tile wait for the next slice; else those of one group
    (weight-stationary) or one pixel (input-stationary), unless they stay in the array.
    """
    at_once = select((dataflow == 1) * 1, pixels, select((dataflow == 2) * 1, groups, 1))
    return select(sliced, pixels * groups, at_once)


def weight_buffer_words(groups: Int, kernel_h: Int, kernel_w: Int, steps_: Int, ic: Int, per_channel: Int) -> Int:
    """Buffer words (oc * ic bytes) of one weight tile; for operators that have weights."""
    taps = kernel_h * kernel_w
    return groups * select(per_channel, ceil_div(taps, ic), taps * steps_)


def weight_stream_words(buffer_words: Int, oc: Int, ic: Int) -> Int:
    return buffer_words * (oc * ic // WORD)


def param_buffer_words(channels: Int, post_lanes: Int) -> Int:
    """Buffer words (post_lanes channels of 8 bytes) of the parameters of one tile of output channels."""
    return ceil_div(channels, post_lanes)


def param_stream_words(buffer_words: Int, post_lanes: Int) -> Int:
    return buffer_words * (post_lanes // 2)


def output_words(rows: Int, cols: Int, channels: Int) -> Int:
    """Words of an output (or residual) tile: buffer and stream alike."""
    return rows * channel_words(channels) * cols


def input_words(rows: Int, cols: Int, channels: Int) -> Int:
    """Words of the stream that fills the lanes with `rows` x `cols` real pixels."""
    return rows * channel_words(channels) * cols


def slot_words(depth: Int) -> Int:
    """Each buffer is two slots; a tile must fit in one."""
    return depth // 2


# ---------------------------------------------------------------- counts of a layer


def tiles(size: Int, tile: Int) -> Int:
    """Tiles of one dimension."""
    return ceil_div(size, tile)


def compute_tiles(spatial: Int, channel_tiles: Int, slices: Int) -> Int:
    """TILE instructions of a layer."""
    return spatial * channel_tiles * slices


def input_loads(spatial: Int, channel_tiles: Int, slices: Int, per_channel: Int, inputs_outer: Int) -> Int:
    """Input tiles loaded by a layer. `inputs_outer` is 1 for order `inputs`.

    An input tile stays for all tiles of output channels if it is whole (no slices) and shared (channels mix), and
    these follow each other: in order `inputs`, or when there is one spatial tile only.
    """
    stays = (1 - per_channel) * ((slices == 1) * 1) * (1 - (1 - inputs_outer) * (1 - (spatial == 1) * 1))
    return spatial * select(stays, 1, channel_tiles * slices)


def weight_loads(spatial: Int, channel_tiles: Int, slices: Int, has_weights: Int, inputs_outer: Int) -> Int:
    """Weight tiles (parameters included) loaded by a layer; without weights, slices share their parameters."""
    per_tile = select(has_weights, slices, 1)
    weights_outer = 1 - inputs_outer * (1 - (channel_tiles == 1) * 1)
    stays = weights_outer * ((per_tile == 1) * 1)
    return channel_tiles * select(stays, 1, spatial * per_tile)
