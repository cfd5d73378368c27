"""One chunk for a finished network: searched with the closed form, settled by the exact schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dna.accelerator.board import Board
from dna.accelerator.chunk import Accelerator, Chunk
from dna.accelerator.isa import WORD_BYTES, field_limit
from dna.accelerator.mapping import Mapping
from dna.compile.default_mapping import smallest_mapping
from dna.compile.limits import check
from dna.compile.lowering import lower
from dna.compile.memory_map import place_tensors
from dna.cost.packed import packed, schedule_packed
from dna.cost.resources import RESOURCES, resources
from dna.cost.schedule import Schedule
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search import exact
from dna.search.accelerator import AcceleratorProblem, explain, problem
from dna.search.goal import Goal
from dna.search.mapping_space import decode, solve_mappings
from dna.search.methods import SEARCHERS
from dna.search.outline import outline
from dna.search.problem import Budget, SearchResult
from dna.search.space import BUFFER_WORDS, INPUT_CHANNELS, PARAM_WORDS, POST_LANES, WEIGHT_WORDS, Space

METHODS: dict[str, Callable[[Any, Budget, int], SearchResult]] = {**SEARCHERS, "exact": exact.search}
PASSES = 3
"""Passes of a schedule of which the last is taken as steady state."""
ROUNDS = 6
"""Times that a goal is tightened because the schedule of the best design misses it."""


@dataclass(frozen=True)
class OneChunk:
    """An accelerator, each layer's mapping on it, its cycles by the schedule, and how it was found."""

    chunk: Chunk
    mapping: Mapping
    cycles: int
    result: SearchResult


def solve_one_chunk(
    network: Network,
    board: Board,
    goal: Goal,
    method: str,
    budget: Budget,
    seed: int = 0,
    within: Space | None = None,
) -> OneChunk:
    """The best chunk that the method finds within the budget, in the board's default space or in the one given.

    The closed form never counts more cycles than the schedule, so a frame rate that is just met may be missed: then the
    goal is tightened by what is missing. UserError if nothing on the board reaches the goal.
    """
    space = problem(lower(network).layers, board, goal, within)
    aim = goal
    for _ in range(ROUNDS):
        result = METHODS[method](replace(space, goal=aim), budget, seed)
        if not result.feasible:
            raise UserError(explain(result, aim, board))
        solved = _solved(space, network, board, result)
        if reaches(goal, solved.cycles, board):
            return solved
        aim = aim.faster(solved.cycles / aim.cycles(board))
    raise UserError(f"goal: no accelerator was found whose exact schedule reaches {goal}; ask for a little less")


def check_runnable(network: Network) -> None:
    """UserError, naming layer and limit, if no accelerator of the search space can run the network, however slowly."""
    lowered = lower(network)
    # One lane and as many inputs, post lanes and words as there can be: what exceeds a limit here does so everywhere.
    largest = Chunk(
        oc=16,
        ic=max(INPUT_CHANNELS),
        px=1,
        post_lanes=max(POST_LANES),
        input_words=max(BUFFER_WORDS),
        weight_words=max(WEIGHT_WORDS),
        param_words=max(PARAM_WORDS),
        output_words=max(BUFFER_WORDS),
    )
    for layer in lowered.layers:
        check(layer, largest, smallest_mapping(layer, largest))
    place_tensors(lowered)
    _check_weights(lowered.layers)


def _check_weights(layers: Sequence[Layer]) -> None:
    """UserError, naming the layer with the most, if the weights alone are more than the Program can address."""
    words = [math.prod(layer.weight_shape or (0,)) // WORD_BYTES for layer in layers]
    limit = field_limit("LOAD", "address") + 1
    if sum(words) > limit:
        heaviest = layers[words.index(max(words))].name
        raise UserError(f"layer '{heaviest}': has {max(words)} of {sum(words)} words of weights; the limit is {limit}")


def reaches(goal: Goal, cycles: float, board: Board) -> bool:
    """Whether a frame of so many cycles is what the goal asks for."""
    return cycles <= goal.cycles(board)


def fits(chunk: Chunk, board: Board) -> bool:
    """Whether the board has all that the chunk needs."""
    used = resources(chunk)
    return all(getattr(used, name) <= getattr(board, name) for name in RESOURCES)


def best_mapping(network: Network, chunk: Chunk, board: Board) -> Mapping | None:
    """Each executed layer's best mapping on the chunk, None if a layer has none."""
    layers = lower(network).layers
    solved = solve_mappings(layers, [chunk], board.memory)
    if not bool(solved.feasible.all()):
        return None
    pairs = zip(layers, solved.ids[:, 0].tolist(), strict=True)
    return Mapping(tuple(decode(layer, chunk, identity) for layer, identity in pairs))


def frame_cycles(network: Network, board: Board, chunk: Chunk, mapping: Mapping) -> int:
    """Of one frame, by the exact schedule."""
    return _schedule(network, board, chunk, mapping, 1).cycles


def steady_cycles(network: Network, board: Board, chunk: Chunk, mapping: Mapping) -> int:
    """From frame to frame in steady state, by the exact schedule."""
    return _schedule(network, board, chunk, mapping, PASSES).interval


def _schedule(network: Network, board: Board, chunk: Chunk, mapping: Mapping, passes: int) -> Schedule:
    program = outline(network, Accelerator((chunk,)), mapping)
    return schedule_packed(packed(program), board.memory, passes)


def _solved(space: AcceleratorProblem, network: Network, board: Board, result: SearchResult) -> OneChunk:
    chunk = space.space.chunk(result.design)
    mapping = best_mapping(network, chunk, board)
    if mapping is None:
        raise UserError(f"network '{network.name}': a layer fits no tile on the accelerator that was found")
    return OneChunk(chunk, mapping, frame_cycles(network, board, chunk, mapping), result)
