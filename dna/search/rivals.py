"""The found accelerator beside others for the same network, board and goal: the best single chunk, and random ones.

The first two are priced by the exact schedule. The random one is priced by the closed form, which flatters it if
anything: a bad accelerator's program is long, and would take longer to schedule than the search took.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dna.accelerator.board import Board
from dna.accelerator.chunk import Chunk
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

RANDOM_DESIGNS = 30
EXACT_SECONDS = 4.0
"""Most time for the best single chunk."""


@dataclass(frozen=True)
class Rival:
    """One choice of the accelerator for a network, goal and board."""

    name: str
    chunks: tuple[Chunk, ...]
    cycles: float
    """From frame to frame in steady state; by the exact schedule where `note` says nothing else."""
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
    """An accelerator that is compared, with its cycles from frame to frame."""

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
    entrants = [("found", found)]
    space = problem(lower(network).layers, board, goal)
    try:
        best = solve_one_chunk(network, board, goal, "exact", Budget(seconds=EXACT_SECONDS))
        proof = "proven" if best.result.lower_bound == best.result.cost else "not proven in time"
        note = f"{proof}, {space.space.size:,} designs"
        cycles = steady_cycles(network, board, best.chunk, best.mapping)
        entrants.append(("best single chunk", Entrant(note, (best.chunk,), resources(best.chunk), cycles)))
    except UserError:
        pass  # nothing reaches the goal: then there is no optimum to show
    design = random_search.search(space, Budget(evaluations=RANDOM_DESIGNS), seed).design
    chunk = space.space.chunk(design)
    if best_mapping(network, chunk, board) is not None:
        note = f"best of {RANDOM_DESIGNS:,} single chunks, by the price model"
        entrants.append(("random", Entrant(note, (chunk,), resources(chunk), space.cycles(design))))
    return [_rival(name, entrant, board, goal) for name, entrant in entrants]


def _rival(name: str, entrant: Entrant, board: Board, goal: Goal) -> Rival:
    used = entrant.used.as_dict()
    share = float(hardware_share(Resources(**{n: torch.tensor([v]) for n, v in used.items()}), board)[0])
    fits = all(used[n] <= getattr(board, n) for n in RESOURCES)
    reached = fits and reaches(goal, entrant.cycles, board)
    return Rival(name, entrant.chunks, entrant.cycles, entrant.used, share, reached, entrant.note)
