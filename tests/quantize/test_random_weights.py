"""Random weights obey the contract and give outputs worth comparing."""

from __future__ import annotations

import numpy as np

from dna.network.random import RandomLimits, random_input, random_network
from dna.quantize.limits import accumulator_bounds, check_overflow
from dna.quantize.random import random_weights
from dna.quantize.reference import ACC_MAX, run


def test_outputs_are_spread() -> None:
    clipped, distinct, saturating = [], [], 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        network = random_network(rng, RandomLimits(everything=True))
        weights = random_weights(network, rng)
        check_overflow(network, weights)
        tensors = run(network, weights, random_input(network, rng))
        for layer in network.layers:
            if not layer.computes:
                continue
            y = tensors[layer.name]
            if y.size >= 64:
                clipped.append(float(((y == layer.lo) | (y == layer.hi)).mean()))
                distinct.append(len(np.unique(y)) / min(y.size, layer.hi - layer.lo + 1))
            saturating += int((accumulator_bounds(layer, weights[layer.name])[0] > ACC_MAX).sum())
    assert np.median(clipped) < 0.6 and np.mean(np.array(clipped) > 0.99) < 0.05
    assert np.median(distinct) > 0.3
    assert saturating >= 10  # some channels exercise the 25-bit saturation
