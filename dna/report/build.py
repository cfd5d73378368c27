"""A run's folder to its Summary: the Design, its schedule, and what verification found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dna.accelerator.mapping import Mapping as LayerMappings
from dna.compile.program import Program
from dna.cost.resources import Resources, accelerator_resources
from dna.cost.schedule import CAUSES, Schedule, schedule
from dna.design import Design
from dna.project import compiled
from dna.record import from_plain
from dna.report.page import html_page
from dna.report.summary import Anytime, LayerRow, Summary, layer_kind, layer_shape
from dna.runs import Run, verification_of, write_atomically
from dna.search.rivals import Rival

CAUSE_NAMES = dict(zip(CAUSES, ("multiplying", "input", "weights", "residual", "output", "other"), strict=True))
"""`wait_...` counters as the chart names them."""
PASSES = 3
"""Passes of a schedule of which the last is taken as steady state."""


@dataclass(frozen=True)
class Rivals:
    """As they stand in a Design's metrics."""

    rivals: tuple[Rival, ...]


def summarise(run: Run) -> Summary:
    """Everything known of the run. UserError if it holds no Design."""
    design = Design.load(run.design)
    return summary_of(design, run.path.name, verification_of(run))


def summary_of(design: Design, title: str, verified: Mapping[str, Any] | None) -> Summary:
    """`verified`: what verification wrote, see `dna.verify`; None: not verified."""
    program = compiled(design)
    times = schedule(program, design.memories)
    interval = schedule(program, design.memories, PASSES).interval / design.mapping.frames
    fixed, stalled = _runs(verified, "fixed"), _runs(verified, "stalls")
    metrics = design.metrics
    return Summary(
        title=f"{metrics.get('dataset', design.network.name)} on {design.board.name}: {title}",
        board=design.board,
        accelerator=design.accelerator,
        layers=_layers(program, times, fixed[0]["layers"] if fixed else None, design.mapping),
        cycles_model=times.cycles,
        used=Resources(**accelerator_resources(design.accelerator)),
        accuracy=dict(metrics.get("accuracy", {})),
        cycles_rtl=fixed[0]["cycles_rtl"] if fixed else None,
        bits_equal=_equal(fixed),
        bits_equal_with_stalls=_equal(stalled),
        rivals=from_plain(Rivals, {"rivals": metrics.get("rivals", [])}, "metrics").rivals,
        seconds=dict(metrics.get("seconds", {})),
        notices=_notices(metrics),
        frames=design.mapping.frames,
        interval=interval,
        shares=design.shares,
        anytime=_anytime(metrics.get("search", {})),
    )


def _anytime(found: Mapping[str, Any]) -> Anytime | None:
    """The trace of a search for speed, if there is one."""
    trace = found.get("trace") or ()
    if not trace:
        return None
    bound = found.get("lower_bound")
    return Anytime(tuple(point[0] for point in trace), tuple(point[1] for point in trace), bound)


def _notices(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of the search; for a calibrated network also how often the integers agree with it."""
    lines = [str(line) for line in metrics.get("notices", ())]
    if agreement := metrics.get("agreement"):
        same = f"{agreement['same class']} of {agreement['images']}"
        lines.append(f"int8 names the class of the float model on {same} calibration images")
    return tuple(lines)


def write_report(run: Run) -> list[str]:
    """Writes `report/index.html` of the run; returns the names of the files."""
    write_atomically(run.report / "index.html", html_page(summarise(run)))
    return ["index.html"]


def _runs(verified: Mapping[str, Any] | None, mode: str) -> list[Mapping[str, Any]]:
    return [entry for entry in verified["runs"] if entry["mode"] == mode] if verified else []


def _equal(runs: Sequence[Mapping[str, Any]]) -> bool | None:
    """Whether every layer of every run has the reference's bits; a run that broke off has not."""
    if not runs:
        return None
    return all(entry["error"] is None and not any(la["bits_different"] for la in entry["layers"]) for entry in runs)


def _layers(
    program: Program, times: Schedule, rtl: Sequence[Mapping[str, Any]] | None, mapping: LayerMappings
) -> tuple[LayerRow, ...]:
    """A row per executed layer, as the network has it, chunk by chunk; copies that the compiler inserted have a row of
    their own."""
    known = {layer.name: layer for layer in program.network.layers}
    executed = {layer.name: layer for layer in program.layers}
    batches = {layer.name: mapping.batch(index) for index, layer in enumerate(program.layers)}
    found = {entry["name"]: entry for entry in rtl or ()}
    rows = []
    for number, chunk in enumerate(times.chunks):
        before, rtl_before = 0, 0
        alone = all(batches[planned.name] == mapping.frames for planned in chunk.layers)
        for planned in chunk.layers:
            layer, entry = known.get(planned.name, executed[planned.name]), found.get(planned.name)
            counters = entry["cycles_rtl"] if entry else None
            rows.append(
                LayerRow(
                    name=layer.name,
                    kind=layer_kind(layer),
                    shape=layer_shape(layer),
                    macs=layer.macs if layer.name in known else 0,
                    cycles_model=planned.committed - before,
                    causes={CAUSE_NAMES[cause]: getattr(planned.causes, cause) for cause in CAUSES},
                    cycles_rtl=counters["commit"] - rtl_before if counters else None,
                    counters_different=tuple(entry["causes_different"]) if entry else (),
                    different_bits=entry["bits_different"] if entry and entry.get("compared", True) else None,
                    chunk=number,
                    alone=alone,
                )
            )
            before = planned.committed
            rtl_before = counters["commit"] if counters else rtl_before
    return tuple(rows)
