"""The choice's estimator and the supernet's paths, against cases computed by hand."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from torch import nn

from dna.supernet.space import Space
from dna.supernet.supernet import Supernet, straight_through

X = torch.randint(0, 17, (8, 1, 6, 6), generator=torch.Generator().manual_seed(1)).float()


def test_straight_through_by_hand() -> None:
    """softmax((0, ln 3) / 1) is (1/4, 3/4); d pi_0 / d logit_0 = 3/16, d pi_0 / d logit_1 = -3/16."""
    logits = torch.tensor([[0.0, math.log(3.0)]], requires_grad=True)
    gates = straight_through(logits, tau=1.0)
    assert gates.tolist() == [[0.0, 1.0]]
    (gates * torch.tensor([[5.0, 1.0]])).sum().backward()
    # 5 * (3/16, -3/16) + 1 * (-3/16, 3/16)
    assert logits.grad is not None
    assert torch.allclose(logits.grad, torch.tensor([[0.75, -0.75]]))


def test_lower_temperature_scales_the_gradient_by_hand() -> None:
    """At tau 1/2 the soft sample is (1/10, 9/10): pi_0 * pi_1 / tau = 0.18."""
    logits = torch.tensor([[0.0, math.log(3.0)]], requires_grad=True)
    straight_through(logits, tau=0.5)[0, 0].backward()
    assert logits.grad is not None and torch.allclose(logits.grad, torch.tensor([[0.18, -0.18]]))


def test_impossible_operators_are_never_drawn(net: Supernet) -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        for gates in (net.sample(generator, 1.0), net.sample_uniform(generator)):
            assert gates.sum(1).tolist() == [1, 1, 1] and gates[1, 2] == 0
    assert net.probabilities[1].tolist() == pytest.approx([0.5, 0.5, 0.0])


def test_samples_follow_the_probabilities(net: Supernet) -> None:
    net.alpha.data[0] = torch.tensor([0.2, 0.5, 0.3]).log()
    generator = torch.Generator().manual_seed(0)
    drawn = Counter(int(net.sample(generator, 0.7)[0].argmax()) for _ in range(3000))
    for index, probability in enumerate((0.2, 0.5, 0.3)):
        assert abs(drawn[index] / 3000 - probability) < 4 * math.sqrt(probability * (1 - probability) / 3000)


def test_all_paths_leave_the_output_as_it_is(net: Supernet) -> None:
    gates = net.sample(torch.Generator().manual_seed(3), 1.0)
    assert torch.equal(net(X, gates), net(X, gates, all_paths=True))


def test_gate_gradients_are_those_of_the_full_sum(net: Supernet) -> None:
    """Multi-path backward equals the plain sum of gate times operator over all operators."""
    gates = net.gates((0, 1, 0)).requires_grad_()
    net(X, gates, all_paths=True).square().sum().backward()
    plain = net.gates((0, 1, 0)).requires_grad_()
    x = net.stem(X * net.input_scale)
    for block, gate in zip(net.blocks, plain, strict=True):
        assert isinstance(block, nn.ModuleList)
        possible = (
            len(block) if net.mask[0 if block is net.blocks[0] else 1 if block is net.blocks[1] else 2, -1] else 2
        )
        x = sum(gate[k] * block[k](x) for k in range(possible))
    for unit in net.tail:
        x = unit(x)
    x.square().sum().backward()
    assert gates.grad is not None and plain.grad is not None
    assert torch.allclose(gates.grad, plain.grad, rtol=1e-3, atol=1e-4)
    assert (gates.grad[net.mask] != 0).all()


def test_a_single_path_gives_no_gradient_to_the_others(net: Supernet) -> None:
    gates = net.gates((0, 1, 0)).requires_grad_()
    net(X, gates).square().sum().backward()
    assert gates.grad is not None and torch.equal(gates.grad != 0, net.gates((0, 1, 0)) != 0)
    used = {name for name, p in net.named_parameters() if p.grad is not None}
    assert not any(name.startswith(("blocks.0.1", "blocks.1.0", "blocks.2.1")) for name in used)
    assert any(name.startswith("blocks.0.0") for name in used)


def test_skip_passes_its_input_through(net: Supernet) -> None:
    block = net.blocks[0]
    assert isinstance(block, nn.ModuleList)
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(block[2](x), x)


def test_derived_network_computes_what_the_path_computes(net: Supernet) -> None:
    choice = net.space.choice(["k3e2", "k3e1", "skip"])
    derived = net.derive(choice, torch.Generator().manual_seed(9)).train()
    assert derived.network == net.network(choice)
    assert torch.allclose(derived(X), net(X, net.gates(choice)), atol=1e-5)


def test_best_choice_is_possible(net: Supernet) -> None:
    net.alpha.data[:, 2] = 5.0
    net.alpha.data[1, 1] = 1.0
    assert net.best_choice() == (2, 1, 2)


def test_same_seed_same_supernet(space: Space) -> None:
    one, other = (Supernet(space, 1.0, torch.Generator().manual_seed(4)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_candidates_start_as_nearly_the_same_function(net: Supernet) -> None:
    x = torch.rand(64, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    block = net.blocks[1]
    assert isinstance(block, nn.ModuleList)
    one, other = (block[index](x).flatten() for index in (0, 1))
    assert torch.corrcoef(torch.stack([one, other]))[0, 1] > 0.7
    identity = net.blocks[0]
    assert isinstance(identity, nn.ModuleList)
    for index in (0, 1):
        assert (identity[index](x) - x).std() < 0.2
