"""How everything prints: one console, tables alike, and a closed pipe that ends quietly."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

PLAIN_WIDTH = 120
"""Columns where the output is no terminal: a file or a pipe should not wrap at 80."""


class PipeConsole(Console):
    """Raises BrokenPipeError instead of ending the process itself."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(stderr: bool = False) -> Console:
    """A console on stdout or stderr."""
    stream = sys.stderr if stderr else sys.stdout
    return PipeConsole(stderr=stderr, highlight=False, width=None if stream.isatty() else PLAIN_WIDTH)


def table(*columns: str, numbers: tuple[str, ...] = (), title: str | None = None) -> Table:
    """A table without lines; the columns named in `numbers` are aligned to the right."""
    result = Table(
        box=None, header_style="bold", title=title, title_justify="left", title_style="bold", padding=(0, 2, 0, 0)
    )
    for column in columns:
        result.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return result
