"""The exact schedule: the cycle of every job of a Program, as the RTL takes it (contract 2).

The instructions of all chunks are walked in the Program's serial order, pass after pass: engines keep that order and a
job waits only for events of earlier jobs. Everything is a maximum of earlier times plus constants; the constants
stand beside what they describe, in the headers of the RTL modules. Cycle 0 is the cycle of the start pulse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dna.accelerator.chunk import Memories, Memory, port_memory
from dna.accelerator.isa import DESTINATIONS, ENGINES, EVENTS
from dna.accelerator.tile import compute_cycles, mac_cycles, post_cycles
from dna.compile.deadlock import RECENT
from dna.compile.program import ChunkProgram, Instruction, Program
from dna.cost.bandwidth import Bandwidth
from dna.cost.counters import Counter, PassCounter, Queue
from dna.cost.dispatch import Sequencer
from dna.cost.ports import ReadPort, WritePort

CAPTURE_STAGES = 6
"""Cycles from a tile's last MAC cycle to the capture of its sums (dna_compute.v)."""
POST_STAGES = 7
"""Cycles from a slice's drain cycle to its write (dna_post.v)."""
CAUSES = ("busy", "wait_input", "wait_weight", "wait_residual", "wait_output", "wait_job")


@dataclass(frozen=True)
class Causes:
    """Cycles of the compute engine by what it did or waited for; they add up to all cycles.

    `busy`: MAC cycles. `wait_input`, `wait_weight`, `wait_residual`: the tile's operands are still loading.
    `wait_output`: no free output slot, or too few post lanes. `wait_job`: no job, a LAYER, or the start of a tile.
    """

    busy: int = 0
    wait_input: int = 0
    wait_weight: int = 0
    wait_residual: int = 0
    wait_output: int = 0
    wait_job: int = 0

    def minus(self, other: Causes) -> Causes:
        return Causes(*(getattr(self, name) - getattr(other, name) for name in CAUSES))

    @property
    def total(self) -> int:
        return sum(getattr(self, name) for name in CAUSES)


@dataclass(frozen=True)
class LayerSchedule:
    """One layer: the cycles of the RTL's two events, and the causes since the layer before was computed."""

    name: str
    computed: int
    committed: int
    causes: Causes


@dataclass(frozen=True)
class TileTimes:
    """One TILE: popped from the queue, last MAC cycle (pauses included), and output ready (0 without `last`)."""

    layer: int
    popped: int
    ended: int
    ready: int


@dataclass(frozen=True)
class ChunkSchedule:
    """What one chunk's counters show."""

    cycles: int
    """From the start pulse to the chunk's done."""
    layers: tuple[LayerSchedule, ...]
    """Its layers in the first pass, in the order of `ChunkProgram.layers`."""
    causes: Causes
    """Of all passes, until its done."""
    tiles: tuple[TileTimes, ...] = field(repr=False)
    """Of the first pass."""


@dataclass(frozen=True)
class Schedule:
    """All that the RTL's counters show."""

    cycles: int
    """From the start pulse to the done of the last chunk."""
    pass_ends: tuple[int, ...]
    """By pass: the first cycle in which every chunk shows all its STOREs of the pass as committed."""
    frames: int
    """Frames per pass."""
    chunks: tuple[ChunkSchedule, ...]
    layers: tuple[LayerSchedule, ...]
    """All executed layers in the first pass, in the Program's order."""

    @property
    def causes(self) -> Causes:
        """Of the only chunk; ValueError if there are several."""
        (only,) = self.chunks
        return only.causes

    @property
    def tiles(self) -> tuple[TileTimes, ...]:
        """Of the only chunk; ValueError if there are several."""
        (only,) = self.chunks
        return only.tiles

    @property
    def interval(self) -> int:
        """Cycles from the end of the last pass but one to the end of the last: `frames` per interval is the
        throughput in steady state. Of a single pass: its cycles, for nothing overlaps."""
        return self.pass_ends[-1] - self.pass_ends[-2] if len(self.pass_ends) > 1 else self.cycles

    @property
    def latency(self) -> int:
        """Cycles of one frame that has the accelerator for itself; ValueError if there were more frames."""
        if self.frames * len(self.pass_ends) != 1:
            raise ValueError(f"{self.frames} frames in each of {len(self.pass_ends)} passes: none was alone")
        return self.cycles


class _ChunkTimes:
    """The recurrence's state of one chunk. One method per opcode; each is called in serial order."""

    def __init__(
        self,
        program: ChunkProgram,
        ports: Sequence[Memory],
        peers: Sequence[_ChunkTimes],
        shared: Bandwidth | None = None,
    ) -> None:
        """`ports`: the memory behind each port. `peers`: all chunks, this one too; complete before the first `step`."""
        chunk = program.chunk
        self.program, self.chunk, self.peers = program, chunk, peers
        self.sequencer = Sequencer(0)
        self.reads = [ReadPort(chunk, memory, shared) for memory in ports]
        self.write = WritePort(chunk, ports[0], shared=shared)
        self.read_queues = [Queue() for _ in ports]
        self.compute_queue, self.write_queue = Queue(), Queue()
        self.loaded = {name: Counter() for name in ("INPUT", "WEIGHT", "RESIDUAL")}
        self.freed = {name: Counter() for name in ("INPUT", "WEIGHT", "PARAM", "RESIDUAL")}
        self.ready, self.stored = Counter(), Counter()
        fetches = sum(job.op == "LOAD" and job["dest"] in _FETCHED for job in program.instructions)
        self.committed = PassCounter(sum(job.op == "STORE" for job in program.instructions))
        self.fetched = PassCounter(fetches)
        self.look_back = 1 + max((job["ago"] for job in program.instructions if job.op == "WAIT"), default=0)
        self.offsets = dict.fromkeys(_TOTALS, 0)
        self.number = self.at = 0
        """The present pass, and the next instruction in it."""
        self.layer = Instruction("LAYER")
        self.free = 1
        self.drained = 0
        self.quiet = 0
        self.done = 0
        self.counts = dict.fromkeys(CAUSES, 0)
        self.computed: list[tuple[int, Causes]] = []
        self.commits: list[int] = []
        self.tiles: list[TileTimes] = []
        self.bootstrap = Instruction("LOAD", {**_BOOTSTRAP, "port": chunk.weight_port})
        self._load(self.bootstrap)

    def step(self, final: bool) -> None:
        """The next instruction; `final`: this is the last pass."""
        job = self.program.instructions[self.at]
        self.at += 1
        match job.op:
            case "LOAD":
                self._load(job)
            case "STORE":
                self._store(job)
            case "LAYER":
                self._set_layer(job)
            case "TILE":
                self._tile(job)
            case "WAIT":
                self._wait(job)
            case _ if final:
                self.done = self.sequencer.finish(self.quiet)
                self.counts["wait_job"] += self.done - self.free
            case _:
                self._next_pass(job)

    def _next_pass(self, job: Instruction) -> None:
        self.sequencer.next_pass(self.committed.reached(self.number, 0))
        for name in _TOTALS:
            self.offsets[name] += job[name]
        self.number, self.at = self.number + 1, 0
        self._load(self.bootstrap)

    def _load(self, job: Instruction) -> None:
        port = job["port"]
        queue = self.read_queues[port]
        dispatched = self.sequencer.dispatch(queue.ready)
        dest = _DESTINATION[job["dest"]]
        commits = job["wait_commit"]
        waits = self.committed.reached(self.number, commits) if commits else 0
        if dest in self.freed:
            waits = max(waits, self.freed[dest].reached(job["wait_free"] + self.offsets[_TOTAL_OF[dest]]))
        times = self.reads[port].load(job, queue.visible(dispatched), waits)
        queue.pops.append(times.popped)
        self.quiet = max(self.quiet, times.last_word + 1)
        if dest == "PROGRAM":
            self.sequencer.page_loaded(times.last_word)
        elif job["signal"]:
            self.loaded["WEIGHT" if dest == "PARAM" else dest].event(times.last_word)
        if job["dest"] in _FETCHED:
            self.fetched.event(times.last_word)

    def _store(self, job: Instruction) -> None:
        dispatched = self.sequencer.dispatch(self.write_queue.ready)
        waits = self.ready.reached(job["wait_ready"] + self.offsets["outputs"])
        times = self.write.store(job, self.write_queue.visible(dispatched), waits)
        self.write_queue.pops.append(times.popped)
        self.stored.event(times.stored)
        self.committed.event(times.committed)
        self.quiet = max(self.quiet, times.committed + 1)
        if job["layer_last"] and not self.number:
            self.commits.append(times.committed)

    def _wait(self, job: Instruction) -> None:
        write = job["engine"] == ENGINES["WRITE"]
        queue = self.write_queue if write else self.read_queues[job["engine"]]
        dispatched = self.sequencer.dispatch(queue.ready)
        peer = self.peers[job["peer"]]
        counter = peer.fetched if job["event"] == EVENTS["FETCHED"] else peer.committed
        reached = counter.reached(self.number - job["ago"], job["index"])
        available = queue.visible(dispatched)
        popped = (self.write if write else self.reads[job["engine"]]).wait(available, reached)
        queue.pops.append(popped)
        self.quiet = max(self.quiet, popped + 1)

    def _set_layer(self, job: Instruction) -> None:
        dispatched = self.sequencer.dispatch(max(self.read_queues[0].ready, self.compute_queue.ready))
        walk = self.chunk.px + 1
        queue = self.read_queues[0]
        queue.pops.append(self.reads[0].layer(queue.visible(dispatched), walk).popped)
        queue = self.compute_queue
        popped = max(queue.visible(dispatched), self.free, self.drained) + walk
        queue.pops.append(popped)
        self.counts["wait_job"] += popped + 1 - self.free
        self.free = popped + 1
        self.layer = job

    def _tile(self, job: Instruction) -> None:
        queue = self.compute_queue
        dispatched = self.sequencer.dispatch(queue.ready)
        start = self._start(job, max(queue.visible(dispatched), self.free))
        queue.pops.append(start)
        layer = self.layer
        pixels = job["groups"] * layer["lane_rows"] * layer["lane_cols"]
        mac = mac_cycles(layer["kernel_h"], layer["kernel_w"], job["steps"])
        cycles = compute_cycles(job["groups"], layer["lane_rows"], layer["lane_cols"], mac, job["idle"])
        self.counts["busy"] += pixels * mac
        self.counts["wait_output"] += pixels * job["idle"]
        end = start + cycles
        self.free = end + 1
        if job["free_in"]:
            self.freed["INPUT"].event(end)
        if job["free_w"]:
            self.freed["WEIGHT"].event(end)
        captured = end - job["idle"] + CAPTURE_STAGES
        self.drained = captured
        ready = 0
        if job["last"]:
            ready = captured + post_cycles(layer["lanes"], job["slices_last"]) + POST_STAGES
            self.drained = ready + 1
            self.ready.event(ready)
            if job["free_w"]:
                self.freed["PARAM"].event(ready)
            if layer["residual"]:
                self.freed["RESIDUAL"].event(ready)
        self.quiet = max(self.quiet, self.drained, self.free)
        if not self.number:
            self.tiles.append(TileTimes(job.layer, start, end, ready))
            if job["layer_last"]:
                self.computed.append((end + 1, Causes(**self.counts)))

    def _start(self, job: Instruction, head: int) -> int:
        """The cycle in which the TILE is popped; the waiting before it goes to its causes, first cause first."""
        self.counts["wait_job"] += head - self.free + 1
        start, offsets = head, self.offsets
        for cause, reached in (
            ("wait_input", self.loaded["INPUT"].reached(job["wait_in"] + offsets["inputs"])),
            ("wait_weight", self.loaded["WEIGHT"].reached(job["wait_w"] + offsets["weights"])),
            ("wait_residual", self.loaded["RESIDUAL"].reached(job["wait_res"] + offsets["residuals"])),
            ("wait_output", self.stored.reached(job["wait_out"] + offsets["outputs"])),
        ):
            self.counts[cause] += max(0, reached - start)
            start = max(start, reached)
        return start

    def state(self) -> list[int]:
        """Between two passes: all cycles that later jobs can depend on."""
        result = [self.free, self.drained, self.quiet, *self.sequencer.state]
        for port in (*self.reads, self.write):
            result += port.state
        for queue in (*self.read_queues, self.compute_queue, self.write_queue):
            result += queue.pops
        for counter in (*self.loaded.values(), *self.freed.values(), self.ready, self.stored):
            result += [counter.recent[-back] for back in range(1, min(RECENT + 1, len(counter.recent)) + 1)]
        passes = max(peer.look_back for peer in self.peers)
        for events in (self.committed, self.fetched):
            size = passes * events.per_pass
            result += [events.recent[-back] for back in range(1, min(size, len(events.recent)) + 1)]
        return result

    def result(self, names: Sequence[str], repeats: int, cycles: int, causes: Causes) -> ChunkSchedule:
        """`repeats` passes were left out: each takes `cycles` and adds `causes`. `names`: of all executed layers."""
        layers, before = [], Causes()
        events = zip(self.program.layers, self.computed, self.commits, strict=True)
        for layer, (computed, counts), committed in events:
            layers.append(LayerSchedule(names[layer], computed, committed, counts.minus(before)))
            before = counts
        total = Causes(**{name: self.counts[name] + repeats * getattr(causes, name) for name in CAUSES})
        return ChunkSchedule(self.done + repeats * cycles, tuple(layers), total, tuple(self.tiles))


_DESTINATION = {code: name for name, code in DESTINATIONS.items()}
_FETCHED = (DESTINATIONS["INPUT"], DESTINATIONS["RESIDUAL"])
_TOTAL_OF = {"INPUT": "inputs", "WEIGHT": "weights", "PARAM": "params", "RESIDUAL": "residuals"}
_TOTALS = (*_TOTAL_OF.values(), "outputs")
_BOOTSTRAP = {"dest": DESTINATIONS["PROGRAM"], "run": 128, "n_inner": 1, "n_outer": 1, "signal": 1}


def schedule(program: Program, memories: Memories, passes: int = 1, shared_bytes: int = 0) -> Schedule:
    """The exact cycles of `passes` passes of `program`, streamed, on memories of known timing.

    Equal to the counters of the generated RTL: total, per pass, per chunk, per layer, and per cause. Once a pass has
    only shifted all times, so do all that follow: they are not walked. With `shared_bytes` all ports and directions
    share that many bytes per cycle, and the result is an estimate (`dna.cost.bandwidth`).
    """
    if passes < 1:
        raise ValueError(f"passes is {passes}; it must be at least 1")
    accelerator = program.accelerator
    shared = Bandwidth(shared_bytes) if shared_bytes else None
    chunks: list[_ChunkTimes] = []
    for index, chunk_program in enumerate(program.chunks):
        first = accelerator.first_port(index)
        ports = [port_memory(memories, first + port) for port in range(chunk_program.chunk.ports)]
        chunks.append(_ChunkTimes(chunk_program, ports, chunks, shared))
    ends: list[int] = []
    before: list[int] = []
    repeats = cycles = 0
    per_pass = counted = [Causes() for _ in chunks]
    while len(ends) < passes - repeats:
        final = len(ends) == passes - repeats - 1
        for index in program.order:
            chunks[index].step(final)
        ends.append(max(chunk.committed.recent[-1] for chunk in chunks if chunk.committed.recent))
        if final or repeats or shared is not None:
            continue
        counted, earlier = [Causes(**chunk.counts) for chunk in chunks], counted
        state = [value for chunk in chunks for value in chunk.state()]
        if _shifted(before, state, ends):
            repeats, cycles = passes - len(ends) - 1, ends[-1] - ends[-2]
            per_pass = [now.minus(then) for now, then in zip(counted, earlier, strict=True)]
        before = state
    walked = ends[:-1] + [ends[-2] + cycles * n for n in range(1, repeats + 1)] if repeats else ends[:-1]
    names = [layer.name for layer in program.layers]
    results = tuple(
        chunk.result(names, repeats, cycles, causes) for chunk, causes in zip(chunks, per_pass, strict=True)
    )
    layers = {
        layer: times
        for chunk_program, result in zip(program.chunks, results, strict=True)
        for layer, times in zip(chunk_program.layers, result.layers, strict=True)
    }
    return Schedule(
        max(result.cycles for result in results),
        (*walked, ends[-1] + repeats * cycles),
        program.frames,
        results,
        tuple(layers[index] for index in range(len(names))),
    )


def _shifted(before: Sequence[int], state: Sequence[int], ends: Sequence[int]) -> bool:
    """Whether all times moved by what the last pass took; what never happened has not moved."""
    if len(before) != len(state):
        return False
    cycles = ends[-1] - ends[-2]
    return all(now - then == cycles or max(now, then) < 0 for then, now in zip(before, state, strict=True))
