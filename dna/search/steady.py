"""Mappings of a layer for frames in a row: a closed form of its cycles while nothing fills or drains.

A group of frames goes through a layer while the layer before prefetches and the layer after waits for nothing, so the
busiest engine decides: array, a port, or two slots of a buffer taking turns. With order "weights", a weight tile is
loaded once per group. The form ranks candidates; the exact schedule chooses among the first (`dna.search.refine`).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from dna.accelerator import tile
from dna.accelerator.chunk import Chunk, Memory
from dna.accelerator.isa import INSTRUCTION_BYTES, WORD_BYTES
from dna.accelerator.mapping import LayerMapping
from dna.cost.cycles import CONSTANTS, Terms, layer_terms
from dna.cost.mapping_limits import Candidates, buffer_needs, legal
from dna.network.layer import Layer
from dna.search.mapping_space import UNMAPPED, candidates, shape_of

ORDERS: tuple[Literal["inputs", "weights"], ...] = ("inputs", "weights")


@dataclass(frozen=True, eq=False)
class Steady:
    """C mappings of a layer, int64 `(C,)` each: cycles of a group of frames (`UNMAPPED` if it cannot be compiled), and
    of these the cycles of the busiest port."""

    candidates: Candidates
    cycles: Tensor
    port: Tensor

    def best(self, count: int) -> list[LayerMapping]:
        """Up to `count` mappings, fewest cycles first; among equals those that leave the ports free."""
        # Two stable sorts: by the ports, then by the cycles.
        order = self.port.argsort(stable=True)
        order = order[self.cycles[order].argsort(stable=True)][:count]
        return [self._decode(int(row)) for row in order if self.cycles[row] < UNMAPPED]

    def _decode(self, row: int) -> LayerMapping:
        c = self.candidates
        return LayerMapping(
            lanes_y=int(c.lanes_y[row]),
            lanes_x=int(c.lanes_x[row]),
            lane_rows=int(c.lane_rows[row]),
            lane_cols=int(c.lane_cols[row]),
            out_channels=int(c.out_channels[row]),
            in_channels=int(c.in_channels[row]),
            kernel_rows=int(c.kernel_rows[row]),
            order=ORDERS[int(c.order[row])],
        )


@lru_cache(maxsize=4096)
def group_candidates(shape: Layer, px: int) -> Candidates:
    """The candidates of a frame, but for the order of the loops: with one tile per frame, too, it makes a difference to
    a group. Layers without weights go frame by frame, for then the next layer can begin with the first frame."""
    rows = torch.stack([getattr(candidates(shape, px), f.name) for f in fields(Candidates)], dim=1)
    if not shape.has_weights:
        return Candidates.of(rows[rows[:, -1] == 0])
    turned = rows[(rows[:, -1] == 0) & (rows[:, 4] < shape.group_outputs)].clone()
    turned[:, -1] = 1
    return Candidates.of(torch.unique(torch.cat([rows, turned]), dim=0))


def steady(layer: Layer, chunk: Chunk, memory: Memory, frames: int) -> Steady:
    """Prices all candidates for groups of `frames` frames."""
    shape = shape_of(layer)
    c = group_candidates(shape, chunk.px)
    a = {name: torch.tensor([[value]]) for name, value in chunk.integers.items()}
    fits = legal(shape, c, a)
    for name, need in buffer_needs(shape, c, a).items():
        fits = fits & (need <= a[name])
    cycles, port = _group_cycles(shape, c, a, layer_terms(shape, c, a, memory), memory, frames)
    return Steady(c, torch.where(fits, cycles, UNMAPPED)[0], port[0])


def _group_cycles(
    layer: Layer, c: Candidates, a: dict[str, Tensor], t: Terms, memory: Memory, frames: int
) -> tuple[Tensor, Tensor]:
    """Cycles of a group and of its busiest port, `(1, C)`, from the terms of one frame."""
    spatial = tile.tiles(layer.out_height, c.lanes_y * c.lane_rows) * tile.tiles(
        layer.out_width, c.lanes_x * c.lane_cols
    )
    parts = tile.tiles(layer.group_outputs, c.out_channels) * layer.groups
    slices = tile.tiles(layer.kernel[0], c.kernel_rows)
    if not layer.per_channel:
        slices = slices * tile.tiles(layer.group_inputs, c.in_channels)
    several = slices > 1 if layer.has_weights else torch.zeros_like(slices, dtype=torch.bool)
    once = ((c.order == 1) | (parts == 1)) & ~several
    weight_frames = torch.where(once, 1, frames)
    # An input that a single frame loads once for all output channels is loaded again for each weight tile of a group.
    again = (c.order == 1) & (spatial == 1) & (parts > 1) & (slices == 1) & (frames > 1)
    input_frames = frames * torch.where(again & (not layer.per_channel), parts, 1)

    program = INSTRUCTION_BYTES // WORD_BYTES * t.instructions * memory.beat_interval * (WORD_BYTES // a["port_bytes"])
    inputs, weights = t.inputs * input_frames, (t.weights - program) * weight_frames + program * frames
    port = torch.where(a["ports"] == 1, inputs + weights, inputs.maximum(weights))
    everything = t.everything * frames
    steps = tile.compute_tiles(spatial, parts, slices) * frames
    array = everything + steps * CONSTANTS.tile + a["px"] + CONSTANTS.layer + t.drain
    input_turns = _turns(everything, t.loads * input_frames, t.per_load, memory)
    weight_loads = t.weight_loads * weight_frames
    weight_turns = _turns(everything, weight_loads, (weights - program * frames) // weight_loads, memory)
    cycles = array.maximum(port).maximum(t.stores * frames).maximum(input_turns).maximum(weight_turns)
    return torch.broadcast_tensors(cycles, port)


def _turns(everything: Tensor, loads: Tensor, load_cycles: Tensor, memory: Memory) -> Tensor:
    """Two slots taking turns: the next tile is asked for when the one before it in its slot was used."""
    latency = memory.read_latency + CONSTANTS.load
    return loads // 2 * (everything // loads + latency + load_cycles)
