#!/usr/bin/env python3
"""Runs the C and the Python driver against the simulated accelerator; exit status 1 if anything is wrong."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
sys.path.insert(0, str(PROJECT / "sim"))
import run as simulation  # noqa: E402
import toolchain  # noqa: E402

SLOTS = 9
"""The most that a test of bench.py uses."""
BUS = 1 << 16
TIMINGS = "64,1,16;5,3,2;150,2,90"


def memory_bytes() -> int:
    """What the drivers need for so many slots."""
    content = json.loads((HERE / "dna_program.json").read_text())
    parts = [content["image_bytes"], content["probe"]["image_bytes"], content["bytes"]["WORK"]]
    parts += [content["bytes"]["INPUT"], content["bytes"]["OUTPUT"]] * SLOTS
    return sum(-(-size // 4096) * 4096 for size in parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", default="", help="regular expression: run only tests whose name matches")
    parser.add_argument(
        "--build", type=Path, default=PROJECT / "sim" / "sim_build", help="folder for built simulations"
    )
    parser.add_argument("--results", type=Path, default=HERE / "results", help="folder for log and results")
    parser.add_argument("--timings", default=TIMINGS, help="memories for the probe: latency,interval,write latency;...")
    given = parser.parse_args(arguments)
    made = subprocess.run(["make", "-C", str(HERE), "libdna.so"], capture_output=True, text=True, check=False)
    if made.returncode:
        print(made.stdout + made.stderr, file=sys.stderr)
        return 2
    size = memory_bytes()
    words = max(simulation.SMALLEST_MEMORY, 1 << ((size + BUS) // 16).bit_length())
    work = given.results.resolve()
    environment = {"DNA_MEMORY_BYTES": str(size), "DNA_PROBE_TIMINGS": given.timings, "COCOTB_LOG_LEVEL": "INFO"}
    if given.tests:
        environment["COCOTB_TEST_FILTER"] = given.tests
    sys.path.insert(0, str(HERE))
    try:
        built = toolchain.build(
            simulation.TOP, simulation.sources(PROJECT), given.build.resolve(), parameters={"WORDS": words}
        )
        failed = toolchain.simulate(
            built, simulation.TOP, "bench", work=work, environment=environment, path=PROJECT / "sim"
        )
    except toolchain.ToolError as error:
        print(error, file=sys.stderr)
        return 2
    cases = list(ElementTree.parse(work / "results.xml").iter("testcase"))
    for case in cases:
        if case.find("skipped") is None:
            good = case.find("failure") is None and case.find("error") is None
            print(f"{'ok  ' if good else 'FAIL'} {case.get('name')}")
    print(f"{failed} failed; {work / 'simulation.log'}")
    return int(failed != 0)


if __name__ == "__main__":
    sys.exit(main())
