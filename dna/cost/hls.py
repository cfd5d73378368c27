"""Latency of the HLS C++, estimated from its loop bounds and initiation intervals.

The phases are exact: which jobs run side by side is decided here as in `dna_sequencer.h`, by counters between phases.
What a phase takes is the longest of its processes, each the sum of its loops' trip counts times their interval (1),
plus latencies that only a synthesis could tell and that are assumed below.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from dna.accelerator import tile
from dna.accelerator.chunk import PAGE_INSTRUCTIONS, Chunk, Memories, Memory, port_memory
from dna.accelerator.isa import COMMIT_BITS, COUNTER_BITS, DESTINATIONS, INDEX_BITS, MODES, PASS_BITS, REGIONS
from dna.compile.program import Instruction, Program

QUEUE_JOBS = 8
PLAN_CYCLES = 24
"""Assumed: decoding the heads of the queues, choosing halves, starting and joining the processes of a phase."""
DISPATCH_CYCLES = 2
"""Assumed: one instruction from the page memory into its queue."""
TILE_DEPTH = 24
"""Assumed: stages of the loop over a tile's cycles."""
RUN_CYCLES = 10
"""Assumed: what a run costs beside the memory's latency (address, response, loop entry)."""
BANK_CYCLES = 4
"""Assumed: the same for a run in a bank between chunks, which has no latency to speak of."""

_PATIENCE = 1000
"""Turns without any progress after which nothing is to be expected."""
_RECENT = 4
"""A chunk is at most one phase ahead of what others may see."""

_KINDS = {code: name for name, code in DESTINATIONS.items()}
_WORD = 16


@dataclass(frozen=True)
class HlsLayer:
    """An executed layer of a chunk: the cycle in which its last tile of the first pass is stored."""

    name: str
    chunk: int
    committed: int


@dataclass(frozen=True)
class HlsCycles:
    """The estimate. `cycles`: of all passes, start to end. `phases`: by chunk."""

    cycles: int
    phases: tuple[int, ...]
    layers: tuple[HlsLayer, ...]


def hls_cycles(program: Program, memory: Memories, passes: int = 1) -> HlsCycles:
    """The estimated cycles of `passes` passes of the HLS C++ on a memory of known timing.

    ValueError if the Program does not come to its end.
    """
    accelerator = program.accelerator
    chunks = [
        _Chunk(index, part.chunk, part.instructions, passes, port_memory(memory, accelerator.first_port(index)))
        for index, part in enumerate(program.chunks)
    ]
    idle = 0
    while not all(chunk.done for chunk in chunks):
        now = min((chunk for chunk in chunks if not chunk.done), key=lambda chunk: chunk.time)
        if now.step(chunks):
            idle = 0
            continue
        # It waits for others: until one of them has something new to show, or has had its turn.
        idle += 1
        if idle > _PATIENCE:
            raise ValueError(f"chunk {now.index} stops at instruction {now.pc}")
        now.time = min((when for chunk in chunks for when in chunk.changes_after(now.time)), default=now.time + 1)
    names = [layer.name for layer in program.layers]
    layers = tuple(HlsLayer(names[layer], c.index, when) for c in chunks for layer, when in c.committed_at)
    return HlsCycles(max(chunk.time for chunk in chunks), tuple(chunk.phases for chunk in chunks), layers)


@dataclass
class _Counts:
    """What a chunk has counted, and when others see it."""

    loaded: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("INPUT", "WEIGHT", "RESIDUAL"), 0))
    freed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("INPUT", "WEIGHT", "PARAM", "RESIDUAL"), 0))
    ready: int = 0
    stored: int = 0
    committed: int = 0
    fetched: int = 0


@dataclass
class _Phase:
    """Jobs side by side, and the half of each buffer that the array has."""

    halves: dict[str, bool] = field(default_factory=dict)
    loads: list[Instruction] = field(default_factory=list)
    tile: Instruction | None = None
    store: Instruction | None = None
    new_layer: bool = False

    def port(self, buffer: str, half: bool) -> bool:
        """Whether a port may use that half; the array then has the other one."""
        return self.halves.setdefault(buffer, not half) != half


@dataclass(frozen=True)
class _Job:
    """An instruction in a queue, with what its pass adds to it."""

    instruction: Instruction
    run: int
    offsets: tuple[int, ...]

    def threshold(self, name: str, kind: int) -> int:
        return self.instruction[name] + self.offsets[kind]


class _Chunk:
    """A chunk of the HLS C++: `dna_sequencer.h` again, with time."""

    def __init__(
        self, index: int, chunk: Chunk, instructions: tuple[Instruction, ...], passes: int, memory: Memory
    ) -> None:
        self.index, self.chunk, self.instructions, self.passes, self.memory = index, chunk, instructions, passes, memory
        self.reads: list[deque[_Job]] = [deque() for _ in range(chunk.ports)]
        self.compute: deque[_Job] = deque()
        self.write: deque[_Job] = deque()
        self.counts = _Counts()
        self.offsets: tuple[int, ...] = (0,) * 5
        self.capture = self.layer = Instruction("LAYER")
        self.layer_count = len({job.layer for job in instructions if job.op == "STORE"})
        self.pc = self.pages = self.run = self.phases = self.time = 0
        self.began = self.ended = self.done = False
        self.seen: list[tuple[int, int, int]] = [(0, 0, 0)]
        """Cycle from which on others see `committed` and `fetched`, and both."""
        self.committed_at: list[tuple[int, int]] = []

    # ---- what others see

    def changes_after(self, cycle: int) -> list[int]:
        """Cycles after `cycle` in which others see something new."""
        return [when for when, _, _ in self.seen[-_RECENT:] if when > cycle]

    def visible(self, cycle: int) -> tuple[int, int]:
        return next((done, got) for when, done, got in reversed(self.seen) if when <= cycle)

    # ---- one phase

    def step(self, chunks: list[_Chunk]) -> bool:
        """One phase, if anything can be done."""
        dispatched = 0
        while self._dispatch():
            dispatched += 1
        if self.ended and not any((*self.reads, self.compute, self.write)):
            self.done = True
            return True
        phase = _Phase()
        worked = [self._choose_tile(phase), self._choose_store(phase, chunks)]
        worked += [self._choose_loads(port, phase, chunks) for port in range(self.chunk.ports)]
        if not (dispatched or any(worked)):
            return False
        self.time += PLAN_CYCLES + DISPATCH_CYCLES * dispatched + self._cycles(phase)
        self.phases += 1
        self._finish(phase)
        return True

    def _dispatch(self) -> bool:
        if not self.began:
            if len(self.reads[-1]) == QUEUE_JOBS:
                return False
            fields = {"dest": DESTINATIONS["PROGRAM"], "run": 2 * PAGE_INSTRUCTIONS, "n_inner": 1, "n_outer": 1}
            self.reads[-1].append(_Job(Instruction("LOAD", fields), 0, self.offsets))
            self.began = True
            return True
        if self.ended or self.pc >= self.pages * PAGE_INSTRUCTIONS:
            return False
        job = self.instructions[self.pc]
        if job.op == "END":
            return self._end(job)
        queues = {
            "LOAD": [self.reads[min(job["port"], self.chunk.ports - 1)]],
            "STORE": [self.write],
            "TILE": [self.compute],
            "LAYER": [self.compute, self.reads[0]],
            "WAIT": [self.write if job["engine"] == 2 else self.reads[min(job["engine"], self.chunk.ports - 1)]],
        }[job.op]
        if any(len(queue) == QUEUE_JOBS for queue in queues):
            return False
        for queue in queues:
            queue.append(_Job(job, self.run, self.offsets))
        self.pc += 1
        return True

    def _end(self, job: Instruction) -> bool:
        if self.run + 1 == self.passes:
            self.ended = True
            return False
        if self.counts.committed >> INDEX_BITS != self.run % (1 << PASS_BITS):
            return False
        names = ("inputs", "weights", "params", "residuals", "outputs")
        self.offsets = tuple(offset + job[name] for offset, name in zip(self.offsets, names, strict=True))
        self.run += 1
        self.pc = self.pages = 0
        self.began = False
        return True

    def _wait_over(self, job: _Job, chunks: list[_Chunk]) -> bool:
        wait = job.instruction
        peer = chunks[wait["peer"]]
        own = (self.counts.committed, self.counts.fetched)
        counter = (own if peer is self else peer.visible(self.time))[wait["event"]]
        return _commit_reached(counter, job.run - wait["ago"], wait["index"])

    def _choose_tile(self, phase: _Phase) -> bool:
        while self.compute and self.compute[0].instruction.op == "LAYER":
            self.layer = self.compute.popleft().instruction
            phase.new_layer = True
        if not self.compute:
            return phase.new_layer
        job, counts = self.compute[0], self.counts
        waits = (
            (counts.loaded["INPUT"], "wait_in", 0), (counts.loaded["WEIGHT"], "wait_w", 1),
            (counts.loaded["RESIDUAL"], "wait_res", 3), (counts.stored, "wait_out", 4),
        )  # fmt: skip
        if not all(_reached(counter, job.threshold(name, kind)) for counter, name, kind in waits):
            return phase.new_layer
        phase.tile = self.compute.popleft().instruction
        for buffer, base, depth, used in self._array_uses(phase.tile):
            if used:
                phase.halves[buffer] = base >= tile.slot_words(depth)
        return True

    def _array_uses(self, job: Instruction) -> Iterator[tuple[str, int, int, int]]:
        """Buffer, base, depth, and whether the TILE uses it."""
        chunk, last = self.chunk, job["last"]
        yield "INPUT", job["in_base"], chunk.input_words, 1
        yield "WEIGHT", job["w_base"], chunk.weight_words, 1 - self.layer["ones"]
        yield "PARAM", job["p_base"], chunk.param_words, last
        yield "RESIDUAL", job["out_base"], chunk.output_words, last and self.layer["residual"]
        yield "OUTPUT", job["out_base"], chunk.output_words, last

    def _choose_store(self, phase: _Phase, chunks: list[_Chunk]) -> bool:
        popped = False
        while self.write and self.write[0].instruction.op == "WAIT" and self._wait_over(self.write[0], chunks):
            self.write.popleft()
            popped = True
        if not self.write or self.write[0].instruction.op == "WAIT":
            return popped
        job = self.write[0]
        half = job.instruction["base"] >= tile.slot_words(self.chunk.output_words)
        if not _reached(self.counts.ready, job.threshold("wait_ready", 4)) or not phase.port("OUTPUT", half):
            return popped
        phase.store = self.write.popleft().instruction
        return True

    def _choose_loads(self, port: int, phase: _Phase, chunks: list[_Chunk]) -> bool:
        queue, count, popped, captured = self.reads[port], 0, False, False
        while queue and count < QUEUE_JOBS:
            job = queue[0]
            match job.instruction.op:
                case "WAIT":
                    if not self._wait_over(job, chunks):
                        break
                case "LAYER":
                    if captured:
                        break
                    self.capture = job.instruction
                case _:
                    if not self._can_load(job, phase):
                        break
                    captured = captured or job.instruction["dest"] == DESTINATIONS["INPUT"]
                    phase.loads.append(job.instruction)
                    count += 1
            queue.popleft()
            popped = True
        return popped

    def _can_load(self, job: _Job, phase: _Phase) -> bool:
        load = job.instruction
        kind = _KINDS[load["dest"]]
        if kind == "PROGRAM":
            return True
        index = load["wait_commit"] & ((1 << INDEX_BITS) - 1)
        committed = _commit_reached(self.counts.committed, job.run if index else job.run - 1, index)
        if not committed or not _reached(self.counts.freed[kind], job.threshold("wait_free", load["dest"])):
            return False
        base, depth = load["base"], self.chunk.output_words
        if kind == "INPUT":
            base = (base - load["row0"] * self.capture["row_pitch"] - load["col0"]) % (1 << 14)
            depth = self.chunk.input_words
        elif kind != "RESIDUAL":
            depth = self.chunk.weight_words if kind == "WEIGHT" else self.chunk.param_words
        return phase.port(kind, base >= tile.slot_words(depth))

    def _finish(self, phase: _Phase) -> None:
        counts = self.counts
        for load in phase.loads:
            kind = _KINDS[load["dest"]]
            if kind == "PROGRAM":
                self.pages += 1
                continue
            counts.loaded["WEIGHT" if kind == "PARAM" else kind] += load["signal"]
            if kind in ("INPUT", "RESIDUAL"):
                counts.fetched = _next_event(counts.fetched, load["pass_last"])
        if phase.tile is not None:
            counts.freed["INPUT"] += phase.tile["free_in"]
            counts.freed["WEIGHT"] += phase.tile["free_w"]
            if phase.tile["last"]:
                counts.ready += 1
                counts.freed["PARAM"] += phase.tile["free_w"]
                counts.freed["RESIDUAL"] += self.layer["residual"]
        if phase.store is not None:
            counts.stored += 1
            counts.committed = _next_event(counts.committed, phase.store["pass_last"])
            if phase.store["layer_last"] and len(self.committed_at) < self.layer_count:
                self.committed_at.append((phase.store.layer, self.time))
        self.seen.append((self.time, counts.committed, counts.fetched))

    # ---- what a phase takes

    def _cycles(self, phase: _Phase) -> int:
        """The longest process: each read port's loads, the tile, the store."""
        times = [0, 0]
        for load in phase.loads:
            times[min(load["port"], self.chunk.ports - 1)] += self._runs(load, self.memory.read_latency)
        computing = self.chunk.px if phase.new_layer else 0
        if phase.tile is not None:
            computing += self._tile_cycles(phase.tile) + TILE_DEPTH
        storing = self._runs(phase.store, self.memory.write_latency) if phase.store is not None else 0
        return max(*times, computing, storing)

    def _runs(self, job: Instruction, latency: int) -> int:
        """Runs one after the other: latency, then beats at the pace of the memory or of the bursts in flight."""
        runs = job["n_inner"] * job["n_outer"]
        if job["region"] == REGIONS["CHIP"]:
            return runs * (BANK_CYCLES + job["run"])
        beats = job["run"] * (_WORD // self.chunk.port_bytes)
        bursts = tile.ceil_div(beats, self.chunk.burst_beats)
        # Too few bursts in flight do not hide the latency.
        turn = latency + min(beats, self.chunk.burst_beats) * self.memory.beat_interval
        moved = max(beats * self.memory.beat_interval, (bursts - 1) // self.chunk.outstanding * turn)
        return int(runs * (RUN_CYCLES + latency + moved))

    def _tile_cycles(self, job: Instruction) -> int:
        """Iterations of the loop in `dna_compute.h`."""
        layer = self.layer
        steps = job["steps"] if layer["mode"] == MODES["MIX"] else 1
        mac = tile.mac_cycles(layer["kernel_h"], layer["kernel_w"], steps)
        cycles = tile.compute_cycles(job["groups"], layer["lane_rows"], layer["lane_cols"], mac, job["idle"])
        return int(cycles - job["idle"] + job["last"] * tile.post_cycles(layer["lanes"], job["slices_last"]))


def _reached(counter: int, threshold: int) -> bool:
    return (counter - threshold) % (1 << COUNTER_BITS) < 1 << (COUNTER_BITS - 1)


def _commit_reached(counter: int, run: int, index: int) -> bool:
    value = (run % (1 << PASS_BITS) << INDEX_BITS) + index
    return (counter - value) % (1 << COMMIT_BITS) < 1 << (COMMIT_BITS - 1)


def _next_event(counter: int, pass_last: int) -> int:
    following = ((counter >> INDEX_BITS) + 1) << INDEX_BITS if pass_last else counter + 1
    return following % (1 << COMMIT_BITS)
