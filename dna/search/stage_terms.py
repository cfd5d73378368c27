"""Steady-state cycles of a layer's choices on arrays: what each engine of a chunk is busy with, in closed form.

A group of frames goes through a layer while the layer before prefetches and the layer after waits for nothing, so the
busiest engine decides: array, a port, or two slots of a buffer taking turns. Where a layer reads what its chunk
has just written, the wait for that comes on top: for frames in a group less than for a frame alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from dna.accelerator import tile
from dna.accelerator.chunk import LINK_MEMORY, PAGE_INSTRUCTIONS, Memory
from dna.accelerator.isa import INSTRUCTION_BYTES, WORD_BYTES, field_limit
from dna.cost.cycles import CONSTANTS
from dna.network.layer import Layer
from dna.search.stage_choices import Channels, Choices

PROGRAM_WORDS = INSTRUCTION_BYTES // WORD_BYTES
TURN = LINK_MEMORY.read_latency + 6
"""Cycles that a port loses, beside the memory's latency, when it goes from a link to memory and back."""


@dataclass(frozen=True)
class Traffic:
    """Where a layer's operands are, and how many frames go through it at a time."""

    memory: Memory
    """What the chunk's ports see of the board's memory: `beat_interval` is the chunk's share."""
    frames: int = 1
    chip_in: bool = False
    """Input and residual come from a link."""
    chip_out: bool = False
    """The output goes to a link."""
    chained: bool = True
    """It reads what its chunk has written just before."""

    @property
    def feeds(self) -> Feeds:
        """The same for all arrays."""

        def one(value: float) -> Tensor:
            return torch.tensor([[value]], dtype=torch.float64)

        places = [one(on_chip) > 0 for on_chip in (self.chip_in, self.chip_in, self.chip_out, self.chained)]
        return Feeds(self.memory, one(self.memory.beat_interval), one(self.frames), *places)


@dataclass(frozen=True, eq=False)
class Feeds:
    """A `Traffic` for each of A arrays: `(A, 1)`, or `(1, 1)` for all alike."""

    memory: Memory
    """Its `beat_interval` is not looked at."""
    share: Tensor
    """Cycles per beat, float64."""
    frames: Tensor
    """float64"""
    chip_in: Tensor
    """bool, as the rest"""
    chip_residual: Tensor
    chip_out: Tensor
    chained: Tensor

    @property
    def latency(self) -> Tensor:
        """From asking for an input to its first word."""
        return torch.where(self.chip_in, LINK_MEMORY.read_latency, self.memory.read_latency).double()

    @property
    def written(self) -> Tensor:
        """From the last word of an output to its response."""
        return torch.where(self.chip_out, LINK_MEMORY.write_latency, self.memory.write_latency).double()


@dataclass(frozen=True, eq=False)
class ArrayTerms:
    """What C choices take of A arrays, whatever the memory; float64 `(A, C)`, of one frame."""

    fits: Tensor
    """Whether the choice can be compiled, were all buffers large enough; bool."""
    tile_cycles: Tensor
    """Array cycles of all channels of a tile of pixels."""
    first_part: Tensor
    """Array cycles of a tile's first channels."""
    everything: Tensor
    """Array cycles."""
    drain: Tensor
    """From the last MAC cycle to the end of the post-processing."""
    weight_words: Tensor
    """Words of all weights and parameters, once."""
    weight_need: Tensor
    """Depth of the weight buffer."""
    param_need: Tensor


@dataclass(frozen=True, eq=False)
class ChannelTerms:
    """What K cuts of the channels (`Choices.channels`) take of A arrays, whatever the pixels; float64 `(A, K)`."""

    steps_fit: Tensor
    """Whether groups and steps are within what a TILE can say, bool."""
    groups: Tensor
    """Groups of output channels of a tile."""
    first_groups: Tensor
    """Those of the first tile."""
    all_groups: Tensor
    """Those of all tiles."""
    mac: Tensor
    """MAC cycles of a pixel and a group, in all slices."""
    free: Tensor
    """Of these, the ones of the last slice in which the post lanes can work."""
    slots: Tensor
    """Post cycles per lane and full group, `(A, 1)`."""
    last_slots: Tensor
    """Those of the last group."""
    weight_words: Tensor
    weight_need: Tensor
    param_need: Tensor

    def spread(self, cuts: Tensor, width: int) -> ChannelTerms:
        """Of P pairs of array and cut, array * `width` + cut: all `(P,)`."""
        slots = self.slots.expand(-1, width)
        terms = [slots if f.name == "slots" else getattr(self, f.name) for f in fields(self)][1:]
        picked = torch.stack([term.reshape(-1) for term in terms]).index_select(1, cuts)
        return ChannelTerms(self.steps_fit.reshape(-1)[cuts], *picked)


def array_terms(layer: Layer, c: Choices, values: Mapping[str, Tensor]) -> ArrayTerms:
    """Terms of all choices on A arrays; `values`: the arrays' parameters, int64 `(A,)` each."""
    return joined_terms(layer, c, values, channel_terms(layer, c.channels, values))


def channel_terms(layer: Layer, k: Channels, values: Mapping[str, Tensor]) -> ChannelTerms:
    """Terms of all cuts of the channels on A arrays."""
    a = {name: values[name][:, None] for name in ("oc", "ic", "post_lanes", "dataflow")}
    per_channel = int(layer.per_channel)
    last_inputs = (layer.group_inputs - 1) % k.in_channels + 1
    full = (layer.group_inputs - last_inputs) // k.in_channels
    steps = tile.steps(last_inputs, a["ic"], per_channel)
    last_rows = (layer.kernel[0] - 1) % k.kernel_rows + 1
    last_mac = tile.mac_cycles(last_rows, layer.kernel[1], steps)
    of_tile = tile.steps(k.in_channels, a["ic"], per_channel)
    if not layer.per_channel:
        steps = steps + full * of_tile
    mac = tile.mac_cycles(layer.kernel[0], layer.kernel[1], steps)

    parts = tile.tiles(layer.group_outputs, k.out_channels)
    last_channels = layer.group_outputs - (parts - 1) * k.out_channels
    groups = tile.output_groups(k.out_channels, a["oc"], per_channel)
    last_groups = tile.output_groups(last_channels, a["oc"], per_channel)
    weight_need, param_need, words = _weights(layer, k, a, groups, last_groups, last_channels)
    few = (groups <= field_limit("TILE", "groups")) & (of_tile <= field_limit("TILE", "steps"))
    terms = (
        groups,
        torch.where(parts > 1, groups, last_groups),
        layer.groups * ((parts - 1) * groups + last_groups),
        mac,
        torch.where(a["dataflow"] == 0, last_mac, 1),
        tile.post_slices(a["oc"], a["post_lanes"], per_channel),
        tile.post_slices_last(last_channels, a["oc"], a["post_lanes"], per_channel),
        words,
        weight_need,
        param_need,
    )
    shape = groups.shape
    spread = [term.double() if term.shape[1] == 1 else term.double().expand(shape) for term in terms]
    return ChannelTerms(few, *spread)


def joined_terms(layer: Layer, c: Choices, values: Mapping[str, Tensor], k: ChannelTerms) -> ArrayTerms:
    """Terms of all choices, from those of their cuts of the channels."""
    spread = (getattr(k, f.name).index_select(1, c.channel) for f in fields(ChannelTerms) if f.name != "slots")
    names = (f.name for f in fields(ChannelTerms) if f.name != "slots")
    wide = {name: value[:, None] for name, value in values.items()}
    return pixel_terms(layer, c, wide, ChannelTerms(slots=k.slots, **dict(zip(names, spread, strict=True))))


def pixel_terms(layer: Layer, c: Choices, a: Mapping[str, Tensor], k: ChannelTerms) -> ArrayTerms:
    """As `joined_terms`, with everything spread already: `a`, and `k` of each choice, broadcast to the result."""
    idle = (c.lanes * k.slots - k.free).clamp(min=0)
    pixel_cycles = c.lane_pixels * (k.mac + idle)
    tile_cycles = k.all_groups * pixel_cycles
    fits = c.legal & k.steps_fit & (idle <= field_limit("TILE", "idle"))
    places = tile.sum_places(c.lane_pixels, k.groups, (c.slices > 1) * 1, a["dataflow"])
    fits = fits & (places <= a["sum_words"].clamp(min=1))
    if layer.residual is not None:
        fits = fits & (a["residual"] == 1)
    return ArrayTerms(
        fits=fits,
        tile_cycles=tile_cycles,
        first_part=k.first_groups * pixel_cycles,
        everything=c.spatial * tile_cycles,
        drain=CONSTANTS.post + c.lanes * k.last_slots - idle,
        weight_words=k.weight_words,
        weight_need=k.weight_need,
        param_need=k.param_need,
    )


def _weights(
    layer: Layer, k: Channels, a: Mapping[str, Tensor], groups: Tensor, last_groups: Tensor, last_channels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Depths of the weight and parameter buffers, and words of all weights and parameters: int64 `(A, K)`."""
    per_channel, parts = int(layer.per_channel), tile.tiles(layer.group_outputs, k.out_channels)
    of_tile = tile.param_buffer_words(k.out_channels, a["post_lanes"])
    params = layer.groups * ((parts - 1) * of_tile + tile.param_buffer_words(last_channels, a["post_lanes"]))
    words = tile.param_stream_words(params, a["post_lanes"])
    kept = k.resident == 1
    param_need = 2 * torch.where(kept, params, of_tile)
    if not layer.has_weights:
        return torch.zeros_like(param_need), param_need, words
    inputs = k.out_channels if layer.per_channel else k.in_channels
    steps, whole = (tile.steps(n, a["ic"], per_channel) for n in (inputs, layer.group_inputs))
    width = layer.kernel[1]
    need = tile.weight_buffer_words(groups, k.kernel_rows, width, steps, a["ic"], per_channel)
    all_groups = layer.groups * ((parts - 1) * groups + last_groups)
    stored = tile.weight_buffer_words(all_groups, layer.kernel[0], width, whole, a["ic"], per_channel)
    words = words + tile.weight_stream_words(stored, a["oc"], a["ic"])
    return 2 * torch.where(kept, stored, need), param_need, words


@dataclass(frozen=True, eq=False)
class StageCycles:
    """Cycles of a group of frames, float64 `(A, C)`: in all, and of them those that the memory ports are busy."""

    cycles: Tensor
    array: Tensor
    memory: Tensor


@dataclass(frozen=True, eq=False)
class _Flow:
    """Jobs and words of a group of frames, and what they take of the ports; float64, broadcast to `(A, C)`."""

    loads: Tensor
    """Input tiles of one frame."""
    out_tiles: Tensor
    steps: Tensor
    per_word: Tensor
    """Cycles per word of memory, of the input and of the output."""
    of_in: Tensor
    of_out: Tensor
    per_load: Tensor
    """Port cycles of one input tile."""
    inputs: Tensor
    """Port 0: inputs and residuals."""
    weight_loads: Tensor
    weights: Tensor
    program: Tensor
    switches: Tensor
    """What a single port loses between link and memory."""
    residual_cycles: Tensor
    """Port cycles of the residual of one output tile."""
    out_words: Tensor
    """Of one output tile."""


def _flow(layer: Layer, c: Choices, t: ArrayTerms, a: Mapping[str, Tensor], feeds: Feeds) -> _Flow:
    n = feeds.frames
    loads = c.loads * torch.where(n > 1, c.again, 1.0)
    out_tiles = c.spatial * c.tiles
    steps = out_tiles * c.slices
    words = layer.out_height * layer.out_width * tile.channel_words(layer.out_channels)
    residual = int(layer.residual is not None)
    per_word = feeds.share * (WORD_BYTES / a["port_bytes"])
    places = (feeds.chip_in, feeds.chip_residual, feeds.chip_out)
    of_in, of_residual, of_out = (torch.where(on_chip, 1.0, per_word) for on_chip in places)
    per_load = _load_cycles(c.input_words / c.loads, c.run, a, feeds.latency, of_in)
    inputs = n * (loads * per_load + residual * words * of_residual)
    weight_loads = torch.where(c.once, c.weight_loads, n * c.weight_loads)
    jobs = 1 + n * (loads + steps + (1 + residual) * out_tiles) + (1 + int(layer.has_weights)) * weight_loads
    visits = weight_loads + jobs / PAGE_INSTRUCTIONS
    return _Flow(
        loads=loads,
        out_tiles=out_tiles,
        steps=steps,
        per_word=per_word,
        of_in=of_in,
        of_out=of_out,
        per_load=per_load,
        # The lanes' geometry changes when all earlier words are in: the first LOAD's latency is seen.
        inputs=inputs + feeds.latency + CONSTANTS.load + a["px"],
        weight_loads=weight_loads,
        weights=torch.where(c.once, 1.0, n * c.weight_repeats) * t.weight_words * per_word,
        program=PROGRAM_WORDS * jobs * per_word,
        switches=feeds.chip_in * visits * (feeds.memory.read_latency + TURN),
        residual_cycles=residual * words / out_tiles * of_residual,
        out_words=words / out_tiles,
    )


def stage_cycles(
    layer: Layer, c: Choices, terms: ArrayTerms, values: Mapping[str, Tensor], traffic: Traffic | Feeds
) -> StageCycles:
    """Prices all choices; `values` as for `array_terms`."""
    a = {name: value[:, None].double() for name, value in values.items()}
    return fed_cycles(layer, c, terms, a, traffic.feeds if isinstance(traffic, Traffic) else traffic)


def fed_cycles(layer: Layer, c: Choices, terms: ArrayTerms, a: Mapping[str, Tensor], feeds: Feeds) -> StageCycles:
    """As `stage_cycles`, with everything spread already: `a` float64, like the feeds, broadcasts to the result."""
    n, k, f = feeds.frames, CONSTANTS, _flow(layer, c, terms, a, feeds)
    single = a["ports"] == 1
    others = f.weights + f.program
    reads = torch.where(single, f.inputs + others + f.switches, f.inputs.maximum(others))
    writes = n * f.out_words * f.out_tiles * f.of_out
    array = n * (terms.everything + f.steps * k.tile) + a["px"] + k.layer
    busy = (array + terms.drain.clamp(min=0)).maximum(reads).maximum(writes)
    busy = busy.maximum(_turns(terms, f, a, feeds))
    busy = torch.where(single, busy.maximum(array + _blocked(terms, f, feeds)), busy)
    if feeds.chained.any():
        busy = torch.where(feeds.chained, busy.maximum(_chain(c, terms, f, feeds)), busy)
    memory = torch.where(feeds.chip_in, others, reads)
    memory = torch.where(feeds.chip_out, memory, memory.maximum(writes))
    return StageCycles(busy.ceil(), array, memory)


def _turns(t: ArrayTerms, f: _Flow, a: Mapping[str, Tensor], feeds: Feeds) -> Tensor:
    """Two slots of a buffer taking turns: the next tile is asked for when the one before it in its slot was used."""
    n, k, everything = feeds.frames, CONSTANTS, t.everything
    inputs = (n * f.loads / 2).floor() * _input_turn(t, f, feeds)
    weight_turn = feeds.memory.read_latency + k.load + f.weights / f.weight_loads
    weights = (f.weight_loads / 2).floor() * (n * everything / f.weight_loads + weight_turn)
    stored = k.store_read + f.out_words * (WORD_BYTES / a["port_bytes"])
    stores = ((n * f.out_tiles - 1) / 2).floor() * (everything / f.out_tiles + t.drain + stored)
    return inputs.maximum(weights).maximum(stores)


def _input_turn(t: ArrayTerms, f: _Flow, feeds: Feeds) -> Tensor:
    return t.everything / f.loads + feeds.latency + CONSTANTS.load + f.per_load


def _blocked(t: ArrayTerms, f: _Flow, feeds: Feeds) -> Tensor:
    """What the array waits where one port loads all: the seldom ones of inputs and weights stand behind the others.

    Those are two tiles ahead at most, so the array has their cycles to go on with while a large tile is loaded.
    """
    n, latency = feeds.frames, feeds.memory.read_latency + CONSTANTS.load
    inputs, everything = n * f.loads, n * t.everything
    per_weight = f.weights / f.weight_loads
    many_inputs = f.weight_loads * (per_weight + 2 * f.per_load + latency - 2 * everything / inputs).clamp(min=0)
    many_weights = inputs * (f.per_load + 2 * per_weight + latency - 2 * everything / f.weight_loads).clamp(min=0)
    seldom = torch.where(inputs >= 2 * f.weight_loads, many_inputs, 0.0)
    return torch.where(f.weight_loads >= 2 * inputs, many_weights, seldom)


def _chain(c: Choices, t: ArrayTerms, f: _Flow, feeds: Feeds) -> Tensor:
    """Cycles from the commit that its input waits for to its own, where a layer reads what was written just before."""
    n, k = feeds.frames, CONSTANTS
    first = feeds.latency + k.load + f.per_load + f.residual_cycles
    tail = t.drain + k.store + feeds.written + f.out_words * f.of_out
    row = c.across * torch.where(c.part == 1, t.first_part, t.tile_cycles)
    rest = t.everything - c.down * row
    loads = (c.waiting * c.loads / c.down).floor().clamp(min=1)
    per_tile = t.everything / c.loads
    array = c.waiting * row + rest
    array = array.maximum((loads - 1) * f.per_load + per_tile)
    array = array.maximum(((loads - 1) / 2).floor() * _input_turn(t, f, feeds) + per_tile)
    alone = first + array + tail
    if not (n > 1).any():
        return alone
    # The first of several frames is there while the others are still computed.
    slack = (n - 1) * torch.where(c.part == 1, t.everything / c.tiles, t.everything)
    return torch.where(n > 1, n * t.everything + (first + tail - slack).clamp(min=0), alone)


def _load_cycles(words: Tensor, run: Tensor, a: Mapping[str, Tensor], latency: Tensor, per_word: Tensor) -> Tensor:
    """Port cycles of a LOAD: its words, or its bursts where too few in flight hide the latency."""
    run = run.minimum(words)
    bursts = words / run * (run / (a["burst_beats"] * a["port_bytes"] / WORD_BYTES)).ceil()
    turn = latency + CONSTANTS.burst + words * per_word / bursts
    return (words * per_word).maximum((bursts - 1) / a["outstanding"] * turn)
