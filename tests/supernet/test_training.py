"""The two steps of the search: each moves what it should, by the gradient it should."""

from __future__ import annotations

import pytest
import torch

from dna.supernet.supernet import Supernet
from dna.supernet.training import alpha_step, anneal, batches, price_loss, weight_step

GENERATOR_SEED = 5
X = torch.randint(0, 17, (12, 1, 6, 6), generator=torch.Generator().manual_seed(1)).float()
LABELS = torch.arange(12) % 3


def weights_of(net: Supernet) -> list[torch.Tensor]:
    return [p.detach().clone() for p in net.weight_parameters()]


def test_counterfactual_price_gradient_by_hand() -> None:
    """pi = (1/2, 1/4, 1/4), log C = (0, ln 4, 0): mean ln 4 / 4, so g = (-1/8, 3/16, -1/16) * ln 4."""
    logits = torch.tensor([[0.5, 0.25, 0.25]]).log().requires_grad_()
    price_loss(logits, torch.zeros(1, 3), torch.tensor([[1.0, 4.0, 1.0]]), "counterfactual").backward()
    assert logits.grad is not None
    assert torch.allclose(logits.grad, torch.tensor([[-1 / 8, 3 / 16, -1 / 16]]) * torch.log(torch.tensor(4.0)))


def test_counterfactual_gradient_has_no_part_in_the_mean_cost() -> None:
    gradients = []
    for unit in (1.0, 1000.0):
        logits = torch.tensor([[0.3, -0.2, 0.1]], requires_grad=True)
        prices = unit * torch.tensor([[1.0, 4.0, 2.0]])
        price_loss(logits, torch.zeros(1, 3), prices, "counterfactual").backward()
        gradients.append(logits.grad)
    assert torch.allclose(gradients[0], gradients[1], atol=1e-5)


def test_paper_estimator_sees_the_sampled_entry_only() -> None:
    gates = torch.tensor([[0.0, 1.0, 0.0]], requires_grad=True)
    prices = torch.tensor([[1.0, torch.e, 7.0]])
    price_loss(torch.zeros(1, 3), gates, prices, "paper").backward()
    assert gates.grad is not None and torch.allclose(gates.grad, torch.tensor([[0.0, 1.0, 0.0]]))


def test_impossible_operators_have_no_price() -> None:
    logits = torch.tensor([[0.0, 0.0, -torch.inf]], requires_grad=True)
    loss = price_loss(logits, torch.zeros(1, 3), torch.tensor([[2.0, 4.0, 0.0]]), "counterfactual")
    loss.backward()
    assert torch.isfinite(loss) and logits.grad is not None and logits.grad[0, 2] == 0


def test_weight_step_trains_the_sampled_path_alone(net: Supernet) -> None:
    optimiser = torch.optim.SGD(net.weight_parameters(), 0.1)
    before, alpha = weights_of(net), net.alpha.detach().clone()
    gates = net.sample(torch.Generator().manual_seed(GENERATOR_SEED), 1.0)
    weight_step(net, optimiser, X, LABELS, torch.Generator().manual_seed(GENERATOR_SEED), 1.0)
    assert torch.equal(net.alpha, alpha) and net.alpha.grad is None
    names = [name for name, _ in net.named_parameters() if name != "alpha"]
    changed = {n for n, a, b in zip(names, before, net.weight_parameters(), strict=True) if not torch.equal(a, b)}
    for block, chosen in enumerate(gates.argmax(1).tolist()):
        for operator in range(2):
            moved = any(name.startswith(f"blocks.{block}.{operator}.") for name in changed)
            assert moved == (operator == chosen)
    assert any(name.startswith("stem") for name in changed) and any(name.startswith("tail") for name in changed)


def test_weight_steps_lower_the_loss(net: Supernet) -> None:
    optimiser = torch.optim.Adam(net.weight_parameters(), 0.01)
    generator = torch.Generator().manual_seed(0)
    losses = [weight_step(net, optimiser, X, LABELS, generator, 1.0, uniform=True) for _ in range(120)]
    assert sum(losses[-10:]) < 0.65 * sum(losses[:10])


def test_alpha_step_moves_alpha_alone(net: Supernet) -> None:
    optimiser = torch.optim.SGD([net.alpha], 0.1)
    before = weights_of(net)
    step = alpha_step(net, optimiser, X, LABELS, torch.Generator().manual_seed(2), 1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, net.weight_parameters(), strict=True))
    assert all(p.requires_grad and p.grad is None for p in net.weight_parameters())
    assert (net.alpha[net.mask] != 0).all() and (net.alpha[~net.mask] == 0).all()
    assert net.space.checked(step.choice) == step.choice and step.task_loss > 0 and step.cost == 0


def test_alpha_step_prices_the_sampled_network(net: Supernet) -> None:
    """With the task's share made negligible, alpha follows the price to the cheapest operators."""
    table = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 9.0], [2.0, 1.0, 3.0]])
    seen = []

    def cost(choice: tuple[int, ...]) -> torch.Tensor:
        seen.append(choice)
        own = table.gather(1, torch.tensor(choice)[:, None])
        return own.sum() - own + table  # the whole network with one operator exchanged

    optimiser = torch.optim.Adam([net.alpha], 0.2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        step = alpha_step(net, optimiser, X, LABELS, generator, 1.0, cost, cost_weight=1000.0, all_paths=False)
        assert step.choice == seen[-1]
        assert step.cost == pytest.approx(float(table.gather(1, torch.tensor(step.choice)[:, None]).sum()))
    assert net.best_choice() == (2, 0, 1)


def test_batches_cover_an_epoch_once() -> None:
    parts = list(batches(10, 4, torch.Generator().manual_seed(0)))
    assert [len(p) for p in parts] == [4, 4, 2] and sorted(torch.cat(parts).tolist()) == list(range(10))
    assert [len(p) for p in batches(9, 4, torch.Generator())] == [4, 4]
    assert [len(p) for p in batches(3, 8, torch.Generator())] == [3]


def test_anneal_is_geometric() -> None:
    assert [anneal(4.0, 1.0, t) for t in (0.0, 0.5, 1.0, 2.0)] == pytest.approx([4.0, 2.0, 1.0, 1.0])
