"""Accelerators for the networks of the zoo, found by the default search and by the other methods.

    python -m benchmarks.zoo_accelerators [--quick] [--networks NAME,NAME] [--boards NAME,NAME]
                                          [--methods NAME,NAME] [--seconds 60] [--again]

Every method has the same seconds, search and finish together, on the same network at its published size, and is judged
by the exact schedule of what it ends with. The bound is the default search's: by the closed form, no design of its
space takes fewer cycles. Rows are written as they come; what stands in the result already is not measured again, so
that an interrupted run can go on (`--again`: all anew). Run it on a quiet machine: seconds are of the clock.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from benchmarks.common import Row, chosen, report, write
from benchmarks.common import earlier as measured_before
from dna.accelerator.board import load_board
from dna.errors import UserError
from dna.network.zoo import build, names
from dna.search.accelerate import METHODS, Solved, accelerate
from dna.search.goal import Fastest
from dna.search.problem import Budget

BOARDS = ("zc706", "zcu104")
DEFAULT = "exact"
"""The method that `dna search` takes where none is asked for."""
SECONDS = 60.0
QUICK: tuple[Sequence[str], Sequence[str], Sequence[str], float]
QUICK = ("squeezenet1_1",), ("zc706",), (DEFAULT, "random"), 20.0
DISTANCE = 5.0
"""Percent above the bound that are claimed."""
TOLERANCE = 1.05
"""Of the seconds: a schedule that has begun is finished."""
NAME = "zoo_accelerators"


@dataclass(frozen=True)
class Task:
    """One search."""

    network: str
    board: str
    method: str
    seconds: float

    @property
    def title(self) -> str:
        method = "" if self.method == DEFAULT else f", {self.method}"
        return f"{self.network}, {self.board}{method}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small network, two methods; writes nothing")
    parser.add_argument("--networks", help="only these, separated by commas")
    parser.add_argument("--boards", help=f"of these, separated by commas; {','.join(BOARDS)} if not given")
    parser.add_argument("--methods", help=f"of these, separated by commas: {', '.join(METHODS)}; all if not given")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each search; %(default)g if not given")
    parser.add_argument("--again", action="store_true", help="forget what was measured before")
    given = parser.parse_args()
    torch.set_num_threads(1)
    networks, boards, methods, seconds = QUICK
    if not given.quick:
        networks = chosen(parser, given.networks, names(), names())
        boards = chosen(parser, given.boards, BOARDS, None)
        methods = chosen(parser, given.methods, (DEFAULT, *(m for m in METHODS if m != DEFAULT)), METHODS)
        seconds = given.seconds
    tasks = [Task(*each, seconds) for each in _each(networks, boards, methods)]
    rows = [] if given.quick or given.again else earlier()
    for task in tasks:
        if any(row.extra["task"] == task.title and row.extra["budget"] == task.seconds for row in rows):
            continue
        new = measured(task)
        report(new)
        rows = [row for row in rows if row.extra["task"] != task.title] + new
        if not given.quick:
            write(NAME, [*rows, *summary(rows)])
    return report(summary(rows)) | int(any(row.holds is False for row in rows))


def _each(networks: Sequence[str], boards: Sequence[str], methods: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """The default method first, everywhere: what matters most stands first if time runs out."""
    for method in methods:
        for board in boards:
            for network in networks:
                yield network, board, method


def earlier() -> list[Row]:
    """Rows of the result as it stands, summaries left out."""
    return [row for row in measured_before(NAME) if "task" in row.extra]


def measured(task: Task) -> list[Row]:
    """The search's rows; one that ends without a design has 0 frames/s."""
    board, network = load_board(task.board), build(task.network).network
    began = time.monotonic()
    key = {"task": task.title, "network": task.network, "board": task.board, "method": task.method}
    key |= {"budget": task.seconds}  # type: ignore[dict-item]
    try:
        solved = accelerate(network, board, Fastest(), task.method, Budget(seconds=task.seconds))
    except UserError as problem:
        return [Row(f"{task.title}: frames/s", 0, "", "", key | {"problem": str(problem)})]
    seconds = time.monotonic() - began
    rate = board.cycles_per_second / solved.cycles
    shape = {"chunks": [f"{chunk.oc} x {chunk.ic} x {chunk.px}" for chunk in solved.accelerator.chunks]}
    rows = [Row(f"{task.title}: frames/s", round(rate, 2), "", "", key | {"cycles": solved.cycles} | shape)]
    rows.append(Row(f"{task.title}: seconds", round(seconds, 1), "s", f"<= {task.seconds * TOLERANCE:g}", key))
    if task.method == DEFAULT:
        rows += bound_rows(task, solved, key)
    return rows


def bound_rows(task: Task, solved: Solved, key: dict[str, str]) -> list[Row]:
    """How far the default search ends above its own lower bound."""
    bound = solved.found.lower_bound
    if not bound:
        return []
    percent = round(100 * (solved.cycles / bound - 1), 2)
    extra = {**key, "lower bound": round(bound), "closed form": round(solved.found.cost)}
    return [Row(f"{task.title}: cycles above the bound", percent, "%", f"<= {DISTANCE:g}", extra)]


def summary(rows: Sequence[Row]) -> list[Row]:
    """By method, over the tasks that it and the default search both did: its rates over the default's, and where it
    was better."""
    rates = {
        (row.extra["network"], row.extra["board"], row.extra["method"]): float(row.value)
        for row in rows
        if row.name.endswith(": frames/s")
    }
    found = []
    for method in dict.fromkeys(method for _, _, method in rates if method != DEFAULT):
        both = [
            (rate, rates[n, b, DEFAULT])
            for (n, b, m), rate in rates.items()
            if m == method and (n, b, DEFAULT) in rates
        ]
        if both:
            ratios = [rate / best for rate, best in both]
            mean = round(sum(ratios) / len(ratios), 3)
            better = sum(ratio > 1 for ratio in ratios)
            found.append(Row(f"{method}: frames/s over the default's, mean", mean, "", "", {"tasks": len(both)}))
            found.append(Row(f"{method}: faster than the default", better, "", "", {"tasks": len(both)}))
    return [*found, *worst(rows), *slowest(rows)]


def worst(rows: Sequence[Row]) -> list[Row]:
    """The default search's largest distance to its bound."""
    values = [float(row.value) for row in rows if row.name.endswith(": cycles above the bound")]
    if not values:
        return []
    spread = {"median": statistics.median(values), "searches": len(values)}
    return [Row(f"{DEFAULT}: cycles above the bound, worst", max(values), "%", f"<= {DISTANCE:g}", spread)]


def slowest(rows: Sequence[Row]) -> list[Row]:
    """The longest search of each method."""
    seconds: dict[str, list[float]] = {}
    for row in rows:
        if row.name.endswith(": seconds"):
            seconds.setdefault(row.extra["method"], []).append(float(row.value))
    return [
        Row(f"{method}: slowest search", max(values), "s", "", {"median": statistics.median(values)})
        for method, values in seconds.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
