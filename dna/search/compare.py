"""Several search methods on one problem with equal budgets: anytime gaps to a known optimum, with confidence intervals.

A gap is cost over optimum less one, infinite as long as nothing feasible was found. Medians over seeds have bootstrap
intervals; curves are step functions of evaluations or of seconds, since what a search found it keeps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dna.search.methods import Search
from dna.search.problem import Budget, Problem, SearchResult

Floats = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 4000


@dataclass(frozen=True)
class Interval:
    """A median over seeds and its bootstrap confidence interval, all in the unit of the values."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{percent(self.median)} ({percent(self.low)} to {percent(self.high)})"


def percent(gap: float) -> str:
    """A gap for people: `0`, `3.1 %`, `none found`."""
    if math.isinf(gap):
        return "none found"
    return "0" if abs(gap) < 5e-6 else f"{100 * gap:.3g} %"


def median_interval(values: Sequence[float], level: float = LEVEL, resamples: int = RESAMPLES) -> Interval:
    """The median and its percentile bootstrap interval; infinite values are larger than any other.

    The resampling has a fixed seed: the same values have the same interval.
    """
    if not values:
        raise ValueError("no values to take the median of")
    drawn = np.random.default_rng(0).choice(np.asarray(values, float), (resamples, len(values)))
    medians = np.sort(_median(drawn))
    tail = (1 - level) / 2
    low, high = (medians[round(share * (resamples - 1))] for share in (tail, 1 - tail))
    return Interval(float(low), float(_median(np.asarray([values], float))[0]), float(high))


def _median(rows: Floats) -> Floats:
    """Median of each row; where the two in the middle are not both finite, the larger one."""
    ordered = np.sort(rows, axis=1)
    low, high = ordered[:, (rows.shape[1] - 1) // 2], ordered[:, rows.shape[1] // 2]
    finite = np.isfinite(high)
    return np.where(finite, (np.where(finite, low, 0) + np.where(finite, high, 0)) / 2, high)


def gap(result: SearchResult, optimum: float) -> float:
    """Cost over optimum less one; infinite for an infeasible result."""
    return result.cost / optimum - 1 if result.feasible else math.inf


@dataclass(frozen=True)
class Curve:
    """Median gap with its interval at each place of a grid of evaluations or seconds."""

    grid: tuple[float, ...]
    points: tuple[Interval, ...]


def gaps_at(result: SearchResult, optimum: float, grid: Sequence[float], seconds: bool = False) -> list[float]:
    """The gap of the best design found within each budget of the grid, in evaluations or seconds."""
    spent = result.times if seconds else [count for count, _ in result.trace]
    costs = [cost for _, cost in result.trace]
    places = np.searchsorted(np.asarray(spent, float), np.asarray(grid, float), side="right")
    return [costs[place - 1] / optimum - 1 if place else math.inf for place in places.tolist()]


def curve(results: Sequence[SearchResult], optimum: float, grid: Sequence[float], seconds: bool = False) -> Curve:
    """Median over the results, one per seed."""
    columns = zip(*(gaps_at(result, optimum, grid, seconds) for result in results), strict=True)
    return Curve(tuple(grid), tuple(median_interval(column) for column in columns))


def compare(
    problem: Problem,
    searchers: Mapping[str, Search],
    budget: Budget,
    seeds: Sequence[int],
    watch: Callable[[str, SearchResult], None] | None = None,
) -> dict[str, list[SearchResult]]:
    """Every searcher with every seed and the same budget. `watch` sees each result as it comes."""
    results: dict[str, list[SearchResult]] = {name: [] for name in searchers}
    for name, search in searchers.items():
        for seed in seeds:
            results[name].append(search(problem, budget, seed))
            if watch is not None:
                watch(name, results[name][-1])
    return results
