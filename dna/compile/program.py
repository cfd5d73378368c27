"""The Program: a compiled Design, ready to be executed, simulated or priced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dna.accelerator.chunk import Accelerator, Chunk
from dna.accelerator.isa import FIELDS, INSTRUCTION_BYTES, OPCODES, offsets
from dna.network.layer import Layer
from dna.network.network import Network


@dataclass(frozen=True)
class Instruction:
    """One 256-bit instruction; absent fields are 0."""

    op: str
    values: Mapping[str, int] = field(default_factory=dict)
    layer: int = -1
    """Index of the layer it belongs to, -1 for program loads and END. Not encoded."""
    frame: int = 0
    """Frame of the pass it belongs to; of a LOAD of weights, the first that uses them. Not encoded."""

    def __getitem__(self, name: str) -> int:
        return self.values.get(name, 0)

    def encode(self) -> bytes:
        """The instruction's 32 bytes, least significant first; ValueError if a value exceeds its field."""
        word = OPCODES[self.op]
        position = offsets(self.op)
        for entry in FIELDS[self.op][1:]:
            value = self[entry.name]
            low = -(1 << (entry.bits - 1)) if entry.signed else 0
            high = (1 << (entry.bits - int(entry.signed))) - 1
            if not low <= value <= high:
                raise ValueError(f"{self.op}.{entry.name} is {value}; it must be {low} to {high}")
            word |= (value & ((1 << entry.bits) - 1)) << position[entry.name]
        return word.to_bytes(INSTRUCTION_BYTES, "little")


def decode(data: bytes) -> Instruction:
    """The instruction of 32 bytes, every field present; inverse of `Instruction.encode` but for the layer index."""
    word = int.from_bytes(data, "little")
    op = next((name for name, code in OPCODES.items() if code == word & 0xF), None)
    if op is None:
        raise ValueError(f"unknown opcode {word & 0xF}")
    values = {}
    position = offsets(op)
    for entry in FIELDS[op][1:]:
        value = word >> position[entry.name] & ((1 << entry.bits) - 1)
        negative = entry.signed and value >> (entry.bits - 1)
        values[entry.name] = value - (1 << entry.bits) if negative else value
    return Instruction(op, values)


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lives: region name and first words, layout [height][groups][width][16].

    In region CHIP, it lies in the banks from chunk `writer` to each of `readers`, at the same addresses modulo the
    depth of each: later tensors overwrite it.

    A tensor that lies in a concat has the rows of the concat: from row to row it is `row_words`, of which
    `groups * width` are its own.
    """

    name: str
    region: str
    frame_addresses: tuple[int, ...]
    """First word of each frame of a pass."""
    height: int
    width: int
    channels: int
    """Physical ones: with an order, those that are no channel of the network are counted too."""
    signed: bool
    row_words: int
    """Words from row to row."""
    source: str
    """The network's tensor whose values it holds: another name only where the compiler inserted a layer."""
    order: tuple[int, ...] | None = None
    """The network's channel of each physical channel, -1 for none (always 0); None if they are the same."""
    writer: int = -1
    """CHIP: the chunk that writes it."""
    readers: tuple[int, ...] = ()
    """CHIP: the chunks that read it, in ascending order."""

    @property
    def address(self) -> int:
        """First word of the first frame."""
        return self.frame_addresses[0]

    @property
    def groups(self) -> int:
        return -(-self.channels // 16)

    @property
    def words(self) -> int:
        """Its own words, those of its neighbours in a concat not counted."""
        return self.height * self.groups * self.width

    @property
    def extent(self) -> int:
        """Words from its first to its last."""
        return (self.height - 1) * self.row_words + self.groups * self.width

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels as the network counts them."""
        channels = self.channels if self.order is None else sum(channel >= 0 for channel in self.order)
        return self.height, self.width, channels


@dataclass(frozen=True)
class ChunkProgram:
    """What one chunk executes."""

    chunk: Chunk
    instructions: tuple[Instruction, ...]
    """Whole pages: page loads and the END padding included."""
    image: bytes
    """Its region PROGRAM: the encoded instructions at word 0, then weights and parameters."""
    layers: tuple[int, ...]
    """The executed layers that run on it, in the order in which they end."""


@dataclass(frozen=True)
class Program:
    """Each chunk's instructions in total order, and the memory they run on. A pass, one run, is `frames` frames."""

    network: Network
    layers: tuple[Layer, ...]
    """What is executed, by `Instruction.layer`: the network's layers without concats, with inserted copies, if any."""
    accelerator: Accelerator
    chunks: tuple[ChunkProgram, ...]
    """By chunk of the accelerator."""
    frames: int
    order: tuple[int, ...]
    """A serial execution of one pass that never waits: the chunk of each instruction in turn, page loads and the first
    END of each chunk included. It proves that there is no deadlock; the schedule is computed in this order."""
    tensors: Mapping[str, Tensor]
    """By name, ``input`` and concats included."""
    region_words: Mapping[str, int]
    """Size of the regions INPUT, OUTPUT and WORK in words, for one pass; PROGRAM: of all images together."""
    output: str
    """The tensor with the network's output; its channels are in plain order."""

    @property
    def chunk(self) -> Chunk:
        """The only chunk; ValueError if there are several."""
        return self._only.chunk

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """The instructions of the only chunk; ValueError if there are several."""
        return self._only.instructions

    @property
    def image(self) -> bytes:
        """The image of the only chunk; ValueError if there are several."""
        return self._only.image

    @property
    def _only(self) -> ChunkProgram:
        (only,) = self.chunks
        return only
