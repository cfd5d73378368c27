"""What the finish is worth: the same proposals, the best of them as it is proposed and after the finish.

    python -m benchmarks.finish_ablation [--quick] [--networks NAME,NAME] [--board zc706] [--seconds 60]

Off: the proposal with the best price is realised and scheduled exactly, and that is the design. On: the finish has what
the proposals leave of the seconds. Both by the exact schedule.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Sequence

import torch

from benchmarks.common import Row, report, write
from dna.accelerator.board import Board, load_board
from dna.errors import UserError
from dna.network.zoo import build, names
from dna.search.accelerate import SEARCHING
from dna.search.exact_pipeline import propose
from dna.search.finish import finish
from dna.search.problem import Budget

SECONDS = 60.0
QUICK = ("squeezenet1_1",), 20.0
NAME = "finish_ablation"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small network; writes nothing")
    parser.add_argument("--networks", help="only these, separated by commas")
    parser.add_argument("--board", default="zc706")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each network; %(default)g if not given")
    given = parser.parse_args()
    torch.set_num_threads(1)
    networks: Sequence[str] = given.networks.split(",") if given.networks else names()
    seconds = given.seconds
    if given.quick:
        networks, seconds = QUICK
    board, rows = load_board(given.board), []
    for network in networks:
        rows.append(measured(network, board, seconds))
        report(rows[-1:])
        if not given.quick:
            write(NAME, [*rows, *summary(rows)])
    return report(summary(rows))


def measured(name: str, board: Board, seconds: float) -> Row:
    """Cycles per frame without the finish over those with it; 0 where no proposal alone can be built."""
    network = build(name).network
    began = time.monotonic()
    best = propose(network, board, Budget(seconds=SEARCHING * seconds))
    left = max(1.0, seconds - (time.monotonic() - began))
    after = finish(network, best.points, board, budget=Budget(seconds=left)).settled.cycles
    extra = {"network": name, "board": board.name, "on": after}
    try:
        before = finish(network, best.points[:1], board, budget=Budget(evaluations=1)).settled.cycles
    except UserError as problem:
        return Row(f"{name}: cycles without / with the finish", 0, "", "", extra | {"problem": str(problem)})
    return Row(f"{name}: cycles without / with the finish", round(before / after, 3), "", "", extra | {"off": before})


def summary(rows: Sequence[Row]) -> list[Row]:
    values = [float(row.value) for row in rows if row.value]
    if not values:
        return []
    spread = {"lowest": min(values), "highest": max(values), "networks": len(values)}
    return [Row("cycles without / with the finish, median", statistics.median(values), "", "", spread)]


if __name__ == "__main__":
    sys.exit(main())
