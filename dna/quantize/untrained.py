"""Networks without trained weights, for finding and proving an accelerator: its cycles do not depend on the values."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dna.network.blueprint import Blueprint
from dna.network.network import TensorShape
from dna.quantize.calibrate import frames
from dna.quantize.float_network import FloatNetwork
from dna.quantize.limits import byte_range

BYTE = 1 / 255
"""What a step of an image's byte counts."""
_PATCH = 8
"""Side of the patches of one colour, roughly, that random images consist of."""


def random_images(shape: TensorShape, count: int, generator: torch.Generator) -> Tensor:
    """Blurred noise over the whole range of the network's bytes, whole numbers [count][channels][height][width]."""
    low, high = byte_range(shape.signed)
    coarse = (max(2, shape.height // _PATCH), max(2, shape.width // _PATCH))
    noise = torch.rand((count, shape.channels, *coarse), generator=generator)
    smooth = F.interpolate(noise, (shape.height, shape.width), mode="bilinear", align_corners=False)
    grain = torch.rand(smooth.shape, generator=generator)
    values = (low + (high - low) * (0.85 * smooth + 0.15 * grain)).round()
    return values.to(torch.int8 if shape.signed else torch.uint8)


@torch.no_grad()
def untrained(blueprint: Blueprint, images_NCHW: Tensor, generator: torch.Generator) -> FloatNetwork:
    """Random weights, each normalisation with the statistics of these images, as training would leave it."""
    model = FloatNetwork(blueprint, BYTE, generator)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean over batches
    model.train()
    for batch in frames(images_NCHW):
        # One value per channel has no variance: a second, slightly different frame gives it one.
        model(batch if len(batch) > 1 else torch.cat([batch, batch.flip(-1)]))
    return model.eval()
