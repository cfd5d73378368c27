"""From stages to points: chunks one after the other, shares in whole cycles, and a choice of points that differ."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from dna.search.point import Point
from dna.search.stage_kinds import Part

NEAR = 1.1
"""Points whose cycles are within this factor are tried for how they differ; the price model is not that good."""


def point_of(parts: Sequence[Part], layers: int, frames: int, words: float) -> Point:
    """The parts' chunks, one after the other; shares for at most `words` per cycle of all ports."""
    home, batches = [0] * layers, [frames] * layers
    number = 0
    for part in parts:
        for group in part.groups:
            for layer in group:
                home[layer] = number
            number += 1
        for layer, batch in part.batches:
            batches[layer] = batch
    chunks = tuple(chunk for part in parts for chunk in part.chunks)
    return Point(
        chunks,
        _shares([chunk.ports for chunk in chunks], [w for part in parts for w in part.words], words),
        tuple(home),
        frames,
        tuple(batches) if set(batches) != {frames} else (),
        frozenset().union(*(part.on_chip for part in parts)),
    )


def _shares(ports: Sequence[int], wanted: Sequence[float], words: float) -> tuple[int, ...]:
    """Whole cycles per beat of each chunk's ports, for the words per cycle wanted: more of them where too few
    remain, those that miss most first."""
    shares = [ceil(count / want - 1e-9) for count, want in zip(ports, wanted, strict=True)]

    def missed(chunk: int) -> float:
        return wanted[chunk] * shares[chunk] / ports[chunk]

    for chunk in sorted(range(len(ports)), key=missed, reverse=True):
        others = sum(count / share for n, (count, share) in enumerate(zip(ports, shares, strict=True)) if n != chunk)
        fewer = shares[chunk] - 1
        if missed(chunk) > 1 + 1e-9 and fewer and others + ports[chunk] / fewer <= words + 1e-9:
            shares[chunk] = fewer
    return tuple(shares)


def varied(points: Sequence[Point], intervals: Sequence[float]) -> list[Point]:
    """The points in an order in which the first few differ: of those within `NEAR` of the least cycles the best of each
    assignment, then the second of each, and so on; then the others alike."""
    seen: dict[object, int] = {}
    keys = []
    for point, interval in zip(points, intervals, strict=True):
        seen[point.assignment] = seen.get(point.assignment, 0) + 1
        keys.append((interval > NEAR * min(intervals), seen[point.assignment], interval))
    return [points[n] for n in sorted(range(len(points)), key=lambda n: keys[n])]


def diverse(found: Sequence[tuple[float, Point]], count: int) -> list[tuple[float, Point]]:
    """The best, but no more than two with the same arrays unless others are missing, and the best of each number of
    chunks; in order of their cycles."""
    ranked = sorted(found, key=lambda item: (item[0], len(item[1].chunks)))
    leaders: dict[int, tuple[float, Point]] = {}
    others: list[tuple[float, Point]] = []
    seen: dict[object, int] = {}
    rest: list[tuple[float, Point]] = []
    for item in ranked:
        arrays = tuple((c.oc, c.ic, c.px) for c in item[1].chunks)
        seen[arrays] = seen.get(arrays, 0) + 1
        if leaders.setdefault(len(item[1].chunks), item) is not item:
            (others if seen[arrays] <= 2 else rest).append(item)
    chosen = [*leaders.values(), *others, *rest][:count]
    return sorted(chosen, key=lambda item: item[0])
