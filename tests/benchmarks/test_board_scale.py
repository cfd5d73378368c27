"""What the benchmarks at board size and of single layers compute from cycles, and what they claim to build."""

import pytest

from benchmarks import single_layers
from benchmarks.board_designs import BOARD, SETUPS, executed, load, zoo_network
from benchmarks.board_scale import PASSES, figures, resource_rows, schedule_rows
from dna.compile.compiler import compile
from dna.compile.limits import check_mapping
from dna.cost.schedule import schedule
from dna.search.refine import blank_weights
from dna.search.shares import bandwidth, port_widths


def test_rates_follow_from_the_cycles_of_a_pass():
    setup = SETUPS["ResNet-18"]
    found, network = load(setup), zoo_network(setup)
    cycles = found.mapping.frames * 1_000_000
    rates = figures(found, network, cycles)
    multipliers = sum(chunk.multipliers for chunk in found.accelerator.chunks)
    assert rates["frames/s"] == 200.0
    assert rates["GOPS"] == pytest.approx(network.macs * 2 * 200 / 1e9, abs=0.1)
    assert rates["utilisation"] == pytest.approx(network.macs / 1_000_000 / multipliers, abs=1e-4)


@pytest.mark.parametrize("name", SETUPS)
def test_a_found_design_keeps_within_the_boards_memory_and_resources(name):
    found = load(SETUPS[name])
    assert bandwidth(found.design.shares, port_widths(found.accelerator)) <= BOARD.carried == 16
    rows = resource_rows(name, found.accelerator)
    assert len(rows) == 4 and all(row.holds for row in rows)


@pytest.mark.parametrize("name", SETUPS)
def test_a_found_design_is_for_its_network_and_beats_the_hand(name):
    setup = SETUPS[name]
    found, network = load(setup), zoo_network(setup)
    network, _ = executed(setup, network, blank_weights(network))
    check_mapping(network, found.accelerator, found.mapping)
    assert found.cycles <= setup.hand
    assert name in found.command


def test_cycles_of_a_found_design_are_those_of_its_program():
    """The smallest one, compiled in full: bars are those of the exact schedule."""
    setup = SETUPS["AlexNet convolutions"]
    found, network = load(setup), zoo_network(setup)
    network, weights = executed(setup, network, blank_weights(network))
    times = schedule(compile(network, weights, found.accelerator, found.mapping), found.memories, PASSES)
    assert times.interval / found.mapping.frames == found.cycles
    rows = {row.name: row for row in schedule_rows("x", setup, found, network, times)}
    assert rows["x: cycles, schedule / by hand"].holds and rows["x: utilisation, schedule"].holds


def test_convolutions_without_the_classifier_keep_every_convolution():
    network = zoo_network(SETUPS["VGG-16 convolutions"])
    assert [layer.op for layer in network.layers].count("conv") == 13
    assert network.macs == 15_346_630_656


@pytest.mark.parametrize("multipliers", single_layers.MULTIPLIERS)
def test_arrays_have_exactly_the_multipliers_and_one_narrow_port(multipliers):
    arrays = list(single_layers.arrays(multipliers))
    assert len(arrays) > 3
    for chunk in arrays:
        assert (chunk.multipliers, chunk.ports, chunk.port_bytes) == (multipliers, 1, 8)


def test_rows_with_at_most_as_many_multipliers_set_the_bar():
    layer = single_layers.LAYERS["A"]
    chunk = next(single_layers.arrays(256))
    mapping = single_layers.steady(layer, chunk, single_layers.MEMORY, 1).best(1)[0]
    cycles, share = single_layers.layer_rows("A", layer, 256, single_layers.Found(10_000, chunk, mapping))
    assert cycles.bar == "< 35065" and cycles.holds
    assert share.bar == "> 0.781" and share.value == round(layer.macs / 256 / 10_000, 3)
