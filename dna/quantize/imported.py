"""An imported network on its way to integers: as a float model, or with the scales that it brought along."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from dna.errors import UserError
from dna.network.importer.imported import ImportedNetwork
from dna.network.layer import Layer
from dna.network.network import LayerWeights, Network, Weights
from dna.quantize.float_network import FloatNetwork, Unit
from dna.quantize.limits import check_overflow
from dna.quantize.scale import multiplier_shift, residual_multiplier_shift

MAX_WEIGHT = 127


def float_model(imported: ImportedNetwork) -> FloatNetwork:
    """The import as a FloatNetwork in evaluation mode: folded weights set, no normalisation left.

    It takes what the network takes, `imported.input.frames(images)`, as floats in NCHW.
    """
    model = FloatNetwork(imported.blueprint, imported.input.scale, torch.Generator().manual_seed(0)).eval()
    for name, weights in imported.weights.items():
        unit = model.units[name]
        assert isinstance(unit, Unit)
        unit.set_folded(torch.from_numpy(weights.weight).float(), torch.from_numpy(weights.bias).float())
    return model


def given_integers(imported: ImportedNetwork, more: Mapping[str, float] | None = None) -> tuple[Network, Weights]:
    """The integers of a model that brings its own scales: weights as given, multipliers from the given scales.

    `more` holds scales of tensors for which the model has none (often the output). UserError where one is missing, or
    where the integers break a limit of the arithmetic.
    """
    steps = {name: scale.scale for name, scale in imported.scales.items()} | dict(more or {})
    steps.setdefault("input", imported.input.scale)
    for layer in imported.network.layers:
        if layer.name not in steps:
            raise UserError(f"layer '{layer.name}': the model gives no scale for its output; calibrate it, or give one")
        if layer.has_weights and layer.name not in imported.weight_scales:
            raise UserError(f"layer '{layer.name}': the model gives no scale for its weights; calibrate instead")
    weights = {
        layer.name: _layer_weights(imported, layer, steps) for layer in imported.network.layers if layer.computes
    }
    check_overflow(imported.network, weights)
    return imported.network, weights


def _layer_weights(imported: ImportedNetwork, layer: Layer, steps: Mapping[str, float]) -> LayerWeights:
    weight: NDArray[np.int8] | None = None
    bias = np.zeros(layer.param_shape, np.int32)
    accumulator = np.full(layer.param_shape, steps[layer.input])
    if layer.has_weights:
        real, scale = imported.weights[layer.name], imported.weight_scales[layer.name]
        integers = np.rint(real.weight / scale[:, None, None, None])
        if np.abs(integers).max() > MAX_WEIGHT + 1:
            raise UserError(f"layer '{layer.name}': integer weights reach {np.abs(integers).max():.0f}, beyond a byte")
        weight = np.clip(integers, -MAX_WEIGHT, MAX_WEIGHT).astype(np.int8)
        accumulator = accumulator * scale
        rounded = np.rint(real.bias / accumulator)
        if np.abs(rounded).max() >= 1 << 31:
            raise UserError(f"layer '{layer.name}': its bias does not fit 32 bits at the given scales")
        bias = rounded.astype(np.int32)
    elif layer.op == "avgpool":
        sizes = np.array(layer.window_sizes, np.float64)
        accumulator = accumulator / (sizes[0] if len(sizes) == 1 else sizes[:, None])
    wanted = (accumulator / steps[layer.name]).ravel()
    if layer.residual is None:
        multiplier, shift = multiplier_shift(wanted)
        shared = 0
    else:
        multiplier, shift, shared = residual_multiplier_shift(wanted, steps[layer.residual] / steps[layer.name])
    shape = layer.param_shape
    assert math.prod(shape) == multiplier.size
    return LayerWeights(weight, bias, multiplier.reshape(shape), shift.reshape(shape), shared)
