"""Mappings of a point's layers: bands where somebody waits for them, else the fastest; for the ports as they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk
from dna.compile.lowering import lower
from dna.cost.resources import accelerator_resources
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.chip_kinds import link_blocks
from dna.search.point import Point
from dna.search.point_mappings import ORDERED, Mapper
from dna.search.realise import realise
from tests.search import test_realise

BOARD = load_board("zc706")
MAIN = Chunk(16, 8, 4, 16, 512, 256, 64, 1024, packed=True, ports=2)
SIDE = Chunk(16, 1, 4, 16, 512, 512, 64, 1024, packed=True, ports=2)
NETWORK = Network(
    "block",
    (
        Layer("expand", "conv", "input", 32, 28, 28, 256, (1, 1)),
        Layer("depthwise", "depthwise", "expand", 256, 28, 28, 256, (3, 3), padding=(1, 1, 1, 1)),
        Layer("project", "conv", "depthwise", 256, 28, 28, 256, (1, 1)),
    ),
)
LAYERS = lower(NETWORK).layers
POINT = Point((MAIN, SIDE), (4, 8), (0, 1, 0), frames=2, batches=(1,) * 3, on_chip=frozenset({"expand", "depthwise"}))


def test_bands_are_kept_to_where_somebody_waits_for_them() -> None:
    """The last layer's weights do not fit: band by band they would be loaded again and again."""
    mapper = Mapper(LAYERS, POINT, BOARD)
    free, ordered = mapper.mapping(ordered=False).layers, mapper.mapping(ordered=True).layers
    assert free[:2] == ordered[:2]
    assert ordered[2].order == "inputs" and free[2].order == "weights"
    assert ORDERED * mapper.cycles(2, free[2]) < mapper.cycles(2, ordered[2])


def test_what_has_no_room_in_any_order_has_it_in_bands() -> None:
    network = Network("pair", (replace(NETWORK.layers[1], input="input"), NETWORK.layers[2]))
    point = Point((MAIN, SIDE), (4, 8), (1, 0), frames=2, batches=(1, 1), on_chip=frozenset({"depthwise"}))
    mapper = Mapper(lower(network).layers, point, BOARD)
    wide = realise(network, point, BOARD)
    assert wide.mapping.layers == mapper.mapping(ordered=False).layers
    blocks = accelerator_resources(Accelerator(point.chunks))["bram36"] + link_blocks(8192)
    narrow = realise(network, point, replace(BOARD, bram36=blocks))
    assert narrow.mapping.on_chip == point.on_chip, "it does not go back to memory"
    assert narrow.mapping.layers == mapper.mapping(ordered=True).layers != wide.mapping.layers


@pytest.mark.parametrize("ports", [((1, 64), (8, 8)), ((32, 2), (8, 8)), ((4, 4), (64, 1))])
def test_mappings_are_those_for_the_ports(ports: tuple[tuple[int, int], ...]) -> None:
    own, other = Mapper(LAYERS, POINT, BOARD, ports=ports), Mapper(LAYERS, POINT, BOARD)
    for index in range(len(LAYERS)):
        best = own.cycles(index, own.ranked(index, 1)[0])
        assert best <= 1.02 * min(own.cycles(index, mapping) for mapping in other.ranked(index, 8))


def test_a_layer_that_fits_nowhere_is_named() -> None:
    mixing = test_realise.MIXING
    chunks = (mixing, mixing, replace(mixing, weight_words=16))
    tiny = replace(test_realise.POINT, chunks=chunks, on_chip=frozenset())
    with pytest.raises(UserError, match="layer 'last': fits no tile on chunk 2"):
        Mapper(lower(test_realise.NETWORK).layers, tiny, BOARD).mapping(ordered=True)
