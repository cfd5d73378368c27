"""Mappings of layers whose tensors are on chip: bands, legal and good, that give the network's integers."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk, Memory
from dna.accelerator.isa import DESTINATIONS
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile import limits
from dna.compile.compiler import compile
from dna.compile.interpret import interpret
from dna.cost.mapping_limits import Candidates
from dna.cost.schedule import schedule
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.network.random import random_input
from dna.quantize.random import random_weights
from dna.quantize.reference import run
from dna.search.bands import JOB, Place, band_choice, chip_choices, jobs
from dna.search.groups import of_mapping
from dna.search.point import Point
from dna.search.realise import realise
from dna.search.refine import blank_weights

MIXING = Chunk(oc=16, ic=4, px=2, input_words=256, weight_words=128, param_words=64, output_words=256, port_bytes=16)
DEPTHWISE = replace(MIXING, ic=1, residual=False)


def priced(layer: Layer, mapping: LayerMapping, chunk: Chunk) -> int:
    """Cycles by the closed form and for each job."""
    columns = torch.tensor([[getattr(mapping, f.name) for f in fields(Candidates) if f.name != "order"] + [0]])
    counted = int(jobs(layer, Candidates.of(columns))[0])
    return int(of_mapping(layer, mapping, chunk, Memory(40), 1).cycles(1, 1, True, True)) + JOB * counted


def block(size: int) -> Network:
    """An inverted residual block with its stem."""
    same = (1, 1, 1, 1)
    layers = (
        Layer("stem", "conv", "input", 12, size, size, 16, (1, 1)),
        Layer("expand", "conv", "stem", 16, size, size, 48, (1, 1)),
        Layer("depthwise", "depthwise", "expand", 48, size, size, 48, (3, 3), padding=same),
        Layer("project", "conv", "depthwise", 48, size, size, 16, (1, 1), residual="stem"),
    )
    return Network("block", layers)


BOARD = load_board("zc706")


def on_chip(chunk: Chunk, frames: int = 1) -> Place:
    """Both tensors on chip, both ports with all the bandwidth of a slow memory."""
    return Place(chunk, Memory(40), 1, frames, chip_in=True, chip_out=True)


def test_a_block_runs_in_bands_and_gives_its_integers() -> None:
    network = block(16)
    on_chip = frozenset({"stem", "expand", "depthwise"})
    point = Point((MIXING, DEPTHWISE), (4, 16), (0, 0, 1, 0), frames=2, batches=(1, 1, 1, 1), on_chip=on_chip)
    found = realise(network, point, BOARD)
    assert found.mapping.on_chip == on_chip
    assert found.mapping.layers[2].tile_rows < 16
    weights = random_weights(network, np.random.default_rng(0))
    program = compile(network, weights, found.accelerator, found.mapping)
    assert program.region_words["WORK"] == 0
    single = compile(network, weights, found.accelerator, replace(found.mapping, frames=1))
    image = random_input(network, np.random.default_rng(1))
    got = interpret(single, image, np.random.default_rng(2))
    assert np.array_equal(got["project"], run(network, weights, image)["project"])
    # Both chunks work on one frame at once.
    mixing, depthwise = schedule(single, Memory(20)).chunks
    expanded = max(tile.ended for tile in mixing.tiles if tile.layer == 1)
    assert depthwise.tiles[0].popped < expanded


@pytest.mark.parametrize("layer", block(16).layers, ids=lambda layer: layer.name)
def test_choices_are_legal_bands_of_nearly_equal_cycles_the_lowest_first(layer: Layer) -> None:
    chunk = DEPTHWISE if layer.op == "depthwise" else MIXING
    place = on_chip(chunk)
    choices = chip_choices(layer, place, 3, in_order=True, tolerance=1.2)
    best = chip_choices(layer, place, 1)
    cycles = [priced(layer, mapping, chunk) for mapping in (*best, *choices)]
    assert max(cycles[1:2]) <= 1.2 * cycles[0]
    assert choices[0].tile_rows <= best[0].tile_rows
    for mapping in choices:
        limits.check(layer, chunk, mapping)
        assert mapping.order == "inputs" or mapping.out_channels == layer.out_channels


@pytest.mark.parametrize("per_row", [0.0, 3.0, 200.0])
@pytest.mark.parametrize("floor", [0, 10_000])
def test_the_cheapest_bands_are_those_of_all_mappings_tried(floor: int, per_row: float) -> None:
    layer, place = block(16).layers[2], on_chip(DEPTHWISE)

    def cost(mapping: LayerMapping) -> float:
        return max(priced(layer, mapping, DEPTHWISE), floor) + per_row * min(mapping.tile_rows, layer.out_height)

    others = chip_choices(layer, place, 1000, in_order=True)
    assert len(others) > 100
    best = band_choice(layer, place, floor, per_row)
    assert cost(best) <= min(map(cost, others))
    if floor and per_row:  # all are as slow as what they follow
        assert best.tile_rows == min(mapping.tile_rows for mapping in others if cost(mapping) == cost(best))


@pytest.mark.parametrize("layer", block(16).layers, ids=lambda layer: layer.name)
def test_jobs_are_those_of_the_program(layer: Layer) -> None:
    chunk = DEPTHWISE if layer.op == "depthwise" else MIXING
    alone = layer.renamed(name="only", input="input", residual=None)
    for mapping in chip_choices(alone, on_chip(chunk), 8):
        program = compile(
            Network("one", (alone,)),
            blank_weights(Network("one", (alone,))),
            Accelerator((chunk,)),
            Mapping((mapping,)),
        )
        body = [job for job in program.chunks[0].instructions if job.op in ("TILE", "STORE")]
        loads = [
            job for job in program.chunks[0].instructions if job.op == "LOAD" and job["dest"] == DESTINATIONS["INPUT"]
        ]
        columns = [getattr(mapping, f.name) for f in fields(Candidates) if f.name != "order"] + [0]
        once = mapping.order == "inputs" and mapping.in_channels >= alone.group_inputs
        if once and not alone.per_channel and mapping.kernel_rows >= alone.kernel[0]:
            assert int(jobs(alone, Candidates.of(torch.tensor([columns])))[0]) == len(body) + len(loads)


def test_nothing_is_chosen_where_nothing_fits() -> None:
    layer = replace(block(16).layers[3], residual=None, kernel=(3, 3), padding=(1, 1, 1, 1))
    tiny = replace(MIXING, weight_words=16)
    assert chip_choices(layer, on_chip(tiny), 3) == []
    with pytest.raises(UserError, match="layer 'project': fits no tile"):
        band_choice(layer, on_chip(tiny), 0, 1.0)


def test_weights_that_stay_are_loaded_once_for_all_frames() -> None:
    layer = block(16).layers[1]
    (mapping,) = chip_choices(layer, on_chip(MIXING, frames=4), 1)
    assert mapping.resident
    one, four = (int(of_mapping(layer, mapping, MIXING, Memory(40), frames).weight_frames) for frames in (1, 4))
    assert one == four == 1
    assert (
        int(of_mapping(layer, replace(mapping, resident=False, out_channels=16), MIXING, Memory(40), 4).weight_frames)
        > 1
    )
