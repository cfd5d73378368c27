"""Runs a Program as the hardware does: engines with queues, counters between them, bytes in buffers.

It decodes the memory image and knows nothing of networks or mappings, so it checks the compiler independently. Jobs are
executed whole, one at a time; which engine goes next is open wherever queues and counters leave it open, as in hardware
it depends on the memory. With a generator that choice is random: results must not depend on it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.chunk import PAGE_INSTRUCTIONS
from dna.accelerator.isa import COUNTER_BITS, DESTINATIONS, INSTRUCTION_BYTES, REGIONS, WORD_BYTES
from dna.compile import engines
from dna.compile.deadlock import ProgramError, run_addresses
from dna.compile.layout import pack_values, unpack_values, word_addresses
from dna.compile.program import Instruction, Program, decode

QUEUE_JOBS = 8
"""Jobs in each engine's queue."""
POST_TILES = 2
"""Tiles whose operands are read while the post lanes still work on the first of them."""

_REGION_NAMES = {code: name for name, code in REGIONS.items()}
_DESTINATION_NAMES = {code: name for name, code in DESTINATIONS.items()}


def interpret(
    program: Program, x_HWC: NDArray[np.int64], rng: np.random.Generator | None = None
) -> dict[str, NDArray[np.int64]]:
    """Every tensor after one frame, by name, ``input`` and what inserted layers write included, int64
    [height][width][channels], channels as the network counts them.

    Without `rng` each engine works as early as it can. ProgramError if the Program stops before its end, or leaves
    bytes of channels that do not exist unequal to 0.
    """
    machine = Machine(program, rng)
    machine.write_tensor("input", x_HWC)
    machine.run()
    return {name: machine.read_tensor(name) for name in program.tensors}


class Machine:
    """An accelerator's state: memory, buffers, queues and counters."""

    def __init__(self, program: Program, rng: np.random.Generator | None = None) -> None:
        self.program = program
        self.chunk = program.chunk
        self.rng = rng
        arbitrary = np.random.default_rng(0) if rng is None else rng
        self.memory = {
            name: arbitrary.integers(0, 256, (words, WORD_BYTES), np.uint8)
            for name, words in program.region_words.items()
        }
        self.memory["PROGRAM"] = np.frombuffer(program.image, np.uint8).reshape(-1, WORD_BYTES)
        self.buffers = engines.Buffers.arbitrary(self.chunk, arbitrary)
        self.counts = dict.fromkeys(
            [f"{what}.{name}" for what in ("loaded", "freed") for name in ("input", "weight", "param", "residual")]
            + ["ready", "stored", "committed"],
            0,
        )
        self.instructions = np.zeros((2 * PAGE_INSTRUCTIONS, INSTRUCTION_BYTES), np.uint8)
        self.pages = 0
        self.pc = 0
        self.offered: Instruction | None = None
        """The instruction at `pc`, once it was read."""
        self.ports: list[deque[Instruction]] = [deque() for _ in range(self.chunk.ports)]
        self.compute: deque[Instruction] = deque()
        self.post: deque[tuple[Instruction, Instruction, NDArray[np.int64]]] = deque()
        self.write: deque[Instruction] = deque()
        self.commit: deque[tuple[str, NDArray[np.int64], NDArray[np.uint8]]] = deque()
        self.capture_layer = Instruction("LAYER")
        self.compute_layer = Instruction("LAYER")
        self.sums: NDArray[np.int64] = np.zeros(0, np.int64)

    def write_tensor(self, name: str, x_HWC: NDArray[np.int64]) -> None:
        tensor = self.program.tensors[name]
        words = np.frombuffer(pack_values(tensor, x_HWC), np.uint8).reshape(-1, WORD_BYTES)
        self.memory[tensor.region][word_addresses(tensor)] = words

    def read_tensor(self, name: str) -> NDArray[np.int64]:
        tensor = self.program.tensors[name]
        data = self.memory[tensor.region][word_addresses(tensor)].tobytes()
        x = unpack_values(tensor, data)
        if pack_values(tensor, x) != data:
            raise ProgramError(f"tensor '{name}' has bytes unequal to 0 in channels that do not exist")
        return x

    def run(self) -> None:
        """Executes jobs until END; ProgramError if no engine can go on before."""
        self._load_page(self.memory["PROGRAM"][: PAGE_INSTRUCTIONS * INSTRUCTION_BYTES // WORD_BYTES], 0)
        actors: list[Callable[[], bool]] = [
            self._commit, self._write, self._post, self._compute,
            *[lambda port=port: self._read(port) for port in range(self.chunk.ports)],  # type: ignore[misc]
            self._dispatch,
        ]  # fmt: skip
        while not self._ended():
            order = np.arange(len(actors)) if self.rng is None else self.rng.permutation(len(actors))
            if not any(actors[index]() for index in order):
                raise ProgramError(f"deadlock before instruction {self.pc}: {self.counts}")

    def _reached(self, counter: str, threshold: int) -> bool:
        return (self.counts[counter] - threshold) % (1 << COUNTER_BITS) < 1 << (COUNTER_BITS - 1)

    # ---- sequencer

    def _load_page(self, words: NDArray[np.uint8], base: int) -> None:
        fetched = words.reshape(-1, INSTRUCTION_BYTES)
        self.instructions[base : base + len(fetched)] = fetched
        self.pages += 1

    def _next(self) -> Instruction | None:
        """The instruction to be handed out next, None while its page is on the way."""
        if self.pc >= self.pages * PAGE_INSTRUCTIONS:
            return None
        if self.offered is None:
            self.offered = decode(self.instructions[self.pc % (2 * PAGE_INSTRUCTIONS)].tobytes())
        return self.offered

    def _ended(self) -> bool:
        following = self._next()
        queues = (*self.ports, self.compute, self.post, self.write, self.commit)
        return following is not None and following.op == "END" and not any(queues)

    def _dispatch(self) -> bool:
        job = self._next()
        if job is None or job.op == "END":
            return False
        queues = {
            "LOAD": [self.ports[min(job["port"], self.chunk.ports - 1)]],
            "STORE": [self.write],
            "TILE": [self.compute],
            "LAYER": [self.compute, self.ports[0]],
        }[job.op]
        if any(len(queue) >= QUEUE_JOBS for queue in queues):
            return False
        for queue in queues:
            queue.append(job)
        self.pc += 1
        self.offered = None
        return True

    # ---- read ports

    def _read(self, port: int) -> bool:
        if not self.ports[port]:
            return False
        job = self.ports[port][0]
        if job.op == "LAYER":
            self.capture_layer = job
        elif not self._load(job):
            return False
        self.ports[port].popleft()
        return True

    def _load(self, job: Instruction) -> bool:
        dest = _DESTINATION_NAMES[job["dest"]]
        name = dest.lower()
        free = dest == "PROGRAM" or self._reached(f"freed.{name}", job["wait_free"])
        if not free or self.counts["committed"] < job["wait_commit"]:
            return False
        words = self.memory[_REGION_NAMES[job["region"]]][run_addresses(job)]
        if dest == "PROGRAM":
            self._load_page(words, job["base"])
            return True
        if dest == "INPUT":
            engines.capture(self.buffers, self.capture_layer, job, words)
        else:
            self._fill(dest, job["base"], words)
        self.counts["loaded.weight" if dest == "PARAM" else f"loaded.{name}"] += job["signal"]
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
            sums = np.maximum(self.sums, sums) if layer["mode"] == 2 else self.sums + sums
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
        if not self.write or not self._reached("ready", self.write[0]["wait_ready"]):
            return False
        job = self.write.popleft()
        addresses = run_addresses(job)
        words = self.buffers.output[job["base"] : job["base"] + len(addresses)].copy()
        self.commit.append((_REGION_NAMES[job["region"]], addresses, words))
        self.counts["stored"] += 1
        return True

    def _commit(self) -> bool:
        if not self.commit:
            return False
        region, addresses, words = self.commit.popleft()
        self.memory[region][addresses] = words
        self.counts["committed"] += 1
        return True
