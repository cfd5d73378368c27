"""How fast the generated RTL simulates: cycles per second at 64, 256 and 1024 multipliers, and what a build takes.

    python -m benchmarks.simulation_speed [--quick]

Each row runs a convolutional network through the Project's own regression (cocotb and Verilator), every output bit and
cycle compared, on the memory of fixed timing. Weights are random; bits do not care.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import Row, report, write
from dna.accelerator.chunk import Accelerator, Chunk, Memory
from dna.compile.compiler import compile
from dna.compile.default_mapping import default_mapping
from dna.generate.project import generate
from dna.network.layer import Layer
from dna.network.network import Network
from dna.quantize.random import random_weights
from dna.quantize.reference import run

CHUNKS = (
    Chunk(oc=16, ic=4, px=1, input_words=2048, weight_words=2048),
    Chunk(oc=16, ic=4, px=4, input_words=1024, weight_words=2048),
    Chunk(oc=16, ic=8, px=8, post_lanes=8, input_words=1024, weight_words=1024),
)


@dataclass(frozen=True)
class Measured:
    cycles: int
    seconds: float
    """Of the simulation alone: loading, running, comparing."""
    build_seconds: float
    busy: int
    equal: bool


def network(chunk: Chunk, cycles: int) -> Network:
    """A chain of 3 x 3 convolutions, 64 channels at 32 x 32, that keeps the array busy for about `cycles` cycles."""
    per_layer = 32 * 32 * 64 * 64 * 9 // chunk.multipliers
    layers = []
    source = "input"
    for index in range(max(1, round(cycles / per_layer))):
        layers.append(Layer(f"conv{index}", "conv", source, 64, 32, 32, 64, (3, 3), padding=(1, 1, 1, 1), lo=0, hi=127))
        source = layers[-1].name
    return Network(f"conv_{chunk.multipliers}", tuple(layers))


def measure(chunk: Chunk, cycles: int, folder: Path) -> Measured:
    rng = np.random.default_rng(0)
    net = network(chunk, cycles)
    weights = random_weights(net, rng)
    program = compile(net, weights, Accelerator((chunk,)), default_mapping(net, chunk))
    reference = run(net, weights, rng.integers(-128, 128, (32, 32, 64)))
    times = generate(program, folder, reference=reference, design_text=f"name: {net.name}\n", memory=Memory())
    command = [sys.executable, "run.py", "--mode", "fixed", "--quiet"]
    began = time.monotonic()
    done = subprocess.run(command, cwd=folder / "sim", capture_output=True, text=True)
    total = time.monotonic() - began
    if done.returncode == 2:
        raise RuntimeError(done.stdout + done.stderr)
    result = json.loads((folder / "sim" / "results" / "results.json").read_text())["runs"][0]
    return Measured(times.cycles, result["seconds"], total - result["seconds"], times.causes.busy, result["ok"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs")
    cycles = 50_000 if parser.parse_args().quick else 1_000_000
    rows = []
    for chunk in CHUNKS:
        with tempfile.TemporaryDirectory() as name:
            found = measure(chunk, cycles, Path(name) / "project")
        size = f"{chunk.multipliers} multipliers"
        shape = {"array": f"{chunk.oc} x {chunk.ic} x {chunk.px}", "cycles": found.cycles}
        speed = round(found.cycles / found.seconds)
        rows += [
            Row(f"{size}: simulated cycles per second", speed, "1/s", extra=shape),
            Row(f"{size}: build and start", round(found.build_seconds, 1), "s"),
            Row(f"{size}: share of cycles with the array busy", round(found.busy / found.cycles, 3), ""),
            Row(f"{size}: bits and cycles equal", found.equal, "", "== 1"),
        ]
        print(size, speed, "cycles per second", flush=True)
    write("simulation_speed", rows)
    return report(rows)


if __name__ == "__main__":
    sys.exit(main())
