"""`dna generate`, `dna verify`, `dna report`, `dna export`: from a Design to hardware known to be right."""

from __future__ import annotations

from pathlib import Path

import click

from dna import runs
from dna.errors import UserError
from dna.report.console import console
from dna.runs import record_verification

RUN_HELP = "Run folder, name or number; default: the latest run."


@click.command()
@click.option("--design", "run_name", metavar="RUN", help=RUN_HELP)
@click.option("--board", help="Another board than the one searched for: a name, or a YAML file.")
@click.option(
    "--frame",
    type=click.Path(path_type=Path),
    help="Frame to prove it with: .npy, integers, height × width × channels.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Project folder; default: RUN/project.")
@click.option("--force", is_flag=True, help="Move a folder that is in the way aside.")
@click.option(
    "--archive",
    type=click.Path(path_type=Path),
    metavar="FILE.tar.gz",
    help="Pack the project, with its manifest, too.",
)
def generate(
    run_name: str | None, board: str | None, frame: Path | None, out: Path | None, force: bool, archive: Path | None
) -> None:
    """Write the hardware: Verilog, program, reference, and a test bench that runs on its own."""
    from dna.bring import frame_path
    from dna.design import Design
    from dna.generate.manifest import write_archive
    from dna.project import frame_for, on_board, write_project

    if archive is not None and not archive.name.endswith(".tar.gz"):
        raise UserError(f"--archive {archive}: the name must end in .tar.gz")
    run = runs.find(run_name)
    design = Design.load(run.design)
    if board is not None:
        design = on_board(design, board)
    target = out or run.project
    if frame is None and frame_path(run).is_file():
        frame = frame_path(run)
    times = write_project(design, target, frame_for(design, frame), force)
    screen = console()
    screen.print(f"project   {target}")
    frames = f"{times.frames} frames" if times.frames > 1 else "a frame"
    latency = design.board.memory.read_latency
    screen.print(f"expected  {times.cycles:,} cycles for {frames} on a memory of {latency} cycles latency")
    if archive is not None:
        write_archive(target, archive)
        screen.print(f"archive   {archive}")
    where = f" {out}" if out is not None else f" --design {run_name}" if run_name is not None else ""
    screen.print(f"next      dna verify{where}      (or: make -C {target / 'sim'})", soft_wrap=True)


@click.command()
@click.option("--design", "run_name", metavar="RUN", help=RUN_HELP)
@click.option("--onnx", "path", type=click.Path(path_type=Path), metavar="FILE", help="File to write.  [required]")
@click.option("--exact", is_flag=True, help="Requantise in float64: bit for bit in onnxruntime, but slower.")
@click.option("--force", is_flag=True, help="Replace the file.")
def export(run_name: str | None, path: Path | None, exact: bool, force: bool) -> None:
    """Write the run's integer network as QDQ ONNX.

    Its input takes the same integers as the hardware; in between stand the integers of every layer. The plain form
    is what other tools expect; its float32 sums may round an element to the neighbouring integer.
    """
    from dna.design import Design
    from dna.quantize.onnx_export import to_onnx

    if path is None:
        raise UserError("--onnx FILE is missing: where the network is to be written")
    if path.exists() and not force:
        raise UserError(f"{path} exists already; choose another place or give --force")
    run = runs.find(run_name)
    design = Design.load(run.design)
    scales = design.metrics.get("scales")
    content = to_onnx(design.network, design.weights, scales, exact).SerializeToString()
    runs.write_atomically(path, content)
    unit = "real values" if scales else "integers: the run holds no scales"
    console().print(f"onnx    {path}: {len(design.network.layers)} layers, its output in {unit}")
    if fold := design.metrics.get("fold"):
        console().print(
            f"note    its input is folded: squares of {fold['factor']} x {fold['factor']} pixels are channels"
        )


@click.command()
@click.argument("project", required=False, type=click.Path(path_type=Path))
@click.option("--design", "run_name", metavar="RUN", help=RUN_HELP)
@click.option("--seed", default=1, show_default=True, help="Seed of the random stalls and of values after power-up.")
@click.option("--waves", is_flag=True, help="Record a trace of all signals (slow).")
@click.option("--hls/--no-hls", default=None, help="C simulation of the HLS sources too; default: if it can run.")
def verify(project: Path | None, run_name: str | None, seed: int, waves: bool, hls: bool | None) -> None:
    """Simulate the project and compare every layer's bits and cycles.

    Twice: on a memory of fixed timing (bits and cycles must be equal) and on one with random stalls (bits must be
    equal). Exits with 1 on any difference, and says which layer, element and counter. Beside it, the C simulation of
    the HLS sources, if g++ and the ap_int headers are there: its bits must be equal as well.
    """
    from dna.verify import verify as verify_project
    from dna.verify.hls import missing, verify_hls

    folder = project or runs.find(run_name).project
    screen = console()
    with screen.status("building and running the simulation"):
        result = verify_project(folder, seed=seed, waves=waves)
    if (folder.parent / "run.yaml").is_file():
        record_verification(runs.Run(folder.parent), folder, result.report)
    screen.print(result.table())
    screen.print(
        "equal: every bit and every cycle" if result.ok else "DIFFERENT", style="green" if result.ok else "bold red"
    )
    equal = result.ok
    lack = missing() if (folder / "hls").is_dir() else "the project has no HLS sources"
    if hls or (hls is None and lack is None):
        with screen.status("compiling and running the HLS sources"):
            simulated = verify_hls(folder)
        screen.print(simulated.table())
        for line in simulated.differences:
            screen.print(line, style="red")
        equal = equal and simulated.ok
    elif hls is None:
        screen.print(f"HLS C simulation left out: {lack}")
    if not equal:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("one", type=click.Path(path_type=Path))
@click.argument("two", type=click.Path(path_type=Path))
@click.option("--lines", default=40, show_default=True, help="Most lines of each section; 0: all.")
def diff(one: Path, two: Path, lines: int) -> None:
    """Show what differs between two projects, and only that.

    Fields of the design, registers, program and instructions; other files by name. Exits with 1 on a difference.
    """
    from dna.generate.difference import differences

    found = differences(one, two)
    screen = console()
    for section, all_lines in found.items():
        screen.print(section, style="bold")
        shown = all_lines[:lines] if lines else all_lines
        for line in shown:
            screen.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
        if len(shown) < len(all_lines):
            screen.print(f"  ... and {len(all_lines) - len(shown)} more (--lines 0)")
    if found:
        raise click.exceptions.Exit(1)
    screen.print("no difference", style="green")


@click.command()
@click.option("--design", "run_name", metavar="RUN", help=RUN_HELP)
def report(run_name: str | None) -> None:
    """Write one HTML page about a run, and print what it says."""
    from dna.report.build import summarise, write_report
    from dna.report.tables import overview

    run = runs.find(run_name)
    screen = console()
    screen.print(overview(summarise(run)))
    write_report(run)
    screen.print(f"\nreport  {run.report / 'index.html'}")
