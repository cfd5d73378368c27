"""The two gradient estimators on a toy of four options, against the true gradient and by hand."""

import math

import pytest
import torch

from dna.search import counterfactual, paper

COSTS = torch.tensor([10.0, 11.0, 12.0, 13.0], dtype=torch.float64)


def true_gradient(logits: torch.Tensor, costs: torch.Tensor) -> torch.Tensor:
    leaf = logits.clone().requires_grad_(True)
    (leaf.softmax(-1) * costs).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a @ b) / (a.norm() * b.norm()))


def literal_mean(logits: torch.Tensor, costs: torch.Tensor, draws: int = 100_000) -> torch.Tensor:
    chosen, soft = paper.sample(logits.expand(draws, -1), 1.0, torch.Generator().manual_seed(0))
    return paper.gradient(soft, chosen, costs[chosen], 1.0).mean(dim=0)


def test_counterfactual_gradient_by_hand():
    probabilities = torch.tensor([0.5, 0.25, 0.25, 0.0])
    costs = torch.tensor([1.0, 3.0, 5.0, 7.0])  # mean 2.5
    expected = torch.tensor([-0.75, 0.125, 0.625, 0.0])
    assert torch.equal(counterfactual.logit_gradient(probabilities, costs), expected)


@pytest.mark.parametrize("logits", [[0.0, 0.0, 0.0, 0.0], [1.0, -0.5, 0.3, 2.0]])
def test_counterfactual_gradient_is_exact(logits):
    gamma = torch.tensor(logits, dtype=torch.float64)
    assert torch.allclose(counterfactual.logit_gradient(gamma.softmax(-1), COSTS), true_gradient(gamma, COSTS))


def test_counterfactual_gradient_ignores_a_constant():
    pi = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    first, second = counterfactual.logit_gradient(pi, COSTS), counterfactual.logit_gradient(pi, COSTS + 1000)
    assert torch.allclose(first, second)


def test_mirror_step_by_hand():
    logits = torch.zeros(4, dtype=torch.float64)
    stepped = counterfactual.mirror_step(logits, COSTS, rate=2.0, temperature=0.0)
    assert stepped.tolist() == [3.0, 1.0, -1.0, -3.0]
    settled = torch.tensor([2.0, 0.0, 0.0, -2.0], dtype=torch.float64)
    flat = counterfactual.mirror_step(settled, torch.full((4,), 5.0, dtype=torch.float64), rate=0.5, temperature=0.4)
    assert flat.tolist() == pytest.approx([1.6, 0.0, 0.0, -1.6])  # entropy alone pulls towards uniform


def test_straight_through_gradient_by_hand():
    soft = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
    found = paper.gradient(soft, torch.tensor([0]), torch.tensor([10.0], dtype=torch.float64), 1.0)
    assert found[0].tolist() == pytest.approx([2.1, -1.4, -0.7])


def test_straight_through_gradient_is_autograd_of_the_soft_sample():
    logits = torch.tensor([[0.3, -1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    noise = torch.tensor([[0.2, 0.9, -0.4]], dtype=torch.float64)
    soft = ((logits + noise) / 0.7).softmax(-1)
    chosen = soft.argmax(-1)
    (soft[0, chosen[0]] * 3.5).backward()
    assert logits.grad is not None
    found = paper.gradient(soft.detach(), chosen, torch.tensor([3.5], dtype=torch.float64), 0.7)
    assert torch.allclose(found, logits.grad)


def test_literal_estimator_pushes_towards_uniform_and_a_baseline_mends_it():
    gamma = torch.tensor([1.0, 0.0, 0.0, -1.0], dtype=torch.float64)
    true = true_gradient(gamma, COSTS)
    literal = literal_mean(gamma, COSTS)
    centred = literal_mean(gamma, COSTS - (gamma.softmax(-1) * COSTS).sum())
    assert cosine(literal, true) < 0.1
    assert cosine(literal, gamma - gamma.mean()) > 0.8  # descent lowers high logits, raises low ones
    assert cosine(centred, true) > 0.99
    doubled = literal_mean(gamma, COSTS + 11.0)
    assert math.isclose(float(doubled.norm() / literal.norm()), 2.0, rel_tol=0.15)  # in proportion to the mean cost
