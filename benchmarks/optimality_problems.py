"""The frozen spaces of `search_optimality`, and what enumerating them in full gives.

`optimality_spaces.json` defines them: every value of every parameter, the layers of the network, board and goal. A test
holds its hash, so that no space changes because a search does badly on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dna.accelerator.board import load_board
from dna.compile.lowering import lower
from dna.network.zoo import build
from dna.search.accelerator import AcceleratorProblem, problem
from dna.search.goal import parse_goal
from dna.search.pipeline import PipelineProblem, pipeline_problem
from dna.search.pipeline_space import pipeline_space
from dna.search.problem import Evaluation, joined
from dna.search.space import Axis, Space

DEFINITION = Path(__file__).with_name("optimality_spaces.json")
BLOCK = 1 << 16
"""Designs enumerated together."""
ARRAYS = 64
"""Arrays of a one-chunk space enumerated together, each with all its buffers."""

Solved = AcceleratorProblem | PipelineProblem


def definition_hash(path: Path = DEFINITION) -> str:
    """SHA-256 of the definition, however it is written out."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def definitions(path: Path = DEFINITION) -> dict[str, dict[str, Any]]:
    """The spaces by name."""
    return dict(json.loads(path.read_text(encoding="utf-8")))


def smaller(given: Mapping[str, Any]) -> dict[str, Any]:
    """A part of a space that is enumerated in a second: fewer values, four layers."""
    lists = {"oc": [16, 32], "ic": [1, 4], "px": [7]}
    if "chunks" not in given:
        lists |= {"px": [7, 14], "input_words": [512, 1024], "weight_words": [256, 2048], "param_words": [64, 256]}
    return {**given, "layers": 4, "chunk": {**given["chunk"], **lists}}


def build_problem(given: Mapping[str, Any]) -> Solved:
    """The problem that an entry of the definition describes."""
    board, goal = load_board(given["board"]), parse_goal(given["goal"])
    layers = lower(build(given["network"]).network).layers[given["first"] :][: given["layers"]]
    space = Space(tuple(Axis(name, tuple(values)) for name, values in given["chunk"].items()))
    if "chunks" not in given:
        return problem(layers, board, goal, space)
    several = pipeline_space(layers, space, given["chunks"], shares=given["shares"], assignment=given["assignment"])
    return pipeline_problem(several, board, goal)


def all_designs(of: Solved) -> Iterator[tuple[Tensor, Evaluation]]:
    """Every design of the space once, in blocks, with its price."""
    if isinstance(of, AcceleratorProblem):
        for arrays in torch.arange(len(of.space.arrays)).split(ARRAYS):
            yield of.evaluate_arrays(arrays)
        return
    for designs in of.space.enumerate(BLOCK):
        yield designs, of.evaluate(designs)


@dataclass(frozen=True)
class Enumerated:
    """A problem whose every design was priced: prices are looked up, and the optimum is known."""

    of: Solved
    rows: Tensor
    """Where the price of a design is, by its number; int32, -1 for what is no canonical design."""
    prices: Evaluation

    @staticmethod
    def all(of: Solved) -> Enumerated:
        """Price everything."""
        numbers, parts = [], []
        for designs, evaluation in all_designs(of):
            numbers.append(_number(designs, of.space.widths))
            parts.append(evaluation)
        number = torch.cat(numbers)
        rows = torch.full((torch.Size(of.space.widths).numel(),), -1, dtype=torch.int32)
        rows[number] = torch.arange(len(number), dtype=torch.int32)
        return Enumerated(of, rows, joined(parts))

    @property
    def space(self) -> Any:
        return self.of.space

    def evaluate(self, designs: Tensor) -> Evaluation:
        """The prices of designs `(N, axes)`, as the problem itself gives them."""
        canonical = designs if isinstance(self.of, AcceleratorProblem) else self.of.space.canonical(designs)
        return self.prices.part(self.rows[_number(canonical, self.space.widths)].long())

    @cached_property
    def optimum(self) -> float:
        """The least cost of a feasible design."""
        return float(self.prices.cost[self.prices.feasible].min())

    @property
    def size(self) -> int:
        return len(self.prices.cost)

    @cached_property
    def optima(self) -> int:
        """Designs that reach the optimum."""
        return int((self.prices.feasible & (self.prices.cost == self.optimum)).sum())

    @cached_property
    def feasible_share(self) -> float:
        return float(self.prices.feasible.double().mean())


def _number(designs: Tensor, widths: tuple[int, ...]) -> Tensor:
    """One number per row of indices, int64 `(N,)`."""
    number = torch.zeros(len(designs), dtype=torch.int64)
    for column, width in enumerate(widths):
        number = number * width + designs[:, column]
    return number
