"""What an import gives: structure, float weights, the input's format, and scales where the model brings its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dna.errors import UserError
from dna.network.blueprint import Blueprint
from dna.network.network import Network

FloatArray = NDArray[np.float64]

BYTE = 1 / 255
"""What one step of a byte counts where nothing else is said."""


@dataclass(frozen=True, eq=False)
class FloatWeights:
    """`weight` in `Layer.weight_shape`, `bias` (out_channels,); batch normalisation and constants are folded in."""

    weight: FloatArray
    bias: FloatArray


@dataclass(frozen=True)
class TensorScale:
    """A tensor's given quantisation: integers in [lo, hi] that count `scale` each, zero point 0."""

    scale: float
    signed: bool
    lo: int
    hi: int


@dataclass(frozen=True)
class InputFormat:
    """What the network's input integers are. An integer counts `scale` in the float model.

    With `alpha`, the last channel holds 255 in every pixel, as an opaque alpha channel does: it carries the mean that
    was folded into the first layer, and is 0 outside the image, where no mean may be added.
    """

    scale: float
    alpha: bool = False

    def frames(self, images_NHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Images [frames][height][width][channels] as the network takes them."""
        if not self.alpha:
            return images_NHWC
        opaque = np.full_like(images_NHWC[..., :1], 255)
        return np.concatenate([images_NHWC, opaque], axis=-1)


@dataclass(frozen=True, eq=False)
class ImportedNetwork:
    """A network brought from elsewhere.

    `weights` has an entry for each layer with weights. `scales` (by tensor) and `weight_scales` (by layer,
    (out_channels,)) are those of a QDQ or QONNX model, empty for a float model. `notices` says in plain sentences what
    the import did that the reader of the model might not expect. `nodes` names the model's node of each layer.
    """

    blueprint: Blueprint
    weights: Mapping[str, FloatWeights]
    input: InputFormat
    scales: Mapping[str, TensorScale] = field(default_factory=dict)
    weight_scales: Mapping[str, FloatArray] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    nodes: Mapping[str, str] = field(default_factory=dict)

    @property
    def network(self) -> Network:
        return self.blueprint.network

    @property
    def unscaled(self) -> tuple[str, ...]:
        """Tensors for which the model gives no scale, in the order of the layers: calibration must find them."""
        return tuple(layer.name for layer in self.network.layers if layer.name not in self.scales)


@dataclass(frozen=True)
class Normalisation:
    """How the model's input follows from bytes: `(byte / 255 - mean) / std`, one value per channel or one for all."""

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.mean or not self.std or any(not np.isfinite(v) for v in (*self.mean, *self.std)):
            raise UserError(f"normalisation: mean {self.mean} and std {self.std} must be finite numbers")
        if min(self.std) <= 0:
            raise UserError(f"normalisation: std is {self.std}; it must be positive")

    def affine(self, channels: int) -> tuple[FloatArray, FloatArray]:
        """`(a, b)` with model input = a * byte + b, (channels,) each."""
        for what, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise UserError(
                    f"normalisation: {what} has {len(values)} values, but the input has {channels} channels"
                )
        mean, std = np.broadcast_to(self.mean, channels), np.broadcast_to(self.std, channels)
        return 1 / (255 * std), -mean / std
