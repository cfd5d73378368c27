"""One chunk as the interpreter runs it: sequencer, queues, engines, counters, and bytes in buffers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.chunk import PAGE_INSTRUCTIONS, Chunk
from dna.accelerator.isa import (
    COMMIT_BITS,
    COUNTER_BITS,
    DESTINATIONS,
    ENGINES,
    EVENTS,
    INDEX_BITS,
    INSTRUCTION_BYTES,
    MODES,
    PASS_BITS,
)
from dna.compile import engines
from dna.compile.program import Instruction, decode

QUEUE_JOBS = 8
"""Jobs in each engine's queue."""
POST_TILES = 2
"""Tiles whose operands are read while the post lanes still work on the first of them."""
FLIGHT_LOADS = 4
"""LOADs of a port that have started and whose words have not come: any number is right, for they come in order."""

_DESTINATION_NAMES = {code: name for name, code in DESTINATIONS.items()}
_PASS_MASK = (1 << PASS_BITS) - 1
_COUNTERS = ("input", "weight", "param", "residual")
_TOTALS = {"INPUT": "inputs", "WEIGHT": "weights", "PARAM": "params", "RESIDUAL": "residuals"}
_TILE_WAITS = {"wait_in": "inputs", "wait_w": "weights", "wait_res": "residuals", "wait_out": "outputs"}


class World(Protocol):
    """What a chunk sees of the accelerator around it."""

    @property
    def chunks(self) -> Sequence[ChunkMachine]: ...

    def read(self, chunk: int, job: Instruction) -> NDArray[np.uint8]:
        """The words [count][16] of a LOAD."""
        ...

    def write(self, chunk: int, job: Instruction, words: NDArray[np.uint8]) -> None:
        """The words [count][16] of a STORE reach memory or links."""
        ...


class ChunkMachine:
    """A chunk's state. `actors` are what may happen next; each does one thing, or returns False if it cannot."""

    def __init__(
        self, index: int, chunk: Chunk, passes: int, mask: int, world: World, rng: np.random.Generator
    ) -> None:
        self.index, self.chunk, self.passes, self.mask, self.world = index, chunk, passes, mask, world
        self.buffers = engines.Buffers.arbitrary(chunk, rng)
        self.counts = dict.fromkeys(
            [f"{what}.{name}" for what in ("loaded", "freed") for name in _COUNTERS] + ["ready", "stored"], 0
        )
        self.committed = self.fetched = 0
        """{pass, index}, as other chunks see them."""
        self.instructions = np.zeros((2 * PAGE_INSTRUCTIONS, INSTRUCTION_BYTES), np.uint8)
        self.number = 0
        """The sequencer's pass."""
        self.totals = dict.fromkeys((*_TOTALS.values(), "outputs"), 0)
        """What thresholds are higher by in this pass."""
        self.ports: list[deque[Instruction]] = [deque() for _ in range(chunk.ports)]
        self.flight: list[deque[Instruction]] = [deque() for _ in range(chunk.ports)]
        self.compute: deque[Instruction] = deque()
        self.post: deque[tuple[Instruction, Instruction, NDArray[np.int64]]] = deque()
        self.write: deque[Instruction] = deque()
        self.commit: deque[tuple[Instruction, NDArray[np.uint8]]] = deque()
        self.capture_layer = self.compute_layer = Instruction("LAYER")
        self.sums: NDArray[np.int64] = np.zeros(0, np.int64)
        self.pages = self.pc = 0
        self.offered: Instruction | None = None
        """The instruction at `pc`, once it was read."""
        self._restart()

    @property
    def actors(self) -> list[Callable[[], bool]]:
        """The engines, those that finish work before those that begin it."""
        ports = range(self.chunk.ports)
        arrive = [lambda port=port: self._arrive(port) for port in ports]  # type: ignore[misc]
        read = [lambda port=port: self._read(port) for port in ports]  # type: ignore[misc]
        return [self._commit, self._write, self._post, self._compute, *arrive, *read, self._dispatch]

    @property
    def ended(self) -> bool:
        """The last END is reached, and nothing is left to do."""
        following = self._next()
        queues = (*self.ports, *self.flight, self.compute, self.post, self.write, self.commit)
        return following is not None and following.op == "END" and self._last and not any(queues)

    @property
    def where(self) -> str:
        """The next instruction and all counters, for messages."""
        moments = f"committed {self.committed:#x}, fetched {self.fetched:#x}"
        return f"{self.pc} of chunk {self.index} in pass {self.number}: {self.counts}, {moments}"

    @property
    def _last(self) -> bool:
        return self.number == self.passes - 1

    def _reached(self, counter: str, threshold: int) -> bool:
        return (self.counts[counter] - threshold) % (1 << COUNTER_BITS) < 1 << (COUNTER_BITS - 1)

    # ---- sequencer

    def _restart(self) -> None:
        """Pages count from 0; the hardware asks for the first one by itself."""
        self.pages = self.pc = 0
        self.offered = None
        words = PAGE_INSTRUCTIONS * INSTRUCTION_BYTES // 16
        values = {"dest": DESTINATIONS["PROGRAM"], "run": words, "n_inner": 1, "n_outer": 1, "signal": 1}
        self.bootstrap: Instruction | None = Instruction("LOAD", {**values, "port": self.chunk.weight_port})

    def _next(self) -> Instruction | None:
        """The instruction to be handed out next, None while its page is on the way."""
        if self.bootstrap is not None:
            return self.bootstrap
        if self.pc >= self.pages * PAGE_INSTRUCTIONS:
            return None
        if self.offered is None:
            self.offered = decode(self.instructions[self.pc % (2 * PAGE_INSTRUCTIONS)].tobytes())
        return self.offered

    def _dispatch(self) -> bool:
        job = self._next()
        if job is None or (job.op == "END" and not self._next_pass(job)):
            return False
        if job.op == "END":
            return True
        queues = self._queues(job)
        if any(len(queue) >= QUEUE_JOBS for queue in queues):
            return False
        filled = self._filled(job)
        for queue in queues:
            queue.append(filled)
        self.pc += int(self.bootstrap is None)
        self.bootstrap = self.offered = None
        return True

    def _queues(self, job: Instruction) -> list[deque[Instruction]]:
        match job.op:
            case "LOAD":
                return [self.ports[min(job["port"], self.chunk.ports - 1)]]
            case "LAYER":
                return [self.compute, self.ports[0]]
            case "TILE":
                return [self.compute]
            case "WAIT" if job["engine"] != ENGINES["WRITE"]:
                return [self.ports[job["engine"]]]
        return [self.write]

    def _next_pass(self, job: Instruction) -> bool:
        """END before the last pass: once all passes before this one are committed, the Program starts over."""
        if self._last or (self.committed >> INDEX_BITS) - self.number & _PASS_MASK > 1:
            return False
        for name in self.totals:
            self.totals[name] += job[name]
        self.number += 1
        self._restart()
        return True

    def _filled(self, job: Instruction) -> Instruction:
        """The instruction as the sequencer hands it out: thresholds of this pass, buffers of this pass."""
        values = dict(job.values)
        match job.op:
            case "TILE":
                values |= {name: job[name] + self.totals[total] for name, total in _TILE_WAITS.items()}
            case "LOAD":
                dest = _DESTINATION_NAMES[job["dest"]]
                values["wait_free"] = job["wait_free"] + self.totals.get(_TOTALS.get(dest, ""), 0)
                index = job["wait_commit"]
                values["wait_commit"] = self._moment(0, index) if index else self._moment(1, 0)
                values["buffer"] = self.number & self.mask
            case "STORE":
                values["wait_ready"] = job["wait_ready"] + self.totals["outputs"]
                values["buffer"] = self.number & self.mask
            case "WAIT":
                values["index"] = self._moment(job["ago"], job["index"])
        return Instruction(job.op, values, job.layer)

    def _moment(self, ago: int, index: int) -> int:
        """{pass, index} of some passes ago."""
        return (self.number - ago & _PASS_MASK) << INDEX_BITS | index

    def _wait(self, job: Instruction) -> bool:
        peer = self.world.chunks[job["peer"]]
        return _after(peer.fetched if job["event"] == EVENTS["FETCHED"] else peer.committed, job["index"])

    # ---- read ports

    def _read(self, port: int) -> bool:
        if not self.ports[port]:
            return False
        job = self.ports[port][0]
        if job.op == "LAYER":
            if self.flight[port]:
                return False
            self.capture_layer = job
        elif not (self._wait(job) if job.op == "WAIT" else self._start(port, job)):
            return False
        self.ports[port].popleft()
        return True

    def _start(self, port: int, job: Instruction) -> bool:
        """A LOAD is asked of the memory; its words come later."""
        dest = _DESTINATION_NAMES[job["dest"]]
        free = dest == "PROGRAM" or self._reached(f"freed.{dest.lower()}", job["wait_free"])
        if not free or not _after(self.committed, job["wait_commit"]) or len(self.flight[port]) >= FLIGHT_LOADS:
            return False
        self.flight[port].append(job)
        return True

    def _arrive(self, port: int) -> bool:
        """The words of the oldest LOAD."""
        if not self.flight[port]:
            return False
        job = self.flight[port].popleft()
        dest, words = _DESTINATION_NAMES[job["dest"]], self.world.read(self.index, job)
        if dest == "PROGRAM":
            page = words.reshape(-1, INSTRUCTION_BYTES)
            self.instructions[job["base"] : job["base"] + len(page)] = page
            self.pages += 1
            return True
        if dest == "INPUT":
            engines.capture(self.buffers, self.capture_layer, job, words)
        else:
            self._fill(dest, job["base"], words)
        self.counts["loaded.weight" if dest == "PARAM" else f"loaded.{dest.lower()}"] += job["signal"]
        if dest in ("INPUT", "RESIDUAL"):
            self.fetched = _next_moment(self.fetched, job)
        return True

    def _fill(self, dest: str, base: int, words: NDArray[np.uint8]) -> None:
        buffers = self.buffers
        if dest == "WEIGHT":
            rows = words.reshape(-1, self.chunk.weight_word_bytes).view(np.int8)
            buffers.weights[base : base + len(rows)] = rows
        elif dest == "PARAM":
            values = words.reshape(-1, self.chunk.post_lanes * 8).view(np.uint64)
            buffers.params[base : base + len(values)] = values
        else:
            buffers.residual[base : base + len(words)] = words

    # ---- compute and post

    def _compute(self) -> bool:
        if not self.compute:
            return False
        job = self.compute[0]
        if job.op == "LAYER":
            if self.post:
                return False
            self.compute_layer = job
        elif not self._tile(job):
            return False
        self.compute.popleft()
        return True

    def _tile(self, job: Instruction) -> bool:
        waits = (("loaded.input", "wait_in"), ("loaded.weight", "wait_w"), ("loaded.residual", "wait_res"))
        if not all(self._reached(counter, job[wait]) for counter, wait in (*waits, ("stored", "wait_out"))):
            return False
        if job["last"] and len(self.post) >= POST_TILES:
            return False
        layer = self.compute_layer
        sums = engines.tile_sums(self.chunk, self.buffers, layer, job)
        if not job["first"]:
            sums = np.maximum(self.sums, sums) if layer["mode"] == MODES["MAX"] else self.sums + sums
        self.sums = sums
        self.counts["freed.input"] += job["free_in"]
        self.counts["freed.weight"] += job["free_w"]
        if job["last"]:
            self.post.append((layer, job, sums))
        return True

    def _post(self) -> bool:
        if not self.post:
            return False
        layer, job, sums = self.post.popleft()
        engines.post(self.chunk, self.buffers, layer, job, sums)
        self.counts["ready"] += 1
        self.counts["freed.residual"] += layer["residual"]
        self.counts["freed.param"] += job["free_w"]
        return True

    # ---- write port

    def _write(self) -> bool:
        if not self.write:
            return False
        job = self.write[0]
        if job.op == "WAIT":
            if not self._wait(job):
                return False
            self.write.popleft()
            return True
        if not self._reached("ready", job["wait_ready"]):
            return False
        self.write.popleft()
        count = job["run"] * job["n_inner"] * job["n_outer"]
        self.commit.append((job, self.buffers.output[job["base"] : job["base"] + count].copy()))
        self.counts["stored"] += 1
        return True

    def _commit(self) -> bool:
        if not self.commit:
            return False
        job, words = self.commit.popleft()
        self.world.write(self.index, job, words)
        self.committed = _next_moment(self.committed, job)
        return True


def _after(counter: int, moment: int) -> bool:
    """Whether a {pass, index} counter has reached a moment."""
    return (counter - moment) % (1 << COMMIT_BITS) < 1 << (COMMIT_BITS - 1)


def _next_moment(counter: int, job: Instruction) -> int:
    """A {pass, index} counter after one more event."""
    if not job["pass_last"]:
        return (counter + 1) % (1 << COMMIT_BITS)
    return ((counter >> INDEX_BITS) + 1 & _PASS_MASK) << INDEX_BITS
