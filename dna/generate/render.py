"""Verilog from templates: Jinja with delimiters that Verilog does not use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dna.accelerator.chunk import Accelerator, Chunk, Link
from dna.accelerator.registers import (
    ADDRESS_BITS,
    BUFFERS,
    IDENTITY,
    PASS_CYCLES,
    SNAPSHOT,
    STATS_LAYERS,
    VERSION,
    Bits,
    Register,
    base_register,
    capabilities,
    link_fields,
    register,
    registers,
)
from dna.paths import rtl_templates, simulation


def environment(folder: Path) -> Environment:
    """``[[ value ]]``, ``[% statement %]`` and ``[# comment #]``; what is undefined is an error."""
    return Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
    )


@dataclass(frozen=True)
class _ByteLane:
    """The part of a field that one byte strobe covers."""

    byte: int
    of_port: str
    of_data: str


def _range(high: int, low: int) -> str:
    return f"[{low}]" if high == low else f"[{high}:{low}]"


def _lanes(field: Bits) -> list[_ByteLane]:
    lanes = []
    for byte in range(field.low // 8, field.high // 8 + 1):
        low, high = max(field.low, 8 * byte), min(field.high, 8 * byte + 7)
        of_port = "" if field.bits == 1 else f"[{high - field.low}:{low - field.low}]"
        lanes.append(_ByteLane(byte, of_port, _range(high, low)))
    return lanes


def _port(entry: Register, field: Bits) -> str:
    direction = "input  wire" if field.access == "ro" else "output reg "
    width = "" if field.bits == 1 else f"[{field.bits - 1}:0]"
    return f"{direction} {width:<6} {entry.port(field)}"


def _read_statement(entry: Register) -> str:
    parts = []
    for field in entry.fields:
        if field.access != "w1":
            place = "value" if field.bits == 32 else f"value{_range(field.high, field.low)}"
            parts.append(f"{place} = {entry.port(field)};")
    if not parts:
        return ";"
    return parts[0] if len(parts) == 1 else "\n".join(["begin", *(f"        {part}" for part in parts), "      end"])


def render_registers(header: str, chunks: int = 1) -> str:
    """Text of `dna_registers.v` for so many chunks; `header` is its first line: what generated it, and from what."""
    return (
        environment(rtl_templates())
        .get_template("dna_registers.v.j2")
        .render(
            header=header,
            registers=registers(chunks),
            port=_port,
            lanes=_lanes,
            read_statement=_read_statement,
            bit=_bit,
            address=lambda entry: f"{ADDRESS_BITS}'h{entry.offset:03X}",
            address_range=f"[{ADDRESS_BITS - 1}:0]",
            upper_bits=f"[{ADDRESS_BITS - 1}:2]",
        )
    )


@dataclass(frozen=True)
class _Port:
    """An AXI master: its number, and the port of a chunk that it belongs to. The first one of a chunk also writes."""

    number: int
    chunk: int
    index: int
    bits: int
    burst: int

    @property
    def writes(self) -> bool:
        return self.index == 0


@dataclass(frozen=True)
class _Unit:
    """A chunk, its masters, and the banks it reads and writes."""

    index: int
    chunk: Chunk
    ports: tuple[_Port, ...]
    reads: tuple[Link, ...]
    writes: tuple[Link, ...]


def _units(accelerator: Accelerator) -> list[_Unit]:
    units = []
    for index, chunk in enumerate(accelerator.chunks):
        first, bits = accelerator.first_port(index), 8 * chunk.port_bytes
        ports = tuple(_Port(first + port, index, port, bits, chunk.burst_beats) for port in range(chunk.ports))
        reads = tuple(link for link in accelerator.links if link.reader == index)
        writes = tuple(link for link in accelerator.links if link.writer == index)
        units.append(_Unit(index, chunk, ports, reads, writes))
    return units


def _all_ports(accelerator: Accelerator) -> list[_Port]:
    return [port for unit in _units(accelerator) for port in unit.ports]


_SHOWN = ("ARRAY", "PORTS", "BUFFERS_IN", "BUFFERS_OUT")
"""Registers that show the chunk that is selected."""


def _capability_bits() -> dict[str, int]:
    """Width of each field of the registers that show a chunk, by the name of its port."""
    return {register(name).port(field): field.bits for name in _SHOWN for field in register(name).fields}


def _capability_values(chunk: Chunk) -> dict[str, int]:
    values = capabilities(chunk)
    return {
        register(name).port(field): values[name] >> field.low & ((1 << field.bits) - 1)
        for name in _SHOWN
        for field in register(name).fields
    }


def _base(region: str, index: int) -> str:
    """The signal with a base address."""
    return base_register(region, index).lower()


def _bases(accelerator: Accelerator) -> dict[str, list[int]]:
    """The numbers of each region's base registers."""
    buffers = list(range(BUFFERS))
    return {"PROGRAM": list(range(len(accelerator.chunks))), "INPUT": buffers, "OUTPUT": buffers, "WORK": [0]}


def _register_ports(accelerator: Accelerator) -> list[tuple[str, str]]:
    """Ports of the register module, but for bus and snapshots, and what is joined to them in `dna_top`."""
    links = {f"links_{name.lower()}": value for name, value in link_fields(accelerator).items()}
    widths = {register("LINKS").port(field): field.bits for field in register("LINKS").fields}
    ports = [
        ("id", f"32'h{IDENTITY:08X}"),
        ("version", f"32'd{VERSION}"),
        ("chunks", f"8'd{len(accelerator.chunks)}"),
        *((name, f"{widths[name]}'d{value}") for name, value in links.items()),
        *((name, name) for name in _capability_bits()),
        ("control_start", "control_start"),
        ("control_clear", "control_clear"),
        ("status_busy", "busy"),
        ("status_done", "done"),
        ("status_read_error", "|error_read"),
        ("status_write_error", "|error_write"),
        ("status_overrun", "|error_overrun"),
        ("status_interrupt", "interrupt"),
        ("irq_enable_done", "irq_enable"),
        ("irq_clear_done", "irq_clear"),
        ("cycles", "cycles"),
        ("passes", "passes"),
        ("buffers", "buffers"),
        ("passes_done", "passes_done"),
        ("chunk_select", "chunk_select"),
        ("layer_select", "layer_select"),
        ("layer_count_computed", "layers_computed"),
        ("layer_count_committed", "layers_committed"),
        ("layer_commit", "layer_commit"),
    ]
    ports += [(f"pass_cycles_{place}", f"pass_cycles[{32 * place + 31}:{32 * place}]") for place in range(PASS_CYCLES)]
    for region, indices in _bases(accelerator).items():
        for index in indices:
            name = _base(region, index)
            ports += [(f"{name}_low", f"{name}[31:0]"), (f"{name}_high", f"{name}[63:32]")]
    return ports


def render_top(accelerator: Accelerator, header: str) -> str:
    """Text of `dna_top.v` for the accelerator; `header` as in `render_registers`."""
    return (
        environment(rtl_templates())
        .get_template("dna_top.v.j2")
        .render(
            header=header,
            chunks=accelerator.chunks,
            links=accelerator.links,
            units=_units(accelerator),
            ports=_all_ports(accelerator),
            address_bits=accelerator.address_bits,
            address_range=_width(accelerator.address_bits),
            stats_layers=STATS_LAYERS,
            pass_cycles=PASS_CYCLES,
            snapshot=SNAPSHOT,
            bases=_bases(accelerator),
            base=_base,
            register_ports=_register_ports(accelerator),
            capability_bits=_capability_bits(),
            capabilities=[_capability_values(chunk) for chunk in accelerator.chunks],
            range=_width,
            bit=_bit,
            word=lambda index: f"[{32 * index + 31}:{32 * index}]",
            part=lambda index, width: f"[{(index + 1) * width - 1}:{index * width}]",
        )
    )


def _width(bits: int) -> str:
    return f"[{bits - 1}:0]"


def _bit(index: int) -> str:
    return f"[{index}]"


def render_testbench(accelerator: Accelerator, header: str) -> str:
    """Text of `dna_testbench.v` for the accelerator; `header` as in `render_registers`."""
    above = accelerator.address_bits - 32
    ports = _all_ports(accelerator)
    widest = max(port.bits for port in ports)

    def pad(port: _Port, signal: str) -> str:
        missing = (widest - port.bits) // (1 if signal == "wdata" else 8)
        return f"{missing}'d0, " if missing else ""

    return (
        environment(simulation())
        .get_template("dna_testbench.v.j2")
        .render(
            header=header,
            ports=ports,
            data_bits=widest,
            address_bits=accelerator.address_bits,
            error_bits=f"{{{above}'d0, " if above else "",
            range=_width,
            bit=_bit,
            pad=pad,
            part=lambda index, pitch, width: f"[{index}*{pitch}+:{width}]",
        )
    )
