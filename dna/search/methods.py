"""The search methods by name. All have one signature, `search(problem, budget, seed) -> SearchResult`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dna.search import bayesian, counterfactual, evolutionary, paper, random_search, reinforce
from dna.search.problem import Budget, SearchResult

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
