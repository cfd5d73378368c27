"""Mappings of a layer that can be the best of some array: their geometry, which no array changes.

A choice is a cut of the pixels times a cut of the channels. Of the pixels' cuts only those stay that no other one
beats in all that a price is made of; so hundreds stand for thousands, and the best price does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import groupby
from typing import Literal

import torch
from torch import Tensor

from dna.accelerator import tile
from dna.accelerator.mapping import LayerMapping
from dna.cost.mapping_limits import Candidates, legal, strides
from dna.network.layer import Layer
from dna.search.mapping_space import TILE_COUNTS, channel_sizes, lane_sizes, lane_splits

ORDERS: tuple[Literal["inputs", "weights"], ...] = ("inputs", "weights")
LARGE = {
    name: torch.tensor([[value]])
    for name, value in {
        "oc": 128, "ic": 16, "px": 2**20, "post_lanes": 16, "residual": 1, "dataflow": 1, "sum_words": 2**40,
    }.items()
}  # fmt: skip
"""An array without limits of its own."""
FEW_SLICES = 4
"""Where sums have a buffer, in at most how many slices the input channels are cut."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """Cuts of the pixels, int64 `(F,)` each."""

    lanes_y: Tensor
    lanes_x: Tensor
    lane_rows: Tensor
    lane_cols: Tensor

    @property
    def rows(self) -> Tensor:
        """Output rows of a full tile."""
        return self.lanes_y * self.lane_rows

    @property
    def cols(self) -> Tensor:
        return self.lanes_x * self.lane_cols

    def select(self, ids: Tensor) -> Pixels:
        return Pixels(*(getattr(self, f.name)[ids] for f in fields(self)))


@dataclass(frozen=True, eq=False)
class Channels:
    """Cuts of the channels, int64 `(K,)` each; `order` 0 inputs, 1 weights; `resident` 0 or 1."""

    out_channels: Tensor
    in_channels: Tensor
    kernel_rows: Tensor
    order: Tensor
    resident: Tensor


@dataclass(frozen=True, eq=False)
class Choices:
    """C mappings: `pixels[pixel[i]]` with `channels[channel[i]]`, and what of them no array changes.

    Tensors of geometry are float64 `(C,)`: integers, exact below 2 ** 53. Counts are of one frame.
    """

    pixels: Pixels
    channels: Channels
    pixel: Tensor
    channel: Tensor
    lanes: Tensor
    lane_pixels: Tensor
    spatial: Tensor
    """Tiles of pixels."""
    down: Tensor
    across: Tensor
    rows: Tensor
    """Output rows of a full tile."""
    tiles: Tensor
    """Tiles of channels, of all groups."""
    slices: Tensor
    loads: Tensor
    """Input tiles loaded."""
    again: Tensor
    """Factor on the input's loads where several frames share each weight tile."""
    input_words: Tensor
    """Words of these loads."""
    run: Tensor
    """Words in a row of them."""
    weight_loads: Tensor
    weight_repeats: Tensor
    """How often all weights are loaded."""
    once: Tensor
    """Whether a group of frames loads the weights once, bool."""
    part: Tensor
    """Array cycles of the first pass over the pixels: that of one channel tile (1) or of all (0)."""
    waiting: Tensor
    """Rows of tiles that wait for the last rows of an input that is cut alike."""
    input_need: Tensor
    output_need: Tensor
    band: Tensor
    """Words of the input that a row of tiles sees."""
    in_order: Tensor
    """Whether a row of tiles is done for all channels before the next, bool."""
    legal: Tensor
    """Whether an array can run it that is large enough in all, bool."""

    def __len__(self) -> int:
        return len(self.pixel)

    def candidates(self, rows: Tensor) -> Candidates:
        """Some of the choices as `dna.cost` prices them; whether weights are resident is not among their columns."""
        p, k = self.pixels.select(self.pixel[rows]), self.channels
        names = ("out_channels", "in_channels", "kernel_rows", "order")
        columns = [getattr(p, f.name) for f in fields(Pixels)]
        return Candidates(*columns, *(getattr(k, name)[self.channel[rows]] for name in names))

    def mapping(self, row: int) -> LayerMapping:
        """Choice number `row`."""
        pixel, channel = int(self.pixel[row]), int(self.channel[row])
        of_pixels = {f.name: int(getattr(self.pixels, f.name)[pixel]) for f in fields(Pixels)}
        names = ("out_channels", "in_channels", "kernel_rows")
        of_channels = {name: int(getattr(self.channels, name)[channel]) for name in names}
        order = ORDERS[int(self.channels.order[channel])]
        return LayerMapping(**of_pixels, **of_channels, order=order, resident=bool(self.channels.resident[channel]))


@lru_cache(maxsize=2048)
def choices(layer: Layer, px: int, fine: bool, sums: bool) -> Choices:
    """The choices of a layer shape (`shape_of`) on `px` lanes.

    `fine`: also those with small tiles, with which the next layer, or one in another chunk, can begin early. `sums`:
    also slices that need a buffer for partial sums.
    """
    front, single = _kept_pixels(_window_of(layer), px, fine or sums)
    whole, sliced = _whole_channels(layer), _sliced_channels(layer, sums)
    pixels = Pixels(*(torch.cat([getattr(front, f.name), getattr(single, f.name)]) for f in fields(Pixels)))
    rows = torch.tensor(whole + sliced)
    channels = Channels(*(column.contiguous() for column in rows.unbind(1)))
    f, s, k = len(front.rows), len(single.rows), len(whole)
    cut_pixels = range(f + s) if sums else range(f, f + s)
    pairs = [torch.cartesian_prod(torch.arange(f), torch.arange(k)).reshape(-1, 2)]
    if sliced and len(cut_pixels):
        pairs.append(torch.cartesian_prod(torch.tensor(cut_pixels), torch.arange(k, k + len(sliced))).reshape(-1, 2))
    both = torch.cat(pairs)
    return _geometry(layer, pixels, channels, both[:, 0].contiguous(), both[:, 1].contiguous())


def _window_of(layer: Layer) -> Layer:
    """A layer with the same pixels and windows, but one channel."""
    changes = {"op": "avgpool", "in_channels": 1, "out_channels": 1, "groups": 1, "residual": None, "parts": ()}
    return layer.renamed(**changes)


@lru_cache(maxsize=2048)
def _kept_pixels(layer: Layer, px: int, fine: bool) -> tuple[Pixels, Pixels]:
    """The cuts of the pixels that stay, of all and of those with a pixel per lane."""
    everything = _all_pixels(layer, px)
    single = everything.select(torch.nonzero(everything.lane_rows * everything.lane_cols == 1)[:, 0])
    if len(single.rows):
        single = single.select(_front(_pixel_costs(layer, single, fine)))
    return everything.select(_front(_pixel_costs(layer, everything, fine))), single


def _all_pixels(layer: Layer, px: int) -> Pixels:
    height, width = layer.out_height, layer.out_width
    rows = dict.fromkeys(
        (used_y, used_x, lane_rows, lane_cols)
        for lanes_y, lanes_x in lane_splits(height, width, px)
        for used_y, lane_rows in lane_sizes(height, lanes_y)
        for used_x, lane_cols in lane_sizes(width, lanes_x)
    )
    return Pixels(*(column.contiguous() for column in torch.tensor(list(rows)).unbind(1)))


def _whole_channels(layer: Layer) -> list[tuple[int, ...]]:
    """Rows of `Channels` without slices."""
    rows: list[tuple[int, ...]] = []
    for out_channels in channel_sizes(layer.group_outputs):
        common = (out_channels, layer.group_inputs if not layer.per_channel else layer.in_channels, layer.kernel[0])
        rows.append((*common, 0, 0))
        if out_channels < layer.group_outputs or layer.groups > 1:
            if layer.has_weights:
                rows.append((*common, 1, 0))
            if len(layer.window_sizes) == 1:
                rows.append((*common, 0, 1))
    return rows


def _sliced_channels(layer: Layer, sums: bool) -> list[tuple[int, ...]]:
    """Rows of `Channels` with slices: of input channels, and of kernel rows where the input has no padding."""
    if layer.per_channel:
        inputs = [layer.in_channels]
        kernels = list(dict.fromkeys(-(-layer.kernel[0] // n) for n in TILE_COUNTS if n <= layer.kernel[0]))
    else:
        inputs, kernels = channel_sizes(layer.group_inputs), list(dict.fromkeys((layer.kernel[0], 1)))
        if sums:
            inputs = [size for size in inputs if -(-layer.group_inputs // size) <= FEW_SLICES]
    if layer.padding[0] or layer.padding[2]:
        kernels = [layer.kernel[0]]
    whole = (layer.in_channels if layer.per_channel else layer.group_inputs, layer.kernel[0])
    cuts = [(c, r) for c in inputs for r in kernels if (c, r) != whole]
    return [(out, c, r, 0, 0) for out in channel_sizes(layer.group_outputs) for c, r in cuts]


def _cuts(layer: Layer, counted: Sequence[int], part: Tensor) -> Tensor:
    """Tiles of one dimension; a mean without padding cuts where windows count differently."""
    if len(layer.window_sizes) == 1:
        count: Tensor = tile.tiles(len(counted), part)
        return count
    runs = [len(list(run)) for _, run in groupby(counted)]
    return sum((tile.tiles(run, part) for run in runs), torch.zeros_like(part))


def _loaded(layer: Layer, p: Pixels) -> tuple[Tensor, Tensor]:
    """Rows and columns of the image loaded in all tiles of a dimension together."""
    stride_h, stride_w = strides(layer)
    top, left = layer.padding[:2]
    rows = tile.total_real(layer.out_height, p.rows, stride_h, layer.kernel[0], top, layer.in_height)
    cols = tile.total_real(layer.out_width, p.cols, stride_w, layer.kernel[1], left, layer.in_width)
    return rows, cols


def _pixel_costs(layer: Layer, p: Pixels, fine: bool) -> Tensor:
    """What prices rise with, int64 `(F, costs)`: lanes, array cycles, tiles, words and runs loaded, buffers; and, for
    `fine`, what others wait for: rows, words and array cycles of a tile."""
    stride_h, stride_w = strides(layer)
    rows, cols = _loaded(layer, p)
    down, across = _cuts(layer, layer.counted_rows, p.rows), _cuts(layer, layer.counted_cols, p.cols)
    window = tile.window(p.lane_rows, stride_h, layer.kernel[0]) * tile.window(p.lane_cols, stride_w, layer.kernel[1])
    pixels = p.lane_rows * p.lane_cols
    output = p.rows.clamp(max=layer.out_height) * p.cols.clamp(max=layer.out_width)
    runs = torch.where((across == 1) & (cols == layer.in_width), down, rows * across)
    costs = [p.lanes_y * p.lanes_x, pixels * down * across, down * across, rows * cols, runs, window, output]
    if fine:
        costs += [p.rows.clamp(max=layer.out_height), rows * cols // (down * across), pixels]
    return torch.stack(costs, dim=1)


def _front(costs: Tensor) -> Tensor:
    """Row numbers, ascending, of the rows that no other row undercuts or, with a smaller number, equals in all."""
    left = torch.arange(len(costs))
    # The row with the smallest product is beaten by none: the front grows row by row.
    rank = costs.double().clamp(min=0.5).log().sum(dim=1)
    left = left[rank.argsort(stable=True)]
    found = []
    while len(left):
        row = left[0]
        found.append(int(row))
        left = left[(costs[left] < costs[row]).any(dim=1)]
    return torch.tensor(sorted(found))


def _geometry(layer: Layer, pixels: Pixels, channels: Channels, pixel: Tensor, channel: Tensor) -> Choices:
    p = pixels.select(pixel)
    k = Channels(*(getattr(channels, f.name)[channel] for f in fields(Channels)))
    stride_h, stride_w = strides(layer)
    per_channel = int(layer.per_channel)
    down, across = _cuts(layer, layer.counted_rows, p.rows), _cuts(layer, layer.counted_cols, p.cols)
    spatial = down * across
    parts = tile.tiles(layer.group_outputs, k.out_channels)
    tiles = parts * layer.groups
    slices = tile.ceil_div(layer.kernel[0], k.kernel_rows)
    if not layer.per_channel:
        slices = slices * tile.ceil_div(layer.group_inputs, k.in_channels)
    loads = tile.input_loads(spatial, parts, slices, per_channel, 1 - k.order)
    grouped = tile.input_loads(spatial + (spatial == 1).long(), parts, slices, per_channel, 1 - k.order)
    again = torch.where((spatial == 1) & (grouped // 2 > loads), grouped // 2 // loads, 1)

    rows, cols = _loaded(layer, p)
    repeats = torch.ones_like(loads) if layer.per_channel else loads // (spatial * slices)
    in_channels = k.out_channels if layer.per_channel else k.in_channels
    tile_groups = tile.channel_words(in_channels)
    words = rows * cols * tile.channel_words(layer.in_channels) * repeats
    width = (cols // across).clamp(min=1)
    height = (rows // down).clamp(min=1)
    all_groups = tile_groups == tile.channel_words(layer.in_channels)
    full = (across == 1) & (width == layer.in_width)
    run = torch.where(full, torch.where(all_groups, height * tile_groups * width, tile_groups * width), width)

    weights = torch.where(
        k.resident == 1, 1, tile.weight_loads(spatial, tiles, slices, int(layer.has_weights), 1 - k.order)
    )
    whole_slices = slices == 1 if layer.has_weights else torch.ones_like(slices, dtype=torch.bool)
    once = ((k.resident == 1) | (k.order == 1) | (tiles == 1)) & whole_slices
    per_pass = torch.where(k.resident == 1, 1, tiles * (slices if layer.has_weights else 1))
    last_start = (down - 1) * tile.ceil_div(layer.in_height, down)
    reach = tile.window(p.rows, stride_h, layer.kernel[0]) - layer.padding[0]
    early = ((last_start - reach) // (p.rows * stride_h) + 1).clamp(min=0).minimum(down)

    window_h = tile.window(p.lane_rows, stride_h, k.kernel_rows)
    window_w = tile.window(p.lane_cols, stride_w, layer.kernel[1])
    tile_rows, tile_cols = p.rows.clamp(max=layer.out_height), p.cols.clamp(max=layer.out_width)
    row_words = tile.channel_words(layer.in_channels) * layer.in_width
    columns = [*(getattr(p, f.name) for f in fields(Pixels)), k.out_channels, k.in_channels, k.kernel_rows, k.order]
    candidates = Candidates.of(torch.stack(columns, dim=1))
    return Choices(
        pixels=pixels,
        channels=channels,
        legal=legal(layer, candidates, LARGE)[0],
        pixel=pixel,
        channel=channel,
        lanes=(p.lanes_y * p.lanes_x).double(),
        lane_pixels=(p.lane_rows * p.lane_cols).double(),
        spatial=spatial.double(),
        down=down.double(),
        across=across.double(),
        rows=tile_rows.double(),
        tiles=tiles.double(),
        slices=slices.double(),
        loads=(loads * layer.groups).double(),
        again=again.double(),
        input_words=words.double(),
        run=run.double(),
        weight_loads=weights.double(),
        weight_repeats=(weights // per_pass).double(),
        once=once,
        part=((k.order == 1) & (tiles > 1)).double(),
        waiting=(down - early).double(),
        input_need=2 * tile.lane_words(window_h, window_w, in_channels),
        output_need=2 * tile.output_words(tile_rows, tile_cols, k.out_channels),
        band=((tile_rows - 1) * layer.stride[0] + layer.kernel[0]) * row_words,
        in_order=(k.order == 0) | (k.out_channels >= layer.group_outputs),
    )
