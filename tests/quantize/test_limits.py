"""Bounds hold and are reached; what breaks the contract is refused by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import LayerWeights, Network
from dna.network.random import random_input, random_network
from dna.quantize.limits import accumulator_bounds, check_layer, check_overflow
from dna.quantize.random import random_weights
from dna.quantize.reference import ACC_MAX, accumulate, requantise, run


def fill(layer: Layer, weight: int, bias: int = 0, multiplier: int = 1 << 16, shift: int = 30) -> LayerWeights:
    array = None if layer.weight_shape is None else np.full(layer.weight_shape, weight, np.int8)
    full = [np.full(layer.out_channels, value, np.int32) for value in (bias, multiplier, shift)]
    return LayerWeights(array, *full)


CONV = Layer("a", "conv", "input", 3, 4, 4, 2, kernel=(3, 3), in_signed=True)


def test_bounds_by_hand() -> None:
    low, high = accumulator_bounds(CONV, fill(CONV, -2, bias=5))
    assert low.tolist() == [5 - 27 * 2 * 127] * 2 and high.tolist() == [5 + 27 * 2 * 128] * 2
    pool = Layer("p", "avgpool", "input", 1, 4, 4, 1, kernel=(2, 3), in_signed=False)
    assert [b.tolist() for b in accumulator_bounds(pool, fill(pool, 0, bias=-7))] == [[-7], [6 * 255 - 7]]
    biggest = Layer("m", "maxpool", "input", 1, 4, 4, 1, kernel=(2, 3), in_signed=True, pad_value=-128)
    assert [b.tolist() for b in accumulator_bounds(biggest, fill(biggest, 0, bias=1))] == [[-127], [128]]


def test_bounds_are_reached_by_the_worst_input() -> None:
    rng = np.random.default_rng(0)
    weights = replace(fill(CONV, 0), weight=rng.integers(-127, 128, CONV.weight_shape).astype(np.int8))
    worst = np.where(weights.weight[0] > 0, 127, -128).transpose(1, 2, 0)
    network = replace(CONV, in_height=3, in_width=3)
    acc = accumulate(network, weights, worst[None].astype(np.int64))
    assert acc[0, 0, 0, 0] == accumulator_bounds(CONV, weights)[1][0]


@pytest.mark.parametrize("seed", range(20))
def test_random_accumulators_stay_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    weights = random_weights(network, rng)
    tensors = run(network, weights, random_input(network, rng))
    for layer in network.layers:
        acc = accumulate(layer, weights[layer.name], tensors[layer.input][None]).reshape(-1, layer.out_channels)
        low, high = accumulator_bounds(layer, weights[layer.name])
        assert (acc >= low).all() and (acc <= high).all()


def test_32_bit_overflow_is_refused() -> None:
    weights = fill(CONV, 127, bias=(1 << 31) - 1)
    with pytest.raises(UserError, match=r"layer 'a': the accumulator of channel 0 .* beyond 32 bits"):
        check_layer(CONV, weights)


def test_harmful_saturation_is_refused_and_harmless_is_not() -> None:
    bias = ACC_MAX + 1
    harmful = fill(CONV, 1, bias=bias, shift=34)  # the scale 2^-18 gives 64 at most: inside the clip
    with pytest.raises(UserError, match=r"layer 'a': .* saturating it at 25 bits"):
        check_layer(CONV, harmful)
    harmless = fill(CONV, 1, bias=bias, shift=32)  # the scale 2^-16 gives 256: clipped to 127 either way
    check_layer(CONV, harmless)
    accs = np.array([[bias - 4000, ACC_MAX], [bias + 4000, bias]])
    saturated = requantise(accs, harmless.multiplier, harmless.shift, -128, 127)
    exact = np.clip((accs * (1 << 16) + (1 << 31)) >> 32, -128, 127)
    assert np.array_equal(saturated, exact)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": np.full((2, 3, 3, 3), -128, np.int8)}, "layer 'a': weight is in"),
        ({"weight": None}, "layer 'a': the weights' shape is None"),
        ({"bias": np.zeros(3, np.int32)}, "layer 'a': bias has shape"),
        ({"multiplier": np.full(2, 1 << 17, np.int32)}, "layer 'a': multiplier is in"),
        ({"multiplier": np.full(2, 1 << 15, np.int32)}, "layer 'a': multiplier is in"),
        ({"shift": np.full(2, 41, np.int32)}, "layer 'a': shift is in"),
        ({"shift": np.full(2, 0, np.int32)}, "layer 'a': shift is in"),
        ({"residual_multiplier": 3}, "layer 'a': residual_multiplier is in"),
    ],
)
def test_ranges_are_named(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_overflow(Network("n", (CONV,)), {"a": replace(fill(CONV, 1), **change)})


def test_missing_weights_are_named() -> None:
    with pytest.raises(UserError, match="layer 'a': no weights"):
        check_overflow(Network("n", (CONV,)), {})
