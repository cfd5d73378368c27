"""Proof that a layer's integers stay inside the arithmetic contract (docs/arithmetic.md)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import LayerWeights, Network, Weights
from dna.quantize.reference import ACC_MAX, ACC_MIN
from dna.quantize.scale import MAX_MULTIPLIER, MAX_SHIFT, MIN_NORMALISED, MIN_SHIFT

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
Bounds = tuple[NDArray[np.int64], NDArray[np.int64]]


def byte_range(signed: bool) -> tuple[int, int]:
    """Smallest and largest value of a signed or unsigned byte."""
    return (-128, 127) if signed else (0, 255)


def accumulator_bounds(layer: Layer, weights: LayerWeights) -> Bounds:
    """Least and greatest accumulator, int64 in `Layer.param_shape`, for any input of the layer's type.

    The bounds hold for every partial sum too, since each product's own range contains 0.
    """
    low, high = byte_range(layer.in_signed)
    bias = weights.bias.astype(np.int64)
    if weights.weight is None:
        sizes = np.array(layer.window_sizes if layer.op == "avgpool" else [1], np.int64)
        taps = sizes[0] if len(sizes) == 1 else sizes[:, None]
        return bias + taps * low, bias + taps * high
    flat = weights.weight.astype(np.int64).reshape(layer.out_channels, -1)
    positive, negative = np.maximum(flat, 0).sum(axis=1), np.minimum(flat, 0).sum(axis=1)
    return bias + positive * low + negative * high, bias + positive * high + negative * low


def check_layer(layer: Layer, weights: LayerWeights) -> None:
    """Raises UserError, naming layer and limit, unless the integers obey the contract for every possible input."""
    where = f"layer '{layer.name}'"
    _check_shapes(where, layer, weights)
    _check_ranges(where, layer, weights)
    low, high = accumulator_bounds(layer, weights)
    if low.min() < INT32_MIN or high.max() > INT32_MAX:
        worst = int(np.argmax(np.maximum(high - INT32_MAX, INT32_MIN - low)))
        raise UserError(
            f"{where}: the accumulator of channel {worst % layer.out_channels} reaches"
            f" [{low.flat[worst]}, {high.flat[worst]}],"
            " beyond 32 bits; use smaller weights or bias"
        )
    _check_saturation(where, layer, weights, low, high)


def check_overflow(network: Network, weights: Weights) -> None:
    """`check_layer` for each layer; UserError also for a layer whose weights are missing."""
    for layer in network.layers:
        if not layer.computes:
            continue
        if layer.name not in weights:
            raise UserError(f"layer '{layer.name}': no weights are given")
        check_layer(layer, weights[layer.name])


def _check_shapes(where: str, layer: Layer, weights: LayerWeights) -> None:
    shape = None if weights.weight is None else weights.weight.shape
    if shape != layer.weight_shape:
        raise UserError(f"{where}: the weights' shape is {shape}, it must be {layer.weight_shape}")
    for name in ("bias", "multiplier", "shift"):
        if getattr(weights, name).shape != layer.param_shape:
            raise UserError(f"{where}: {name} has shape {getattr(weights, name).shape}, not {layer.param_shape}")


def _check_ranges(where: str, layer: Layer, weights: LayerWeights) -> None:
    def require(name: str, values: NDArray[np.int64], low: int, high: int) -> None:
        if values.min() < low or values.max() > high:
            raise UserError(f"{where}: {name} is in [{values.min()}, {values.max()}]; it must be in [{low}, {high}]")

    if weights.weight is not None:
        require("weight", weights.weight.astype(np.int64), -127, 127)
    require("bias", weights.bias.astype(np.int64), INT32_MIN, INT32_MAX)
    smallest = MIN_NORMALISED if layer.residual is None else 0
    require("multiplier", weights.multiplier.astype(np.int64), smallest, MAX_MULTIPLIER)
    require("shift", weights.shift.astype(np.int64), MIN_SHIFT, MAX_SHIFT)
    largest = 0 if layer.residual is None else MAX_MULTIPLIER
    require("residual_multiplier", np.array([weights.residual_multiplier], np.int64), 0, largest)


def _check_saturation(
    where: str, layer: Layer, weights: LayerWeights, low: NDArray[np.int64], high: NDArray[np.int64]
) -> None:
    """The multiplier is not negative, so it is enough that a saturated accumulator is clipped in any case."""
    m, s = weights.multiplier.astype(np.int64), weights.shift.astype(np.int64)
    r_low, r_high = byte_range(layer.residual_signed) if layer.residual is not None else (0, 0)
    half = np.int64(1) << (s - 1)
    top = (ACC_MAX * m + r_low * weights.residual_multiplier + half) >> s
    bottom = (ACC_MIN * m + r_high * weights.residual_multiplier + half) >> s
    wrong = ((high > ACC_MAX) & (top < layer.hi)) | ((low < ACC_MIN) & (bottom > layer.lo))
    if wrong.any():
        worst = int(np.argmax(wrong))
        raise UserError(
            f"{where}: the accumulator of channel {worst % layer.out_channels} reaches"
            f" [{low.flat[worst]}, {high.flat[worst]}] and saturating it at 25 bits would change results inside the"
            f" clip [{layer.lo}, {layer.hi}]; use smaller weights or bias"
        )
