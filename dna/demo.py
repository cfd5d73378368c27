"""All of it in some minutes: search, generate, verify, report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dna import runs
from dna.accelerator.board import load_board
from dna.design import Design
from dna.pipeline import Request, search
from dna.project import frame_for, write_project
from dna.report.build import summarise
from dna.report.page import html_page
from dna.report.summary import Summary
from dna.runs import Run, record_verification, write_atomically
from dna.verify import verify


def run_demo(
    board: str,
    goal: str,
    seed: int,
    minutes: float,
    watch: Callable[[str, float], None],
    root: Path = runs.RUNS,
) -> tuple[Run, Summary]:
    """Makes a run under `root` and returns it with all that is known of it; its report is written too."""
    request = Request(board, goal=goal, seed=seed, minutes=minutes)
    run = runs.create(f"demo-{load_board(board).name}", request.__dict__, root)
    design = search(run, watch)
    seconds = dict(design.metrics["seconds"])
    for stage, step in (("generate", _generate), ("simulation", _verify)):
        started = time.perf_counter()
        watch(stage, 0.0)
        step(run, design)
        watch(stage, 1.0)
        seconds[stage] = round(time.perf_counter() - started, 2)
    summary = replace(summarise(run), seconds=seconds)
    write_atomically(run.report / "index.html", html_page(summary))
    return run, summary


def _generate(run: Run, design: Design) -> None:
    write_project(design, run.project, frame_for(design))


def _verify(run: Run, design: Design) -> None:
    record_verification(run, run.project, verify(run.project).report)
