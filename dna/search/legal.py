"""Legal designs from proposals that may not be: what every method that recombines or samples axes needs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dna.search.problem import Choices

TRIES = 8
"""Times that illegal proposals are made anew before they are repaired."""


def repaired(space: Choices, designs: Tensor, anchors: Tensor, generator: torch.Generator) -> Tensor:
    """The designs `(N, axes)`, illegal ones with axes taken from their legal anchors until they are legal.

    Axes go back in random order, twice as many each round, at last all of them.
    """
    rows = designs.clone()
    order = torch.rand(rows.shape, generator=generator).masked_fill(rows == anchors, 2.0).argsort(dim=1)
    taken = 1
    bad = torch.nonzero(~space.legal(rows))[:, 0]
    while len(bad):
        back = order[bad][:, :taken]
        rows[bad] = rows[bad].scatter(1, back, anchors[bad].gather(1, back))
        if taken >= rows.shape[1]:
            break
        taken *= 2
        bad = bad[~space.legal(rows[bad])]
    return rows


def propose_legal(
    space: Choices, propose: Callable[[Tensor], Tensor], anchors: Tensor, generator: torch.Generator
) -> Tensor:
    """One legal design per anchor `(N, axes)`. `propose` makes proposals for the anchors' row numbers it is given."""
    rows = propose(torch.arange(len(anchors)))
    bad = torch.nonzero(~space.legal(rows))[:, 0]
    for _ in range(TRIES - 1):
        if not len(bad):
            return rows
        rows[bad] = propose(bad)
        bad = bad[~space.legal(rows[bad])]
    return repaired(space, rows, anchors, generator) if len(bad) else rows
