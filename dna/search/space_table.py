"""The design space as a table for people: what is chosen, among which values, and what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dna.accelerator.chunk import DATAFLOWS, SWITCHES
from dna.search.pipeline_lists import PipelineLists
from dna.search.space import MEANINGS

HEAD = ("chosen", "of", "values", "choices", "meaning")


@dataclass(frozen=True)
class SpaceRow:
    """One line: `of` what it is chosen, and how many choices there are for each of those."""

    name: str
    of: str
    values: str
    count: int
    meaning: str

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """As text, in the order of `HEAD`."""
        return self.name, self.of, self.values, about(self.count), self.meaning


def about(count: int) -> str:
    """A count in few characters: exact up to a million, then a power of ten."""
    return f"{count:,}".replace(",", " ") if count < 10**6 else f"about 10^{len(str(count)) - 1}"


def space_rows(space: PipelineLists) -> list[SpaceRow]:
    """The table of a space. Chunks with the same lists share their rows."""
    rows = [
        _row("chunks", "accelerator", space.chunks, "engines that work at the same time"),
        _row("frames", "accelerator", space.frames, "frames of one pass of the program"),
    ]
    groups: dict[object, list[int]] = {}
    for chunk, (parameters, shares) in enumerate(zip(space.spaces, space.shares, strict=True)):
        groups.setdefault((parameters, shares), []).append(chunk)
    for chunks in groups.values():
        owner = "each chunk" if len(groups) == 1 else f"chunk {_listed(chunks)}"
        for axis in space.spaces[chunks[0]].axes:
            if axis.name != "residual":
                rows.append(_row(axis.name, owner, axis.values, MEANINGS[axis.name]))
        shares = space.shares[chunks[0]]
        rows.append(_row("share", owner, shares, "cycles per beat of the chunk's memory ports"))
    return [*rows, *_program_rows(space)]


def _program_rows(space: PipelineLists) -> list[SpaceRow]:
    count = sum(space.assignments(number) for number in space.chunks)
    runs = space.assignment == "contiguous"
    values, meaning = ("runs of layers", "where each run begins") if runs else ("any", "the chunk of each layer")
    rows = [SpaceRow("assignment", "all layers", values, count, meaning)]
    for batches in dict.fromkeys(space.batches):
        rows.append(_row("batch", f"each {space.batch_per}", batches, "frames that share a weight load"))
    if space.tensors:
        meaning = "on chip, in a bank between writer and reader, or in memory"
        rows.append(SpaceRow("place", "each tensor", "memory, chip", 2, meaning))
    return rows


def _row(name: str, of: str, values: Sequence[int], meaning: str) -> SpaceRow:
    if name in SWITCHES:
        text = ", ".join("yes" if value else "no" for value in values)
    elif name == "dataflow":
        text, meaning = ", ".join(DATAFLOWS[value] for value in values), "what stays inside a tile"
    else:
        text = _listed(values)
    return SpaceRow(name, of, text, len(values), meaning)


def _listed(values: Sequence[int]) -> str:
    """`1 to 16` for a run of at least four numbers, otherwise all of them."""
    run = len(values) > 3 and list(values) == list(range(values[0], values[-1] + 1))
    return f"{values[0]} to {values[-1]}" if run else ", ".join(map(str, values))


def markdown(rows: Sequence[SpaceRow]) -> str:
    """The table as it stands in docs/search.md."""
    lines = ["| " + " | ".join(HEAD) + " |", "| --- | --- | --- | ---: | --- |"]
    return "\n".join([*lines, *("| " + " | ".join(row.cells) + " |" for row in rows)]) + "\n"
