"""How long it takes to simulate one frame of MobileNetV2 at 224 x 224 in RTL, from nothing.

    python -m benchmarks.mobile_frame

The design of `board_scale`; the Project is written, the simulation built without any cache, one frame run alone, every
output bit and every cycle compared. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.board_designs import SETUPS, executed, integers, load, zoo_network
from benchmarks.common import Row, report, write
from dna.compile.compiler import compile as compile_design
from dna.network.random import random_input
from dna.quantize.reference import run as run_reference
from dna.verify import Case, verify_many


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    setup = SETUPS["MobileNetV2"]
    source = zoo_network(setup)
    network, weights = executed(setup, source, integers(source))
    found = load(setup)
    alone = replace(found.mapping, frames=1, batches=())
    program = compile_design(network, weights, found.accelerator, alone)
    reference = run_reference(network, weights, random_input(network, np.random.default_rng(0)))
    folder = Path(tempfile.mkdtemp(prefix="mobile-frame-"))
    os.environ["CCACHE_DISABLE"] = "1"
    began = time.monotonic()
    try:
        case = Case(program, reference, found.memories)
        (run,) = verify_many([case], folder / "case", modes=("fixed",), build=folder / "build").runs
    finally:
        shutil.rmtree(folder)
    rows = [
        Row("one frame simulated, build included", round(time.monotonic() - began, 1), "s", "<= 120"),
        Row("cycles of one frame alone, latency", run.cycles_rtl or 0),
        Row("bits and cycles different", len(run.differences), "", "== 0"),
    ]
    write("mobile_frame", rows)
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())
