"""Bayesian optimisation with a library: Optuna's tree-structured Parzen estimator over categorical axes.

Designs are asked for in small batches, those under way counting as bad (constant liar), and told their score: the
logarithm of cost plus penalised excess. The estimator models the axes jointly, which in Optuna is also the faster
way. It takes nearly all of the time: milliseconds per design, and more with each.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

from dna.search.legal import repaired
from dna.search.problem import Budget, Choices, Ledger, Problem, SearchResult

if TYPE_CHECKING:
    import optuna

BATCH = 8
"""Designs asked for before any of them is priced."""


def search(problem: Problem, budget: Budget, seed: int = 0) -> SearchResult:
    """Ask, price and tell until the budget is spent. Deterministic in `seed` where the budget is one of evaluations.

    What is asked for and illegal is told as failed; the design it is repaired to is priced and told instead.
    """
    generator = torch.Generator().manual_seed(seed)
    ledger = Ledger(problem, budget)
    space: Choices = problem.space
    axes = [axis for axis, width in enumerate(space.widths) if width > 1]
    study, options = _study(space, axes, seed)
    while left := ledger.left:
        trials = [study.ask(options) for _ in range(min(BATCH, left))]
        asked = torch.zeros(len(trials), len(space.widths), dtype=torch.int64)
        asked[:, axes] = torch.tensor([[trial.params[str(axis)] for axis in axes] for trial in trials]).long()
        designs = repaired(space, asked, space.sample(len(asked), generator), generator)
        scores = ledger.price(designs).guide.tolist()
        intact = (designs == asked).all(dim=1).tolist()
        for trial, design, same, score in zip(trials, designs[:, axes].tolist(), intact, scores, strict=True):
            _tell(study, trial, options, None if same else design, score)
    return ledger.result("bayesian")


def _study(
    space: Choices, axes: list[int], seed: int
) -> tuple[optuna.Study, dict[str, optuna.distributions.BaseDistribution]]:
    """An empty study in memory and one categorical parameter per axis that has a choice, named by its number."""
    import optuna  # takes a second to load, which other methods need not wait for

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    loud = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=sampler)
    optuna.logging.set_verbosity(loud)
    choices = optuna.distributions.CategoricalDistribution
    return study, {str(axis): choices(list(range(space.widths[axis]))) for axis in axes}


def _tell(
    study: optuna.Study,
    trial: optuna.Trial,
    options: dict[str, optuna.distributions.BaseDistribution],
    repaired_to: list[int] | None,
    score: float,
) -> None:
    """The score of a trial or, where it was illegal, of the design priced in its place."""
    import optuna

    if repaired_to is None:
        study.tell(trial, score)
        return
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    params = dict(zip(options, repaired_to, strict=True))
    study.add_trial(optuna.trial.create_trial(params=params, distributions=dict(options), value=score))
