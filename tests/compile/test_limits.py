"""Every limit is refused with the layer and the limit named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dna.accelerator.chunk import Accelerator, Chunk
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile.default_mapping import default_layer_mapping
from dna.compile.limits import check, check_mapping, fits
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from tests.compile.cases import conv

CHUNK = Chunk(oc=16, ic=4, px=4, input_words=512, weight_words=512, param_words=64, output_words=128)
LAYER = conv("stem", "input", (16, 16, 32), 32)
GOOD = LayerMapping(2, 2, 2, 2, 16, 32, 3)
GLOBAL = Layer("pool", "avgpool", "input", 32, 16, 16, 32, (16, 16))
ADDED = conv("stem", "input", (16, 16, 32), 32, residual="input")


def test_the_base_case_fits() -> None:
    check(LAYER, CHUNK, GOOD)
    assert fits(LAYER, CHUNK, GOOD)


@pytest.mark.parametrize(
    ("layer", "chunk", "changes", "message"),
    [
        (LAYER, CHUNK, {"lane_rows": 0}, "lane_rows is 0"),
        (LAYER, CHUNK, {"lanes_x": 3}, "2 x 3 lanes; the chunk has 4"),
        (LAYER, CHUNK, {"out_channels": 24}, "out_channels of a tile is 24"),
        (LAYER, CHUNK, {"out_channels": 48}, "out_channels of a tile is 48"),
        (LAYER, CHUNK, {"in_channels": 8}, "in_channels of a tile is 8"),
        (LAYER, CHUNK, {"kernel_rows": 4}, "kernel_rows is 4"),
        (LAYER, CHUNK, {"order": "rows"}, "order is 'rows'"),
        (LAYER, CHUNK, {"lane_rows": 1, "lane_cols": 1, "kernel_rows": 1}, "without padding above and below"),
        (LAYER, CHUNK, {"in_channels": 16}, "slices need one pixel per lane"),
        (GLOBAL, CHUNK, {"in_channels": 16, "kernel_rows": 16}, "does not mix channels"),
        (ADDED, replace(CHUNK, residual=False), {}, "no residual buffer"),
        (LAYER, replace(CHUNK, input_words=60), {}, "a lane's input tile in words is 32; the limit is 30"),
        (LAYER, replace(CHUNK, weight_words=142), {}, "a weight tile in words is 72; the limit is 71"),
        (LAYER, replace(CHUNK, param_words=16), {"out_channels": 32}, None),
        (LAYER, replace(CHUNK, param_words=16, post_lanes=2), {}, None),
        (LAYER, replace(CHUNK, param_words=16, post_lanes=2, weight_words=4096), {"out_channels": 32}, "parameters in"),
        (LAYER, replace(CHUNK, output_words=30), {}, "an output tile in words is 16; the limit is 15"),
    ],
)
def test_limits(layer: Layer, chunk: Chunk, changes: dict[str, object], message: str | None) -> None:
    mapping = replace(GOOD, **changes)  # type: ignore[arg-type]
    assert fits(layer, chunk, mapping) == (message is None)
    if message is None:
        check(layer, chunk, mapping)
        return
    with pytest.raises(UserError, match=f"layer '{layer.name}'.*{message}"):
        check(layer, chunk, mapping)


WEIGHT = replace(CHUNK, dataflow="weight", sum_words=16)
INPUT = replace(CHUNK, dataflow="input", sum_words=16)


@pytest.mark.parametrize(
    ("chunk", "changes", "message"),
    [
        (WEIGHT, {"in_channels": 16}, None),  # 4 pixels of one group wait for the next slice
        (WEIGHT, {"in_channels": 16, "lane_rows": 4, "lane_cols": 4}, None),
        (
            WEIGHT,
            {"in_channels": 16, "lane_rows": 4, "lane_cols": 4, "out_channels": 32},
            "sums in words is 32; the limit",
        ),
        (WEIGHT, {"lane_rows": 4, "lane_cols": 4, "out_channels": 32}, None),  # one group after the other
        (WEIGHT, {"lane_rows": 5, "lane_cols": 4, "in_channels": 16}, "sums in words is 20; the limit is 16"),
        (INPUT, {"in_channels": 16, "out_channels": 32}, None),
        (INPUT, {"lane_rows": 4, "lane_cols": 4, "out_channels": 32}, None),  # one pixel after the other
        (INPUT, {"lane_rows": 3, "lane_cols": 3, "out_channels": 32, "in_channels": 16}, "sums in words is 18; the"),
    ],
)
def test_partial_sums_have_their_place(chunk: Chunk, changes: dict[str, int], message: str | None) -> None:
    chunk = replace(chunk, input_words=4096, weight_words=4096, output_words=1024)
    mapping = replace(GOOD, **changes)
    assert fits(LAYER, chunk, mapping) == (message is None)
    if message is not None:
        with pytest.raises(UserError, match=message):
            check(LAYER, chunk, mapping)


@pytest.mark.parametrize(
    ("dataflow", "sum_words", "message"),
    [
        ("output", 64, "sum_words is 64; it must be 0 with dataflow output"),
        ("weight", 0, "sum_words is 0; it must be 16 to 8192"),
        ("rows", 0, "dataflow is rows; it must be one of output, weight, input"),
    ],
)
def test_dataflow_of_a_chunk(dataflow: str, sum_words: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Chunk(dataflow=dataflow, sum_words=sum_words)  # type: ignore[arg-type]


def test_a_chunk_and_its_integers() -> None:
    assert INPUT.integers["dataflow"] == 2
    assert Chunk.from_integers(INPUT.integers) == INPUT and Chunk.from_integers({}) == Chunk()
    with pytest.raises(UserError, match="dataflow is 3"):
        Chunk.from_integers({"dataflow": 3})


def test_idle_cycles_are_limited() -> None:
    chunk = Chunk(oc=128, ic=1, px=32, post_lanes=2, input_words=512, weight_words=512, param_words=256)
    layer = conv("wide", "input", (16, 16, 1), 128, k=1)
    with pytest.raises(UserError, match="idle cycles per pixel is 2047; the limit is 1023"):
        check(layer, chunk, LayerMapping(8, 4, 1, 1, 128, 1, 1))


def test_wide_windows_are_limited() -> None:
    chunk = Chunk(px=4, input_words=8192, output_words=8192)
    layer = conv("wide", "input", (1, 4000, 1), 1, k=1)
    with pytest.raises(UserError, match="input window in columns is 1024; the limit is 1023"):
        check(layer, chunk, LayerMapping(1, 4, 1, 256, 1, 1, 1))


def test_a_mapping_needs_all_layers() -> None:
    with pytest.raises(UserError, match="the mapping has 0 layers"):
        check_mapping(Network("n", (LAYER,)), Accelerator((CHUNK,)), Mapping(()))


def test_no_mapping_names_the_limit() -> None:
    chunk = Chunk(oc=8, ic=2, weight_words=64)
    layer = Layer("head", "fc", "input", 64, 8, 8, 100, (8, 8))
    with pytest.raises(UserError, match="layer 'head': a weight tile in words is .* more weight_words"):
        default_layer_mapping(layer, chunk)
