"""How far from the enumerated optimum every search method ends, against evaluations and against seconds.

    python -m benchmarks.search_optimality [--quick] [--jobs 3]

Three spaces (`optimality_spaces.json`, frozen before any search was tuned on them) are enumerated in full: one chunk
with all its buffers, runs of layers on two or three chunks, layers on any of two engines. The default method must find
the optimum with every seed. The others get `EVALUATIONS` designs, and in a second round `SECONDS`, with ten seeds;
medians have bootstrap intervals of 95 %. In the first round prices are looked up, which changes nothing but the time;
in the second they are made as for users, though every layer was priced before, for every method alike. Seconds are
those of one core that were used, so that what else runs on the machine does not count.

Ablations: mappings drawn instead of solved (one chunk); no exchange behind the gradient, exchange behind others.
`--quick` takes small parts of the spaces, which are easy, two seeds and no Bayesian optimisation; nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch

from benchmarks.anytime_chart import Panel, anytime_chart
from benchmarks.common import ROOT, Row, report, write
from benchmarks.optimality_problems import Enumerated, Solved, build_problem, definitions, smaller
from dna.runs import write_atomically
from dna.search import counterfactual
from dna.search.ablation import Unsolved, with_exchange
from dna.search.accelerator import AcceleratorProblem
from dna.search.compare import compare, curve, gap, median_interval
from dna.search.methods import SEARCHERS, Search, default
from dna.search.problem import Budget, SearchResult

EVALUATIONS = 1000
SECONDS = 1.0
SEEDS = 10
DEFAULT_SEEDS = 20
DEFAULT_EVALUATIONS = 30_000
"""Of a default method that samples; exact ones end by themselves."""
HARD = 0.1
"""Median gap of random designs from which on a space counts as hard."""
COUNTS = tuple(round(10 ** (1 + step / 12)) for step in range(25))
TIMES = tuple(10 ** (-2 + step / 12) for step in range(25))
CHART = ROOT / "docs" / "search_optimality.svg"


@dataclass(frozen=True)
class Plan:
    """How much is run."""

    seeds: range
    default_seeds: range
    evaluations: int
    seconds: float
    methods: Mapping[str, Search]
    hard: str = f">= {HARD}"
    """Claimed of the median gap of random designs."""


FULL = Plan(range(SEEDS), range(DEFAULT_SEEDS), EVALUATIONS, SECONDS, SEARCHERS)
SAMPLE = {name: search for name, search in SEARCHERS.items() if name != "bayesian"}
QUICK = Plan(range(2), range(2), EVALUATIONS // 4, SECONDS / 4, SAMPLE, hard="")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a sample; nothing is written")
    parser.add_argument("--jobs", type=int, default=1, help="spaces measured at the same time")
    asked = parser.parse_args()
    rows: list[Row] = []
    panels: list[list[Panel]] = []
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        for measured, drawn in pool.map(partial(_measured, quick=asked.quick), definitions()):
            rows += measured
            panels.append(drawn)
    if not asked.quick:
        write("search_optimality", rows)
        write_atomically(CHART, anytime_chart("Median gap to the enumerated optimum", panels))
    return report(rows)


def _measured(name: str, quick: bool) -> tuple[list[Row], list[Panel]]:
    torch.set_num_threads(1)
    given = definitions()[name]
    return measure(name, smaller(given) if quick else given, QUICK if quick else FULL)


def measure(name: str, given: Mapping[str, Any], plan: Plan) -> tuple[list[Row], list[Panel]]:
    """All figures of one space, and its two panels."""
    cold = build_problem(given)
    first = default(cold)[1](cold, _default_budget(cold), 0)
    of, started = build_problem(given), time.process_time()
    everything = Enumerated.all(of)
    size = {
        "designs": everything.size,
        "feasible": round(everything.feasible_share, 4),
        "optimum": everything.optimum,
        "designs at the optimum": everything.optima,
        "seconds to enumerate": round(time.process_time() - started, 1),
        "seconds of the default when nothing was priced before": round(first.seconds, 1),
    }
    print(f"{name}: {size}", flush=True)
    rows, tops = _default_rows(name, of, everything, plan, size)
    counted = compare(everything, plan.methods, Budget(evaluations=plan.evaluations), plan.seeds)
    timed = compare(of, plan.methods, Budget(seconds=plan.seconds, clock=time.process_time), plan.seeds)
    rows.append(_hard_row(name, counted["random"], everything.optimum, plan))
    for method in plan.methods:
        rows.append(_method_row(name, method, counted[method], timed[method], everything.optimum))
    rows += _ablation_rows(name, of, everything, counted, plan)
    panels = []
    for seconds, unit, results, grid in (
        (False, "evaluations", counted, COUNTS),
        (True, "seconds", timed, TIMES),
    ):
        most = plan.seconds if seconds else plan.evaluations
        places = [place for place in grid if place <= most * 1.0001]
        curves = {method: curve(found, everything.optimum, places, seconds) for method, found in results.items()}
        if seconds and default(of)[0] == "exact":
            curves["default"] = curve(tops, everything.optimum, places, seconds)
        panels.append(Panel(f"{name}, {everything.size:,} designs", unit, curves))
    return rows, panels


def _default_budget(of: Solved) -> Budget:
    """Exact methods end by themselves."""
    if default(of)[0] == "exact":
        return Budget(clock=time.process_time)
    return Budget(evaluations=DEFAULT_EVALUATIONS, clock=time.process_time)


def _default_rows(
    name: str, of: Solved, everything: Enumerated, plan: Plan, size: Mapping[str, float]
) -> tuple[list[Row], list[SearchResult]]:
    """What the tool does unasked, with every seed; where it samples, prices are looked up."""
    method, search = default(of)
    optimum, on = everything.optimum, of if method == "exact" else everything
    results = compare(on, {method: search}, _default_budget(of), plan.default_seeds)[method]
    reached = sum(result.feasible and result.cost == optimum for result in results)
    proven = sum(result.lower_bound == optimum for result in results)
    extra = {
        "method": method,
        "proven": proven,
        "median seconds": round(median_interval([r.seconds for r in results]).median, 2),
        "evaluations": results[0].evaluations,
        "median evaluations to the best": median_interval([float(r.trace[-1][0]) for r in results]).median,
        **size,
    }
    seeds = len(plan.default_seeds)
    title = f"{name}: default ({method}) at the optimum, seeds of {seeds}"
    return [Row(title, reached, "", f"== {seeds}", extra)], results


def _hard_row(name: str, results: Sequence[SearchResult], optimum: float, plan: Plan) -> Row:
    found = median_interval([gap(result, optimum) for result in results])
    title = f"{name}: median gap of random at {plan.evaluations} evaluations"
    return Row(title, round(found.median, 4), "fraction", plan.hard)


def _method_row(
    name: str, method: str, counted: Sequence[SearchResult], timed: Sequence[SearchResult], optimum: float
) -> Row:
    """Gap after the evaluations and after the seconds, in words, with the figures behind it."""
    gaps, later = ([gap(result, optimum) for result in results] for results in (counted, timed))
    at_count, at_time = median_interval(gaps), median_interval(later)
    made = median_interval([float(result.evaluations) for result in timed]).median
    text = f"{at_count}; {at_time} with {made:,.0f} designs"
    extra = {
        "gaps at equal evaluations": [round(g, 6) for g in gaps],
        "gaps at equal seconds": [round(g, 6) for g in later],
        "optimum found": sum(g == 0 for g in gaps),
    }
    return Row(f"{name}: {method}", text, "", extra=extra)


def _ablation_rows(
    name: str, of: Solved, everything: Enumerated, counted: Mapping[str, Sequence[SearchResult]], plan: Plan
) -> list[Row]:
    """What the exchange of pairs and the inner solver are worth."""
    budget, optimum = Budget(evaluations=plan.evaluations), everything.optimum
    variants = {
        "counterfactual, single exchanges only": counterfactual.Settings(pairs=0),
        "counterfactual, no exchange": counterfactual.Settings(finish=False),
    }
    others: dict[str, Search] = {n: partial(counterfactual.search, settings=s) for n, s in variants.items()} | {
        f"{method} with exchange": with_exchange(plan.methods[method]) for method in ("evolutionary", "random")
    }
    rows = []
    for title, results in compare(everything, others, budget, plan.seeds).items():
        rows.append(_plain_row(f"{name}, ablation: {title}", results, optimum))
    if isinstance(of, AcceleratorProblem):
        for method in ("counterfactual", "random"):
            found = [
                plan.methods[method](Unsolved(of, torch.Generator().manual_seed(seed)), budget, seed)
                for seed in plan.seeds
            ]
            rows.append(_plain_row(f"{name}, ablation: {method}, mappings drawn", found, optimum))
    return rows


def _plain_row(title: str, results: Sequence[SearchResult], optimum: float) -> Row:
    gaps = [gap(result, optimum) for result in results]
    return Row(title, str(median_interval(gaps)), "", extra={"gaps at equal evaluations": [round(g, 6) for g in gaps]})


if __name__ == "__main__":
    sys.exit(main())
