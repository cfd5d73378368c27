"""HLS C++ in C simulation against the integer reference: the zoo, the digits, random designs, several chunks.

    python -m benchmarks.hls_bits [--quick] [--seed 0]

Every tensor that is in memory at the end is compared bit by bit. The zoo is that of `benchmarks.zoo_verify`, one build
for all; the digits design is what a short `dna demo` finds; random designs share builds per accelerator. Beside it
stands the latency estimated from loop bounds, and the RTL's exact cycles on the same memory.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import Row, report, write
from benchmarks.zoo_verify import case as zoo_case
from benchmarks.zoo_verify import quantised
from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk, Link
from dna.accelerator.mapping import Mapping
from dna.compile.compiler import compile as compile_design
from dna.compile.default_mapping import random_chunk, random_mapping
from dna.compile.lowering import lower
from dna.compile.placement import place
from dna.cost.hls import hls_cycles
from dna.cost.schedule import schedule
from dna.demo import run_demo
from dna.errors import UserError
from dna.network.random import RandomLimits, random_input, random_network
from dna.network.zoo import names
from dna.quantize.random import random_weights
from dna.quantize.reference import run as run_reference
from dna.verify import Case
from dna.verify.hls import HlsRun, verify_hls, verify_hls_many
from dna.verify.random_designs import Drawer

DRAWS = 200
PER_ACCELERATOR = 25
SEVERAL = 8
"""Designs of several chunks, each with a build of its own."""
PASSES = 2
BOARD, GOAL, DEMO_MINUTES = "zc706", "fps=10000", 0.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="some networks, one accelerator")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="hls-bits-") as folder:
        found = _Found(Path(folder))
        zoo = names()[::8] if given.quick else names()
        found.zoo(zoo)
        if not given.quick:
            found.digits()
        found.random(given.seed, 10 if given.quick else DRAWS)
        found.several(given.seed, 1 if given.quick else SEVERAL)
    rows = [*found.totals(), *found.rows]
    if not given.quick:
        write("hls_bits", rows)
    return report(rows)


class _Found:
    """What was measured so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[Row] = []
        self.runs: list[HlsRun] = []
        self.ratios: list[float] = []
        self.builds = 0.0
        self.seconds = 0.0

    def _many(self, cases: Sequence[Case], name: str) -> Sequence[HlsRun]:
        result = verify_hls_many(cases, self.folder / name, build_folder=self.folder / "build")
        self.builds += result.build_seconds
        self.seconds += result.run_seconds
        self.runs += result.runs
        print(f"{name}: {len(result.runs)} programs", *result.differences[:5], sep="\n", flush=True)
        return result.runs

    def zoo(self, chosen: Sequence[str]) -> None:
        board = load_board(BOARD)
        cases = [zoo_case(quantised(name), board) for name in chosen]
        for name, case, run in zip(chosen, cases, self._many(cases, "zoo"), strict=True):
            self.rows.append(self._row(name, case, run))

    def _row(self, name: str, case: Case, run: HlsRun) -> Row:
        """A network's bits, and beside them its latency; the layers in which it differs most from the RTL's."""
        program = case.program
        estimate, exact = hls_cycles(program, case.memory), schedule(program, case.memory)
        ratio = estimate.cycles / exact.cycles
        self.ratios.append(ratio)
        before = rtl_before = 0
        layers = []
        for hls, rtl in zip(estimate.layers, exact.layers, strict=True):
            own, rtl_own = hls.committed - before, rtl.committed - rtl_before
            before, rtl_before = hls.committed, rtl.committed
            layers.append((round(own / max(rtl_own, 1), 2), hls.name, own, rtl_own))
        slowest = [f"{label}: {own} for {rtl_own}" for _, label, own, rtl_own in sorted(layers, reverse=True)[:3]]
        extra = {
            "layers": len(program.layers),
            "phases": run.phases[0],
            "cycles, HLS estimate": estimate.cycles,
            "cycles, RTL": exact.cycles,
            "estimate / RTL": round(ratio, 3),
            "median of layers": statistics.median(entry[0] for entry in layers),
            "furthest apart": slowest,
        }
        return Row(f"{name}: bits different", run.bits_different + bool(run.error), "bit", extra=extra)

    def digits(self) -> None:
        found, summary = run_demo(BOARD, GOAL, 0, DEMO_MINUTES, _quiet, self.folder / "runs")
        result = verify_hls(found.project, build_folder=self.folder / "build")
        self.runs += result.runs
        self.seconds += result.run_seconds
        wrong = sum(run.bits_different + bool(run.error) for run in result.runs)
        tensors = len(result.runs[0].tensors)
        self.rows.append(Row("digits: bits different", wrong, "bit", "== 0", {"tensors": tensors}))

    def random(self, seed: int, draws: int) -> None:
        """Single-chunk designs, many per accelerator."""
        drawer = Drawer(np.random.default_rng(seed))
        accelerators = -(-draws // PER_ACCELERATOR)
        wrong = 0
        ratios = []
        for index in range(accelerators):
            chunk = random_chunk(np.random.default_rng((seed, index)))
            count = min(PER_ACCELERATOR, draws - index * PER_ACCELERATOR)
            cases = [drawer.draw(chunk).case for _ in range(count)]
            runs = self._many(cases, f"random-{index}")
            wrong += sum(run.bits_different + bool(run.error) for run in runs)
            ratios += [hls_cycles(c.program, c.memory).cycles / schedule(c.program, c.memory).cycles for c in cases]
        extra = {
            "designs": draws,
            "accelerators": accelerators,
            "estimate / RTL, median": round(statistics.median(ratios), 3),
            "estimate / RTL, from": round(min(ratios), 3),
            "estimate / RTL, to": round(max(ratios), 3),
        }
        self.rows.append(Row("random designs: bits different", wrong, "bit", "== 0", extra))

    def several(self, seed: int, count: int) -> None:
        """Designs of two or three linked chunks, in passes of frames that differ."""
        wrong = 0
        chunks = []
        for index in range(count):
            case = several_case(np.random.default_rng((seed, index)))
            (run,) = self._many([case], f"several-{index}")
            chunks.append(len(case.program.chunks))
            wrong += run.bits_different + bool(run.error)
        extra = {"designs": count, "chunks": chunks, "passes": PASSES}
        self.rows.append(Row("designs of several chunks: bits different", wrong, "bit", "== 0", extra))

    def totals(self) -> list[Row]:
        tensors = [tensor for run in self.runs for tensor in run.tensors]
        rows = [
            Row("bits different", sum(run.bits_different for run in self.runs), "bit", "== 0"),
            Row("runs that failed in any way", sum(bool(run.differences) for run in self.runs), "", "== 0"),
            Row("programs", len(self.runs)),
            Row("tensors compared", len(tensors)),
            Row("seconds of simulation", round(self.seconds, 1), "s"),
            Row("seconds of compilation", round(self.builds, 1), "s"),
        ]
        if self.ratios:
            median = round(statistics.median(self.ratios), 3)
            rows.append(Row("zoo: cycles, HLS estimate / RTL, median", median, "", "<= 3"))
        return rows


def _quiet(stage: str, done: float) -> None:
    """The demo's progress: not shown."""


def several_case(rng: np.random.Generator) -> Case:
    """A random network on two or three chunks with links between all of them, its tensors on chip where they fit."""
    while True:
        network = random_network(rng, RandomLimits(layers=8, macs=60_000, everything=True))
        layers = lower(network).layers
        count = int(rng.integers(2, 4))
        on = tuple(sorted(int(chunk) for chunk in rng.integers(0, count, len(layers))))
        if len(set(on)) < count:
            continue
        chunks = tuple(_linked_chunk(rng) for _ in range(count))
        links = tuple(Link(w, r, 2048) for w in range(count) for r in range(w, count))
        accelerator = Accelerator(chunks, links=links)
        weights = random_weights(network, rng)
        try:
            mappings = tuple(random_mapping(layer, chunks[at], rng) for layer, at in zip(layers, on, strict=True))
            mapping = place(network, accelerator, Mapping(mappings, on, frames=2))
            program = compile_design(network, weights, accelerator, mapping)
        except UserError:
            continue
        inputs = [random_input(network, rng) for _ in range(PASSES * program.frames)]
        references = [{"input": x_HWC, **run_reference(network, weights, x_HWC)} for x_HWC in inputs]
        return Case(program, references, passes=PASSES)


def _linked_chunk(rng: np.random.Generator) -> Chunk:
    """A random chunk with ports as wide as links."""
    return replace(random_chunk(rng), port_bytes=16, burst_beats=16)


if __name__ == "__main__":
    sys.exit(main())
