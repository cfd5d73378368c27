"""The integer reference network: the definition every other implementation is compared with.

Plain NumPy, by `docs/arithmetic.md`. `run` computes in int64 and gives every tensor; `run_batch` gives the same
output integers from float64 products, which are exact here (no sum reaches 2^53) and much faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import LayerWeights, Network, Weights

Array = NDArray[Any]
SATURATION_BITS = 25
ACC_MIN, ACC_MAX = -(1 << (SATURATION_BITS - 1)), (1 << (SATURATION_BITS - 1)) - 1


def run(network: Network, weights: Weights, x_HWC: Array) -> dict[str, NDArray[np.int64]]:
    """Every tensor of one frame by name, ``input`` included, int64 in [height][width][channels].

    Raises UserError if the input's shape or values do not suit the network.
    """
    tensors = {"input": _checked_input(network, x_HWC[None])}
    for layer in network.layers:
        tensors[layer.name] = run_layer(layer, weights.get(layer.name), tensors)
    return {name: tensor[0] for name, tensor in tensors.items()}


def run_batch(network: Network, weights: Weights, x_NHWC: Array, frames_at_once: int = 256) -> NDArray[np.int64]:
    """The network's output for many frames, int64 [frames][height][width][channels]; the same integers as `run`."""
    return np.concatenate(
        [_run_frames(network, weights, x_NHWC[i : i + frames_at_once]) for i in range(0, len(x_NHWC), frames_at_once)]
    )


def _run_frames(network: Network, weights: Weights, x_NHWC: Array) -> NDArray[np.int64]:
    tensors = {"input": _checked_input(network, x_NHWC)}
    last_use = {name: i for i, layer in enumerate(network.layers) for name in layer.sources}
    for i, layer in enumerate(network.layers):
        tensors[layer.name] = run_layer(layer, weights.get(layer.name), tensors, np.float64)
        for name in [name for name in tensors if last_use.get(name, len(network.layers)) <= i]:
            del tensors[name]
    return tensors[network.output]


def run_layer(
    layer: Layer,
    weights: LayerWeights | None,
    tensors: dict[str, NDArray[np.int64]],
    product_type: type[np.generic] = np.int64,
) -> NDArray[np.int64]:
    """The layer's output, int64 [frames][height][width][channels], from the named tensors of the same layout.

    `weights` is None for a layer that computes nothing. UserError if another one has none.
    """
    if not layer.computes:
        return np.concatenate([tensors[part] for part in layer.parts], axis=-1)
    if weights is None:
        raise UserError(f"layer '{layer.name}': no weights are given")
    residual = None if layer.residual is None else tensors[layer.residual]
    return requantise(
        accumulate(layer, weights, tensors[layer.input], product_type),
        at_positions(layer, weights.multiplier),
        at_positions(layer, weights.shift),
        layer.lo,
        layer.hi,
        residual,
        weights.residual_multiplier,
    )


def accumulate(
    layer: Layer, weights: LayerWeights, x_NHWC: NDArray[np.int64], product_type: type[np.generic] = np.int64
) -> NDArray[np.int64]:
    """The accumulators before saturation, bias included, int64 [frames][out height][out width][out channels]."""
    top, left, bottom, right = layer.padding
    padded: Array = np.pad(
        x_NHWC.astype(product_type), ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=layer.pad_value
    )
    tap, combine = _tap_function(layer, weights, product_type)
    acc: Array | None = None
    for ky in range(layer.kernel[0]):
        rows = slice(ky, ky + (layer.out_height - 1) * layer.stride[0] + 1, layer.stride[0])
        for kx in range(layer.kernel[1]):
            columns = slice(kx, kx + (layer.out_width - 1) * layer.stride[1] + 1, layer.stride[1])
            term = tap(padded[:, rows, columns], ky, kx)
            acc = term if acc is None else combine(acc, term)
    assert acc is not None  # a kernel has at least one tap
    return acc.astype(np.int64) + at_positions(layer, weights.bias).astype(np.int64)


def at_positions(layer: Layer, values: Array) -> Array:
    """Parameters of `Layer.param_shape` in a shape that broadcasts against [out height][out width][channels]."""
    if len(layer.window_sizes) == 1:
        return values
    rows = {size: row for row, size in enumerate(layer.window_sizes)}
    sizes = np.outer(layer.counted_rows, layer.counted_cols)
    return values[np.vectorize(rows.__getitem__)(sizes)]


def _tap_function(
    layer: Layer, weights: LayerWeights, product_type: type[np.generic]
) -> tuple[Callable[[Array, int, int], Array], Callable[[Array, Array], Array]]:
    """What one kernel position contributes, and how contributions are combined."""
    if weights.weight is None:
        return (lambda x, ky, kx: x), (np.maximum if layer.op == "maxpool" else np.add)
    weight: Array = weights.weight.astype(product_type)
    if layer.per_channel:
        return (lambda x, ky, kx: x * weight[:, 0, ky, kx]), np.add
    if layer.groups == 1:
        return (lambda x, ky, kx: x @ weight[:, :, ky, kx].T), np.add
    return (lambda x, ky, kx: _grouped(layer.groups, x, weight[:, :, ky, kx])), np.add


def _grouped(groups: int, x_NHWC: Array, weight_OI: Array) -> Array:
    """Each group of output channels from its own group of input channels."""
    pairs = zip(np.split(x_NHWC, groups, axis=-1), np.split(weight_OI, groups), strict=True)
    return np.concatenate([x @ weight.T for x, weight in pairs], axis=-1)


def requantise(
    acc: Array,
    multiplier: Array,
    shift: Array,
    lo: int,
    hi: int,
    residual: Array | None = None,
    residual_multiplier: int = 0,
) -> NDArray[np.int64]:
    """Accumulators (channels last) to activations: saturate, scale, add the residual, round half up, clip."""
    a = np.clip(acc.astype(np.int64), ACC_MIN, ACC_MAX)
    s = shift.astype(np.int64)
    scaled = a * multiplier.astype(np.int64) + (np.int64(1) << (s - 1))
    if residual is not None:
        scaled = scaled + residual.astype(np.int64) * np.int64(residual_multiplier)
    return np.clip(scaled >> s, lo, hi)


def _checked_input(network: Network, x_NHWC: Array) -> NDArray[np.int64]:
    shape = network.shapes["input"]
    if x_NHWC.shape[1:] != (shape.height, shape.width, shape.channels):
        raise UserError(
            f"network '{network.name}': the input is {x_NHWC.shape[1:]},"
            f" expected {(shape.height, shape.width, shape.channels)} (height, width, channels)"
        )
    low, high = (-128, 127) if shape.signed else (0, 255)
    x = x_NHWC.astype(np.int64)
    if x.size and (x.min() < low or x.max() > high or (x != x_NHWC).any()):
        raise UserError(f"network '{network.name}': input values must be integers in [{low}, {high}]")
    return x
