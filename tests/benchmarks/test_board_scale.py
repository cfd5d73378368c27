"""What the benchmarks at board size and of single layers compute from cycles, and what they claim to build."""

import pytest

from benchmarks import single_layers
from benchmarks.board_designs import SETUPS, executed, zoo_network
from benchmarks.board_scale import figures, resource_rows
from dna.accelerator.chunk import port_memory
from dna.compile.lowering import lower
from dna.search.refine import blank_weights


def test_rates_follow_from_the_cycles_of_a_pass():
    setup = SETUPS["ResNet-18"]
    network = zoo_network(setup)
    cycles = setup.frames * 1_000_000
    rates = figures(setup, network, cycles)
    assert rates["frames/s"] == 200.0
    assert rates["GOPS"] == pytest.approx(network.macs * 2 * 200 / 1e9, abs=0.1)
    assert rates["utilisation"] == pytest.approx(network.macs / 1_000_000 / 1792, abs=1e-4)


@pytest.mark.parametrize("name", list(SETUPS))
def test_ports_together_have_16_bytes_per_cycle_each_way(name):
    setup = SETUPS[name]
    widths = [chunk.port_bytes for chunk in setup.accelerator.chunks for _ in range(chunk.ports)]
    rate = sum(width / port_memory(setup.memories, port).beat_interval for port, width in enumerate(widths))
    assert rate <= 16


@pytest.mark.parametrize("name", list(SETUPS))
def test_a_setup_fits_the_block_ram_and_has_a_chunk_for_every_layer(name):
    setup = SETUPS[name]
    network = zoo_network(setup)
    network, _ = executed(setup, network, blank_weights(network))
    layers = lower(network).layers
    chunks = setup.find(network).chunks if setup.find else setup.assign(layers) or (0,) * len(layers)
    assert len(chunks) == len(layers)
    assert set(chunks) == set(range(len(setup.accelerator.chunks)))
    rows = {row.name: row for row in resource_rows(name, setup.accelerator)}
    assert rows[f"{name}: bram36"].holds and rows[f"{name}: lut"].holds


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
