"""Helpers that choose: tensors on chip, layers on chunks; and the serial execution that both rest on."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest

from dna.accelerator.chunk import Accelerator, Chunk, Link
from dna.accelerator.isa import EVENTS
from dna.compile.compiler import compile
from dna.compile.default_mapping import _array_cycles, default_layer_mapping, default_pipeline
from dna.compile.lowering import lower
from dna.compile.order import Job, serial
from dna.compile.placement import _words, on_chip_candidates, place
from dna.compile.plan import DoesNotEndError, Plan
from dna.compile.waits import Wait
from dna.errors import UserError
from dna.network.layer import Layer
from tests.compile.cases import conv, drawn_design, made_design

CHUNK = Chunk(px=2, burst_beats=8)
CHAIN = [
    conv("a", "input", (8, 8, 16), 16),
    conv("b", "a", (8, 8, 16), 32),
    conv("c", "b", (8, 8, 32), 16, residual="a"),
    conv("d", "c", (8, 8, 16), 16),
]


def links(*words: tuple[int, int, int]) -> Accelerator:
    return Accelerator((CHUNK, CHUNK), links=tuple(Link(*link) for link in words))


def test_candidates_need_links_to_all_readers() -> None:
    """`a` is read by b on chunk 0 and c on chunk 1, `b` and `c` by the other chunk."""
    network = made_design(CHAIN, Accelerator((CHUNK,)), {}).network
    chunks = (0, 0, 1, 0)
    assert on_chip_candidates(network, links(), chunks) == ()
    assert on_chip_candidates(network, links((0, 1, 64)), chunks) == ("b",)
    assert on_chip_candidates(network, links((0, 1, 64), (0, 0, 64)), chunks) == ("a", "b")
    assert on_chip_candidates(network, links((0, 1, 64), (0, 0, 64), (1, 0, 64)), chunks) == ("a", "b", "c")
    assert on_chip_candidates(network, Accelerator((CHUNK,), links=(Link(0, 0, 64),))) == ("a", "b", "c")


def test_all_are_placed_where_there_is_room() -> None:
    accelerator = links((0, 1, 1024), (0, 0, 1024), (1, 0, 1024))
    design = made_design(CHAIN, accelerator, {"chunks": (0, 0, 1, 0)})
    placed = place(design.network, accelerator, design.mapping)
    assert placed.on_chip == {"a", "b", "c"}
    program = compile(design.network, design.weights, accelerator, placed)
    assert program.region_words["WORK"] == 0


@pytest.mark.parametrize("seed", range(10))
def test_what_is_placed_compiles_and_what_is_left_out_did_not(seed: int) -> None:
    """The same choice, made by compiling."""
    design = drawn_design(seed)
    mapping = replace(design.mapping, batches=())
    placed = place(design.network, design.accelerator, mapping)
    program = compile(design.network, design.weights, design.accelerator, placed)
    plan = Plan(lower(design.network), design.accelerator, mapping)
    candidates = on_chip_candidates(design.network, design.accelerator, mapping.chunks)
    assert placed.on_chip == {name for name, tensor in program.tensors.items() if tensor.region == "CHIP"}
    chosen: frozenset[str] = frozenset()
    words = _words(plan)
    for name in sorted(candidates, key=lambda name: (-words[name], name)):
        more = replace(mapping, on_chip=chosen | {name})
        if name in placed.on_chip:
            chosen |= {name}
            compile(design.network, design.weights, design.accelerator, more)
        else:
            with pytest.raises(DoesNotEndError):
                compile(design.network, design.weights, design.accelerator, more)


@pytest.mark.parametrize(("words", "expected"), [(64, {"a"}), (128, {"b"}), (256, {"a", "b"})])
def test_the_largest_traffic_comes_first(words: int, expected: set[str]) -> None:
    """`b` has 128 words; `a` has 64, and is alive until `c` has read `b`: both in one link need 192."""
    accelerator = links((0, 1, words), (0, 0, 64))
    design = made_design(CHAIN, accelerator, {"chunks": (0, 0, 1, 0)})
    assert place(design.network, accelerator, design.mapping).on_chip == expected


@pytest.mark.parametrize("chunks", [2, 3, 4])
def test_a_pipeline_is_balanced(chunks: int) -> None:
    """No other cut into runs of layers has a faster slowest chunk."""
    kinds = (CHUNK, Chunk(px=4), Chunk(oc=32, px=1), Chunk(px=3))[:chunks]
    layers = [conv("a", "input", (12, 12, 16), 48), conv("b", "a", (12, 12, 48), 16, k=1)]
    layers += [Layer("p", "maxpool", "b", 16, 12, 12, 16, (2, 2), (2, 2))]
    layers += [conv("c", "p", (6, 6, 16), 64), conv("d", "c", (6, 6, 64), 16), conv("e", "d", (6, 6, 16), 16)]
    network = made_design(layers, Accelerator((CHUNK,)), {}).network
    mapping = default_pipeline(network, Accelerator(kinds), frames=2)
    assert mapping.frames == 2
    assert list(mapping.chunks) == sorted(mapping.chunks)
    cost = [[_array_cycles(layer, kind, default_layer_mapping(layer, kind)) for layer in layers] for kind in kinds]

    def slowest(cuts: tuple[int, ...]) -> int:
        bounds = [0, *cuts, len(layers)]
        return max(sum(cost[chunk][bounds[chunk] : bounds[chunk + 1]]) for chunk in range(chunks))

    chosen = tuple(mapping.chunks.index(chunk) for chunk in range(1, chunks))
    assert slowest(chosen) == min(slowest(cuts) for cuts in combinations(range(1, len(layers)), chunks - 1))
    assert set(mapping.chunks) == set(range(chunks))


def test_more_chunks_than_layers_are_refused() -> None:
    network = made_design(CHAIN[:1], Accelerator((CHUNK,)), {}).network
    with pytest.raises(UserError, match="has 1 layers to be executed, for 2 chunks"):
        default_pipeline(network, Accelerator((CHUNK, CHUNK)))


def test_layers_go_to_the_chunk_that_they_fit() -> None:
    """Only the second chunk adds residuals."""
    network = made_design(CHAIN, Accelerator((CHUNK,)), {}).network
    plain = replace(CHUNK, residual=False)
    assert default_pipeline(network, Accelerator((plain, CHUNK))).chunks[2:] == (1, 1)
    with pytest.raises(UserError, match="no cut into 2 runs of layers fits"):
        default_pipeline(network, Accelerator((plain, plain)))


def committed(peer: int, index: int, ago: int = 0) -> Wait:
    return Wait(peer, EVENTS["COMMITTED"], ago, index)


def test_a_serial_order_keeps_the_waits() -> None:
    store, plain = Job(event=EVENTS["COMMITTED"]), Job()
    done = serial([[plain, plain, store, store], [Job((committed(0, 2),)), plain], []])
    assert done.stuck == ()
    assert done.order == (0, 0, 0, 0, 1, 1)


def test_passes_before_are_over() -> None:
    done = serial([[Job((committed(1, 5, ago=1),))], [Job()]])
    assert (sorted(done.order), done.stuck) == ([0, 1], ())


def test_jobs_that_wait_for_each_other_are_told() -> None:
    store = Job(event=EVENTS["COMMITTED"])
    done = serial([[store, Job((committed(1, 1),), layer=3), store], [Job((committed(0, 2),)), store]])
    assert done.order == (0,)
    assert [(entry.chunk, entry.job.layer, entry.wait.peer) for entry in done.stuck] == [(0, 3, 1), (1, -1, 0)]
