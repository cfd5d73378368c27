"""The layers that a choice of operators stands for."""

from __future__ import annotations

import pytest

from dna.errors import UserError
from dna.supernet.space import Block, Space, cifar10_space, digits_space, space_network


def test_layers_by_hand(space: Space) -> None:
    network = space_network(space, space.choice(["k3e1", "k3e2", "skip"]), "n")
    summary = [(la.name, la.op, la.input, la.in_channels, la.out_channels, la.out_height) for la in network.layers]
    assert summary == [
        ("stem", "conv", "input", 1, 4, 6),
        ("block0_depthwise", "depthwise", "stem", 4, 4, 6),
        ("block0_project", "conv", "block0_depthwise", 4, 4, 6),
        ("block1_expand", "conv", "block0_project", 4, 8, 6),
        ("block1_depthwise", "depthwise", "block1_expand", 8, 8, 3),
        ("block1_project", "conv", "block1_depthwise", 8, 6, 3),
        ("head", "conv", "block1_project", 6, 8, 3),
        ("pool", "avgpool", "head", 8, 8, 1),
        ("fc", "fc", "pool", 8, 3, 1),
    ]
    assert network.layer("block0_project").residual == "stem"
    assert network.layer("block0_project").residual_signed is False
    assert network.layer("block1_project").residual is None


def test_signedness_follows_relu(space: Space) -> None:
    network = space_network(space, space.choice(["skip", "k3e2", "k3e1"]), "n")
    for layer in network.layers:
        linear = layer.name.endswith("project") or layer.name == "fc"
        assert layer.out_signed is linear and layer.lo == (-128 if linear else 0)
    assert network.shapes["input"].signed is False


def test_a_block_that_changes_shape_cannot_be_skipped(space: Space) -> None:
    assert [space.can_skip(block) for block in range(3)] == [True, False, True]
    with pytest.raises(UserError, match="block 1 changes its shape and cannot be skipped"):
        space.choice(["k3e1", "skip", "k3e1"])


def test_wrong_choices_are_refused(space: Space) -> None:
    with pytest.raises(UserError, match="unknown operator 'k7e1'; known: k3e1, k3e2, skip"):
        space.choice(["k7e1", "k3e1", "k3e1"])
    with pytest.raises(UserError, match="2 operators given for 3 blocks"):
        space.checked((0, 0))
    with pytest.raises(UserError, match="block 2 has no operator 3"):
        space.checked((0, 0, 3))
    with pytest.raises(UserError, match="must be odd"):
        Space((6, 6, 1), 3, 4, 1, (Block(4),), 8, kernels=(2,))


def test_names_invert_choice(space: Space) -> None:
    names = ("skip", "k3e2", "k3e1")
    assert space.names(space.choice(names)) == names


@pytest.mark.parametrize("built_in", [digits_space(), cifar10_space()])
def test_every_operator_of_the_built_in_spaces_makes_a_network(built_in: Space) -> None:
    for index in range(len(built_in.operators) - 1):
        network = space_network(built_in, [index] * len(built_in.blocks), "n")
        assert network.shapes[network.output].channels == built_in.classes


def test_a_few_positions_may_stay_after_pooling() -> None:
    built_in = digits_space()
    network = space_network(built_in, [0] * len(built_in.blocks), "n")
    pool, fc = network.layer("pool"), network.layer("fc")
    assert (pool.kernel, pool.stride, pool.out_height, pool.out_width) == ((2, 2), (2, 2), 2, 2)
    assert fc.kernel == (2, 2) and network.shapes["fc"].height == 1
