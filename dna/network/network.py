"""A network: layers in execution order, and the integers that make them concrete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dna.errors import UserError
from dna.network.layer import Layer


@dataclass(frozen=True)
class TensorShape:
    height: int
    width: int
    channels: int
    signed: bool


@dataclass(frozen=True)
class Network:
    """Layers in an order in which each reads only what earlier ones wrote; the last one is the output."""

    name: str
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise UserError(f"network '{self.name}' has no layers")
        first = self.layers[0]
        if first.parts:
            raise UserError(f"layer '{first.name}': the first layer says what the input is; it cannot be a concat")
        shapes = {"input": TensorShape(first.in_height, first.in_width, first.in_channels, first.in_signed)}
        for layer in self.layers:
            where = f"layer '{layer.name}'"
            if layer.name in shapes:
                raise UserError(f"{where}: the name is used twice")
            for source in layer.sources:
                if source not in shapes:
                    raise UserError(f"{where}: reads '{source}', which no earlier layer writes")
            given = TensorShape(layer.in_height, layer.in_width, layer.in_channels, layer.in_signed)
            if layer.parts:
                _check_parts(layer, given, shapes)
            elif shapes[layer.input] != given:
                raise UserError(f"{where}: expects {given}, but '{layer.input}' is {shapes[layer.input]}")
            if layer.residual is not None:
                added = TensorShape(layer.out_height, layer.out_width, layer.out_channels, layer.residual_signed)
                if shapes[layer.residual] != added:
                    raise UserError(f"{where}: adds {added}, but '{layer.residual}' is {shapes[layer.residual]}")
            shapes[layer.name] = TensorShape(layer.out_height, layer.out_width, layer.out_channels, layer.out_signed)
        object.__setattr__(self, "_shapes", shapes)

    @property
    def shapes(self) -> dict[str, TensorShape]:
        """Shape of each tensor, by name; the input first."""
        return dict(self._shapes)  # type: ignore[attr-defined]

    @property
    def output(self) -> str:
        return self.layers[-1].name

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    def layer(self, name: str) -> Layer:
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)


def _check_parts(layer: Layer, given: TensorShape, shapes: Mapping[str, TensorShape]) -> None:
    """UserError unless the concat's parts fit each other and add up to its channels."""
    for part in layer.parts:
        shape = shapes[part]
        if (shape.height, shape.width, shape.signed) != (given.height, given.width, given.signed):
            raise UserError(f"layer '{layer.name}': expects {given} without its channels, but part '{part}' is {shape}")
    total = sum(shapes[part].channels for part in layer.parts)
    if total != given.channels:
        raise UserError(f"layer '{layer.name}': has {given.channels} channels, but its parts have {total}")


def concat_layer(name: str, parts: Sequence[str], shapes: Mapping[str, TensorShape]) -> Layer:
    """The concat of named tensors, in this order; `shapes` holds theirs (`Network.shapes`, or what is known so far)."""
    first = shapes[parts[0]]
    channels = sum(shapes[part].channels for part in parts)
    lo, hi = (-128, 127) if first.signed else (0, 255)
    return Layer(
        name=name,
        op="concat",
        input=parts[0],
        in_channels=channels,
        in_height=first.height,
        in_width=first.width,
        out_channels=channels,
        in_signed=first.signed,
        out_signed=first.signed,
        lo=lo,
        hi=hi,
        parts=tuple(parts),
    )


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """The integers of one layer, by the arithmetic contract (docs/arithmetic.md).

    `weight` int8 in +-127, shape `Layer.weight_shape`, None without weights. `bias` int32, `multiplier` int32 in
    [0, 2^17) and `shift` int32 in 1..40 have the shape `Layer.param_shape`: (out_channels,), or for an avgpool that
    leaves padding out (window sizes, out_channels), a row for each of `Layer.window_sizes`. `residual_multiplier` in
    [0, 2^17).
    """

    weight: NDArray[np.int8] | None
    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int32]
    residual_multiplier: int = 0


Weights = dict[str, LayerWeights]
"""By layer name; layers that compute nothing (concat) have none."""
