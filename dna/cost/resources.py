"""What a chunk costs on a 7-series FPGA: DSP, BRAM36, LUT and FF, from its parameters alone.

Everything takes Python ints or int64 tensors of one shape, so that a whole design space is priced in one call.
DSP and block RAM follow from the structure. LUT and FF are a linear model; its coefficients are fitted to open
synthesis of the generated Verilog by `benchmarks/resources.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from dna.accelerator.chunk import PAGE_INSTRUCTIONS, Chunk
from dna.accelerator.isa import INSTRUCTION_BITS

Count = Any
"""An int, or an int64 tensor of designs."""

RAMB18_SHAPES = ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1))
"""Depth and width a half block RAM can have with one read and one write port."""
LUT_RAM_WORDS = 64
"""Memories up to this depth are made of LUTs: a RAM64M holds 64 words of 3 bits in 4 LUTs."""
WORD_BITS = 128


@dataclass(frozen=True)
class Resources:
    """Counts, or tensors of counts, shape `(designs,)`."""

    dsp: Count
    bram36: Count
    lut: Count
    ff: Count

    def as_dict(self) -> dict[str, Count]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


RESOURCES = tuple(f.name for f in fields(Resources))


@dataclass(frozen=True)
class Coefficients:
    """LUT and FF per unit of what is counted; the comments say what the hardware behind the unit is."""

    fixed: float
    """Sequencer, counters, register file, compute control."""
    per_port: float
    """A read engine with its address arithmetic and queues."""
    per_port_byte: float
    """Data path of the DMA: FIFOs, width conversion, per byte of port width and port."""
    per_accumulator: float
    """One output channel of one lane: accumulator, saturation, its place in the post lanes' multiplexer."""
    per_multiplier: float
    """One product: operand registers, and its share of the adder tree."""
    per_lane: float
    """One pixel lane: capture comparators, read address, padding."""
    per_post_lane: float
    """Bias, rounding, shift, clip of one post lane."""
    per_weight_bit: float
    """Distribution of the weight word."""
    per_residual_lane: float
    """The residual's part of a post lane."""


LUT_MODEL = Coefficients(1800.0, 450.0, 20.0, 52.0, 11.0, 110.0, 190.0, 0.4, 40.0)
FF_MODEL = Coefficients(2600.0, 500.0, 24.0, 58.0, 18.0, 150.0, 210.0, 1.0, 60.0)


def ram_half_blocks(depth: Count, bits: int) -> Count:
    """RAMB18 of one memory `bits` wide; 0 where it is shallow enough for LUT RAM."""
    best = None
    for rows, width in RAMB18_SHAPES:
        count = -(-depth // rows) * -(-bits // width)
        best = count if best is None else _smaller(best, count)
    return best * (depth > LUT_RAM_WORDS)


def lut_ram_luts(depth: Count, bits: int) -> Count:
    """LUTs of one memory `bits` wide; 0 where it is deep enough for block RAM."""
    return -(-depth // LUT_RAM_WORDS) * (-(-bits // 3) * 4) * (depth <= LUT_RAM_WORDS)


def resources(chunk: Chunk | Mapping[str, Count]) -> Resources:
    """Resources of a chunk, or of a batch given as a mapping from parameter name to int64 `(designs,)`."""
    p = chunk if isinstance(chunk, Mapping) else {f.name: int(getattr(chunk, f.name)) for f in fields(chunk)}
    memories = (
        (p["input_words"], p["px"]),
        (p["weight_words"], p["oc"] * p["ic"] // 16),
        (p["param_words"], p["post_lanes"] // 2),
        (p["output_words"], 1 + p["residual"]),
    )
    pages = ram_half_blocks(2 * PAGE_INSTRUCTIONS, INSTRUCTION_BITS)
    halves = pages + sum(count * ram_half_blocks(depth, WORD_BITS) for depth, count in memories)
    shallow = sum(count * lut_ram_luts(depth, WORD_BITS) for depth, count in memories)
    return Resources(
        dsp=p["oc"] * p["ic"] * p["px"] + p["post_lanes"] * (1 + p["residual"]),
        bram36=-(-halves // 2),
        lut=_linear(LUT_MODEL, p) + shallow,
        ff=_linear(FF_MODEL, p),
    )


def terms(p: Mapping[str, Count]) -> dict[str, Count]:
    """What each coefficient of the linear model multiplies."""
    return {
        "fixed": 1,
        "per_port": p["ports"],
        "per_port_byte": p["ports"] * p["port_bytes"],
        "per_accumulator": p["oc"] * p["px"],
        "per_multiplier": p["oc"] * p["ic"] * p["px"],
        "per_lane": p["px"],
        "per_post_lane": p["post_lanes"],
        "per_weight_bit": p["oc"] * p["ic"] * 8,
        "per_residual_lane": p["post_lanes"] * p["residual"],
    }


def _linear(model: Coefficients, p: Mapping[str, Count]) -> Count:
    """The model in integer arithmetic: coefficients count in tenths, the sum is rounded up."""
    return -(-sum(round(10 * getattr(model, name)) * count for name, count in terms(p).items()) // 10)


def _smaller(a: Count, b: Count) -> Count:
    """Elementwise minimum of ints or tensors."""
    return min(a, b) if isinstance(a, int) else a.minimum(b)
