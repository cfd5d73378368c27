"""The Program's instruction set: the one definition that compiler, schedule, RTL and documents share.

An instruction is 256 bits, stored as two 128-bit words, least significant first. A field's position follows
from the order of its list; the RTL's `isa.vh` and the table in `docs/program.md` are generated from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

INSTRUCTION_BITS = 256
INSTRUCTION_BYTES = INSTRUCTION_BITS // 8
WORD_BYTES = 16
"""A word: 16 channels of one pixel, the unit of every address and stream."""
COUNTER_BITS = 12
"""Buffer counters wrap: comparisons are modular (difference below half the range)."""
INDEX_BITS = 20
"""`committed` and `fetched` count jobs of one pass in this many bits."""
PASS_BITS = 4
"""Above the index stands the pass, modulo 16."""
COMMIT_BITS = PASS_BITS + INDEX_BITS
"""Width of `committed` and `fetched`: {pass, index}, compared modulo 2^24."""


@dataclass(frozen=True)
class Field:
    name: str
    bits: int
    meaning: str
    signed: bool = False


OPCODES = {"END": 0, "LOAD": 1, "STORE": 2, "LAYER": 3, "TILE": 4, "WAIT": 5}
DESTINATIONS = {"INPUT": 0, "WEIGHT": 1, "PARAM": 2, "RESIDUAL": 3, "PROGRAM": 4}
MODES = {"MIX": 0, "CHANNEL": 1, "MAX": 2}
REGIONS = {"PROGRAM": 0, "INPUT": 1, "OUTPUT": 2, "WORK": 3, "CHIP": 4}
"""PROGRAM to WORK: memory, relative to a base register. CHIP: on-chip activation memory (`Link`)."""
ENGINES = {"READ0": 0, "READ1": 1, "WRITE": 2}
"""Engines that execute WAIT."""
EVENTS = {"COMMITTED": 0, "FETCHED": 1}
"""What a WAIT looks at: STOREs committed, or LOADs of INPUT and RESIDUAL complete, of one chunk."""

_DMA = (
    Field("region", 3, "base register the address is relative to, or CHIP"),
    Field("address", 28, "first word, in words of 16 bytes; CHIP: modulo the bank's depth"),
    Field("run", 16, "words in one contiguous run"),
    Field("n_inner", 12, "runs in the inner loop"),
    Field("stride_inner", 24, "words from run to run"),
    Field("n_outer", 12, "repetitions of the inner loop"),
    Field("stride_outer", 24, "words from repetition to repetition"),
    Field("base", 14, "first address in the buffer; INPUT: address of the first word for lane (0, 0), modulo 2^14"),
)

FIELDS: dict[str, tuple[Field, ...]] = {
    "END": (
        Field("op", 4, "opcode"),
        Field("inputs", COUNTER_BITS, "input tiles of one pass: what the thresholds of the next pass are higher by"),
        Field("weights", COUNTER_BITS, "weight tiles of one pass"),
        Field("params", COUNTER_BITS, "parameter tiles of one pass"),
        Field("residuals", COUNTER_BITS, "residual tiles of one pass"),
        Field("outputs", COUNTER_BITS, "output tiles of one pass"),
    ),
    "LOAD": (
        Field("op", 4, "opcode"),
        Field("port", 1, "read port that executes the job"),
        Field("dest", 3, "buffer that is filled"),
        *_DMA,
        Field("cols", 10, "INPUT: real columns of the tile"),
        Field("groups", 12, "INPUT: channel groups (words) per pixel"),
        Field("row0", 10, "INPUT: tile row of the first real row (rows above are padding)"),
        Field("col0", 10, "INPUT: tile column of the first real column"),
        Field("signal", 1, "count this job as loaded when it is complete"),
        Field("wait_free", COUNTER_BITS, "start when the buffer's count of freed tiles is at least this"),
        Field("wait_commit", COMMIT_BITS, "start when at least this many STOREs of this chunk and pass are committed"),
        Field("peer", 4, "CHIP: chunk that writes the bank"),
        Field("pass_last", 1, "INPUT, RESIDUAL: last one of the pass; `fetched` goes on to the next pass"),
        Field("buffer", 2, "INPUT region: which base register; written by the sequencer"),
    ),
    "STORE": (
        Field("op", 4, "opcode"),
        *_DMA,
        Field("wait_ready", COUNTER_BITS, "start when at least this many output tiles are ready"),
        Field("layer_last", 1, "last job of its layer: record the commit time"),
        Field("readers", 16, "CHIP: chunks into whose banks it is written, one bit each"),
        Field("pass_last", 1, "last STORE of the pass: `committed` goes on to the next pass"),
        Field("buffer", 2, "OUTPUT region: which base register; written by the sequencer"),
    ),
    "LAYER": (
        Field("op", 4, "opcode"),
        Field("mode", 2, "MIX: all channels; CHANNEL: each its own, sums; MAX: each its own, maximum"),
        Field("ones", 1, "every weight is 1: the weight buffer is not read"),
        Field("in_signed", 1, "input bytes are two's complement"),
        Field("pad_value", 8, "byte outside the image"),
        Field("kernel_h", 10, "kernel rows"),
        Field("kernel_w", 10, "kernel columns"),
        Field("stride_h", 4, "stride in rows"),
        Field("stride_w", 4, "stride in columns"),
        Field("lane_rows", 10, "output rows of one pixel lane's rectangle"),
        Field("lane_cols", 10, "output columns of one pixel lane's rectangle"),
        Field("lanes_x", 8, "lanes side by side"),
        Field("lanes", 8, "active lanes (side by side times one above the other)"),
        Field("window_h", 10, "input rows of one lane: (lane_rows - 1) * stride_h + kernel_h"),
        Field("window_w", 10, "input columns of one lane"),
        Field("step_y", 10, "input rows from lane to lane: lane_rows * stride_h"),
        Field("step_x", 10, "input columns from lane to lane"),
        Field("row_pitch", 14, "lane words from window row to window row: channel groups of a (full) slice * window_w"),
        Field("lane_row_pitch", 14, "lane words from lane row to lane row, modulo 2^14: step_y * row_pitch"),
        Field("slices", 8, "post cycles per lane and group of output channels"),
        Field("lo", 9, "lower clip bound", signed=True),
        Field("hi", 9, "upper clip bound", signed=True),
        Field("residual", 1, "add the residual tile"),
        Field("res_signed", 1, "residual bytes are two's complement"),
        Field("res_multiplier", 17, "multiplier of the residual"),
    ),
    "TILE": (
        Field("op", 4, "opcode"),
        Field("in_base", 14, "first address of the tile in the lanes' input buffers"),
        Field("w_base", 14, "first address in the weight buffer"),
        Field("p_base", 14, "first address in the parameter buffer"),
        Field("out_base", 14, "first address in the output and residual buffers"),
        Field("steps", 12, "ic-wide steps over the channels per kernel position; CHANNEL and MAX: 1"),
        Field("groups", 10, "groups of output channels"),
        Field("row_lo", 10, "first tile row inside the image"),
        Field("row_hi", 10, "first tile row below the image"),
        Field("col_lo", 10, "first tile column inside the image"),
        Field("col_hi", 10, "first tile column right of the image"),
        Field("out_rows", 10, "output rows to keep"),
        Field("out_cols", 10, "output columns to keep; also words from channel group to channel group"),
        Field("out_pitch", 14, "output words from row to row: channel groups * out_cols"),
        Field("lane_pitch", 14, "output words from lane row to lane row: lane_rows * out_pitch"),
        Field("slices_last", 8, "post cycles per lane in the last group of output channels"),
        Field("first", 1, "start from zero (else go on with the sums of the previous tile)"),
        Field("last", 1, "hand the sums to the post lanes"),
        Field("idle", 10, "cycles to wait after each pixel, for the post lanes"),
        Field("wait_in", COUNTER_BITS, "start when at least this many input tiles are loaded"),
        Field("wait_w", COUNTER_BITS, "start when at least this many weight tiles are loaded"),
        Field("wait_res", COUNTER_BITS, "start when at least this many residual tiles are loaded"),
        Field(
            "wait_out", COUNTER_BITS, "start when at least this many output tiles were stored (read out of the buffer)"
        ),
        Field("free_in", 1, "the input tile is free after this"),
        Field("free_w", 1, "the weight tile is free after this"),
        Field("layer_last", 1, "last tile of its layer: record the counters"),
        Field("pass_last", 1, "last tile of the pass"),
    ),
    "WAIT": (
        Field("op", 4, "opcode"),
        Field("engine", 2, "engine that waits: READ0, READ1, WRITE"),
        Field("peer", 4, "chunk whose counter is looked at; its own is legal"),
        Field("event", 1, "COMMITTED or FETCHED"),
        Field("ago", 2, "passes before the present one"),
        Field("index", INDEX_BITS, "go on when the counter has reached this index of that pass"),
        Field("pass", PASS_BITS, "the present pass minus `ago`; written by the sequencer"),
    ),
}


def offsets(opcode: str) -> dict[str, int]:
    """Bit position of each field's least significant bit."""
    position, result = 0, {}
    for field in FIELDS[opcode]:
        result[field.name] = position
        position += field.bits
    if position > INSTRUCTION_BITS:
        raise ValueError(f"{opcode} needs {position} bits, an instruction has {INSTRUCTION_BITS}")
    return result


@cache
def field_limit(opcode: str, name: str) -> int:
    """Largest value the field can hold."""
    (field,) = (f for f in FIELDS[opcode] if f.name == name)
    return (1 << (field.bits - int(field.signed))) - 1
