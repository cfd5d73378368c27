"""Policy gradient over independent categorical choices: REINFORCE (Williams, 1992).

A policy has one softmax per axis. Each step samples a batch of designs, subtracts a moving average of the reward, minus
the guide, and follows the gradient of log-probability times advantage plus an entropy bonus with Adam.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dna.search.legal import propose_legal
from dna.search.problem import Budget, Choices, Ledger, Problem, SearchResult


@dataclass(frozen=True)
class Settings:
    """How the policy learns."""

    batch: int = 16
    rate: float = 0.1
    """Adam's step of the logits."""
    baseline: float = 0.9
    """Share of the moving average of rewards that stays per step."""
    entropy: float = 0.01
    """Weight of the policy's mean entropy per axis beside the reward, which is minus a logarithm of cost."""


def search(problem: Problem, budget: Budget, seed: int = 0, settings: Settings | None = None) -> SearchResult:
    """Learn until the budget is spent. Deterministic in `seed` where the budget is one of evaluations.

    Illegal samples are drawn again, and repaired towards a uniform design where that does not help.
    """
    settings = settings or Settings()
    space = problem.space
    generator = torch.Generator().manual_seed(seed)
    ledger = Ledger(problem, budget)
    blocked = torch.arange(max(space.widths)) >= torch.tensor(space.widths)[:, None]
    logits = torch.zeros(blocked.shape, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([logits], lr=settings.rate)
    average: float | None = None
    while left := ledger.left:
        designs = _sample(space, logits.detach().masked_fill(blocked, -torch.inf), settings.batch, generator)
        designs = designs[:left]
        rewards = -ledger.price(designs).guide
        average = float(rewards.mean()) if average is None else average
        adam.zero_grad()
        loss(logits, blocked, designs, rewards - average, settings.entropy).backward()  # type: ignore[no-untyped-call]
        adam.step()
        average = settings.baseline * average + (1 - settings.baseline) * float(rewards.mean())
    return ledger.result("reinforce")


def loss(logits: Tensor, blocked: Tensor, designs: Tensor, advantages: Tensor, entropy: float) -> Tensor:
    """What descent lowers: minus mean(log-probability * advantage) minus `entropy` times the mean entropy.

    `logits`, `blocked`: `(axes, options)`, blocked ones are no option; `designs` `(N, axes)`; `advantages` `(N,)`.
    """
    logs = logits.masked_fill(blocked, -1e9).log_softmax(dim=1)
    taken = logs.gather(1, designs.T).sum(dim=0)
    mean_entropy = -(logs.exp() * logs).sum(dim=1).mean()
    return -(taken * advantages).mean() - entropy * mean_entropy


def _sample(space: Choices, logits: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Legal designs from the policy, `(count, axes)`."""
    policy = logits.softmax(dim=1)

    def propose(rows: Tensor) -> Tensor:
        return torch.multinomial(policy, len(rows), replacement=True, generator=generator).T

    return propose_legal(space, propose, space.sample(count, generator), generator)
