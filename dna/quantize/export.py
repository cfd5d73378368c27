"""A fake-quantised network as integers: the hand-over from training to hardware."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from dna.network.layer import Layer
from dna.network.network import LayerWeights, Network, Weights
from dna.quantize.fake import QuantisedNetwork
from dna.quantize.limits import check_overflow


def export(model: QuantisedNetwork) -> tuple[Network, Weights]:
    """The network and its integers, checked against the arithmetic contract (UserError otherwise).

    The reference then computes what `model.double()` computes, bit for bit.
    """
    layers = tuple(_with_clip(model, layer) for layer in model.network.layers)
    weights = {layer.name: _layer_weights(model, layer.name) for layer in layers if layer.computes}
    network = Network(model.network.name, layers)
    check_overflow(network, weights)
    return network, weights


def _with_clip(model: QuantisedNetwork, layer: Layer) -> Layer:
    """The layer with the clip bounds that its output scale gives an activation function such as ReLU6."""
    if not layer.computes:
        return layer
    lo, hi = model.unit(layer.name).clip
    return replace(layer, lo=lo, hi=hi)


@torch.no_grad()
def _layer_weights(model: QuantisedNetwork, name: str) -> LayerWeights:
    unit, layer = model.unit(name), model.network.layer(name)
    in_scale = model.scale(layer.input)
    factors = unit.requantisation(in_scale, None if layer.residual is None else model.scale(layer.residual))
    weight: NDArray[np.int8] | None = None
    bias = np.zeros(layer.param_shape, np.int32)
    if layer.has_weights:
        weight_values, bias_values = unit.integers(in_scale, factors.weight_scale)
        weight, bias = weight_values.numpy().astype(np.int8), bias_values.numpy().astype(np.int32)
    return LayerWeights(weight, bias, factors.multiplier, factors.shift, factors.residual_multiplier)
