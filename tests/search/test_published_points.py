"""Published accelerators as designs of our own: sizes, assignments, and rows by the exact schedule."""

from __future__ import annotations

import itertools

import pytest

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk
from dna.compile.lowering import lower
from dna.cost.resources import accelerator_resources
from dna.network.layer import Layer
from dna.network.network import Network
from dna.network.zoo import build
from dna.search.engine_sets import array_cycles
from dna.search.published import ALEXNET_HALF, FPGA15, HALVES, ISCA17, Engine
from dna.search.published_points import KINDS, Kind, baseline, baselines, nearest, nearest_chunk, points, two_towers

BOARD = load_board("pynq-z2")


def small(convolutions: int = 5) -> Network:
    """A chain of small convolutions with one pooling layer."""
    layers, source, channels, size = [], "input", 3, 12
    for index in range(convolutions):
        outputs = (16, 32, 48, 32, 16)[index % 5]
        layers.append(
            Layer(f"conv{index}", "conv", source, channels, size, size, outputs, (3, 3), padding=(1,) * 4, lo=0)
        )
        source, channels = f"conv{index}", outputs
        if index == 0:
            layers.append(Layer("pool", "maxpool", source, channels, size, size, channels, (2, 2), (2, 2)))
            source, size = "pool", size // 2
    return Network("small", tuple(layers))


def kind(name: str) -> Kind:
    return next(each for each in KINDS if each.name == name)


def sizes(chunks: tuple[Chunk, ...]) -> list[tuple[int, int, int]]:
    return [(chunk.oc, chunk.ic, chunk.px) for chunk in chunks]


def test_the_nearest_size_is_that_of_the_smallest_ratio() -> None:
    assert nearest(7, (1, 2, 4, 8, 16)) == 8
    assert nearest(5, (1, 2, 4, 8, 16)) == 4
    assert nearest(3, (1, 2, 4, 8, 16)) == 4
    assert nearest(19, (8, 16, 32)) == 16
    assert sizes((nearest_chunk(FPGA15), nearest_chunk(Engine(24, 3)))) == [(64, 8, 1), (32, 4, 1)]
    # With one input channel at a time there must be 16 outputs or more.
    assert sizes((nearest_chunk(Engine(2, 1)),)) == [(16, 1, 1)]


def test_two_towers_is_the_network_that_was_published() -> None:
    network = two_towers()
    assert network.macs == HALVES * sum(layer.macs for layer in ALEXNET_HALF)
    convolutions = [layer for layer in network.layers if layer.op == "conv"]
    for layer, half in zip(convolutions, ALEXNET_HALF, strict=True):
        assert (layer.out_height, layer.out_width) == (half.rows, half.cols)
        assert layer.out_channels == HALVES * half.out_channels
        # conv1 sees the image and conv3 both towers: their halves share inputs, so they need no groups.
        assert layer.group_inputs == half.in_channels


def test_partitions_keep_their_layers() -> None:
    """ISCA'17's engines on executed layers conv1, pool1, conv2, pool2, conv3, conv4, conv5, pool5."""
    layers = lower(two_towers()).layers
    chunks, assignment = kind("engines, 485T").design(layers, BOARD) or ((), ())
    assert sizes(chunks) == [(64, 2, 1), (96, 1, 1), (32, 4, 1), (16, 8, 1)]
    assert assignment == (2, 2, 3, 3, 1, 0, 0, 0)
    chunks, assignment = kind("engines, 690T").design(layers, BOARD) or ((), ())
    # Its two engines of 48 x 1, with a half of conv1 each, are one of 96 x 1.
    assert sizes(chunks) == [(64, 1, 1), (96, 1, 1), (64, 2, 1), (96, 1, 1), (64, 4, 1)]
    assert assignment == (3, 3, 4, 4, 2, 1, 0, 0)
    assert sum(chunk.multipliers for chunk in chunks) >= ISCA17[3].multipliers
    assert kind("engines, 485T").design(lower(small(4)).layers, BOARD) is None


def test_a_stage_per_layer_has_the_least_interval() -> None:
    layers = lower(small(3)).layers
    chunks, assignment = kind("a stage per layer").design(layers, BOARD) or ((), ())
    assert assignment == (0, 0, 1, 2)
    stages = [layer for layer in layers if layer.op == "conv"]

    def cycles(layer: Layer, oc: int, ic: int) -> int:
        mac = 9 * -(-layer.in_channels // ic)
        return array_cycles(layer.out_channels, layer.out_height, layer.out_width, mac, oc, 1)

    pairs = [(oc, ic) for oc in (2, 4, 8, 16, 32, 48) for ic in (1, 2, 4, 8, 16) if oc * ic % 16 == 0]
    best = min(
        max(cycles(layer, *pair) for layer, pair in zip(stages, chosen, strict=True))
        for chosen in itertools.product(pairs, repeat=3)
        if sum(oc * ic for oc, ic in chosen) <= BOARD.dsp
    )
    assert max(cycles(layer, c.oc, c.ic) for layer, c in zip(stages, chunks, strict=True)) == best
    assert sum(chunk.multipliers for chunk in chunks) <= BOARD.dsp
    assert kind("a stage per layer").design(lower(small(17)).layers, BOARD) is None


def test_a_stage_per_layer_leaves_room_for_weights() -> None:
    """Thirteen stages for VGG-16, with so few outputs at once that all weight buffers fit the board."""
    board = load_board("zc706")
    layers = tuple(layer for layer in lower(build("vgg16").network).layers if layer.op in ("conv", "maxpool"))
    *_, smallest = points(layers, board, kind("a stage per layer"))
    assert len(smallest.chunks) == 13 and len(smallest.on_chip) == 17
    assert max(chunk.oc for chunk in smallest.chunks) <= 16
    used = accelerator_resources(Accelerator(smallest.chunks))
    assert all(count <= getattr(board, name) for name, count in used.items())


def test_points_go_from_large_buffers_to_small_ones() -> None:
    found = list(points(lower(small()).layers, BOARD, kind("single engine, 64 x 7")))
    words = [(point.chunks[0].input_words, point.chunks[0].weight_words) for point in found]
    assert words == sorted(words, reverse=True) and len(words) > 2
    # Two tiles of 9 taps and 48 inputs in steps of 8.
    assert words[-1][1] == max(128, 2 * 9 * 6)


def test_every_row_is_scheduled_and_fits() -> None:
    """Five convolutions suit all kinds."""
    network, board = small(), load_board("zc706")
    rows = baselines(network, board)
    assert [row.name for row in rows] == [each.name for each in KINDS]
    for row in rows:
        assert not row.settled.excess(board)
        assert row.macs == network.macs and 0 < row.utilisation <= 1
        assert row.multipliers <= board.dsp
        by_chunk = [0.0] * len(row.point.chunks)
        for layer, home in zip(lower(network).layers, row.point.assignment, strict=True):
            by_chunk[home] += (layer.op == "conv") * layer.macs / row.point.chunks[home].multipliers
        assert row.cycles >= max(by_chunk)


def test_a_row_is_reproducible() -> None:
    chosen = kind("systolic, outputs stay")
    first, second = baseline(small(2), BOARD, chosen), baseline(small(2), BOARD, chosen)
    assert first is not None and first == second


def test_what_fits_no_board_is_left_out() -> None:
    assert baseline(small(2), BOARD, kind("single engine, 64 x 7")) is None
    with pytest.raises(StopIteration):
        next(points(lower(small(4)).layers, BOARD, kind("engines, 485T")))
