"""What `dna search --network NAME --board BOARD` takes, from the command line to the Design on disk.

    python -m benchmarks.search_command [--quick] [--networks NAME,NAME] [--boards NAME,NAME] [--again]

Each command runs in a process of its own, with its defaults: start of the program, quantisation, search and finish of
the accelerator, comparison with others. The clock of the whole is what a user waits for. Rows are written as they come;
what stands in the result already is not measured again (`--again`: all anew). Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import Row, chosen, earlier, report, write
from dna.accelerator.board import board_names
from dna.design import Design
from dna.network.zoo import names

NAME = "search_command"
BAR = "<= 60"
QUICK = ("squeezenet1_1",), ("zc706",)
OPTIONS: tuple[str, ...] = ()
"""Of the command, besides network and board: none, for its defaults are what is measured."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one network on one board; writes nothing")
    parser.add_argument("--networks", help="only these, separated by commas")
    parser.add_argument("--boards", help="only these, separated by commas")
    parser.add_argument("--again", action="store_true", help="forget what was measured before")
    given = parser.parse_args()
    networks = chosen(parser, given.networks, names(), names())
    boards = chosen(parser, given.boards, board_names(), board_names())
    if given.quick:
        networks, boards = QUICK
    rows = [] if given.quick or given.again else [row for row in earlier(NAME) if "network" in row.extra]
    for board in boards:
        for network in networks:
            if any((row.extra["network"], row.extra["board"]) == (network, board) for row in rows):
                continue
            new = measured(network, board)
            report([new])
            rows.append(new)
            if not given.quick:
                write(NAME, [*rows, *summary(rows)])
    return report(summary(rows))


def measured(network: str, board: str) -> Row:
    """The command's seconds; its parts, as it reports them, and what it found are in the extra columns."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        began = time.monotonic()
        asked = ["search", "--network", network, "--board", board, "--out", str(out), *OPTIONS]
        done = subprocess.run([sys.executable, "-m", "dna", *asked], capture_output=True, text=True)
        seconds = time.monotonic() - began
        extra = {"network": network, "board": board}
        if done.returncode:
            problem = done.stderr.strip().splitlines()[-1]
            return Row(f"{network}, {board}: seconds", round(seconds, 1), "s", BAR, {**extra, "problem": problem})
        metrics = Design.load(out / "design").metrics
    found = {"frames/s": metrics["search"]["frames_per_second"], "method": metrics["search"]["method"]}
    parts = {name: round(value, 1) for name, value in metrics["seconds"].items()}
    return Row(f"{network}, {board}: seconds", round(seconds, 1), "s", BAR, {**extra, **found, "parts": parts})


def summary(rows: list[Row]) -> list[Row]:
    """The slowest command of all."""
    if not rows:
        return []
    slowest = max(rows, key=lambda row: float(row.value))
    extra = {"of": len(rows), "slowest": slowest.name.removesuffix(": seconds")}
    within = sum(bool(row.holds) for row in rows)
    return [
        Row("slowest command", slowest.value, "s", BAR, extra),
        Row("commands within a minute", within, "", f"== {len(rows)}"),
    ]


if __name__ == "__main__":
    sys.exit(main())
