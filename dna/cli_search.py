"""`dna search` and `dna demo`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dna import runs
from dna.errors import UserError
from dna.report.console import console

if TYPE_CHECKING:
    from dna.bring_pareto import Written
    from dna.brought import Loaded
    from dna.design import Design

GOAL_HELP = "fastest; fps=NUMBER, the least hardware that reaches it; latency, energy, edp or area."


class Numbers(click.ParamType):
    """Numbers in one word: sizes as 224 or 96x128, values as 0.5 or 0.4,0.5,0.6."""

    def __init__(self, kind: type, separator: str, name: str) -> None:
        self.kind, self.separator, self.name = kind, separator, name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        try:
            return tuple(self.kind(part) for part in str(value).split(self.separator))
        except ValueError:
            self.fail(f"'{value}' is not a list of numbers separated by '{self.separator}'", param, ctx)


SIZE = Numbers(int, "x", "HEIGHTxWIDTH")
VALUES = Numbers(float, ",", "VALUE,...")


@click.command()
@click.option("--board", help="A name from `dna boards`, or a YAML file.  [required]")
@click.option("--goal", default="fastest", show_default=True, help=GOAL_HELP)
@click.option(
    "--network",
    metavar="NAME|FILE",
    help="Search only the accelerator, for this network: a name from `dna networks`, or an ONNX file.",
)
@click.option("--calibrate", metavar="IMAGES", help="Images to quantise it with: a folder of pictures, or .npy, .npz.")
@click.option("--input-size", type=SIZE, help="Zoo: image size, default 224. ONNX: what the model leaves open.")
@click.option("--width", type=float, help="Zoo: multiplier of channels, default 1.")
@click.option("--classes", type=click.IntRange(1, 1_000_000), help="Zoo: number of classes, default 1000.")
@click.option("--mean", type=VALUES, help="ONNX: its input is (byte / 255 - mean) / std, per channel or one for all.")
@click.option("--std", type=VALUES, help="See --mean. Without both, the input is byte / 255.")
@click.option(
    "--fold",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --network: squares of N x N pixels of the input become channels, if the first layer has such a stride:"
    " fewer words to read; the drivers fold the images.",
)
@click.option("--dataset", help="Without --network: images to learn, 'digits', real and bundled, is the default.")
@click.option(
    "--limit",
    "limits",
    multiple=True,
    metavar="NAME=NUMBER",
    help="With --network: a bound; fps, latency, energy, area, dsp, bram36, lut, buffer, bandwidth.",
)
@click.option(
    "--constraints", type=click.Path(path_type=Path), metavar="FILE", help="With --network: what is given, in YAML."
)
@click.option(
    "--pareto",
    metavar="NAME,NAME[,NAME]",
    help="With --network, instead of a goal: the designs that no other one beats in all of these; fps, latency, energy,"
    " edp, area, hardware, dsp, bram36, lut, ff, buffer, bandwidth.",
)
@click.option("--chunks", metavar="N|N-M", help="With --network: how many chunks; 1-4 by default.")
@click.option(
    "--method",
    help="How the accelerator is searched: exact (default with --network), counterfactual (default), evolutionary,"
    " bayesian, reinforce, paper or random.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    help="Same seed, same result, unless the time runs out: sampling methods and the finish of the accelerator search"
    " use all the time they are given.",
)
@click.option(
    "--minutes",
    type=float,
    help="About what the whole search may take, 3 by default; with --network what the accelerator may take, 0.6.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; default: runs/BOARD-NNN.")
@click.option("--force", is_flag=True, help="Replace a run that stands in --out.")
@click.option("--resume", is_flag=True, help="Go on with the latest run (or the one at --out) as it was asked for.")
def search(board: str | None, goal: str, seed: int, out: Path | None, force: bool, resume: bool, **given: Any) -> None:
    """Search network, accelerator and mapping together, and train the network to int8.

    With --network, search the accelerator for a network that there is already, and quantise it with --calibrate's
    images. Networks of the zoo have random weights, and need no images. With --pareto the result is a set of
    designs, RUN/pareto/01 and so on; `dna generate --design` takes any of them.
    """
    screen = console()
    loaded = None
    if resume:
        run = runs.find(out)
    elif board is None:
        raise UserError("--board is missing: a name from 'dna boards', or a YAML file")
    elif given["network"] is not None:
        run, loaded = _brought(board, goal, seed, given, lambda b, o: runs.create(b, o, out=out, force=force))
    else:
        run = runs.create(*_asked(board, goal, seed, given), out=out, force=force)
    screen.print(f"run     {run.path}")
    with progress_bars() as watch:
        try:
            done = _searched(run, watch, loaded)
        except KeyboardInterrupt:
            place = f" --out {run.path}" if out else ""
            screen.print(f"stopped; go on with: dna search --resume{place}")
            raise
    _say(screen, run.design, done)


def _asked(board: str, goal: str, seed: int, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and options of a run that learns a data set."""
    from dna.accelerator.board import load_board
    from dna.pipeline import DEFAULT_MINUTES, Request

    for name in (
        "calibrate",
        "input_size",
        "width",
        "classes",
        "mean",
        "std",
        "fold",
        "limits",
        "constraints",
        "pareto",
        "chunks",
    ):
        if given[name]:
            option = {"limits": "limit"}.get(name, name.replace("_", "-"))
            raise UserError(f"--{option} is of no use without --network")
    minutes = DEFAULT_MINUTES if given["minutes"] is None else given["minutes"]
    request = Request(board, given["dataset"] or "digits", goal, given["method"] or "counterfactual", seed, minutes)
    return load_board(board).name, request.__dict__


def _brought(
    board: str,
    goal: str,
    seed: int,
    given: dict[str, Any],
    create: Callable[[str, dict[str, Any]], runs.Run],
) -> tuple[runs.Run, Loaded]:
    """A run for a network that is given; everything is read before there is a run."""
    from dna.accelerator.board import load_board
    from dna.bring import BRING_MINUTES, BringRequest, check, options
    from dna.brought import Source

    if given["dataset"] is not None:
        raise UserError("--dataset is of no use with --network, which brings its own images: --calibrate")
    source = Source(
        given["network"],
        given["calibrate"],
        given["input_size"] if given["input_size"] is None or len(given["input_size"]) > 1 else given["input_size"] * 2,
        given["width"],
        given["classes"],
        given["mean"],
        given["std"],
        seed,
        given["fold"] or 1,
    )
    minutes = BRING_MINUTES if given["minutes"] is None else given["minutes"]
    constraints = _constraints(given["constraints"], given["chunks"])
    request = BringRequest(
        board,
        source,
        goal,
        given["method"] or "exact",
        minutes,
        tuple(given["limits"]),
        constraints,
        given["pareto"] or "",
    )
    loaded = check(request)
    return create(load_board(board).name, options(request)), loaded


def _constraints(path: Path | None, chunks: str | None) -> dict[str, Any]:
    """As run.yaml keeps them. Read once in full, for messages with the file's name."""
    from dna.record import read_yaml
    from dna.search.constraints_file import absolute, parse_chunks, read_constraints

    content: dict[str, Any] = {}
    if path is not None:
        read_constraints(path)
        content = absolute(read_yaml(path) or {})
    return content | ({"chunks": list(parse_chunks(chunks))} if chunks is not None else {})


def _searched(run: runs.Run, watch: Callable[[str, float], None], loaded: Loaded | None) -> Design | Written:
    from dna.bring import bring, is_brought
    from dna.bring import request_of as brought
    from dna.bring_pareto import bring_pareto
    from dna.pipeline import request_of
    from dna.pipeline import search as search_run

    if is_brought(run):
        return (bring_pareto if brought(run).pareto else bring)(run, watch, loaded)
    request_of(run)
    return search_run(run, watch)


def _say(screen: Console, place: Path, done: Design | Written) -> None:
    """What came out, and what is next."""
    from dna.bring_pareto import Written

    if isinstance(done, Written):
        for line in done.notices:
            screen.print(f"note    {line}", soft_wrap=True)
        screen.print(done.table)
        screen.print(f"\npareto  {done.folder / 'pareto.csv'}, {done.folder / 'index.html'}", soft_wrap=True)
        screen.print(f"next    dna generate --design {done.folder / done.knee}", soft_wrap=True)
        screen.print(f"        (any of them; without --design it is {done.knee}, the closest to the best of all)")
        return
    metrics = done.metrics
    for line in metrics.get("notices", ()):
        screen.print(f"note    {line}", soft_wrap=True)
    if agreement := metrics.get("agreement"):
        same = f"{agreement['same class']} of {agreement['images']}"
        screen.print(f"int8    names the class of the float model on {same} calibration images")
    accuracy = metrics.get("accuracy")
    screen.print(
        f"design  {place}" + (f": int8 reads {accuracy['int8']:.2%} of the held-out images" if accuracy else "")
    )
    screen.print("next    dna generate")


@click.command()
@click.option("--board", default="zc706", show_default=True, help="A name from `dna boards`, or a YAML file.")
@click.option("--goal", default="fps=10000", show_default=True, help=GOAL_HELP)
@click.option("--seed", default=0, show_default=True, help="Same seed, same result.")
@click.option("--minutes", default=3.0, show_default=True, help="About what the search may take.")
def demo(board: str, goal: str, seed: int, minutes: float) -> None:
    """Search, generate and verify an accelerator for handwritten digits; ends with one table.

    Takes at most 5 minutes on 2 cores. Exits with 1 if the hardware differs from the reference or the model.
    """
    from dna.demo import run_demo
    from dna.doctor import checks
    from dna.report.tables import overview

    missing = [check for check in checks() if check.failed]
    if missing:
        raise UserError(f"{missing[0].name} is {missing[0].state}: {missing[0].remedy}; 'dna doctor' says more")
    screen = console()
    with progress_bars() as watch:
        run, summary = run_demo(board, goal, seed, minutes, watch)
    screen.print(overview(summary))
    screen.print(f"\nreport  {run.report / 'index.html'}\nproject {run.project}")
    if not (summary.bits_equal and summary.bits_equal_with_stalls and summary.cycles_equal):
        raise click.exceptions.Exit(1)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, float], None]]:
    """A bar per stage on a terminal, a line per finished stage elsewhere."""
    screen = console(stderr=True)
    columns = (TextColumn("{task.description:<14}"), BarColumn(40), TextColumn("{task.percentage:>3.0f} %"))
    bars: dict[str, TaskID] = {}
    with Progress(*columns, TimeElapsedColumn(), console=screen, disable=not screen.is_terminal) as progress:

        def watch(stage: str, done: float) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=1.0)
            finished = progress.tasks[bars[stage]].finished
            progress.update(bars[stage], completed=done)
            if done >= 1 and not finished and not screen.is_terminal:
                screen.print(f"{stage}: done")

        yield watch
