"""Bytes in memory against positions worked out by hand from docs/program.md."""

from __future__ import annotations

import numpy as np
import pytest

from dna.compile.layout import channel_weight_stream, mix_weight_stream, pack_tensor, param_stream, unpack_tensor


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 16), (3, 2, 17), (4, 5, 40)])
def test_unpack_inverts_pack(shape: tuple[int, int, int], signed: bool) -> None:
    low, high = (-128, 128) if signed else (0, 256)
    x = np.random.default_rng(0).integers(low, high, shape)
    data = pack_tensor(x)
    assert len(data) == shape[0] * shape[1] * -(-shape[2] // 16) * 16
    assert np.array_equal(unpack_tensor(data, *shape, signed), x)


def test_a_pixel_lies_where_the_document_says() -> None:
    x = np.zeros((2, 3, 20), np.int64)
    x[1, 2, 18] = -5
    data = pack_tensor(x)
    word = (1 * 2 + 1) * 3 + 2
    assert data[word * 16 + 2] == 251
    assert sum(byte != 0 for byte in data) == 1


def test_mixed_weights_by_hand() -> None:
    weight = np.arange(1, 3 * 5 * 2 + 1).reshape(3, 5, 1, 2).astype(np.int8)
    stream = np.frombuffer(mix_weight_stream(weight, oc=2, ic=4), np.int8)
    assert len(stream) == 2 * 2 * 2 * 8  # groups, kernel columns, steps, bytes

    def at(group: int, kx: int, step: int, o: int, i: int) -> int:
        return int(stream[((group * 2 + kx) * 2 + step) * 8 + o * 4 + i])

    assert at(0, 1, 0, 1, 2) == weight[1, 2, 0, 1]
    assert at(1, 0, 1, 0, 0) == weight[2, 4, 0, 0]
    assert at(1, 0, 0, 1, 0) == 0  # output channel 3 does not exist
    assert at(0, 0, 1, 0, 1) == 0  # nor does input channel 5


def test_channel_weights_by_hand() -> None:
    weight = np.arange(1, 18 * 9 + 1).reshape(18, 1, 3, 3).astype(np.int8)
    stream = np.frombuffer(channel_weight_stream(weight, oc=32, ic=4), np.int8).reshape(2, 3, 32, 4)
    assert stream[0, 1, 5, 2] == weight[5, 0, 2, 0]  # tap 6
    assert stream[1, 2, 1, 0] == weight[17, 0, 2, 2]
    assert not stream[:, :, 16:].any()  # rows of the array without a channel
    assert not stream[1, :, 2:].any()
    assert not stream[:, 2, :, 1:].any()  # taps 9 .. 11


def test_parameters_by_hand() -> None:
    stream = param_stream(np.array([-2, 7, 1]), np.array([0x10001, 65536, 0x1FFFF]), np.array([40, 1, 3]), 2)
    words = np.frombuffer(stream, "<u8")
    assert len(words) == 4
    assert int(words[0]) == 0xFFFFFFFE | 0x10001 << 32 | 40 << 49
    assert int(words[2]) == 1 | 0x1FFFF << 32 | 3 << 49
    assert int(words[3]) == 1 << 49  # no channel: bias 0, multiplier 0, shift 1
