"""The register map for people: brings the table in docs/registers.md up to date."""

from __future__ import annotations

import argparse
from pathlib import Path

from dna.accelerator.registers import render_markdown
from dna.generate.isa_header import replace_between

BEGIN = "<!-- register table: begin (python -m dna.generate.registers_doc docs/registers.md) -->"
END = "<!-- register table: end -->"


def update_document(text: str) -> str:
    """`docs/registers.md` with its table brought up to date."""
    return replace_between(text, BEGIN, END, render_markdown())


def main() -> None:
    """Bring the register table of the given document up to date."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("document", type=Path, help="docs/registers.md")
    document = parser.parse_args().document
    document.write_text(update_document(document.read_text()))


if __name__ == "__main__":
    main()
