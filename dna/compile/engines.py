"""What the compute engine and the post lanes do with one TILE, from buffers to buffers, as docs/program.md says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.chunk import Chunk
from dna.accelerator.isa import MODES, WORD_BYTES
from dna.compile.layout import PARAM_MULTIPLIER_BIT, PARAM_SHIFT_BIT
from dna.compile.program import Instruction

Array = NDArray[Any]

_ACC_LIMIT = 1 << 24
"""Sums are saturated to 25 bits, sign included."""


@dataclass
class Buffers:
    """The chunk's memories, in words of each buffer; what was never written is arbitrary."""

    lanes: Array
    """uint8 [px][input_words][16]."""
    weights: Array
    """int8 [weight_words][oc * ic]."""
    params: Array
    """uint64 [param_words][post_lanes]."""
    residual: Array
    """uint8 [output_words][16]."""
    output: Array
    """uint8 [output_words][16]."""

    @staticmethod
    def arbitrary(chunk: Chunk, rng: np.random.Generator) -> Buffers:
        """Buffers with random contents, as after power-up."""

        def words(*shape: int) -> Array:
            return rng.integers(0, 256, shape, np.uint8)

        return Buffers(
            lanes=words(chunk.px, chunk.input_words, WORD_BYTES),
            weights=words(chunk.weight_words, chunk.weight_word_bytes).view(np.int8),
            params=words(chunk.param_words, chunk.post_lanes * 8).view(np.uint64),
            residual=words(chunk.output_words, WORD_BYTES),
            output=words(chunk.output_words, WORD_BYTES),
        )


def capture(buffers: Buffers, layer: Instruction, job: Instruction, words: Array) -> None:
    """LOAD INPUT: every lane takes the words [rows][groups][cols] of the stream that lie in its window."""
    groups, cols = job["groups"], job["cols"]
    block = words.reshape(-1, groups, cols, WORD_BYTES)
    rows_at, cols_at = job["row0"] + np.arange(len(block)), job["col0"] + np.arange(cols)
    for lane in range(layer["lanes"]):
        lane_y, lane_x = divmod(lane, layer["lanes_x"])
        my_rows = rows_at - lane_y * layer["step_y"]
        my_cols = cols_at - lane_x * layer["step_x"]
        row_in = (my_rows >= 0) & (my_rows < layer["window_h"])
        col_in = (my_cols >= 0) & (my_cols < layer["window_w"])
        running = (
            job["base"]
            + (rows_at - job["row0"])[:, None, None] * layer["row_pitch"]
            + np.arange(groups)[:, None] * layer["window_w"]
            + (cols_at - job["col0"])
        )
        address = (running - lane_y * layer["lane_row_pitch"] - lane_x * layer["step_x"]) % (1 << 14)
        buffers.lanes[lane, address[row_in][:, :, col_in]] = block[row_in][:, :, col_in]


def tile_sums(chunk: Chunk, buffers: Buffers, layer: Instruction, job: Instruction) -> NDArray[np.int64]:
    """Sums (MAX: maxima) of one TILE: [groups][lane_rows][lane_cols][lanes][channels of a group]."""
    if layer["mode"] == MODES["MIX"]:
        return _mixed_sums(chunk, buffers, layer, job)
    size = chunk.channel_group
    parts = WORD_BYTES // size
    sums = []
    for group in range(job["groups"]):
        word = _window_words(buffers, layer, job, group * size // WORD_BYTES)
        x = word[..., group % parts * size :][..., :size]
        if layer["mode"] == MODES["MAX"]:
            sums.append(x.max(axis=(3, 4)))
        else:
            sums.append((x * _channel_weights(chunk, buffers, layer, job, group)).sum(axis=(3, 4)))
    return np.stack(sums).transpose(0, 2, 3, 1, 4)


def _mixed_sums(chunk: Chunk, buffers: Buffers, layer: Instruction, job: Instruction) -> NDArray[np.int64]:
    depth = job["steps"] * chunk.ic
    words = [_window_words(buffers, layer, job, group) for group in range(-(-depth // WORD_BYTES))]
    x = np.concatenate(words, axis=-1)[..., :depth]
    lanes, rows, cols = x.shape[:3]
    taps = layer["kernel_h"] * layer["kernel_w"]
    count = job["groups"] * taps * job["steps"]
    weight = buffers.weights[job["w_base"] : job["w_base"] + count]
    if chunk.dataflow == "input":
        weight = weight.reshape(taps, job["steps"], job["groups"], chunk.oc, chunk.ic).transpose(2, 0, 1, 3, 4)
    else:
        weight = weight.reshape(job["groups"], taps, job["steps"], chunk.oc, chunk.ic)
    matrix = weight.transpose(0, 3, 1, 2, 4).reshape(job["groups"] * chunk.oc, taps * depth)
    # float64 products of bytes are exact: no sum comes near 2^53
    sums = x.reshape(-1, taps * depth).astype(np.float64) @ matrix.T.astype(np.float64)
    return sums.astype(np.int64).reshape(lanes, rows, cols, job["groups"], chunk.oc).transpose(3, 1, 2, 0, 4)


def _window_words(buffers: Buffers, layer: Instruction, job: Instruction, group: int) -> NDArray[np.int64]:
    """Values of one channel group under every window: [lanes][lane_rows][lane_cols][kernel_h][kernel_w][16]."""
    rows = np.arange(layer["lane_rows"])[:, None] * layer["stride_h"] + np.arange(layer["kernel_h"])
    cols = np.arange(layer["lane_cols"])[:, None] * layer["stride_w"] + np.arange(layer["kernel_w"])
    address = job["in_base"] + rows[:, None, :, None] * layer["row_pitch"] + cols[None, :, None, :]
    lanes = np.arange(layer["lanes"])
    raw = buffers.lanes[: layer["lanes"], address + group * layer["window_w"]]
    x = raw.view(np.int8) if layer["in_signed"] else raw
    tile_rows = (lanes // layer["lanes_x"] * layer["step_y"])[:, None, None] + rows
    tile_cols = (lanes % layer["lanes_x"] * layer["step_x"])[:, None, None] + cols
    row_in = (tile_rows >= job["row_lo"]) & (tile_rows < job["row_hi"])
    col_in = (tile_cols >= job["col_lo"]) & (tile_cols < job["col_hi"])
    inside = row_in[:, :, None, :, None] & col_in[:, None, :, None, :]
    return np.where(inside[..., None], x.astype(np.int64), _byte(layer["pad_value"], bool(layer["in_signed"])))


def _byte(value: int, signed: bool) -> int:
    return value - 256 if signed and value > 127 else value


def _channel_weights(chunk: Chunk, buffers: Buffers, layer: Instruction, job: Instruction, group: int) -> Array:
    """Weights of a group in mode CHANNEL: [kernel_h][kernel_w][channels of a group]."""
    shape = (layer["kernel_h"], layer["kernel_w"], chunk.channel_group)
    if layer["ones"]:
        return np.ones(shape, np.int64)
    taps = layer["kernel_h"] * layer["kernel_w"]
    per_group = -(-taps // chunk.ic)
    words = job["w_base"] + np.arange(per_group) * job["groups"] + group  # input-stationary: groups innermost
    if chunk.dataflow != "input":
        words = job["w_base"] + group * per_group + np.arange(per_group)
    by_word = buffers.weights[words].reshape(per_group, chunk.oc, chunk.ic)
    by_tap = by_word.transpose(0, 2, 1).reshape(per_group * chunk.ic, chunk.oc)
    return by_tap[:taps, : chunk.channel_group].reshape(shape).astype(np.int64)


def post(chunk: Chunk, buffers: Buffers, layer: Instruction, job: Instruction, sums: NDArray[np.int64]) -> None:
    """Post lanes: sums of a finished tile to bytes in the output buffer."""
    lanes = np.arange(layer["lanes"])
    row = lanes // layer["lanes_x"] * layer["lane_rows"] + np.arange(layer["lane_rows"])[:, None, None]
    col = lanes % layer["lanes_x"] * layer["lane_cols"] + np.arange(layer["lane_cols"])[None, :, None]
    kept = (row < job["out_rows"]) & (col < job["out_cols"])
    pixel = (job["out_base"] + row * job["out_pitch"] + col)[kept]
    width = chunk.post_lanes
    for group in range(job["groups"]):
        count = layer["slices"] if group < job["groups"] - 1 else job["slices_last"]
        for part in range(count):
            channel = group * sums.shape[-1] + part * width
            address = pixel + channel // WORD_BYTES * job["out_cols"]
            byte = channel % WORD_BYTES
            acc = sums[group, ..., part * width : (part + 1) * width][kept]
            params = buffers.params[job["p_base"] + group * layer["slices"] + part]
            residual = buffers.residual[address, byte : byte + width]
            buffers.output[address, byte : byte + width] = _requantise(layer, params, acc, residual) & 0xFF
            buffers.output[address, byte + width :] = 0


def _requantise(layer: Instruction, params: Array, acc: NDArray[np.int64], residual: Array) -> NDArray[np.int64]:
    """Bytes [pixels][post_lanes] from sums; `params` holds the 8 bytes of each channel."""
    bias = (params & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.int32).astype(np.int64)
    multiplier = (params >> np.uint64(PARAM_MULTIPLIER_BIT) & np.uint64(0x1FFFF)).astype(np.int64)
    shift = (params >> np.uint64(PARAM_SHIFT_BIT) & np.uint64(0x3F)).astype(np.int64)
    saturated = np.clip(acc + bias, -_ACC_LIMIT, _ACC_LIMIT - 1)
    scaled = saturated * multiplier + (np.int64(1) << (shift - 1))
    if layer["residual"]:
        r = residual.view(np.int8) if layer["res_signed"] else residual
        scaled = scaled + r.astype(np.int64) * layer["res_multiplier"]
    return np.asarray(np.clip(scaled >> shift, layer["lo"], layer["hi"]))
