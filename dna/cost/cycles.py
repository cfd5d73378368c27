"""Closed-form cycles of layers: what `dna.cost.schedule` counts tile by tile, for batches of (array, mapping).

A layer's time is the largest of a few sums (docs/cost.md): a *chain*, from the commit that its last input rows wait
for, through load, array, post lanes and store, to its own last commit; and *streams*, the array, a port or the output
buffer kept busy from first tile to last, or two slots of a buffer taking turns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from dna.accelerator import tile
from dna.accelerator.chunk import PAGE_INSTRUCTIONS, Memory
from dna.accelerator.isa import INSTRUCTION_BYTES, WORD_BYTES
from dna.cost.mapping_limits import Candidates, buffer_needs, last_idle, legal, strides
from dna.cost.schedule import CAPTURE_STAGES, POST_STAGES
from dna.network.layer import Layer


@dataclass(frozen=True)
class Constants:
    """Register stages between one engine's event and the next one's, in cycles: sums of the RTL's own."""

    load: int = 4
    """From a LOAD's pop to its counter's being visible, beside latency and beats, less one interval."""
    store: int = 10
    """From `ready` to `committed` being visible, beside the beats and the write latency, less one interval."""
    store_read: int = 7
    """From `ready` to `stored` being visible, beside the words."""
    burst: int = 2
    """From a burst's end to the last beat of the one in its place, beside latency and beats, less one interval."""
    post: int = CAPTURE_STAGES + POST_STAGES
    """From a tile's last MAC cycle to `ready`, beside the post cycles."""
    tile: int = 1
    """Between two TILEs that never wait."""
    layer: int = 2
    """From the post lanes' last write to a TILE after a LAYER, beside its walk over the lanes."""
    start: int = 7
    """From the start pulse to the first LOAD's pop, beside the first page."""


CONSTANTS = Constants()


@dataclass(frozen=True, eq=False)
class Terms:
    """What a layer takes of each engine, int64 of one shape, `(A, C)` or `(designs,)`."""

    first: Tensor
    """From a commit to the operands of the first tile that waited for it."""
    loads: Tensor
    """Tiles of inputs."""
    per_load: Tensor
    """Port cycles of one of them."""
    turn: Tensor
    """Two input tiles taking turns in the two slots: compute of one, then load of the next in its place."""
    whole: Tensor
    """Array cycles of all layers' tiles in one row of tiles, first pass over the channels."""
    rest: Tensor
    """Array cycles after that pass: 0 where each spatial tile is finished for all channels."""
    down: Tensor
    """Rows of tiles."""
    rows: Tensor
    """Output rows in one of them."""
    reach: Tensor
    """Input rows that the first row of tiles sees."""
    pitch: Tensor
    """Input rows from one row of tiles to the next."""
    tail: Tensor
    """From its last MAC cycle to its last commit."""
    array: Tensor
    """From the end of the previous layer's post-processing to the last MAC cycle, the array never waiting."""
    turns: Tensor
    """From the previous layer's last MAC cycle to its own, two slots of a buffer taking turns."""
    drain: Tensor
    """From its last MAC cycle to the end of its post-processing."""
    inputs: Tensor
    """Read port 0: inputs and residuals."""
    instructions: Tensor
    weights: Tensor
    """Weights, parameters and program, on port 0 or 1."""
    first_weights: Tensor
    """From asking for its first weight tile to having it."""
    per_weight: Tensor
    """Array cycles per weight tile."""
    weight_loads: Tensor
    stores: Tensor
    """First tile's start to last tile's end where only stores count."""
    row_slices: Tensor
    """Slices of kernel rows: the first ones read rows that were complete before."""
    slice_rows: Tensor
    slice_loads: Tensor
    """Input loads of one of them."""
    slice_cycles: Tensor
    """Array cycles of one of them for one tile, rounded up."""
    in_height: int

    @property
    def everything(self) -> Tensor:
        """Array cycles of the whole layer."""
        return self.down * self.whole + self.rest

    def head(self, last_start: Tensor) -> Tensor:
        """From the previous layer's last commit to the last MAC cycle.

        `last_start`: first row of the tensor that only this commit makes complete: what reads from there on waits.
        """
        early = ((last_start - self.reach) // self.pitch + 1).clamp(min=0).minimum(self.down)
        waiting = self.down - early
        sliced = (last_start // self.slice_rows).clamp(min=0).minimum(self.row_slices - 1)
        loads = (waiting * self.loads // self.down - sliced * self.slice_loads).clamp(min=1)
        per_input = self.everything // self.loads
        array = waiting * self.whole + self.rest - sliced * self.slice_cycles
        array = array.maximum((loads - 1) * self.per_load + per_input)
        array = array.maximum((loads - 1) // 2 * self.turn + per_input)
        return self.first + array

    def price(self, ports: Tensor) -> Tensor:
        """Cycles from the previous layer's last commit to its own, if that one is cut into as many rows of tiles."""
        start = (self.down - 1) * -(-self.in_height // self.down)
        port = torch.where(ports == 1, self.inputs + self.weights, self.inputs.maximum(self.weights))
        busy = (self.array + self.drain).maximum(self.turns).maximum(self.stores)
        return (self.head(start) + self.tail).maximum(busy).maximum(port)


@dataclass(frozen=True)
class Priced:
    """Mappings of one layer on A arrays: cycles and legality `(A, C)`, needed depths `(A, C)` by buffer."""

    cycles: Tensor
    legal: Tensor
    needs: dict[str, Tensor]


def price(layer: Layer, c: Candidates, values: Mapping[str, Tensor], memory: Memory) -> Priced:
    """Price C mappings on A arrays; `values`: the arrays' parameters, int64 `(A,)` each.

    The cycles hold within a chain of layers, each reading the one before; a frame is their sum plus `frame_start`.
    """
    a, places = _factored(values)
    cycles = layer_terms(layer, c, a, memory).price(a["ports"])
    needs = {name: _row(need, places, len(c)) for name, need in buffer_needs(layer, c, a).items()}
    return Priced(_row(cycles, places, len(c)), _row(legal(layer, c, a), places, len(c)), needs)


FEW = 2
"""Most combinations priced per array asked for."""


def _factored(values: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Parameters with a dimension for each that differs, so that what depends on few of them is computed for few.

    `(1, ..., n, ..., 1)` each, the last dimension for mappings; and by dimension each array's place, `(A,)`. Where the
    arrays are too few of all combinations, they have one dimension together.
    """
    found = {name: torch.unique(value, return_inverse=True) for name, value in values.items()}
    differ = [name for name, (distinct, _) in found.items() if len(distinct) > 1]
    count = len(values["px"])
    if math.prod(len(found[name][0]) for name in differ) > FEW * count:
        a = {name: (value if name in differ else value[:1])[:, None] for name, value in values.items()}
        return a, [torch.arange(count)]
    shapes = {name: [-1 if other == name else 1 for other in differ] for name in found}
    return {name: found[name][0].view(*shape, 1) for name, shape in shapes.items()}, [found[n][1] for n in differ]


def _row(value: Tensor, places: Sequence[Tensor], mappings: int) -> Tensor:
    """Of each array, `(A, C)`, what was computed for all values of the parameters."""
    value = value.expand(*value.shape[:-1], mappings)
    missing = len(places) + 1 - value.dim()
    value = value.view(*[1] * missing, *value.shape) if missing > 0 else value
    if not places:
        return value.view(1, mappings)
    return value[tuple(p if n > 1 else torch.zeros_like(p) for p, n in zip(places, value.shape, strict=False))]


def start_cycles(values: Mapping[str, Tensor], memory: Memory) -> Tensor:
    """From the start pulse to the first LOAD's pop: the first page of the program, int64 like the values."""
    return page_cycles(values, memory) + memory.read_latency + CONSTANTS.start


def frame_start(values: Mapping[str, Tensor], memory: Memory) -> Tensor:
    """What a frame takes besides its layers' prices: first page of the program, latency of the first operands."""
    return start_cycles(values, memory) + memory.read_latency


def page_cycles(values: Mapping[str, Tensor], memory: Memory) -> Tensor:
    """Port cycles of one page of the program, int64 like the values."""
    return PAGE_INSTRUCTIONS * INSTRUCTION_BYTES // WORD_BYTES * _word_cycles(values, memory)


def _word_cycles(a: Mapping[str, Tensor], memory: Memory) -> Tensor:
    return memory.beat_interval * (WORD_BYTES // a["port_bytes"])


@dataclass(frozen=True, eq=False)
class _Tiles:
    """Counts of a layer's tiles under C mappings, `(C,)` each."""

    rows: Tensor
    """Outputs of a full tile."""
    cols: Tensor
    down: Tensor
    """Tiles one below the other."""
    across: Tensor
    spatial: Tensor
    parts: Tensor
    """Tiles of output channels, of one group of a grouped convolution."""
    tiles: Tensor
    """Those of all groups."""
    slices: Tensor
    last_channels: Tensor
    """Output channels of a group's last tile."""
    last_rows: Tensor
    """Output rows of the last row of tiles."""
    last_cols: Tensor


def _tiles(layer: Layer, c: Candidates) -> _Tiles:
    rows, cols = c.lanes_y * c.lane_rows, c.lanes_x * c.lane_cols
    down, last_rows = cuts(layer, layer.counted_rows, rows)
    across, last_cols = cuts(layer, layer.counted_cols, cols)
    parts = tile.tiles(layer.group_outputs, c.out_channels)
    slices = tile.ceil_div(layer.kernel[0], c.kernel_rows)
    if not layer.per_channel:
        slices = slices * tile.ceil_div(layer.group_inputs, c.in_channels)
    last = layer.group_outputs - (parts - 1) * c.out_channels
    tiles = parts * layer.groups
    return _Tiles(rows, cols, down, across, down * across, parts, tiles, slices, last, last_rows, last_cols)


def cuts(layer: Layer, counted: Sequence[int], part: Tensor) -> tuple[Tensor, Tensor]:
    """Tiles of one dimension, and outputs of the last; a mean without padding cuts where windows count differently."""
    runs = [len(counted)]
    if len(layer.window_sizes) > 1:
        runs = [len(list(run)) for _, run in groupby(counted)]
    count = sum((tile.tiles(run, part) for run in runs), torch.zeros_like(part))
    return count, (runs[-1] - 1) % part + 1


def layer_terms(layer: Layer, c: Candidates, a: Mapping[str, Tensor], memory: Memory) -> Terms:
    """Terms of C mappings; `a`: parameters of the chunks, int64, broadcast against `(C,)`."""
    k, t = CONSTANTS, _tiles(layer, c)
    per_word = _word_cycles(a, memory)
    latency = memory.read_latency + k.load - memory.beat_interval
    whole, first_part = _array_cycles(layer, c, a, t)
    everything = t.spatial * whole

    load_words, all_words, loads, load_cycles = _input_loads(layer, c, a, t, memory)
    output_words = layer.out_height * layer.out_width * tile.channel_words(layer.out_channels)
    out_tiles = t.spatial * t.tiles
    residual = int(layer.residual is not None) * output_words
    weight_words, weight_loads = _weight_stream(layer, c, a, t)
    per_weight = everything // weight_loads
    weight_cycles = latency + weight_words * per_word // weight_loads

    post = tile.post_slices_last(t.last_channels, a["oc"], a["post_lanes"], int(layer.per_channel))
    drain = k.post + tile.post_cycles(c.lanes_y * c.lanes_x, post) - last_idle(layer, c, a)
    last_words = _last_tile_words(layer, t, t.last_channels)
    store_words = output_words // out_tiles * (WORD_BYTES // a["port_bytes"])
    steps = tile.compute_tiles(t.spatial, t.tiles, t.slices)
    program = 1 + loads + (1 + int(layer.has_weights)) * weight_loads + steps + out_tiles
    program = program + int(layer.residual is not None) * out_tiles
    turn = everything // loads + latency + load_cycles
    turns = tile.maximum(
        loads // 2 * turn + loads % 2 * (everything // loads),
        weight_loads // 2 * (per_weight + weight_cycles) + weight_loads % 2 * per_weight,
    )
    stored = ((out_tiles - 1) // 2) * (everything // out_tiles + drain + k.store_read + store_words)
    row_slices = tile.ceil_div(layer.kernel[0], c.kernel_rows)
    several = ((c.order == 1) & (t.tiles > 1)).long()
    row = t.across * tile.select(several, first_part, whole)
    stride = strides(layer)[0]
    return Terms(
        first=latency + load_cycles + residual // out_tiles * per_word,
        loads=loads,
        per_load=load_cycles,
        turn=turn,
        whole=row,
        rest=everything - t.down * row,
        down=t.down,
        rows=t.rows,
        reach=tile.window(t.rows, stride, layer.kernel[0]) - layer.padding[0],
        pitch=t.rows * stride,
        tail=drain + k.store - memory.beat_interval + memory.write_latency + last_words * per_word,
        drain=drain,
        array=everything + steps * k.tile + a["px"] + k.layer,
        turns=turns,
        inputs=all_words * load_cycles // load_words + residual * per_word,
        instructions=program,
        weights=(weight_words + 2 * program) * per_word,
        first_weights=weight_cycles,
        per_weight=per_weight,
        weight_loads=weight_loads,
        stores=tile.maximum(stored + everything // out_tiles, output_words * per_word),
        row_slices=row_slices,
        slice_rows=c.kernel_rows,
        slice_loads=t.slices // row_slices,
        slice_cycles=tile.ceil_div(first_part * c.kernel_rows, layer.kernel[0]),
        in_height=layer.in_height,
    )


def _array_cycles(layer: Layer, c: Candidates, a: Mapping[str, Tensor], t: _Tiles) -> tuple[Tensor, Tensor]:
    """Cycles of the array for all channels of one spatial tile, and for the last tile of channels alone."""
    per_channel = int(layer.per_channel)
    last_inputs = (layer.group_inputs - 1) % c.in_channels + 1
    inputs = (layer.group_inputs - last_inputs) // c.in_channels
    steps = tile.steps(last_inputs, a["ic"], per_channel)
    if not layer.per_channel:
        steps = steps + inputs * tile.steps(c.in_channels, a["ic"], per_channel)
    mac = tile.mac_cycles(layer.kernel[0], layer.kernel[1], steps)
    idle = last_idle(layer, c, a)
    groups = tile.output_groups(c.out_channels, a["oc"], per_channel)
    last = tile.output_groups(t.last_channels, a["oc"], per_channel)
    all_groups = layer.groups * ((t.parts - 1) * groups + last)
    whole = tile.compute_cycles(all_groups, c.lane_rows, c.lane_cols, mac, idle)
    first = torch.where(t.parts > 1, groups, last)
    return whole, tile.compute_cycles(first, c.lane_rows, c.lane_cols, mac, idle)


def _input_loads(
    layer: Layer, c: Candidates, a: Mapping[str, Tensor], t: _Tiles, memory: Memory
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Words of a load for the last row of tiles, words of all loads, number of loads, port cycles of the first."""
    stride_h, stride_w = strides(layer)
    top, left = layer.padding[:2]
    rows = tile.total_real(layer.out_height, t.rows, stride_h, layer.kernel[0], top, layer.in_height)
    cols = tile.total_real(layer.out_width, t.cols, stride_w, layer.kernel[1], left, layer.in_width)
    of_group = tile.input_loads(t.spatial, t.parts, t.slices, int(layer.per_channel), 1 - c.order)
    loads = layer.groups * of_group
    channels = tile.channel_words(layer.in_channels)
    repeats = 1 if layer.per_channel else of_group // (t.spatial * t.slices)

    last = layer.out_height - t.last_rows
    end = tile.real_end(last, layer.out_height - last, stride_h, layer.kernel[0], top, layer.in_height)
    last_rows = end - tile.real_start(last, stride_h, top)
    last_rows = torch.where(c.kernel_rows < layer.kernel[0], last_rows.minimum(c.kernel_rows), last_rows)
    part = tile.minimum(c.out_channels, t.last_channels) if layer.per_channel else c.in_channels
    groups = tile.channel_words(part)
    width = (cols // t.across).clamp(min=1)
    words = last_rows * groups * width

    full = (t.across == 1) & (width == layer.in_width)
    run = torch.where(full, torch.where(groups == channels, words, groups * width), width)
    return words, rows * cols * channels * repeats, loads, _load_cycles(words, run, a, memory)


def _load_cycles(words: Tensor, run: Tensor, a: Mapping[str, Tensor], memory: Memory) -> Tensor:
    """Port cycles of a job of runs: its words, or its bursts where too few in flight hide the latency."""
    per_word = _word_cycles(a, memory)
    bursts = words // run * tile.ceil_div(run, a["burst_beats"] * a["port_bytes"] // WORD_BYTES)
    turn = memory.read_latency + CONSTANTS.burst - memory.beat_interval + words * per_word // bursts
    return (words * per_word).maximum((bursts - 1) // a["outstanding"] * turn)


def _weight_stream(layer: Layer, c: Candidates, a: Mapping[str, Tensor], t: _Tiles) -> tuple[Tensor, Tensor]:
    """Words of all weight and parameter loads, and the number of weight tiles."""
    per_channel = int(layer.per_channel)
    loads = tile.weight_loads(t.spatial, t.tiles, t.slices, int(layer.has_weights), 1 - c.order)
    params = tile.param_stream_words(
        (t.parts - 1) * tile.param_buffer_words(c.out_channels, a["post_lanes"])
        + tile.param_buffer_words(t.last_channels, a["post_lanes"]),
        a["post_lanes"],
    )
    tiles = t.tiles * (t.slices if layer.has_weights else 1)
    repeats = loads // tiles
    words = torch.zeros_like(params)
    if layer.has_weights:
        groups = (t.parts - 1) * tile.output_groups(c.out_channels, a["oc"], per_channel)
        groups = groups + tile.output_groups(t.last_channels, a["oc"], per_channel)
        steps = tile.steps(layer.group_inputs, a["ic"], per_channel)
        kernel = layer.kernel
        buffer_words = tile.weight_buffer_words(groups, kernel[0], kernel[1], steps, a["ic"], per_channel)
        words = tile.weight_stream_words(buffer_words, a["oc"], a["ic"])
    return layer.groups * (words + params) * repeats, loads


def _last_tile_words(layer: Layer, t: _Tiles, channels: Tensor) -> Tensor:
    words: Tensor = tile.output_words(t.last_rows, t.last_cols, channels)
    return words
