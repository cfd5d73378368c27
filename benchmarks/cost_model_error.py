"""How far the batched cost models are from the exact schedule, and both from the RTL.

    python -m benchmarks.cost_model_error [--quick] [--layers 130] [--random 50] [--networks 12] [--optima 2]
                                          [--pipelines 20] [--rtl 6] [--seed 0]

Random points, each with a memory of its own: single layers of the zoo's networks, and whole networks of the zoo, on
uniformly drawn chunks of the default space of a board-sized target, half of them with the solver's mappings, half with
random legal ones; random small networks on random chunks of any burst and depth, mappings with resident weights among
them. Optima: what the exact search finds on two boards. Several chunks: random networks on random pipelines of two and
three chunks, tensors in memory; the walk takes each chunk as if it had no others.

Each point is compiled and scheduled exactly over three passes; the sum of prices is compared with the end of the first,
the walk over tiles with that and with the cycles between the ends of the last two. Networks of the zoo are at half
width on small images. Points of more than INSTRUCTIONS instructions are left out, for compiling them takes minutes;
their number is reported.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import Row, report, write
from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk, Memory
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile.compiler import compile as compile_design
from dna.compile.default_mapping import random_chunk, random_mapping, resident
from dna.compile.lowering import Lowered, lower
from dna.cost.cycles import frame_start, price
from dna.cost.schedule import schedule
from dna.cost.walk import groups_cycles
from dna.cost.walk_fields import PLACE, table
from dna.cost.walk_groups import Group, candidates, columns, design_groups
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.network.random import RandomLimits, random_network
from dna.network.zoo import Request, build, names
from dna.search import exact
from dna.search.accelerator import problem
from dna.search.goal import Fastest
from dna.search.mapping_space import decode, solve_mappings
from dna.search.problem import Budget
from dna.search.refine import blank_weights
from dna.search.space import default_space
from dna.verify import verify_many
from dna.verify.random_accelerators import random_accelerator, random_pipeline
from dna.verify.random_designs import Draw, Drawer

SIZES = (32, 48, 64)
"""Height and width of images."""
WIDTH = 0.5
MULTIPLIERS = 900
INSTRUCTIONS = 5_000
PASSES = 3
BOARDS = ("zc706", "ultra96")
SEARCH_SECONDS = 15
SMALL = RandomLimits(layers=4, macs=600_000, size=32, channels=100)
"""Random networks."""
CLOSE = 0.02


@dataclass(frozen=True)
class Point:
    """A design, and what it takes by the price and, exactly, by the schedule."""

    name: str
    groups: tuple[Group, ...]
    """Of each chunk."""
    frames: int
    first: int
    """End of the first pass."""
    interval: int
    """Cycles between the ends of the last two passes."""
    price: int | None = None


@dataclass
class Points:
    """Points of one kind."""

    what: str
    points: list[Point] = field(default_factory=list)
    left_out: int = 0
    seconds: float = 0.0
    """Of the schedule."""

    def add(
        self, name: str, network: Network, accelerator: Accelerator, mapping: Mapping, memory: Memory, priced: bool
    ) -> None:
        """Compile and schedule a design, unless it is too long or the compiler refuses it."""
        lowered = lower(network)
        try:
            groups = design_groups(lowered, accelerator, mapping, memory)
            small = sum(instructions(group, mapping.frames) for group in groups) <= INSTRUCTIONS
            program = compile_design(network, blank_weights(network), accelerator, mapping) if small else None
        except UserError:
            program = None
        if program is None:
            self.left_out += 1
            return
        begin = time.perf_counter()
        known = schedule(program, memory, passes=PASSES)
        self.seconds += time.perf_counter() - begin
        total = price_of(lowered, accelerator.chunks[0], mapping.layers, memory) if priced else None
        self.points.append(Point(name, tuple(groups), mapping.frames, known.pass_ends[0], known.interval, total))

    def rows(self, bar: str = ">= 0.95", alone: bool = True) -> list[Row]:
        """What was found. `bar`: of the share within 2 %. `alone`: whether the first pass is compared as well."""
        begin = time.perf_counter()
        walked = self._walk()
        seconds = time.perf_counter() - begin
        found: list[tuple[str, list[float], str]] = []
        if any(point.price for point in self.points):
            found.append(("price, first pass", [(point.price or 0) / point.first for point in self.points], ""))
        pairs = list(zip(walked, self.points, strict=True))
        if alone:
            found.append(("walk, first pass", [first / point.first for (first, _), point in pairs], bar))
        found.append(("walk, steady state", [interval / point.interval for (_, interval), point in pairs], bar))
        rows = [row for name, ratios, claimed in found for row in self._ratio_rows(name, ratios, claimed)]
        left = {"left out": self.left_out, "seconds, schedule": round(self.seconds, 1)}
        return [*rows, Row(f"{self.what}: seconds, walk", round(seconds, 1), "s", "", left)]

    def _walk(self) -> list[tuple[int, int]]:
        """The end of the first pass and the cycles between those of the last two, each of the slowest chunk."""
        result = [(0, 0)] * len(self.points)
        for frames in sorted({point.frames for point in self.points}):
            chosen = [number for number, point in enumerate(self.points) if point.frames == frames]
            owners = [number for number in chosen for _ in self.points[number].groups]
            groups = [group for number in chosen for group in self.points[number].groups]
            walked = groups_cycles(groups, frames=frames, passes=PASSES)
            for number, first, interval in zip(owners, walked.ends[0].tolist(), walked.interval.tolist(), strict=True):
                result[number] = max(result[number][0], first), max(result[number][1], interval)
        return result

    def _ratio_rows(self, name: str, ratios: Sequence[float], bar: str) -> list[Row]:
        values = np.array(ratios)
        far = int(abs(values - 1).argmax())
        share = float((abs(values - 1) <= CLOSE).mean())
        extra = {
            "points": len(values),
            "median": round(float(np.median(values)), 4),
            "equal": round(float((values == 1).mean()), 4),
            "above the schedule": int((values > 1).sum()),
        }
        title = f"{self.what}: {name}"
        return [
            Row(f"{title}: within 2 %", round(share, 4), "", bar, extra),
            Row(f"{title}: highest ratio", round(float(values.max()), 6), "", "<= 1" if bar else ""),
            Row(f"{title}: lowest ratio", round(float(values.min()), 4)),
            Row(f"{title}: worst error", round(float(abs(values - 1)[far]), 4), "", "", {"at": self.points[far].name}),
        ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few points, no RTL; nothing is written")
    parser.add_argument("--layers", type=int, default=130, help="single layers")
    parser.add_argument("--random", type=int, default=50, help="random small networks")
    parser.add_argument("--networks", type=int, default=12, help="networks of the zoo, solved and random mappings each")
    parser.add_argument("--optima", type=int, default=2, help="networks searched, for each board")
    parser.add_argument("--pipelines", type=int, default=20, help="designs on several chunks")
    parser.add_argument("--rtl", type=int, default=6, help="designs simulated")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.quick:
        given.layers, given.random, given.networks, given.optima, given.pipelines, given.rtl = 8, 6, 2, 0, 4, 0
    rng = np.random.default_rng(given.seed)
    generator = torch.Generator().manual_seed(given.seed)
    kinds = (
        (single_layers(rng, generator, given.layers), ">= 0.95", True),
        (zoo_networks(rng, generator, given.networks, True), ">= 0.95", True),
        (zoo_networks(rng, generator, given.networks, False), ">= 0.95", True),
        (random_networks(rng, given.random), ">= 0.95", True),
        (optima(rng, given.optima), ">= 0.95", True),
        (pipelines(rng, given.pipelines), "", False),
    )
    rows: list[Row] = []
    for points, bar, alone in kinds:
        if points.points:
            print(f"{points.what}: {len(points.points)} points", flush=True)
            rows += points.rows(bar, alone)
    rows += [Row("random points on one chunk", sum(len(points.points) for points, _, _ in kinds[:4]))]
    if given.rtl:
        rows += against_rtl(rng, given.rtl)
    if not given.quick:
        write("cost_model_error", rows)
    return report(rows)


def drawn_networks(rng: np.random.Generator) -> Iterator[Network]:
    """Networks of the zoo, each once before any comes again."""
    order = [str(name) for name in rng.permutation(names())]
    while True:
        for name in order:
            size = int(rng.choice(SIZES))
            yield build(name, Request((size, size, 3), WIDTH, 100)).network


def drawn_memory(rng: np.random.Generator) -> Memory:
    return Memory(int(rng.choice([8, 64, 64, 150])), int(rng.choice([1, 1, 2])), int(rng.choice([4, 16, 32])))


def drawn_design(
    lowered: Lowered, rng: np.random.Generator, generator: torch.Generator, solved: bool
) -> tuple[Chunk, Memory, list[LayerMapping]]:
    """A chunk of the default space that runs the network, with a memory and mappings."""
    adds = any(layer.residual is not None for layer in lowered.layers)
    while True:
        space = default_space(multipliers=MULTIPLIERS, residual=adds, port_bytes=int(rng.choice([8, 16])))
        chunk, memory = space.chunk(space.sample(1, generator)[0]), drawn_memory(rng)
        solution = solve_mappings(lowered.layers, [chunk], memory)
        if not bool(solution.feasible.all()):
            continue
        if not solved:
            return chunk, memory, [random_mapping(layer, chunk, rng) for layer in lowered.layers]
        ids = solution.ids[:, 0].tolist()
        return chunk, memory, [decode(layer, chunk, i) for layer, i in zip(lowered.layers, ids, strict=True)]


def single_layers(rng: np.random.Generator, generator: torch.Generator, count: int) -> Points:
    """Layers of the zoo's networks alone, half of them with solved mappings."""
    found = Points("single layers")
    for network in drawn_networks(rng):
        if len(found.points) >= count:
            return found
        layers = lower(network).layers
        for number in rng.choice(len(layers), 3, replace=False):
            solved = len(found.points) % 2 == 0
            one = Network("layer", (alone(layers[number]),))
            chunk, memory, mappings = drawn_design(lower(one), rng, generator, solved)
            name = f"{network.name} {layers[number].name}, {'solved' if solved else 'random'} mapping"
            found.add(name, one, Accelerator((chunk,)), Mapping(tuple(mappings)), memory, True)
    return found


def alone(layer: Layer) -> Layer:
    """The layer as a network of its own: it reads the input, and adds it where that has the output's shape."""
    shape_in = layer.in_channels, layer.in_height, layer.in_width
    fits = shape_in == (layer.out_channels, layer.out_height, layer.out_width)
    adds = "input" if layer.residual is not None and fits else None
    return replace(layer, input="input", residual=adds, residual_signed=layer.in_signed)


def zoo_networks(rng: np.random.Generator, generator: torch.Generator, count: int, solved: bool) -> Points:
    """Whole networks of the zoo on single chunks."""
    kind = "solved" if solved else "random"
    found = Points(f"zoo networks, {kind} mappings")
    for network in drawn_networks(rng):
        if len(found.points) >= count:
            return found
        chunk, memory, mappings = drawn_design(lower(network), rng, generator, solved)
        found.add(network.name, network, Accelerator((chunk,)), Mapping(tuple(mappings)), memory, True)
    return found


def random_networks(rng: np.random.Generator, count: int) -> Points:
    """Small networks on chunks of any kind, one frame per pass or two, weights resident half of the time."""
    found = Points("random networks")
    while len(found.points) < count:
        network, chunk = random_network(rng, SMALL), random_chunk(rng)
        kept, frames = rng.random() < 0.5, int(rng.choice([1, 1, 2]))
        try:
            mappings = [random_mapping(layer, chunk, rng) for layer in lower(network).layers]
        except UserError:
            continue
        if kept:
            mappings = [resident(layer, chunk, m) for layer, m in zip(lower(network).layers, mappings, strict=True)]
        name = f"random {len(found.points)}, {'resident, ' if kept else ''}{frames} frames"
        found.add(
            name, network, Accelerator((chunk,)), Mapping(tuple(mappings), frames=frames), drawn_memory(rng), False
        )
    return found


def optima(rng: np.random.Generator, count: int) -> Points:
    """The fastest chunk of each board for networks of the zoo."""
    found = Points("searched optima")
    for network, _ in zip(drawn_networks(rng), range(count), strict=False):
        lowered = lower(network)
        for name in BOARDS:
            board = load_board(name)
            of = problem(lowered.layers, board, Fastest())
            chunk = of.space.chunk(exact.search(of, Budget(seconds=SEARCH_SECONDS)).design)
            ids = solve_mappings(lowered.layers, [chunk], board.memory).ids[:, 0].tolist()
            mappings = tuple(decode(layer, chunk, i) for layer, i in zip(lowered.layers, ids, strict=True))
            found.add(
                f"{network.name} on {name}", network, Accelerator((chunk,)), Mapping(mappings), board.memory, True
            )
    return found


def pipelines(rng: np.random.Generator, count: int) -> Points:
    """Random networks on two or three chunks, tensors in memory, two or four frames per pass."""
    found = Points("several chunks")
    while len(found.points) < count:
        network, accelerator = random_network(rng, SMALL), random_accelerator(rng, int(rng.choice([2, 3])))
        frames = int(rng.choice([2, 4]))
        try:
            mapping = random_pipeline(network, accelerator, rng, frames)
        except UserError:
            continue
        mapping = replace(mapping, batches=(), on_chip=frozenset())
        name = f"random {len(found.points)}, {len(accelerator.chunks)} chunks, {frames} frames"
        found.add(name, network, accelerator, mapping, drawn_memory(rng), False)
    return found


def instructions(group: Group, frames: int) -> int:
    """About how many instructions the group's Program has."""
    known = table(group.layers, group.mappings, group.values, frames, group.written, group.places, group.resident)
    return int(known[:, PLACE["instructions"]].sum())


def price_of(lowered: Lowered, chunk: Chunk, mappings: Sequence[LayerMapping], memory: Memory) -> int:
    """Sum of the layers' prices, and the start of a frame."""
    values = columns([chunk])
    pairs = zip(lowered.layers, mappings, strict=True)
    cycles = [int(price(layer, candidates([mapping]), values, memory).cycles) for layer, mapping in pairs]
    return int(frame_start(values, memory)) + sum(cycles)


def against_rtl(rng: np.random.Generator, count: int) -> list[Row]:
    """Cycles of schedule and RTL on random designs on one and on three chunks, memories of fixed timing; of the walk
    and the RTL on those with one chunk, which have one frame and the same memory behind all ports."""
    drawer = Drawer(rng)
    half = -(-count // 2)
    one, three = random_accelerator(rng, 1, 64), random_accelerator(rng, 3, 64)
    single = [drawer.draw(one.chunks[0]) for _ in range(half)]
    several = [drawer.draw_passes(three, 20_000, 20_000) for _ in range(half)]
    different = failed = 0
    ratios: list[float] = []
    for drawn in (single, several):
        for draw, (model, rtl, fine) in zip(drawn, simulated(drawn), strict=True):
            failed += not fine
            different += abs(model - rtl)
            if drawn is single and rtl:
                ratios += [walked / rtl for walked in walked_alone(draw)]
    rows = [
        Row("designs in RTL", 2 * half),
        Row("cycles different, schedule and RTL", different, "cycle", "== 0"),
        Row("runs that failed in any way", failed, "", "== 0"),
    ]
    if ratios:
        extra = {"points": len(ratios), "lowest ratio": round(min(ratios), 4)}
        rows.append(Row("walk against RTL: highest ratio", round(max(ratios), 6), "", "<= 1", extra))
    return rows


def simulated(drawn: Sequence[Draw]) -> list[tuple[int, int, bool]]:
    """Of each design the cycles of schedule and RTL, and whether all was as it should be."""
    folder = Path(tempfile.mkdtemp(prefix="cost-model-"))
    try:
        result = verify_many([draw.case for draw in drawn], folder / "many", modes=("fixed",))
    finally:
        shutil.rmtree(folder)
    return [(run.cycles_model or 0, run.cycles_rtl or 0, run.ok) for run in result.runs]


def walked_alone(draw: Draw) -> list[int]:
    """The walk's cycles of a design on one chunk; none if there is something in it that the walk does not know."""
    try:
        groups = design_groups(lower(draw.network), draw.accelerator, draw.mapping, draw.case.memory)
        return [int(groups_cycles(groups).cycles)]
    except UserError:
        return []


if __name__ == "__main__":
    sys.exit(main())
