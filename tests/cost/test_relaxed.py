"""Gradients of relaxed prices: against finite differences and against the counterfactual expression."""

import pytest
import torch

from dna.accelerator.chunk import Chunk, Memory
from dna.cost.cycles import price
from dna.cost.relaxed import counterfactual_gradient, gumbel_weights, relaxed_cycles
from dna.network.layer import Layer
from dna.search.mapping_space import candidates
from tests.cost.chains import columns

LAYER = Layer("a", "conv", "input", 32, 14, 14, 48, (3, 3), (1, 1), (1, 1, 1, 1))


def table() -> torch.Tensor:
    """Best cycles of a layer on arrays of two axes, oc and ic, float64 `(3, 3)`."""
    chunks = [Chunk(oc=oc, ic=ic, px=4, post_lanes=4) for oc in (16, 32, 64) for ic in (2, 4, 8)]
    priced = price(LAYER, candidates(LAYER, 4), columns(chunks), Memory())
    return priced.cycles.min(dim=1).values.view(3, 3).double()


def logits(seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2)]


def cost(prices: torch.Tensor, given: list[torch.Tensor], seed: int | None) -> torch.Tensor:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return relaxed_cycles(prices, [gumbel_weights(x, 1.0, generator) for x in given])


@pytest.mark.parametrize("noise", [None, 3])
def test_gradient_is_the_finite_difference(noise: int | None):
    prices, given, step = table(), logits(), 1e-5
    cost(prices, given, noise).backward()
    for axis, option in ((0, 0), (0, 2), (1, 1)):
        moved = []
        for sign in (1, -1):
            other = [x.detach().clone() for x in given]
            other[axis][option] += sign * step
            moved.append(float(cost(prices, other, noise)))
        gradient = given[axis].grad
        assert gradient is not None
        assert float(gradient[option]) == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_gradient_is_the_counterfactual_expression(axis: int):
    prices, given = table(), logits(1)
    cost(prices, given, None).backward()
    weights = [torch.softmax(x.detach(), 0) for x in given]
    gradient = given[axis].grad
    assert gradient is not None
    assert torch.allclose(gradient, counterfactual_gradient(prices, weights, axis))
    assert float(gradient.abs().max()) > 1


def test_a_certain_choice_costs_its_price():
    prices = table()
    chosen = [torch.eye(3, dtype=torch.float64)[1], torch.eye(3, dtype=torch.float64)[2]]
    assert float(relaxed_cycles(prices, chosen)) == float(prices[1, 2])
    with pytest.raises(ValueError, match="one axis each"):
        relaxed_cycles(prices, chosen[:1])
