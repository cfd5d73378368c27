"""Compiled Programs, executed instruction by instruction, give the integer reference bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from dna.accelerator.chunk import Chunk
from dna.accelerator.mapping import LayerMapping
from dna.compile.interpret import interpret
from dna.network.layer import Layer
from dna.network.random import RandomLimits
from dna.quantize.reference import run
from tests.compile.cases import Case, conv, drawn_case, made_case


def assert_equal(case: Case, seed: int = 0) -> None:
    """Every tensor equals the reference, with engines as early as possible and in random order."""
    program = case.compile()
    expected = run(case.network, case.weights, case.x_HWC)
    for rng in (None, np.random.default_rng(seed)):
        got = interpret(program, case.x_HWC, rng)
        assert set(got) >= set(expected)
        for name, given in got.items():
            wrong = np.argwhere(given != expected[program.tensors[name].source])
            assert not len(wrong), f"'{name}' differs first at {wrong[0]} of {len(wrong)} elements: {case}"


@pytest.mark.parametrize("seed", range(60))
def test_random_designs(seed: int) -> None:
    assert_equal(drawn_case(seed), seed)


LEGAL_ARRAYS = [(oc, ic) for oc in (2, 4, 8, 16, 32) for ic in (1, 4, 16) if oc * ic % 16 == 0]


@pytest.mark.parametrize(("oc", "ic"), LEGAL_ARRAYS)
def test_array_shapes(oc: int, ic: int) -> None:
    layers = [
        conv("a", "input", (9, 7, 5), 37),
        Layer("b", "depthwise", "a", 37, 9, 7, 37, (3, 3), (2, 1), (1, 1, 1, 1)),
        Layer("c", "maxpool", "b", 37, 5, 7, 37, (2, 3), pad_value=-128, padding=(1, 0, 0, 2)),
        Layer("d", "avgpool", "c", 37, 5, 7, 37, (5, 7)),
        Layer("e", "fc", "d", 37, 1, 1, 20),
    ]
    layers[2] = layers[2].renamed(in_signed=True)
    for post_lanes in (lanes for lanes in (2, 16) if oc % lanes == 0):
        assert_equal(made_case(layers, Chunk(oc=oc, ic=ic, px=3, post_lanes=post_lanes, weight_words=4096)))


SLICED = {
    "input channels": (Layer("a", "conv", "input", 70, 4, 4, 20, (3, 3), (1, 1), (1, 1, 1, 1)), (2, 2, 20, 32, 3)),
    "fc over a map": (Layer("a", "fc", "input", 40, 5, 4, 33, (5, 4)), (1, 1, 16, 16, 2)),
    "global average": (Layer("a", "avgpool", "input", 40, 7, 5, 40, (7, 5)), (1, 1, 32, 40, 3)),
    "global maximum": (Layer("a", "maxpool", "input", 20, 8, 8, 20, (8, 8)), (2, 2, 20, 20, 5)),
    "global depthwise": (Layer("a", "depthwise", "input", 17, 7, 7, 17, (7, 7)), (1, 1, 16, 17, 2)),
    "rows of a strided kernel": (Layer("a", "conv", "input", 3, 11, 9, 16, (5, 3), (2, 3)), (2, 1, 16, 3, 2)),
}


@pytest.mark.parametrize("name", SLICED)
@pytest.mark.parametrize("order", ["inputs", "weights"])
def test_slices(name: str, order: str) -> None:
    layer, (lanes_y, lanes_x, out_channels, in_channels, kernel_rows) = SLICED[name]
    oc = 16 if layer.per_channel and layer.out_channels <= 16 else 32
    chunk = Chunk(oc=oc, ic=4, px=4, weight_words=1024)
    if layer.per_channel and out_channels > 16:
        out_channels = 16
    mapping = LayerMapping(lanes_y, lanes_x, 1, 1, out_channels, in_channels, kernel_rows, order)  # type: ignore[arg-type]
    assert_equal(made_case([layer], chunk, [mapping]))


def test_residuals_that_skip_layers() -> None:
    """Residual and output tiles share their place, though not every output has a residual."""
    layers = [
        conv("a", "input", (6, 6, 16), 16),
        conv("b", "a", (6, 6, 16), 16, residual="input"),
        Layer("c", "add", "b", 16, 6, 6, 16, residual="a"),
        conv("d", "c", (6, 6, 16), 16, k=1),
        Layer("e", "add", "d", 16, 6, 6, 16, residual="c"),
    ]
    mappings = [
        LayerMapping(1, 2, 6, 3, 16, 16, 3),
        LayerMapping(2, 1, 1, 6, 16, 16, 3),
        LayerMapping(1, 1, 6, 6, 16, 16, 1),
        LayerMapping(2, 2, 3, 3, 16, 16, 1),
        LayerMapping(1, 1, 5, 5, 16, 16, 1),
    ]
    assert_equal(made_case(layers, Chunk(px=4), mappings))


def test_lanes_outside_the_image() -> None:
    layer = conv("a", "input", (3, 3, 16), 16)
    assert_equal(made_case([layer], Chunk(px=8, input_words=1024), [LayerMapping(2, 4, 2, 2, 16, 16, 3)]))


def test_counters_wrap() -> None:
    """More than 2^12 tiles of each kind: thresholds are compared modulo 2^12."""
    layer = Layer("a", "add", "input", 4, 66, 63, 4, residual="input")
    case = made_case([layer], Chunk(px=1), [LayerMapping(1, 1, 1, 1, 4, 4, 1)])
    program = case.compile()
    assert sum(job.op == "TILE" for job in program.instructions) > 1 << 12
    expected = run(case.network, case.weights, case.x_HWC)
    assert np.array_equal(interpret(program, case.x_HWC)["a"], expected["a"])


@pytest.mark.parametrize("seed", range(4))
def test_larger_random_designs(seed: int) -> None:
    assert_equal(
        drawn_case(1000 + seed, RandomLimits(layers=14, channels=200, size=40, macs=4_000_000, everything=True)), seed
    )
