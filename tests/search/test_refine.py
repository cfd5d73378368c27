"""Mappings chosen by the exact schedule: legal, in order, never worse than the start."""

from dataclasses import replace

import numpy as np
import pytest

from dna.accelerator.chunk import Accelerator, Chunk, Memory
from dna.accelerator.mapping import Mapping
from dna.compile import limits
from dna.compile.default_mapping import default_mapping
from dna.compile.units import chunk_units
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.quantize.limits import check_overflow
from dna.quantize.random import random_weights
from dna.search.problem import Budget
from dna.search.refine import (
    MOST_STEPS,
    UNKNOWN,
    alone,
    best_priced,
    blank_weights,
    layer_choices,
    pass_cycles,
    refine,
    starting_mapping,
    steps,
)
from dna.search.steady import group_candidates, steady

MEMORY = Memory(read_latency=40)
CHUNK = Chunk(oc=16, ic=4, px=4, post_lanes=8, input_words=256, weight_words=288, output_words=256, ports=1)
CONV = Layer("a", "conv", "input", 16, 14, 14, 32, (3, 3), padding=(1, 1, 1, 1))
NETWORK = Network(
    "small",
    (
        CONV,
        Layer("p", "maxpool", "a", 32, 14, 14, 32, (2, 2), stride=(2, 2), pad_value=-128),
        Layer("b", "conv", "p", 32, 7, 7, 32, (3, 3), padding=(1, 1, 1, 1), residual="p"),
        Layer("c", "conv", "b", 32, 7, 7, 64),
    ),
)
ACCELERATOR = Accelerator((CHUNK,))


def test_every_choice_can_run_and_the_first_one_is_the_fastest_when_scheduled():
    for layer in NETWORK.layers:
        choices = layer_choices(layer, CHUNK, MEMORY, 2, 6)
        assert len(choices) > 1
        cycles = [alone(layer, choice.mapping, CHUNK, MEMORY, 2) for choice in choices]
        assert cycles == sorted(cycles) == [choice.cycles for choice in choices]
        for choice in choices:
            limits.check(layer, CHUNK, choice.mapping)


def test_steps_are_the_tiles_of_the_program():
    for layer in NETWORK.layers[:2]:
        alone_on = replace(layer, name="only", input="input")
        for choice in layer_choices(layer, CHUNK, MEMORY, 1, 12):
            units = chunk_units((alone_on,), Mapping((choice.mapping,)), 0)
            assert steps(layer, choice.mapping) == len(units)


def test_a_layer_with_very_many_tiles_takes_the_best_priced_mapping_and_is_not_scheduled():
    layer = Layer("wide", "fc", "input", 4096, 1, 1, 4096, (1, 1))
    tiny = replace(CHUNK, weight_words=32)
    (choice,) = layer_choices(layer, tiny, MEMORY, 4, 3)
    assert 4 * steps(layer, choice.mapping) > MOST_STEPS and choice.cycles == UNKNOWN
    assert [choice.mapping] == best_priced(layer, tiny, MEMORY, 4, 1)
    assert all(choice.cycles != UNKNOWN for choice in layer_choices(layer, replace(tiny, weight_words=4096), MEMORY, 1))


def test_one_weight_load_serves_a_group_of_frames_with_order_weights():
    small = replace(CONV, in_height=2, in_width=2, in_channels=64, out_channels=128)
    chunk = replace(CHUNK, weight_words=2048, input_words=1024)
    one, four = (steady(small, chunk, MEMORY, frames) for frames in (1, 4))
    assert int(four.cycles.min()) < 3 * int(one.cycles.min())
    (best,) = four.best(1)
    assert best.order == "weights" or best.out_channels == small.out_channels
    assert alone(small, best, chunk, MEMORY, 4) < 4 * alone(small, best, chunk, MEMORY, 1)


def test_a_layer_without_weights_goes_frame_by_frame():
    assert not group_candidates(replace(NETWORK.layers[1], name="", input="input"), CHUNK.px).order.any()


def test_refinement_improves_a_default_mapping_and_never_makes_it_worse():
    weights = blank_weights(NETWORK)
    mapping = replace(default_mapping(NETWORK, CHUNK), frames=2)
    before = pass_cycles(NETWORK, weights, ACCELERATOR, mapping, MEMORY)
    refined = refine(NETWORK, weights, ACCELERATOR, mapping, MEMORY, Budget(evaluations=20))
    after = pass_cycles(NETWORK, weights, ACCELERATOR, refined, MEMORY)
    assert after < before
    assert refined == refine(NETWORK, weights, ACCELERATOR, mapping, MEMORY, Budget(evaluations=20))
    again = refine(NETWORK, weights, ACCELERATOR, refined, MEMORY, Budget(evaluations=4))
    assert pass_cycles(NETWORK, weights, ACCELERATOR, again, MEMORY) <= after


def test_without_a_budget_the_mapping_stays_as_it_is():
    mapping = default_mapping(NETWORK, CHUNK)
    assert refine(NETWORK, blank_weights(NETWORK), ACCELERATOR, mapping, MEMORY, Budget(evaluations=1)) == mapping


def test_the_start_knows_each_layers_chunk_and_frames():
    two = Accelerator((CHUNK, replace(CHUNK, oc=32, px=2, input_words=512, weight_words=512)))
    mapping = starting_mapping(NETWORK, two, (MEMORY, MEMORY), chunks=(0, 1, 0, 1), frames=2, choices=3)
    assert (mapping.chunks, mapping.frames) == ((0, 1, 0, 1), 2)
    for index, layer in enumerate(NETWORK.layers):
        limits.check(layer, two.chunks[mapping.chunk(index)], mapping.layers[index])
    assert pass_cycles(NETWORK, blank_weights(NETWORK), two, mapping, (MEMORY, MEMORY)) > 0


def test_cycles_do_not_depend_on_the_weights():
    mapping = starting_mapping(NETWORK, ACCELERATOR, MEMORY, choices=2)
    weights, blank = random_weights(NETWORK, np.random.default_rng(0)), blank_weights(NETWORK)
    check_overflow(NETWORK, blank)
    cycles = [pass_cycles(NETWORK, given, ACCELERATOR, mapping, MEMORY) for given in (weights, blank)]
    assert cycles[0] == cycles[1]


def test_a_layer_that_fits_nowhere_is_named():
    tiny = Accelerator((replace(CHUNK, weight_words=16),))
    with pytest.raises(UserError, match="layer 'a': fits no tile on chunk 0"):
        starting_mapping(NETWORK, tiny, MEMORY)
