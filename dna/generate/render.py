"""Verilog from templates: Jinja with delimiters that Verilog does not use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dna.accelerator.chunk import Accelerator
from dna.accelerator.registers import (
    ADDRESS_BITS,
    IDENTITY,
    REGISTERS,
    SNAPSHOT,
    STATS_LAYERS,
    VERSION,
    Bits,
    Register,
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


def render_registers(header: str) -> str:
    """Text of `dna_registers.v`; `header` is its first comment line: what generated it, and from what."""
    return (
        environment(rtl_templates())
        .get_template("dna_registers.v.j2")
        .render(
            header=header,
            registers=REGISTERS,
            port=_port,
            lanes=_lanes,
            read_statement=_read_statement,
            bit=lambda index: f"[{index}]",
            address=lambda entry: f"{ADDRESS_BITS}'h{entry.offset:03X}",
            address_range=f"[{ADDRESS_BITS - 1}:0]",
            upper_bits=f"[{ADDRESS_BITS - 1}:2]",
        )
    )


def render_top(accelerator: Accelerator, header: str) -> str:
    """Text of `dna_top.v` for the accelerator; `header` as in `render_registers`."""
    (chunk,) = accelerator.chunks

    def packed(signal: str) -> str:
        names = [f"m{port}_axi_{signal}" for port in reversed(range(chunk.ports))]
        return names[0] if len(names) == 1 else "{" + ", ".join(names) + "}"

    return (
        environment(rtl_templates())
        .get_template("dna_top.v.j2")
        .render(
            header=header,
            chunk=chunk,
            address_bits=accelerator.address_bits,
            address_range=f"[{accelerator.address_bits - 1}:0]",
            data_range=f"[{8 * chunk.port_bytes - 1}:0]",
            strobe_range=f"[{chunk.port_bytes - 1}:0]",
            stats_layers=STATS_LAYERS,
            identity=IDENTITY,
            version=VERSION,
            snapshot=SNAPSHOT,
            word=lambda index: f"[{32 * index + 31}:{32 * index}]",
            packed=packed,
        )
    )


def render_testbench(accelerator: Accelerator, header: str) -> str:
    """Text of `dna_testbench.v` for the accelerator; `header` as in `render_registers`."""
    (chunk,) = accelerator.chunks
    above = accelerator.address_bits - 32
    return (
        environment(simulation())
        .get_template("dna_testbench.v.j2")
        .render(
            header=header,
            chunk=chunk,
            address_bits=accelerator.address_bits,
            error_bits=f"{{{above}'d0, " if above else "",
            bit=lambda index: f"[{index}]",
            part=lambda name, index, width: f"{name}[{index}*{width}+:{width}]",
        )
    )
