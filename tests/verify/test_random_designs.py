"""The whole chain on random designs: 0 different bits, 0 cycles of difference, whatever the memory does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dna.accelerator.chunk import Chunk
from dna.compile.default_mapping import random_chunk
from dna.verify import verify_many
from dna.verify.random_designs import WINDOWS, Drawer, all_bins

BUILDS = Path(__file__).parents[2] / "build" / "sim"
DRAWS = 12


@pytest.mark.parametrize("seed", range(4))
def test_bits_and_cycles_of_random_designs(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    chunk, drawer = random_chunk(rng), Drawer(rng)
    cases = [drawer.draw(chunk).case for _ in range(DRAWS)]
    result = verify_many(cases, tmp_path / "many", build=BUILDS, seed=seed + 1)
    assert result.ok, "\n".join(result.differences)
    assert len(result.runs) == 2 * DRAWS
    fixed = [run for run in result.runs if run.mode == "fixed"]
    assert all(run.cycles_model == run.cycles_rtl for run in fixed)


@pytest.mark.parametrize(("oc", "ic", "px"), [(16, 4, 3), (4, 16, 2)])
def test_packed_array_and_post_lanes_of_luts(oc: int, ic: int, px: int, tmp_path: Path) -> None:
    """Every mode of the array runs. The schedule knows nothing of either choice, and its cycles are compared."""
    drawer = Drawer(np.random.default_rng(oc))
    chunk = Chunk(oc=oc, ic=ic, px=px, post_lanes=2, weight_words=2048, input_words=1024, packed=True, post_in_lut=True)
    drawn = [drawer.draw(chunk) for _ in range(DRAWS)]
    ops = {layer.op for draw in drawn for layer in draw.network.layers}
    assert {"conv", "depthwise", "maxpool", "avgpool"} <= ops
    result = verify_many([draw.case for draw in drawn], tmp_path / "many", build=BUILDS, modes=("fixed",))
    assert result.ok, "\n".join(result.differences)
    assert all(run.cycles_model == run.cycles_rtl for run in result.runs)


def test_array_and_post_lanes_of_luts(tmp_path: Path) -> None:
    """No DSP at all, and the same bits and cycles, with a memory as it is modelled and with stalls."""
    drawer = Drawer(np.random.default_rng(7))
    chunk = Chunk(oc=8, ic=2, px=2, post_lanes=2, weight_words=2048, mac_in_lut=True, post_in_lut=True)
    drawn = [drawer.draw(chunk) for _ in range(DRAWS)]
    ops = {layer.op for draw in drawn for layer in draw.network.layers}
    assert {"conv", "depthwise", "maxpool", "avgpool"} <= ops
    result = verify_many([draw.case for draw in drawn], tmp_path / "many", build=BUILDS)
    assert result.ok, "\n".join(result.differences)
    assert {run.mode for run in result.runs} == {"fixed", "stalls"}
    assert all(run.cycles_model == run.cycles_rtl for run in result.runs if run.mode == "fixed")


def test_directed_draws_reach_every_window() -> None:
    drawer = Drawer(np.random.default_rng(1))
    chunk = random_chunk(np.random.default_rng(5))
    for _ in range(30):
        drawer.draw(chunk)
    windows = [name for name in all_bins() if "kernel " in name and "stride" in name]
    assert len(windows) == len(WINDOWS) == 4 * (11 * 4 * 2 - 4)
    assert sum(drawer.bins[name] > 0 for name in windows) > 15
