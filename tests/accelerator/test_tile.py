"""The arithmetic of a tile: against brute force, and the same for ints and tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dna.accelerator import tile
from tests.rtl.parts_nest import tile_cycles


def draw(rng: np.random.Generator) -> tuple[int, int, int, int, int, int]:
    """out_size, tile, stride, kernel, padding, size of a random window in one dimension."""
    while True:
        kernel, stride, size = (int(n) for n in (rng.integers(1, 8), rng.integers(1, 5), rng.integers(1, 21)))
        before, after = (int(n) for n in rng.integers(0, kernel, 2))
        if size + before + after >= kernel:
            out = (size + before + after - kernel) // stride + 1
            return out, int(rng.integers(1, out + 3)), stride, kernel, before, size


def test_total_real_counts_the_rows_under_all_windows() -> None:
    rng = np.random.default_rng(0)
    cases = [draw(rng) for _ in range(2000)]
    expected = []
    for out, part, stride, kernel, padding, size in cases:
        total = 0
        for first in range(0, out, part):
            low = first * stride - padding
            high = (min(first + part, out) - 1) * stride - padding + kernel
            total += sum(low <= row < high for row in range(size))
        expected.append(total)
    assert [tile.total_real(*case) for case in cases] == expected
    columns = torch.tensor(cases, dtype=torch.int64).T
    assert tile.total_real(*columns).tolist() == expected


@pytest.mark.parametrize("per_channel", [0, 1])
def test_ints_and_tensors_agree(per_channel: int) -> None:
    channels = torch.arange(1, 100)
    for oc, ic, post in ((2, 8, 2), (8, 2, 4), (16, 4, 16), (48, 1, 8)):
        for function, arguments in (
            (tile.output_groups, (oc, per_channel)),
            (tile.steps, (ic, per_channel)),
            (tile.post_slices_last, (oc, post, per_channel)),
        ):
            got = function(channels, *arguments)
            assert got.tolist() == [function(int(n), *arguments) for n in channels]


def test_small_functions_by_hand() -> None:
    assert tile.ceil_div(33, 16) == 3
    assert tile.maximum(-3, 2) == 2
    assert tile.minimum(-3, 2) == -3
    assert tile.tile_stride(7, 1) == 1
    assert tile.tile_stride(3, 2) == 3
    assert tile.lane_words(4, 5, 17) == 40
    assert tile.post_slices_last(70, 32, 4, 0) == 2
    assert tile.post_slices_last(70, 32, 4, 1) == 2
    assert tile.weight_buffer_words(2, 3, 3, 5, 4, 0) == 90
    assert tile.weight_buffer_words(2, 3, 3, 1, 4, 1) == 6
    assert tile.idle_cycles(9, 4, 0) == 5
    assert tile.idle_cycles(4, 9, 0) == 0
    assert [tile.idle_cycles(9, 4, dataflow) for dataflow in (1, 2)] == [8, 8], "pixels are complete cycle by cycle"
    assert tile.idle_cycles(1, 4, 1) == 0
    assert tile.compute_cycles(2, 3, 4, 9, 1) == 240


def test_parameters_end_with_the_last_slice() -> None:
    for channels in range(1, 130):
        for oc, post in ((4, 2), (16, 4), (32, 16)):
            for per_channel in (0, 1):
                groups = tile.output_groups(channels, oc, per_channel)
                last = tile.post_slices_last(channels, oc, post, per_channel)
                words = (groups - 1) * tile.post_slices(oc, post, per_channel) + last
                assert words == tile.param_buffer_words(channels, post)


def test_loads_by_hand() -> None:
    # three spatial tiles, two of output channels
    assert tile.input_loads(3, 2, 1, 0, 1) == 3
    assert tile.input_loads(3, 2, 1, 0, 0) == 6
    assert tile.input_loads(1, 2, 1, 0, 0) == 1
    assert tile.input_loads(3, 2, 1, 1, 1) == 6
    assert tile.input_loads(3, 2, 4, 0, 1) == 24
    assert tile.weight_loads(3, 2, 1, 1, 1) == 6
    assert tile.weight_loads(3, 2, 1, 1, 0) == 2
    assert tile.weight_loads(3, 1, 1, 1, 1) == 1
    assert tile.weight_loads(3, 2, 4, 1, 0) == 24
    assert tile.weight_loads(3, 2, 4, 0, 0) == 2


@pytest.mark.parametrize("dataflow", (0, 1, 2))
@pytest.mark.parametrize("mode", (0, 1))
@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 0), (0, 1)])
def test_buffer_accesses_are_those_of_the_nest(dataflow: int, mode: int, first: int, last: int) -> None:
    layer = {"mode": mode, "kernel_h": 2, "kernel_w": 3, "lane_rows": 2, "lane_cols": 3, "stride_h": 1, "stride_w": 1}
    layer |= {"row_pitch": 40, "window_w": 5}
    job = {"groups": 3, "steps": 1 if mode else 5, "first": first, "last": last, "idle": 1, "in_base": 0, "w_base": 0}
    cycles = [cycle for cycle in tile_cycles(layer, job, 4, 16, dataflow) if cycle.valid]
    mac = tile.mac_cycles(2, 3, job["steps"])
    read = [cycle for cycle in cycles if dataflow and not cycle.first]
    written = [cycle for cycle in cycles if dataflow and not cycle.last]
    inputs, weights = sum(cycle.read_input for cycle in cycles), sum(cycle.read_weight for cycle in cycles)
    counted = tile.buffer_accesses(3, 6, mac, first, last, mode, dataflow)
    assert counted == (inputs, weights, len(read), len(written))
    places = {cycle.sums for cycle in cycles}
    assert (
        len(places)
        == max(places) + 1
        == (tile.sum_places(6, 3, int(not (first and last)), dataflow) if dataflow else 1)
    )
