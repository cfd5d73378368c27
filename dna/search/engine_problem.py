"""Engines and assignments of a partition as a `Problem`: for searchers, beside `dna.search.engine_sets.solve`.

A design has a size of each kind (oc, ic and perhaps px) for every engine, and an engine for every layer. Engines
without layers are not built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from dna.accelerator.chunk import INPUT_CHANNELS, MAX_LANES
from dna.accelerator.isa import WORD_BYTES
from dna.search.engine_sets import OUTPUT_CHANNELS, own_cycles, published_cycles
from dna.search.problem import Evaluation
from dna.search.published import Convolution

Cycles = Callable[..., int]
"""Cycles of a layer on an engine of the sizes given after it."""


@dataclass(frozen=True)
class PartitionSpace:
    """Axes: the sizes of engine 0, of engine 1, ..., then the engine of each layer. All designs are legal but those
    with an engine that `refused` says."""

    sizes: tuple[tuple[int, ...], ...]
    """Values of each kind of size, ascending."""
    engines: int
    layers: int
    words: bool = False
    """Whether oc * ic must be a multiple of 16, as in a `Chunk`."""

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Options per axis."""
        return (*(len(values) for values in self.sizes),) * self.engines + (self.engines,) * self.layers

    def split(self, designs: Tensor) -> tuple[Tensor, Tensor]:
        """Indices of sizes `(N, engines, kinds of size)` and engines of layers `(N, layers)`."""
        count = self.engines * len(self.sizes)
        return designs[:, :count].reshape(len(designs), self.engines, len(self.sizes)), designs[:, count:]

    def values(self, designs: Tensor) -> Tensor:
        """The sizes of each engine, `(N, engines, kinds of size)`."""
        chosen, _ = self.split(designs)
        return torch.stack([torch.tensor(v)[chosen[..., i]] for i, v in enumerate(self.sizes)], dim=-1)

    def legal(self, designs: Tensor) -> Tensor:
        """Bool `(N,)`."""
        if not self.words:
            return torch.ones(len(designs), dtype=torch.bool)
        values = self.values(designs)
        return (values[..., 0] * values[..., 1] % WORD_BYTES == 0).all(dim=1)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Legal designs, uniformly and independently drawn; int64 `(count, axes)`."""
        kept = [torch.zeros(0, len(self.widths), dtype=torch.int64)]
        while sum(len(rows) for rows in kept) < count:
            axes = [torch.randint(width, (2 * count,), generator=generator) for width in self.widths]
            rows = torch.stack(axes, dim=1)
            kept.append(rows[self.legal(rows)])
        return torch.cat(kept)[:count]


@dataclass(frozen=True, eq=False)
class PartitionProblem:
    """Cost: cycles between images. One constraint: the multipliers of all engines that have layers."""

    space: PartitionSpace
    table: Tensor
    """Cycles, float64 `(values of each kind of size..., layers)`."""
    most: int
    """Multipliers."""

    def evaluate(self, designs: Tensor) -> Evaluation:
        """Price legal designs `(N, axes)`."""
        chosen, homes = self.space.split(designs)
        cycles = self.table[tuple(chosen.unbind(dim=-1))]
        mine = homes[:, None, :] == torch.arange(self.space.engines)[None, :, None]
        cost = (cycles * mine).sum(dim=2).max(dim=1).values
        multipliers = self.space.values(designs).prod(dim=-1) * mine.any(dim=2)
        return Evaluation(cost, (multipliers.sum(dim=1) / self.most)[:, None].double(), ("multipliers",))


def problem(
    layers: Sequence[Convolution], engines: int, most: int, sizes: Sequence[Sequence[int]], cycles: Cycles, words: bool
) -> PartitionProblem:
    """A problem over all combinations of the sizes; the table of cycles is computed here."""
    kinds = list(dict.fromkeys(layers))
    shape = tuple(len(values) for values in sizes)
    rows = torch.zeros((prod(shape), len(kinds)), dtype=torch.float64)
    for row, combination in enumerate(torch.cartesian_prod(*(torch.tensor(list(v)) for v in sizes)).tolist()):
        if prod(combination) <= most:
            rows[row] = torch.tensor([cycles(kind, *combination) for kind in kinds], dtype=torch.float64)
        else:
            rows[row] = float(sum(kind.macs for kind in kinds))  # refused for its multipliers, whatever it takes
    columns = [kinds.index(layer) for layer in layers]
    space = PartitionSpace(tuple(tuple(values) for values in sizes), engines, len(layers), words)
    return PartitionProblem(space, rows.reshape(*shape, -1)[..., columns], most)


def published_problem(layers: Sequence[Convolution], engines: int, most: int) -> PartitionProblem:
    """`oc x ic` engines of any sizes that need fewer passes than the next smaller one."""
    outputs = _useful([layer.out_channels for layer in layers], most)
    inputs = _useful([layer.in_channels for layer in layers], most)
    return problem(layers, engines, most, (outputs, inputs), published_cycles, words=False)


def own_problem(layers: Sequence[Convolution], engines: int, most: int) -> PartitionProblem:
    """`oc x ic x px` engines as a `Chunk` may have them."""

    lanes = range(1, min(MAX_LANES, most // WORD_BYTES) + 1)
    return problem(layers, engines, most, (OUTPUT_CHANNELS, INPUT_CHANNELS, lanes), own_cycles, words=True)


def _useful(channels: Sequence[int], most: int) -> list[int]:
    return sorted({-(-count // n) for count in channels for n in range(1, count + 1) if -(-count // n) <= most})
