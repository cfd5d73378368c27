"""Designs: what is saved comes back equal, and a damaged folder is refused with the key named."""

from dataclasses import replace

import numpy as np
import pytest
import yaml

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk, Link
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.design import Design
from dna.errors import UserError
from dna.network.random import random_network
from dna.quantize.random import random_weights


@pytest.fixture(scope="module")
def design():
    rng = np.random.default_rng(3)
    network = random_network(rng)
    rows = [
        LayerMapping(1, 2, 3, 4, layer.out_channels, layer.in_channels, layer.kernel[0]) for layer in network.layers
    ]
    return Design(
        network,
        random_weights(network, rng),
        Accelerator((Chunk(oc=32, px=2, port_bytes=8),)),
        Mapping(tuple(rows)),
        load_board("zc706"),
        {"accuracy": 0.5, "names": ("a", "b")},
    )


@pytest.fixture
def folder(design, tmp_path):
    design.save(tmp_path / "design")
    return tmp_path / "design"


def edit(folder, change):
    path = folder / "design.yaml"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def test_round_trip(design, folder):
    back = Design.load(folder)
    assert (back.network, back.accelerator, back.mapping, back.board) == (
        design.network,
        design.accelerator,
        design.mapping,
        design.board,
    )
    assert back.metrics == {"accuracy": 0.5, "names": ["a", "b"]}
    for name, weights in design.weights.items():
        for field in ("weight", "bias", "multiplier", "shift", "residual_multiplier"):
            np.testing.assert_array_equal(getattr(back.weights[name], field), getattr(weights, field))


def test_several_chunks_links_and_frames_come_back(design, tmp_path):
    layers = len(design.network.layers)
    chunk = replace(design.accelerator.chunks[0], ports=1, port_bytes=16)
    mapping = replace(
        design.mapping,
        chunks=tuple(index % 2 for index in range(layers)),
        frames=4,
        batches=(2,) * layers,
        on_chip=frozenset({"layer1", "layer0"}),
    )
    accelerator = Accelerator((chunk, chunk), links=(Link(0, 1, 256), Link(1, 0, 64)))
    board = replace(design.board, port_bits=128)
    both = replace(design, accelerator=accelerator, mapping=mapping, board=board)
    both.save(tmp_path / "both")
    back = Design.load(tmp_path / "both")
    assert (back.accelerator, back.mapping) == (accelerator, mapping)
    assert back.text() == both.text()


def test_a_design_from_before_there_were_several_chunks_still_loads(design, folder):
    def old(content):
        for key in ("chunks", "frames", "batches", "on_chip"):
            del content["mapping"][key]
        del content["accelerator"]["links"]
        for key in ("packed", "mac_in_lut", "post_in_lut"):
            del content["accelerator"]["chunks"][0][key]

    edit(folder, old)
    back = Design.load(folder)
    assert (back.accelerator, back.mapping) == (design.accelerator, design.mapping)


def test_saving_again_replaces_and_leaves_two_files(design, folder):
    design.save(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["design.yaml", "weights.npz"]


def test_every_layer_is_a_line_a_person_can_read(design, folder):
    text = (folder / "design.yaml").read_text()
    assert max(map(len, text.splitlines())) <= 120
    assert text.count("lanes_y") == len(design.network.layers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(colour=1), "unknown key 'colour'"),
        (lambda c: c.pop("board"), "key 'board' is missing"),
        (lambda c: c.update(format=99), "format is 99; this version of dna reads 1"),
        (lambda c: c["accelerator"]["chunks"][0].update(oc=5), r"accelerator\.chunks\[0\]: chunk: oc is 5; it must be"),
        (
            lambda c: c["accelerator"]["chunks"][0].update(oc="16"),
            r"accelerator\.chunks\[0\]\.oc: is '16'; .* an integer",
        ),
        (
            lambda c: c["accelerator"]["chunks"][0].update(port_bytes=16),
            "port_bytes is 16; the ports of board 'zc706' have 8",
        ),
        (lambda c: c["mapping"]["layers"].pop(), r"mapping\.layers: \d+ entries for \d+ layers"),
        (lambda c: c["mapping"]["layers"][0].pop("lanes_x"), r"mapping\.layers\[0\]: key 'lanes_x' is missing"),
        (
            lambda c: c["mapping"]["layers"][0].update(order="both"),
            r"layers\[0\]\.order: is 'both'; .* weights, inputs",
        ),
        (lambda c: c["network"]["layers"][0].update(in_channels=0), "layer 'layer0': in_channels is 0"),
        (lambda c: c["network"]["layers"][-1].update(name="renamed"), r"weights\.npz: 'renamed/"),
        (lambda c: c.update(metrics=3), "metrics: a table"),
        (
            lambda c: c["accelerator"].update(chunks=3 * c["accelerator"]["chunks"]),
            "accelerator: its chunks have 6 ports; board 'zc706' has 4",
        ),
        (lambda c: c.update(shares=[1]), r"shares: 1 entries for 2 ports"),
        (lambda c: c.update(shares=[0, 1]), r"shares: 0 cycles per beat"),
        (lambda c: c.update(shares="all"), r"shares: is 'all'; it must be a list of integers"),
        (lambda c: c["mapping"].update(chunks=[0]), r"mapping\.chunks: 1 entries for \d+ layers"),
        (
            lambda c: c["mapping"].update(chunks=[1] * len(c["mapping"]["layers"])),
            r"mapping\.chunks\[0\] is 1; the accelerator has 1 chunks",
        ),
        (lambda c: c["mapping"].update(frames=0), r"mapping\.frames is 0; it must be at least 1"),
        (
            lambda c: c["mapping"].update(frames=4, batches=[3] * len(c["mapping"]["layers"])),
            r"mapping\.batches\[0\] is 3; it must divide frames, which is 4",
        ),
        (lambda c: c["mapping"].update(on_chip=[1]), r"mapping\.on_chip\[0\]: is '1'; it must be text"),
        (lambda c: c["accelerator"].update(links=[{"writer": 0}]), r"links\[0\]: key 'reader' is missing"),
    ],
)
def test_damage_is_named(folder, change, message):
    edit(folder, change)
    with pytest.raises(UserError, match=message) as caught:
        Design.load(folder)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


def test_missing_and_broken_files(folder, tmp_path):
    with pytest.raises(UserError, match=r"holds no design: design\.yaml is missing"):
        Design.load(tmp_path / "nothing")
    (folder / "weights.npz").write_bytes(b"PK broken")
    with pytest.raises(UserError, match=r"weights\.npz"):
        Design.load(folder)
    (folder / "weights.npz").unlink()
    with pytest.raises(UserError, match=r"weights\.npz"):
        Design.load(folder)


def test_shares_of_the_memory_ports(design, tmp_path):
    """Masters of an interconnect may be more and wider than the board's ports, as long as their shares add up."""
    wide = replace(design.accelerator.chunks[0], port_bytes=16)
    accelerator = replace(design.accelerator, chunks=(wide,))
    shared = replace(design, accelerator=accelerator, shares=(2, 2))
    assert [memory.beat_interval for memory in shared.memories] == [2, 2]
    shared.save(tmp_path)
    assert Design.load(tmp_path).shares == (2, 2)
    assert design.memories == design.board.memory
    with pytest.raises(UserError, match="shares: 32.0 bytes per cycle in all; the memory of board 'small' moves 16.0"):
        replace(shared, shares=(1, 1), board=replace(design.board, name="small", ports=2, dram_bytes=0))
