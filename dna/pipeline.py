"""A search from end to end: co-search, training, int8 export, accelerator, Design. Resumable throughout."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from dna.accelerator.board import Board, load_board
from dna.accelerator.chunk import Accelerator, Chunk
from dna.compile.lowering import lower
from dna.design import Design
from dna.errors import UserError
from dna.network.network import Network, Weights
from dna.quantize.export import export
from dna.quantize.float_network import FloatNetwork
from dna.record import from_plain, to_plain
from dna.runs import Run
from dna.search import exact
from dna.search.accelerate import METHODS, Found, Solved, accelerate, search_figures
from dna.search.accelerator import explain, problem
from dna.search.cosearch import Cosearched, CosearchProgress, CosearchSettings, cosearch
from dna.search.goal import Goal, parse_goal
from dna.search.one_chunk import best_mapping, fits, frame_cycles, steady_cycles
from dna.search.problem import Budget
from dna.search.rivals import Entrant, rivals
from dna.supernet.dataset import Dataset
from dna.supernet.retrain import Progress, TrainSettings, evaluate, evaluate_int8, train_qat
from dna.supernet.space import digits_space

DATASETS = ("digits",)
DEFAULT_MINUTES = 3.0
ACCELERATOR_SECONDS = 15.0
"""Time that the accelerator search for the finished network may take, for methods that would go on for ever."""
MAX_EVALUATIONS = 200_000

Watch = Callable[[str, float], None]
"""Called with the stage's name and how much of it is done, 0 to 1."""


@dataclass(frozen=True)
class Request:
    """What `dna search` was asked for; kept in run.yaml, so that the search can go on."""

    board: str
    dataset: str = "digits"
    goal: str = "fastest"
    """As `dna.search.goal.parse_goal` reads it."""
    method: str = "counterfactual"
    """How the accelerator is searched: a name in `METHODS`."""
    seed: int = 0
    minutes: float = DEFAULT_MINUTES
    """Roughly what the whole search may take; the co-search is cut to fit."""

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            raise UserError(f"dataset is '{self.dataset}'; known: {', '.join(DATASETS)}")
        if self.method not in METHODS:
            raise UserError(f"method is '{self.method}'; known: {', '.join(METHODS)}")
        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise UserError(f"minutes is {self.minutes}; it must be above 0")
        if not 0 <= self.seed < 2**31:
            raise UserError(f"seed is {self.seed}; it must be 0 to {2**31 - 1}")
        parse_goal(self.goal)


def request_of(run: Run) -> Request:
    """What the run was made for. UserError if its run.yaml is damaged."""
    try:
        return from_plain(Request, run.options())
    except UserError as error:
        raise UserError(f"{run.path / 'run.yaml'}: {error}") from None


def load_dataset(name: str) -> Dataset:
    from dna.supernet.digits import load_digits

    return {"digits": load_digits}[name]()


@dataclass
class Clock:
    """Wall time per stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - started, 2)


def search(run: Run, watch: Watch, settings: TrainSettings | None = None) -> Design:
    """Does what the run's Request asks and saves the Design in the run; goes on where an interrupted search stopped.

    UserError if the goal cannot be reached on the board.
    """
    request = request_of(run)
    board, goal, data, clock = (
        load_board(request.board),
        parse_goal(request.goal),
        load_dataset(request.dataset),
        Clock(),
    )
    run.search.mkdir(parents=True, exist_ok=True)
    with clock.measure("co-search"):
        joint = _cosearch(run, request, board, goal, data, watch)
        if not joint.feasible:
            _check_reachable(joint.model.network, board, goal)
    with clock.measure("training"):
        network, weights, scales, accuracy = _train(run, request, joint.model, data, watch, settings or TrainSettings())
    with clock.measure("accelerator"):
        solved = _accelerator(request, joint.chunk, network, board, goal, lambda f: watch("accelerator", f))
        watch("accelerator", 1.0)
    found_by = solved.found.method
    with clock.measure("comparison"):
        watch("comparison", 0.0)
        others = rivals(network, board, goal, Entrant.of(f"by {found_by}", solved), request.seed)
        watch("comparison", 1.0)
    metrics = {
        "dataset": request.dataset,
        "goal": request.goal,
        "method": request.method,
        "seed": request.seed,
        "operators": list(joint.names),
        "accuracy": accuracy,
        "accelerator": found_by,
        "search": search_figures(solved, board),
        "evaluations": joint.evaluations,
        "rivals": to_plain(others),
        "scales": scales,
        "seconds": clock.seconds,
    }
    design = Design(network, weights, solved.accelerator, solved.mapping, board, metrics, solved.shares)
    design.save(run.design)
    return design


def _cosearch(run: Run, request: Request, board: Board, goal: Goal, data: Dataset, watch: Watch) -> Cosearched:
    """Network and accelerator together; `minutes` scales its epochs."""
    settings = replace(
        CosearchSettings().scaled(request.minutes / DEFAULT_MINUTES),
        estimator="paper" if request.method == "paper" else "counterfactual",
    )

    def epoch(progress: CosearchProgress) -> None:
        watch("co-search", progress.epoch / progress.epochs)

    watch("co-search", 0.0)
    return cosearch(data, digits_space(), board, goal, request.seed, settings, epoch, run.search / "cosearch")


def _check_reachable(network: Network, board: Board, goal: Goal) -> None:
    """UserError names what binds if no accelerator can be fast enough: better before the training than after it."""
    best = exact.search(problem(lower(network).layers, board, goal), Budget(seconds=ACCELERATOR_SECONDS))
    if not best.feasible:
        raise UserError(explain(best, goal, board))


def _accelerator(
    request: Request,
    joint: Chunk,
    network: Network,
    board: Board,
    goal: Goal,
    watch: Callable[[float], None],
) -> Solved:
    """The accelerator by the method that was asked for.

    `counterfactual`: the exact search for the finished network or, where that is no better, the chunk found along with
    the network.
    """
    watch(0.0)
    method = "exact" if request.method == "counterfactual" else request.method
    budget = Budget(evaluations=MAX_EVALUATIONS, seconds=ACCELERATOR_SECONDS, watch=watch)
    solved = accelerate(network, board, goal, method, budget, request.seed)
    if request.method != "counterfactual" or goal.objective != "interval":
        return solved
    mapping = best_mapping(network, joint, board)
    if mapping is None or not fits(joint, board):
        return solved
    cycles = steady_cycles(network, board, joint, mapping)
    if cycles >= solved.cycles:
        return solved
    alone = frame_cycles(network, board, joint, mapping)
    return Solved(Accelerator((joint,)), mapping, (), cycles, alone, cycles, Found("co-search", 0, 0.0, cycles))


def _train(
    run: Run, request: Request, model: FloatNetwork, data: Dataset, watch: Watch, settings: TrainSettings
) -> tuple[Network, Weights, dict[str, float], dict[str, float]]:
    """Float, then int8: the integers, each tensor's scale, and the share of held-out images named correctly."""
    epochs = settings.float_epochs + settings.int8_epochs

    def epoch(progress: Progress) -> None:
        before = settings.float_epochs if progress.stage == "int8" else 0
        watch("training", (before + progress.epoch) / epochs)

    trained = train_qat(model, data, request.seed, settings, epoch, run.search / "training")
    network, weights = export(trained.quantised)
    accuracy = {
        "float": evaluate(trained.float_model, data.test),
        "int8": evaluate_int8(network, weights, data.test),
    }
    scales = {name: float(trained.quantised.scale(name)) for name in network.shapes}
    return network, weights, scales, accuracy
