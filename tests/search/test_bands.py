"""Banded mappings: they compile for small banks, and keep their bands within them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dna.accelerator.chunk import Accelerator, Chunk, Link, Memory
from dna.compile.compiler import compile
from dna.compile.interpret import interpret
from dna.cost.schedule import schedule
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.network.random import random_input
from dna.quantize.random import random_weights
from dna.quantize.reference import run
from dna.search.bands import banded, banded_mapping

MIXING = Chunk(oc=16, ic=4, px=2, input_words=256, weight_words=128, param_words=64, output_words=256, port_bytes=16)
DEPTHWISE = replace(MIXING, ic=1, residual=False)


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


def test_a_block_runs_in_bands_and_gives_its_integers() -> None:
    network = block(16)
    links = (Link(0, 1, 512), Link(1, 0, 1024), Link(0, 0, 512))
    accelerator = Accelerator((MIXING, DEPTHWISE), links=links)
    mapping = banded_mapping(network, accelerator, (0, 0, 1, 0), frames=2, batches=(1, 1, 1, 1))
    assert mapping.on_chip == {"stem", "expand", "depthwise"}
    band = 3 * 16 * (min(mapping.layers[2].tile_rows, 16) + 2)
    assert 2 * band <= 512
    weights = random_weights(network, np.random.default_rng(0))
    program = compile(network, weights, accelerator, mapping)
    assert program.region_words["WORK"] == 0
    single = compile(network, weights, accelerator, replace(mapping, frames=1))
    image = random_input(network, np.random.default_rng(1))
    got = interpret(single, image, np.random.default_rng(2))
    assert np.array_equal(got["project"], run(network, weights, image)["project"])
    # Both chunks work on one frame at once.
    mixing, depthwise = schedule(single, Memory(20)).chunks
    expanded = max(tile.ended for tile in mixing.tiles if tile.layer == 1)
    assert depthwise.tiles[0].popped < expanded


def test_a_bank_without_room_for_two_bands_is_named() -> None:
    layer = block(16).layers[2]
    assert banded(layer, DEPTHWISE, 2 * 3 * 16 * 3).tile_rows == 1
    with pytest.raises(UserError, match="layer 'depthwise': no band of rows fits"):
        banded(layer, DEPTHWISE, 2 * 3 * 16 * 3 - 1)
