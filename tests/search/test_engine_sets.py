"""The proven optimum over sets of engines, against enumeration and against the published partitions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch

from dna.accelerator.chunk import Chunk
from dna.compile.default_mapping import default_layer_mapping
from dna.errors import UserError
from dna.network.layer import Layer
from dna.search import counterfactual
from dna.search.engine_problem import PartitionProblem, own_problem, published_problem
from dna.search.engine_sets import Engines, floor, own_cycles, own_engines, published_engines, solve
from dna.search.problem import Budget
from dna.search.published import ALEXNET_HALF, HALVES, JOINED, Convolution, best_partition

COPIES = (HALVES,) * len(ALEXNET_HALF)
Space = Callable[[Sequence[Convolution], Sequence[int], int], Engines]


def partitions(items: Sequence[int]) -> Iterator[list[list[int]]]:
    """All ways to put items into sets."""
    if not items:
        yield []
        return
    for rest in partitions(items[1:]):
        yield [[items[0]], *rest]
        for index, group in enumerate(rest):
            yield [*rest[:index], [items[0], *group], *rest[index + 1 :]]


def load_cycles(engines: Engines, engine: int, load: Sequence[int], kinds: Sequence[int]) -> int:
    """Cycles of an engine with these layers, by kind, of all there are."""
    taken = 0
    for kind in set(load):
        count = load.count(kind)
        every = count == kinds.count(kind)
        taken += int(engines.whole[engine, kind]) if every else count * int(engines.cycles[engine, kind])
    return taken


def enumerated(engines: Engines, kinds: list[int], most: int, most_engines: int) -> int | None:
    """Least interval by trying every set of engines for every partition of the items."""
    best = None
    for groups in partitions(list(range(len(kinds)))):
        if len(groups) > most_engines:
            continue
        for chosen in itertools.product(range(len(engines.sizes)), repeat=len(groups)):
            if sum(int(engines.multipliers[e]) for e in chosen) > most:
                continue
            cycles = [
                load_cycles(engines, e, [kinds[i] for i in g], kinds) for e, g in zip(chosen, groups, strict=True)
            ]
            best = min(max(cycles), best or max(cycles))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_the_solver_is_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    copies = tuple(int(n) for n in rng.integers(1, 3, size=int(rng.integers(1, 4))))
    kinds = [kind for kind, count in enumerate(copies) for _ in range(count)]
    one = rng.integers(1, 40, size=(5, len(copies)))
    whole = one * np.array(copies) - rng.integers(0, one)
    engines = Engines(rng.integers(1, 5, size=(5, 2)), one, whole)
    most, most_engines = int(engines.multipliers.min()) + int(rng.integers(0, 16)), int(rng.integers(1, len(kinds) + 1))
    found = solve(engines, copies, most, most_engines)
    assert found.interval == enumerated(engines, kinds, most, most_engines)
    assert found.multipliers <= most and len(found.engines) <= most_engines
    assert tuple(sum(used.load[k] for used in found.engines) for k in range(len(copies))) == copies
    assert max(used.cycles for used in found.engines) == found.interval


@pytest.mark.parametrize("most", [448, 576])
@pytest.mark.parametrize("space", [published_engines, own_engines])
def test_no_published_partition_is_better(most: int, space: Space) -> None:
    engines = space(ALEXNET_HALF, COPIES, most)
    found = solve(engines, COPIES, most)
    assert floor(ALEXNET_HALF, COPIES, most) <= found.interval <= best_partition(most).interval
    for used in found.engines:
        row = int(np.flatnonzero((engines.sizes == used.sizes).all(axis=1))[0])
        assert used.cycles == int(engines.cycles[row] @ np.array(used.load))


def test_one_engine_is_that_of_the_paper() -> None:
    """The published single engines are the optimum for one engine: the solver finds the same sizes."""
    for most, sizes, cycles in ((448, (64, 7), 2_005_892), (576, (64, 9), 1_768_724)):
        (used,) = solve(published_engines(ALEXNET_HALF, COPIES, most), COPIES, most, most_engines=1).engines
        assert (used.sizes, used.cycles) == (sizes, cycles)


@pytest.mark.parametrize("space", [published_engines, own_engines])
def test_halves_with_the_same_inputs_go_as_one_layer(space: Space) -> None:
    """48 + 48 outputs take four turns of 32 as halves, three as one layer; never more, and nothing else changes."""
    halved = space(ALEXNET_HALF, COPIES, 128)
    joined = (published_engines if space is published_engines else own_engines)(ALEXNET_HALF, COPIES, 128, JOINED)
    assert np.array_equal(halved.whole, HALVES * halved.cycles)
    assert np.array_equal(joined.whole[:, [1, 3, 4]], halved.whole[:, [1, 3, 4]])
    assert (joined.whole <= halved.whole).all()
    row = int(np.flatnonzero((joined.sizes[:, :2] == (32, 1)).all(axis=1))[0])
    assert 4 * joined.whole[row, 0] == 3 * halved.whole[row, 0]


def test_refused() -> None:
    with pytest.raises(UserError, match="no engine has at most 8 multipliers"):
        solve(own_engines(ALEXNET_HALF, COPIES, 16), COPIES, 8)


@pytest.mark.parametrize(("oc", "ic", "px"), [(16, 1, 14), (8, 16, 1), (48, 1, 5), (2, 16, 3), (32, 4, 3)])
def test_own_cycles_are_reached_by_a_mapping(oc: int, ic: int, px: int) -> None:
    """The array cycles of the compiler's own mapping on a chunk with room for whole maps are never fewer."""
    chunk = Chunk(oc, ic, px, post_lanes=min(16, oc), input_words=8192, weight_words=8192, output_words=8192)
    kind = Convolution("conv", 48, 32, 13, 13, 3)
    layer = Layer("conv", "conv", "input", 48, 13, 13, 32, (3, 3), padding=(1, 1, 1, 1))
    mapping = default_layer_mapping(layer, chunk)
    tiles = -(-13 // mapping.tile_rows) * -(-13 // mapping.tile_cols) * -(-32 // mapping.out_channels)
    groups = -(-mapping.out_channels // oc)
    taken = tiles * groups * mapping.lane_rows * mapping.lane_cols * 9 * -(-48 // ic)
    assert kind.macs / chunk.multipliers <= own_cycles(kind, oc, ic, px) <= taken


@pytest.mark.parametrize("make", [published_problem, own_problem])
def test_searchers_price_what_the_solver_proves(
    make: Callable[[Sequence[Convolution], int, int], PartitionProblem],
) -> None:
    """A searcher's best is legal, priced alike, and never below the optimum."""
    layers, most = (ALEXNET_HALF[2], ALEXNET_HALF[3], ALEXNET_HALF[4]), 96
    space = published_engines if make is published_problem else own_engines
    optimum = solve(space(layers, (1, 1, 1), most), (1, 1, 1), most).interval
    problem = make(layers, 3, most)
    found = counterfactual.search(problem, Budget(evaluations=6000), seed=0)
    assert found.feasible and optimum <= found.cost <= 1.25 * optimum
    assert bool(problem.space.legal(found.design[None]).all())
    sizes, homes = problem.space.values(found.design[None])[0], found.design[-3:]
    engines = space(layers, (1, 1, 1), most)
    cycles = torch.zeros(3)
    for layer, home in enumerate(homes.tolist()):
        row = int(np.flatnonzero((engines.sizes == sizes[home].numpy()).all(axis=1))[0])
        cycles[home] += int(engines.cycles[row, layer])
    assert float(cycles.max()) == found.cost
    used = set(homes.tolist())
    assert sum(int(sizes[home].prod()) for home in used) == round(found.ratios["multipliers"] * most)


def test_samples_are_legal_and_reproducible() -> None:
    space = own_problem(ALEXNET_HALF[:2], 2, 64).space
    rows = space.sample(100, torch.Generator().manual_seed(3))
    assert rows.shape == (100, 2 * 3 + 2) and bool(space.legal(rows).all())
    assert torch.equal(rows, space.sample(100, torch.Generator().manual_seed(3)))
    assert all(int(rows[:, axis].max()) < width for axis, width in enumerate(space.widths))
