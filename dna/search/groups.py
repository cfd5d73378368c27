"""Cycles of a group of frames of a layer, with memory or links behind the ports of its chunk: a closed form.

As `dna.search.steady`, the busiest engine decides: array, ports, links, or two slots of a buffer taking turns. Here
ports may differ, operands may come from links, and weights may be resident; and the counts behind the form are kept, so
that other intervals of the ports are a few additions away.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache

import torch
from torch import Tensor

from dna.accelerator import tile
from dna.accelerator.chunk import LINK_MEMORY, Chunk, Memory
from dna.accelerator.isa import WORD_BYTES
from dna.accelerator.mapping import LayerMapping
from dna.cost.cycles import CONSTANTS, Terms, layer_terms
from dna.cost.mapping_limits import Candidates, buffer_needs, legal
from dna.network.layer import Layer
from dna.search.mapping_space import UNMAPPED, shape_of
from dna.search.steady import ORDERS


@dataclass(frozen=True, eq=False)
class Group:
    """Counts of C mappings of a layer on a chunk, `(1, C)`, for groups of `frames` frames."""

    chunk: Chunk
    fits: Tensor
    near: Terms
    """With links behind all ports: their cycles are words."""
    far: Terms
    """With the memory at a beat per cycle: latencies that are not hidden show."""
    latency: int
    """Of the memory, from a LOAD's pop to its operands, beside the beats."""
    frames: int
    input_frames: Tensor
    """How often the input tiles of a frame are loaded, for all frames of the group."""
    weight_frames: Tensor
    """The same of the weight tiles."""
    weight_loads: Tensor
    """Weight tiles of a frame; one where they are resident."""
    weight_words: Tensor
    """Words of these."""
    page_words: Tensor
    """Words of the program for a frame."""
    output_beats: int
    """Beats of a frame's output."""

    def array(self) -> Tensor:
        """Cycles of the MAC array and the post lanes."""
        return self.near.array * self.frames + self.near.drain

    def inputs(self, interval: int, chip: bool) -> Tensor:
        """Cycles of input and residual, on a link or a port with a beat every `interval` cycles."""
        if chip:
            cycles = self.near.inputs * self.input_frames
            return cycles.maximum(self._turns(self.near.loads * self.input_frames, self.near.per_load, _LINK_LATENCY))
        per_load = self.far.per_load.maximum(self.near.per_load * interval)
        cycles = (self.far.inputs.maximum(self.near.inputs * interval)) * self.input_frames
        return cycles.maximum(self._turns(self.near.loads * self.input_frames, per_load, self.latency))

    def weights(self, interval: int) -> Tensor:
        """Cycles of weights, parameters and program."""
        loads = self.weight_loads * self.weight_frames
        cycles = self.weight_beats() * interval
        return cycles.maximum(self._turns(loads, self.weight_words // self.weight_loads * interval, self.latency))

    def weight_beats(self) -> Tensor:
        """Beats of the port that weights come through."""
        return self.weight_words * self.weight_frames + self.page_words * self.frames

    def stores(self, interval: int, chip: bool) -> Tensor:
        """Cycles of the output."""
        cycles = self.near.stores if chip else self.far.stores.maximum(torch.tensor(self.output_beats * interval))
        return cycles * self.frames

    def cycles(self, port: int, weight_port: int, chip_in: bool, chip_out: bool) -> Tensor:
        """Cycles of the group `(C,)`, `UNMAPPED` where the mapping does not fit; `port`, `weight_port`: cycles per beat
        of the two, equal where the chunk has one."""
        inputs, weights = self.inputs(port, chip_in), self.weights(weight_port)
        if self.chunk.ports == 1 and not chip_in:
            weights = weights.maximum(self.near.inputs * self.input_frames * port + self.weight_beats() * port)
        cycles = self.array().maximum(inputs).maximum(weights).maximum(self.stores(port, chip_out))
        return torch.where(self.fits, cycles, UNMAPPED)[0]

    def _turns(self, loads: Tensor, load_cycles: Tensor, latency: int) -> Tensor:
        """Two slots taking turns: the next tile is asked for when the one before it in its slot was used."""
        everything = self.near.everything * self.frames
        return loads // 2 * (everything // loads + latency + load_cycles)


_LINK_LATENCY = LINK_MEMORY.read_latency + CONSTANTS.load


def group(
    layer: Layer, c: Candidates, chunk: Chunk, memory: Memory, frames: int, resident: bool | None = None
) -> Group:
    """Counts of the mappings `c`. `resident`: of all of them; None: wherever weights can be."""
    shape = shape_of(layer)
    a = {name: torch.tensor([[value]]) for name, value in chunk.integers.items()}
    fits = legal(shape, c, a)
    for name, need in buffer_needs(shape, c, a).items():
        fits = fits & (need <= a[name])
    far_memory = Memory(memory.read_latency, 1, memory.write_latency)
    near, far = (layer_terms(shape, c, a, behind) for behind in (LINK_MEMORY, far_memory))
    parts = tile.tiles(shape.group_outputs, c.out_channels) * shape.groups
    whole = (c.kernel_rows >= shape.kernel[0]) & (c.in_channels >= shape.group_inputs)
    if not shape.has_weights:
        whole = torch.ones_like(whole)
    kept = whole & _stay(shape, c, a, parts) if resident is None else torch.full_like(whole, resident)[None]
    again = (c.order == 1) & (parts > 1) & whole & (frames > 1) & (near.loads == shape.groups)
    if shape.per_channel:
        again = torch.zeros_like(again)
    beats = WORD_BYTES // chunk.port_bytes
    pages = 2 * near.instructions * beats
    words = near.weights - pages
    return Group(
        chunk,
        fits,
        near,
        far,
        memory.read_latency + CONSTANTS.load,
        frames,
        torch.where(again, parts, 1) * frames,
        torch.where(whole & ((c.order == 1) | (parts == 1)) | kept, 1, frames),
        torch.where(kept, 1, near.weight_loads),
        torch.where(kept, words // near.weight_loads * parts, words),
        pages,
        shape.out_height * shape.out_width * int(tile.channel_words(shape.out_channels)) * beats,
    )


def of_mapping(layer: Layer, mapping: LayerMapping, chunk: Chunk, memory: Memory, frames: int) -> Group:
    """Counts of one mapping."""
    return _of_mapping(shape_of(layer), mapping, chunk, memory, frames)


@lru_cache(maxsize=4096)
def _of_mapping(layer: Layer, mapping: LayerMapping, chunk: Chunk, memory: Memory, frames: int) -> Group:
    values = [getattr(mapping, f.name) for f in fields(Candidates) if f.name != "order"]
    rows = torch.tensor([[*values, ORDERS.index(mapping.order)]])
    return group(layer, Candidates.of(rows), chunk, memory, frames, mapping.resident)


def _stay(shape: Layer, c: Candidates, a: dict[str, Tensor], parts: Tensor) -> Tensor:
    """Whether all weights and parameters of the layer stay in one slot, so that they are loaded once."""
    per_channel = int(shape.per_channel)
    groups = parts * tile.output_groups(c.out_channels, a["oc"], per_channel)
    steps = tile.steps(c.in_channels, a["ic"], per_channel)
    words = tile.weight_buffer_words(groups, shape.kernel[0], shape.kernel[1], steps, a["ic"], per_channel)
    params = parts * tile.param_buffer_words(c.out_channels, a["post_lanes"])
    fits = params <= tile.slot_words(a["param_words"])
    if shape.has_weights:
        fits = fits & (words <= tile.slot_words(a["weight_words"]))
    return fits & (len(shape.window_sizes) == 1)
