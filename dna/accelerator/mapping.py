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
    a tile is one pixel per lane and one group of output channels, for the sums wait in the array; or where the chunk
    has `sum_words` for all its sums."""
    kernel_rows: int
    """Kernel rows of one slice: all of them, or fewer under the same condition (large global pooling)."""
    order: Order = "inputs"
    """`inputs`: for each spatial tile, all tiles of output channels (the input tile is loaded once). `weights`: for
    each tile of output channels, all spatial tiles (weights are loaded once). Where all weights fit in one weight
    tile, they are loaded once for the layer in either order."""
    resident: bool = False
    """All weights and parameters of the layer are one weight tile, loaded once, of which each tile of output channels
    uses its part. Legal where they fit in one slot and nothing is cut in slices."""

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
    """How the executed layers (`dna.compile.lowering`) run: one `LayerMapping` each, in order, and what ties them.

    One run of the Program, a **pass**, processes `frames` frames. Each chunk executes its layers in the network's
    order. Neighbours on a chunk with equal batch form a run: for each group of `batch` frames, for each layer of the
    run, the frames of the group. Within a layer, `order` "weights" loads each weight tile once per group, "inputs" goes
    frame by frame.
    """

    layers: tuple[LayerMapping, ...]
    chunks: tuple[int, ...] = ()
    """Chunk of each executed layer; empty: all on chunk 0."""
    frames: int = 1
    """Frames per pass."""
    batches: tuple[int, ...] = ()
    """Frames per group of each executed layer, dividing `frames`; empty: `frames` for all."""
    on_chip: frozenset[str] = frozenset()
    """Tensors that are handed over in on-chip memory; there must be a link from their writer to each reader."""

    def chunk(self, layer: int) -> int:
        return self.chunks[layer] if self.chunks else 0

    def batch(self, layer: int) -> int:
        return self.batches[layer] if self.batches else self.frames
