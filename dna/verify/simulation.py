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

from dna.accelerator.chunk import Memory
from dna.accelerator.registers import SNAPSHOT
from dna.compile.program import Program
from dna.errors import UserError
from dna.generate.program_folder import Reference, write_program
from dna.generate.project import MARK, generate
from dna.verify.tiles import describe_tile

MODES = ("fixed", "stalls")
MEMORY = {"fixed": "memory of fixed timing", "stalls": "random stalls", "faults": "bus errors"}
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


@dataclass(frozen=True)
class RunResult:
    """One Program, run once. `mode`: `fixed` (memory of fixed timing: cycles compared), `stalls` (bits) or `faults`."""

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

    @property
    def differences(self) -> list[str]:
        """One line per difference, empty if the run is good."""
        lines = [self.error] if self.error else []
        if self.mode == "fixed" and not self.error and self.cycles_model != self.cycles_rtl:
            lines.append(f"whole program: {self.cycles_model} cycles by the model, {self.cycles_rtl} in the RTL")
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
) -> VerifyResult:
    """Simulate `programs` (folders; default: the project's own) in each mode, and compare bits and cycles.

    `build` keeps built simulations (default: in the project), `results` gets results.json and the log. UserError if
    `project` is no Project or the simulation cannot be built or run, with the reason.
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
    command += [str(path) for path in programs]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    report = results / "results.json"
    if run.returncode not in (0, 1) or not report.is_file():
        raise UserError(f"the simulation of {project} could not be run:\n{(run.stderr or run.stdout).strip()}")
    content = json.loads(report.read_text())
    return VerifyResult(bool(content["ok"]), tuple(_run_result(entry) for entry in content["runs"]), report)


@dataclass(frozen=True, eq=False)
class Case:
    """A Program to verify, the integers its tensors must hold, and the memory it is timed on."""

    program: Program
    reference: Reference
    memory: Memory = Memory()


def verify_many(
    cases: Sequence[Case],
    folder: Path,
    *,
    modes: Sequence[str] = MODES,
    seed: int = 1,
    build: Path | None = None,
    address_bits: int = 32,
) -> VerifyResult:
    """Verify many Programs of one accelerator with one build, in one simulation. `folder` must be empty or absent.

    ValueError if the Programs are for different accelerators.
    """
    first = cases[0]
    if any(case.program.chunk != first.program.chunk for case in cases):
        raise ValueError("the programs are for different accelerators")
    project = folder / "project"
    generate(
        first.program,
        project,
        reference=first.reference,
        design_text=f"# {len(cases)} programs\n",
        address_bits=address_bits,
        memory=first.memory,
    )
    programs = [project / "program"]
    for index, case in enumerate(cases[1:], start=1):
        programs.append(folder / "programs" / f"{index:04d}")
        write_program(case.program, programs[-1], reference=case.reference, memory=case.memory)
    return verify(project, programs=programs, modes=modes, seed=seed, build=build, results=folder / "results")


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
    )


def _layer_result(program: Path, layer: dict[str, Any]) -> LayerResult:
    lines = []
    first = layer["first_difference"]
    if first is not None:
        tile = describe_tile(program, layer["name"], first["word"])
        lines.append(
            f"layer '{layer['name']}': {layer['bits_different']} bits in {layer['elements_different']} elements differ;"
            f" first at row {first['row']}, column {first['col']}, channel {first['channel']}:"
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
    )


def _table(run: RunResult) -> Table:
    table = Table(title=f"{run.name}: {MEMORY[run.mode]}", title_justify="left")
    for name in ("layer", "operator"):
        table.add_column(name)
    for name in ("cycles, model", "cycles, RTL", "bits different", "equal"):
        table.add_column(name, justify="right")
    model = rtl = 0
    for layer in run.layers:
        cells = ["-", "-"]
        if layer.model is not None:
            cells[0] = f"{layer.model['commit'] - model:,}"
            model = layer.model["commit"]
        if layer.rtl is not None:
            cells[1] = f"{layer.rtl['commit'] - rtl:,}"
            rtl = layer.rtl["commit"]
        table.add_row(layer.name, layer.op, *cells, f"{layer.bits_different:,}", _verdict(not layer.differences))
    total = ["-" if value is None else f"{value:,}" for value in (run.cycles_model, run.cycles_rtl)]
    table.add_section()
    table.add_row(
        "whole program", "", *total, f"{sum(layer.bits_different for layer in run.layers):,}", _verdict(run.ok)
    )
    return table


def _verdict(equal: bool) -> Text:
    return Text("yes", style="green") if equal else Text("no", style="bold red")
