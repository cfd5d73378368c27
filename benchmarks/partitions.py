"""Several engines for AlexNet's convolutions at 448 and 576 multipliers: compute cycles only, the proven optimum.

    python -m benchmarks.partitions [--quick]

In two spaces, each with any number of engines and any half of a layer on any engine: `oc x ic` engines as FPGA'15 and
ISCA'17 count them, and `oc x ic x px` engines as a chunk may have them. Each also with the halves of conv1 and conv3,
which read the same inputs, as one layer where one engine has both: the papers do not count so. Beside the optimum stand
the best published partition, and what searchers find in the same spaces with the same number of evaluations (`--quick`:
without those).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.common import Row, report, write
from dna.search import counterfactual, evolutionary, random_search
from dna.search.engine_problem import PartitionProblem, own_problem, published_problem
from dna.search.engine_sets import Engines, Solution, floor, own_engines, published_engines, solve
from dna.search.problem import Budget, SearchResult
from dna.search.published import ALEXNET_HALF, HALVES, ISCA17, JOINED, Convolution, Partition, best_partition

MULTIPLIERS = (448, 576)
COPIES = (HALVES,) * len(ALEXNET_HALF)
HALF_LAYERS = tuple(layer for layer in ALEXNET_HALF for _ in range(HALVES))
SPACES: dict[str, Callable[..., Engines]] = {
    "oc x ic": published_engines,
    "oc x ic x px": own_engines,
}
PROBLEMS: dict[str, Callable[[Sequence[Convolution], int, int], PartitionProblem]] = {
    "oc x ic": published_problem,
    "oc x ic x px": own_problem,
}
SEARCHERS: dict[str, Callable[[PartitionProblem, Budget, int], SearchResult]] = {
    "random": random_search.search,
    "evolutionary": evolutionary.search,
    "counterfactual": counterfactual.search,
}
MOST_ENGINES = 6
"""Engines that a searcher may have: as many as the largest published partition."""
EVALUATIONS = 20_000
SEEDS = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the proven optima only; nothing is written")
    given = parser.parse_args()
    rows = [row for partition in ISCA17 for row in published_rows(partition)]
    for most in MULTIPLIERS:
        for space in SPACES:
            rows += space_rows(space, most, not given.quick) + joined_rows(space, most)
    if not given.quick:
        write("partitions", rows)
    return report(rows)


def published_rows(partition: Partition) -> list[Row]:
    """The partition by its own model, and how far that is from what the paper prints, rounded alike."""
    pairs = zip(partition.engine_cycles, partition.kilocycles, strict=True)
    off = max(abs(round(cycles / 1000) - printed) for cycles, printed in pairs)
    engines = [
        {"engine": f"{engine.tm} x {engine.tn}", "halves": list(names), "cycles": cycles}
        for engine, names, cycles in zip(partition.engines, partition.layers, partition.engine_cycles, strict=True)
    ]
    name = f"ISCA'17, {partition.name}, {partition.multipliers} multipliers"
    return [
        Row(f"{name}: interval", partition.interval, "cycle", "", {"engines": engines}),
        Row(f"{name}: utilisation", round(partition.utilisation, 4), "fraction"),
        Row(f"{name}: thousands of cycles of an engine, off the printed ones", off, "", "== 0"),
    ]


def space_rows(space: str, most: int, search: bool) -> list[Row]:
    """The optimum of a space with any number of engines, with few, and what searchers find."""
    engines = SPACES[space](ALEXNET_HALF, COPIES, most)
    best = solve(engines, COPIES, most)
    name = f"{space}, {most} multipliers"
    rows = optimum_rows(name, most, engines, best)
    for count in range(1, len(best.engines)):
        fewer = solve(engines, COPIES, most, count).interval
        rows.append(Row(f"{name}: interval with at most {count} engines", fewer, "cycle"))
    return rows + (searcher_rows(space, most, best) if search else [])


def joined_rows(space: str, most: int) -> list[Row]:
    """The optimum where halves with the same inputs may be one layer."""
    engines = SPACES[space](ALEXNET_HALF, COPIES, most, JOINED)
    name = f"{space}, {most} multipliers, conv1 and conv3 whole"
    return optimum_rows(name, most, engines, solve(engines, COPIES, most))


def optimum_rows(name: str, most: int, engines: Engines, best: Solution) -> list[Row]:
    """Interval and utilisation of a proven optimum, with its engines."""
    used = [
        {"engine": " x ".join(str(n) for n in used.sizes), "halves": halves(used.load), "cycles": used.cycles}
        for used in best.engines
    ]
    extra = {"engines": used, "multipliers": best.multipliers, "sizes of engines": len(engines.sizes)}
    return [
        Row(f"{name}: interval", best.interval, "cycle", f"<= {best_partition(most).interval}", extra),
        Row(f"{name}: utilisation", round(utilisation(best, most), 4), "fraction"),
    ]


def halves(load: Sequence[int]) -> list[str]:
    return [layer.name for layer, count in zip(ALEXNET_HALF, load, strict=True) for _ in range(count)]


def utilisation(solution: Solution, most: int) -> float:
    """Share of all multipliers there are, used or not, times cycles that multiply."""
    return floor(ALEXNET_HALF, COPIES, most) / solution.interval


def searcher_rows(space: str, most: int, best: Solution) -> list[Row]:
    """Median distance of each searcher's best to the optimum; a run without a feasible design counts as none."""
    problem = PROBLEMS[space](HALF_LAYERS, MOST_ENGINES, most)
    rows = []
    for name, search in SEARCHERS.items():
        found = [search(problem, Budget(evaluations=EVALUATIONS), seed) for seed in range(SEEDS)]
        gaps = [result.cost / best.interval - 1 if result.feasible else float("inf") for result in found]
        extra = {
            "evaluations": EVALUATIONS,
            "seeds": SEEDS,
            "feasible": sum(result.feasible for result in found),
            "smallest gap": round(min(gaps), 4),
            "seconds": round(median(result.seconds for result in found), 2),
        }
        text = f"{space}, {most} multipliers: {name} search, median gap to the optimum"
        gap = median(gaps)
        rows.append(Row(text, round(gap, 4) if gap < float("inf") else "no design in most runs", "fraction", "", extra))
    return rows


if __name__ == "__main__":
    sys.exit(main())
