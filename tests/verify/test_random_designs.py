"""The whole chain on random designs: 0 different bits, 0 cycles of difference, whatever the memory does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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


def test_directed_draws_reach_every_window() -> None:
    drawer = Drawer(np.random.default_rng(1))
    chunk = random_chunk(np.random.default_rng(5))
    for _ in range(30):
        drawer.draw(chunk)
    windows = [name for name in all_bins() if "kernel " in name and "stride" in name]
    assert len(windows) == len(WINDOWS) == 4 * (11 * 4 * 2 - 4)
    assert sum(drawer.bins[name] > 0 for name in windows) > 15
