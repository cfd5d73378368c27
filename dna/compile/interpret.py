"""Runs a Program as the hardware does: engines with queues, counters between them, bytes in buffers, memory and links.

It decodes the memory image and knows nothing of networks or mappings, so it checks the compiler independently. Jobs are
executed whole, one at a time; which engine goes next is open wherever queues and counters leave it open, as in hardware
it depends on the memory. With a generator that choice is random, some engines being much slower than others: results
must not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.isa import REGIONS, WORD_BYTES
from dna.compile.chunk_machine import ChunkMachine
from dna.compile.deadlock import ProgramError
from dna.compile.hazards import run_addresses
from dna.compile.layout import pack_values, unpack_values, word_addresses
from dna.compile.program import Instruction, Program

MAX_PASSES = 4
"""Passes with an input and an output of their own."""

_REGION_NAMES = {code: name for name, code in REGIONS.items()}
_CHIP = REGIONS["CHIP"]
_BUFFERED = ("INPUT", "OUTPUT")

Tensors = dict[str, NDArray[np.int64]]


def interpret(program: Program, x_HWC: NDArray[np.int64], rng: np.random.Generator | None = None) -> Tensors:
    """Every tensor in memory after one frame, by name, ``input`` and what inserted layers write included, int64
    [height][width][channels], channels as the network counts them. Tensors in on-chip memory are not among them.

    Without `rng` each engine works as early as it can. ProgramError if the Program stops before its end, or leaves
    bytes of channels that do not exist unequal to 0. ValueError if a pass of the Program has several frames.
    """
    (tensors,) = interpret_frames(program, [x_HWC], rng)
    return tensors


def interpret_frames(
    program: Program, frames_HWC: Sequence[NDArray[np.int64]], rng: np.random.Generator | None = None
) -> list[Tensors]:
    """`interpret` for the frames of one pass or several, streamed: the tensors of each frame.

    Of passes before the last only tensors in the regions INPUT and OUTPUT, for the others are written again. ValueError
    if the frames are no whole passes, or more than `MAX_PASSES`.
    """
    passes, rest = divmod(len(frames_HWC), program.frames)
    if rest or not 1 <= passes <= MAX_PASSES:
        raise ValueError(f"{len(frames_HWC)} frames; it must be 1 to {MAX_PASSES} times {program.frames}")
    machine = Machine(program, rng, passes)
    for index, x_HWC in enumerate(frames_HWC):
        machine.write_tensor("input", x_HWC, *reversed(divmod(index, program.frames)))
    machine.run()
    result = []
    for index in range(len(frames_HWC)):
        number, frame = divmod(index, program.frames)
        regions = _BUFFERED if number < passes - 1 else (*_BUFFERED, "WORK")
        names = [name for name, tensor in program.tensors.items() if tensor.region in regions]
        result.append({name: machine.read_tensor(name, frame, number) for name in names})
    return result


class Machine:
    """An accelerator's state: memory, links and chunks."""

    def __init__(self, program: Program, rng: np.random.Generator | None = None, passes: int = 1) -> None:
        """With several passes, up to four have their own INPUT and OUTPUT; further ones use them again."""
        self.program, self.passes, self.rng = program, passes, rng
        arbitrary = np.random.default_rng(0) if rng is None else rng
        buffers = 1 if passes == 1 else 2 if passes == 2 else 4

        def words(count: int) -> NDArray[np.uint8]:
            return arbitrary.integers(0, 256, (count, WORD_BYTES), np.uint8)

        self.memory = {
            name: [words(count) for _ in range(buffers if name in _BUFFERED else 1)]
            for name, count in program.region_words.items()
            if name != "PROGRAM"
        }
        self.images = [np.frombuffer(chunk.image, np.uint8).reshape(-1, WORD_BYTES) for chunk in program.chunks]
        self.banks = {(link.writer, link.reader): words(link.words) for link in program.accelerator.links}
        self.chunks = [
            ChunkMachine(index, chunk.chunk, passes, buffers - 1, self, arbitrary)
            for index, chunk in enumerate(program.chunks)
        ]

    def write_tensor(self, name: str, x_HWC: NDArray[np.int64], frame: int = 0, number: int = 0) -> None:
        """A tensor of a frame of pass `number` in memory."""
        tensor = self.program.tensors[name]
        words = np.frombuffer(pack_values(tensor, x_HWC), np.uint8).reshape(-1, WORD_BYTES)
        memory, addresses = self._place(name, frame, number)
        memory[addresses] = words

    def read_tensor(self, name: str, frame: int = 0, number: int = 0) -> NDArray[np.int64]:
        """A tensor of a frame of pass `number` from memory; ProgramError if a byte that must be 0 is not."""
        tensor = self.program.tensors[name]
        memory, addresses = self._place(name, frame, number)
        data = memory[addresses].tobytes()
        x = unpack_values(tensor, data)
        if pack_values(tensor, x) != data:
            raise ProgramError(f"tensor '{name}' has bytes unequal to 0 in channels that do not exist")
        return x

    def _place(self, name: str, frame: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        tensor = self.program.tensors[name]
        buffers = self.memory[tensor.region]
        return buffers[number % len(buffers)], word_addresses(tensor, frame)

    def run(self) -> None:
        """Executes jobs until every chunk is at its last END; ProgramError if no engine can go on before."""
        actors: list[Callable[[], bool]] = [actor for chunk in self.chunks for actor in chunk.actors]
        pace = np.ones(len(actors)) if self.rng is None else self.rng.exponential(size=len(actors))
        while not all(chunk.ended for chunk in self.chunks):
            times = np.arange(len(actors)) if self.rng is None else self.rng.exponential(pace)
            if not any(actors[index]() for index in np.argsort(times)):
                raise ProgramError("; ".join(f"deadlock before instruction {chunk.where}" for chunk in self.chunks))

    def read(self, chunk: int, job: Instruction) -> NDArray[np.uint8]:
        """The words [count][16] of a LOAD of this chunk."""
        addresses = run_addresses(job)
        if job["region"] == _CHIP:
            bank = self.banks[job["peer"], chunk]
            return bank[addresses % len(bank)]
        name = _REGION_NAMES[job["region"]]
        if name == "PROGRAM":
            return self.images[chunk][addresses]
        return self._buffer(name, job)[addresses]

    def write(self, chunk: int, job: Instruction, words: NDArray[np.uint8]) -> None:
        """The words [count][16] of a STORE of this chunk reach memory, or the links to its readers."""
        addresses = run_addresses(job)
        if job["region"] != _CHIP:
            self._buffer(_REGION_NAMES[job["region"]], job)[addresses] = words
            return
        for (writer, reader), bank in self.banks.items():
            if writer == chunk and job["readers"] >> reader & 1:
                bank[addresses % len(bank)] = words

    def _buffer(self, region: str, job: Instruction) -> NDArray[np.uint8]:
        return self.memory[region][job["buffer"] if region in _BUFFERED else 0]
