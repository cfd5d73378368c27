"""The whole chain on random designs: 0 different bits, 0 cycles of difference, whatever the memory does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dna.accelerator.chunk import Chunk
from dna.compile.default_mapping import random_chunk
from dna.verify import verify_many
from dna.verify.chunk_bins import CHUNK_BINS
from dna.verify.random_accelerators import random_accelerator
from dna.verify.random_designs import WINDOWS, Drawer, all_bins

BUILDS = Path(__file__).parents[2] / "build" / "sim"
DRAWS = 12


@pytest.mark.parametrize(("chunks", "seed"), [(1, 0), (1, 1), (2, 2), (3, 3)])
def test_bits_and_cycles_of_random_designs(chunks: int, seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    accelerator, drawer = random_accelerator(rng, chunks, 64), Drawer(rng)
    cases = [drawer.draw_passes(accelerator, 60_000, 30_000).case for _ in range(DRAWS)]
    assert any(case.passes > 1 for case in cases) and any(case.program.frames > 1 for case in cases)
    result = verify_many(cases, tmp_path / "many", build=BUILDS, seed=seed + 1)
    assert result.ok, "\n".join(result.differences)
    assert len(result.runs) == 2 * DRAWS
    for run, case in zip(result.runs[::2], cases, strict=True):
        assert run.mode == "fixed" and run.cycles_model == run.cycles_rtl
        assert run.pass_ends_model == run.pass_ends_rtl and len(run.pass_ends_rtl) == case.passes


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


def test_directed_draws_reach_every_window() -> None:
    drawer = Drawer(np.random.default_rng(1))
    chunk = random_chunk(np.random.default_rng(5))
    for _ in range(30):
        drawer.draw(chunk)
    windows = [name for name in all_bins() if "kernel " in name and "stride" in name]
    assert len(windows) == len(WINDOWS) == 4 * (11 * 4 * 2 - 4)
    assert sum(drawer.bins[name] > 0 for name in windows) > 15


def test_draws_on_several_chunks_cover_links_frames_and_passes() -> None:
    drawer = Drawer(np.random.default_rng(2))
    for index in range(8):
        accelerator = random_accelerator(np.random.default_rng(index), 1 + index % 4, 64)
        for _ in range(6):
            draw = drawer.draw_passes(accelerator, 20_000)
            assert draw.accelerator == accelerator and len(draw.case.program.chunks) == 1 + index % 4
            assert draw.mapping.on_chip == {n for n, t in draw.case.program.tensors.items() if t.region == "CHIP"}
    assert drawer.bins.keys() == set(all_bins())
    filled = [name for name in CHUNK_BINS if drawer.bins[name]]
    assert len(filled) > 0.8 * len(CHUNK_BINS) and drawer.bins["back-pressure"]
