"""Mappings made without a search: legal, sensible, and random ones that reach every kind."""

from __future__ import annotations

import numpy as np

from dna.accelerator.chunk import Chunk
from dna.compile.default_mapping import default_layer_mapping, random_chunk, random_mapping
from dna.compile.limits import fits, slices
from dna.network.layer import Layer
from tests.compile.cases import conv


def test_default_mappings_fit_random_chunks() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        chunk = random_chunk(rng)
        layer = conv("a", "input", (int(rng.integers(1, 20)), int(rng.integers(1, 20)), 16), 24)
        assert fits(layer, chunk, default_layer_mapping(layer, chunk))


def test_default_mapping_uses_the_lanes() -> None:
    mapping = default_layer_mapping(conv("a", "input", (16, 16, 32), 32), Chunk(px=8, post_lanes=16))
    assert mapping.lanes == 8
    assert 16 % mapping.tile_rows == 0
    assert 16 % mapping.tile_cols == 0


def test_default_mapping_of_a_large_fc_is_sliced() -> None:
    layer = Layer("head", "fc", "input", 512, 7, 7, 1000, (7, 7))
    chunk = Chunk(oc=16, ic=4)
    assert slices(layer, default_layer_mapping(layer, chunk)) > 1


def test_random_mappings_reach_every_kind() -> None:
    rng = np.random.default_rng(0)
    layer, chunk = (
        conv("a", "input", (12, 9, 40), 48, padding=(0, 0, 0, 0)),
        Chunk(px=6, input_words=2048, weight_words=1024),
    )
    drawn = [random_mapping(layer, chunk, rng) for _ in range(300)]
    assert all(fits(layer, chunk, mapping) for mapping in drawn)
    assert {mapping.order for mapping in drawn} == {"inputs", "weights"}
    assert {mapping.out_channels for mapping in drawn} == {16, 32, 48}
    assert {mapping.in_channels for mapping in drawn} == {16, 32, 40}
    assert {mapping.kernel_rows for mapping in drawn} == {1, 2, 3}
    assert {(mapping.lanes_y > 1, mapping.lanes_x > 1) for mapping in drawn} == {(a, b) for a in (0, 1) for b in (0, 1)}
    ragged = {(layer.out_height % m.tile_rows > 0, layer.out_width % m.tile_cols > 0) for m in drawn}
    assert len(ragged) == 4


def test_random_chunks_reach_every_kind() -> None:
    rng = np.random.default_rng(0)
    drawn = [random_chunk(rng) for _ in range(300)]
    assert {chunk.oc for chunk in drawn} == {2, 4, 8, 16, 32, 48}
    assert {chunk.ic for chunk in drawn} == {1, 2, 4, 8, 16}
    assert {chunk.post_lanes for chunk in drawn} == {2, 4, 8, 16}
    assert {(chunk.ports, chunk.port_bytes) for chunk in drawn} == {(1, 8), (1, 16), (2, 8), (2, 16)}
    assert {chunk.px for chunk in drawn} == set(range(1, 9))
    assert {(chunk.packed, chunk.mac_in_lut) for chunk in drawn} == {(False, False), (False, True), (True, False)}
