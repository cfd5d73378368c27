"""The search methods by name. All have one signature, `search(problem, budget, seed) -> SearchResult`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dna.errors import UserError
from dna.search import bayesian, counterfactual, evolutionary, exact, exact_runs, paper, random_search, reinforce
from dna.search.accelerator import AcceleratorProblem
from dna.search.pipeline import PipelineProblem
from dna.search.problem import Budget, Problem, SearchResult

Search = Callable[[Any, Budget, int], SearchResult]

SEARCHERS: dict[str, Search] = {
    "counterfactual": counterfactual.search,
    "evolutionary": evolutionary.search,
    "bayesian": bayesian.search,
    "reinforce": reinforce.search,
    "paper": paper.search,
    "random": random_search.search,
}
"""Methods for any problem. The exact ones know their problem and are not among them."""


def default(problem: Problem) -> tuple[str, Search]:
    """The method to take where none is asked for: an exact one where the problem allows, else `counterfactual`."""
    if isinstance(problem, AcceleratorProblem):
        return "exact", exact.search
    if isinstance(problem, PipelineProblem):
        try:
            exact_runs.check(problem)
            return "exact", exact_runs.search
        except UserError:
            pass
    return "counterfactual", counterfactual.search
