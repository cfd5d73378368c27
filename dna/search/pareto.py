"""Pareto sets: the points that no other point matches in everything and beats in something. All values are minimised.

`mask` is exact for any number of objectives; two and three are swept in `N log N`, more are compared in blocks. Of
equal points the first stands for all.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dna.accelerator.board import Board
from dna.errors import UserError
from dna.search.figures import FIGURES, Costs, check_figure, figure_name

BLOCK = 512
"""Points compared with the front at once."""


def mask(points: Tensor) -> Tensor:
    """Which of the points `(N, M)` are in the Pareto set, bool `(N,)`. NaN is refused by ValueError."""
    if points.dim() != 2 or points.shape[1] < 1:
        raise ValueError(f"points have shape {tuple(points.shape)}; it must be (points, objectives)")
    points = points.detach().double()
    if bool(points.isnan().any()):
        raise ValueError("points: NaN cannot be compared")
    order = _lexicographic(points)
    ordered = points[order]
    if points.shape[1] == 1:
        kept = torch.arange(len(points)) == 0
    elif points.shape[1] == 2:
        kept = _sweep_two(ordered)
    elif points.shape[1] == 3:
        kept = _sweep_three(ordered)
    else:
        kept = _blocks(ordered)
    result = torch.zeros(len(points), dtype=torch.bool)
    result[order[kept]] = True
    return result


def _lexicographic(points: Tensor) -> Tensor:
    """Row numbers by first objective, ties by second, and so on; equal rows in their order."""
    order = torch.arange(len(points))
    for column in reversed(range(points.shape[1])):
        order = order[points[order, column].argsort(stable=True)]
    return order


def _sweep_two(ordered: Tensor) -> Tensor:
    """Each point must be below all before it in the second objective."""
    second = ordered[:, 1]
    least = torch.cummin(second, dim=0).values
    before = torch.cat([torch.full((1,), float("inf"), dtype=torch.float64), least[:-1]])[: len(second)]
    kept = second < before
    if len(kept):
        kept[0] = True
    return kept


def _sweep_three(ordered: Tensor) -> Tensor:
    """The points so far, seen in the last two objectives, are a staircase: second rising, third falling."""
    seconds: list[float] = []
    thirds: list[float] = []
    kept = []
    for row, (_, second, third) in enumerate(ordered.tolist()):
        place = bisect.bisect_right(seconds, second)
        if place and thirds[place - 1] <= third:
            continue
        kept.append(row)
        start = bisect.bisect_left(seconds, second)
        stop = start
        while stop < len(thirds) and thirds[stop] >= third:
            stop += 1
        seconds[start:stop], thirds[start:stop] = [second], [third]
    result = torch.zeros(len(ordered), dtype=torch.bool)
    result[kept] = True
    return result


def _blocks(ordered: Tensor) -> Tensor:
    """In lexicographic order nothing is dominated by what comes later."""
    front = ordered[:0]
    rows = [torch.empty(0, dtype=torch.int64)]
    for start in range(0, len(ordered), BLOCK):
        block = ordered[start : start + BLOCK]
        alive = torch.nonzero(~_covered(block, front))[:, 0]
        own = block[alive]
        beaten = (own[None] <= own[:, None]).all(dim=2).tril(diagonal=-1).any(dim=1)
        alive = alive[~beaten]
        front = torch.cat([front, block[alive]])
        rows.append(start + alive)
    result = torch.zeros(len(ordered), dtype=torch.bool)
    result[torch.cat(rows)] = True
    return result


def _covered(points: Tensor, front: Tensor) -> Tensor:
    """Whether some point of the front is at least as good in everything, bool `(len(points),)`."""
    result = torch.zeros(len(points), dtype=torch.bool)
    for part in front.split(8 * BLOCK):
        better = torch.ones(len(points), len(part), dtype=torch.bool)
        for column in range(points.shape[1]):
            better &= part[:, column] <= points[:, column, None]
        result |= better.any(dim=1)
    return result


def hypervolume(points: Tensor, reference: Sequence[float]) -> float:
    """Area or volume that the points `(N, 2)` or `(N, 3)` dominate below the reference. Larger is better.

    ValueError for other numbers of objectives.
    """
    if points.shape[1] != len(reference) or len(reference) not in (2, 3):
        raise ValueError(f"{points.shape[1]} objectives and {len(reference)} references; both must be 2 or 3")
    corner = torch.tensor(reference, dtype=torch.float64)
    inside = points.detach().double()
    inside = inside[(inside < corner).all(dim=1)]
    if not len(inside):
        return 0.0
    front = inside[mask(inside)]
    if len(reference) == 2:
        return _area(front, corner)
    front = front[front[:, 2].argsort()]
    ends = torch.cat([front[1:, 2], corner[2:]])
    heights = ends - front[:, 2]
    return sum(float(h) * _area(front[: i + 1, :2], corner[:2]) for i, h in enumerate(heights) if h > 0)


def _area(points: Tensor, corner: Tensor) -> float:
    front = points[mask(points)]
    front = front[front[:, 0].argsort()]
    widths = torch.cat([front[1:, 0], corner[:1]]) - front[:, 0]
    return float((widths * (corner[1] - front[:, 1])).sum())


@dataclass
class Archive:
    """The Pareto set of all that was offered so far, with what each point stands for."""

    names: tuple[str, ...]
    """Objectives, for example of `objectives`."""
    values: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.float64))
    """Float64 `(points, objectives)`, all minimised."""
    designs: Tensor = field(default_factory=lambda: torch.empty(0, 0, dtype=torch.int64))
    """The designs' rows, int64 `(points, axes)`."""
    offered: int = 0

    def offer(self, values: Tensor, designs: Tensor, feasible: Tensor | None = None) -> int:
        """Take over what is not dominated; `values` `(N, objectives)`, `designs` `(N, axes)`, `feasible` bool `(N,)`.

        Returns how many of the offered points are in the set now.
        """
        self.offered += len(values)
        values = values.detach().double()
        if feasible is not None:
            values, designs = values[feasible], designs[feasible]
        if len(self.values):
            outside = ~_covered(values, self.values)
            values, designs = values[outside], designs[outside]
        if not len(values):
            return 0
        own = mask(values)
        values, designs = values[own], designs[own]
        if len(self.values):
            stays = ~_covered(self.values, values)
            self.values = torch.cat([self.values[stays], values])
            self.designs = torch.cat([self.designs[stays], designs])
        else:
            self.values, self.designs = values, designs.clone()
        return len(values)

    def sorted(self) -> tuple[Tensor, Tensor]:
        """Values and designs by the first objective, ties by the next ones."""
        order = _lexicographic(self.values) if len(self.values) else torch.empty(0, dtype=torch.int64)
        return self.values[order], self.designs[order]

    def hypervolume(self, reference: Sequence[float]) -> float:
        return hypervolume(self.values, reference) if len(self.values) else 0.0


def parse_objectives(text: str, board: Board) -> tuple[str, ...]:
    """`fps,energy` and the like: two or more names of `FIGURES` that the board has. UserError otherwise."""
    names = tuple(figure_name(part, "pareto") for part in text.split(","))
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(f"pareto is '{text}'; it must be two or more different figures, for example fps,hardware")
    for name in names:
        check_figure(name, f"pareto {name}", board)
    return names


def objectives(names: Sequence[str], costs: Costs, board: Board) -> Tensor:
    """Figures of N accelerators as they are minimised, float64 `(N, names)`: frame rates with their sign turned."""
    columns = [FIGURES[name].of(costs, board) * (-1 if FIGURES[name].highest else 1) for name in names]
    return torch.stack([column.detach() for column in columns], dim=1)
