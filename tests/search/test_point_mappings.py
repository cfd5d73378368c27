"""Mappings of a point's layers: bands where somebody waits for them, else the fastest; for the ports as they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk
from dna.accelerator.mapping import LayerMapping
from dna.compile.lowering import lower
from dna.cost.resources import accelerator_resources
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.chip_kinds import link_blocks
from dna.search.point import Point
from dna.search.point_mappings import ORDERED, Mapper
from dna.search.realise import realise
from dna.search.refine import best_priced
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


def test_bands_by_what_rows_cost_are_those_of_the_chunk_that_has_less_to_do() -> None:
    plain, priced = (Mapper(LAYERS, POINT, BOARD, rows_priced=flag).mapping(ordered=True).layers for flag in (0, 1))
    assert plain[0] == priced[0] and plain[2] == priced[2], "its layers come one after the other"
    layer, mapper = LAYERS[1], Mapper(LAYERS, POINT, BOARD)
    taken = [mapper.cycles(index, mapper.ranked(index, 1)[0]) // POINT.frames for index in range(3)]

    def cost(mapping: LayerMapping) -> float:
        rows = min(mapping.tile_rows, layer.out_height) / layer.out_height
        waiting = rows * (min(taken[0], taken[1]) + min(taken[1], taken[2]))
        return max(mapper.cycles(1, mapping) // POINT.frames, taken[0]) + waiting

    assert cost(priced[1]) <= cost(plain[1])
    assert priced[1].order == "inputs" or priced[1].out_channels == layer.out_channels


def test_without_schedules_a_layer_takes_the_mapping_with_the_best_price() -> None:
    point = replace(POINT, assignment=(0, 0, 0), on_chip=frozenset())
    memory = replace(BOARD.memory, beat_interval=POINT.shares[0])
    found = Mapper(LAYERS, point, BOARD, choices=1).mapping(ordered=False).layers
    assert list(found) == [best_priced(layer, MAIN, memory, 1, 1)[0] for layer in LAYERS]


def test_a_layer_that_fits_nowhere_is_named() -> None:
    mixing = test_realise.MIXING
    chunks = (mixing, mixing, replace(mixing, weight_words=16))
    tiny = replace(test_realise.POINT, chunks=chunks, on_chip=frozenset())
    with pytest.raises(UserError, match="layer 'last': fits no tile on chunk 2"):
        Mapper(lower(test_realise.NETWORK).layers, tiny, BOARD).mapping(ordered=True)
