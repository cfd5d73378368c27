"""Puts measured figures into the documents: `python -m benchmarks.tables` (`--check`: only say what is stale).

A block between `<!-- results: NAME NAME -->` and `<!-- end results -->` becomes a table of
`benchmarks/results/NAME.json`: all of its rows, or, of a benchmark with many, those that have a bar. `NAME:WORD` takes
those that have a bar and WORD in their name, `NAME/WORD` all that have WORD in their name; `NAME@WORD` puts those into
one line for each network and board, with one column for each method.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, ROOT, read
from dna.runs import write_atomically

BLOCK = re.compile(r"(<!-- results: (?P<names>[A-Za-z0-9_:/@, ]+) -->\n)(?P<body>.*?)(<!-- end results -->)", re.DOTALL)
MOST_ROWS = 12
HEAD = "| measured by | figure | measured | claimed | holds |\n| --- | --- | ---: | --- | --- |\n"


def documents(root: Path = ROOT) -> list[Path]:
    """Files that may hold such blocks."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def filled(text: str, results: Path = RESULTS) -> str:
    """The text with every block made anew. FileNotFoundError if a block names a benchmark without results."""
    return BLOCK.sub(lambda match: match[1] + table(match["names"].split(), results) + match[4], text)


def table(names: list[str], results: Path = RESULTS) -> str:
    """A Markdown table, and under it where and when each benchmark was run."""
    head, lines, sources = HEAD, [], []
    for given in names:
        name, sign, word = (re.split("([:/@])", given, maxsplit=1) + ["", ""])[:3]
        content = read(name, results)
        rows = content["rows"]
        if sign == "@":
            head, *lines = _by_method([row for row in rows if word in row["name"]])
            rows = []
        elif sign == "/":
            rows = [row for row in rows if word in row["name"]]
        elif word:
            rows = [row for row in rows if "bar" in row and word in row["name"]]
        elif len(rows) > MOST_ROWS:
            rows = [row for row in rows if "bar" in row] or rows[:MOST_ROWS]
        lines += [_line(name, row) for row in rows]
        sources.append(f"`{content['command']}`: {content['date']}, commit {content['commit']}, {content['machine']}.")
    return head + "\n".join(lines) + "\n\n" + "  \n".join(dict.fromkeys(sources)) + "\n"


def _by_method(rows: list[dict[str, Any]]) -> list[str]:
    """Head and lines of a table of networks and boards by method; the best of each line is marked."""
    rows = [row for row in rows if "method" in row]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    head = f"| network | board | {' | '.join(methods)} |\n| --- | --- |{' ---: |' * len(methods)}\n"
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        found.setdefault((row["network"], row["board"]), {})[row["method"]] = row
    lines = []
    for (network, board), line in found.items():
        best = max(row["value"] for row in line.values())
        cells = [_cell(line.get(method), best) for method in methods]
        lines.append(f"| {network} | {board} | {' | '.join(cells)} |")
    return [head, *lines]


def _cell(row: Mapping[str, Any] | None, best: float) -> str:
    if row is None:
        return ""
    text = shown(row["value"], row["unit"])
    return f"**{text}**" if row["value"] == best else text


def _line(benchmark: str, row: Mapping[str, Any]) -> str:
    holds = {None: "", True: "yes", False: "**no**"}[row.get("holds")]
    bar = row.get("bar", "")
    if bar:
        relation, _, limit = bar.partition(" ")
        sign = {">=": "at least ", "<=": "at most ", "==": "", "<": "below ", ">": "above "}[relation]
        value = bool(float(limit)) if isinstance(row["value"], bool) else float(limit)
        bar = sign + shown(value, row["unit"])
    return f"| {benchmark} | {row['name']} | {shown(row['value'], row['unit'])} | {bar} | {holds} |"


def shown(value: float | int | str | bool, unit: str) -> str:
    """A value for people: fractions as percentages, large numbers with separators."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if unit == "fraction":
        return f"{100 * value:.2f} %".replace(".00 %", " %")
    if float(value).is_integer():
        number = f"{int(value):,}".replace(",", " ")
    else:
        number = f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}".replace(",", " ")
    return f"{number} {unit}".strip()


def stale(root: Path = ROOT) -> list[Path]:
    """Documents whose tables differ from the results."""
    results = root / "benchmarks" / "results"
    texts = {path: path.read_text(encoding="utf-8") for path in documents(root)}
    return [path for path, text in texts.items() if filled(text, results) != text]


def main() -> int:
    old = stale()
    if "--check" in sys.argv[1:]:
        for path in old:
            print(f"{path.relative_to(ROOT)}: its tables differ from benchmarks/results")
        return int(bool(old))
    for path in old:
        write_atomically(path, filled(path.read_text(encoding="utf-8")))
        print(f"{path.relative_to(ROOT)}: updated")
    return 0


if __name__ == "__main__":
    sys.exit(main())
