"""The accelerator for a network that the user brings: quantise it, search, keep the Design. Resumable."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from dna.accelerator.board import Board, load_board
from dna.brought import Integers, Loaded, Source, frame_of, load, to_integers
from dna.design import Design
from dna.errors import UserError
from dna.network.files import load_weights, network_from_dict, network_to_dict, save_weights
from dna.network.network import Network
from dna.pipeline import Clock, Watch
from dna.record import from_plain, read_yaml, to_plain
from dna.runs import Run, write_atomically
from dna.search.accelerate import METHODS, Found, Solved, accelerate, search_figures
from dna.search.constraints import Constraints
from dna.search.constraints_file import constraints_of
from dna.search.front import front_names
from dna.search.goal import Goal, parse_goal
from dna.search.problem import Budget
from dna.search.rivals import Entrant, rivals

BRING_MINUTES = 0.6
"""For the accelerator: so that the whole, quantisation and comparison too, takes less than a minute. With half of it,
not all kinds of stages may be priced in time, nor the best pipelines be found."""


@dataclass(frozen=True)
class BringRequest:
    """What `dna search --network` was asked for; kept in run.yaml, so that the search can go on."""

    board: str
    source: Source
    goal: str = "fastest"
    method: str = "exact"
    minutes: float = BRING_MINUTES
    """Most time for the accelerator: search and finish together; a proven optimum ends the search earlier."""
    limits: tuple[str, ...] = ()
    """As `dna.search.goal.parse_limit` reads them."""
    constraints: dict[str, Any] = field(default_factory=dict)
    """As `dna.search.constraints_file` reads them."""
    pareto: str = ""
    """Objectives of a Pareto set, as `dna.search.front.front_names` reads them; empty: one Design for the goal."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UserError(f"method is '{self.method}'; known: {', '.join(METHODS)}")
        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise UserError(f"minutes is {self.minutes}; it must be above 0")
        if not 0 <= self.source.seed < 2**31:
            raise UserError(f"seed is {self.source.seed}; it must be 0 to {2**31 - 1}")
        parse_goal(self.goal, self.limits)
        if self.pareto and self.goal != "fastest":
            raise UserError(f"goal is '{self.goal}'; with --pareto there is none, but --limit bounds what is searched")
        constraints_of(self.constraints)

    @property
    def aim(self) -> Goal:
        return parse_goal(self.goal, self.limits)

    @property
    def given(self) -> Constraints:
        return constraints_of(self.constraints)


def is_brought(run: Run) -> bool:
    """Whether the run is for a network that the user brought."""
    return "source" in run.options()


def request_of(run: Run) -> BringRequest:
    """What the run was made for. UserError if its run.yaml is damaged."""
    try:
        return from_plain(BringRequest, run.options())
    except UserError as error:
        raise UserError(f"{run.path / 'run.yaml'}: {error}") from None


def check(request: BringRequest) -> Loaded:
    """Reads all that the request names. UserError for anything that would end the search: before there is a run."""
    board = load_board(request.board)
    request.given.goal(request.aim, board)
    if request.pareto:
        front_names(request.pareto, board)
    loaded = load(request.source)
    return loaded


def bring(run: Run, watch: Watch, loaded: Loaded | None = None) -> Design:
    """Does what the run's BringRequest asks and saves the Design in the run; goes on where it was interrupted.

    `loaded`: what `check` gave, to spare reading it again. UserError if the goal cannot be reached on the board.
    """
    request, clock = request_of(run), Clock()
    board = load_board(request.board)
    run.search.mkdir(parents=True, exist_ok=True)
    integers = quantised(run, request, loaded, watch, clock)
    network, weights, seed = integers.network, integers.weights, request.source.seed
    with clock.measure("accelerator"):
        solved = _solved(request, network, board, lambda fraction: watch("accelerator", fraction))
        watch("accelerator", 1.0)
    with clock.measure("comparison"):
        watch("comparison", 0.0)
        goal = request.given.goal(request.aim, board)
        others = rivals(network, board, goal, Entrant.of(f"by {request.method}", solved), seed)
        watch("comparison", 1.0)
    metrics = {
        "network": network.name,
        "goal": request.goal,
        "limits": list(request.limits),
        "method": request.method,
        "seed": seed,
        "notices": [*integers.notices, *solved.notices, bound_line(solved.found)],
        **integers.metrics,
        "accelerator": request.method,
        "search": search_figures(solved, board),
        "rivals": to_plain(others),
        "scales": dict(integers.scales),
        "seconds": clock.seconds,
    }
    if request.constraints:
        metrics["constraints"] = request.constraints
    design = Design(network, weights, solved.accelerator, solved.mapping, board, metrics, solved.shares)
    design.save(run.design)
    return design


def _solved(request: BringRequest, network: Network, board: Board, watch: Callable[[float], None]) -> Solved:
    watch(0.0)
    budget = Budget(seconds=60 * request.minutes, watch=watch)
    return accelerate(network, board, request.aim, request.method, budget, request.source.seed, request.given)


def bound_line(found: Found) -> str:
    """How far the search came, in one sentence."""
    count = f"{found.evaluations:,} designs priced" if found.evaluations else "searched"
    line = f"{found.method}: {count} in {found.seconds:.0f} s"
    if found.lower_bound is None:
        return f"{line}; the method gives no bound"
    if found.proven:
        return f"{line}; by the price model none is better"
    share = 1 - found.lower_bound / found.cost
    return f"{line}; by the price model the best is at most {share:.1%} better"


def quantised(run: Run, request: BringRequest, loaded: Loaded | None, watch: Watch, clock: Clock) -> Integers:
    """The integers of the run's network, from its folder if they stand there already."""
    folder = run.search / "quantised"
    with clock.measure("quantisation"):
        watch("quantisation", 0.0)
        if (folder / "network.yaml").is_file():
            integers = _read(folder)
        else:
            loaded = loaded or check(request)
            integers = to_integers(loaded, request.source.seed, request.source.fold)
            _write(folder, integers)
            if loaded.images_NCHW is not None:
                np.save(frame_path(run), frame_of(loaded, request.source.fold))
        watch("quantisation", 1.0)
    return integers


def frame_path(run: Run) -> Path:
    """Where a run keeps the calibration image that its hardware is proven with."""
    return run.path / "frame.npy"


def _write(folder: Path, integers: Integers) -> None:
    """network.yaml comes last: a folder that has it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(folder / "weights.npz", integers.weights)
    facts = {"scales": integers.scales, "notices": integers.notices, "metrics": integers.metrics}
    write_atomically(folder / "facts.json", json.dumps(to_plain(facts)))
    write_atomically(folder / "network.yaml", yaml.safe_dump(network_to_dict(integers.network), sort_keys=False))


def _read(folder: Path) -> Integers:
    network = network_from_dict(read_yaml(folder / "network.yaml"))
    facts: Mapping[str, Any] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    weights = load_weights(folder / "weights.npz", network)
    return Integers(network, weights, facts["scales"], tuple(facts["notices"]), facts["metrics"])


def options(request: BringRequest) -> dict[str, Any]:
    """The request as run.yaml keeps it; paths are absolute, so that it can be resumed from anywhere."""
    content = asdict(request)
    source = request.source
    if not source.from_zoo:
        content["source"]["network"] = str(Path(source.network).absolute())
    if source.calibrate is not None:
        content["source"]["calibrate"] = str(Path(source.calibrate).absolute())
    return content
