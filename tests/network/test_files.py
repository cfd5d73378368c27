"""Networks and weights survive being written and read; what is wrong in a file is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from dna.errors import UserError
from dna.network.files import load_weights, network_from_dict, network_to_dict, save_weights
from dna.network.layer import Layer
from dna.network.network import Network
from dna.network.random import RandomLimits, random_network
from dna.quantize.random import random_weights


@pytest.mark.parametrize("seed", range(10))
def test_network_survives_yaml(seed: int) -> None:
    network = random_network(np.random.default_rng(seed), RandomLimits(everything=True))
    assert network_from_dict(yaml.safe_load(yaml.safe_dump(network_to_dict(network)))) == network


def test_defaults_are_left_out() -> None:
    entry = network_to_dict(Network("n", (Layer("a", "conv", "input", 1, 4, 4, 2, kernel=(3, 3)),)))
    assert entry["layers"][0] == {
        "name": "a", "op": "conv", "input": "input", "in_channels": 1, "in_height": 4, "in_width": 4,
        "out_channels": 2, "kernel": [3, 3],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": [3]}, "layer 'a': kernel must be a list of 2 integers"),
        ({"kernl": [3, 3]}, "layer 'a': unknown key 'kernl'"),
        ({"in_channels": "3"}, "layer 'a': in_channels must be int"),
        ({"in_channels": True}, "layer 'a': in_channels must be int"),
        ({"in_signed": 1}, "layer 'a': in_signed must be bool"),
        ({"parts": "ab"}, "layer 'a': parts must be a list of tensor names"),
        ({"op": "dilated"}, "layer 'a': unknown operator 'dilated'"),
    ],
)
def test_wrong_entries_are_named(change: dict, message: str) -> None:
    data = network_to_dict(Network("n", (Layer("a", "conv", "input", 1, 4, 4, 2),)))
    data["layers"][0].update(change)
    with pytest.raises(UserError, match=message):
        network_from_dict(data)


def test_missing_key_is_named() -> None:
    data = network_to_dict(Network("n", (Layer("a", "conv", "input", 1, 4, 4, 2),)))
    del data["layers"][0]["in_width"]
    with pytest.raises(UserError, match="layer 'a': the key 'in_width' is missing"):
        network_from_dict(data)
    with pytest.raises(UserError, match="'name' and 'layers'"):
        network_from_dict({"layers": []})


@pytest.mark.parametrize("seed", range(10))
def test_weights_survive(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, RandomLimits(everything=True))
    weights = random_weights(network, rng)
    save_weights(tmp_path / "weights.npz", weights)
    loaded = load_weights(tmp_path / "weights.npz", network)
    assert list(loaded) == list(weights)
    for name, layer in weights.items():
        again = loaded[name]
        assert again.residual_multiplier == layer.residual_multiplier
        assert (again.weight is None) == (layer.weight is None)
        for field in ("weight", "bias", "multiplier", "shift"):
            one, other = getattr(again, field), getattr(layer, field)
            assert one is other is None or (one.dtype == other.dtype and np.array_equal(one, other))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    small, large = (Network("n", (Layer("a", "conv", "input", 1, 4, 4, c),)) for c in (2, 3))
    path = tmp_path / "weights.npz"
    save_weights(path, random_weights(small, rng))
    with pytest.raises(UserError, match="'a/weight' has shape"):
        load_weights(path, large)
    with pytest.raises(UserError, match="'b/weight' is missing"):
        load_weights(path, Network("n", (Layer("b", "conv", "input", 1, 4, 4, 2),)))
    path.write_bytes(b"not an archive")
    with pytest.raises(UserError, match="not a readable weights file"):
        load_weights(path, small)
