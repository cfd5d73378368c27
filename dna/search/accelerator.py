"""The accelerator of a given network on a given board, as a search problem: mappings are solved inside.

Cycles of a layer depend on the buffers only through which tiles fit. So one pass over a layer's mappings on an array
gives the best cycles for *every* choice of buffers: mappings are dropped into a table at the smallest buffers that hold
them, and running minima along the four buffer axes fill the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from dna.accelerator.board import Board
from dna.accelerator.chunk import Memory
from dna.cost.area import area_mm2, buffer_kb
from dna.cost.cycles import frame_start
from dna.cost.energy import frame_pj
from dna.cost.resources import resources
from dna.errors import UserError
from dna.network.layer import Layer
from dna.search.energy_tables import EnergyTables, least_traffic
from dna.search.goal import Costs, Goal
from dna.search.mapping_space import UNMAPPED, buffer_tables, candidates, compute_bound, port_bound, shape_of
from dna.search.problem import Evaluation, SearchResult
from dna.search.space import ARRAY_AXES, BUFFER_AXES, Space, default_space

FAMILY_AXES = ("px", "ports")
"""Arrays that agree in these are priced together: few large tensors instead of many small ones."""
MANY = 48
"""From so many arrays on, only those asked for are priced."""
AHEAD = 50_000
"""Most pairs of array and mapping priced together; a family with more is not priced before it is asked for."""
UNMAPPED_CYCLES = 1_000_000
"""Charged, besides one cycle per multiply, for a layer that fits no tile: the design is infeasible anyway."""


@dataclass
class LayerTables:
    """Best cycles of layers on arrays, for all buffers, made when first asked for and kept.

    One table per distinct layer shape, int32 `(arrays of the space, buffer choices)`; untouched memory is not used.
    """

    space: Space
    memory: Memory
    _tables: dict[Layer, Tensor] = field(default_factory=dict)
    _done: dict[Layer, Tensor] = field(default_factory=dict)

    def _blocks(self, shape: Layer, missing: Tensor, done: Tensor) -> list[Tensor]:
        """The missing arrays in blocks; few come with the rest of their families, for more will follow."""
        blocks = []
        for family in self.families[missing].unique():
            asked = missing[self.families[missing] == family]
            rest = torch.nonzero((self.families == family) & ~done)[:, 0]
            px = int(self.space.values(self.space.arrays[asked[:1]])["px"])
            mappings = len(candidates(shape, px))
            if len(missing) < MANY and len(rest) * mappings <= AHEAD:
                blocks.append(rest)
            else:
                blocks += asked.split(max(1, AHEAD // mappings))
        return blocks

    @cached_property
    def families(self) -> Tensor:
        """Number of each array's family, int64 `(arrays,)`: what shares candidates is priced in one pass."""
        keys = self.space.arrays[:, [self.space.column(name) for name in FAMILY_AXES]]
        return torch.unique(keys, dim=0, return_inverse=True)[1]

    def get(self, layer: Layer, arrays: Tensor) -> Tensor:
        """Cycles, int32 `(len(arrays), buffer choices)`, `UNMAPPED` where no mapping fits. `arrays`: row numbers."""
        shape = shape_of(layer)
        if shape not in self._tables:
            self._tables[shape] = torch.empty(len(self.space.arrays), len(self.space.buffers), dtype=torch.int32)
            self._done[shape] = torch.zeros(len(self.space.arrays), dtype=torch.bool)
        table, done = self._tables[shape], self._done[shape]
        for block in self._blocks(shape, torch.unique(arrays[~done[arrays]]), done):
            values = self.space.values(self.space.arrays[block])
            levels = [self.space.axes[self.space.column(name)].values for name in BUFFER_AXES]
            table[block] = buffer_tables(shape, values, levels, self.memory).flatten(1).to(torch.int32)
            done[block] = True
        return table[arrays]


@dataclass(frozen=True)
class AcceleratorProblem:
    """Designs of `space` for a network's layers on a board, priced by the closed form with the best mappings."""

    layers: tuple[Layer, ...]
    space: Space
    board: Board
    goal: Goal
    tables: LayerTables

    def evaluate(self, designs: Tensor) -> Evaluation:
        """Price designs `(N, axes)`."""
        arrays, place = torch.unique(self._array_rows(designs), return_inverse=True)
        buffers = self._buffer_rows(designs)
        cycles, unmapped = self._sum(lambda layer: self.tables.get(layer, arrays)[place, buffers], len(designs))
        return self._price(designs, cycles, unmapped)

    def evaluate_arrays(self, arrays: Tensor) -> tuple[Tensor, Evaluation]:
        """All designs of the arrays with the given row numbers, and their prices."""
        designs = self.space.enumerate(self.space.arrays[arrays])
        cycles, unmapped = self._sum(lambda layer: self.tables.get(layer, arrays).flatten(), len(designs))
        return designs, self._price(designs, cycles, unmapped)

    def layer_cycles(self, layer: Layer, designs: Tensor) -> Tensor:
        """Price of one layer on each design, int64 `(N,)`; `UNMAPPED` where it fits no tile."""
        arrays, place = torch.unique(self._array_rows(designs), return_inverse=True)
        return self.tables.get(layer, arrays)[place, self._buffer_rows(designs)].long()

    def price_cycles(self, designs: Tensor, cycles: Tensor) -> Evaluation:
        """Price designs whose whole frame takes `cycles`, int64 `(N,)`."""
        if "energy" in self.goal.needs:
            raise UserError("goal: energy depends on the mappings; search an accelerator for a given network instead")
        unmapped = (cycles >= UNMAPPED).long()
        return self._evaluate(designs, cycles, unmapped, least=False)

    def array_bounds(self) -> Evaluation:
        """For each array of the space, prices that none of its designs can undercut: no stall but
        for a port that never rests, smallest buffers."""
        values = self.space.values(self.space.arrays)
        cycles = torch.zeros(len(self.space.arrays), dtype=torch.int64)
        for shape, times in _counted(self.layers):
            cycles += times * compute_bound(shape, values).maximum(port_bound(shape, values, self.tables.memory))
        return self._price(self.space.arrays, cycles, torch.zeros_like(cycles), least=True)

    def cycles(self, design: Tensor) -> int:
        """Closed-form cycles of one frame, `(axes,)` given."""
        row, buffer = self._array_rows(design[None]), self._buffer_rows(design[None])
        cycles, _ = self._sum(lambda layer: self.tables.get(layer, row)[:, buffer[0]], 1)
        return int(cycles + frame_start(self.space.values(design[None]), self.tables.memory))

    def _sum(self, of, count: int) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
        """Cycles and number of layers without a mapping, int64 `(count,)` each."""
        cycles = torch.zeros(count, dtype=torch.int64)
        unmapped = torch.zeros(count, dtype=torch.int64)
        for shape, times in _counted(self.layers):
            part = of(shape).long()
            missing = part == UNMAPPED
            cycles += times * torch.where(missing, shape.macs + UNMAPPED_CYCLES, part)
            unmapped += times * missing
        return cycles, unmapped

    def _price(self, designs: Tensor, cycles: Tensor, unmapped: Tensor, least: bool = False) -> Evaluation:
        """Price designs whose layers take `cycles`; the frame's start comes on top."""
        cycles = cycles + frame_start(self.space.values(designs), self.tables.memory)
        return self._evaluate(designs, cycles, unmapped, least)

    def _evaluate(self, designs: Tensor, cycles: Tensor, unmapped: Tensor, least: bool) -> Evaluation:
        """One frame after the other: the interval is the latency. `least`: energies are bounds of the arrays'."""
        values, technology = self.space.values(designs), self.board.technology
        costs = Costs(cycles, cycles, resources(values), unmapped, buffer_kb=buffer_kb(values))
        if technology is not None:
            costs = replace(costs, area_mm2=area_mm2(values, technology))
        if "energy" in self.goal.needs:
            costs = replace(costs, energy_pj=self._energy(designs, values, cycles, least))
        return self.goal.evaluate(costs, self.board)

    def _energy(self, designs: Tensor, values: Mapping[str, Tensor], cycles: Tensor, least: bool) -> Tensor:
        """Of a frame, pJ, float64 `(N,)`."""
        arrays, buffers = self._array_rows(designs), self._buffer_rows(designs)
        traffic = [
            (least_traffic(shape, values) if least else self.energy_tables.traffic(shape, arrays, buffers)).times(times)
            for shape, times in _counted(self.layers)
        ]
        return frame_pj(traffic, values, self.board, cycles)

    @cached_property
    def energy_tables(self) -> EnergyTables:
        """What the best mappings move; for goals of energy alone."""
        return EnergyTables(self.space, self.tables.memory)

    def _array_rows(self, designs: Tensor) -> Tensor:
        """Row number of each design's array in `space.arrays`."""
        return torch.searchsorted(self._radix(self.space.arrays, ARRAY_AXES), self._radix(designs, ARRAY_AXES))

    def _buffer_rows(self, designs: Tensor) -> Tensor:
        """Row number of each design's buffers in `space.buffers`."""
        return self._radix(designs, BUFFER_AXES)

    def _radix(self, designs: Tensor, names: Sequence[str]) -> Tensor:
        """One number per design from the named axes, in the order in which the space lists their product."""
        number = torch.zeros(len(designs), dtype=torch.int64)
        for name in names:
            column = self.space.column(name)
            number = number * self.space.widths[column] + designs[:, column]
        return number


def _counted(layers: Sequence[Layer]) -> list[tuple[Layer, int]]:
    """Distinct layer shapes with how often they occur."""
    counts: dict[Layer, int] = {}
    for layer in layers:
        counts[shape_of(layer)] = counts.get(shape_of(layer), 0) + 1
    return list(counts.items())


def problem(layers: Sequence[Layer], board: Board, goal: Goal, space: Space | None = None) -> AcceleratorProblem:
    """The problem of a network's layers on a board, over the board's default space unless another is given."""
    goal.check(board)
    space = space or space_for(layers, board)
    return AcceleratorProblem(tuple(layers), space, board, goal, LayerTables(space, board.memory))


def space_for(layers: Sequence[Layer], board: Board, **fixed: int) -> Space:
    """The default one-chunk space of a board for a network; keywords fix parameters."""
    return default_space(
        multipliers=board.dsp,
        residual=any(layer.residual is not None for layer in layers),
        port_bytes=board.port_bytes,
        ports=tuple(range(1, min(2, board.ports) + 1)),
        fixed=fixed,
    )


def explain(result: SearchResult, goal: Goal, board: Board) -> str:
    """One line for a request that nothing in the space meets: which constraints bind, and by how much."""
    parts = [goal.missed(name, result.ratios[name], board) for name in result.binding]
    wanted = f"with {goal.describe()}" if goal.limits else "within the board"
    return f"no accelerator runs this network on {board.name} {wanted}; the closest one misses {'; '.join(parts)}"
