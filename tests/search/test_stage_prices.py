"""Stage prices: one table for all buffers says what each chunk alone says, bounds stay below, the schedule is near."""

from dataclasses import replace

import pytest
import torch

from dna.accelerator.chunk import Accelerator, Chunk, Memory
from dna.accelerator.mapping import Mapping
from dna.compile import limits
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search import stage_choices, stage_prices
from dna.search.mapping_space import UNMAPPED, shape_of
from dna.search.refine import blank_weights, pass_cycles
from dna.search.stage_choices import choices
from dna.search.stage_prices import Key, StagePrices, chunk_prices, ranked
from tests.search.toy import small_space

MEMORY = Memory(read_latency=40)
CONV = Layer("a", "conv", "input", 16, 14, 14, 48, (3, 3), padding=(1, 1, 1, 1))
LAYERS = (
    CONV,
    replace(CONV, kernel=(1, 1), padding=(0, 0, 0, 0), in_channels=80, in_height=7, in_width=7),
    Layer("p", "maxpool", "input", 32, 14, 14, 32, (2, 2), stride=(2, 2), pad_value=-128),
    Layer("d", "depthwise", "input", 48, 14, 14, 48, (3, 3), stride=(2, 2), padding=(1, 1, 1, 1)),
    Layer("f", "fc", "input", 64, 2, 2, 96, (2, 2)),
    Layer("m", "avgpool", "input", 48, 7, 7, 48, (7, 7)),
)
PLACES = (
    {"share": 1, "frames": 1, "chip_in": False, "chip_out": False},
    {"share": 3, "frames": 2, "chip_in": True, "chip_out": False},
    {"share": 2, "frames": 4, "chip_in": True, "chip_out": True, "banded": 4096},
    {"share": 2, "frames": 1, "chip_in": False, "chip_out": True, "chained": False},
)
SPACE = small_space(ports=(1, 2), dataflow=(0, 1), sum_words=(0, 64))


def key(layer: Layer, place: dict) -> Key:
    return Key(shape_of(layer), **{"banded": None, "chained": True, **place})


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.op)
def test_the_table_says_for_every_buffer_what_a_chunk_alone_says(layer: Layer, place: dict):
    prices = StagePrices(SPACE, MEMORY)
    arrays = torch.randperm(len(SPACE.arrays), generator=torch.Generator().manual_seed(0))[:12]
    table = prices.get(layer, arrays, **place)
    designs = SPACE.enumerate(SPACE.arrays[arrays])
    assert table.shape == (12, len(SPACE.buffers)) and table.dtype == torch.int32
    for row in torch.randint(len(designs), (40,), generator=torch.Generator().manual_seed(1)).tolist():
        chunk = SPACE.chunk(designs[row])
        cycles = float(chunk_prices(key(layer, place), chunk, MEMORY)[1].min())
        assert int(table.flatten()[row]) == min(cycles, UNMAPPED)
        best = ranked(key(layer, place), chunk, MEMORY, 1)
        assert bool(best) == (cycles < UNMAPPED)
        if best:
            limits.check(layer, chunk, best[0])


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.op)
def test_what_is_asked_for_first_makes_no_difference(layer: Layer):
    arrays = torch.arange(0, len(SPACE.arrays), 5)
    at_once = StagePrices(SPACE, MEMORY).get(layer, arrays, **PLACES[1])
    prices = StagePrices(SPACE, MEMORY)
    one_by_one = [prices.get(layer, arrays[i : i + 1], **PLACES[1])[0] for i in range(len(arrays))]
    assert torch.equal(at_once, torch.stack(one_by_one))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.op)
def test_no_price_is_below_the_bounds(layer: Layer, place: dict):
    prices, arrays = StagePrices(SPACE, MEMORY), torch.arange(len(SPACE.arrays))
    cheapest = prices.get(layer, arrays, **place).min(dim=1).values.long()
    assert (cheapest >= place["frames"] * prices.array(layer, arrays)).all()
    flags = {name: place[name] for name in ("share", "frames", "chip_in", "chip_out")}
    assert (cheapest >= prices.port(layer, arrays, **flags)).all()
    assert (cheapest < UNMAPPED).any()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.op)
def test_pixels_that_were_left_out_are_hardly_ever_better(layer: Layer, place: dict, monkeypatch: pytest.MonkeyPatch):
    chunk = Chunk(oc=16, ic=4, px=4, post_lanes=8, input_words=256, weight_words=288, output_words=256, residual=False)
    few = choices(shape_of(layer), 4, True, False)
    pruned = float(chunk_prices(key(layer, place), chunk, MEMORY)[1].min())
    monkeypatch.setattr(stage_choices, "_front", lambda costs: torch.arange(len(costs)))
    monkeypatch.setattr(stage_choices, "_kept_pixels", stage_choices._kept_pixels.__wrapped__)
    monkeypatch.setattr(stage_prices, "choices", choices.__wrapped__)
    many = choices.__wrapped__(shape_of(layer), 4, True, False)
    assert len(few) < len(many) or layer.out_height == 1
    # Bursts end at borders of 4 KB pages and runs, which the order of costs does not know of.
    assert pruned <= 1.01 * float(chunk_prices(key(layer, place), chunk, MEMORY)[1].min())


@pytest.mark.parametrize("frames", (1, 2, 4))
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.op)
def test_the_schedule_of_the_best_mapping_is_near_its_price(layer: Layer, frames: int):
    chunk = Chunk(oc=16, ic=4, px=4, post_lanes=8, input_words=256, weight_words=288, output_words=256)
    place = Key(shape_of(layer), 2, frames, False, False, None, False)
    price = float(chunk_prices(place, chunk, MEMORY)[1].min())
    (mapping,) = ranked(place, chunk, MEMORY, 1)
    network = Network("alone", (shape_of(layer).renamed(name="layer"),))
    # Two groups in a pass: with an even number of tiles, slots take turns from pass to pass as within one.
    groups = Mapping((mapping,), frames=2 * frames, batches=(frames,))
    memory = replace(MEMORY, beat_interval=2)
    exact = pass_cycles(network, blank_weights(network), Accelerator((chunk,)), groups, memory) / 2
    assert 0.85 * exact < price < 1.05 * exact
