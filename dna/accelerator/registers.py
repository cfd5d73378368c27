"""The control registers: the one description from which Verilog, documents and benches take their addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dna.accelerator.chunk import LINK_WORDS, MAX_CHUNKS, Accelerator, Chunk

Access = Literal["ro", "rw", "w1"]
"""`ro`: read only. `rw`: read and write. `w1`: writing 1 gives a pulse, reads 0."""

ADDRESS_BITS = 12
"""The register space is 4 KB; registers are 32 bits."""
IDENTITY = int.from_bytes(b"DNA1", "big")
VERSION = 2
STATS_LAYERS = 256
"""Layers whose statistics are kept, per chunk."""
BUFFERS = 4
"""Pairs of base registers for input and output that passes can take turns with."""
PASS_CYCLES = 8
"""Passes whose end is kept."""

SNAPSHOT = ("cycle", "busy", "wait_input", "wait_weight", "wait_residual", "wait_output", "wait_job")
"""What the chunk records when a layer's last tile leaves the compute engine: 32 bits each, least significant first."""


@dataclass(frozen=True)
class Bits:
    """A field of a register: `bits` wide, from bit `low` on."""

    name: str
    low: int
    bits: int
    access: Access
    meaning: str
    reset: int = 0

    @property
    def high(self) -> int:
        return self.low + self.bits - 1


@dataclass(frozen=True)
class Register:
    """A 32-bit register at byte address `offset`; bits in no field read 0."""

    name: str
    offset: int
    meaning: str
    fields: tuple[Bits, ...]
    chunk: int = 0
    """It exists only in accelerators that have this chunk."""

    def port(self, field: Bits) -> str:
        """Name of the field's port on the register module."""
        return f"{self.name}_{field.name}".lower() if field.name else self.name.lower()


def _whole(name: str, offset: int, access: Access, meaning: str, bits: int = 32) -> Register:
    return Register(name, offset, meaning, (Bits("", 0, bits, access, meaning),))


def _flag(name: str, low: int, access: Access, meaning: str) -> Bits:
    return Bits(name, low, 1, access, meaning)


def _base(name: str, region: str, offset: int, chunk: int = 0) -> list[Register]:
    """The two halves of a base register."""
    result = []
    for half, bits, place in (("LOW", "lower", 0), ("HIGH", "upper", 4)):
        what = f"byte address of region {region}, {bits} 32 bits; 4096-byte aligned"
        field = Bits("", 0, 32, "rw", what)
        result.append(Register(f"{name}_{half}", offset + place, what, (field,), chunk))
    return result


def base_register(region: str, index: int = 0) -> str:
    """Name of a base register without its half: index is the chunk (PROGRAM) or the buffer (INPUT, OUTPUT)."""
    return f"BASE_{region}_{index}" if index else f"BASE_{region}"


def _bases() -> list[Register]:
    result = []
    for place, region in enumerate(("PROGRAM", "INPUT", "OUTPUT", "WORK")):
        what = {"PROGRAM": "PROGRAM of chunk 0", "WORK": "WORK"}.get(region, f"{region}, buffer 0")
        result += _base(base_register(region), what, 0x40 + 8 * place)
    return result


def _more_bases() -> list[Register]:
    result = []
    for chunk in range(1, MAX_CHUNKS):
        result += _base(base_register("PROGRAM", chunk), f"PROGRAM of chunk {chunk}", 0x100 + 8 * chunk, chunk)
    for region, offset in (("INPUT", 0x180), ("OUTPUT", 0x1A0)):
        for buffer in range(1, BUFFERS):
            result += _base(base_register(region, buffer), f"{region}, buffer {buffer}", offset + 8 * buffer)
    return result


def _layer_statistics() -> list[Register]:
    meanings = {
        "cycle": "cycle in which the layer's last tile left the compute engine",
        "busy": "cycles in which the array multiplied",
        "wait_input": "cycles in which the compute engine waited for an input tile",
        "wait_weight": "cycles in which it waited for weights or parameters",
        "wait_residual": "cycles in which it waited for a residual tile",
        "wait_output": "cycles in which it waited for room in the output buffer or for the post lanes",
        "wait_job": "cycles in which it had no job, took a LAYER or began a tile",
    }
    result = []
    for place, name in enumerate(SNAPSHOT):
        what = f"{meanings[name]}, counted from the start of the Program"
        result.append(_whole(f"LAYER_{name.upper()}", 0x90 + 4 * place, "ro", what))
    return result


REGISTERS: tuple[Register, ...] = (
    _whole("ID", 0x00, "ro", f'"DNA1": 0x{IDENTITY:08X}'),
    _whole("VERSION", 0x04, "ro", "version of this register map and of the instruction set"),
    Register(
        "ARRAY",
        0x08,
        "capabilities of chunk CHUNK_SELECT: the MAC array and the post lanes",
        (
            Bits("OC", 0, 8, "ro", "output channels computed at once"),
            Bits("IC", 8, 8, "ro", "input channels reduced at once"),
            Bits("PX", 16, 8, "ro", "pixel lanes"),
            Bits("POST_LANES", 24, 8, "ro", "output bytes requantised per cycle"),
        ),
    ),
    Register(
        "PORTS",
        0x0C,
        "capabilities of chunk CHUNK_SELECT: memory ports",
        (
            Bits("COUNT", 0, 8, "ro", "AXI4 masters"),
            Bits("BYTES", 8, 8, "ro", "width of a master in bytes"),
            _flag("RESIDUAL", 16, "ro", "there is a residual buffer"),
        ),
    ),
    Register(
        "BUFFERS_IN",
        0x10,
        "capabilities of chunk CHUNK_SELECT: depth of the buffers that are read by the array",
        (
            Bits("INPUT", 0, 16, "ro", "words of each lane's input buffer"),
            Bits("WEIGHT", 16, 16, "ro", "words of the weight buffer"),
        ),
    ),
    Register(
        "BUFFERS_OUT",
        0x14,
        "capabilities of chunk CHUNK_SELECT: depth of the other buffers",
        (
            Bits("PARAM", 0, 16, "ro", "words of the parameter buffer"),
            Bits("OUTPUT", 16, 16, "ro", "words of the output buffer, and of the residual buffer"),
        ),
    ),
    _whole("CHUNKS", 0x18, "ro", "capabilities: number of chunks", 8),
    Register(
        "LINKS",
        0x1C,
        "capabilities: banks of activation memory between chunks",
        (
            Bits("COUNT", 0, 9, "ro", "banks"),
            Bits("BLOCKS", 12, 20, "ro", "words of all banks together, in blocks of 64"),
        ),
    ),
    Register(
        "CONTROL",
        0x20,
        "commands; a command other than `clear` is ignored while busy",
        (
            _flag("START", 0, "w1", "run the Program; clears done, the interrupt, errors and counters"),
            _flag("CLEAR", 1, "w1", "clear done"),
        ),
    ),
    Register(
        "STATUS",
        0x24,
        "state",
        (
            _flag("BUSY", 0, "ro", "the Program runs"),
            _flag("DONE", 1, "ro", "the Program has ended; until start or clear"),
            _flag("READ_ERROR", 2, "ro", "a read was answered with an error; the Program was given up; until start"),
            _flag("WRITE_ERROR", 3, "ro", "a write was answered with an error; until start"),
            _flag("OVERRUN", 4, "ro", "the post lanes were given work too fast: a mistake in the Program; until start"),
            _flag("INTERRUPT", 5, "ro", "an interrupt waits, enabled or not"),
        ),
    ),
    Register("IRQ_ENABLE", 0x28, "interrupt", (_flag("DONE", 0, "rw", "raise irq when done"),)),
    Register("IRQ_CLEAR", 0x2C, "interrupt", (_flag("DONE", 0, "w1", "take irq back"),)),
    _whole("CYCLES", 0x30, "ro", "cycles since start while busy, then cycles of the whole Program"),
    Register(
        "PASSES",
        0x34,
        "passes that one start runs",
        (Bits("", 0, 32, "rw", "passes that one start runs, 1 or more; not to be changed while busy", reset=1),),
    ),
    _whole(
        "BUFFERS", 0x38, "rw", "0, 1 or 3: pass k (from 0 on) uses BASE_INPUT and BASE_OUTPUT number k & BUFFERS", 2
    ),
    _whole("PASSES_DONE", 0x3C, "ro", "passes since start that every chunk has committed: their outputs are in memory"),
    *_bases(),
    _whole("LAYER_SELECT", 0x80, "rw", "layer that the LAYER registers show, counted in order of execution", 16),
    Register(
        "LAYER_COUNT",
        0x84,
        f"layers of chunk CHUNK_SELECT recorded since start, in pass 0, at most {STATS_LAYERS}",
        (
            Bits("COMPUTED", 0, 16, "ro", "layers whose last tile has been computed"),
            Bits("COMMITTED", 16, 16, "ro", "layers whose last write has been answered"),
        ),
    ),
    _whole("CHUNK_SELECT", 0x8C, "rw", "chunk that the capabilities and the LAYER registers show", 4),
    _whole("LAYER_COMMIT", 0x88, "ro", "cycle of the layer's last write response; 0 if not recorded"),
    *_layer_statistics(),
    *(
        _whole(
            f"PASS_CYCLES_{place}",
            0xC0 + 4 * place,
            "ro",
            f"cycle in which the last pass k with k mod {PASS_CYCLES} = {place} was done by all chunks",
        )
        for place in range(PASS_CYCLES)
    ),
    *_more_bases(),
)
"""The whole map, for any accelerator."""


def registers(chunks: int) -> tuple[Register, ...]:
    """The registers of an accelerator with that many chunks."""
    return tuple(entry for entry in REGISTERS if entry.chunk < chunks)


def register(name: str) -> Register:
    """The register of that name; KeyError if there is none."""
    for entry in REGISTERS:
        if entry.name == name:
            return entry
    raise KeyError(name)


def capabilities(chunk: Chunk) -> dict[str, int]:
    """By name, what the identifying registers of an accelerator hold while CHUNK_SELECT shows this chunk."""
    return {
        "ID": IDENTITY,
        "VERSION": VERSION,
        "ARRAY": _value("ARRAY", OC=chunk.oc, IC=chunk.ic, PX=chunk.px, POST_LANES=chunk.post_lanes),
        "PORTS": _value("PORTS", COUNT=chunk.ports, BYTES=chunk.port_bytes, RESIDUAL=int(chunk.residual)),
        "BUFFERS_IN": _value("BUFFERS_IN", INPUT=chunk.input_words, WEIGHT=chunk.weight_words),
        "BUFFERS_OUT": _value("BUFFERS_OUT", PARAM=chunk.param_words, OUTPUT=chunk.output_words),
    }


def all_capabilities(accelerator: Accelerator) -> list[dict[str, int]]:
    """`capabilities` of each chunk, with what the chunks have in common."""
    common = {"CHUNKS": len(accelerator.chunks), "LINKS": _value("LINKS", **link_fields(accelerator))}
    return [capabilities(chunk) | common for chunk in accelerator.chunks]


def link_fields(accelerator: Accelerator) -> dict[str, int]:
    """The fields of register LINKS."""
    words = sum(link.words for link in accelerator.links)
    return {"COUNT": len(accelerator.links), "BLOCKS": words // LINK_WORDS[0]}


def _value(name: str, **parts: int) -> int:
    """The register's value from those of its fields."""
    places = {field.name: field.low for field in register(name).fields}
    return sum(value << places[part] for part, value in parts.items())


def render_markdown() -> str:
    """The register map as markdown tables, for docs/registers.md."""
    lines = ["| address | register | bits | field | access | meaning |", "| --- | --- | --- | --- | --- | --- |"]
    for entry in REGISTERS:
        if entry.chunk > 1:
            continue  # as chunk 1, 8 bytes further for each chunk
        if len(entry.fields) > 1:
            lines.append(f"| 0x{entry.offset:03X} | `{entry.name}` | | | | {entry.meaning} |")
        for field in entry.fields:
            start = f"| 0x{entry.offset:03X} | `{entry.name}`" if len(entry.fields) == 1 else "| |"
            name = f"`{field.name.lower()}`" if field.name else ""
            lines.append(f"{start} | {field.high}:{field.low} | {name} | {field.access} | {field.meaning} |")
        if entry.name == f"{base_register('PROGRAM', 1)}_HIGH":
            more = f"`{base_register('PROGRAM', 2)}_LOW` to `{base_register('PROGRAM', MAX_CHUNKS - 1)}_HIGH`"
            lines.append(f"| 0x{entry.offset + 4:03X} ... | {more} | 31:0 |  | rw | the same for each further chunk |")
    return "\n".join(lines)
