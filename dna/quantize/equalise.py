"""Cross-layer equalisation: channels of a tensor brought to like ranges, the next layer's weights undoing it.

A positive factor per channel passes through ReLU unchanged, so `conv -> ReLU -> conv` computes the same with the first
layer's output channel multiplied by it and the second layer's input channel divided. The activations share one scale,
so small channels lose fewer bits once they are enlarged. Weights of the first layer have a scale per channel and do
not mind; those of a depthwise second layer neither, so its channels are simply filled. A second layer that mixes
channels has one scale per output channel: there the factor balances activations and weights.

ReLU6 is no obstacle but a bound: channels that are clipped on the calibration images keep one common factor, which
leaves the bound where it is, and others are enlarged no further than to where clipping would begin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dna.network.layer import Layer
from dna.network.network import Network
from dna.quantize.calibrate import frames, real_tensors
from dna.quantize.fake import QuantisedNetwork

_CLIPPED = 0.999
"""A channel counts as clipped from this share of the bound on."""
_MARGIN = 1.1
"""Unseen images may exceed what the calibration images reach by this factor before a new clip begins."""
_LARGEST_FACTOR = 64.0


@dataclass(frozen=True)
class Pair:
    """Two weighted layers, the second the only reader of the first but for pooling in between."""

    first: Layer
    second: Layer


def pairs(network: Network) -> list[Pair]:
    """All pairs that can be equalised, in the order of execution.

    The first has no residual, and ReLU, ReLU6 or nothing on its output; maxima and means in between pass factors on.
    """
    readers: dict[str, list[Layer]] = {name: [] for name in network.shapes}
    for layer in network.layers:
        for source in layer.sources:
            readers[source].append(layer)
    found = []
    for layer in network.layers:
        if not layer.has_weights or layer.residual is not None:
            continue
        second = _only_reader(layer, readers)
        if second is not None:
            found.append(Pair(layer, second))
    return found


def _only_reader(layer: Layer, readers: dict[str, list[Layer]]) -> Layer | None:
    while len(readers[layer.name]) == 1:
        reader = readers[layer.name][0]
        if reader.residual == layer.name or reader.parts:
            return None
        if reader.has_weights:
            return reader
        if reader.op not in ("maxpool", "avgpool") or reader.residual is not None:
            return None
        layer = reader
    return None


@torch.no_grad()
def channel_maxima(model: QuantisedNetwork, images_NCHW: Tensor) -> dict[str, Tensor]:
    """Largest magnitude of every channel of every tensor over all images, (channels,), real values."""
    maxima: dict[str, Tensor] = {}
    for batch in frames(images_NCHW):
        for name, tensor in real_tensors(model, batch).items():
            largest = tensor.abs().amax(dim=(0, 2, 3))
            maxima[name] = torch.maximum(maxima[name], largest) if name in maxima else largest
    return maxima


@torch.no_grad()
def equalise(model: QuantisedNetwork, images_NCHW: Tensor) -> int:
    """Equalises every pair in turn, before calibration; returns how many there are.

    On the given images the float function stays the same.
    """
    found = pairs(model.network)
    maxima = channel_maxima(model, images_NCHW) if found else {}
    for pair in found:
        bound = model.unit(pair.first.name).bounds[1]
        factors = channel_factors(maxima[pair.first.name], _weight_maxima(model, pair.second), pair.second, bound)
        _apply(model, pair, factors)
    return len(found)


def channel_factors(maxima: Tensor, weight_maxima: Tensor, second: Layer, bound: float) -> Tensor:
    """What each channel of the tensor is multiplied by, (channels,).

    `maxima` are its channels' largest magnitudes, `weight_maxima` the second layer's largest weights for each of its
    input channels. Silent channels keep a factor of 1. `bound` is the upper clip bound in real values, or infinity.
    """
    alive = (maxima > 0) & (weight_maxima > 0)
    if not alive.any():
        return torch.ones_like(maxima)
    reach = maxima[alive]
    if second.op == "depthwise":
        wanted = reach.amax() / reach
    else:
        wanted = torch.sqrt(weight_maxima[alive] / reach)
        # The overall gain is free: the channel with the largest range keeps its own.
        wanted = wanted / (wanted * reach).amax() * reach.amax()
    if math.isfinite(bound):
        clipped = reach >= _CLIPPED * bound
        if clipped.any():
            wanted = wanted / wanted[clipped].log().mean().exp()
        limit = bound / torch.clamp(reach * _MARGIN, max=bound)
        wanted = torch.where(clipped, torch.ones_like(wanted), torch.minimum(wanted, limit))
    factors = torch.ones_like(maxima)
    factors[alive] = wanted.clamp(1 / _LARGEST_FACTOR, _LARGEST_FACTOR)
    return factors


def _weight_maxima(model: QuantisedNetwork, layer: Layer) -> Tensor:
    """The largest weight that each input channel meets, (in_channels,)."""
    weight_OIKK = model.unit(layer.name).weight.detach().abs()
    if layer.per_channel:
        return weight_OIKK.amax(dim=(1, 2, 3))
    # A group's inputs meet its own outputs only.
    grouped = weight_OIKK.view(layer.groups, layer.out_channels // layer.groups, *weight_OIKK.shape[1:])
    return grouped.amax(dim=(1, 3, 4)).reshape(-1)


def _apply(model: QuantisedNetwork, pair: Pair, factors: Tensor) -> None:
    first, second = model.unit(pair.first.name), model.unit(pair.second.name)
    first.weight.mul_(factors.view(-1, 1, 1, 1))
    first.bias.mul_(factors)
    if pair.second.per_channel:
        second.weight.div_(factors.view(-1, 1, 1, 1))
        return
    groups = pair.second.groups
    per_group = factors.view(groups, 1, -1, 1, 1)
    grouped = second.weight.view(groups, pair.second.out_channels // groups, *second.weight.shape[1:])
    second.weight.copy_((grouped / per_group).view_as(second.weight))
