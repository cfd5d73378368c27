"""`dna search --network N --pareto A,B`: a set of Designs instead of one, each a folder that other commands take.

RUN/pareto/pareto.csv     every figure of every design
RUN/pareto/index.html     table and picture
RUN/pareto/01/design/     the first Design; `dna generate --design RUN/pareto/01`
RUN/design/               the one of them that is closest to the best of all objectives
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from dna.accelerator.board import Board, load_board
from dna.bring import BringRequest, frame_path, quantised, request_of
from dna.brought import Integers, Loaded
from dna.design import Design
from dna.errors import UserError
from dna.pipeline import Clock, Watch
from dna.report.front import front_csv, front_page, front_table
from dna.runs import Run, write_atomically
from dna.search.figures import FIGURES
from dna.search.front import logarithms
from dna.search.front_exact import FrontPoint, ParetoSet, pareto_set
from dna.search.problem import Budget

FOLDER = "pareto"


@dataclass(frozen=True)
class Written:
    """What was written, for the terminal."""

    table: Table
    folder: Path
    notices: tuple[str, ...]
    knee: str
    """Name of the design that the run's own folder `design` holds."""


def bring_pareto(run: Run, watch: Watch, loaded: Loaded | None = None) -> Written:
    """Does what the run's BringRequest asks. UserError if nothing keeps the limits, or if the run has its set already.

    The folder appears in one step, when all is in it.
    """
    request, clock = request_of(run), Clock()
    folder = run.path / FOLDER
    if folder.exists():
        raise UserError(f"{folder} exists already: the search is done; start a new one")
    board = load_board(request.board)
    run.search.mkdir(parents=True, exist_ok=True)
    integers = quantised(run, request, loaded, watch, clock)
    with clock.measure("accelerators"):
        watch("accelerators", 0.0)
        budget = Budget(seconds=60 * request.minutes, watch=lambda fraction: watch("accelerators", fraction))
        found = pareto_set(
            integers.network,
            board,
            request.pareto,
            request.aim,
            request.method,
            budget,
            request.source.seed,
            request.given,
        )
        watch("accelerators", 1.0)
    return _write(run, request, integers, board, found, clock.seconds)


def _write(
    run: Run, request: BringRequest, integers: Integers, board: Board, found: ParetoSet, seconds: dict[str, float]
) -> Written:
    names = [f"{number:02d}" for number in range(1, len(found.points) + 1)]
    notices = (*integers.notices, _how(found))
    designs = [
        _design(request, integers, board, found, point, {"seconds": seconds, "notices": list(notices)})
        for point in found.points
    ]
    making = run.path / f".{FOLDER}"
    if making.exists():  # of a search that was stopped while it wrote
        shutil.rmtree(making)
    first = making / names[0] / "design"
    designs[0].save(first)
    for name, design in zip(names[1:], designs[1:], strict=True):
        (making / name / "design").mkdir(parents=True)
        _linked(first / "weights.npz", making / name / "design" / "weights.npz")
        write_atomically(making / name / "design" / "design.yaml", design.text())
    if frame_path(run).is_file():
        for name in names:
            _linked(frame_path(run), making / name / frame_path(run).name)
    title = f"{integers.network.name} on {board.name}: {', '.join(FIGURES[n].label for n in found.names)}"
    write_atomically(making / "index.html", front_page(found, names, title, board, notices))
    write_atomically(making / "pareto.csv", front_csv(found, names))
    knee = closest(found)
    designs[knee].save(run.design)
    making.rename(run.path / FOLDER)
    return Written(front_table(found, names), run.path / FOLDER, notices, names[knee])


def _design(
    request: BringRequest,
    integers: Integers,
    board: Board,
    found: ParetoSet,
    point: FrontPoint,
    more: dict[str, Any],
) -> Design:
    metrics = {
        "network": integers.network.name,
        "pareto": list(found.names),
        "limits": list(request.limits),
        "method": found.found.method,
        "seed": request.source.seed,
        **integers.metrics,
        "figures": point.figures,
        "price_model": dict(zip(found.names, point.predicted, strict=True)),
        "scales": dict(integers.scales),
        **more,
    }
    if request.constraints:
        metrics["constraints"] = request.constraints
    made = point.realised
    return Design(integers.network, integers.weights, made.accelerator, made.mapping, board, metrics, made.shares)


def _linked(source: Path, target: Path) -> None:
    """The same file twice, without a copy where the file system can; nothing of DNA changes either in place."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def closest(found: ParetoSet) -> int:
    """Number of the design that is closest to the best of all objectives, each on its logarithm's range."""
    signs = [-1 if FIGURES[name].highest else 1 for name in found.names]
    rows = [
        [sign * point.figures[name] for sign, name in zip(signs, found.names, strict=True)] for point in found.points
    ]
    logs = logarithms(found.names, torch.tensor(rows, dtype=torch.float64))
    low, high = logs.amin(dim=0), logs.amax(dim=0)
    return int(((logs - low) / (high - low).clamp(min=1e-12)).square().sum(dim=1).argmin())


def _how(found: ParetoSet) -> str:
    """How the set was found, in one sentence."""
    front = found.found
    line = f"{front.method}: {front.evaluations:,} designs priced"
    if found.seeds:
        line += f", beside {found.seeds} that proven searches began with"
    if found.left_out:
        line += f"; {found.left_out} of the set left out, as their exact schedules would have taken too long"
    if front.complete:
        return f"{line}; that is every design of the space: by the price model none is missing"
    return f"{line}; nothing proves that none is missing"
