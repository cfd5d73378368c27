"""The found accelerator beside others for the same network, board and goal: the proven optimum, and random ones.

All are priced by the exact schedule, not by the closed form they were searched with.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dna.accelerator.board import Board
from dna.accelerator.chunk import Chunk
from dna.compile.lowering import lower
from dna.cost.resources import Resources, resources
from dna.errors import UserError
from dna.network.network import Network, Weights
from dna.search import random_search
from dna.search.accelerate import Solved, accelerate, best_mapping, fits, frame_cycles, reaches
from dna.search.accelerator import problem
from dna.search.goal import Goal, hardware_share
from dna.search.problem import Budget

RANDOM_DESIGNS = 50
EXACT_SECONDS = 60.0


@dataclass(frozen=True)
class Rival:
    """One choice of the accelerator for a network, goal and board."""

    name: str
    chunks: tuple[Chunk, ...]
    cycles: float
    """From frame to frame in steady state, by the exact schedule; of one chunk, of a frame alone."""
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


def rivals(
    network: Network,
    weights: Weights,
    board: Board,
    goal: Goal,
    found: tuple[str, Chunk],
    seed: int,
    exact: Solved | None = None,
) -> list[Rival]:
    """The found chunk (how, which), the optimum of the whole space, and the best of some random designs.

    `exact`: the optimum where it was searched already. What has no mapping for the network, or cannot reach the goal at
    all, is left out.
    """
    candidates = [("found", found[1], f"by {found[0]}")]
    space = problem(lower(network).layers, board, goal)
    try:
        best = exact or accelerate(network, weights, board, goal, "exact", Budget(seconds=EXACT_SECONDS))
        proof = "proven" if best.result.lower_bound == best.result.cost else "not proven in time"
        candidates.append(("exact optimum", best.chunk, f"{proof}, {space.space.size:,} designs"))
    except UserError:
        pass  # nothing reaches the goal: then there is no optimum to show
    drawn = random_search.search(space, Budget(evaluations=RANDOM_DESIGNS), seed)
    candidates.append(("random", space.space.chunk(drawn.design), f"best of {RANDOM_DESIGNS:,}"))
    cycles = {exact.chunk: exact.cycles} if exact else {}
    priced = []
    for name, chunk, note in candidates:
        if chunk not in cycles:  # a large network takes long to compile: each chunk once
            mapping = best_mapping(network, chunk, board)
            if mapping is None:
                continue
            cycles[chunk] = frame_cycles(network, weights, board, chunk, mapping)
        priced.append(_priced(name, chunk, note, cycles[chunk], board, goal))
    return priced


def _priced(name: str, chunk: Chunk, note: str, cycles: int, board: Board, goal: Goal) -> Rival:
    used = resources(chunk)
    share = float(hardware_share(Resources(**{n: torch.tensor([v]) for n, v in used.as_dict().items()}), board)[0])
    return Rival(name, (chunk,), cycles, used, share, fits(chunk, board) and reaches(goal, cycles, board), note)
