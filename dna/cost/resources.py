"""What a chunk costs on a 7-series FPGA: DSP, BRAM36, LUT and FF, from its parameters alone.

Everything takes Python ints or int64 tensors of one shape, so that a whole design space is priced in one call. DSP and
block RAM follow from the structure and are exact for open synthesis. LUT and FF are linear in counts of the structure;
the coefficients are fitted to open synthesis of the Verilog by `python -m benchmarks.resources --fit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from dna.accelerator.chunk import PAGE_INSTRUCTIONS, Accelerator, Chunk
from dna.accelerator.isa import INSTRUCTION_BITS

Count = Any
"""An int, or an int64 tensor of designs."""

WORD_BITS = 128
LUT_RAM_WORDS = 64
"""Memories up to this depth are made of LUTs: four make 32 words of 6 bits, or 64 of 3."""
ROWS = 512
"""Words of a half block RAM at its widest, 36 bits."""
HALVES_PER_ROWS = 4
"""Half blocks that hold 512 words of 128 bits."""
FULL_ROWS, FULL_HALVES = 2048, 15
"""At 9 bits a half block holds 2048 words, and 15 of them suffice for 128 bits, where 4 * 4 would be 16. With byte
writes the ninth bit is idle, and nothing is saved."""


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
    """LUT or FF per unit of what is counted; the comments say what the hardware behind the unit is."""

    fixed: float
    """Sequencer, compute control, capture, lane walks, write port, counters, the buffers' address registers."""
    per_port: float
    """A read port: burst splitter, job queue, records of what is under way."""
    per_narrow_port: float
    """What 8 byte wide ports need more: halves of a word are put together and taken apart."""
    per_burst: float
    """A burst in flight on a read port: its flag is a register."""
    per_accumulator: float
    """One output channel of one lane: sum or maximum, and (FF) the register that holds it for the post lanes."""
    per_multiplier_in_lut: float
    """A multiplier of the array without a DSP: 9 x 8 bits, and (FF) its product."""
    per_adder_in_lut: float
    """An adder of the sum of `ic` products that no DSP makes."""
    per_adder_level_in_lut: float
    """What each of these adders takes more for every level of the sum: it gets wider, and three are added at once."""
    per_dot_bit_in_lut: float
    """One bit of that sum, in a register that no DSP has."""
    per_held_multiplexer: float
    """A four-to-one multiplexer between the held sums and the post lanes, 32 bits of it."""
    per_output_channel: float
    """The sums of one lane, taken out of the held ones."""
    per_post_lane: float
    """Bias, saturation, rounding, shift, clip of one post lane."""
    per_post_lane_in_lut: float
    """What a post lane without a DSP needs more: its multiplier, and the sum of the products."""
    per_residual_lane_in_lut: float
    """The residual's multiplier of a post lane without a DSP."""
    per_lane: float
    """One pixel lane: window comparators, addresses, padding."""
    per_operand: float
    """One activation operand of a lane: shared by all output channels, or one row's own."""
    per_pair: float
    """What two accumulators that share their DSPs need more: their sums are taken apart."""
    per_remainder_bit: float
    """One bit of the high sum's remainder in a pair: log2(ic) of them, registered twice."""
    per_remainder_product: float
    """A bit of one operand times a bit of the other, for that remainder."""
    per_pair_operand: float
    """One operand of two lanes: shared by all output channels, or one row's own."""
    per_weight: float
    """One weight operand's register."""
    per_weight_choice: float
    """In channel modes the kernel tap is chosen from the weights of its row: none with one input channel."""
    residual_buffer: float
    """Addresses of the residual buffer."""
    per_partial_sum: float
    """One output channel of one lane, where partial sums are in a buffer: its sum comes from the buffer or not."""


# Least squares on the fitted half of `python -m benchmarks.resources --fit`, each part of the hardware on its own:
# Yosys 0.70, synth_xilinx -family xc7 -noiopad, hierarchy kept. 0: the term has no such cells.
LUT_MODEL = Coefficients(
    fixed=3321.6,
    per_port=885.7,
    per_narrow_port=54.3,
    per_burst=1.9,
    per_accumulator=52.7,
    per_multiplier_in_lut=40.0,
    per_adder_in_lut=12.7,
    per_adder_level_in_lut=3.7,
    per_dot_bit_in_lut=0.0,
    per_held_multiplexer=24.3,
    per_output_channel=0.0,
    per_post_lane=382.3,
    per_post_lane_in_lut=303.7,
    per_residual_lane_in_lut=131.0,
    per_lane=208.7,
    per_operand=5.8,
    per_pair=14.6,
    per_remainder_bit=0.0,
    per_remainder_product=1.0,
    per_pair_operand=10.0,
    per_weight=0.0,
    per_weight_choice=4.0,
    residual_buffer=27.2,
    per_partial_sum=66.0,
)
FF_MODEL = Coefficients(
    fixed=3330.8,
    per_port=523.6,
    per_narrow_port=24.3,
    per_burst=0.7,
    per_accumulator=64.0,
    per_multiplier_in_lut=17.0,
    per_adder_in_lut=0.0,
    per_adder_level_in_lut=0.0,
    per_dot_bit_in_lut=1.0,
    per_held_multiplexer=0.0,
    per_output_channel=32.0,
    per_post_lane=126.6,
    per_post_lane_in_lut=171.0,
    per_residual_lane_in_lut=37.0,
    per_lane=181.4,
    per_operand=9.5,
    per_pair=0.0,
    per_remainder_bit=2.0,
    per_remainder_product=0.0,
    per_pair_operand=0.0,
    per_weight=8.0,
    per_weight_choice=0.0,
    residual_buffer=154.2,
    per_partial_sum=0.0,
)


def ram_half_blocks(depth: Count, byte_write: bool = False) -> Count:
    """RAMB18 of one memory 128 bits wide; 0 where it is shallow enough for LUT RAM."""
    rest = depth if byte_write else depth % FULL_ROWS
    halves = HALVES_PER_ROWS * -(-rest // ROWS)
    if not byte_write:
        halves = _smaller(halves, FULL_HALVES) + depth // FULL_ROWS * FULL_HALVES
    return halves * (depth > LUT_RAM_WORDS)


def lut_ram_luts(depth: Count, byte_write: bool = False) -> Count:
    """LUTs of one memory 128 bits wide; 0 where it is deep enough for block RAM. Bytes written alone share no cell."""
    narrow, wide = (16 * 2, 16 * 3) if byte_write else (-(-WORD_BITS // 6), -(-WORD_BITS // 3))
    half = LUT_RAM_WORDS // 2
    return 4 * (narrow * (depth <= half) + wide * ((depth > half) & (depth <= LUT_RAM_WORDS)))


def lut_ram_luts_64(depth: Count) -> Count:
    """LUTs of one memory 64 bits wide."""
    half = LUT_RAM_WORDS // 2
    return 4 * (-(-64 // 6) * (depth <= half) + -(-64 // 3) * ((depth > half) & (depth <= LUT_RAM_WORDS)))


def row_choice_luts(depth: Count, byte_write: bool = False) -> Count:
    """LUTs that choose among rows of block RAM, where a depth that is no power of two stacks them to save blocks.

    A whole block is at most 4096 words deep at 9 bits, 8192 at 4, which only byte writes use.
    """
    halves = ram_half_blocks(depth, byte_write)
    full = 16 if byte_write else FULL_HALVES
    stacked = (depth > 1024) & (depth <= 2048) & (halves < full)
    stacked = stacked | (depth > 2048) & (depth <= 4096) & (halves < 2 * full)
    return WORD_BITS * (stacked | (depth > 4096) & (halves < (64 if byte_write else 61)))


def multiplexers(inputs: Count) -> Count:
    """LUTs of one bit chosen from 1 to 256 inputs: a tree of four-to-one multiplexers, one LUT each."""
    total = 0
    for _ in range(4):
        level = -(-inputs // 4)
        total = total + level * (inputs > 1)
        inputs = level
    return total


def resources(chunk: Chunk | Mapping[str, Count]) -> Resources:
    """Resources of a chunk, or of a batch given as a mapping from parameter name to int64 `(designs,)`."""
    p = chunk if isinstance(chunk, Mapping) else chunk.integers
    memory = memory_resources(p)
    return Resources(
        dsp=p["oc"] * p["ic"] * (p["px"] - _pairs(p)) * (1 - p["mac_in_lut"])
        + p["post_lanes"] * (1 + p["residual"]) * (1 - p["post_in_lut"]),
        bram36=memory.bram36,
        lut=_linear(LUT_MODEL, p) + memory.lut,
        ff=_linear(FF_MODEL, p) + memory.ff,
    )


def memory_resources(p: Mapping[str, Count]) -> Resources:
    """Block RAM of all memories; LUTs of those made of LUTs, with their output registers, and of stacked ones."""
    written_whole = (
        (p["input_words"], p["px"]),
        (p["weight_words"], p["oc"] * p["ic"] // 16),
        (p["param_words"], p["post_lanes"] // 2),
        (p["output_words"], p["residual"]),
        (p["sum_words"], p["px"] * (p["oc"] // 4) * (p["sum_words"] > 0)),
    )
    program = ram_half_blocks(2 * PAGE_INSTRUCTIONS) * (INSTRUCTION_BITS // WORD_BITS)
    halves = program + ram_half_blocks(p["output_words"], byte_write=True)
    luts = lut_ram_luts(p["output_words"], byte_write=True) + row_choice_luts(p["output_words"], byte_write=True)
    registers = WORD_BITS * (p["output_words"] <= LUT_RAM_WORDS)
    for depth, count in written_whole:
        halves = halves + count * ram_half_blocks(depth)
        luts = luts + count * (lut_ram_luts(depth) + row_choice_luts(depth))
        registers = registers + count * WORD_BITS * (depth <= LUT_RAM_WORDS)
    # With two output channels, a word of partial sums has 64 bits: half of what 128 bits of single bytes take.
    sums, count = p["sum_words"], p["px"] * (p["oc"] < 4) * (p["sum_words"] > 0)
    halves = halves + count * (ram_half_blocks(sums, byte_write=True) // 2)
    luts = luts + count * (lut_ram_luts_64(sums) + row_choice_luts(sums, byte_write=True) // 2)
    registers = registers + count * WORD_BITS // 2 * (sums <= LUT_RAM_WORDS)
    return Resources(dsp=0, bram36=-(-halves // 2), lut=luts, ff=registers)


def terms(p: Mapping[str, Count]) -> dict[str, Count]:
    """What each coefficient of the linear model multiplies."""
    oc, ic, px, post = p["oc"], p["ic"], p["px"], p["post_lanes"]
    pairs, in_lut = _pairs(p), p["post_in_lut"]
    dots_in_lut = oc * px * p["mac_in_lut"]
    bits = (ic > 1) * 1 + (ic > 2) * 1 + (ic > 4) * 1 + (ic > 8) * 1
    own = oc * (oc < 16) + 16 * (oc >= 16)
    return {
        "fixed": 1,
        "per_port": p["ports"],
        "per_narrow_port": (16 - p["port_bytes"]) // 8 * p["ports"],
        "per_burst": p["ports"] * p["outstanding"],
        "per_accumulator": oc * px,
        "per_multiplier_in_lut": dots_in_lut * ic,
        "per_adder_in_lut": dots_in_lut * (ic - 1),
        "per_adder_level_in_lut": dots_in_lut * (ic - 1) * bits,
        "per_dot_bit_in_lut": dots_in_lut * (17 + bits),
        "per_held_multiplexer": oc * multiplexers(px) + post * multiplexers(oc // post),
        "per_output_channel": oc,
        "per_post_lane": post,
        "per_post_lane_in_lut": post * in_lut,
        "per_residual_lane_in_lut": post * in_lut * p["residual"],
        "per_lane": px,
        "per_operand": px * (ic + own),
        "per_pair": oc * pairs,
        "per_remainder_bit": oc * pairs * bits,
        "per_remainder_product": oc * pairs * ic * bits * bits,
        "per_pair_operand": pairs * (ic - 1 + own),
        "per_weight": oc * ic,
        "per_weight_choice": oc * ic * (ic > 1),
        "residual_buffer": p["residual"],
        "per_partial_sum": oc * px * (p["sum_words"] > 0),
    }


def _pairs(p: Mapping[str, Count]) -> Count:
    """Pairs of pixel lanes that share DSPs."""
    return p["px"] // 2 * p["packed"]


def _linear(model: Coefficients, p: Mapping[str, Count]) -> Count:
    """The model in integer arithmetic: coefficients count in tenths, the sum is rounded up."""
    return -(-sum(round(10 * getattr(model, name)) * count for name, count in terms(p).items()) // 10)


def _smaller(a: Count, b: int) -> Count:
    """Elementwise minimum of an int or a tensor with a number."""
    return min(a, b) if isinstance(a, int) else a.clamp(max=b)


def accelerator_resources(accelerator: Accelerator) -> dict[str, int]:
    """What all chunks and the banks between them need, by resource (`RESOURCES`)."""
    each = [resources(chunk) for chunk in accelerator.chunks]
    total = {name: sum(int(getattr(one, name)) for one in each) for name in RESOURCES}
    total["bram36"] += sum(-(-int(ram_half_blocks(link.words)) // 2) for link in accelerator.links)
    return total
