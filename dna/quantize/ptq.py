"""Post-training quantisation: a trained float network and some images in, integers out (docs/quantisation.md)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dna.errors import UserError
from dna.network.network import Network, Weights
from dna.quantize.calibrate import histograms, set_scales
from dna.quantize.correct import correct_biases
from dna.quantize.equalise import equalise
from dna.quantize.export import export
from dna.quantize.fake import QuantisedNetwork
from dna.quantize.float_network import FloatNetwork
from dna.quantize.histogram import METHODS, Method


@dataclass(frozen=True)
class QuantiseOptions:
    """Which techniques are used; the `calibration` benchmark measures each on and off."""

    method: Method = "mse"
    """How a tensor's range is chosen: `max`, `percentile`, `mse` or `entropy`."""
    percentile: float = 99.99
    """For `percentile`: how many percent of a tensor's values other than 0 its range holds."""
    per_channel: bool = True
    """A weight scale per output channel; False gives all channels of a layer the same."""
    equalise: bool = True
    correct_bias: bool = True
    correction_frames: int = 256
    """Bias correction uses no more images than these: it keeps their tensors in memory."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UserError(f"calibration: unknown method '{self.method}'; known: {', '.join(METHODS)}")
        if not 0 < self.percentile <= 100:
            raise UserError(f"calibration: percentile {self.percentile} is outside (0, 100]")
        if self.correction_frames < 1:
            raise UserError(f"calibration: correction_frames is {self.correction_frames}; it must be at least 1")


@dataclass(frozen=True, eq=False)
class Quantised:
    """The result twice: as a fake-quantised model that can be trained on, and as integers by docs/arithmetic.md."""

    model: QuantisedNetwork
    network: Network
    weights: Weights

    @property
    def scales(self) -> dict[str, float]:
        """Real value of one step of each tensor, ``input`` included."""
        names = ["input", *(layer.name for layer in self.network.layers)]
        return {name: float(self.model.scale(name)) for name in names}


def quantise(model: FloatNetwork, images_NCHW: Tensor, options: QuantiseOptions | None = None) -> Quantised:
    """Quantises a trained network with the help of calibration images; `model` itself is left as it is.

    `images_NCHW`: uint8 [frames][channels][height][width] (or whole numbers in any type), some hundred images of the
    kind the network will see. Raises UserError if they do not suit the network, or if its integers cannot obey the
    arithmetic contract.
    """
    options = options or QuantiseOptions()
    _check_images(model.network, images_NCHW)
    model.eval()
    twin = QuantisedNetwork(model).eval()
    for unit in twin.units.values():
        unit.scale_per_channel = options.per_channel  # type: ignore[assignment]
    if options.equalise:
        equalise(twin, images_NCHW)
    set_scales(twin, histograms(twin, images_NCHW), options.method, options.percentile)
    if options.correct_bias:
        correct_biases(twin, images_NCHW[: options.correction_frames])
    network, weights = export(twin)
    return Quantised(twin, network, weights)


def _check_images(network: Network, images_NCHW: Tensor) -> None:
    shape = network.shapes["input"]
    wanted = (shape.channels, shape.height, shape.width)
    if images_NCHW.dim() != 4 or tuple(images_NCHW.shape[1:]) != wanted or not len(images_NCHW):
        raise UserError(
            f"calibration: images are {tuple(images_NCHW.shape)}, network '{network.name}' takes (frames, {wanted[0]},"
            f" {wanted[1]}, {wanted[2]})"
        )
    low, high = (-128, 127) if shape.signed else (0, 255)
    if images_NCHW.min() < low or images_NCHW.max() > high or bool((images_NCHW != torch.floor(images_NCHW)).any()):
        raise UserError(f"calibration: image values must be whole numbers in [{low}, {high}]")
