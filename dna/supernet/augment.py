"""Random geometric distortion of small images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """Ranges of uniform distortion; all 0 leaves images as they are."""

    shift_pixels: float = 0.0
    rotate_degrees: float = 0.0
    scale: float = 0.0
    """Relative size change, of height and width independently."""
    shear: float = 0.0
    elastic_pixels: float = 0.0
    """Standard deviation of a smooth displacement field, given at a 3 x 3 grid."""
    flip: bool = False
    """Mirror left and right half of the time."""

    def apply(self, x_NCHW: Tensor, largest: int, generator: torch.Generator) -> Tensor:
        """Distorted copies, rounded to whole bytes in 0..largest; black beyond the border."""
        grid = self._grid(x_NCHW, generator)
        if grid is not None:
            x_NCHW = F.grid_sample(x_NCHW, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        if self.flip:
            mirrored = torch.rand(len(x_NCHW), generator=generator) < 0.5
            x_NCHW = torch.where(mirrored.view(-1, 1, 1, 1), x_NCHW.flip(3), x_NCHW)
        return x_NCHW.round().clamp(0, largest)

    def _grid(self, x_NCHW: Tensor, generator: torch.Generator) -> Tensor | None:
        """Sampling positions [frames][height][width][x, y] in -1..1, None where nothing is to be moved."""
        if not any((self.shift_pixels, self.rotate_degrees, self.scale, self.shear, self.elastic_pixels)):
            return None
        frames, _, height, width = x_NCHW.shape

        def uniform(reach: float, *shape: int) -> Tensor:
            return (torch.rand(frames, *shape, generator=generator) * 2 - 1) * reach

        angle = uniform(math.radians(self.rotate_degrees))
        size = 1 + uniform(self.scale, 2)
        shear = uniform(self.shear)
        cos, sin = torch.cos(angle), torch.sin(angle)
        matrix = torch.stack([cos * size[:, 0], -sin * size[:, 1] + shear, sin * size[:, 0], cos * size[:, 1]], 1).view(
            -1, 2, 2
        )
        pixel = torch.tensor([2.0 / width, 2.0 / height])
        shift = uniform(self.shift_pixels, 2) * pixel
        grid = F.affine_grid(torch.cat([matrix, shift[:, :, None]], 2), [frames, 1, height, width], align_corners=False)
        if self.elastic_pixels:
            coarse = torch.randn(frames, 2, 3, 3, generator=generator) * self.elastic_pixels
            field = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
            grid = grid + field.permute(0, 2, 3, 1) * pixel
        return grid
