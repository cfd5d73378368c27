"""Exact timing of the DMA ports: a recurrence over bursts that mirrors `dna_read_port.v` and `dna_write_port.v`.

Cycle numbers: something happens "in cycle t" when it is sampled at rising clock edge t; a registered signal that is
set at edge t is therefore seen in cycle t + 1. Jobs must be given in the port's order. The memory is `sim/dna_memory.v`
without random stalls, or anything that keeps its timing. Every time depends on earlier ones by maxima and constants
only, so long rows of equal bursts are skipped as soon as they repeat: exact, and fast.

A job's target is memory or on-chip links; a link (`dna_link.v`) is a memory with the timing LINK_MEMORY. When the
target changes, the port lets all bursts under way end first, so no two targets ever work for it at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache

from dna.accelerator.chunk import LINK_MEMORY, Chunk, Memory
from dna.accelerator.isa import REGIONS, WORD_BYTES
from dna.compile.program import Instruction
from dna.cost.bandwidth import Bandwidth

LONG_AGO = -(1 << 60)
"""Cycle of what never happened."""
OUTPUT_READ_LATENCY = 2
"""Cycles from rd_en to rd_data of the output buffer: RD_LATENCY of the write port."""


def burst_words(chunk: Chunk) -> int:
    """Words of 16 bytes in a full burst; bursts never cross a multiple of it."""
    return chunk.burst_beats * chunk.port_bytes // WORD_BYTES


def burst_count(address: int, run: int, words_per_burst: int) -> int:
    """Bursts of one run of `run` words from word `address` on."""
    return (address + run - 1) // words_per_burst - address // words_per_burst + 1


def job_words(job: Instruction) -> int:
    """Words that a LOAD or STORE moves."""
    return job["run"] * job["n_inner"] * job["n_outer"]


def run_bursts(address: int, run: int, words_per_burst: int) -> list[tuple[int, int]]:
    """Bursts of one run as (words, how many in a row): a first part, full ones, a last part."""
    head = min(run, -address % words_per_burst)
    full, tail = divmod(run - head, words_per_burst)
    return [(words, count) for words, count in ((head, 1), (words_per_burst, full), (tail, 1)) if words and count]


def job_bursts(job: Instruction, words_per_burst: int) -> tuple[tuple[int, int], ...]:
    """Bursts of a LOAD or STORE in order, as (words, how many in a row); neighbours of one size are merged."""
    outer = job["n_outer"], job["stride_outer"] % words_per_burst
    inner = job["n_inner"], job["stride_inner"] % words_per_burst
    return _bursts(job["address"] % words_per_burst, job["run"], inner, outer, words_per_burst)


@lru_cache(maxsize=8192)
def _bursts(
    address: int, run: int, inner: tuple[int, int], outer: tuple[int, int], words_per_burst: int
) -> tuple[tuple[int, int], ...]:
    """Only places within a burst matter: tiles, frames and passes have few kinds. Loops are (count, stride)."""
    patterns: dict[int, list[tuple[int, int]]] = {}
    result: list[tuple[int, int]] = []
    words = count = 0
    for row in range(outer[0]):
        for part in range(inner[0]):
            start = (address + row * outer[1] + part * inner[1]) % words_per_burst
            if start not in patterns:
                patterns[start] = run_bursts(start, run, words_per_burst)
            for next_words, next_count in patterns[start]:
                if next_words != words:
                    if count:
                        result.append((words, count))
                    words, count = next_words, 0
                count += next_count
    return (*result, (words, count))


MEMORY_TARGET = -1


def job_target(job: Instruction) -> int:
    """Where a job's bursts go: MEMORY_TARGET, or on chip the peer of a LOAD, the readers of a STORE."""
    if job["region"] != REGIONS["CHIP"]:
        return MEMORY_TARGET
    return job["peer" if job.op == "LOAD" else "readers"]


@dataclass(frozen=True)
class LoadTimes:
    popped: int
    """Cycle with job_valid and job_ready."""
    last_word: int
    """Cycle with word_valid and word_last on the stream."""


@dataclass(frozen=True)
class LayerTimes:
    started: int
    """First cycle with layer_valid."""
    popped: int
    """Cycle with layer_done, job_valid and job_ready."""


@dataclass(frozen=True)
class StoreTimes:
    popped: int
    """Cycle with job_valid and job_ready."""
    stored: int
    """Cycle of the pulse `stored`."""
    committed: int
    """Cycle of `committed_pulse` (and `layer_commit`)."""


class _Port(ABC):
    """What both directions share: the splitter, the address register, the bursts in flight and the target's server."""

    def __init__(self, chunk: Chunk, memory: Memory, shared: Bandwidth | None = None) -> None:
        """`shared`: what the memory has for all ports together; None if it serves this port alone."""
        self.memory = memory
        """Behind the AXI master."""
        self._shared = shared
        self._beat_bytes = chunk.port_bytes
        self._serving = memory
        """Timing of the present target."""
        self._target = MEMORY_TARGET
        self._server_free = LONG_AGO
        """First cycle in which the present target can begin another beat."""
        self._memory_free = LONG_AGO
        """The same of the memory while another target is the present one."""
        self._head = 0
        """First cycle in which the next job can stand at the head of the queue."""
        self._outstanding = chunk.outstanding
        self._burst_words = burst_words(chunk)
        self._beats_per_word = WORD_BYTES // chunk.port_bytes
        self._free = 0
        """First cycle in which the next job can be popped."""
        self._entered = LONG_AGO
        """Cycle in which the last burst entered the address register."""
        self._ends = [LONG_AGO] * chunk.outstanding
        """Cycles of the last beat (read) or the response (write) of the latest bursts, a ring."""
        self._oldest = 0

    @abstractmethod
    def _burst(self, words: int) -> int:
        """Advance the data side by one burst whose address is in `_entered`; returns the cycle of its end."""

    def _state(self) -> list[int]:
        """All cycles that later bursts depend on."""
        oldest = self._oldest
        return [self._entered, self._server_free, *self._ends[oldest:], *self._ends[:oldest]]

    @property
    def state(self) -> list[int]:
        """All cycles that later jobs depend on."""
        return [*self._state(), self._memory_free, self._free, self._head]

    def _shift(self, cycles: int) -> None:
        """Move all of `_state` by some cycles."""
        self._entered += cycles
        self._server_free += cycles
        self._ends = [end + cycles for end in self._ends]

    def _enter(self, words: int) -> None:
        """One burst from the splitter through the address register to its end."""
        slot = self._oldest
        self._entered = max(self._entered, self._ends[slot]) + 1
        self._ends[slot] = self._burst(words)
        self._oldest = (slot + 1) % self._outstanding

    def _move(self, job: Instruction, available: int, waits: int) -> int:
        """Run a job through the port; returns the cycle in which it is popped."""
        popped = max(available, waits, self._free)
        self._head = popped + 1
        self._entered = max(self._entered, popped)
        self._aim(job_target(job))
        for words, count in job_bursts(job, self._burst_words):
            self._repeat(words, count)
        self._free = self._entered
        return popped

    def _aim(self, target: int) -> None:
        """Turn to the target of the next burst. What a link served before never holds up a burst that has drained."""
        if target == self._target:
            return
        self._entered = max(self._entered, self._ends[self._oldest - 1])
        if self._target == MEMORY_TARGET:
            self._memory_free = self._server_free
        on_chip = target != MEMORY_TARGET
        self._server_free = LONG_AGO if on_chip else self._memory_free
        self._serving = LINK_MEMORY if on_chip else self.memory
        self._target = target

    @property
    def _sharing(self) -> Bandwidth | None:
        """The bandwidth that the present target shares with other ports."""
        return self._shared if self._target == MEMORY_TARGET else None

    def _serve(self, first_beat: int, beats: int) -> None:
        """The target moves a burst's beats, the first of them in this cycle or later."""
        if self._sharing is not None:
            self._server_free = self._sharing.serve(first_beat, beats, self._beat_bytes, id(self))
        else:
            self._server_free = first_beat + beats * self._serving.beat_interval

    def wait(self, available: int, reached: int) -> int:
        """Pop a WAIT: at the head input from cycle `available` on, its counter suffices from cycle `reached` on."""
        popped = max(available, reached, self._head)
        self._head = popped + 1
        self._free = max(self._free, self._head)
        return popped

    def _repeat(self, words: int, count: int) -> None:
        """`count` equal bursts. Once a turn of the ring only shifts the state, all further turns shift it alike."""
        turn = self._outstanding
        while count > 2 * turn and self._sharing is None:
            before = self._state()
            self._row(words, turn)
            count -= turn
            cycles = self._entered - before[0]
            if all(now - then == cycles for now, then in zip(self._state(), before, strict=True)):
                turns = count // turn
                self._shift(turns * cycles)
                count -= turns * turn
                break
        if self._sharing is None:
            self._row(words, count)
        else:
            for _ in range(count):
                self._enter(words)

    @abstractmethod
    def _row(self, words: int, count: int) -> None:
        """`_enter` for `count` equal bursts to a target that serves this port alone: the same, in one loop."""


class ReadPort(_Port):
    """`dna_read_port.v` behind its job queue, in front of the memory's read server."""

    def __init__(self, chunk: Chunk, memory: Memory, shared: Bandwidth | None = None) -> None:
        super().__init__(chunk, memory, shared)
        self._last_word = LONG_AGO

    def _burst(self, words: int) -> int:
        interval = self._serving.beat_interval
        first_beat = max(self._entered + 1 + self._serving.read_latency, self._server_free)
        self._serve(first_beat, words * self._beats_per_word)
        return self._server_free - interval

    def _row(self, words: int, count: int) -> None:
        ends, slot, turn, entered, free = self._ends, self._oldest, self._outstanding, self._entered, self._server_free
        latency, interval = 1 + self._serving.read_latency, self._serving.beat_interval
        beats = words * self._beats_per_word * interval
        for _ in range(count):
            end = ends[slot]
            entered = (entered if entered > end else end) + 1
            first_beat = entered + latency
            free = (first_beat if first_beat > free else free) + beats
            ends[slot] = free - interval
            slot = slot + 1 if slot + 1 < turn else 0
        self._oldest, self._entered, self._server_free = slot, entered, free

    def load(self, job: Instruction, available: int, waits: int) -> LoadTimes:
        """Times of a LOAD: at the head input from cycle `available` on, its counters suffice from cycle `waits` on.

        The head input shows a queued job in the cycle after the job before it was popped; `available` need not say so.
        """
        popped = self._move(job, available, waits)
        self._last_word = self._ends[self._oldest - 1] + 1
        return LoadTimes(popped, self._last_word)

    def layer(self, available: int, walk_cycles: int) -> LayerTimes:
        """Times of a LAYER whose layer_done comes `walk_cycles` (0 or more) after the first cycle with layer_valid."""
        started = max(available, self._last_word + 1, self._free) + 1
        self._head = self._free = started + walk_cycles + 1
        return LayerTimes(started, started + walk_cycles)


class WritePort(_Port):
    """`dna_write_port.v` behind its job queue, in front of the memory's write server."""

    def __init__(
        self,
        chunk: Chunk,
        memory: Memory,
        read_latency: int = OUTPUT_READ_LATENCY,
        shared: Bandwidth | None = None,
    ) -> None:
        """`read_latency`: RD_LATENCY of the port, cycles."""
        super().__init__(chunk, memory, shared)
        self._read_latency = read_latency
        self._issued = LONG_AGO
        """Cycle in which the last word was asked for."""

    def _burst(self, words: int) -> int:
        pace, interval = self._beats_per_word, self._serving.beat_interval
        first_issue = max(self._entered + 1, self._issued + pace)
        self._issued = first_issue + (words - 1) * pace
        first_beat = max(first_issue + self._read_latency + 3, self._server_free)
        self._serve(first_beat, words * pace)
        return self._server_free - interval + self._serving.write_latency

    def _row(self, words: int, count: int) -> None:
        ends, slot, turn, entered, free = self._ends, self._oldest, self._outstanding, self._entered, self._server_free
        pace, interval, issued = self._beats_per_word, self._serving.beat_interval, self._issued
        issues, beats, read = (words - 1) * pace, words * pace * interval, self._read_latency + 3
        response = self._serving.write_latency - interval
        for _ in range(count):
            end = ends[slot]
            entered = (entered if entered > end else end) + 1
            first_issue = max(entered + 1, issued + pace)
            issued = first_issue + issues
            first_beat = first_issue + read
            free = (first_beat if first_beat > free else free) + beats
            ends[slot] = free + response
            slot = slot + 1 if slot + 1 < turn else 0
        self._oldest, self._entered, self._server_free, self._issued = slot, entered, free, issued

    def _state(self) -> list[int]:
        return [*super()._state(), self._issued]

    def _shift(self, cycles: int) -> None:
        super()._shift(cycles)
        self._issued += cycles

    def store(self, job: Instruction, available: int, waits: int) -> StoreTimes:
        """Times of a STORE: at the head input from cycle `available` on, `ready` suffices from cycle `waits` on."""
        popped = self._move(job, available, waits)
        committed = self._ends[self._oldest - 1] + 1
        return StoreTimes(popped, self._issued + self._read_latency + 2, committed)
