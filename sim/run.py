#!/usr/bin/env python3
"""Simulates the accelerator of this project and compares it with the reference; exit status 1 on a difference.

Builds the simulation once per accelerator, runs every program given (the project's own by default) on a memory of fixed
timing, where cycles must be equal to the model's, and on one with random stalls, where bits must be.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import table
import toolchain
from program_folder import ProgramFolder

HERE = Path(__file__).resolve().parent
TOP = "dna_testbench"
MODES = ("fixed", "stalls")
"""What is run by default; `faults` is for those who change the hardware, `shared` for those who wonder what a memory
does that all ports share."""
SHARED_BYTES = 16
"""Bytes per cycle of such a memory, reads and writes together, if not told otherwise."""
SMALLEST_MEMORY = 1 << 16


def sources(project: Path) -> list[Path]:
    """All that the simulation is built from."""
    rtl = sorted((project / "rtl").glob("*.v*"))
    return [*rtl, *sorted((project / "sim").glob("*.v")), *sorted((project / "sim").glob("*.vlt"))]


def memory_words(programs: Sequence[ProgramFolder]) -> int:
    """Words of memory for all programs, rounded up to a power of two so that few different builds are needed."""
    needed = max(SMALLEST_MEMORY, *(program.memory_words for program in programs))
    return 1 << (needed - 1).bit_length()


def simulate(
    programs: Sequence[Path],
    *,
    project: Path,
    cache: Path,
    work: Path,
    modes: Sequence[str],
    seed: int,
    waves: bool,
    shared_bytes: int = SHARED_BYTES,
) -> list[dict[str, Any]]:
    """Run each program in each mode, in one simulation; the results of all that were run."""
    folders = [ProgramFolder(path.resolve()) for path in programs]
    words = memory_words(folders)
    built = toolchain.build(TOP, sources(project), cache, parameters={"WORDS": words}, waves=waves)
    work.mkdir(parents=True, exist_ok=True)
    tasks = []
    for index, folder in enumerate(folders):
        common = {"program": str(folder.path), "seed": seed + index, "bytes": shared_bytes}
        tasks += [{**common, "mode": mode} for mode in modes]
    (work / "tasks.json").write_text(json.dumps(tasks))
    output = work / "simulation.json"
    output.unlink(missing_ok=True)
    environment = {"DNA_TASKS": str(work / "tasks.json"), "DNA_RESULTS": str(output), "COCOTB_LOG_LEVEL": "WARNING"}
    failed = toolchain.simulate(
        built, TOP, "regression", work=work, environment=environment, path=HERE, seed=seed, waves=waves
    )
    results: list[dict[str, Any]] = json.loads(output.read_text()) if output.exists() else []
    if failed and (len(results) < len(tasks) or all(result["ok"] for result in results)):
        tail = "\n".join((work / "simulation.log").read_text().splitlines()[-30:])
        raise toolchain.ToolError(f"the bench itself failed:\n{tail}")
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 all equal, 1 a difference, 2 the simulation could not be run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", nargs="*", type=Path, help="program folders (default: the project's own)")
    parser.add_argument(
        "--mode",
        action="append",
        choices=(*MODES, "shared", "faults"),
        help="run only this mode (default: fixed and stalls)",
    )
    parser.add_argument(
        "--bytes-per-cycle",
        type=int,
        default=SHARED_BYTES,
        help="mode shared: what all ports together get (default: %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the stalls and of all values after power-up")
    parser.add_argument("--build", type=Path, default=HERE / "sim_build", help="folder that keeps built simulations")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder for results.json and logs")
    parser.add_argument("--waves", action="store_true", help="record a trace of all signals (slow)")
    parser.add_argument("--quiet", action="store_true", help="print differences only")
    given = parser.parse_args(arguments)
    project = HERE.parent
    programs = given.programs or [project / "program"]
    results_file = given.results.resolve() / "results.json"
    results_file.unlink(missing_ok=True)
    try:
        results = simulate(
            programs, project=project, cache=given.build.resolve(), work=given.results.resolve(),
            modes=given.mode or MODES, seed=given.seed, waves=given.waves,
            shared_bytes=given.bytes_per_cycle,
        )  # fmt: skip
    except toolchain.ToolError as error:
        print(error, file=sys.stderr)
        return 2
    good = bool(results) and all(result["ok"] for result in results)
    results_file.write_text(json.dumps({"ok": good, "runs": results}, indent=1) + "\n")
    for result in results:
        if not given.quiet:
            print(f"{table.render(result)}\n")
        elif not result["ok"]:
            print("\n".join([f"{result['program']} ({result['mode']}):", *table.explain(result)]))
    print(f"{sum(result['ok'] for result in results)} of {len(results)} runs equal; {results_file}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
