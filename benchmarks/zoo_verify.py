"""Every network of the zoo through the whole chain: quantised, compiled, generated, simulated, compared.

    python -m benchmarks.zoo_verify [--quick] [--networks NAME,NAME]

Widths and images are reduced so that each simulates in seconds; layers, operators and connections are those of the full
network. Weights are random with normalisations fitted to images, quantised like any other network: what is proven is
the hardware, not the accuracy. One accelerator and one build run all of them, each twice: on a memory of fixed timing
(bits and cycles must be equal) and on one with random stalls (bits).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import Row, report, write
from dna.accelerator.board import Board, load_board
from dna.accelerator.chunk import Accelerator, Chunk
from dna.compile.compiler import compile as compile_design
from dna.network.zoo import Request, build, names
from dna.quantize.ptq import Quantised, quantise
from dna.quantize.reference import run as run_reference
from dna.quantize.untrained import random_images, untrained
from dna.search.one_chunk import best_mapping
from dna.verify import Case, verify_many
from dna.verify.simulation import MODES, RunResult

CHUNK = Chunk(oc=16, ic=4, px=4, post_lanes=8, input_words=1024, weight_words=2048, param_words=256, output_words=512)
WIDTH = 0.25
"""Multiplier of channels."""
SIZE = 64
"""Height and width of the images."""
CLASSES = 100
CALIBRATION_IMAGES = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three networks")
    parser.add_argument("--networks", help="only these, separated by commas")
    given = parser.parse_args()
    torch.set_num_threads(1)
    chosen = given.networks.split(",") if given.networks else names()[::6] if given.quick else names()
    board = load_board("zc706")
    folder = Path(tempfile.mkdtemp(prefix="zoo-verify-"))
    try:
        rows, runs = proven(chosen, board, folder)
    finally:
        shutil.rmtree(folder)
    everything = not given.quick and not given.networks
    rows.append(Row("networks verified", len(chosen), "", f"== {len(names())}" if everything else ""))
    rows += totals(runs)
    if everything:
        write("zoo_verify", rows)
    return report(rows)


def proven(chosen: Sequence[str], board: Board, folder: Path) -> tuple[list[Row], list[RunResult]]:
    """One row per network, and the runs they come from."""
    networks = {}
    cases = []
    for name in chosen:
        networks[name] = quantised(name)
        cases.append(case(networks[name], board))
        print(f"{name}: {len(networks[name].network.layers)} layers compiled", flush=True)
    result = verify_many(cases, folder / "many", modes=MODES)
    rows = []
    for index, name in enumerate(chosen):
        runs = result.runs[index * len(MODES) : (index + 1) * len(MODES)]
        rows.append(network_row(name, networks[name], cases[index], runs))
    print(*result.differences[:20], sep="\n", flush=True)
    return rows, list(result.runs)


def quantised(name: str) -> Quantised:
    """The network at reduced width and size, with random weights."""
    generator = torch.Generator().manual_seed(0)
    blueprint = build(name, Request((SIZE, SIZE, 3), WIDTH, CLASSES))
    images = random_images(blueprint.network.shapes["input"], CALIBRATION_IMAGES, generator)
    return quantise(untrained(blueprint, images, generator), images)


def case(done: Quantised, board: Board) -> Case:
    """The compiled network with a frame and everything that the hardware must compute of it."""
    network, weights = done.network, done.weights
    mapping = best_mapping(network, CHUNK, board)
    if mapping is None:
        raise SystemExit(f"{network.name}: a layer fits no tile on the accelerator")
    program = compile_design(network, weights, Accelerator((CHUNK,)), mapping)
    image = random_images(network.shapes["input"], 1, torch.Generator().manual_seed(1))
    frame_HWC = image[0].permute(1, 2, 0).numpy().astype(np.int64)
    return Case(program, {**run_reference(network, weights, frame_HWC), "input": frame_HWC}, board.memory)


def network_row(name: str, done: Quantised, case: Case, runs: Sequence[RunResult]) -> Row:
    """Cycles of the network's frame in the RTL, and beside it what differs: bar 0."""
    fixed = runs[0]
    assert isinstance(case.reference, Mapping), "one frame, one reference"
    bits = sum(layer.bits_different for run in runs for layer in run.layers)
    cycles = abs((fixed.cycles_model or 0) - (fixed.cycles_rtl or 0))
    extra = {
        "image": f"{SIZE} x {SIZE}",
        "width": WIDTH,
        "layers": len(done.network.layers),
        "layers executed": len(fixed.layers),
        "macs": done.network.macs,
        "cycles, model": fixed.cycles_model,
        "cycles, RTL": fixed.cycles_rtl,
        "utilisation": round(done.network.macs / ((fixed.cycles_rtl or 1) * CHUNK.multipliers), 3),
        "different values in the output": len(np.unique(case.reference[done.network.output])),
        "bits different": bits,
        "cycles different": cycles,
        "layer counters different": counters_different(fixed),
        "seconds": round(sum(run.seconds for run in runs), 1),
    }
    wrong = bits + cycles + counters_different(fixed) + sum(not run.ok for run in runs)
    return Row(f"{name}: bits, cycles and counters different", wrong, "", "== 0", extra)


def counters_different(run: RunResult) -> int:
    """Cycle counters of layers that do not show what the model says."""
    return sum(
        layer.rtl[cause] != value
        for layer in run.layers
        if layer.model is not None and layer.rtl is not None
        for cause, value in layer.model.items()
    )


def totals(runs: list[RunResult]) -> list[Row]:
    """Over all networks."""
    fixed = [run for run in runs if run.mode == "fixed"]
    return [
        Row("layers compared", sum(len(run.layers) for run in fixed)),
        Row("cycles simulated", sum(run.cycles_rtl or 0 for run in runs)),
        Row("bits different", sum(layer.bits_different for run in runs for layer in run.layers), "bit", "== 0"),
        Row(
            "cycles different, model and RTL",
            sum(abs((run.cycles_model or 0) - (run.cycles_rtl or 0)) for run in fixed),
            "cycle",
            "== 0",
        ),
        Row("layer counters different, model and RTL", sum(counters_different(run) for run in fixed), "", "== 0"),
        Row("runs that failed in any way", sum(not run.ok for run in runs), "", "== 0"),
    ]


if __name__ == "__main__":
    sys.exit(main())
