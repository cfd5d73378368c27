"""The control registers: the one description from which Verilog, documents and benches take their addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dna.accelerator.chunk import Chunk

Access = Literal["ro", "rw", "w1"]
"""`ro`: read only. `rw`: read and write. `w1`: writing 1 gives a pulse, reads 0."""

ADDRESS_BITS = 12
"""The register space is 4 KB; registers are 32 bits."""
IDENTITY = int.from_bytes(b"DNA1", "big")
VERSION = 1
STATS_LAYERS = 256
"""Layers whose statistics are kept."""

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

    def port(self, field: Bits) -> str:
        """Name of the field's port on the register module."""
        return f"{self.name}_{field.name}".lower() if field.name else self.name.lower()


def _whole(name: str, offset: int, access: Access, meaning: str, bits: int = 32) -> Register:
    return Register(name, offset, meaning, (Bits("", 0, bits, access, meaning),))


def _flag(name: str, low: int, access: Access, meaning: str) -> Bits:
    return Bits(name, low, 1, access, meaning)


def _bases() -> list[Register]:
    result = []
    for place, region in enumerate(("PROGRAM", "INPUT", "OUTPUT", "WORK")):
        for half, offset in (("LOW", 0), ("HIGH", 4)):
            what = (
                f"byte address of region {region}, {'lower' if half == 'LOW' else 'upper'} 32 bits; 4096-byte aligned"
            )
            result.append(_whole(f"BASE_{region}_{half}", 0x40 + 8 * place + offset, "rw", what))
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
        "capabilities: the MAC array and the post lanes",
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
        "capabilities: memory ports",
        (
            Bits("COUNT", 0, 8, "ro", "AXI4 masters"),
            Bits("BYTES", 8, 8, "ro", "width of a master in bytes"),
            _flag("RESIDUAL", 16, "ro", "there is a residual buffer"),
        ),
    ),
    Register(
        "BUFFERS_IN",
        0x10,
        "capabilities: depth of the buffers that are read by the array",
        (
            Bits("INPUT", 0, 16, "ro", "words of each lane's input buffer"),
            Bits("WEIGHT", 16, 16, "ro", "words of the weight buffer"),
        ),
    ),
    Register(
        "BUFFERS_OUT",
        0x14,
        "capabilities: depth of the other buffers",
        (
            Bits("PARAM", 0, 16, "ro", "words of the parameter buffer"),
            Bits("OUTPUT", 16, 16, "ro", "words of the output buffer, and of the residual buffer"),
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
    *_bases(),
    _whole("LAYER_SELECT", 0x80, "rw", "layer that the LAYER registers show, counted in order of execution", 16),
    Register(
        "LAYER_COUNT",
        0x84,
        f"layers recorded since start, at most {STATS_LAYERS}",
        (
            Bits("COMPUTED", 0, 16, "ro", "layers whose last tile has been computed"),
            Bits("COMMITTED", 16, 16, "ro", "layers whose last write has been answered"),
        ),
    ),
    _whole("LAYER_COMMIT", 0x88, "ro", "cycle of the layer's last write response; 0 if not recorded"),
    *_layer_statistics(),
)


def register(name: str) -> Register:
    """The register of that name; KeyError if there is none."""
    for entry in REGISTERS:
        if entry.name == name:
            return entry
    raise KeyError(name)


def capabilities(chunk: Chunk) -> dict[str, int]:
    """By name, what the identifying registers of an accelerator with this chunk hold."""
    values = {
        "ARRAY": {"OC": chunk.oc, "IC": chunk.ic, "PX": chunk.px, "POST_LANES": chunk.post_lanes},
        "PORTS": {"COUNT": chunk.ports, "BYTES": chunk.port_bytes, "RESIDUAL": int(chunk.residual)},
        "BUFFERS_IN": {"INPUT": chunk.input_words, "WEIGHT": chunk.weight_words},
        "BUFFERS_OUT": {"PARAM": chunk.param_words, "OUTPUT": chunk.output_words},
    }
    result = {"ID": IDENTITY, "VERSION": VERSION}
    for name, parts in values.items():
        places = {field.name: field.low for field in register(name).fields}
        result[name] = sum(value << places[part] for part, value in parts.items())
    return result


def render_markdown() -> str:
    """The register map as markdown tables, for docs/registers.md."""
    lines = ["| address | register | bits | field | access | meaning |", "| --- | --- | --- | --- | --- | --- |"]
    for entry in REGISTERS:
        if len(entry.fields) > 1:
            lines.append(f"| 0x{entry.offset:03X} | `{entry.name}` | | | | {entry.meaning} |")
        for field in entry.fields:
            start = f"| 0x{entry.offset:03X} | `{entry.name}`" if len(entry.fields) == 1 else "| |"
            name = f"`{field.name.lower()}`" if field.name else ""
            lines.append(f"{start} | {field.high}:{field.low} | {name} | {field.access} | {field.meaning} |")
    return "\n".join(lines)
