"""Prices of choices that are not made yet: a mixture over the options, differentiable in its weights.

Cycles come from tables and have no derivative in a design's parameters. What has one is the weight of each option:
softmax of logits, with or without Gumbel noise. The cost is linear in each axis' weights, so its derivative by a weight
is the cost with that option chosen and everything else as mixed as before: the counterfactual.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def gumbel_weights(logits: Tensor, temperature: float, generator: torch.Generator | None = None) -> Tensor:
    """Weights `(..., options)` that add up to 1; `generator`: draws Gumbel noise, none without it."""
    if generator is not None:
        uniform = torch.rand(logits.shape, generator=generator, dtype=logits.dtype)
        logits = logits - torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-7)))
    return torch.softmax(logits / temperature, dim=-1)


def relaxed_cycles(prices: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """Expected cycles, a scalar, where each axis takes its options with these weights.

    `prices`: floating point, a dimension per axis. `weights`: by axis, `(options,)`. ValueError if they do not match.
    """
    if prices.dim() != len(weights) or any(n != len(w) for n, w in zip(prices.shape, weights, strict=False)):
        raise ValueError(f"prices of shape {tuple(prices.shape)} need weights of these lengths, one axis each")
    result = prices
    for axis in reversed(weights):
        result = result @ axis
    return result


def counterfactual_gradient(prices: Tensor, weights: Sequence[Tensor], axis: int) -> Tensor:
    """Derivative of `relaxed_cycles` by the logits of an axis at temperature 1: `w[k] * (C[k] - sum_j w[j] C[j])`.

    C[k] is the cost with option k chosen, all other axes mixed.
    """
    options = prices.movedim(axis, 0)
    others = [w for place, w in enumerate(weights) if place != axis]
    costs = torch.stack([relaxed_cycles(option, others) for option in options])
    return weights[axis] * (costs - costs @ weights[axis])
