"""The instruction set for the other side: the Verilog header `isa.vh` and the table in `docs/program.md`."""

from __future__ import annotations

import argparse
from pathlib import Path

from dna.accelerator import isa

TABLE_BEGIN = "<!-- instruction table: begin (python -m dna.generate.isa_header docs/program.md) -->"
TABLE_END = "<!-- instruction table: end -->"


def _define(name: str, value: str, comment: str = "") -> str:
    line = f"`define {name:<28} {value}"
    return f"{line:<50} // {comment}" if comment else line


def _constants(prefix: str, bits: int, values: dict[str, int]) -> list[str]:
    return [_define(f"DNA_{prefix}_{name}", f"{bits}'d{value}") for name, value in values.items()]


def _bits(opcode: str, name: str) -> int:
    (found,) = (field.bits for field in isa.FIELDS[opcode] if field.name == name)
    return found


def field_range(opcode: str, name: str) -> tuple[int, int]:
    """(most, least) significant bit of a field in its instruction."""
    low = isa.offsets(opcode)[name]
    return low + _bits(opcode, name) - 1, low


def render_header() -> str:
    """Text of `isa.vh`: macro DNA_<OPCODE>_<FIELD> is a field's msb:lsb, used as ``job[`DNA_LOAD_REGION]``."""
    lines = [
        "// Instruction set, generated from dna/accelerator/isa.py: do not edit.",
        "// DNA_<OPCODE>_<FIELD> is a range: job[`DNA_LOAD_REGION].",
        "`ifndef DNA_ISA_VH",
        "`define DNA_ISA_VH",
        "",
        _define("DNA_INSTRUCTION_BITS", str(isa.INSTRUCTION_BITS)),
        _define("DNA_COUNTER_BITS", str(isa.COUNTER_BITS)),
        _define("DNA_COMMIT_BITS", str(_bits("LOAD", "wait_commit"))),
        _define("DNA_ADDRESS_BITS", str(_bits("LOAD", "base")), "buffer addresses"),
        _define("DNA_OP", "3:0", "opcode of any instruction"),
        "",
        *_constants("OP", _bits("END", "op"), isa.OPCODES),
        "",
        *_constants("DEST", _bits("LOAD", "dest"), isa.DESTINATIONS),
        "",
        *_constants("REGION", _bits("LOAD", "region"), isa.REGIONS),
        "",
        *_constants("MODE", _bits("LAYER", "mode"), isa.MODES),
        "",
        *_constants("ENGINE", _bits("WAIT", "engine"), isa.ENGINES),
        "",
        *_constants("EVENT", _bits("WAIT", "event"), isa.EVENTS),
    ]
    for opcode, fields in isa.FIELDS.items():
        lines.append("")
        for field in fields:
            high, low = field_range(opcode, field.name)
            lines.append(_define(f"DNA_{opcode}_{field.name.upper()}", f"{high}:{low}", field.meaning))
        lines.append(_define(f"DNA_{opcode}_BITS", str(high + 1), "bits in use"))
    return "\n".join([*lines, "", "`endif", ""])


def render_table() -> str:
    """Markdown tables of all instruction fields, one per opcode."""
    parts = []
    for opcode, fields in isa.FIELDS.items():
        rows = [f"### {opcode} (opcode {isa.OPCODES[opcode]})", "", "| bits | field | meaning |", "| --- | --- | --- |"]
        for field in fields:
            high, low = field_range(opcode, field.name)
            sign = ", signed" if field.signed else ""
            rows.append(f"| {high}:{low} | `{field.name}` | {field.meaning}{sign} |")
        parts.append("\n".join(rows))
    constants = (
        ("opcodes", isa.OPCODES), ("`dest`", isa.DESTINATIONS), ("`region`", isa.REGIONS), ("`mode`", isa.MODES),
    )  # fmt: skip
    lines = []
    for title, values in constants:
        lines.append(f"- {title}: " + ", ".join(f"{name} {value}" for name, value in values.items()))
    return "\n\n".join(["\n".join(lines), *parts])


def replace_between(text: str, begin: str, end: str, content: str) -> str:
    """`text` with what lies between the markers replaced; markers are appended when absent."""
    block = f"{begin}\n{content}\n{end}\n"
    if begin not in text:
        return f"{text.rstrip()}\n\n{block}"
    head, rest = text.split(begin, 1)
    return head + block + rest.split(end, 1)[1].lstrip("\n")


def update_document(text: str) -> str:
    """`docs/program.md` with its instruction table brought up to date."""
    if TABLE_BEGIN not in text:
        text = text.rstrip() + "\n\n## Instruction fields\n"
    return replace_between(text, TABLE_BEGIN, TABLE_END, render_table())


def main() -> None:
    """Print `isa.vh`, or bring the table of the given document up to date."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("document", nargs="?", type=Path, help="docs/program.md")
    document = parser.parse_args().document
    if document is None:
        print(render_header(), end="")
    else:
        document.write_text(update_document(document.read_text()))


if __name__ == "__main__":
    main()
