"""How far the estimate for ports that share one memory's bandwidth is from the RTL.

    python -m benchmarks.shared_memory [--quick]

Networks of the zoo at reduced size on one accelerator with two ports, whose reads and writes share 8 to 21 bytes per
cycle: cycles of a frame in RTL beside those of the schedule with `shared_bytes`. On private memories that
schedule is exact; here it is an estimate, within 3 % is claimed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.common import Row, report, write
from benchmarks.zoo_verify import case, quantised
from dna.accelerator.board import load_board
from dna.accelerator.chunk import Memory
from dna.cost.schedule import schedule
from dna.verify import Case, verify_many

NETWORKS = ("mobilenet_v2", "resnet18", "squeezenet1_1", "vgg16", "googlenet")
SHARED = (8, 12, 16, 21)
"""Bytes per cycle; the two ports alone could move 48 (16 read and 16 written, 16 read)."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two networks at two bandwidths")
    given = parser.parse_args()
    board = load_board("zcu104")
    memory = Memory(board.memory.read_latency, 1, board.memory.write_latency)
    names = NETWORKS[:2] if given.quick else NETWORKS
    cases = [Case(made.program, made.reference, memory) for made in (case(quantised(name), board) for name in names)]
    folder = Path(tempfile.mkdtemp(prefix="shared-memory-"))
    rows: list[Row] = []
    try:
        for shared in SHARED[-2:] if given.quick else SHARED:
            rows += compared(names, cases, shared, folder)
            report(rows[-len(names) :])
    finally:
        shutil.rmtree(folder)
    worst = max(abs(float(row.value)) for row in rows)
    rows.append(Row("largest error", worst, "fraction", "<= 0.03"))
    if not given.quick:
        write("shared_memory", rows)
    return report(rows[-1:])


def compared(names: tuple[str, ...], cases: list[Case], shared: int, folder: Path) -> list[Row]:
    """One row per network: the estimate's relative error."""
    where = folder / str(shared)
    runs = verify_many(cases, where, modes=("shared",), build=folder / "build", shared_bytes=shared).runs
    rows = []
    for name, made, run in zip(names, cases, runs, strict=True):
        estimate = schedule(made.program, made.memory, shared_bytes=shared).cycles
        alone = schedule(made.program, made.memory).cycles
        cycles = run.cycles_rtl or 0
        extra = {"estimate": estimate, "RTL": cycles, "without sharing": alone, "equal bits": run.ok}
        error = round(estimate / cycles - 1, 4) if cycles and run.ok else 1.0
        rows.append(Row(f"{name}, {shared} bytes per cycle shared: error", error, "fraction", "", extra))
    return rows


if __name__ == "__main__":
    sys.exit(main())
