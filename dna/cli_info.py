"""`dna doctor` and `dna boards`: what there is to work with."""

from __future__ import annotations

import click

from dna.accelerator.board import board_names, load_board
from dna.doctor import checks
from dna.report.console import console, table

_COLOURS = {"present": "green", "missing": "red", "unfit": "red"}


@click.command()
@click.option("--quiet", is_flag=True, help="Print only what is required and missing.")
def doctor(quiet: bool) -> None:
    """Say what this machine has, what is missing, and how to get it.

    Exits with 1 if something required is missing.
    """
    found = checks()
    failed = [check for check in found if check.failed]
    out = console(stderr=quiet)
    shown = failed if quiet else found
    if shown:
        rows = table("", "state", "found", "needed for", "how to get it")
        for check in shown:
            colour = _COLOURS[check.state] if check.required else "default" if check.state == "present" else "yellow"
            optional = "" if check.required else " (optional)"
            rows.add_row(
                check.name, f"[{colour}]{check.state}[/]", check.found, check.needed_for + optional, check.remedy
            )
        out.print(rows)
    if not quiet:
        out.print("\nready" if not failed else f"\nnot ready: {', '.join(check.name for check in failed)}")
    if failed:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("name", required=False)
def boards(name: str | None) -> None:
    """List the boards, or show one: NAME or a YAML file of your own."""
    numbers = ("DSP", "BRAM36", "URAM", "LUT", "FF", "MHz")
    figures = ("nm", "mm²", "memory kB", "multipliers", "MHz")
    rows = table("board", "part", *numbers, "ports", numbers=numbers)
    chips = table("ASIC", *figures, "ports", numbers=figures)
    for entry in [name] if name else board_names():
        board = load_board(entry)
        ports = f"{board.ports} × {board.port_bits} bit"
        if board.technology is not None:
            limits = (board.technology.node_nm, board.area_mm2, board.sram_kb, board.dsp, board.clock_mhz)
            chips.add_row(board.name, *(f"{limit:g}" for limit in limits), ports)
            continue
        counts = (board.dsp, board.bram36, board.uram, board.lut, board.ff, f"{board.clock_mhz:g}")
        rows.add_row(board.name, board.part, *map(str, counts), ports)
    out = console()
    for shown in (rows, chips):
        if shown.row_count:
            out.print(shown)
            out.print()
    out.print("The clock is an assumption until a timing run says otherwise. Sources: the board files.", style="dim")
