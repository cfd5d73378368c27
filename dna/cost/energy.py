"""Energy of a frame on a chip: what moves and computes times what a technology takes for it, and what runs idle.

Batched like the cost models: parameters are Python numbers, int64 tensors, or float64 tensors that carry gradients.
Energies are in pJ. `docs/energy.md` has the model and its limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dna.accelerator.board import Board
from dna.accelerator.chunk import PAGE_INSTRUCTIONS
from dna.accelerator.isa import WORD_BYTES
from dna.accelerator.technology import Technology
from dna.compile.program import Program
from dna.cost.area import flip_flops, gates, link_bits, sram_mm2
from dna.cost.resources import Count
from dna.cost.traffic import BUFFERS, Traffic, link_traffic, program_traffic, total
from dna.errors import UserError

PARTS = ("multipliers", "post lanes", "buffers", "links", "DRAM", "clock", "leakage")
DEPTHS = {
    "input": "input_words",
    "weight": "weight_words",
    "param": "param_words",
    "output": "output_words",
    "residual": "output_words",
    "sum": "sum_words",
}
"""The parameter that says how deep each buffer's memories are."""
LINK_WORDS = 1024
"""Depth of a link whose size is not known yet."""


def buffer_pj(p: Mapping[str, Count], technology: Technology) -> dict[str, Any]:
    """Energy of a byte read from, or written to, each buffer of a chunk; memories of one word's width each."""
    result = {}
    for name in BUFFERS:
        words = p[DEPTHS[name]] if name in DEPTHS else 2 * PAGE_INSTRUCTIONS
        result[name] = technology.sram_byte_pj(WORD_BYTES * words)
    return result


def dynamic_pj(
    traffic: Traffic, p: Mapping[str, Count], technology: Technology, link_words: Count = LINK_WORDS
) -> dict[str, Any]:
    """Energy of what a layer moves and computes on a chunk, by `PARTS` but the last two.

    `p`: the chunk's parameters, of shapes that broadcast against the traffic's. `link_words`: depth of the links used.
    """
    byte_pj = buffer_pj(p, technology)
    return {
        "multipliers": traffic.macs * technology.mac_pj,
        "post lanes": traffic.outputs * technology.post_pj,
        "buffers": sum(getattr(traffic, name) * byte_pj[name] for name in BUFFERS),
        "links": traffic.link * technology.sram_byte_pj(WORD_BYTES * link_words),
        "DRAM": traffic.memory * technology.dram_pj,
    }


def clock_pj(p: Mapping[str, Count], technology: Technology) -> Any:
    """What a chunk's flip-flops take in every cycle, whatever happens: nothing is gated."""
    return flip_flops(p) * technology.flip_flop_pj


def leakage_pj(p: Mapping[str, Count], technology: Technology, clock_mhz: float) -> Any:
    """What a chunk leaks in one cycle of the clock."""
    logic_mw = gates(p) * (technology.gate_um2 * 1e-6) * technology.leakage_mw_per_mm2
    sram_mw = sram_mm2(p, technology) * technology.sram_leakage_mw_per_mm2
    return (logic_mw + sram_mw) * (1e3 / clock_mhz)


def idle_pj(p: Mapping[str, Count], board: Board) -> Any:
    """Clock and leakage of a chunk in one cycle. UserError for a board without figures."""
    technology = technology_of(board)
    return clock_pj(p, technology) + leakage_pj(p, technology, board.clock_mhz)


def technology_of(board: Board) -> Technology:
    """UserError for a board that has none."""
    if board.technology is None:
        raise UserError(
            f"energy: board '{board.name}' has no energy figures; choose an ASIC board, for example asic-45nm"
        )
    return board.technology


@dataclass(frozen=True)
class Energy:
    """Of one frame, in pJ, by `PARTS`."""

    layers: tuple[tuple[str, Mapping[str, float]], ...]
    """What each layer moves and computes, by its name; fetching the program stands under `program`."""
    idle: Mapping[str, float]
    """Clock and leakage of the whole accelerator for the frame's interval."""

    @property
    def parts(self) -> dict[str, float]:
        """All layers and the idle parts."""
        sums = {name: sum(layer[name] for _, layer in self.layers) for name in PARTS[:5]}
        return {**sums, **self.idle}

    @property
    def total_pj(self) -> float:
        return sum(self.parts.values())

    @property
    def total_mj(self) -> float:
        return self.total_pj * 1e-9


def energy_of(program: Program, board: Board, interval: float) -> Energy:
    """Of one frame of a compiled Program, its traffic counted job by job.

    `interval`: cycles per frame in steady state, for what runs whether used or not (`Schedule.interval` over the frames
    of a pass). UserError for a board without figures.
    """
    technology = technology_of(board)
    each = program_traffic(program)
    homes = {layer: index for index, part in enumerate(program.chunks) for layer in part.layers}
    chunks = [part.chunk.integers for part in program.chunks]
    link_energy = _link_pj(program, technology)
    moved = sum(traffic.link for traffic in each) or 1.0
    layers = []
    for index, layer in enumerate(program.layers):
        parts = dynamic_pj(each[index], chunks[homes[index]], technology)
        # Every byte of a link at the mean of all: a job may write into links of several sizes.
        parts["links"] = each[index].link * link_energy / moved
        layers.append((layer.name, {name: float(value) for name, value in parts.items()}))
    fetched = dynamic_pj(each[-1], chunks[0], technology)
    layers.append(("program", {name: float(value) for name, value in fetched.items()}))
    return Energy(tuple(layers), _idle(program, board, interval))


def _link_pj(program: Program, technology: Technology) -> float:
    """Of all links in one frame."""
    depths = {(link.writer, link.reader): link.words for link in program.accelerator.links}
    moved = link_traffic(program)
    return sum(size * technology.sram_byte_pj(WORD_BYTES * depths[ends]) for ends, size in moved.items())


def _idle(program: Program, board: Board, interval: float) -> dict[str, float]:
    technology = technology_of(board)
    chunks = [part.chunk.integers for part in program.chunks]
    links = [link_bits(link.words) for link in program.accelerator.links]
    link_mw = technology.sram_um2(sum(links), len(links)) * 1e-6 * technology.sram_leakage_mw_per_mm2
    leaked = sum(leakage_pj(p, technology, board.clock_mhz) for p in chunks) + link_mw * 1e3 / board.clock_mhz
    return {
        "clock": float(interval * sum(clock_pj(p, technology) for p in chunks)),
        "leakage": float(interval * leaked),
    }


def frame_pj(
    traffic: Sequence[Traffic], p: Mapping[str, Tensor], board: Board, interval: Tensor, link_words: Count = LINK_WORDS
) -> Tensor:
    """Energy of a frame of N one-chunk designs, float64 `(N,)`: the layers' traffic and what is idle.

    `traffic`: of each layer, tensors `(N,)`; `p`: the chunks' parameters, `(N,)`; `interval`: cycles per frame.
    UserError for a board without figures.
    """
    technology = technology_of(board)
    parts = dynamic_pj(total(traffic), p, technology, link_words)
    dynamic = sum(torch.as_tensor(value).double() for value in parts.values())
    return dynamic + torch.as_tensor(idle_pj(p, board)).double() * interval.double()
