"""Ascending cut positions within bounds: counted, drawn uniformly and enumerated. Contiguous runs of layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cuts:
    """Sequences `x[0] < x[1] < ...` of integers with `low[j] <= x[j] <= high[j]`."""

    low: tuple[int, ...]
    high: tuple[int, ...]

    @cached_property
    def _ways(self) -> tuple[dict[int, int], ...]:
        """For each place j and value x, how many ways there are to go on from x[j] = x."""
        ways: list[dict[int, int]] = []
        for low, high in zip(reversed(self.low), reversed(self.high), strict=True):
            after = ways[0] if ways else None
            ways.insert(0, _from_here(low, high, after))
        return tuple(ways)

    @cached_property
    def size(self) -> int:
        """How many sequences there are; 1 of no length."""
        return sum(self._ways[0].values()) if self.low else 1

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Sequences drawn uniformly and independently, int64 `(count, places)`."""
        drawn = torch.zeros(count, len(self.low), dtype=torch.int64)
        before = torch.full((count,), -1, dtype=torch.int64)
        for place, ways in enumerate(self._ways):
            values = torch.tensor(list(ways))
            sums = torch.tensor([0.0, *map(float, ways.values())], dtype=torch.float64).cumsum(0)
            # Only values above the one before may follow: their share of the cumulated weights starts there.
            start = sums[torch.searchsorted(values, before, right=True)]
            aim = start + (sums[-1] - start) * torch.rand(count, dtype=torch.float64, generator=generator)
            index = torch.searchsorted(sums, aim, right=True) - 1
            before = values[index.clamp(max=len(values) - 1)]
            drawn[:, place] = before
        return drawn

    def table(self) -> Tensor:
        """All sequences in ascending order, int64 `(size, places)`."""
        return torch.tensor(self._sequences(0, -1), dtype=torch.int64).reshape(self.size, len(self.low))

    def _sequences(self, place: int, above: int) -> list[list[int]]:
        if place == len(self.low):
            return [[]]
        values = (x for x in self._ways[place] if x > above)
        return [[x, *rest] for x in values for rest in self._sequences(place + 1, x)]


def _from_here(low: int, high: int, after: dict[int, int] | None) -> dict[int, int]:
    """Ways by value, only where there are any, ascending; `after`: those of the next place, None at the last one."""
    if after is None:
        return dict.fromkeys(range(low, high + 1), 1)
    ways, total = {}, 0
    following = dict(after)
    for value in range(max(high, max(following, default=high)), low - 1, -1):
        if value <= high and total:
            ways[value] = total
        total += following.get(value, 0)
    return dict(sorted(ways.items()))


def bounds(layers: int, numbers: Sequence[int], homes: Sequence[Sequence[int]]) -> Cuts:
    """Cuts of `layers` layers into runs, one per chunk, for as many chunks as the largest of `numbers` (ascending).

    Cut j - 1 is the first layer of chunk j. `homes`: the chunks that each layer may be on, as a run of numbers; or
    nothing. Bounds of fewer chunks are the first ones of more; both ascend, so that sorting a choice keeps within them.
    """
    low, high = [], []
    for chunk in range(1, numbers[-1]):
        fewest = next(number for number in numbers if number > chunk)
        low.append(max([chunk, *(layer + 1 for layer, home in enumerate(homes) if home[-1] < chunk)]))
        high.append(min([layers - (fewest - chunk), *(layer for layer, home in enumerate(homes) if home[0] >= chunk)]))
    return Cuts(tuple(low), tuple(high))
