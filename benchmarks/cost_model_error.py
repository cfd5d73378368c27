"""How far the batched cost models are from the exact schedule, and the schedule from the RTL.

    python -m benchmarks.cost_model_error [--quick] [--networks 12] [--chunks 6] [--rtl 20] [--seed 0]

Random points: a network of the zoo at half width on small images, a uniformly drawn chunk of the default space of a
board-sized target, a memory, and for each layer the solver's mapping or a random legal one. Optima: what the exact
search finds on two boards. Each point is compiled and scheduled exactly, one frame alone and four passes; the sum of
prices is compared with the first, the walk over tiles with both. Chunks that some layer fits in no way are drawn again.
Points of more than INSTRUCTIONS instructions are left out, for compiling them takes minutes; their number is reported.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import Row, report, write
from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk, Memory
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile.compiler import compile as compile_design
from dna.compile.default_mapping import random_mapping
from dna.compile.lowering import Lowered, lower
from dna.compile.program import Program
from dna.cost.cycles import frame_start, price
from dna.cost.mapping_limits import Candidates
from dna.cost.schedule import schedule
from dna.cost.walk import network_cycles, writers
from dna.cost.walk_fields import PLACE, table
from dna.errors import UserError
from dna.network.network import Network
from dna.network.zoo import Request, build, names
from dna.search import exact
from dna.search.accelerator import problem
from dna.search.goal import Fastest
from dna.search.mapping_space import decode, solve_mappings
from dna.search.problem import Budget
from dna.search.refine import blank_weights
from dna.search.space import default_space
from dna.verify import verify_many
from dna.verify.random_accelerators import random_accelerator
from dna.verify.random_designs import Drawer

SIZES = (32, 48, 64)
"""Height and width of images."""
WIDTH = 0.5
MULTIPLIERS = 900
INSTRUCTIONS = 12_000
PASSES = 3
"""The walk's; the schedule has one more, for its interval."""
BOARDS = ("zc706", "ultra96")
CLOSE = 0.02


@dataclass(frozen=True)
class Point:
    """A chunk for a network, and what it takes by the price and, exactly, by the schedule."""

    chunk: Chunk
    mappings: tuple[LayerMapping, ...]
    memory: Memory
    price: int
    cycles: int
    interval: int


@dataclass
class Errors:
    """Ratios of modelled to exact cycles over many points."""

    price: list[float]
    walk: list[float]
    steady: list[float]
    left_out: int = 0
    walk_seconds: float = 0.0
    exact_seconds: float = 0.0

    def rows(self, what: str, claimed: bool) -> list[Row]:
        found = []
        for name, ratios, model in (
            ("price, one frame", self.price, "price"),
            ("walk, one frame", self.walk, "walk"),
            ("walk, steady state", self.steady, "walk"),
        ):
            values = np.array(ratios)
            bar = ">= 0.95" if claimed and model == "walk" else ""
            extra = {
                "points": len(values),
                "median": round(float(np.median(values)), 4),
                "lowest": round(float(values.min()), 4),
                "highest": round(float(values.max()), 4),
                "above the schedule": round(float((values > 1).mean()), 4),
                "above by more than 0.1 %": round(float((values > 1.001).mean()), 4),
            }
            share = float((abs(values - 1) <= CLOSE).mean())
            found.append(Row(f"{what}: {name}: within 2 %", round(share, 4), "", bar, extra))
            found.append(Row(f"{what}: {name}: worst", round(float(abs(values - 1).max()), 4)))
        left = {"left out, too many instructions": self.left_out, "seconds, schedule": round(self.exact_seconds, 1)}
        return [*found, Row(f"{what}: seconds, walk", round(self.walk_seconds, 1), "s", "", left)]


Draw = Callable[[Lowered], Iterator[tuple[Chunk, Memory, list[LayerMapping], int]]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two networks, two chunks, no RTL; nothing is written")
    parser.add_argument("--networks", type=int, default=12)
    parser.add_argument("--chunks", type=int, default=6, help="per network")
    parser.add_argument("--rtl", type=int, default=20, help="designs simulated")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    networks, chunks, rtl = (2, 2, 0) if given.quick else (given.networks, given.chunks, given.rtl)
    rng = np.random.default_rng(given.seed)
    generator = torch.Generator().manual_seed(given.seed)
    rows: list[Row] = []
    for what, solved in (("solved mappings", True), ("random mappings", False)):
        errors = Errors([], [], [])
        for network in drawn_networks(rng, networks):
            measure(network, partial(random_points, rng=rng, generator=generator, solved=solved), chunks, errors)
            print(what, network.name, len(errors.walk), min(errors.walk), max(errors.walk), flush=True)
        rows += errors.rows(what, solved)
    errors = Errors([], [], [])
    for network in drawn_networks(rng, max(1, networks // 2)):
        measure(network, optima, len(BOARDS), errors)
    rows += errors.rows("searched optima", True)
    if rtl:
        rows += against_rtl(rng, rtl)
    if not given.quick:
        write("cost_model_error", rows)
    return report(rows)


def drawn_networks(rng: np.random.Generator, count: int) -> Iterator[Network]:
    """Networks of the zoo, each once before any comes again."""
    order = [str(name) for name in rng.permutation(names())]
    for number in range(count):
        size = int(rng.choice(SIZES))
        yield build(order[number % len(order)], Request((size, size, 3), WIDTH, 100)).network


def random_points(
    lowered: Lowered, rng: np.random.Generator, generator: torch.Generator, solved: bool
) -> Iterator[tuple[Chunk, Memory, list[LayerMapping], int]]:
    """Chunks that run the network, each with a memory, mappings and its price."""
    residual = any(layer.residual is not None for layer in lowered.layers)
    while True:
        space = default_space(multipliers=MULTIPLIERS, residual=residual, port_bytes=int(rng.choice([8, 16])))
        chunk = space.chunk(space.sample(1, generator)[0])
        memory = Memory(int(rng.choice([8, 64, 64, 150])), int(rng.choice([1, 1, 2])), int(rng.choice([4, 16, 32])))
        solution = solve_mappings(lowered.layers, [chunk], memory)
        if not bool(solution.feasible.all()):
            continue
        if solved:
            ids = solution.ids[:, 0].tolist()
            mappings = [decode(layer, chunk, i) for layer, i in zip(lowered.layers, ids, strict=True)]
        else:
            mappings = [random_mapping(layer, chunk, rng) for layer in lowered.layers]
        yield chunk, memory, mappings, priced(lowered, chunk, mappings, memory)


def optima(lowered: Lowered) -> Iterator[tuple[Chunk, Memory, list[LayerMapping], int]]:
    """The fastest chunk of each board."""
    for name in BOARDS:
        board = load_board(name)
        of = problem(lowered.layers, board, Fastest())
        found = exact.search(of, Budget(seconds=60))
        chunk = of.space.chunk(found.design)
        solution = solve_mappings(lowered.layers, [chunk], board.memory)
        ids = solution.ids[:, 0].tolist()
        mappings = [decode(layer, chunk, i) for layer, i in zip(lowered.layers, ids, strict=True)]
        yield chunk, board.memory, mappings, priced(lowered, chunk, mappings, board.memory)


def priced(lowered: Lowered, chunk: Chunk, mappings: Sequence[LayerMapping], memory: Memory) -> int:
    """Sum of the layers' prices, and the start of a frame."""
    values = columns([chunk])
    pairs = zip(lowered.layers, mappings, strict=True)
    cycles = [int(price(layer, candidates([mapping]), values, memory).cycles) for layer, mapping in pairs]
    return int(frame_start(values, memory)) + sum(cycles)


def columns(chunks: Sequence[Chunk]) -> dict[str, torch.Tensor]:
    """Parameters of chunks, int64 `(chunks,)` each."""
    return {f.name: torch.tensor([c.integers[f.name] for c in chunks]) for f in fields(Chunk)}


def candidates(mappings: Sequence[LayerMapping]) -> Candidates:
    rows = [
        [int(m.order == "weights") if f.name == "order" else getattr(m, f.name) for f in fields(Candidates)]
        for m in mappings
    ]
    return Candidates.of(torch.tensor(rows))


def measure(network: Network, draw: Draw, count: int, errors: Errors) -> None:
    """Compares so many points of a network; the walk takes them together."""
    lowered = lower(network)
    points: list[Point] = []
    for chunk, memory, mappings, total in draw(lowered):
        fields_of = table(lowered.layers, [candidates([m]) for m in mappings], columns([chunk]), 1, writers(lowered))
        small = int(fields_of[:, PLACE["instructions"]].sum()) <= INSTRUCTIONS
        program = compiled(network, chunk, mappings) if small else None
        if program is None:
            errors.left_out += 1
            continue
        begin = time.perf_counter()
        cycles, interval = schedule(program, memory).cycles, schedule(program, memory, passes=PASSES + 1).interval
        errors.exact_seconds += time.perf_counter() - begin
        points.append(Point(chunk, tuple(mappings), memory, total, cycles, interval))
        if len(points) == count:
            break
    if not points:
        return
    begin = time.perf_counter()
    by_layer = [candidates([p.mappings[number] for p in points]) for number in range(len(lowered.layers))]
    values, memories = columns([p.chunk for p in points]), [p.memory for p in points]
    alone = network_cycles(lowered.layers, by_layer, values, memories, writers(lowered))
    steady = network_cycles(lowered.layers, by_layer, values, memories, writers(lowered), passes=PASSES)
    errors.walk_seconds += time.perf_counter() - begin
    for point, one, many in zip(points, alone.cycles.tolist(), steady.interval.tolist(), strict=True):
        errors.price.append(point.price / point.cycles)
        errors.walk.append(one / point.cycles)
        errors.steady.append(many / point.interval)


def compiled(network: Network, chunk: Chunk, mappings: Sequence[LayerMapping]) -> Program | None:
    """None where the compiler refuses, which it does where a Program is too long to address."""
    try:
        return compile_design(network, blank_weights(network), Accelerator((chunk,)), Mapping(tuple(mappings)))
    except UserError:
        return None


def against_rtl(rng: np.random.Generator, count: int) -> list[Row]:
    """Cycles of schedule and RTL on random designs on one to three chunks, memories of fixed timing."""
    drawer = Drawer(rng)
    different = compared = failed = 0
    for chunks in (1, 3):
        accelerator = random_accelerator(rng, chunks, 64)
        drawn = [drawer.draw_passes(accelerator, 20_000, 20_000) for _ in range(-(-count // 2))]
        folder = Path(tempfile.mkdtemp(prefix="cost-model-"))
        try:
            result = verify_many([draw.case for draw in drawn], folder / "many", modes=("fixed",))
        finally:
            shutil.rmtree(folder)
        for run in result.runs:
            compared += 1
            failed += not run.ok
            different += abs((run.cycles_model or 0) - (run.cycles_rtl or 0))
    return [
        Row("designs in RTL", compared),
        Row("cycles different, schedule and RTL", different, "cycle", "== 0"),
        Row("runs that failed in any way", failed, "", "== 0"),
    ]


if __name__ == "__main__":
    sys.exit(main())
