"""How a layer runs on a chunk: lanes, tiles and loop order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Order = Literal["weights", "inputs"]


@dataclass(frozen=True)
class LayerMapping:
    """One layer's mapping. Sizes are legal when `dna.compile.limits.check` accepts them.

    A spatial tile is `lanes_y * lane_rows` by `lanes_x * lane_cols` output pixels; lane (i, j) owns the
    rectangle `lane_rows x lane_cols` at row i, column j of it. Tiles at the lower and right border are ragged: their
    lanes compute outside the image, and nothing of that is stored.
    """

    lanes_y: int
    lanes_x: int
    lane_rows: int
    lane_cols: int
    out_channels: int
    """Output channels of one tile: a multiple of 16, or all of them. In a grouped convolution, of one group; so are
    `in_channels`."""
    in_channels: int
    """Input channels of one slice of a tile: a multiple of 16, or all of them. Less than all of them only where
    a tile is one pixel per lane and one group of output channels, for the sums wait in the array."""
    kernel_rows: int
    """Kernel rows of one slice: all of them, or fewer under the same condition (large global pooling)."""
    order: Order = "inputs"
    """`inputs`: for each spatial tile, all tiles of output channels (the input tile is loaded once). `weights`: for
    each tile of output channels, all spatial tiles (weights are loaded once). Where all weights fit in one weight
    tile, they are loaded once for the layer in either order."""

    @property
    def lanes(self) -> int:
        return self.lanes_y * self.lanes_x

    @property
    def tile_rows(self) -> int:
        return self.lanes_y * self.lane_rows

    @property
    def tile_cols(self) -> int:
        return self.lanes_x * self.lane_cols


@dataclass(frozen=True)
class Mapping:
    """One `LayerMapping` per executed layer (`dna.compile.lowering`), in order, all on chunk 0 at present."""

    layers: tuple[LayerMapping, ...]
