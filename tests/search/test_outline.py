"""An outline has the Program's own instructions, and so its cycles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Chunk
from dna.compile.compiler import compile
from dna.compile.plan import DoesNotEndError
from dna.cost.schedule import schedule
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.outline import outline
from dna.search.point import Point
from dna.search.realise import realise
from dna.search.refine import blank_weights

MIXING = Chunk(oc=16, ic=4, px=2, input_words=256, weight_words=512, param_words=64, output_words=256, ports=1)
NETWORK = Network(
    "small",
    (
        Layer("a", "conv", "input", 3, 20, 20, 24, (3, 3), padding=(1, 1, 1, 1)),
        Layer("pool", "maxpool", "a", 24, 20, 20, 24, (2, 2), stride=(2, 2), pad_value=-128),
        Layer("b", "conv", "pool", 24, 10, 10, 48, (1, 1)),
        Layer("depthwise", "depthwise", "b", 48, 10, 10, 48, (3, 3), padding=(1, 1, 1, 1)),
        Layer("c", "conv", "depthwise", 48, 10, 10, 24, (1, 1), residual="pool"),
        Layer("mean", "avgpool", "c", 24, 10, 10, 24, (10, 10)),
        Layer("fc", "fc", "mean", 24, 1, 1, 40),
    ),
)
BOARD = load_board("zc706")
NAMES = [layer.name for layer in NETWORK.layers]


@pytest.mark.parametrize(
    ("assignment", "on_chip"),
    [
        ((0, 0, 0, 0, 0, 0, 0), ()),
        ((0, 0, 0, 1, 0, 1, 1), ("b", "depthwise", "pool")),
        ((0, 1, 0, 1, 0, 1, 0), tuple(NAMES[:-1])),
    ],
)
@pytest.mark.parametrize("frames", [1, 2])
def test_instructions_and_cycles_are_the_programs(
    assignment: tuple[int, ...], on_chip: tuple[str, ...], frames: int
) -> None:
    chunks = (MIXING, replace(MIXING, px=4, ports=2, dataflow="weight", sum_words=64))[: 1 + max(assignment)]
    point = Point(chunks, (2,) * len(chunks), assignment, frames, (), frozenset(on_chip))
    found = realise(NETWORK, point, BOARD, choices=2)
    short = outline(NETWORK, found.accelerator, found.mapping)
    full = compile(NETWORK, blank_weights(NETWORK), found.accelerator, found.mapping)
    assert [chunk.instructions for chunk in short.chunks] == [chunk.instructions for chunk in full.chunks]
    assert (short.order, short.tensors) == (full.order, full.tensors)
    memories = found.memories(BOARD)
    assert schedule(short, memories, 3) == schedule(full, memories, 3)


def test_a_link_without_room_is_refused_as_the_compiler_does() -> None:
    chunks = (MIXING, MIXING)
    point = Point(chunks, (2, 2), (0, 0, 0, 1, 0, 1, 1), on_chip=frozenset({"b", "depthwise"}))
    found = realise(NETWORK, point, BOARD, choices=2)
    links = tuple(replace(link, words=64) for link in found.accelerator.links)
    small = replace(found.accelerator, links=links)
    with pytest.raises(DoesNotEndError, match="does not fit in link") as refused:
        outline(NETWORK, small, found.mapping)
    assert set(refused.value.links) <= {(0, 1), (1, 0)}
