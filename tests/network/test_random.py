"""Random networks reach every corner of the layer set and stay within their limits."""

from __future__ import annotations

from collections import Counter

import numpy as np

from dna.network.layer import MAX_KERNEL, MAX_STRIDE, Layer
from dna.network.random import RANDOM_OPS, RandomLimits, random_input, random_network

NETWORKS = [random_network(np.random.default_rng(seed)) for seed in range(400)]
LAYERS = [layer for network in NETWORKS for layer in network.layers]


def window_reads(layer: Layer) -> int:
    channels = layer.in_channels if not layer.per_channel else 1
    return layer.out_height * layer.out_width * layer.out_channels * layer.kernel[0] * layer.kernel[1] * channels


def test_every_operator_with_and_without_residual() -> None:
    seen = Counter((layer.op, layer.residual is not None) for layer in LAYERS)
    expected = {(op, residual) for op in RANDOM_OPS for residual in (False, True)} - {("add", False), ("fc", True)}
    assert all(seen[key] >= 10 for key in expected)


def test_every_kernel_stride_and_padding() -> None:
    for op in ("conv", "depthwise", "maxpool", "avgpool"):
        own = [layer for layer in LAYERS if layer.op == op]
        assert {layer.kernel[axis] for layer in own for axis in (0, 1)} >= set(range(1, MAX_KERNEL + 1)), op
        assert {layer.stride[axis] for layer in own for axis in (0, 1)} == set(range(1, MAX_STRIDE + 1)), op
        assert any(layer.kernel[0] != layer.kernel[1] for layer in own)
        assert any(layer.padding[0] != layer.padding[2] for layer in own)
        assert any(layer.stride[0] > layer.kernel[0] for layer in own)
        for side in range(4):
            assert any(layer.padding[side] == layer.kernel[side % 2] - 1 > 1 for layer in own), (op, side)


def test_everything_is_drawn_if_it_is_asked_for() -> None:
    limits = RandomLimits(everything=True)
    networks = [random_network(np.random.default_rng(seed), limits) for seed in range(200)]
    seen: Counter[str] = Counter()
    for network in networks:
        concats = {layer.name for layer in network.layers if layer.parts}
        for layer in network.layers:
            sizes = [network.shapes[part].channels % 16 for part in layer.parts]
            seen["groups"] += layer.groups > 1
            seen["odd groups"] += layer.groups > 1 and layer.group_inputs % 16 > 0
            seen["concat"] += layer.name in concats
            seen["holes"] += any(sizes[:-1])
            seen["input as a part"] += "input" in layer.parts
            seen["part twice"] += len(set(layer.parts)) < len(layer.parts)
            seen["concat of a concat"] += bool(concats & set(layer.parts))
            seen["residual of a concat"] += layer.residual in concats
            seen["means without padding"] += len(layer.window_sizes) > 1
        seen["concat as the output"] += network.output in concats
    assert len(seen) == 10 and min(seen.values()) >= 5, seen
    plain = [layer for layer in LAYERS if layer.groups > 1 or layer.parts or not layer.count_padding]
    assert not plain


def test_signedness_sizes_and_clips() -> None:
    kinds = {(layer.in_signed, layer.out_signed, layer.residual and layer.residual_signed) for layer in LAYERS}
    assert {(a, b, c) for a in (True, False) for b in (True, False) for c in (True, False, None)} <= kinds
    assert {layer.in_channels for layer in LAYERS} >= set(range(1, 18))
    assert {min(20, network.shapes["input"].height) for network in NETWORKS} == set(range(1, 21))
    assert any(layer.lo < 0 < layer.hi < 100 for layer in LAYERS)
    assert {len(network.layers) for network in NETWORKS} == set(range(1, 9))


def test_limits_hold() -> None:
    limits = RandomLimits(layers=3, channels=9, size=6, macs=2000)
    for seed in range(200):
        network = random_network(np.random.default_rng(seed), limits)
        assert len(network.layers) <= 3
        assert sum(window_reads(layer) for layer in network.layers) <= 2000
        for shape in network.shapes.values():
            assert shape.channels <= 9
        assert network.shapes["input"].height <= 6 and network.shapes["input"].width <= 6
    assert all(sum(window_reads(layer) for layer in network.layers) <= 300_000 for network in NETWORKS)


def test_operators_can_be_chosen() -> None:
    for op in RANDOM_OPS:
        network = random_network(np.random.default_rng(1), ops=(op,))
        assert {layer.op for layer in network.layers} <= {op, "add"}


def test_same_seed_same_network() -> None:
    one, other = (random_network(np.random.default_rng(5)) for _ in range(2))
    assert one == other


def test_inputs_fit_the_type() -> None:
    for network in NETWORKS[:50]:
        shape = network.shapes["input"]
        x = random_input(network, np.random.default_rng(0))
        assert x.shape == (shape.height, shape.width, shape.channels)
        assert x.min() >= (-128 if shape.signed else 0) and x.max() <= (127 if shape.signed else 255)
