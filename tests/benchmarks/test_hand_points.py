"""The designs shaped by hand are points of the space: they can be realised within the board."""

import pytest

from benchmarks.board_designs import BOARD, SETUPS, executed, zoo_network
from benchmarks.hand_points import POINTS
from dna.compile.lowering import lower
from dna.cost.resources import accelerator_resources
from dna.search.realise import realise
from dna.search.refine import blank_weights
from dna.search.shares import bandwidth, port_widths


@pytest.mark.parametrize("name", ["AlexNet convolutions", "ResNet-18", "MobileNetV2"])
def test_a_point_of_the_hand_is_realised_within_the_board(name):
    setup = SETUPS[name]
    network = zoo_network(setup)
    network, _ = executed(setup, network, blank_weights(network))
    point = POINTS[name](lower(network).layers)
    found = realise(network, point, BOARD, choices=1)
    assert found.mapping.on_chip == point.on_chip
    assert bandwidth(found.shares, port_widths(found.accelerator)) <= BOARD.carried
    for kind, count in accelerator_resources(found.accelerator).items():
        assert count <= getattr(BOARD, kind), kind
