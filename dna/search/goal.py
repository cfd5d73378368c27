"""What a search is to reach on a board: one figure to minimise, limits on any others.

The board's own limits always hold. `Fastest` and `LeastHardware` are the two goals of old; `parse_goal` and
`parse_limit` read what people write.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dna.accelerator.board import Board
from dna.errors import UserError
from dna.search.figures import FIGURES, WEIGHTED, Costs, check_figure, figure_name, figures, hardware_share
from dna.search.problem import PENALTY, Evaluation

__all__ = [
    "CONSTRAINED",
    "FIGURES",
    "OBJECTIVES",
    "WEIGHTED",
    "Costs",
    "Fastest",
    "Goal",
    "LeastHardware",
    "Limit",
    "figures",
    "hardware_share",
    "parse_goal",
    "parse_limit",
]

CONSTRAINED = ("dsp", "bram36", "lut", "ff")
OBJECTIVES = ("interval", "latency", "energy", "edp", "area", "hardware")
"""What can be minimised: cycles per frame in steady state, cycles of one frame, mJ per frame, mJ times ms, mm2, and the
share of the board in percent (on an ASIC: of the area)."""
SMOOTH_NORM = 16
"""Order of the norm that guides searches along the cycles of all chunks."""
GOALS = {"fastest": "interval", "latency": "latency", "energy": "energy", "edp": "edp", "area": "area"}
GOAL_HELP = "fastest, fps=NUMBER (least hardware that reaches it), latency, energy, edp, or area"
LIMIT_HELP = "NAME=NUMBER[unit]; names: " + ", ".join(name for name in FIGURES if name != "hardware")


@dataclass(frozen=True)
class Limit:
    """A bound of a figure: at most `value`, for frame rates at least; in the unit of `FIGURES[name]`."""

    name: str
    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", figure_name(self.name, "limit"))
        if not (math.isfinite(self.value) and self.value > 0):
            raise UserError(f"limit {self.name}: is {self.value:g}; it must be above 0")

    def __str__(self) -> str:
        sign = "at least" if FIGURES[self.name].highest else "at most"
        return f"{FIGURES[self.name].label} {sign} {self.value:g} {FIGURES[self.name].unit}".rstrip()

    def ratio(self, figure: Tensor) -> Tensor:
        """Use over limit, met where at most 1."""
        return self.value / figure if FIGURES[self.name].highest else figure / self.value


@dataclass(frozen=True)
class Goal:
    """The figure to minimise, and limits."""

    objective: str = "interval"
    limits: tuple[Limit, ...] = field(default=())
    """At most one per figure."""

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise UserError(f"goal is '{self.objective}'; it must be one of {', '.join(OBJECTIVES)}")
        names = [limit.name for limit in self.limits]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"limit {name} is given twice")

    @property
    def frames_per_second(self) -> float:
        """The frame rate asked for; 0 without one."""
        return next((limit.value for limit in self.limits if limit.name == "fps"), 0.0)

    @property
    def needs(self) -> frozenset[str]:
        """Parts of `Costs` that must be priced: of energy, area, bandwidth, buffer_kb. ASIC boards need area and
        buffer_kb besides, for their own limits: `needs_on`."""
        objective = FIGURES[self.objective].needs if self.objective in FIGURES else frozenset()
        return objective.union(*(FIGURES[limit.name].needs for limit in self.limits))

    def needs_on(self, board: Board) -> frozenset[str]:
        """As `needs`, with what the board's own limits need."""
        return self.needs if board.technology is None else self.needs | {"area", "buffer_kb"}

    def check(self, board: Board) -> None:
        """UserError if the board has no such figure: areas of FPGAs, DSP slices of ASICs."""
        if self.objective in FIGURES:
            check_figure(self.objective, f"goal {self.objective}", board)
        for limit in self.limits:
            check_figure(limit.name, f"limit {limit.name}", board)

    def limited(self, limits: Iterable[Limit]) -> Goal:
        """The same with more limits."""
        return Goal(self.objective, (*self.limits, *limits))

    def faster(self, factor: float) -> Goal:
        """The same with its frame rate, if it asks for one, multiplied: for what the exact schedule takes longer."""
        limits = (Limit(limit.name, limit.value * factor) if limit.name == "fps" else limit for limit in self.limits)
        return Goal(self.objective, tuple(limits))

    def cycles(self, board: Board) -> float:
        """Most cycles a frame may take in steady state; infinity without a frame rate asked for."""
        return board.cycles_per_second / self.frames_per_second if self.frames_per_second else math.inf

    def evaluate(self, costs: Costs, board: Board) -> Evaluation:
        """Price N accelerators. The constraints are named for people: "frame rate", "dsp", "area", "buffers"..."""
        ratios: dict[str, Tensor] = {}
        for limit in self.limits:
            figure = FIGURES[limit.name]
            ratios[figure.label] = limit.ratio(figure.of(costs, board))
        for name, ratio in _board_ratios(costs, board).items():
            ratios[name] = ratio.maximum(ratios[name]) if name in ratios else ratio
        joined = torch.stack(list(ratios.values()), dim=1)
        return Evaluation(self.cost(costs, board), joined, tuple(ratios), self._smooth(costs))

    def _smooth(self, costs: Costs) -> Tensor | None:
        """A norm in place of the slowest chunk's cycles, float64 `(N,)`, where these are what is minimised."""
        if self.objective != "interval" or costs.chunk_cycles is None or costs.chunk_cycles.shape[1] == 1:
            return None
        return torch.linalg.vector_norm(costs.chunk_cycles, ord=SMOOTH_NORM, dim=1)

    def cost(self, costs: Costs, board: Board) -> Tensor:
        """What is minimised, float64 `(N,)`: cycles, mJ, mJ ms, mm2 or percent."""
        if self.objective in ("interval", "latency"):
            cycles: Tensor = getattr(costs, self.objective)
            return cycles.double()
        return FIGURES[self.objective].of(costs, board)

    def cycles_score(self, cycles: Tensor, board: Board) -> Tensor:
        """The part of an `Evaluation`'s score that depends on the cycles, interval and latency alike, float64."""
        cycles = cycles.double()
        score = torch.zeros_like(cycles)
        if self.objective in ("interval", "latency", "edp"):
            score = score + cycles.log()
        for limit in self.limits:
            most = self.cycles(board) if limit.name == "fps" else limit.value * board.cycles_per_second / 1e3
            if limit.name in ("fps", "latency"):
                score = score + PENALTY * (cycles / most).clamp(min=1).log()
        return score

    def describe(self) -> str:
        """In words, for messages."""
        aims = {"interval": "fastest", "hardware": "least hardware", "edp": "least energy-delay product"}
        aim = aims.get(self.objective, f"least {self.objective}")
        return "; ".join([aim, *map(str, self.limits)])

    def missed(self, name: str, ratio: float, board: Board) -> str:
        """In words, by how much a constraint of `evaluate` is missed: `energy: 3.1 of 2 mJ`."""
        if name == "buffers":
            return f"buffers: {round(ratio - 1)} layers fit no tile"
        limits = [limit for limit in self.limits if FIGURES[limit.name].label == name]
        most, unit = _board_limit(name, board)
        if limits and FIGURES[limits[0].name].highest:
            return f"{name}: {limits[0].value / ratio:.4g} of {limits[0].value:g} {FIGURES[limits[0].name].unit}"
        if limits and limits[0].value < most:
            most, unit = limits[0].value, FIGURES[limits[0].name].unit
        amount = f"{round(ratio * most)}" if name in CONSTRAINED else f"{ratio * most:.4g}"
        return f"{name}: {amount} of {most:g} {unit}".rstrip() if most < 1e6 else f"{name}: {amount} of {most:.0f}"


@dataclass(frozen=True)
class Fastest(Goal):
    """Fewest cycles per frame; the cost is in cycles."""


@dataclass(frozen=True, init=False)
class LeastHardware(Goal):
    """Smallest share of the board that reaches a frame rate; the cost is that share, in percent."""

    def __init__(self, frames_per_second: float) -> None:
        if not frames_per_second > 0:
            raise UserError(f"goal: {frames_per_second} frames per second; it must be above 0")
        super().__init__("hardware", (Limit("fps", frames_per_second),))


def parse_goal(text: str, limits: Iterable[str] = ()) -> Goal:
    """`fastest`, `fps=NUMBER` (least hardware), `latency`, `energy`, `edp` or `area`, with `limits` as `parse_limit`
    reads them. UserError otherwise."""
    more = tuple(parse_limit(limit) for limit in limits)
    name = text.strip().lower()
    if name.startswith("fps="):
        rate = _number(name[4:])
        if not (math.isfinite(rate) and rate > 0):
            raise UserError(f"goal is '{text}'; it must be 'fps=NUMBER', for example fps=20000")
        least: Goal = LeastHardware(rate)
        return least.limited(more) if more else least
    if name not in GOALS:
        raise UserError(f"goal is '{text}'; it must be {GOAL_HELP}, for example 'fastest' or 'fps=20000'")
    if name == "fastest":
        return Fastest(limits=more)
    return Goal(GOALS[name], more)


def parse_limit(text: str) -> Limit:
    """`NAME=NUMBER` with a unit or without: fps=100, latency=5ms, energy=2mJ, area=4mm2, dsp=300, buffer=256kB,
    bandwidth=3.2GB/s. UserError names what is wrong."""
    key, equals, rest = text.partition("=")
    if not equals:
        raise UserError(f"limit is '{text}'; it must be NAME=NUMBER, for example fps=100 or energy=2mJ")
    name = figure_name(key, "limit")
    figure, rest = FIGURES[name], rest.strip().lower()
    for unit in sorted(figure.units, key=len, reverse=True):
        if rest.endswith(unit) and math.isfinite(_number(rest[: -len(unit)])):
            return Limit(name, _number(rest[: -len(unit)]) * figure.units[unit])
    value = _number(rest)
    if not math.isfinite(value):
        units = f" and a unit of {', '.join(figure.units)}" if figure.units else ""
        raise UserError(f"limit is '{text}'; behind {key}= there must be a number{units}")
    return Limit(name, value)


def _number(text: str) -> float:
    """NaN for what is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _board_ratios(costs: Costs, board: Board) -> dict[str, Tensor]:
    """Use over limit of what the board has, and 1 + the layers that fit no tile."""
    ratios: dict[str, Tensor] = {}
    if board.technology is None:
        for name in CONSTRAINED:
            ratios[name] = FIGURES[name].of(costs, board) / getattr(board, name)
    else:
        ratios["area"] = FIGURES["area"].of(costs, board) / board.area_mm2
        ratios["on-chip memory"] = FIGURES["buffer"].of(costs, board) / board.sram_kb
    if costs.bandwidth is not None:
        ratios["bandwidth"] = costs.bandwidth.double() / float(board.carried)
    ratios["buffers"] = 1.0 + costs.unmapped.double()
    return ratios


def _board_limit(name: str, board: Board) -> tuple[float, str]:
    """The board's own limit of a constraint and its unit; infinity if it has none."""
    if name in CONSTRAINED and board.technology is None:
        return getattr(board, name), ""
    if name == "bandwidth":
        return float(board.carried) * board.cycles_per_second * 1e-9, "GB/s"
    if board.technology is not None:
        return {"area": (board.area_mm2, "mm²"), "on-chip memory": (board.sram_kb, "kB")}.get(name, (math.inf, ""))
    return math.inf, ""
