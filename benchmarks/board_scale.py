"""Whole networks at 224 x 224 on the accelerators that the search chose for the ZC706: simulated in RTL, bits compared.

    python -m benchmarks.board_scale [--quick] [--networks NAME,NAME]
    python -m benchmarks.board_scale --search [--networks NAME,NAME]

Each network runs several passes from one start on ports of fixed timing, where every cycle must be the schedule's, and
on ports that share 21 bytes per cycle in both directions, where bits are compared. A rate is frames per pass over the
cycles from the end of one pass to the end of the next. Weights are random; bits do not care. 200 MHz are assumed.
`--quick` schedules and does not simulate. `--networks` measures some networks again and leaves the others' rows as they
were. `--search` finds the designs anew, by proposals and exact schedules alone,
and writes them to `benchmarks/designs`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np

from benchmarks.board_designs import BOARD, SETUPS, Found, Setup, executed, integers, load, save, search, zoo_network
from benchmarks.common import ROOT, Row, earlier, report, write
from benchmarks.synthesis import counts, synthesise
from dna.accelerator.chunk import Accelerator, Memory
from dna.compile.compiler import compile as compile_design
from dna.compile.program import Program
from dna.cost.resources import accelerator_resources
from dna.cost.schedule import Schedule, schedule
from dna.design import Design
from dna.network.fold import fold_image
from dna.network.network import Network, Weights
from dna.network.random import random_input
from dna.quantize.reference import run as run_reference
from dna.verify import Case, verify_many
from dna.verify.simulation import RunResult

YOSYS_FOLDER = ROOT / "build" / "resources"
ONE_SYNTHESIS = Lock()
"""The folder serves one synthesis at a time."""
PASSES = 3
SHARED_PASSES = 2
WORKERS = 2
"""Networks at once."""
SHARED_BYTES = 21
"""Bytes per cycle of both directions together, of the second figure."""
FULL = Memory(read_latency=64, beat_interval=1)
"""Behind each port where all share the bytes."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="schedules only")
    parser.add_argument(
        "--save", type=Path, metavar="FOLDER", help="write the designs there, for dna generate, and end"
    )
    parser.add_argument("--search", action="store_true", help="find the designs anew, write their files, and end")
    parser.add_argument("--fixed", action="store_true", help="no run on ports that share their bytes")
    parser.add_argument("--passes", type=int, default=PASSES, help="simulated; one gives no rate; default %(default)s")
    parser.add_argument("--networks", help=f"only these, separated by commas: {', '.join(SETUPS)}")
    given = parser.parse_args()
    chosen = given.networks.split(",") if given.networks else list(SETUPS)
    if unknown := [name for name in chosen if name not in SETUPS]:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(SETUPS)}")
    if given.search:
        for name in chosen:
            print_found(name, SETUPS[name])
        return 0
    if given.save:
        for name in chosen:
            print(saved(SETUPS[name], given.save / SETUPS[name].network))
        return 0
    rows: list[Row] = []
    with ThreadPoolExecutor(WORKERS) as workers:  # the simulations are processes of their own
        passes = 0 if given.quick else given.passes
        tasks = [workers.submit(measured, name, SETUPS[name], passes, not given.fixed) for name in chosen]
        for task in tasks:
            rows += task.result()
    if not given.quick:
        write("board_scale", merged(rows, chosen))
    return report(rows)


def merged(rows: Sequence[Row], measured_now: Sequence[str]) -> list[Row]:
    """The rows, with those of networks that were measured earlier, in the networks' order."""
    kept = [] if len(measured_now) == len(SETUPS) else earlier("board_scale")
    order = list(SETUPS)
    of = {name: [row for row in rows if row.name.startswith(f"{name}: ")] for name in measured_now}
    for name in set(order) - set(measured_now):
        of[name] = [row for row in kept if row.name.startswith(f"{name}: ")]
    return [row for name in order for row in of[name]]


def print_found(name: str, setup: Setup) -> None:
    """Searches, writes the file, and says what was found."""
    finished, bound = search(setup)
    save(setup, name, finished, bound)
    cycles = finished.settled.cycles
    print(f"{name}: {cycles:.0f} cycles of a frame after {finished.seconds:.0f} s of schedules;", end=" ")
    print(f"by hand {setup.hand:.0f}, lower bound {bound:.0f}", flush=True)


def measured(name: str, setup: Setup, passes: int, sharing: bool) -> list[Row]:
    """The network's rows: resources, figures of the schedule, and of the simulation of so many passes."""
    began = time.monotonic()
    source, found = zoo_network(setup), load(setup)
    weights = integers(source)
    network, folded = executed(setup, source, weights)
    program = compile_design(network, folded, found.accelerator, found.mapping)
    times = schedule(program, found.memories, PASSES)
    print(f"{name}: compiled after {time.monotonic() - began:.0f} s", flush=True)
    rows = [*resource_rows(name, found.accelerator), *schedule_rows(name, setup, found, source, times)]
    if passes:
        rows += synthesis_rows(name, found.accelerator)
        folder = Path(tempfile.mkdtemp(prefix="board-scale-"))
        try:
            rows += simulated(name, setup, found, source, weights, program, folder, passes, sharing)
        finally:
            shutil.rmtree(folder)
    return rows


def saved(setup: Setup, run: Path) -> Path:
    """The setup as a Design in the folder of a run, as `dna generate --design` takes it."""
    source, found = zoo_network(setup), load(setup)
    network, weights = executed(setup, source, integers(source))
    shares = found.design.shares
    Design(network, weights, found.accelerator, found.mapping, BOARD, shares=shares).save(run / "design")
    return run


def resource_rows(name: str, accelerator: Accelerator) -> list[Row]:
    """Resources by the model, all chunks and the memory between them, against the board's."""
    used = accelerator_resources(accelerator)
    chunks = [f"{chunk.oc} x {chunk.ic} x {chunk.px}" for chunk in accelerator.chunks]
    return [
        Row(f"{name}: {kind}", count, "", f"<= {getattr(BOARD, kind)}", {"chunks": chunks})
        for kind, count in used.items()
    ]


def synthesis_rows(name: str, accelerator: Accelerator) -> list[Row]:
    """DSP, LUT and FF of all chunks by open synthesis of their Verilog, against the board's. What stands around them,
    registers, statistics and links, is not in it: some thousand LUTs."""
    with ONE_SYNTHESIS:
        cells = [counts(synthesise(chunk, YOSYS_FOLDER).total) for chunk in dict.fromkeys(accelerator.chunks)]
    times = [accelerator.chunks.count(chunk) for chunk in dict.fromkeys(accelerator.chunks)]
    used = {kind: sum(n * each[kind] for n, each in zip(times, cells, strict=True)) for kind in ("dsp", "lut", "ff")}
    return [Row(f"{name}: {kind}, Yosys", used[kind], "", f"<= {getattr(BOARD, kind)}") for kind in used]


def figures(found: Found, network: Network, cycles: int) -> dict[str, float]:
    """Rates from the cycles of a pass in steady state; multiplies of the network as published."""
    multipliers = sum(chunk.multipliers for chunk in found.accelerator.chunks)
    per_frame = cycles / found.mapping.frames
    return {
        "frames/s": round(BOARD.cycles_per_second / per_frame, 1),
        "GOPS": round(2 * network.macs / per_frame * BOARD.cycles_per_second / 1e9, 1),
        "utilisation": round(network.macs / (per_frame * multipliers), 4),
    }


def rate_rows(name: str, how: str, setup: Setup, found: Found, network: Network, cycles: int, bars: bool) -> list[Row]:
    claimed = dict(setup.bars) if bars else {}
    extra = {"cycles of a pass": cycles, "frames per pass": found.mapping.frames}
    rows = [
        Row(f"{name}: {figure}, {how}", value, "", claimed.get(figure, ""), extra)
        for figure, value in figures(found, network, cycles).items()
    ]
    if bars:
        by_hand = round(cycles / found.mapping.frames / setup.hand, 4)
        rows.append(Row(f"{name}: cycles, {how} / by hand", by_hand, "", "<= 1"))
    return rows


def schedule_rows(name: str, setup: Setup, found: Found, network: Network, times: Schedule) -> list[Row]:
    """Figures by the exact schedule, and what each chunk's array did in all passes."""
    rows = rate_rows(name, "schedule", setup, found, network, times.interval, bars=True)
    for index, chunk in enumerate(times.chunks):
        causes = {cause: count for cause, count in vars(chunk.causes).items() if count}
        share = round(chunk.causes.busy / chunk.causes.total, 4)
        rows.append(Row(f"{name}: chunk {index}, share of cycles with the array busy", share, "", "", causes))
    return rows


def simulated(
    name: str,
    setup: Setup,
    found: Found,
    network: Network,
    weights: Weights,
    program: Program,
    folder: Path,
    passes: int,
    sharing: bool,
) -> list[Row]:
    """RTL of fixed timing: bits and cycles; then, where asked for, with shared memory: bits, and the rate."""
    rng = np.random.default_rng(1)
    references = []
    for _ in range(found.mapping.frames):
        frame = random_input(network, rng)
        tensors = run_reference(network, weights, frame)
        image = frame if setup.fold == 1 else fold_image(frame, network.layers[0], setup.fold)
        references.append({**tensors, "input": image})
    print(f"{name}: references of {found.mapping.frames} frames computed", flush=True)
    ports = found.accelerator.ports
    fixed = Case(program, references, found.memories, passes)
    shared = Case(program, references, (FULL,) * ports, SHARED_PASSES)
    build = folder / "build"
    (run,) = verify_many([fixed], folder / "fixed", modes=("fixed",), build=build).runs
    rows = fixed_rows(name, setup, found, network, run, passes)
    if not sharing:
        return rows
    modes, total = ("shared",), SHARED_BYTES
    (run,) = verify_many([shared], folder / "shared", modes=modes, build=build, shared_bytes=total).runs
    how = f"{total} bytes per cycle shared"
    rows += rate_rows(name, how, setup, found, network, interval(run), bars=False)
    return [*rows, Row(f"{name}: bits different, {how}", bits(run), "bit", "== 0")]


def fixed_rows(name: str, setup: Setup, found: Found, network: Network, run: RunResult, passes: int) -> list[Row]:
    """Figures of the RTL, and what differs from reference and schedule. One pass has no rate in steady state."""
    print(*run.differences[:10], sep="\n", flush=True)
    rows = rate_rows(name, "RTL", setup, found, network, interval(run), bars=True) if passes > 1 else []
    cycles = abs((run.cycles_model or 0) - (run.cycles_rtl or 0))
    return [
        *rows,
        Row(f"{name}: bits different", bits(run), "bit", "== 0"),
        Row(f"{name}: cycles different, model and RTL", cycles, "cycle", "== 0"),
        Row(f"{name}: differences of any kind", len(run.differences), "", "== 0"),
        Row(
            f"{name}: cycles simulated",
            run.cycles_rtl or 0,
            "",
            "",
            {"passes": passes, "seconds": round(run.seconds, 1)},
        ),
    ]


def bits(run: RunResult) -> int:
    """Bits that differ in all compared tensors; a run that failed counts one."""
    return sum(layer.bits_different for layer in run.layers) + int(run.error is not None)


def interval(run: RunResult) -> int:
    """Cycles from the end of the last pass but one to the end of the last, as the hardware recorded them."""
    *_, before, last = run.pass_ends_rtl
    if before is None or last is None:
        raise RuntimeError(f"{run.name}: the ends of the last passes are missing: {run.error}")
    return last - before


if __name__ == "__main__":
    sys.exit(main())
