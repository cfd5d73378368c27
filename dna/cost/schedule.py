"""The exact schedule: the cycle of every job of a Program, as the RTL takes it (contract 2).

One pass over the instructions in program order suffices, for engines keep that order and a job waits only for
events of earlier jobs. Everything is a maximum of earlier times plus constants; the constants stand beside what they
describe, in the headers of the RTL modules. Cycle 0 is the cycle of the start pulse.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dna.accelerator.chunk import Chunk, Memory
from dna.accelerator.isa import COMMIT_BITS, COUNTER_BITS, DESTINATIONS
from dna.accelerator.tile import compute_cycles, mac_cycles, post_cycles
from dna.compile.program import Instruction, Program
from dna.cost.dispatch import Sequencer
from dna.cost.ports import ReadPort, WritePort

QUEUE_DEPTH = 8
"""Jobs in the queue of each engine (dna_chunk.v)."""
CAPTURE_STAGES = 6
"""Cycles from a tile's last MAC cycle to the capture of its sums (dna_compute.v)."""
POST_STAGES = 7
"""Cycles from a slice's drain cycle to its write (dna_post.v)."""
CAUSES = ("busy", "wait_input", "wait_weight", "wait_residual", "wait_output", "wait_job")


class Counter:
    """A monotone event counter: when each value became visible."""

    def __init__(self) -> None:
        self._visible: list[int] = []

    def event(self, cycle: int) -> None:
        """The counter's register changes at the end of `cycle`."""
        self._visible.append(cycle + 1)

    def reached(self, threshold: int, bits: int) -> int:
        """First cycle in which the counter has reached `threshold`, a number of `bits` bits that may have wrapped."""
        count = len(self._visible)
        value = count - ((count - threshold) & ((1 << bits) - 1))
        return self._visible[value - 1] if value > 0 else 0


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
class Schedule:
    """All that the RTL's counters show. `cycles` is the start-to-done latency of one frame."""

    cycles: int
    layers: tuple[LayerSchedule, ...]
    causes: Causes
    tiles: tuple[TileTimes, ...] = field(repr=False)


class _Queue:
    """A FIFO of jobs: when it takes the next one."""

    def __init__(self) -> None:
        self.pops: list[int] = []

    @property
    def ready(self) -> int:
        """First cycle with room for the next job."""
        return self.pops[-QUEUE_DEPTH] + 1 if len(self.pops) >= QUEUE_DEPTH else 0

    def visible(self, dispatched: int) -> int:
        """First cycle in which the job dispatched in that cycle stands at the head."""
        return max(dispatched, self.pops[-1] if self.pops else 0) + 1


class _Scheduler:
    """The recurrence's state. One method per opcode; each is called in program order."""

    def __init__(self, chunk: Chunk, memory: Memory) -> None:
        self.chunk = chunk
        self.sequencer = Sequencer(0)
        self.reads = [ReadPort(chunk, memory) for _ in range(chunk.ports)]
        self.write = WritePort(chunk, memory)
        self.read_queues = [_Queue() for _ in range(chunk.ports)]
        self.compute_queue, self.write_queue = _Queue(), _Queue()
        self.loaded = {name: Counter() for name in ("INPUT", "WEIGHT", "RESIDUAL")}
        self.freed = {name: Counter() for name in ("INPUT", "WEIGHT", "PARAM", "RESIDUAL")}
        self.ready, self.stored, self.committed = Counter(), Counter(), Counter()
        self.layer = Instruction("LAYER")
        self.free = 1
        self.drained = 0
        self.quiet = 0
        self.counts = dict.fromkeys(CAUSES, 0)
        self.computed: list[tuple[int, Causes]] = []
        self.commits: list[int] = []
        self.tiles: list[TileTimes] = []

    def load(self, job: Instruction) -> None:
        port = job["port"]
        queue = self.read_queues[port]
        dispatched = self.sequencer.dispatch(queue.ready)
        dest = _DESTINATION[job["dest"]]
        waits = self.committed.reached(job["wait_commit"], COMMIT_BITS)
        if dest in self.freed:
            waits = max(waits, self.freed[dest].reached(job["wait_free"], COUNTER_BITS))
        times = self.reads[port].load(job, queue.visible(dispatched), waits)
        queue.pops.append(times.popped)
        self.quiet = max(self.quiet, times.last_word + 1)
        if dest == "PROGRAM":
            self.sequencer.page_loaded(times.last_word)
        elif job["signal"]:
            self.loaded["WEIGHT" if dest == "PARAM" else dest].event(times.last_word)

    def store(self, job: Instruction) -> None:
        dispatched = self.sequencer.dispatch(self.write_queue.ready)
        waits = self.ready.reached(job["wait_ready"], COUNTER_BITS)
        times = self.write.store(job, self.write_queue.visible(dispatched), waits)
        self.write_queue.pops.append(times.popped)
        self.stored.event(times.stored)
        self.committed.event(times.committed)
        self.quiet = max(self.quiet, times.committed + 1)
        if job["layer_last"]:
            self.commits.append(times.committed)

    def set_layer(self, job: Instruction) -> None:
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

    def tile(self, job: Instruction) -> None:
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
        if job["layer_last"]:
            self.computed.append((end + 1, Causes(**self.counts)))
        self.tiles.append(TileTimes(job.layer, start, end, ready))

    def _start(self, job: Instruction, head: int) -> int:
        """The cycle in which the TILE is popped; the waiting before it goes to its causes, first cause first."""
        self.counts["wait_job"] += head - self.free + 1
        start = head
        for cause, reached in (
            ("wait_input", self.loaded["INPUT"].reached(job["wait_in"], COUNTER_BITS)),
            ("wait_weight", self.loaded["WEIGHT"].reached(job["wait_w"], COUNTER_BITS)),
            ("wait_residual", self.loaded["RESIDUAL"].reached(job["wait_res"], COUNTER_BITS)),
            ("wait_output", self.stored.reached(job["wait_out"], COUNTER_BITS)),
        ):
            self.counts[cause] += max(0, reached - start)
            start = max(start, reached)
        return start

    def finish(self) -> int:
        done = self.sequencer.finish(self.quiet)
        self.counts["wait_job"] += done - self.free
        return done


_DESTINATION = {code: name for name, code in DESTINATIONS.items()}
_BOOTSTRAP = {"dest": DESTINATIONS["PROGRAM"], "run": 128, "n_inner": 1, "n_outer": 1, "signal": 1}


def schedule(program: Program, memory: Memory) -> Schedule:
    """The exact cycles of one frame of `program` on a memory of known timing.

    Equal to the counters of the generated RTL: total, per layer, and per cause.
    """
    chunk = program.chunk
    state = _Scheduler(chunk, memory)
    state.load(Instruction("LOAD", {**_BOOTSTRAP, "port": chunk.weight_port}))
    for job in program.instructions:
        match job.op:
            case "LOAD":
                state.load(job)
            case "STORE":
                state.store(job)
            case "LAYER":
                state.set_layer(job)
            case "TILE":
                state.tile(job)
            case "END":
                break
    done = state.finish()
    layers, before = [], Causes()
    for layer, (computed, causes), committed in zip(program.layers, state.computed, state.commits, strict=True):
        layers.append(LayerSchedule(layer.name, computed, committed, causes.minus(before)))
        before = causes
    return Schedule(done, tuple(layers), Causes(**state.counts), tuple(state.tiles))
