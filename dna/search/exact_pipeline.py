"""The best pipelines of chunks for a network on a board: proven within a space of stages, by the closed form.

A stage is a contiguous run of the executed layers, on one chunk or a few (`dna.search.stage_kinds`). Stages work on
different frames and hand tensors over in memory, so that in steady state the slowest chunk decides. For an interval T
every run has its smallest options (arrays, buffers, shares of the memory's bandwidth), and `dna.search.partition` says
whether some of them cover the network within the board. T is bisected; what no cover at all can undercut is the bound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dna.accelerator.board import Board
from dna.accelerator.tile import channel_words
from dna.compile.lowering import lower
from dna.cost.resources import LUT_MODEL
from dna.errors import UserError
from dna.network.fold import fold_factors, fold_input
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search import exact_runs
from dna.search.chip_kinds import CHIP_LEVELS, LINKS, OnChip, Tensors
from dna.search.goal import Fastest, Goal
from dna.search.menu_prices import ROUTABLE, Limits, Prices
from dna.search.pipeline import PipelineProblem
from dna.search.point import Point
from dna.search.problem import Budget, Ledger, SearchResult
from dna.search.refine import blank_weights
from dna.search.split_kind import DEPTHWISE_LEVELS, MAIN_LEVELS, Split
from dna.search.stage_kinds import Beside, Kind, Mixed, small_runs
from dna.search.stage_points import diverse
from dna.search.stage_search import StageSpace, solve, spare
from dna.search.stages import SMALLEST_DSP, Menu, dsp_menu, lut_menu, suits_lut

ENUMERATED = 2_000_000
"""Designs that are all priced where no other proof is known."""
BLOCK = 4096
"""Designs priced at once."""


@dataclass(frozen=True)
class Proposals:
    """The best points, best first. `intervals`: predicted cycles per frame of each.

    `lower_bound_cycles`: no point of the space takes fewer per frame, by the closed form. `trace`: (seconds, cycles
    per frame) at each improvement.
    """

    points: list[Point]
    intervals: list[float]
    lower_bound_cycles: float
    trace: tuple[tuple[float, float], ...]
    lower_bound_hardware: float | None = None
    """For least hardware: percent of the board that no point of the space undercuts at the rate asked for."""


def stage_space(network: Network, board: Board, max_chunks: int, frames: int) -> StageSpace:
    """All kinds of stages for a network on a board."""
    lowered = lower(network)
    layers = lowered.layers
    limits = Limits.of(board, max_chunks)

    def prices(menu: Menu, modes: bool = False) -> Prices:
        return Prices.of(layers, menu, board, limits, frames, modes)

    large, small = prices(dsp_menu(layers, board.dsp), True), prices(lut_menu(layers), True)
    if not large.menu.arrays or board.technology is not None:
        raise UserError(f"exact: no array of DSPs for {board.name}; it covers boards with {SMALLEST_DSP} DSPs or more")
    kinds: list[Kind] = [Mixed(large), Mixed(small, only=small_runs(layers)), Mixed(large.made_of_luts(suits_lut))]
    pooling = frozenset(n for n, layer in enumerate(layers) if layer.op in ("maxpool", "avgpool"))
    if pooling and len(pooling) < len(layers):
        kinds.append(Beside.of(large, small, pooling))
    able = frozenset(layer.name for layer in layers) - set(lowered.places) - {lowered.output}
    tensors = Tensors(layers, able)
    chip = prices(dsp_menu(layers, board.dsp, ports=2, levels=CHIP_LEVELS))
    kinds += [OnChip(chip, tensors, words) for words in LINKS]
    if any(layer.op == "depthwise" for layer in layers):
        main = prices(dsp_menu(layers, board.dsp, ports=2, levels=MAIN_LEVELS))
        side = prices(dsp_menu(layers, board.dsp, ports=2, levels=DEPTHWISE_LEVELS, depthwise=True))
        kinds.append(Split(main, side, tensors))
    return StageSpace(len(layers), frames, limits.words, max_chunks, _floor(layers, board) * frames, tuple(kinds))


def _floor(layers: Sequence[Layer], board: Board) -> float:
    """Cycles of a frame if all DSPs did two multiplications in each, and all LUTs were multipliers."""
    return sum(layer.macs for layer in layers) / (
        2 * board.dsp + ROUTABLE * board.lut / LUT_MODEL.per_multiplier_in_lut
    )


def propose(
    network: Network,
    board: Board,
    budget: Budget | None = None,
    *,
    goal: Goal | None = None,
    max_chunks: int = 4,
    frames: int = 8,
    count: int = 12,
    watch: Callable[[float], None] = lambda fraction: None,
) -> Proposals:
    """The best `count` points, best first: for frames per second or, with `LeastHardware`, for the least hardware that
    reaches a rate. UserError where nothing in the space fits the board, or for other goals.

    `frames`: of a pass, and per weight load.
    """
    goal, budget = goal or Fastest(), budget or Budget()
    ranked_by_rate = goal.objective == "interval"
    covered = not goal.limits if ranked_by_rate else goal.objective == "hardware" and goal.frames_per_second
    if not covered or {limit.name for limit in goal.limits} - {"fps"}:
        raise UserError(f"exact: does not cover '{goal.describe()}' with several chunks")
    space = stage_space(network, board, max_chunks, frames)
    interval = goal.cycles(board) * frames
    solved = solve(space, budget, watch=watch) if ranked_by_rate else spare(space, interval, budget, watch)
    if not solved.ranked:
        raise UserError(f"no pipeline of up to {max_chunks} chunks runs network '{network.name}' on {board.name}")
    ranked = diverse(solved.ranked, count) if ranked_by_rate else solved.ranked[:count]
    points, intervals = [point for _, point in ranked], [cycles / frames for cycles, _ in ranked]
    return Proposals(points, intervals, solved.low / frames, solved.trace, solved.hardware)


def folds(network: Network) -> list[int]:
    """Factors by which the network's input is worth folding (`dna.network.fold`), 1 for as it is: those that load
    fewer words, or compute fewer steps of four channels, than each of the others."""
    figures = {1: _first_figures(network)}
    for factor in fold_factors(network):
        figures[factor] = _first_figures(fold_input(network, blank_weights(network), factor)[0])

    def beaten(factor: int) -> bool:
        own = figures[factor]
        others = (figure for other, figure in figures.items() if other != factor)
        return any(o[0] <= own[0] and o[1] <= own[1] and o != own for o in others)

    return [factor for factor in figures if not beaten(factor)]


def _first_figures(network: Network) -> tuple[int, int]:
    """Words of the input, and steps of four channels of the layers that read it."""
    layers = [layer for layer in network.layers if layer.input == "input"]
    words = layers[0].in_height * layers[0].in_width * channel_words(layers[0].in_channels)
    steps = sum(
        la.out_height * la.out_width * la.out_channels * la.kernel[0] * la.kernel[1] * -(-la.in_channels // 4)
        for la in layers
    )
    return words, steps


def search(problem: PipelineProblem, budget: Budget, seed: int = 0) -> SearchResult:
    """The proven optimum of an enumerable space: by `exact_runs` or, where that does not cover the space or the goal,
    by pricing every design. `seed` changes nothing. UserError for what is too large for that; no `lower_bound` where
    the budget ends first.
    """
    try:
        return exact_runs.search(problem, budget, seed)
    except UserError:
        if problem.space.size > ENUMERATED:
            raise
    ledger = Ledger(problem, budget)
    for designs in problem.space.enumerate(BLOCK):
        if not ledger.left:
            return ledger.result("exact")
        ledger.price(designs[: ledger.left])
    return ledger.result("exact", ledger.best_key[1] if ledger.best_key[0] == 0 else None)
