"""`dna search` and `dna demo`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dna import runs
from dna.errors import UserError
from dna.report.console import console

GOAL_HELP = "'fastest', or 'fps=NUMBER' for the least hardware that reaches it."


@click.command()
@click.option("--board", help="A name from `dna boards`, or a YAML file.  [required]")
@click.option("--goal", default="fastest", show_default=True, help=GOAL_HELP)
@click.option("--dataset", default="digits", show_default=True, help="Images to learn: 'digits', real and bundled.")
@click.option(
    "--method",
    default="counterfactual",
    show_default=True,
    help="How the accelerator is searched: counterfactual, exact, paper or random.",
)
@click.option("--seed", default=0, show_default=True, help="Same seed, same result.")
@click.option("--minutes", default=3.0, show_default=True, help="About what the whole search may take.")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; default: runs/BOARD-NNN.")
@click.option("--force", is_flag=True, help="Replace a run that stands in --out.")
@click.option("--resume", is_flag=True, help="Go on with the latest run (or the one at --out) as it was asked for.")
def search(
    board: str | None,
    goal: str,
    dataset: str,
    method: str,
    seed: int,
    minutes: float,
    out: Path | None,
    force: bool,
    resume: bool,
) -> None:
    """Search network, accelerator and mapping together, and train the network to int8."""
    from dna.accelerator.board import load_board
    from dna.pipeline import Request, request_of
    from dna.pipeline import search as search_run

    if resume:
        run = runs.find(out)
        request_of(run)
    elif board is None:
        raise UserError("--board is missing: a name from 'dna boards', or a YAML file")
    else:
        request = Request(board, dataset, goal, method, seed, minutes)
        run = runs.create(load_board(board).name, request.__dict__, out=out, force=force)
    screen = console()
    screen.print(f"run     {run.path}")
    with progress_bars() as watch:
        try:
            design = search_run(run, watch)
        except KeyboardInterrupt:
            place = f" --out {run.path}" if out else ""
            screen.print(f"stopped; go on with: dna search --resume{place}")
            raise
    accuracy = design.metrics["accuracy"]
    screen.print(f"design  {run.design}: int8 reads {accuracy['int8']:.2%} of the held-out images")
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
