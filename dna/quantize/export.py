"""A fake-quantised network as integers: the hand-over from training to hardware."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dna.network.network import LayerWeights, Network, Weights
from dna.quantize.fake import QuantisedNetwork
from dna.quantize.limits import check_overflow
from dna.quantize.scale import multiplier_shift, residual_multiplier_shift


def export(model: QuantisedNetwork) -> tuple[Network, Weights]:
    """The network and its integers, checked against the arithmetic contract (UserError otherwise).

    Differences from the model's own forward pass come from scales rounded to multiplier and shift alone (2^-17 of a
    value without, 2^-16 of the largest scale with a residual): at most one step where a value is next to a half.
    """
    weights = {layer.name: _layer_weights(model, layer.name) for layer in model.network.layers}
    check_overflow(model.network, weights)
    return model.network, weights


@torch.no_grad()
def _layer_weights(model: QuantisedNetwork, name: str) -> LayerWeights:
    unit, layer = model.unit(name), model.network.layer(name)
    in_scale = model.scale(layer.input)
    weight: NDArray[np.int8] | None = None
    bias = np.zeros(layer.out_channels, np.int32)
    if layer.has_weights:
        integer_weight, integer_bias, _ = unit.integers(in_scale)
        weight, bias = _array(integer_weight).astype(np.int8), _array(integer_bias).astype(np.int32)
    scale = _array(unit.accumulator_scale(in_scale)) / float(unit.out_scale)
    if layer.residual is None:
        return LayerWeights(weight, bias, *multiplier_shift(scale))
    residual_scale = float(model.scale(layer.residual)) / float(unit.out_scale)
    multiplier, shift, shared = residual_multiplier_shift(scale, residual_scale)
    return LayerWeights(weight, bias, multiplier, shift, shared)


def _array(values: Tensor) -> NDArray[np.float64]:
    return values.detach().double().numpy()
