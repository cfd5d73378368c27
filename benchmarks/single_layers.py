"""Single layers on small arrays with one 64-bit port, beside published cycles of others on the same layers.

    python -m benchmarks.single_layers [--quick]

A is a 3 x 3 convolution, 32 to 32 channels at 16 x 16, padding 1; B a 1 x 1 convolution, 64 to 128 channels at 8 x 8.
Cycles are those from start to done of an idle accelerator: program, weights and input are loaded from memory (8 bytes
per cycle each way, 64 cycles latency) and the output is stored there. For each number of multipliers, arrays, buffers'
use and loops are enumerated by closed form and exact schedule; the fewest cycles are then simulated in RTL, every bit
and cycle compared. `--quick` schedules and does not simulate.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.common import Row, report, write
from dna.accelerator.chunk import INPUT_CHANNELS, POST_LANES, Accelerator, Chunk, Memory
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile.compiler import compile as compile_design
from dna.compile.program import Program
from dna.cost.schedule import schedule
from dna.network.layer import Layer
from dna.network.network import Network
from dna.network.random import random_input
from dna.quantize.random import random_weights
from dna.quantize.reference import run as run_reference
from dna.search.refine import blank_weights
from dna.search.steady import steady
from dna.verify import Case, verify_many

MEMORY = Memory(read_latency=64, beat_interval=1, write_latency=16)
MULTIPLIERS = (64, 256, 288, 576)
CANDIDATES = 80
"""Mappings per array that are scheduled, the best ones by the closed form."""
LAYERS = {
    "A": Layer("conv", "conv", "input", 32, 16, 16, 32, kernel=(3, 3), padding=(1, 1, 1, 1)),
    "B": Layer("conv", "conv", "input", 64, 8, 8, 128),
}


@dataclass(frozen=True)
class Published:
    """Cycles of another accelerator on one of the layers."""

    name: str
    layer: str
    multipliers: int
    cycles: int


PUBLISHED = (
    Published("NNgen", "A", 72, 35065),
    Published("NNgen", "A", 288, 10489),
    Published("NVDLA small", "A", 64, 39211),
    Published("NNgen", "B", 64, 9849),
    Published("NNgen", "B", 256, 4777),
    Published("NVDLA small", "B", 64, 12918),
)
"""Both simulated from their own RTL on the same layers, NNgen with a 64-bit AXI port."""


@dataclass(frozen=True)
class Found:
    """The fewest cycles of one layer with so many multipliers."""

    cycles: int
    chunk: Chunk
    mapping: LayerMapping


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="schedules only")
    quick = parser.parse_args().quick
    rows: list[Row] = []
    for name, layer in LAYERS.items():
        for multipliers in MULTIPLIERS:
            found = fewest(layer, multipliers)
            rows += layer_rows(name, layer, multipliers, found)
            if not quick:
                rows += simulated(f"{name}, {multipliers} multipliers", layer, found)
            report(rows[-1:])
    if not quick:
        write("single_layers", rows)
    return report(rows)


def arrays(multipliers: int) -> Iterator[Chunk]:
    """All arrays of exactly so many multipliers, with buffers as large as these layers can use."""
    for oc in (2, 4, 8, *range(16, 129, 16)):
        for ic in INPUT_CHANNELS:
            px, rest = divmod(multipliers, oc * ic)
            if oc * ic % 16 or rest or not 1 <= px <= 128:
                continue
            post = max(lanes for lanes in POST_LANES if oc % lanes == 0)
            yield Chunk(
                oc=oc, ic=ic, px=px, post_lanes=post, input_words=2048, weight_words=2048, output_words=1024,
                residual=False, ports=1, port_bytes=8, burst_beats=64,
            )  # fmt: skip


def fewest(layer: Layer, multipliers: int) -> Found:
    """Over all arrays and each one's best mappings; among equals the first."""
    best: Found | None = None
    for chunk in arrays(multipliers):
        for mapping in steady(layer, chunk, MEMORY, 1).best(CANDIDATES):
            cycles = schedule(compiled(layer, chunk, mapping), MEMORY).cycles
            if best is None or cycles < best.cycles:
                best = Found(cycles, chunk, mapping)
    assert best is not None, "every number of multipliers has an array"
    return best


def network_of(layer: Layer) -> Network:
    return Network("single", (layer,))


def compiled(layer: Layer, chunk: Chunk, mapping: LayerMapping) -> Program:
    """With weights that mean nothing: cycles do not depend on them."""
    network = network_of(layer)
    return compile_design(network, blank_weights(network), Accelerator((chunk,)), Mapping((mapping,)))


def utilisation(layer: Layer, multipliers: int, cycles: int) -> float:
    return round(layer.macs / (multipliers * cycles), 3)


def layer_rows(name: str, layer: Layer, multipliers: int, found: Found) -> list[Row]:
    """Cycles with the others' beside them: those with at most as many multipliers are to be beaten.

    Utilisation is compared with all of them that have as many or fewer, or up to an eighth more: an array of 72 is
    the other's choice for a kernel of nine taps, as 64 is ours.
    """
    chunk = found.chunk
    shape = {"array": f"{chunk.oc} x {chunk.ic} x {chunk.px}", "mapping": vars(found.mapping)}
    title = f"{name}, {multipliers} multipliers"
    fewer = [row for row in PUBLISHED if row.layer == name and row.multipliers <= multipliers]
    alike = [
        row for row in PUBLISHED if row.layer == name and 8 * multipliers <= 8 * row.multipliers <= 9 * multipliers
    ]
    others = {
        f"{row.name} with {row.multipliers}": {
            "cycles": row.cycles,
            "utilisation": utilisation(layer, row.multipliers, row.cycles),
        }
        for row in PUBLISHED
        if row.layer == name
    }
    bar = f"< {min(row.cycles for row in fewer)}" if fewer else ""
    reached = [utilisation(layer, row.multipliers, row.cycles) for row in alike]
    share_bar = f"> {max(reached)}" if reached else ""
    share = utilisation(layer, multipliers, found.cycles)
    return [
        Row(f"{title}: cycles, start to done", found.cycles, "", bar, shape | {"others": others}),
        Row(f"{title}: utilisation", share, "", share_bar),
    ]


def simulated(title: str, layer: Layer, found: Found) -> list[Row]:
    """What differs in the RTL, with real integers."""
    rng = np.random.default_rng(0)
    network = network_of(layer)
    weights = random_weights(network, rng)
    program = compile_design(network, weights, Accelerator((found.chunk,)), Mapping((found.mapping,)))
    frame = random_input(network, rng)
    reference = {**run_reference(network, weights, frame), "input": frame}
    folder = Path(tempfile.mkdtemp(prefix="single-layers-"))
    try:
        result = verify_many([Case(program, reference, MEMORY)], folder / "run")
    finally:
        shutil.rmtree(folder)
    print(*result.differences[:10], sep="\n", flush=True)
    fixed = result.runs[0]
    return [
        Row(f"{title}: cycles in the RTL", fixed.cycles_rtl or 0, "", f"== {found.cycles}"),
        Row(f"{title}: differences in bits, cycles or counters", len(result.differences), "", "== 0"),
    ]


if __name__ == "__main__":
    sys.exit(main())
