"""The two alternating steps of the search: weights on one half of the training images, architecture on the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dna.supernet.supernet import Supernet

Choice = tuple[int, ...]
Cost = Callable[[Choice], Tensor]
"""Prices [blocks][operators] > 0: the network's cost with that one operator in place of the chosen one. Entries of
impossible operators are ignored."""
Estimator = Literal["counterfactual", "paper"]


@dataclass(frozen=True)
class AlphaStep:
    """What one architecture step saw."""

    choice: Choice
    task_loss: float
    cost: float
    """Price of the sampled network; 0 without a cost hook."""


def batches(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Index batches of one epoch in random order; a last batch of less than half the size is dropped."""
    for part in torch.randperm(count, generator=generator).split(batch_size):
        if 2 * len(part) >= batch_size or count < batch_size:
            yield part


def weight_step(
    net: Supernet,
    optimiser: torch.optim.Optimizer,
    bytes_NCHW: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    tau: float,
    uniform: bool = False,
    label_smoothing: float = 0.0,
) -> float:
    """One step of the weights of one sampled path; returns the loss. `alpha` is left alone.

    `uniform` draws operators evenly instead of by `alpha`: for a warm-up that trains every candidate.
    """
    gates = net.sample_uniform(generator) if uniform else net.sample(generator, tau).detach()
    loss = F.cross_entropy(net(bytes_NCHW, gates), labels, label_smoothing=label_smoothing)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.weight_parameters(), 5.0)
    optimiser.step()
    return float(loss.detach())


def alpha_step(
    net: Supernet,
    optimiser: torch.optim.Optimizer,
    bytes_NCHW: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    tau: float,
    cost: Cost | None = None,
    cost_weight: float = 0.0,
    estimator: Estimator = "counterfactual",
    all_paths: bool = True,
    entropy_weight: float = 0.0,
) -> AlphaStep:
    """One step of `alpha` on validation images: task loss of a sampled network plus its weighted price.

    `optimiser` holds `net.alpha` alone. The weights receive no gradient. `entropy_weight` keeps the choice open.
    """
    gates = net.sample(generator, tau)
    choice = tuple(gates.detach().argmax(1).tolist())
    net.alpha.grad = None
    for parameter in net.weight_parameters():
        parameter.requires_grad_(False)
    try:
        task = F.cross_entropy(net(bytes_NCHW, gates, all_paths), labels)
        price, loss = 0.0, task - entropy_weight * _entropy(net)
        if cost is not None:
            prices = cost(choice).detach().to(net.alpha.dtype)
            price = float(prices[0, choice[0]])
            loss = loss + cost_weight * price_loss(net.logits, gates, prices, estimator)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    finally:
        for parameter in net.weight_parameters():
            parameter.requires_grad_(True)
    return AlphaStep(choice, float(task.detach()), price)


def price_loss(logits: Tensor, gates: Tensor, prices: Tensor, estimator: Estimator) -> Tensor:
    """A scalar whose gradient is the cost's; `prices` [blocks][operators] are constants.

    `counterfactual`: its gradient on `logits` is pi[m,k] * (log C[m,k] - sum_j pi[m,j] * log C[m,j]), exact for one
    change at a time. `paper`: the sampled gates times the sampled network's logarithmic cost, literally; it has no
    baseline and is kept to compare with.
    """
    possible = torch.isfinite(logits.detach())
    logarithm = torch.where(possible, prices, torch.ones_like(prices)).log()
    if estimator == "paper":
        return (gates * (gates.detach() * logarithm)).sum()
    return (torch.softmax(logits, dim=1) * logarithm).sum()


def _entropy(net: Supernet) -> Tensor:
    probabilities = net.probabilities
    return -(probabilities * probabilities.clamp(min=1e-12).log()).sum()


def anneal(start: float, end: float, progress: float) -> float:
    """Geometric interpolation, for the temperature; `progress` 0 to 1."""
    return float(start * (end / start) ** min(max(progress, 0.0), 1.0))
