"""The register map for software: a C header and a Python class, from the description that the Verilog comes from."""

from __future__ import annotations

from dna.accelerator.registers import (
    BUFFERS,
    IDENTITY,
    PASS_CYCLES,
    STATS_LAYERS,
    VERSION,
    Bits,
    Register,
    registers,
)

CONSTANTS = {
    "IDENTITY": IDENTITY,
    "MAP_VERSION": VERSION,
    "STATS_LAYERS": STATS_LAYERS,
    "BUFFER_PAIRS": BUFFERS,
    "KEPT_PASS_CYCLES": PASS_CYCLES,
}
"""What software needs to know beside addresses and fields."""


def _define(name: str, value: str, comment: str = "") -> str:
    line = f"#define {name:<34} {value}"
    return f"{line:<50} /* {comment} */" if comment else line


def _mask(field: Bits) -> int:
    return (1 << field.bits) - 1


def _strides() -> dict[str, int]:
    """Bytes from one of a family of registers to the next, by the family's name; from the map itself."""
    offset = {entry.name: entry.offset for entry in registers(3)}
    return {
        "BASE_PROGRAM_NEXT": offset["BASE_PROGRAM_2_LOW"] - offset["BASE_PROGRAM_1_LOW"],
        "BASE_INPUT_NEXT": offset["BASE_INPUT_2_LOW"] - offset["BASE_INPUT_1_LOW"],
        "BASE_OUTPUT_NEXT": offset["BASE_OUTPUT_2_LOW"] - offset["BASE_OUTPUT_1_LOW"],
        "PASS_CYCLES_NEXT": offset["PASS_CYCLES_1"] - offset["PASS_CYCLES_0"],
    }


def render_c_header(header: str, chunks: int) -> str:
    """Text of `dna_registers.h`. `header`: its first line, a comment.

    DNA_REG_<NAME> is a byte address, DNA_<NAME>_<FIELD>_SHIFT and _MASK a field.
    """
    lines = [
        header,
        "/* Control registers, 32 bits each; generated from the description that dna_registers.v comes from. */",
        "#ifndef DNA_REGISTERS_H",
        "#define DNA_REGISTERS_H",
        "",
        *(_define(f"DNA_{name}", f"0x{value:X}u") for name, value in CONSTANTS.items()),
        *(_define(f"DNA_REG_{name}", f"{value}u") for name, value in _strides().items()),
        "",
    ]
    for entry in registers(chunks):
        lines.append(_define(f"DNA_REG_{entry.name}", f"0x{entry.offset:03X}u", _comment(entry)))
        for field in entry.fields:
            if field.name:
                name = f"DNA_{entry.name}_{field.name}"
                lines.append(_define(f"{name}_SHIFT", f"{field.low}u", f"{field.access}: {field.meaning}"))
                lines.append(_define(f"{name}_MASK", f"0x{_mask(field):X}u"))
    return "\n".join([*lines, "", "#endif", ""])


def _comment(entry: Register) -> str:
    only = entry.fields[0]
    return f"{only.access}: {entry.meaning}" if not only.name else entry.meaning


def render_python(header: str, chunks: int) -> str:
    """Text of `dna_registers.py`: class `Registers` with addresses and fields."""
    lines = [
        f'"""Control registers. {header}"""',
        "",
        "from __future__ import annotations",
        "",
        *(f"{name} = 0x{value:X}" for name, value in CONSTANTS.items()),
        "",
        "",
        "class Registers:",
        '    """Byte addresses of the 32-bit registers; `FIELDS`: (lowest bit, mask) by register and field."""',
        "",
    ]
    for entry in registers(chunks):
        lines.append(f"    {entry.name} = 0x{entry.offset:03X}")
    lines += ["", "    FIELDS: dict[str, dict[str, tuple[int, int]]] = {"]
    for entry in registers(chunks):
        named = [field for field in entry.fields if field.name]
        if named:
            parts = ", ".join(f'"{field.name}": ({field.low}, 0x{_mask(field):X})' for field in named)
            lines.append(f'        "{entry.name}": {{{parts}}},')
    lines += [
        "    }",
        "",
        "    @classmethod",
        "    def address(cls, name: str) -> int:",
        '        """Byte address of the register; AttributeError if this accelerator has none of that name."""',
        "        return int(getattr(cls, name))",
        "",
        "    @classmethod",
        "    def field(cls, register: str, name: str, value: int) -> int:",
        '        """A field of a register\'s value."""',
        "        low, mask = cls.FIELDS[register][name]",
        "        return value >> low & mask",
        "",
        "    @staticmethod",
        "    def base(region: str, index: int) -> str:",
        '        """Name of a base register without its half: index is the chunk (PROGRAM) or the buffer."""',
        '        return f"BASE_{region}_{index}" if index else f"BASE_{region}"',
        "",
    ]
    return "\n".join(lines)
