"""What a float model of a Network needs to know beyond its integer layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from dna.errors import UserError
from dna.network.network import Network

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Blueprint:
    """A Network together with the real-valued facts that its integers cannot tell.

    `bounds` holds the real clip bounds of layers that have any beside ReLU: (0, 6) for ReLU6. `biased` names the
    convolutions that have a bias in place of batch normalisation; fully connected layers always have a bias.
    """

    network: Network
    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    biased: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        names = {layer.name for layer in self.network.layers}
        for name in [*self.bounds, *self.biased]:
            if name not in names:
                raise UserError(f"network '{self.network.name}': there is no layer '{name}' to give a bound or a bias")
        for name, (low, high) in self.bounds.items():
            if not low <= 0 <= high or math.isnan(low) or math.isnan(high):
                raise UserError(f"layer '{name}': real clip bounds [{low}, {high}] must hold 0")

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one frame."""
        return self.network.macs

    @property
    def parameters(self) -> int:
        """Trainable values of the float model: weights, and a bias or a batch normalisation's scale and shift."""
        total = 0
        for layer in self.network.layers:
            if layer.weight_shape is not None:
                biased = layer.op == "fc" or layer.name in self.biased
                total += math.prod(layer.weight_shape) + layer.out_channels * (1 if biased else 2)
        return total
