"""The proof on random designs: bits of golden and RTL, cycles of model and RTL, and a table of what was covered.

    python -m benchmarks.random_designs [--quick] [--draws 2000] [--per-accelerator 100] [--seed 0]

Each draw is a random network, mapping, number of frames and passes, and memory behind each port, on one of
draws / per-accelerator random accelerators: every other one is a single chunk, the others are two to four chunks with
random links. It is simulated twice: with memories of fixed timing (bits, cycles, ends of passes and all counters of all
layers must be equal) and with random stalls on every port (bits).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.common import Row, report, write
from dna.accelerator.chunk import Accelerator
from dna.verify import verify_many
from dna.verify.random_accelerators import MAX_CHUNKS, random_accelerator
from dna.verify.random_designs import Drawer

MULTIPLIERS = {1: 96, 2: 64, 3: 48, 4: 48}
"""At most so many per chunk, by number of chunks: large arrays take minutes to build and show nothing more."""
MACS = 40_000
"""So many window reads in one run, or a few times that."""
CYCLES = 30_000
"""At most so many cycles of one run on memories of fixed timing."""


def drawn_accelerator(seed: int, index: int) -> Accelerator:
    """1, 2, 1, 3, 1, 4, 1, 2, ... chunks."""
    chunks = 2 + index // 2 % (MAX_CHUNKS - 1) if index % 2 else 1
    return random_accelerator(np.random.default_rng((seed, index)), chunks, MULTIPLIERS[chunks])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 draws on two accelerators")
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--per-accelerator", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draws, each = (20, 10) if given.quick else (given.draws, given.per_accelerator)
    accelerators = -(-draws // each)
    drawer = Drawer(np.random.default_rng(given.seed))
    totals: Counter[str] = Counter()
    begin = time.perf_counter()
    for index in range(accelerators):
        accelerator = drawn_accelerator(given.seed, index)
        drawn = [drawer.draw_passes(accelerator, MACS, CYCLES) for _ in range(min(each, draws - index * each))]
        folder = Path(tempfile.mkdtemp(prefix="random-designs-"))
        result = verify_many([draw.case for draw in drawn], folder / "many", seed=index * each + 1)
        shutil.rmtree(folder)
        totals["designs on several chunks"] += len(drawn) * (len(accelerator.chunks) > 1)
        for run in result.runs:
            totals["simulated cycles"] += run.cycles_rtl or 0
            totals["bits different"] += sum(layer.bits_different for layer in run.layers)
            totals["runs that failed"] += not run.ok
            if run.mode == "fixed":
                totals["cycles different"] += abs((run.cycles_model or 0) - (run.cycles_rtl or 0))
                totals["pass ends compared"] += len(run.pass_ends_rtl)
                totals["pass ends different"] += len(run.passes_different)
                totals["layers compared"] += len(run.layers)
                totals["counters different"] += sum(len(layer.differences) for layer in run.layers)
        print(f"{index + 1} accelerators, {dict(totals)}", *result.differences[:5], sep="\n", flush=True)
    minutes = (time.perf_counter() - begin) / 60
    empty = [name for name, count in drawer.bins.items() if not count]
    print(*(f"empty: {name}" for name in empty if not given.quick), sep="\n")
    extra = {"accelerators": accelerators, "refused draws": drawer.refused}
    rows = [
        Row("designs", draws, "", extra=extra),
        Row("designs on several chunks", totals["designs on several chunks"]),
        Row("designs per minute", round(draws / minutes, 1), "", extra={"minutes": round(minutes, 1)}),
        Row("layers compared", totals["layers compared"]),
        Row("ends of passes compared", totals["pass ends compared"]),
        Row("cycles simulated", totals["simulated cycles"]),
        Row("bits different", totals["bits different"], "bit", "== 0"),
        Row("cycles different, model and RTL", totals["cycles different"], "cycle", "== 0"),
        Row("ends of passes different, model and RTL", totals["pass ends different"], "", "== 0"),
        Row("layer counters different, model and RTL", totals["counters different"], "", "== 0"),
        Row("runs that failed in any way", totals["runs that failed"], "", "== 0"),
        Row("coverage bins", len(drawer.bins)),
        Row("coverage bins empty", len(empty), "", "" if given.quick else "== 0"),
    ]
    write("random_designs", [*rows, *(Row(f"covered: {name}", count) for name, count in drawer.bins.items())])
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())
