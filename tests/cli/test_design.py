"""Designs: what is saved comes back equal, and a damaged folder is refused with the key named."""

import numpy as np
import pytest
import yaml

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk
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
