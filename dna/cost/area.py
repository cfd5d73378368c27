"""What a chunk costs on a chip: gates, flip-flops and memories, from its parameters alone, and their area.

Everything takes Python ints or int64 tensors of one shape. Memories are macros and follow from the structure
(`dna.generate.asic.memories`); gates and flip-flops are linear in counts of the structure, fitted to open synthesis
of the Verilog by `python -m benchmarks.asic_area --fit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dna.accelerator.chunk import PAGE_INSTRUCTIONS, Accelerator
from dna.accelerator.isa import INSTRUCTION_BITS
from dna.accelerator.registers import SNAPSHOT, STATS_LAYERS
from dna.accelerator.technology import Technology, real
from dna.cost.resources import WORD_BITS, Count, terms

REGISTER_BITS = 32
WORD_BYTES = WORD_BITS // 8


@dataclass(frozen=True)
class LogicCoefficients:
    """Gates (of two inputs), or flip-flops, per unit of what is counted; units as in `dna.cost.resources`."""

    fixed: float
    per_port: float
    per_narrow_port: float
    per_burst: float
    per_accumulator: float
    per_multiplier: float
    """An 8 by 9 bit multiplier with its part of the adder tree."""
    per_held_multiplexer: float
    per_output_channel: float
    per_post_lane: float
    per_residual_lane: float
    """What a post lane with a residual needs more."""
    per_lane: float
    per_operand: float
    per_weight: float
    residual_buffer: float
    per_partial_sum: float


# Least squares on the fitted half of `python -m benchmarks.asic_area --fit`, each part of the hardware on its own:
# Yosys 0.70, synth, dfflibmap and abc for Nangate 45 nm, hierarchy kept; areas over that of NAND2_X1.
GATES = LogicCoefficients(
    fixed=90140.8,
    per_port=26204.7,
    per_narrow_port=37.8,
    per_burst=772.4,
    per_accumulator=1056.9,
    per_multiplier=739.3,
    per_held_multiplexer=0.0,
    per_output_channel=303.7,
    per_post_lane=6573.0,
    per_residual_lane=1633.0,
    per_lane=2263.4,
    per_operand=56.2,
    per_weight=69.5,
    residual_buffer=994.4,
    per_partial_sum=891.7,
)
FLIP_FLOPS = LogicCoefficients(
    fixed=8849.1,
    per_port=2507.8,
    per_narrow_port=1.0,
    per_burst=75.3,
    per_accumulator=87.5,
    per_multiplier=12.2,
    per_held_multiplexer=0.0,
    per_output_channel=50.0,
    per_post_lane=238.0,
    per_residual_lane=35.0,
    per_lane=193.1,
    per_operand=8.9,
    per_weight=8.0,
    residual_buffer=158.0,
    per_partial_sum=32.0,
)


def logic_terms(p: Mapping[str, Count]) -> dict[str, Count]:
    """What each of `LogicCoefficients` multiplies."""
    counted = terms(p)
    own = {
        "per_multiplier": p["oc"] * p["ic"] * p["px"],
        "per_residual_lane": p["post_lanes"] * p["residual"],
    }
    return {name: own[name] if name in own else counted[name] for name in LogicCoefficients.__dataclass_fields__}


def memories(p: Mapping[str, Count]) -> list[tuple[str, Count, Count, Count]]:
    """(use, how many, depth, bits of a word) of every memory of a chunk; none of depth 0."""
    sums_width = REGISTER_BITS * p["oc"]
    wide = (sums_width >= WORD_BITS) * 1
    width = wide * WORD_BITS + (1 - wide) * sums_width
    return [
        ("input", p["px"], p["input_words"], WORD_BITS),
        ("weight", p["oc"] * p["ic"] // WORD_BYTES, p["weight_words"], WORD_BITS),
        ("param", p["post_lanes"] // 2, p["param_words"], WORD_BITS),
        ("output", 1, p["output_words"], WORD_BITS),
        ("residual", p["residual"], p["output_words"], WORD_BITS),
        ("sum", p["px"] * (sums_width // width) * (p["sum_words"] > 0), p["sum_words"], width),
        ("program", INSTRUCTION_BITS // WORD_BITS, 2 * PAGE_INSTRUCTIONS, WORD_BITS),
        ("counters", 1, STATS_LAYERS, REGISTER_BITS * len(SNAPSHOT)),
        ("commits", 1, STATS_LAYERS, REGISTER_BITS),
    ]


def memory_bits(p: Mapping[str, Count]) -> Count:
    """Bits of all memories of a chunk."""
    return sum(count * depth * width for _, count, depth, width in memories(p))


def memory_macros(p: Mapping[str, Count]) -> Count:
    """How many memories a chunk has."""
    return sum(count for _, count, _, _ in memories(p))


def buffer_kb(p: Mapping[str, Count]) -> Count:
    """All memories of a chunk in units of 1024 bytes."""
    return real(memory_bits(p)) / (8 * 1024)


def link_bits(words: Count) -> Count:
    """Bits of a link of so many words."""
    return words * WORD_BITS


def gates(p: Mapping[str, Count]) -> Count:
    """Gate equivalents of a chunk's logic, flip-flops included."""
    return _linear(GATES, p)


def flip_flops(p: Mapping[str, Count]) -> Count:
    """Flip-flops of a chunk; memories have none."""
    return _linear(FLIP_FLOPS, p)


def logic_mm2(p: Mapping[str, Count], technology: Technology) -> Count:
    """Placed area of a chunk's logic."""
    return gates(p) * (technology.gate_um2 / technology.utilisation * 1e-6)


def sram_mm2(p: Mapping[str, Count], technology: Technology) -> Count:
    """Area of a chunk's memories."""
    return technology.sram_um2(memory_bits(p), memory_macros(p)) * 1e-6


def area_mm2(p: Mapping[str, Count], technology: Technology) -> Count:
    """Of a chunk: logic and memories."""
    return logic_mm2(p, technology) + sram_mm2(p, technology)


@dataclass(frozen=True)
class Area:
    """Of an accelerator, mm2, and its on-chip memory."""

    logic_mm2: float
    sram_mm2: float
    buffer_kb: float

    @property
    def total_mm2(self) -> float:
        return self.logic_mm2 + self.sram_mm2


def accelerator_area(accelerator: Accelerator, technology: Technology) -> Area:
    """All chunks and the links between them."""
    each = [chunk.integers for chunk in accelerator.chunks]
    links = [link_bits(link.words) for link in accelerator.links]
    return Area(
        logic_mm2=float(sum(logic_mm2(p, technology) for p in each)),
        sram_mm2=float(sum(sram_mm2(p, technology) for p in each) + technology.sram_um2(sum(links), len(links)) * 1e-6),
        buffer_kb=float(sum(buffer_kb(p) for p in each) + sum(links) / (8 * 1024)),
    )


def _linear(model: LogicCoefficients, p: Mapping[str, Count]) -> Count:
    return sum(getattr(model, name) * real(count) for name, count in logic_terms(p).items())
