"""`dna space`: what a search chooses from."""

from __future__ import annotations

from pathlib import Path

import click

from dna.report.console import console, table

DEFAULT_NETWORK = "mobilenet_v2"


@click.command()
@click.option("--network", default=DEFAULT_NETWORK, show_default=True, help="A network of the zoo.")
@click.option("--board", help="Only what is searched on this board: a name, or a YAML file. Default: all there is.")
@click.option(
    "--constraints", type=click.Path(path_type=Path), metavar="FILE", help="What is given; see docs/search.md."
)
@click.option("--markdown", is_flag=True, help="Print the table as it stands in the documentation.")
def space(network: str, board: str | None, constraints: Path | None, markdown: bool) -> None:
    """Say what a design is chosen from: every choice, its values and its meaning."""
    from dna.accelerator.board import load_board
    from dna.network.zoo import build
    from dna.search import searched, space_table
    from dna.search.constraints import Constraints
    from dna.search.constraints_file import read_constraints

    given = read_constraints(constraints) if constraints else Constraints()
    layers = build(network).network
    found = searched.searched(layers, load_board(board), given) if board else searched.whole(layers, given)
    rows = found.table()
    if markdown:
        print(space_table.markdown(rows), end="")
        return
    shown = table(*space_table.HEAD, numbers=("choices",))
    for row in rows:
        shown.add_row(*row.cells)
    screen = console()
    screen.print(shown)
    designs = space_table.about(found.size)
    screen.print(f"\n{designs} designs for {network}; tiles, loop order and sizes of links are solved for each of them")
