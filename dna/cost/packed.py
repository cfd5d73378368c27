"""The exact schedule for searches: a Program laid out once, scheduled on many memories in milliseconds.

Figures are those of `dna.cost.schedule.schedule`, to the cycle: `schedule.c` walks the same recurrence. Where it cannot
be built, that schedule itself is used.
"""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.chunk import LINK_MEMORY, Memories, Memory, port_memory
from dna.accelerator.isa import OPCODES, WORD_BYTES
from dna.compile.program import ChunkProgram, Instruction, Program
from dna.cost.native import library
from dna.cost.ports import burst_words, job_target
from dna.cost.schedule import CAUSES, Causes, ChunkSchedule, LayerSchedule, Schedule, schedule

Ints = NDArray[np.int64]
WIDTH = 13
"""Values of an instruction."""
_BLOCK = ("address", "run", "n_inner", "stride_inner", "n_outer", "stride_outer")
_LAYER = ("kernel_h", "kernel_w", "lane_rows", "lane_cols", "lanes", "residual")
_TILE = ("groups", "steps", "idle", "free_in", "free_w", "last", "slices_last")
_FIELDS = {
    "LOAD": ("port", "dest", "wait_commit", "wait_free", "signal", "target", *_BLOCK),
    "STORE": ("wait_ready", "layer_last", "", "", "", "target", *_BLOCK),
    "LAYER": _LAYER,
    "TILE": (*_TILE, "wait_in", "wait_w", "wait_res", "wait_out", "layer_last"),
    "WAIT": ("engine", "event", "peer", "ago", "index"),
    "END": ("inputs", "weights", "params", "residuals", "outputs"),
}
_NAMES = {op: (*names, *[""] * (WIDTH - 1 - len(names))) for op, names in _FIELDS.items()}
_TARGET = 6
"""Place of `dna.cost.ports.job_target` in a LOAD and a STORE."""


@dataclass(frozen=True, eq=False)
class Packed:
    """A Program as numbers."""

    program: Program
    figures: Ints = field(repr=False)
    """`(chunks, 8)`: see `schedule.c`."""
    parts: tuple[Ints, ...] = field(repr=False)
    """By chunk `(instructions * WIDTH,)`."""
    rows: Ints = field(repr=False)
    """All of them."""
    order: NDArray[np.int32] = field(repr=False)
    """Chunk of each step of a pass."""


def packed(program: Program, earlier: Packed | None = None) -> Packed:
    """The Program, ready to be scheduled many times. `earlier`: one that may have some of its chunks."""
    figures = [_figures(chunk) for chunk in program.chunks]
    known = list(zip(earlier.program.chunks, earlier.parts, strict=True)) if earlier else []
    parts = []
    for chunk in program.chunks:
        same = next((part for other, part in known if other is chunk), None)
        parts.append(_rows(chunk) if same is None else same)
    order = np.array(program.order, np.int32)
    return Packed(program, np.array(figures, np.int64), tuple(parts), np.concatenate(parts), order)


def _rows(program: ChunkProgram) -> Ints:
    values = array("q", chain.from_iterable(map(_row, program.instructions)))
    return np.frombuffer(values, np.int64)


def _figures(program: ChunkProgram) -> list[int]:
    chunk = program.chunk
    return [
        len(program.instructions),
        chunk.px,
        chunk.weight_port,
        chunk.ports,
        burst_words(chunk),
        chunk.outstanding,
        WORD_BYTES // chunk.port_bytes,
        len(program.layers),
    ]


def _row(job: Instruction) -> list[int]:
    get: Callable[[str, int], int] = job.values.get
    row = [OPCODES[job.op], *[get(name, 0) for name in _NAMES[job.op]]]
    if job.op in ("LOAD", "STORE"):
        row[_TARGET] = job_target(job)
    return row


def schedule_packed(given: Packed, memories: Memories, passes: int = 1) -> Schedule:
    """What `schedule` gives for the Program, but for the times of its tiles (`ChunkSchedule.tiles` is empty)."""
    if passes < 1:
        raise ValueError(f"passes is {passes}; it must be at least 1")
    native, program = library(), given.program
    if native is None:
        return schedule(program, memories, passes)
    chunks, layers = len(program.chunks), sum(len(chunk.layers) for chunk in program.chunks)
    ports = sum(chunk.chunk.ports for chunk in program.chunks)
    timing = np.array([_timing(port_memory(memories, port)) for port in range(ports)], np.int64)
    width = 1 + len(CAUSES)
    ends, commits = np.zeros(passes, np.int64), np.zeros(layers, np.int64)
    totals, computed = np.zeros((chunks, width), np.int64), np.zeros((layers, width), np.int64)
    link = np.array(_timing(LINK_MEMORY), np.int64)
    failed = native.dna_schedule(
        ctypes.c_int64(chunks),
        *(_pointer(values) for values in (given.figures, given.rows, timing, link, given.order)),
        ctypes.c_int64(len(given.order)),
        ctypes.c_int64(passes),
        *(_pointer(values) for values in (ends, totals, computed, commits)),
    )
    if failed:  # it is not one that ends: why, the other one says
        return schedule(program, memories, passes)
    return _schedule(program, ends.tolist(), totals.tolist(), computed.tolist(), commits.tolist())


def _timing(memory: Memory) -> tuple[int, int, int]:
    return memory.read_latency, memory.beat_interval, memory.write_latency


def _pointer(values: NDArray[np.int64] | NDArray[np.int32]) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.ctypes.data)


def _schedule(
    program: Program,
    ends: Sequence[int],
    totals: Sequence[Sequence[int]],
    computed: Sequence[Sequence[int]],
    commits: Sequence[int],
) -> Schedule:
    """The results by chunk and layer."""
    names = [layer.name for layer in program.layers]
    layers: dict[int, LayerSchedule] = {}
    chunks, at = [], 0
    for chunk, (done, *counts) in zip(program.chunks, totals, strict=True):
        before = Causes()
        for layer in chunk.layers:
            now = Causes(*computed[at][1:])
            layers[layer] = LayerSchedule(names[layer], computed[at][0], commits[at], now.minus(before))
            before, at = now, at + 1
        own = tuple(layers[layer] for layer in chunk.layers)
        chunks.append(ChunkSchedule(done, own, Causes(*counts), ()))
    everything = tuple(layers[index] for index in range(len(names)))
    return Schedule(max(chunk.cycles for chunk in chunks), tuple(ends), program.frames, tuple(chunks), everything)
