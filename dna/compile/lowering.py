"""Network to what the accelerator executes: concats become places, channels get their physical order.

A concat is a matter of layout: the layers that write its parts write straight into their places in it. A part takes
whole words, so where its channels are no multiple of 16 the last word keeps bytes that are no channel, always 0.
The *order* of a tensor says which channel each physical one is, `HOLE` for none. Layers read and write physical
channels: weights of convolutions are laid out for the orders of both tensors, layers that keep channels apart keep the
order of their input, and all parameters of a hole are 0.

Layers are inserted only where a place is not enough: a copy (a 1 x 1 maxpool) of a part that has a place already, in
another concat or as the network's input; a repacking (a 1 x 1 convolution) where a layer that keeps channels apart
adds a residual of another order, and of an output whose order is not plain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dna.accelerator import tile
from dna.network.layer import Layer
from dna.network.network import LayerWeights, Network, TensorShape, Weights

HOLE = -1
"""In an order: a physical channel that no channel of the network has."""
Order = tuple[int, ...]

_ONE_MULTIPLIER, _ONE_SHIFT = 1 << 16, 16
"""The scale 1: what a copied byte is multiplied with."""


@dataclass(frozen=True)
class Lowered:
    """A network's executed layers, in order, and how its tensors lie in one another."""

    network: Network
    layers: tuple[Layer, ...]
    """Physical channel counts, no concat; `groups` only where those of each group are multiples of 16. One entry each
    in `Mapping.layers`, in the schedule and in the layer statistics."""
    orders: Mapping[str, Order]
    """By tensor: the channel of each physical channel."""
    places: Mapping[str, tuple[str, int]]
    """By tensor that lies in a concat: that concat, and its first channel group there."""
    sources: Mapping[str, str]
    """By tensor that an inserted layer writes: the network's tensor whose values it holds."""
    output: str
    """The tensor with the network's output."""

    def source(self, tensor: str) -> str:
        """The network's tensor whose values this one holds: itself, unless an inserted layer writes it."""
        return self.sources.get(tensor, tensor)

    def shape(self, tensor: str) -> TensorShape:
        """The shape with physical channels."""
        return replace(self.network.shapes[self.source(tensor)], channels=len(self.orders[tensor]))

    @property
    def tensors(self) -> tuple[str, ...]:
        """All tensors: the input, then in order of their layers; concats included, which no executed layer writes."""
        return tuple(self.orders)

    def writers(self, tensor: str) -> tuple[str, ...]:
        """The executed layers (or ``input``) that write the tensor or, for a concat, what lies in it."""
        inside = [part for part, (concat, _) in self.places.items() if concat == tensor]
        return tuple(name for part in inside for name in self.writers(part)) if inside else (tensor,)

    def weights(self, weights: Weights) -> Weights:
        """The network's integers laid out for the executed layers, by their names."""
        return {layer.name: self._layer_weights(layer, weights) for layer in self.layers}

    def _layer_weights(self, layer: Layer, weights: Weights) -> LayerWeights:
        order = self.orders[layer.name]
        if layer.name in self.sources:
            return _identity(layer, self.orders[layer.input], order)
        given = weights[layer.name]
        weight = given.weight
        if weight is not None:
            weight = _expanded(weight, self.network.layer(layer.name), layer.groups)
            inputs = (0,) if layer.per_channel else self.orders[layer.input] if layer.groups == 1 else None
            weight = _placed(weight, order, 0, 0)
            weight = weight if inputs is None else _placed(weight, inputs, 1, 0)
        return LayerWeights(
            weight,
            bias=_placed(given.bias, order, -1, 0),
            multiplier=_placed(given.multiplier, order, -1, 0),
            shift=_placed(given.shift, order, -1, 1),
            residual_multiplier=given.residual_multiplier,
        )


def _identity(layer: Layer, inputs: Order, outputs: Order) -> LayerWeights:
    """Integers with which an inserted layer passes every channel on, bit for bit."""
    real = np.array(outputs) != HOLE
    weight = None
    if layer.has_weights:
        same = (np.array(outputs)[:, None] == np.array(inputs)) & real[:, None]
        weight = same.astype(np.int8)[:, :, None, None]
    return LayerWeights(
        weight,
        bias=np.zeros(len(outputs), np.int32),
        multiplier=np.where(real, _ONE_MULTIPLIER, 0).astype(np.int32),
        shift=np.where(real, _ONE_SHIFT, 1).astype(np.int32),
    )


def _expanded(weight_OIKK: NDArray[np.int8], layer: Layer, groups: int) -> NDArray[np.int8]:
    """Weights of a grouped convolution as weights of fewer groups: several become one with zeros between them."""
    merged = layer.groups // groups
    if merged == 1:
        return weight_OIKK
    outputs, inputs, *kernel = weight_OIKK.shape
    result = np.zeros((outputs, merged, inputs, *kernel), np.int8)
    group = np.arange(outputs) // (outputs // layer.groups)
    result[np.arange(outputs), group % merged] = weight_OIKK
    return result.reshape(outputs, merged * inputs, *kernel)


def _placed(values: NDArray[Any], order: Order, axis: int, hole: int) -> NDArray[Any]:
    """The values along an axis in the given order, holes filled."""
    if order == _plain(values.shape[axis]):
        return values
    index = np.array(order)
    result = np.take(values, np.maximum(index, 0), axis=axis)
    np.moveaxis(result, axis, -1)[..., index == HOLE] = hole
    return result


def _plain(channels: int) -> Order:
    return tuple(range(channels))


@lru_cache(maxsize=64)
def lower(network: Network) -> Lowered:
    """The executed layers of a network. Every network has them: nothing is refused here."""
    lowering = _Lowering(network)
    for layer in network.layers:
        if layer.op == "concat":
            lowering.concat(layer)
        else:
            lowering.executed(layer)
    return lowering.finish()


def executed_groups(layer: Layer, plain: bool = True) -> int:
    """Groups that a convolution is executed in: neighbours are merged until each has multiples of 16 channels.

    `plain`: whether both tensors have plain orders; without, one group reads all channels.
    """
    if not plain:
        return 1
    inputs, outputs = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    for merged in range(1, layer.groups + 1):
        if layer.groups % merged == 0 and merged * inputs % tile.WORD == 0 and merged * outputs % tile.WORD == 0:
            return layer.groups // merged
    return 1


class _Lowering:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.layers: list[Layer] = []
        self.orders: dict[str, Order] = {"input": _plain(network.shapes["input"].channels)}
        self.places: dict[str, tuple[str, int]] = {}
        self.sources: dict[str, str] = {}
        self.concats: dict[str, tuple[str, ...]] = {}
        """Parts of each concat so far, as the network names them."""

    def executed(self, layer: Layer) -> None:
        inputs, residual = self.orders[layer.input], layer.residual
        groups = layer.groups
        if layer.per_channel:
            outputs = inputs
            if residual is not None and self.orders[residual] != outputs:
                residual = self._repacked(residual, outputs, f"{layer.name}.residual")
        else:
            outputs = _plain(layer.out_channels) if residual is None else self.orders[residual]
            plain = inputs == _plain(layer.in_channels) and outputs == _plain(layer.out_channels)
            groups = executed_groups(layer, plain)
        self._add(
            replace(layer, in_channels=len(inputs), out_channels=len(outputs), groups=groups, residual=residual),
            outputs,
        )

    def concat(self, layer: Layer) -> None:
        self.concats[layer.name] = layer.parts
        order: list[int] = []
        channels = 0
        for part in self._nested(layer.parts):
            source = part
            if part == "input" or part in self.places:
                part = self._copied(part, f"{layer.name}.{part}")
            order += [HOLE] * (-len(order) % tile.WORD)
            self.places[part] = (layer.name, len(order) // tile.WORD)
            order += [HOLE if c == HOLE else channels + c for c in self.orders[part]]
            channels += self.network.shapes[source].channels
        self.orders[layer.name] = tuple(order)

    def _nested(self, parts: tuple[str, ...]) -> tuple[str, ...]:
        """The parts, the first of them replaced by an earlier concat of just these: it needs no copies of them."""
        best: str | None = None
        for name, others in self.concats.items():
            starts = others == parts[: len(others)] and len(others) < len(parts) and name not in self.places
            if starts and (best is None or len(others) > len(self.concats[best])):
                best = name
        return parts if best is None else (best, *parts[len(self.concats[best]) :])

    def finish(self) -> Lowered:
        output = self.network.output
        channels = self.network.shapes[output].channels
        if self.orders[output] != _plain(channels):
            output = self._repacked(output, _plain(channels), f"{output}.packed")
        return Lowered(self.network, tuple(self.layers), self.orders, self.places, self.sources, output)

    def _add(self, layer: Layer, order: Order) -> None:
        self.layers.append(layer)
        self.orders[layer.name] = order

    def _copied(self, tensor: str, name: str) -> str:
        return self._inserted("maxpool", tensor, self.orders[tensor], name)

    def _repacked(self, tensor: str, order: Order, name: str) -> str:
        return self._inserted("conv", tensor, order, name)

    def _inserted(self, op: str, tensor: str, order: Order, name: str) -> str:
        """A layer that passes `tensor` on in another order or place; the name of what it writes."""
        name = self._unused(name)
        source = self.sources.get(tensor, tensor)
        shape = self.network.shapes[source]
        lo, hi = (-128, 127) if shape.signed else (0, 255)
        layer = Layer(
            name=name,
            op=op,  # type: ignore[arg-type]
            input=tensor,
            in_channels=len(self.orders[tensor]),
            in_height=shape.height,
            in_width=shape.width,
            out_channels=len(order),
            in_signed=shape.signed,
            out_signed=shape.signed,
            lo=lo,
            hi=hi,
        )
        self.sources[name] = source
        self._add(layer, order)
        return name

    def _unused(self, name: str) -> str:
        taken: Sequence[str] = (*self.network.shapes, *self.orders)
        while name in taken:
            name += "_"
        return name
