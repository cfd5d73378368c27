"""Local improvement: exchange single axes, then pairs, until nothing gains; gains that do not collide go together.

A pair is where one chunk gives resources and another, the bottleneck, takes them: the first change alone gains nothing,
the second alone does not fit. All changes of one axis having been priced, the prices of pairs are foretold from them,
as if changes added up, and pairs are tried in that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dna.search.problem import PENALTY, Choices, Evaluation, Ledger, joined

BLOCK = 128
"""Designs priced before a gain among them is taken."""
MOST_CHANGES = 2048
"""Single changes whose pairs are foretold; of more, so many at random."""
FORETOLD = 0.75
"""Share of the pairs tried that are the most promising ones where not all can be; the others are random."""
LEAST_GAIN = 1e-12


def single_changes(space: Choices, design: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """The design with each axis, or each of `axes`, set to each of its values; some may be illegal.

    int64 `(sum of the axes' widths, axes)`.
    """
    chosen = torch.arange(len(space.widths)) if axes is None else torch.tensor(axes, dtype=torch.int64)
    widths = torch.tensor(space.widths)[chosen]
    column = chosen.repeat_interleave(widths)
    index = torch.arange(len(column))
    rows = design.repeat(len(column), 1)
    rows[index, column] = index - (widths.cumsum(0) - widths).repeat_interleave(widths)
    return rows


def pair_changes(space: Choices, design: Tensor) -> Tensor:
    """Legal designs that differ from the given one in exactly two axes, int64 `(N, axes)`."""
    changes = _changes(space, design)
    first, second = torch.triu_indices(len(changes), len(changes), 1)
    rows = _combined(design, changes, first, second)
    return rows[space.legal(rows)]


def improve(ledger: Ledger, design: Tensor, pairs: int, generator: torch.Generator) -> Tensor:
    """The design `(axes,)` after all exchanges that gain, as far as the budget goes; one must be left.

    Where the problem has a smooth cost, that one is followed first, then the cost itself. `pairs`: most pairs tried
    before a design is taken to be the best around.
    """
    here = Standing(ledger, design, ledger.price(design[None]), smooth=True)
    if here.price.smooth is not None:
        here = _descend(here, pairs, generator)
    return _descend(replace(here, smooth=False), pairs, generator).design


@dataclass(frozen=True)
class Standing:
    """A design of a local search."""

    ledger: Ledger
    design: Tensor
    """int64 `(axes,)`."""
    price: Evaluation
    """Of this one design."""
    smooth: bool
    """Whether the smooth cost is followed."""

    def height(self, price: Evaluation) -> Tensor:
        """What is to fall, `(N,)`."""
        return price.guide if self.smooth else price.score

    def foretold(self, changes: Evaluation) -> Tensor:
        """Height of every pair of C changes if logarithms of cost and ratios added up, float64 `(C, C)`."""
        logs, now = (self.height(e) - PENALTY * e.excess for e in (changes, self.price))
        heights = logs[:, None] + logs - now
        for standing, ratio in zip(self.price.ratios[0], changes.ratios.T, strict=True):
            heights += PENALTY * (ratio[:, None] + ratio - standing).clamp(min=1).log()
        return heights


def _descend(here: Standing, pairs: int, generator: torch.Generator) -> Standing:
    """Where no change of one or two axes that was tried leads down."""
    space, ledger = here.ledger.problem.space, here.ledger
    while ledger.left:
        changes = _changes(space, here.design)
        changes = changes[space.legal(changes)]
        changes = changes[torch.randperm(len(changes), generator=generator)]
        lower, priced = _first_gain(here, changes)
        if lower is None and priced is not None and len(priced.cost) == len(changes):
            lower, _ = _first_gain(here, _promising(here, changes, priced, pairs, generator))
        if lower is None:
            break
        here = lower
    return here


def _changes(space: Choices, design: Tensor) -> Tensor:
    """`single_changes` without the design itself; some may be illegal."""
    rows = single_changes(space, design)
    return rows[(rows != design).any(dim=1)]


def _combined(design: Tensor, changes: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The design with two of its single changes `(C, axes)` at once, for pairs of row numbers; those of one axis go."""
    axis = (changes != design).int().argmax(dim=1)
    apart = axis[first] != axis[second]
    first, second = first[apart], second[apart]
    rows = changes[first].clone()
    index = torch.arange(len(rows))
    rows[index, axis[second]] = changes[second, axis[second]]
    return rows


def _first_gain(here: Standing, rows: Tensor) -> tuple[Standing | None, Evaluation | None]:
    """The best design of the first block that leads down, or several of its gains taken together; without one, the
    prices of all rows within the budget."""
    priced: list[Evaluation] = []
    for block in rows.split(BLOCK):
        block = block[: here.ledger.left]
        if not len(block):
            break
        price = here.ledger.price(block)
        gains = here.height(here.price) - here.height(price)
        if float(gains.max()) > LEAST_GAIN:
            order = gains.argsort(descending=True, stable=True)
            return _together(here, block[order[gains[order] > LEAST_GAIN]], price.part(order[:1])), None
        priced.append(price)
    return None, joined(priced) if priced else None


def _together(here: Standing, rows: Tensor, price: Evaluation) -> Standing:
    """The first of the rows, whose price is given, or, where it is better, its joint change with others."""
    best = replace(here, design=rows[0], price=price)
    several = joint_changes(here.design, rows)
    several = several[here.ledger.problem.space.legal(several)][: here.ledger.left]
    if len(several):
        price = here.ledger.price(several)
        row = int(here.height(price).argmin())
        if float(here.height(price)[row]) < float(here.height(best.price)):
            return replace(here, design=several[row], price=price.part(slice(row, row + 1)))
    return best


def joint_changes(design: Tensor, rows: Tensor) -> Tensor:
    """The design with the changes of the first 2, 4, 8... of the rows `(N, axes)` that change no axis twice."""
    joint, count, found = design.clone(), 0, []
    for row in rows:
        changed = row != design
        if bool((joint != design)[changed].any()):
            continue
        joint = torch.where(changed, row, joint)
        count += 1
        if count > 1 and count & (count - 1) == 0:
            found.append(joint)
    return torch.stack(found) if found else rows[:0]


def _promising(here: Standing, changes: Tensor, priced: Evaluation, most: int, generator: torch.Generator) -> Tensor:
    """At most `most` legal pairs of the changes, the most promising first; `priced` are the changes' own prices."""
    if len(changes) > MOST_CHANGES:
        some = torch.randperm(len(changes), generator=generator)[:MOST_CHANGES]
        changes, priced = changes[some], priced.part(some)
    first, second = torch.triu_indices(len(changes), len(changes), 1)
    order = here.foretold(priced)[first, second].argsort(stable=True)
    if len(order) > most:
        sure = int(FORETOLD * most)
        rest = order[sure:]
        order = torch.cat([order[:sure], rest[torch.randperm(len(rest), generator=generator)[: most - sure]]])
    rows = _combined(here.design, changes, first[order], second[order])
    return rows[here.ledger.problem.space.legal(rows)]
