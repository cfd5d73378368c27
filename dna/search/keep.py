"""Points by the exact schedule where a whole part of the design is given: accelerator, mapping or shares stay."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dna.accelerator.board import Board
from dna.compile.limits import check_mapping
from dna.compile.placement import place
from dna.cost.packed import packed, schedule_packed
from dna.cost.resources import accelerator_resources
from dna.errors import UserError
from dna.network.network import Network
from dna.search.constraints import Constraints
from dna.search.finish import costs
from dna.search.goal import Goal
from dna.search.outline import outline
from dna.search.point import Point
from dna.search.problem import Budget
from dna.search.realise import PASSES, Realised, Settled, one_frame_latency, realise


@dataclass(frozen=True)
class Kept:
    """The best of some points; what `dna.search.finish.Finished` says of one."""

    realised: Realised
    settled: Settled
    feasible: bool
    cost: float
    """In the goal's unit."""


def settle(
    network: Network, points: Sequence[Point], board: Board, goal: Goal, budget: Budget, constraints: Constraints
) -> Kept:
    """The best point by the exact schedule, with all that the constraints keep. The first one is tried whatever the
    budget. UserError, with the first reason, if none can be realised."""
    best: tuple[tuple[float, float], Kept] | None = None
    failed: list[str] = []
    started = time.perf_counter()
    for point in points:
        if best is not None and time.perf_counter() - started > budget.seconds:
            break
        try:
            key, kept = _settled(network, _realised(network, point, board, constraints), board, goal)
        except UserError as error:
            failed.append(str(error))
            continue
        if best is None or key < best[0]:
            best = key, kept
    if best is None:
        raise UserError(failed[0] if failed else "no points are given")
    return best[1]


def _realised(network: Network, point: Point, board: Board, constraints: Constraints) -> Realised:
    """The point with what is kept in place of what was solved. UserError if that does not fit together."""
    realised = realise(network, point, board)
    if constraints.mapping is not None:
        realised = replace(realised, mapping=constraints.mapping)
        check_mapping(network, realised.accelerator, realised.mapping)
    elif constraints.accelerator is not None:
        kept = constraints.accelerator
        realised = replace(realised, accelerator=kept, mapping=place(network, kept, realised.mapping))
    for name in sorted(point.on_chip - realised.mapping.on_chip):
        raise UserError(f"{constraints.source}: on_chip: there is no room on chip for tensor '{name}'")
    return realised


def _settled(network: Network, realised: Realised, board: Board, goal: Goal) -> tuple[tuple[float, float], Kept]:
    """Excess and cost by the schedule, and the figures."""
    program = outline(network, realised.accelerator, realised.mapping)
    times = schedule_packed(packed(program), realised.memories(board), PASSES)
    wanted = {goal.objective, *(limit.name for limit in goal.limits)}
    latency = one_frame_latency(network, realised, board) if wanted & {"latency", "edp"} else None
    settled = Settled(times.interval, realised.mapping.frames, latency, accelerator_resources(realised.accelerator))
    evaluation = goal.evaluate(costs(realised, settled, program, goal, board), board)
    key = float(evaluation.excess), float(evaluation.cost)
    return key, Kept(realised, settled, key[0] == 0, key[1])
