"""Bias correction: what quantisation shifts on average is taken back by the bias.

Rounded weights and clipped inputs move a channel's mean before the activation function. On calibration images both
means, float and integer, are measured layer after layer, each on what the corrected layers before it give.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dna.network.layer import Layer
from dna.quantize.calibrate import frames, real_tensors
from dna.quantize.fake import QuantisedNetwork


@torch.no_grad()
def correct_biases(model: QuantisedNetwork, images_NCHW: Tensor) -> None:
    """Corrects the bias of every weighted layer; scales must have been set. `images_NCHW` holds bytes.

    The accumulator has 25 bits, so a large correction can coarsen a layer's weights: that is part of the next layer's
    measurement. All images are in memory at once, with every tensor that is still to be read.
    """
    expected = _float_means(model, images_NCHW)
    last_use = {name: i for i, layer in enumerate(model.network.layers) for name in layer.sources}
    tensors = {"input": list(frames(images_NCHW))}
    for index, layer in enumerate(model.network.layers):
        if layer.parts:
            parts = zip(*(tensors[part] for part in layer.parts), strict=True)
            tensors[layer.name] = [torch.cat(batch, dim=1) for batch in parts]
        else:
            tensors[layer.name] = _corrected(model, layer, tensors, expected)
        for name in [name for name in tensors if last_use.get(name, len(model.network.layers)) <= index]:
            del tensors[name]


def _corrected(
    model: QuantisedNetwork, layer: Layer, tensors: dict[str, list[Tensor]], expected: dict[str, Tensor]
) -> list[Tensor]:
    """The layer's integer output for every batch, after its bias was corrected."""
    unit, count = model.unit(layer.name), len(tensors[layer.input])
    operands = [model.operands(layer, {k: v[i] for k, v in tensors.items()}) for i in range(count)]
    if layer.has_weights:
        total = sum(unit.steps(*given).double().sum(dim=(0, 2, 3)) for given in operands)
        elements = sum(len(given[0]) for given in operands) * layer.out_height * layer.out_width
        shift = expected[layer.name] - total / elements * float(unit.out_scale)
        unit.bias.add_(shift.to(unit.bias.dtype))
    return [unit(*given) for given in operands]


def _float_means(model: QuantisedNetwork, images_NCHW: Tensor) -> dict[str, Tensor]:
    """Mean of every channel of every weighted layer before its activation function, (channels,), float64."""
    means: dict[str, Tensor] = {}
    for batch in frames(images_NCHW):
        before: dict[str, Tensor] = {}
        real_tensors(model, batch, before)
        for name, y in before.items():
            share = y.double().mean(dim=(2, 3)).sum(0) / len(images_NCHW)
            means[name] = means[name] + share if name in means else share
    return means
