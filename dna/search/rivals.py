"""The found accelerator beside others for the same network, board and goal: the best single chunk, and random ones.

All are priced by the exact schedule, not by the closed form they were searched with.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dna.accelerator.board import Board
from dna.accelerator.chunk import Chunk
from dna.accelerator.mapping import Mapping
from dna.compile.lowering import lower
from dna.cost.resources import RESOURCES, Resources, accelerator_resources, resources
from dna.errors import UserError
from dna.network.network import Network
from dna.search import random_search
from dna.search.accelerate import Solved
from dna.search.accelerator import problem
from dna.search.goal import Goal, hardware_share
from dna.search.one_chunk import best_mapping, reaches, solve_one_chunk, steady_cycles
from dna.search.problem import Budget
from dna.search.refine import blank_weights

RANDOM_DESIGNS = 50
EXACT_SECONDS = 5.0
"""Most time for the best single chunk."""


@dataclass(frozen=True)
class Rival:
    """One choice of the accelerator for a network, goal and board."""

    name: str
    chunks: tuple[Chunk, ...]
    cycles: float
    """From frame to frame in steady state, by the exact schedule."""
    used: Resources
    share_percent: float
    """The mean of its DSP, BRAM and LUT fractions of the board: what "least hardware" minimises."""
    feasible: bool
    """Whether it fits the board and reaches the goal, by the exact schedule."""
    note: str = ""

    @property
    def array(self) -> str:
        """The arrays of all chunks."""
        return " + ".join(f"{chunk.oc}×{chunk.ic}×{chunk.px}" for chunk in self.chunks)


@dataclass(frozen=True)
class Entrant:
    """An accelerator that is compared, with its cycles by the exact schedule."""

    note: str
    chunks: tuple[Chunk, ...]
    used: Resources
    cycles: float

    @staticmethod
    def of(note: str, solved: Solved) -> Entrant:
        used = Resources(**accelerator_resources(solved.accelerator))
        return Entrant(note, solved.accelerator.chunks, used, solved.cycles)


def rivals(network: Network, board: Board, goal: Goal, found: Entrant, seed: int) -> list[Rival]:
    """The found accelerator, the best single chunk, and the best of some random single chunks.

    What has no mapping for the network, or cannot reach the goal at all, is left out.
    """

    def single(note: str, chunk: Chunk, mapping: Mapping) -> Entrant:
        return Entrant(note, (chunk,), resources(chunk), steady_cycles(network, board, chunk, mapping))

    entrants = [("found", found)]
    weights = blank_weights(network)
    space = problem(lower(network).layers, board, goal)
    try:
        best = solve_one_chunk(network, weights, board, goal, "exact", Budget(seconds=EXACT_SECONDS))
        proof = "proven" if best.result.lower_bound == best.result.cost else "not proven in time"
        entrants.append(
            ("best single chunk", single(f"{proof}, {space.space.size:,} designs", best.chunk, best.mapping))
        )
    except UserError:
        pass  # nothing reaches the goal: then there is no optimum to show
    chunk = space.space.chunk(random_search.search(space, Budget(evaluations=RANDOM_DESIGNS), seed).design)
    mapping = best_mapping(network, chunk, board)
    if mapping is not None:
        entrants.append(("random", single(f"best of {RANDOM_DESIGNS:,} single chunks", chunk, mapping)))
    return [_rival(name, entrant, board, goal) for name, entrant in entrants]


def _rival(name: str, entrant: Entrant, board: Board, goal: Goal) -> Rival:
    used = entrant.used.as_dict()
    share = float(hardware_share(Resources(**{n: torch.tensor([v]) for n, v in used.items()}), board)[0])
    fits = all(used[n] <= getattr(board, n) for n in RESOURCES)
    reached = fits and reaches(goal, entrant.cycles, board)
    return Rival(name, entrant.chunks, entrant.cycles, entrant.used, share, reached, entrant.note)
