"""Runs a Project's simulation and says what differs: which layer, which element, which tile, which counter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dna.accelerator.chunk import Memories, Memory
from dna.accelerator.registers import SNAPSHOT
from dna.compile.program import Program
from dna.errors import UserError
from dna.generate.program_folder import References, write_program
from dna.generate.project import MARK, generate
from dna.verify.tiles import describe_tile

MODES = ("fixed", "stalls")
MEMORY = {
    "fixed": "memory of fixed timing",
    "stalls": "random stalls",
    "shared": "shared memory",
    "faults": "bus errors",
}
COUNTERS = (*SNAPSHOT, "commit")


@dataclass(frozen=True)
class LayerResult:
    """One layer of one run. `model` and `rtl` are counters by name (`COUNTERS`), from the start of the Program; `model`
    is None with random stalls, `rtl` None beyond the layers that the hardware records. `differences`: one line each.
    """

    name: str
    op: str
    bits_different: int
    first_difference: dict[str, Any] | None
    model: dict[str, int] | None
    rtl: dict[str, int] | None
    differences: tuple[str, ...]
    chunk: int = 0
    compared: bool = True
    """Whether it has bits of its own to compare: not if its output is handed over on the chip."""


@dataclass(frozen=True)
class RunResult:
    """One Program, run once. `mode`: `fixed` (memory of fixed timing: cycles compared), `stalls` or `shared` (bits), or
    `faults`. `layers`: chunk by chunk, in the order in which they end.
    """

    name: str
    program: Path
    mode: str
    seed: int
    ok: bool
    error: str | None
    cycles_model: int | None
    cycles_rtl: int | None
    seconds: float
    layers: tuple[LayerResult, ...]
    pass_ends_model: tuple[int, ...] = ()
    pass_ends_rtl: tuple[int | None, ...] = ()
    """By pass, the cycle in which all chunks had committed it; None for those that the hardware has forgotten."""
    passes_different: tuple[int, ...] = ()

    @property
    def differences(self) -> list[str]:
        """One line per difference, empty if the run is good."""
        lines = [self.error] if self.error else []
        if self.mode == "fixed" and not self.error and self.cycles_model != self.cycles_rtl:
            lines.append(f"whole program: {self.cycles_model} cycles by the model, {self.cycles_rtl} in the RTL")
        for number in self.passes_different:
            model, rtl = self.pass_ends_model[number], self.pass_ends_rtl[number]
            lines.append(f"pass {number}: ends in cycle {model} by the model, {rtl} in the RTL")
        return lines + [line for layer in self.layers for line in layer.differences]


@dataclass(frozen=True)
class VerifyResult:
    """All runs of one call; `report` is the JSON file they stand in."""

    ok: bool
    runs: tuple[RunResult, ...]
    report: Path

    @property
    def exit_status(self) -> int:
        return 0 if self.ok else 1

    @property
    def differences(self) -> list[str]:
        return [f"{run.name} ({run.mode}): {line}" for run in self.runs for line in run.differences]

    def table(self) -> RenderableType:
        """Per run, a row per layer: cycles by model and RTL, bits that differ; below it what differs."""
        parts: list[RenderableType] = []
        for run in self.runs:
            parts.append(_table(run))
            parts += [Text(line, style="red") for line in run.differences]
        return Group(*parts)


def verify(
    project: Path,
    *,
    programs: Sequence[Path] = (),
    modes: Sequence[str] = MODES,
    seed: int = 1,
    build: Path | None = None,
    results: Path | None = None,
    waves: bool = False,
    shared_bytes: int | None = None,
) -> VerifyResult:
    """Simulate `programs` (folders; default: the project's own) in each mode, and compare bits and cycles.

    `build` keeps built simulations (default: in the project), `results` gets results.json and the log, `shared_bytes`
    is what all ports together get per cycle in mode `shared`. UserError if `project` is no Project or the simulation
    cannot be built or run, with the reason.
    """
    if not (project / MARK).is_file():
        raise UserError(f"{project} is not a project: {MARK} is missing; dna generate writes one")
    results = (results or project / "sim" / "results").resolve()
    command = [
        sys.executable,
        str(project / "sim" / "run.py"),
        "--quiet",
        "--seed",
        str(seed),
        "--results",
        str(results),
    ]
    command += [part for mode in modes for part in ("--mode", mode)]
    command += ["--build", str(build.resolve())] if build else []
    command += ["--waves"] if waves else []
    command += ["--bytes-per-cycle", str(shared_bytes)] if shared_bytes else []
    command += [str(path) for path in programs]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    report = results / "results.json"
    if run.returncode not in (0, 1) or not report.is_file():
        raise UserError(f"the simulation of {project} could not be run:\n{(run.stderr or run.stdout).strip()}")
    content = json.loads(report.read_text())
    return VerifyResult(bool(content["ok"]), tuple(_run_result(entry) for entry in content["runs"]), report)


@dataclass(frozen=True, eq=False)
class Case:
    """A Program to verify, the integers its tensors must hold, the memory it is timed on, and how many passes to run.

    `reference`: of one frame, used for all, or of several (`dna.generate.program_folder.Frames`).
    """

    program: Program
    reference: References
    memory: Memories = Memory()
    passes: int = 1


def verify_many(
    cases: Sequence[Case],
    folder: Path,
    *,
    modes: Sequence[str] = MODES,
    seed: int = 1,
    build: Path | None = None,
    address_bits: int | None = None,
    shared_bytes: int | None = None,
) -> VerifyResult:
    """Verify many Programs of one accelerator with one build, in one simulation. `folder` must be empty or absent.

    ValueError if the Programs are for different accelerators.
    """
    first = cases[0]
    if any(case.program.accelerator != first.program.accelerator for case in cases):
        raise ValueError("the programs are for different accelerators")
    project = folder / "project"
    generate(
        first.program,
        project,
        reference=first.reference,
        design_text=f"# {len(cases)} programs\n",
        address_bits=address_bits,
        memory=first.memory,
        passes=first.passes,
    )
    programs = [project / "program"]
    for index, case in enumerate(cases[1:], start=1):
        programs.append(folder / "programs" / f"{index:04d}")
        write_program(case.program, programs[-1], reference=case.reference, memory=case.memory, passes=case.passes)
    results = folder / "results"
    return verify(
        project, programs=programs, modes=modes, seed=seed, build=build, results=results, shared_bytes=shared_bytes
    )


def _run_result(entry: dict[str, Any]) -> RunResult:
    path = Path(entry["program"])
    return RunResult(
        name=entry["name"],
        program=path,
        mode=entry["mode"],
        seed=entry["seed"],
        ok=entry["ok"],
        error=entry["error"],
        cycles_model=entry["cycles_model"] if entry["mode"] == "fixed" else None,
        cycles_rtl=entry["cycles_rtl"],
        seconds=entry["seconds"],
        layers=tuple(_layer_result(path, layer) for layer in entry["layers"]),
        pass_ends_model=tuple(entry["pass_ends_model"] or ()) if entry["mode"] == "fixed" else (),
        pass_ends_rtl=tuple(entry["pass_ends_rtl"]),
        passes_different=tuple(entry["passes_different"]),
    )


def _layer_result(program: Path, layer: dict[str, Any]) -> LayerResult:
    lines = []
    first = layer["first_difference"]
    if first is not None:
        tile = describe_tile(program, layer["name"], first["word"], first["frame"])
        lines.append(
            f"layer '{layer['name']}': {layer['bits_different']} bits in {layer['elements_different']} elements differ;"
            f" first at {_frame(first)}row {first['row']}, column {first['col']}, channel {first['channel']}:"
            f" expected {first['expected']}, got {first['got']}; {tile}"
        )
    for cause in layer["causes_different"]:
        model, rtl = layer["cycles_model"][cause], layer["cycles_rtl"][cause]
        lines.append(f"layer '{layer['name']}': counter {cause} is {model} by the model, {rtl} in the RTL")
    return LayerResult(
        name=layer["name"],
        op=layer["op"],
        bits_different=layer["bits_different"],
        first_difference=first,
        model=layer["cycles_model"],
        rtl=layer["cycles_rtl"],
        differences=tuple(lines),
        chunk=layer["chunk"],
        compared=layer["compared"],
    )


def _frame(difference: dict[str, Any]) -> str:
    frame, number = difference["frame"], difference["pass"]
    return f"frame {frame} of pass {number}, " if frame or number else ""


def _table(run: RunResult) -> Table:
    """Cycles run from the last write of the chunk's layer before to the layer's own; passes from end to end."""
    table = Table(title=f"{run.name}: {MEMORY[run.mode]}", title_justify="left")
    several = any(layer.chunk for layer in run.layers)
    for name in ("layer", "operator"):
        table.add_column(name)
    for name in (*(["chunk"] if several else []), "cycles, model", "cycles, RTL", "bits different", "equal"):
        table.add_column(name, justify="right")
    ends: dict[tuple[str, int], int] = {}
    for layer in run.layers:
        cells = [str(layer.chunk)] if several else []
        for side, counters in (("model", layer.model), ("rtl", layer.rtl)):
            cells.append("-" if counters is None else f"{counters['commit'] - ends.get((side, layer.chunk), 0):,}")
            if counters is not None:
                ends[side, layer.chunk] = counters["commit"]
        bits = f"{layer.bits_different:,}" if layer.compared else "-"
        table.add_row(layer.name, layer.op, *cells, bits, _verdict(not layer.differences))
    gap = [""] if several else []
    if len(run.pass_ends_rtl) > 1:
        table.add_section()
        _add_passes(table, run, gap)
    total = ["-" if value is None else f"{value:,}" for value in (run.cycles_model, run.cycles_rtl)]
    table.add_section()
    bits = f"{sum(layer.bits_different for layer in run.layers):,}"
    table.add_row("whole program", "", *gap, *total, bits, _verdict(run.ok))
    return table


def _add_passes(table: Table, run: RunResult, gap: list[str]) -> None:
    """A row per pass: cycles from the end of the one before to its own."""
    for number in range(len(run.pass_ends_rtl)):
        cells = []
        for ends in (run.pass_ends_model, run.pass_ends_rtl):
            before = ends[number - 1] if number and ends else 0
            end = ends[number] if ends else None
            cells.append("-" if end is None or before is None else f"{end - before:,}")
        table.add_row(f"pass {number}", "", *gap, *cells, "", _verdict(number not in run.passes_different))


def _verdict(equal: bool) -> Text:
    return Text("yes", style="green") if equal else Text("no", style="bold red")
