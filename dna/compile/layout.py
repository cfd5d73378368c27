"""Bytes in memory: tensors, weight streams and parameter streams, as docs/program.md lays them out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dna.accelerator import tile
from dna.accelerator.isa import WORD_BYTES
from dna.compile.program import Tensor

Array = NDArray[Any]

PARAM_MULTIPLIER_BIT = 32
PARAM_SHIFT_BIT = 49


def pack_tensor(x_HWC: Array) -> bytes:
    """A tensor's memory image [H][G][W][16]: 8-bit values, missing channels 0."""
    height, width, channels = x_HWC.shape
    groups = tile.channel_words(channels)
    padded = np.zeros((height, width, groups * WORD_BYTES), np.uint8)
    padded[..., :channels] = x_HWC.astype(np.int64) & 0xFF
    return padded.reshape(height, width, groups, WORD_BYTES).transpose(0, 2, 1, 3).tobytes()


def unpack_tensor(data: bytes, height: int, width: int, channels: int, signed: bool) -> NDArray[np.int64]:
    """The tensor [H][W][C] of a memory image (longer data are allowed); inverse of `pack_tensor`."""
    groups = tile.channel_words(channels)
    count = height * groups * width * WORD_BYTES
    words = np.frombuffer(data, np.int8 if signed else np.uint8, count).reshape(height, groups, width, WORD_BYTES)
    return words.transpose(0, 2, 1, 3).reshape(height, width, groups * WORD_BYTES)[..., :channels].astype(np.int64)


def pack_values(tensor: Tensor, x_HWC: Array) -> bytes:
    """A tensor's own words from its values, in the network's channels: holes of its order are 0."""
    if tensor.order is None:
        return pack_tensor(x_HWC)
    order = np.array(tensor.order)
    return pack_tensor(np.where(order >= 0, x_HWC[..., np.maximum(order, 0)], 0))


def unpack_values(tensor: Tensor, data: bytes) -> NDArray[np.int64]:
    """The inverse of `pack_values`, [H][W][C] in the network's channels."""
    x = unpack_tensor(data, tensor.height, tensor.width, tensor.channels, tensor.signed)
    if tensor.order is None:
        return x
    order = np.array(tensor.order)
    result = np.zeros(tensor.shape, np.int64)
    result[..., order[order >= 0]] = x[..., order >= 0]
    return result


def word_addresses(tensor: Tensor, frame: int = 0) -> NDArray[np.int64]:
    """Region addresses of the tensor's own words in one frame of a pass, in the order of `pack_values`.

    In region CHIP they are still to be taken modulo the depth of a bank.
    """
    row = np.arange(tensor.groups * tensor.width, dtype=np.int64)
    rows = np.arange(tensor.height, dtype=np.int64)[:, None] * tensor.row_words
    return np.asarray(tensor.frame_addresses[frame] + rows + row).ravel()


def mix_weight_stream(weight_OIKK: Array, oc: int, ic: int, groups_inner: bool = False) -> bytes:
    """Weight tile of mode MIX from its part of the weights: [groups][kh][kw][steps][oc][ic] bytes.

    With `groups_inner` (input-stationary): [kh][kw][steps][groups][oc][ic].
    """
    outputs, inputs, kernel_h, kernel_w = weight_OIKK.shape
    groups, steps = tile.ceil_div(outputs, oc), tile.ceil_div(inputs, ic)
    padded = np.zeros((groups * oc, steps * ic, kernel_h, kernel_w), np.int8)
    padded[:outputs, :inputs] = weight_OIKK
    parts = padded.reshape(groups, oc, steps, ic, kernel_h, kernel_w)
    order = (4, 5, 2, 0, 1, 3) if groups_inner else (0, 4, 5, 2, 1, 3)
    return parts.transpose(order).tobytes()


def channel_weight_stream(weight_C1KK: Array, oc: int, ic: int, groups_inner: bool = False) -> bytes:
    """Weight tile of mode CHANNEL: [groups][ceil(taps / ic)][oc][ic] bytes, tap t of a channel at [t // ic][o][t % ic].

    Rows o beyond min(oc, 16) are 0: they have no channel. With `groups_inner`: [ceil(taps / ic)][groups][oc][ic].
    """
    channels, _, kernel_h, kernel_w = weight_C1KK.shape
    taps, size = kernel_h * kernel_w, tile.group_channels(oc, 1)
    groups, words = tile.ceil_div(channels, size), tile.ceil_div(taps, ic)
    by_channel = np.zeros((groups * size, words * ic), np.int8)
    by_channel[:channels, :taps] = weight_C1KK.reshape(channels, taps)
    padded = np.zeros((groups, words, oc, ic), np.int8)
    padded[:, :, :size] = by_channel.reshape(groups, size, words, ic).transpose(0, 2, 1, 3)
    return (padded.transpose(1, 0, 2, 3) if groups_inner else padded).tobytes()


def param_stream(bias: Array, multiplier: Array, shift: Array, post_lanes: int) -> bytes:
    """Parameters of one tile of output channels, filled up to whole buffer words with channels whose result is 0."""
    count = tile.param_buffer_words(len(bias), post_lanes) * post_lanes
    words = np.full(count, 1 << PARAM_SHIFT_BIT, np.uint64)
    packed = (
        (bias.astype(np.int64) & 0xFFFFFFFF)
        | (multiplier.astype(np.int64) << PARAM_MULTIPLIER_BIT)
        | (shift.astype(np.int64) << PARAM_SHIFT_BIT)
    )
    words[: len(bias)] = packed.astype(np.uint64)
    return words.astype("<u8").tobytes()
