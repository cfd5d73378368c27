"""The generated views of the instruction set agree with dna.accelerator.isa."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dna.accelerator import isa
from dna.compile.program import Instruction
from dna.generate.isa_header import render_header, update_document

DOCUMENT = Path(__file__).parents[2] / "docs" / "program.md"


def _ranges() -> dict[str, tuple[int, int]]:
    found = re.findall(r"^`define DNA_(\w+) +(\d+):(\d+)", render_header(), re.M)
    return {name: (int(high), int(low)) for name, high, low in found}


@pytest.mark.parametrize("opcode", list(isa.FIELDS))
def test_each_range_finds_its_field_in_an_encoded_instruction(opcode: str) -> None:
    ranges = _ranges()
    for field in isa.FIELDS[opcode][1:]:
        value = isa.field_limit(opcode, field.name)
        word = int.from_bytes(Instruction(opcode, {field.name: value}).encode(), "little")
        high, low = ranges[f"{opcode}_{field.name.upper()}"]
        assert high - low + 1 == field.bits
        assert word >> low & ((1 << field.bits) - 1) == value
        assert word == isa.OPCODES[opcode] | value << low


def test_constants_have_the_width_of_their_field() -> None:
    text = render_header()
    for line in ("DNA_OP_LOAD +4'd1", "DNA_DEST_PROGRAM +3'd4", "DNA_REGION_WORK +3'd3", "DNA_MODE_MAX +2'd2"):
        assert re.search(rf"^`define {line}$", text, re.M), line


def test_table_in_the_document_is_current() -> None:
    text = DOCUMENT.read_text()
    assert update_document(text) == text, "run: python -m dna.generate.isa_header docs/program.md"


def test_a_stale_table_is_replaced_and_the_rest_kept() -> None:
    text = DOCUMENT.read_text()
    stale = text.replace("| 3:0 | `op` | opcode |", "| 9:9 | `op` | wrong |")
    assert stale != text
    assert update_document(stale) == text
