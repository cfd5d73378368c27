"""Random weights with which a network's outputs spread over their range: for tests and for timing."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from dna.network.layer import Layer
from dna.network.network import LayerWeights, Network, Weights
from dna.network.random import random_input
from dna.quantize.limits import accumulator_bounds, check_layer
from dna.quantize.reference import ACC_MAX, accumulate, run_layer
from dna.quantize.scale import multiplier_shift, residual_multiplier_shift

_FRAMES = 2
_EXTREME = 0.04
"""Share of channels that are given a bias beyond 25 bits: they exercise saturation."""


def random_weights(network: Network, rng: Generator) -> Weights:
    """Weights, biases and multipliers within the contract, scaled by running two random frames through the network."""
    tensors = {"input": np.stack([random_input(network, rng) for _ in range(_FRAMES)])}
    weights: Weights = {}
    for layer in network.layers:
        if layer.computes:
            weights[layer.name] = _random_layer(layer, rng, tensors)
            check_layer(layer, weights[layer.name])
        tensors[layer.name] = run_layer(layer, weights.get(layer.name), tensors, np.float64)
    return weights


def _random_layer(layer: Layer, rng: Generator, tensors: dict[str, NDArray[np.int64]]) -> LayerWeights:
    count = layer.out_channels
    weight = None
    if layer.weight_shape is not None:
        weight = rng.integers(-127, 128, layer.weight_shape).astype(np.int8)
    shape = layer.param_shape
    bare = LayerWeights(weight, np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.ones(shape, np.int32))
    acc = accumulate(layer, bare, tensors[layer.input], np.float64).reshape(-1, count)
    spread = np.maximum(np.abs(acc - acc.mean(axis=0)).max(axis=0), 1 + np.abs(acc).mean() / 8)
    bias = np.rint(rng.normal(0, 0.2, count) * spread - 0.7 * acc.mean(axis=0) * rng.random(count)).astype(np.int64)
    scale = (layer.hi - layer.lo) * rng.uniform(0.3, 0.9, count) / (2 * spread)
    if len(layer.window_sizes) > 1:  # sums of smaller windows are smaller
        shares = np.array(layer.window_sizes)[:, None] / layer.window_sizes[0]
        bias, scale = np.rint(bias * shares).astype(np.int64), scale / shares
    return _with_extremes(layer, rng, _scaled(layer, rng, weight, bias, scale))


def _scaled(
    layer: Layer, rng: Generator, weight: NDArray[np.int8] | None, bias: NDArray[np.int64], scale: NDArray[np.float64]
) -> LayerWeights:
    flat = np.clip(scale, 2.0**-23, 2.0**15).ravel()
    if layer.residual is None:
        multiplier, shift = multiplier_shift(flat)
        shared = 0
    else:
        residual_scale = float(rng.uniform(0.2, 1.2)) * (layer.hi - layer.lo) / 256
        multiplier, shift, shared = residual_multiplier_shift(flat, residual_scale)
    multiplier, shift = multiplier.reshape(scale.shape), shift.reshape(scale.shape)
    return LayerWeights(weight, bias.astype(np.int32), multiplier, shift, shared)


def _with_extremes(layer: Layer, rng: Generator, weights: LayerWeights) -> LayerWeights:
    """Now and then a bias that saturates the accumulator, where the clip discards the difference anyway."""
    low, high = accumulator_bounds(layer, weights)
    span = int((high - low).max())
    shape = layer.param_shape
    chosen = (rng.random(shape) < _EXTREME) & (weights.multiplier > 0)
    reach = ACC_MAX * weights.multiplier.astype(np.float64) / np.exp2(weights.shift)
    chosen &= reach > 600  # well beyond any clip bound and residual
    extreme = rng.choice([-1, 1], shape) * (ACC_MAX + span + rng.integers(0, 1 << 29, shape))
    bias = np.where(chosen & (np.abs(extreme) + span < 1 << 31), extreme, weights.bias)
    return LayerWeights(
        weights.weight, bias.astype(np.int32), weights.multiplier, weights.shift, weights.residual_multiplier
    )
