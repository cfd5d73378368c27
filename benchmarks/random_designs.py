"""The proof on random designs: bits of golden and RTL, cycles of model and RTL, and a table of what was covered.

    python -m benchmarks.random_designs [--quick] [--draws 2000] [--per-accelerator 50] [--seed 0]

Each draw is a random network, mapping and memory on one of draws / per-accelerator random accelerators, simulated
twice: with a memory of fixed timing (bits and cycles must be equal) and with random stalls on every port (bits).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.common import Row, report, write
from dna.compile.default_mapping import random_chunk
from dna.verify import verify_many
from dna.verify.random_designs import Drawer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 draws on two accelerators")
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--per-accelerator", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draws, each = (20, 10) if given.quick else (given.draws, given.per_accelerator)
    drawer = Drawer(np.random.default_rng(given.seed))
    totals: Counter[str] = Counter()
    for index in range(-(-draws // each)):
        chunk = random_chunk(np.random.default_rng((given.seed, index)))
        drawn = [drawer.draw(chunk) for _ in range(min(each, draws - index * each))]
        folder = Path(tempfile.mkdtemp(prefix="random-designs-"))
        result = verify_many([draw.case for draw in drawn], folder / "many", seed=index * each + 1)
        shutil.rmtree(folder)
        for run in result.runs:
            totals["runs"] += 1
            totals["simulated cycles"] += run.cycles_rtl or 0
            totals["bits different"] += sum(layer.bits_different for layer in run.layers)
            totals["runs that failed"] += not run.ok
            if run.mode == "fixed":
                totals["cycles different"] += abs((run.cycles_model or 0) - (run.cycles_rtl or 0))
                totals["layers compared"] += len(run.layers)
                totals["counters different"] += sum(len(layer.differences) for layer in run.layers)
        print(f"{index + 1} accelerators, {dict(totals)}", *result.differences[:5], sep="\n", flush=True)
    empty = sum(count == 0 for count in drawer.bins.values())
    rows = [
        Row("designs", draws, "", extra={"accelerators": -(-draws // each), "refused draws": drawer.refused}),
        Row("layers compared", totals["layers compared"]),
        Row("cycles simulated", totals["simulated cycles"]),
        Row("bits different", totals["bits different"], "bit", "== 0"),
        Row("cycles different, model and RTL", totals["cycles different"], "cycle", "== 0"),
        Row("layer counters different, model and RTL", totals["counters different"], "", "== 0"),
        Row("runs that failed in any way", totals["runs that failed"], "", "== 0"),
        Row("coverage bins", len(drawer.bins)),
        Row("coverage bins empty", empty, "", "" if given.quick else "== 0"),
        *(Row(f"covered: {name}", count) for name, count in drawer.bins.items()),
    ]
    write("random_designs", rows)
    return report(rows[:9])


if __name__ == "__main__":
    sys.exit(main())
