"""The one writer of `benchmarks/results/NAME.json`: what was run, when, on what, and what came out."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dna.runs import write_atomically

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Row:
    """One measured figure and, where something is claimed of it, the bar and whether it holds."""

    name: str
    value: float | int | str | bool
    unit: str = ""
    bar: str = ""
    """What is claimed, as a condition on the value: `>= 0.98`, `== 0`. Empty: nothing is claimed."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further columns: seeds, sizes, lists of single measurements."""

    @property
    def holds(self) -> bool | None:
        """Whether the value meets the bar, None without one."""
        return meets(self.value, self.bar) if self.bar else None

    def as_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {"name": self.name, "value": self.value, "unit": self.unit}
        if self.bar:
            result |= {"bar": self.bar, "holds": self.holds}
        return result | self.extra


def meets(value: float | int | str | bool, bar: str) -> bool:
    """Whether `value` satisfies a condition such as `<= 300` or `== 0`. ValueError if the condition is none."""
    relation, _, limit = bar.partition(" ")
    number, bound = float(value), float(limit)
    if math.isnan(number):
        return False
    outcomes = {
        "<=": number <= bound,
        ">=": number >= bound,
        "==": number == bound,
        "<": number < bound,
        ">": number > bound,
    }
    if relation not in outcomes:
        raise ValueError(f"'{bar}': the condition starts with one of {', '.join(outcomes)}")
    return outcomes[relation]


def machine() -> str:
    """The machine in words that say how fast it is, not whose it is."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def commit() -> str:
    """Abbreviated commit of the checkout, with `+` when tracked files differ from it; `unknown` outside of git."""
    try:
        head = _git("rev-parse", "--short=10", "HEAD")
        # Results are written by the benchmark itself and change nothing that was measured.
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def write(name: str, rows: Sequence[Row], folder: Path = RESULTS) -> Path:
    """Writes `NAME.json` into `folder` and returns its path.

    The command is taken from how this process was started: `python -m benchmarks.NAME` and its arguments.
    """
    if not rows:
        raise ValueError(f"benchmark '{name}' measured nothing")
    content = {
        "command": " ".join([f"python -m benchmarks.{name}", *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": machine(),
        "commit": commit(),
        "rows": [row.as_dict() for row in rows],
    }
    path = folder / f"{name}.json"
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    return path


def read(name: str, folder: Path = RESULTS) -> dict[str, Any]:
    """A result file's content. FileNotFoundError if the benchmark was never run."""
    return dict(json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))


def earlier(name: str, folder: Path = RESULTS) -> list[Row]:
    """The rows of a result file, none if there is no such file."""
    try:
        rows = read(name, folder)["rows"]
    except FileNotFoundError:
        return []
    own = ("name", "value", "unit", "bar", "holds")
    return [
        Row(row["name"], row["value"], row["unit"], row.get("bar", ""), {k: v for k, v in row.items() if k not in own})
        for row in rows
    ]


def report(rows: Sequence[Row]) -> int:
    """Prints the rows; 1 if a bar is missed, else 0: the benchmark's exit code."""
    for row in rows:
        verdict = {None: "", True: f"  (bar {row.bar}: holds)", False: f"  (bar {row.bar}: MISSED)"}[row.holds]
        print(f"{row.name:48} {row.value!s:>16} {row.unit}{verdict}")
    return int(any(row.holds is False for row in rows))


def chosen(
    parser: argparse.ArgumentParser, text: str | None, default: Sequence[str], known: Sequence[str] | None
) -> tuple[str, ...]:
    """The names in an option's text, separated by commas, or `default`; the parser's error for one that is not `known`
    (None: all are)."""
    found = tuple(text.split(",")) if text else tuple(default)
    unknown = [name for name in found if known is not None and name not in known]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known or ())}")
    return found


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
