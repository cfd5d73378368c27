"""Folding of a strided first layer: its input's pixels become channels, so that few channels fill the array.

Squares of `factor x factor` pixels of the input become one pixel with `factor^2` times the channels; channel
`(dy * factor + dx) * C + c` is channel c of the square's pixel (dy, dx). A convolution with a stride that is a
multiple of the factor is then one with a smaller kernel and stride, and some weights 0: the same integers, exactly. An
input with three channels otherwise wastes 13 of the 16 bytes of every word, and one multiplier in four with `ic` of 4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network, Weights


@dataclass(frozen=True)
class _Axis:
    """One dimension of the folded convolution."""

    size: int
    kernel: int
    stride: int
    before: int
    """Padding above or left."""
    after: int
    shift: int
    """Rows (columns) of zero weights before the first of the kernel."""


def fold_factors(network: Network) -> list[int]:
    """Factors above 1 by which the network's input can be folded, smallest first."""
    readers = [layer for layer in network.layers if "input" in layer.sources]
    if len(readers) != 1 or readers[0].op != "conv" or readers[0].groups != 1:
        return []
    step_y, step_x = readers[0].stride
    return [factor for factor in range(2, step_y + 1) if step_y % factor == 0 and step_x % factor == 0]


def fold_input(network: Network, weights: Weights, factor: int) -> tuple[Network, Weights]:
    """The network that computes the same from `fold_image` of its input.

    UserError unless one ordinary convolution alone reads the input, and the factor divides both its strides.
    """
    if factor not in fold_factors(network):
        known = ", ".join(map(str, fold_factors(network))) or "none"
        raise UserError(f"network '{network.name}': its input cannot be folded by {factor}; possible: {known}")
    (index,) = (i for i, layer in enumerate(network.layers) if layer.input == "input")
    layer = network.layers[index]
    rows = _folded(layer.in_height, layer.out_height, layer.kernel[0], layer.stride[0], layer.padding[0], factor)
    cols = _folded(layer.in_width, layer.out_width, layer.kernel[1], layer.stride[1], layer.padding[1], factor)
    folded = layer.renamed(
        in_channels=layer.in_channels * factor**2,
        in_height=rows.size,
        in_width=cols.size,
        kernel=(rows.kernel, cols.kernel),
        stride=(rows.stride, cols.stride),
        padding=(rows.before, cols.before, rows.after, cols.after),
    )
    layers = (*network.layers[:index], folded, *network.layers[index + 1 :])
    own = weights[layer.name]
    assert own.weight is not None
    moved = replace(own, weight=_fold_weights(own.weight, rows, cols, factor))
    return Network(network.name, layers), {**weights, layer.name: moved}


def fold_image(x_HWC: NDArray[Any], layer: Layer, factor: int) -> NDArray[Any]:
    """An input of the network, [H][W][C], as [H / factor][W / factor][factor^2 C] (sizes rounded up).

    `layer` is the first layer before it was folded: beyond the image stands its pad value.
    """
    height, width, channels = x_HWC.shape
    rows, cols = -height % factor, -width % factor
    x = np.pad(x_HWC, ((0, rows), (0, cols), (0, 0)), constant_values=layer.pad_value)
    x = x.reshape((height + rows) // factor, factor, (width + cols) // factor, factor, channels)
    return x.transpose(0, 2, 1, 3, 4).reshape(x.shape[0], x.shape[2], factor**2 * channels)


def _folded(size: int, outputs: int, kernel: int, stride: int, padding: int, factor: int) -> _Axis:
    """Output y begins at row `stride * y - padding` = factor * (stride / factor * y - before) + shift."""
    before = -(-padding // factor)
    shift = before * factor - padding
    folded_size, folded_kernel = -(-size // factor), -(-(shift + kernel) // factor)
    folded_stride = stride // factor
    after = max(0, (outputs - 1) * folded_stride + folded_kernel - folded_size - before)
    return _Axis(folded_size, folded_kernel, folded_stride, before, after, shift)


def _fold_weights(weight: NDArray[np.int8], rows: _Axis, cols: _Axis, factor: int) -> NDArray[np.int8]:
    """[out][C][kernel] to [out][factor^2 C][folded kernel]."""
    out, channels, kernel_h, kernel_w = weight.shape
    wide = np.zeros((out, channels, rows.kernel * factor, cols.kernel * factor), np.int8)
    wide[:, :, rows.shift : rows.shift + kernel_h, cols.shift : cols.shift + kernel_w] = weight
    parts = wide.reshape(out, channels, rows.kernel, factor, cols.kernel, factor)
    return parts.transpose(0, 3, 5, 1, 2, 4).reshape(out, factor**2 * channels, rows.kernel, cols.kernel)
