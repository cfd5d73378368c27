"""A chunk's parameters: one engine of the accelerator, and the memory it is modelled with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from dna.accelerator.isa import WORD_BYTES
from dna.errors import UserError

POST_LANES = (2, 4, 8, 16)
INPUT_CHANNELS = (1, 2, 4, 8, 16)
MAX_OUTPUT_CHANNELS = 128
MAX_LANES = 128
MAX_BUFFER_WORDS = 8192
"""Buffer addresses have 14 bits."""
PAGE_INSTRUCTIONS = 64
"""Instructions in one of the two pages of the program memory."""
SWITCHES = ("residual", "packed", "mac_in_lut", "post_in_lut")
"""Parameters of a chunk that are true or false."""


Dataflow = Literal["output", "weight", "input"]
DATAFLOWS: tuple[Dataflow, ...] = ("output", "weight", "input")
"""What stays while the loop nest of a tile goes on; in tables and in the RTL, its place in this list."""


@dataclass(frozen=True)
class Chunk:
    """One engine: MAC array `oc x ic x px`, post lanes, buffers and DMA ports.

    Legal ranges: `oc` 2, 4, 8, 16 or a multiple of 16 up to 128; `ic` 1, 2, 4, 8 or 16; `oc * ic` a multiple
    of 16; `px` 1 to 128; `post_lanes` 2, 4, 8 or 16, dividing `oc`. Buffers are split in two by the compiler where it
    double-buffers; depths are in words of that buffer. `sum_words` is 0 with dataflow `output`, else 16 to 8192.
    """

    oc: int = 16
    """Output channels computed at once."""
    ic: int = 4
    """Input channels reduced at once."""
    px: int = 4
    """Pixel lanes."""
    post_lanes: int = 4
    """Output bytes requantised per cycle."""
    input_words: int = 512
    """Depth of each lane's input buffer, in words of 16 bytes."""
    weight_words: int = 512
    """Depth of the weight buffer, in words of oc * ic bytes."""
    param_words: int = 256
    """Depth of the parameter buffer, in words of post_lanes channels of 8 bytes."""
    output_words: int = 512
    """Depth of the output buffer, in words of 16 bytes; the residual buffer, if any, is as deep."""
    residual: bool = True
    """Whether there is a residual buffer and the second multiplier in the post lanes."""
    packed: bool = False
    """Two multiplications per DSP: neighbouring pixel lanes share the weight."""
    mac_in_lut: bool = False
    """The array's multipliers are made of LUTs; not with `packed`."""
    post_in_lut: bool = False
    """The post lanes' multipliers are made of LUTs."""
    ports: int = 2
    """AXI4 masters: 1, everything on it; 2, weights, parameters and program have the second one."""
    port_bytes: int = 16
    """Width of the AXI4 masters: 8 or 16 bytes."""
    burst_beats: int = 16
    """Longest burst, in beats of port_bytes: 2 to 256 (a power of two), at most 4 KB."""
    outstanding: int = 8
    """Bursts in flight per port and direction: 1 to 32."""
    dataflow: Dataflow = "output"
    """Loop nest of a tile, innermost: `output`, the reduction, the sums of a pixel stay in the array; `weight`, the
    pixels of a lane, a weight word stays; `input`, the groups of output channels, an input word stays."""
    sum_words: int = 0
    """Depth of each lane's buffer of partial sums, in words of oc * 32 bits."""

    def __post_init__(self) -> None:
        def require(name: str, ok: bool, rule: str) -> None:
            if not ok:
                raise UserError(f"chunk: {name} is {getattr(self, name)}; it must be {rule}")

        for field in fields(self):
            if field.name == "dataflow":
                require(field.name, self.dataflow in DATAFLOWS, f"one of {', '.join(DATAFLOWS)}")
                continue
            kind = bool if field.name in SWITCHES else int
            require(
                field.name, type(getattr(self, field.name)) is kind, "true or false" if kind is bool else "an integer"
            )
        require(
            "oc",
            self.oc in (2, 4, 8, 16) or (self.oc % 16 == 0 and 16 <= self.oc <= MAX_OUTPUT_CHANNELS),
            f"2, 4, 8, 16 or a multiple of 16 up to {MAX_OUTPUT_CHANNELS}",
        )
        require("ic", self.ic in INPUT_CHANNELS, "1, 2, 4, 8 or 16")
        require("oc", self.oc * self.ic % WORD_BYTES == 0, f"such that oc * ic is a multiple of 16 (ic is {self.ic})")
        require("px", 1 <= self.px <= MAX_LANES, f"1 to {MAX_LANES}")
        require(
            "post_lanes",
            self.post_lanes in POST_LANES and self.oc % self.post_lanes == 0,
            f"2, 4, 8 or 16 and divide oc, which is {self.oc}",
        )
        for name in ("input_words", "weight_words", "param_words", "output_words"):
            require(name, 16 <= getattr(self, name) <= MAX_BUFFER_WORDS, f"16 to {MAX_BUFFER_WORDS}")
        require("mac_in_lut", not (self.mac_in_lut and self.packed), "false where packed is true")
        require("ports", self.ports in (1, 2), "1 or 2")
        require("port_bytes", self.port_bytes in (8, 16), "8 or 16")
        require(
            "burst_beats",
            self.burst_beats in (2, 4, 8, 16, 32, 64, 128, 256) and self.burst_beats * self.port_bytes <= 4096,
            "a power of two from 2 to 256, at most 4096 bytes in all",
        )
        require("outstanding", 1 <= self.outstanding <= 32, "1 to 32")
        if self.dataflow == "output":
            require("sum_words", self.sum_words == 0, "0 with dataflow output, whose sums stay in the array")
        else:
            require("sum_words", 16 <= self.sum_words <= MAX_BUFFER_WORDS, f"16 to {MAX_BUFFER_WORDS}")

    @property
    def integers(self) -> dict[str, int]:
        """All parameters by name as tables hold them: `dataflow` as its place in `DATAFLOWS`."""
        return {field.name: self._integer(field.name) for field in fields(self)}

    def _integer(self, name: str) -> int:
        return self.dataflow_number if name == "dataflow" else int(getattr(self, name))

    @property
    def dataflow_number(self) -> int:
        """The dataflow's place in `DATAFLOWS`."""
        return DATAFLOWS.index(self.dataflow)

    @staticmethod
    def from_integers(values: Mapping[str, int]) -> Chunk:
        """The chunk whose `integers` these are; parameters left out have their defaults. UserError if illegal."""
        given: dict[str, Any] = dict(values)
        given |= {name: bool(given[name]) for name in SWITCHES if name in given}
        if "dataflow" in given:
            place = given["dataflow"]
            given["dataflow"] = DATAFLOWS[place] if 0 <= place < len(DATAFLOWS) else place
        return Chunk(**given)

    @property
    def multipliers(self) -> int:
        return self.oc * self.ic * self.px

    @property
    def channel_group(self) -> int:
        """Channels handled at once where channels do not mix (depthwise, pooling)."""
        return min(self.oc, WORD_BYTES)

    @property
    def weight_word_bytes(self) -> int:
        return self.oc * self.ic

    @property
    def weight_port(self) -> int:
        """Port that weights, parameters and program come through."""
        return self.ports - 1


MAX_CHUNKS = 16
LINK_WORDS = (64, 65536)


@dataclass(frozen=True)
class Link:
    """A bank of on-chip activation memory: chunk `writer` stores into it, chunk `reader` loads from it.

    One write port, one read port, a word of 16 bytes per cycle each: nothing is ever arbitrated. Addresses wrap at
    `words`, a power of two, so a tensor needs no more place than the part of it that is alive.
    """

    writer: int
    reader: int
    words: int

    def __post_init__(self) -> None:
        low, high = LINK_WORDS
        if not low <= self.words <= high or self.words & (self.words - 1):
            raise UserError(
                f"link {self.writer} to {self.reader}: words is {self.words};"
                f" it must be a power of two, {low} to {high}"
            )


@dataclass(frozen=True)
class Accelerator:
    """Chunks, the on-chip memory between them, and the width of addresses."""

    chunks: tuple[Chunk, ...] = (Chunk(),)
    address_bits: int = 32
    links: tuple[Link, ...] = ()
    """At most one per pair of writer and reader; both may be the same chunk."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.chunks) <= MAX_CHUNKS:
            raise UserError(f"accelerator: {len(self.chunks)} chunks given; it must be 1 to {MAX_CHUNKS}")
        if not 32 <= self.address_bits <= 64:
            raise UserError(f"accelerator: address_bits is {self.address_bits}; it must be 32 to 64")
        pairs = [(link.writer, link.reader) for link in self.links]
        for writer, reader in pairs:
            if not (0 <= writer < len(self.chunks) and 0 <= reader < len(self.chunks)):
                raise UserError(f"accelerator: link {writer} to {reader}: there are {len(self.chunks)} chunks")
            if pairs.count((writer, reader)) > 1:
                raise UserError(f"accelerator: link {writer} to {reader} is given twice")
            for chunk in (self.chunks[writer], self.chunks[reader]):
                if chunk.port_bytes != WORD_BYTES:
                    raise UserError(f"accelerator: link {writer} to {reader}: both chunks need port_bytes {WORD_BYTES}")

    def link(self, writer: int, reader: int) -> Link | None:
        """The bank from one chunk to another, if there is one."""
        return next((link for link in self.links if (link.writer, link.reader) == (writer, reader)), None)

    @property
    def ports(self) -> int:
        """AXI4 masters of all chunks; chunk c's port p is number `first_port(c) + p`."""
        return self.first_port(len(self.chunks))

    def first_port(self, chunk: int) -> int:
        return sum(earlier.ports for earlier in self.chunks[:chunk])


@dataclass(frozen=True)
class Memory:
    """The memory behind each port: a serial server, reads and writes independent of each other.

    `read_latency`: cycles from the address handshake to the first beat on the bus. `beat_interval`: cycles from
    beat to beat (1: the port's full width each cycle). `write_latency`: cycles from the last data beat to
    the response.
    """

    read_latency: int = 64
    beat_interval: int = 1
    write_latency: int = 16

    def __post_init__(self) -> None:
        for name, low in (("read_latency", 1), ("beat_interval", 1), ("write_latency", 1)):
            if not low <= getattr(self, name) <= 4096:
                raise UserError(f"memory: {name} is {getattr(self, name)}; it must be {low} to 4096")


LINK_MEMORY = Memory(read_latency=3, beat_interval=1, write_latency=2)
"""Timing of a Link (`dna_link.v`), in the terms of a memory behind a port."""

Memories = Memory | tuple[Memory, ...]
"""One memory timing for all ports, or one per port of the accelerator."""


def port_memory(memories: Memories, port: int) -> Memory:
    """The timing behind one port of the accelerator (`Accelerator.first_port`)."""
    return memories if isinstance(memories, Memory) else memories[port]
