"""What a search ends with: its best points by the exact schedule, and the best of them improved by it.

Every search method proposes points by a closed form, which leaves out most waiting. Here they are realised and
scheduled, best first; then the winner is changed, one thing at a time, wherever the schedule says that it got better:
shares of ports, sizes of links, mappings, batches, buffers, layers at the border of two chunks (`dna.search.moves`).
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import overload

import torch

from dna.accelerator.board import Board
from dna.accelerator.chunk import Accelerator
from dna.accelerator.mapping import Mapping
from dna.compile.lowering import lower
from dna.compile.program import Program
from dna.cost.area import accelerator_area, buffer_kb, link_bits
from dna.cost.energy import energy_of
from dna.cost.packed import Packed, packed, schedule_packed
from dna.cost.resources import Resources, accelerator_resources
from dna.cost.schedule import Schedule
from dna.errors import UserError
from dna.network.network import Network
from dna.search.figures import Costs
from dna.search.goal import Fastest, Goal
from dna.search.moves import PHASES, SHARING, Change, Phase, Situation
from dna.search.outline import outline
from dna.search.point import Point
from dna.search.problem import Budget
from dna.search.realise import PASSES, Realised, Settled, one_frame_latency, realise
from dna.search.refine import steps
from dna.search.shares import bandwidth, port_widths

LOOKED = 0.35
"""Part of the budget in which points are scheduled."""
FIRST = 0.65
"""Part of the budget after which the best of them have their mappings and full block RAM; the rest improves them."""
FINAL = 0.8
"""Part of the budget after which one point is left."""
FINALISTS = 3
COLLECTED = 200_000
"""New objects after which the youngest are looked through for cycles."""
CLOSE = 1.15
"""Points within this factor of the best one are finalists."""
LENGTHY = 4
"""Points with so many times the tiles or instructions of another one are left out, or changed last."""
REMEMBERED = 1_000_000
"""Instructions of the programs that are kept, for changes of shares."""
BUDGET = Budget(evaluations=60, seconds=60)


@dataclass(frozen=True)
class Candidate:
    """A realised point with its schedule. Among two, the one with the smaller `key` is better."""

    point: Point
    realised: Realised
    settled: Settled
    times: Schedule = field(repr=False)
    key: tuple[float, float, float]
    """How far limits are exceeded (0: not at all), the goal's cost, cycles per frame."""
    instructions: int
    """Of a pass: what a schedule takes time for."""


@dataclass(frozen=True)
class Finished:
    """The best realised design that was found."""

    point: Point
    realised: Realised
    settled: Settled
    feasible: bool
    """Whether all limits of goal and board are kept."""
    cost: float
    """In the goal's unit."""
    evaluations: int
    seconds: float
    trace: tuple[tuple[int, str, float], ...]
    """(evaluations, what was changed, cost) at each improvement."""
    failed: tuple[str, ...]
    """Why points could not be realised."""


def finish(
    network: Network,
    points: Sequence[Point],
    board: Board,
    goal: Goal | None = None,
    budget: Budget = BUDGET,
    watch: Callable[[float], None] | None = None,
    check: Callable[[Point], None] = lambda point: None,
) -> Finished:
    """Schedules the points in order, then improves the best, and with time left the others; never worse than the best
    point.

    A schedule of the network is an evaluation; deterministic where evaluations alone are limited. `watch` is told the
    part of the budget that is used; `check` raises UserError for points that are not to be. UserError, with the first
    reason, if no point can be realised.
    """
    with _few_collections():
        return _Finish(network, board, goal or Fastest(), budget, watch, check).run(points)


@contextmanager
def _few_collections() -> Iterator[None]:
    """A Program is some hundred thousand objects without cycles: looking for cycles among them takes a fifth of the
    time."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECTED, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@dataclass
class _Finish:
    """The state of one finish."""

    network: Network
    board: Board
    goal: Goal
    budget: Budget
    watch: Callable[[float], None] | None
    check: Callable[[Point], None] = lambda point: None
    evaluations: int = 0
    started: float = field(default_factory=time.perf_counter)
    programs: dict[tuple[Accelerator, Mapping], Packed] = field(default_factory=dict)
    """The latest ones: shares change, Programs do not."""
    trace: list[tuple[int, str, float]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    seen: set[object] = field(default_factory=set)
    told: float = 0.0
    pace: float = 0.0
    """Seconds per instruction of the slowest change so far: none is begun that would end too late."""
    fewest_tiles: float = math.inf
    """Of a pass, of all points so far."""
    best_key: tuple[float, float, float] = (math.inf,) * 3

    def run(self, points: Sequence[Point]) -> Finished:
        found = self._first(points)
        best = self._improved(self._finalist(found))
        for other in found[1:]:
            if self._used() < 1:
                best = min(best, self._improved(other), key=lambda candidate: candidate.key)
        self._tell(1.0)
        return self._finished(best)

    def _improved(self, best: Candidate) -> Candidate:
        """The best after changes of all kinds, until none is any good or the budget is spent."""
        improved = True
        while improved and self._used() < 1:
            improved = False
            tried: set[str] = set()
            for phase in PHASES:
                better = self._through(phase, best, tried, 1)
                improved, best = improved or better is not best, better
        return best

    def _first(self, points: Sequence[Point]) -> list[Candidate]:
        """The points with their best shares and, the best of them, mappings for these and full block RAM, as far as the
        budget reaches; best first.

        Points whose tensors on chip find no room come only where there is no other: which ones go back to memory takes
        long to find, and seldom pays.
        """
        found = self._scheduled(points, 0)
        if not found:
            self.failed.clear()
            found = self._scheduled(points, None)
        if not found:
            raise UserError(self.failed[0] if self.failed else "finish: no points are given")
        found.sort(key=lambda candidate: candidate.key)
        filled: dict[int, Candidate] = {}
        for candidate in self._hopeful(found):
            if self._used() >= FIRST or self._late(Situation.fills, candidate):
                break
            filled[id(candidate)] = self._filled(candidate)
        return sorted((filled.get(id(candidate), candidate) for candidate in found), key=lambda made: made.key)

    @staticmethod
    def _hopeful(found: Sequence[Candidate]) -> list[Candidate]:
        """Those nearly as good as the best one, in order, but for lengthy ones."""
        few = LENGTHY * min(candidate.instructions for candidate in found)
        close = [candidate for candidate in found if candidate.key < (found[0].key[0], CLOSE * found[0].key[1], 0)]
        return [candidate for candidate in close if candidate.instructions < few] or close

    def _filled(self, made: Candidate) -> Candidate:
        """With all its buffers deeper where block RAM is left, and mappings for its ports.

        Chunks that hand over nothing on chip hold each other up least if groups of frames alternate.
        """
        if not made.point.on_chip:
            made = self._through(Situation.alternates, made, set(), FIRST)
        situation = self._situation(made)
        if self._used() < FIRST and not self._late(Situation.fills, made):
            made = self._better(made, next(chain(Situation.fills(situation), Situation.remaps(situation))))
        return self._through(Situation.exchanges, made, set(), FIRST)

    def _scheduled(self, points: Sequence[Point], most_dropped: int | None) -> list[Candidate]:
        found: list[Candidate] = []
        for number, point in enumerate(points):
            if found and self._used() >= LOOKED:
                break
            made = self._better(None, Change("point", point, partial(self._brief, point, most_dropped)))
            if made is not None:
                made = self._through(Situation.divisions, made, set(), LOOKED)
                if self.evaluations < LOOKED / 2 * self.budget.evaluations:  # many, which take next to no time
                    made = self._through(Situation.exchanges, made, set(), LOOKED)
                found.append(made)
            self._tell(min(self._used(), LOOKED * (number + 1) / len(points)))
        return found

    def _brief(self, point: Point, most_dropped: int | None) -> Realised:
        """The point realised. UserError if its program would be lengthy, beside those that there are."""
        realised = realise(self.network, point, self.board, 1, most_dropped)
        mapping = realised.mapping
        each = zip(lower(self.network).layers, mapping.layers, strict=True)
        tiles = mapping.frames * sum(steps(layer, of_layer) for layer, of_layer in each)
        if tiles >= LENGTHY * self.fewest_tiles:
            raise UserError(f"a pass has {tiles:.0f} tiles; another point has {self.fewest_tiles:.0f}")
        self.fewest_tiles = min(self.fewest_tiles, tiles)
        return realised

    def _finalist(self, found: Sequence[Candidate]) -> Candidate:
        """The best of the first few once shares and buffers have been improved."""
        close = self._hopeful(found)[:FINALISTS]
        improved = []
        for number, candidate in enumerate(close):
            until = FIRST + (FINAL - FIRST) * (number + 1) / len(close)
            for phase in (Situation.exchanges, Situation.alternates, Situation.fills):
                candidate = self._through(phase, candidate, set(), until)
            improved.append(candidate)
        return min([*improved, *found], key=lambda candidate: candidate.key)

    def _through(self, phase: Phase, best: Candidate, tried: set[str], until: float) -> Candidate:
        """The best after the changes of a phase, each tried until it is no good. `until`: part of the budget."""
        while True:
            before = best
            for change in phase(self._situation(best)):
                if self._used() >= until or self._late(phase, best):
                    return best
                if change.name not in tried:
                    best = self._better(best, change)
                    self._tell(self._used())
                    if best is not before:
                        break
                    tried.add(change.name)
            else:
                return best

    def _situation(self, of: Candidate) -> Situation:
        return Situation(self.network, self.board, of.point, of.realised, of.times)

    def _finished(self, best: Candidate) -> Finished:
        return Finished(
            best.point,
            best.realised,
            best.settled,
            best.key[0] == 0,
            best.key[1],
            self.evaluations,
            time.perf_counter() - self.started,
            tuple(self.trace),
            tuple(self.failed),
        )

    def _late(self, phase: Phase, of: Candidate) -> bool:
        """Whether a change of the phase might end behind the budget; those of shares alone take next to no time as long
        as the program is remembered."""
        left = self.budget.seconds - (time.perf_counter() - self.started)
        quick = phase in SHARING and (of.realised.accelerator, of.realised.mapping) in self.programs
        return not quick and left < self.pace * of.instructions

    def _used(self) -> float:
        """Part of the budget."""
        seconds = time.perf_counter() - self.started
        return max(self.evaluations / self.budget.evaluations, seconds / self.budget.seconds)

    def _tell(self, fraction: float) -> None:
        self.told = max(self.told, min(1.0, fraction))
        if self.watch is not None:
            self.watch(self.told)

    @overload
    def _better(self, best: Candidate, change: Change) -> Candidate: ...

    @overload
    def _better(self, best: Candidate | None, change: Change) -> Candidate | None: ...

    def _better(self, best: Candidate | None, change: Change) -> Candidate | None:
        """The better one of `best` and what the change gives, if that compiles."""
        began, tried = time.perf_counter(), None
        try:
            self.check(change.point)
            realised = change.make()
            self.check(replace(change.point, on_chip=realised.mapping.on_chip))
            tried = self._candidate(realised, change.point)
        except UserError as problem:
            if change.name == "point":
                self.failed.append(str(problem))
            return best
        finally:
            made = tried or best
            if made is not None:
                self.pace = max(self.pace, (time.perf_counter() - began) / made.instructions)
        if tried is None or (best is not None and tried.key >= best.key):
            return best
        if tried.key < self.best_key:
            self.trace.append((self.evaluations, change.name, tried.key[1]))
            self.best_key = tried.key
        return tried

    def _candidate(self, realised: Realised, point: Point) -> Candidate | None:
        """None where the same was scheduled before."""
        if realised in self.seen:
            return None
        self.seen.add(realised)
        self.evaluations += 1
        program = self._program(realised)
        times = schedule_packed(program, realised.memories(self.board), PASSES)
        wanted = {self.goal.objective, *(limit.name for limit in self.goal.limits)}
        latency = one_frame_latency(self.network, realised, self.board) if wanted & {"latency", "edp"} else None
        used = accelerator_resources(realised.accelerator)
        settled = Settled(times.interval, realised.mapping.frames, latency, used)
        key = self._key(realised, settled, program.program)
        return Candidate(point, realised, settled, times, key, _length(program))

    def _program(self, realised: Realised) -> Packed:
        key = (realised.accelerator, realised.mapping)
        if key not in self.programs:
            earlier = next(reversed(self.programs.values()), None)
            self.programs[key] = packed(outline(self.network, *key), earlier)
            while len(self.programs) > 2 and sum(map(_length, self.programs.values())) > REMEMBERED:
                del self.programs[next(iter(self.programs))]
        else:  # the latest one comes last
            self.programs[key] = self.programs.pop(key)
        return self.programs[key]

    def _key(self, realised: Realised, settled: Settled, program: Program) -> tuple[float, float, float]:
        evaluation = self.goal.evaluate(costs(realised, settled, program, self.goal, self.board), self.board)
        return float(evaluation.excess), float(evaluation.cost), settled.cycles


def _length(program: Packed) -> int:
    """Instructions of a pass."""
    return sum(len(chunk.instructions) for chunk in program.program.chunks)


def costs(realised: Realised, settled: Settled, program: Program, goal: Goal, board: Board) -> Costs:
    """What goals look at, of one realised point."""
    accelerator, needs = realised.accelerator, goal.needs_on(board)
    energy = area = None
    kilobytes = sum(float(buffer_kb(chunk.integers)) for chunk in accelerator.chunks)
    kilobytes += sum(float(link_bits(link.words)) for link in accelerator.links) / (8 * 1024)
    if board.technology is not None:
        area = torch.tensor([accelerator_area(accelerator, board.technology).total_mm2])
        if "energy" in needs:
            energy = torch.tensor([energy_of(program, board, settled.cycles).total_pj])
    latency = settled.cycles if settled.latency is None else settled.latency
    used = {name: torch.tensor([count]) for name, count in settled.used.items()}
    return Costs(
        interval=torch.tensor([settled.cycles], dtype=torch.float64),
        latency=torch.tensor([latency], dtype=torch.float64),
        resources=Resources(**used),
        unmapped=torch.tensor([0]),
        bandwidth=torch.tensor([float(bandwidth(realised.shares, port_widths(accelerator)))]),
        buffer_kb=torch.tensor([kilobytes]),
        energy_pj=energy,
        area_mm2=area,
    )
