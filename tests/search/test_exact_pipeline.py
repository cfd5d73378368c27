"""The exact search over pipelines: against all covers of small spaces, against prices, and by the exact schedule."""

from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
import pytest

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk
from dna.compile.lowering import lower
from dna.cost.resources import accelerator_resources
from dna.errors import UserError
from dna.network.network import Network
from dna.network.zoo import build
from dna.search.exact_pipeline import Proposals, folds, propose, search
from dna.search.goal import Fastest, Goal, LeastHardware
from dna.search.mapping_space import UNMAPPED, shape_of
from dna.search.menu_prices import ROUTABLE, Limits, Prices
from dna.search.partition import undominated
from dna.search.pipeline import pipeline_problem
from dna.search.pipeline_space import pipeline_space
from dna.search.point import Point
from dna.search.problem import Budget
from dna.search.realise import realise, settled
from dna.search.space import default_space
from dna.search.stage_kinds import Choices, Mixed, Part
from dna.search.stage_points import varied
from dna.search.stage_prices import Key, chunk_prices
from dna.search.stage_search import StageSpace, solve
from dna.search.stages import Mode, StageTables, dsp_menu, lut_menu

BOARD = load_board("zc706")


@dataclass
class Listed:
    """A kind of stage that is a list of entries: cycles of each layer `(E, n)`, and what each uses `(E, 5)`."""

    cycles_of: np.ndarray
    used: np.ndarray

    def choices(self, interval, needs, among=None):
        parts = []
        for first, end in combinations(range(self.cycles_of.shape[1] + 1), 2):
            if among is None or (first, end) in among:
                fits = np.nonzero(self.cycles_of[:, first:end].sum(axis=1) <= interval)[0]
                parts.append(Choices(fits * 0 + first, fits * 0 + end, self.used[fits], fits[:, None]))
        return Choices.joined(parts, 1)

    def least(self, layer, weights):
        return ((self.used @ weights.T) * self.cycles_of[:, layer, None]).min(axis=0)

    def part(self, first, end, payload):
        return Part((Chunk(),), (0.001,), (tuple(range(first, end)),))

    def cycles(self, first, end, payload):
        return float(self.cycles_of[payload[0], first:end].sum())

    def quicker(self, first, end, payload, words):
        return None


def listed_space(seed, layers=5, entries=4, chunks=3):
    rng = np.random.default_rng(seed)
    kinds = []
    for _ in range(2):
        used = np.concatenate([rng.uniform(0.1, 0.8, (entries, 4)), np.full((entries, 1), 1 / chunks)], axis=1)
        kinds.append(Listed(rng.integers(10, 100, (entries, layers)), used))
    return StageSpace(layers, 1, 1.0, chunks, 0.0, tuple(kinds))


def enumerated(space, chunks):
    """The least interval of all covers."""
    best = float("inf")
    entries = [(kind, e) for kind in space.kinds for e in range(len(kind.used))]
    for number in range(1, chunks + 1):
        for cuts in combinations(range(1, space.count), number - 1):
            borders = [0, *cuts, space.count]
            for chosen in product(entries, repeat=number):
                if (sum(kind.used[e] for kind, e in chosen) <= 1 + 1e-9).all():
                    runs = zip(chosen, borders, borders[1:], strict=False)
                    best = min(best, max(kind.cycles(first, end, (e,)) for (kind, e), first, end in runs))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_optimum_of_a_small_space_is_that_of_all_covers(seed):
    space, expected = listed_space(seed), enumerated(listed_space(seed), 3)
    found = solve(space, Budget(), fine=1.0)
    if expected == float("inf"):
        assert not found.ranked
    else:
        assert found.ranked[0][0] == expected and found.low == expected


def test_bound_is_below_every_cover():
    for seed in range(12):
        space = listed_space(seed)
        assert space.bound <= enumerated(space, 3) * (1 + 1e-9)


def test_undominated_against_all_pairs():
    rows = np.random.default_rng(0).integers(0, 4, (200, 3)).astype(float)
    kept, whole = undominated(rows, rows.sum(axis=1), 1000)
    assert whole
    unique = np.unique(rows, axis=0)
    best = [row for row in unique if not any((other <= row).all() and (other < row).any() for other in unique)]
    assert sorted(map(tuple, rows[kept])) == sorted(map(tuple, best))
    assert not undominated(rows + rows.max(axis=1, keepdims=True) * [[1, -1, 0]], rows.sum(axis=1), 1)[1]


@pytest.mark.parametrize(
    "mode",
    [Mode(2, 4), Mode(1, 1), Mode(3, 2, chip_in=True, chip_out=True), Mode(4, 1, True, True, banded=4096)],
)
def test_tables_say_what_the_closed_form_says(mode):
    """Every layer kind, on some arrays and buffers: the best of all mappings that are tried."""
    layers = lower(build("mobilenet_v2").network).layers
    menu = dsp_menu(layers, 128, levels=((512, 2048), (256, 2048), (64, 512), (512, 1024)))
    tables = StageTables(menu, BOARD.memory, (mode,))
    rng = np.random.default_rng(1)
    for number in (0, 19, 20, 52, 53):
        table = tables.get(layers[number], mode)
        if mode.banded and not layers[number].per_channel:
            continue
        for array, place in zip(rng.integers(0, menu.shape[0], 4), rng.integers(0, menu.shape[1], 4), strict=True):
            chunk = menu.entry(int(array), int(place), True)
            key = Key(shape_of(layers[number]), mode.share, mode.frames, mode.chip_in, mode.chip_out, mode.banded, True)
            _, cycles, _ = chunk_prices(key, chunk, BOARD.memory)
            best = min(float(cycles.min()), UNMAPPED)
            # The tables leave out small tiles, which are hardly ever better; in bands they do not.
            assert best <= table[array, place]
            if mode.fine:
                assert table[array, place] == best


def test_menus_hold_the_arrays_that_people_chose():
    layers = lower(build("vgg16").network).layers
    shapes = {(c.oc, c.ic, c.px) for c in dsp_menu(layers, BOARD.dsp).arrays}
    assert {(32, 4, 14), (16, 4, 8), (16, 8, 8), (16, 1, 8)} <= shapes
    assert all(c.packed and c.oc * c.ic * c.px // 2 <= BOARD.dsp for c in dsp_menu(layers, BOARD.dsp).arrays)
    small = lut_menu(layers)
    assert all(c.mac_in_lut and c.multipliers <= 64 for c in small.arrays)
    assert (small.used(True)[:, :, 0] == 0).all()


@pytest.fixture(scope="module")
def alexnet() -> tuple[object, Proposals]:
    network = build("alexnet").network
    return network, propose(network, BOARD, Budget(seconds=120), max_chunks=3, frames=2, count=4)


def test_points_fit_the_board(alexnet):
    _, found = alexnet
    for point in found.points:
        used = accelerator_resources(Accelerator(point.chunks))
        assert used["dsp"] <= BOARD.dsp and used["bram36"] <= BOARD.bram36 and used["lut"] <= ROUTABLE * BOARD.lut
        assert sum(16 * c.ports / s for c, s in zip(point.chunks, point.shares, strict=True)) <= BOARD.carried


def test_points_are_ranked_and_bounded(alexnet):
    _, found = alexnet
    assert found.intervals == sorted(found.intervals)
    assert found.lower_bound_cycles <= found.intervals[0] <= 1.01 * found.lower_bound_cycles
    assert len({(p.chunks, p.assignment, p.shares) for p in found.points}) == len(found.points)


def test_best_point_keeps_its_word_in_the_exact_schedule(alexnet):
    network, found = alexnet
    measured = settled(network, realise(network, found.points[0], BOARD, choices=2), BOARD)
    assert 0.98 * found.intervals[0] <= measured.cycles <= 1.1 * found.intervals[0]


def test_a_board_that_is_too_small_is_refused():
    tiny = replace(BOARD, dsp=16, bram36=3)
    with pytest.raises(UserError, match="exact: no array of DSPs"):
        propose(build("alexnet").network, tiny, Budget(seconds=20), max_chunks=1, frames=1)


def test_a_search_cut_short_says_a_bound_that_holds(alexnet):
    network, found = alexnet
    try:
        short = propose(network, BOARD, Budget(seconds=1e-3), max_chunks=3, frames=2)
    except UserError:
        return
    assert short.lower_bound_cycles <= found.intervals[0]


def test_prices_of_a_run_are_sums():
    layers = lower(build("alexnet").network).layers
    limits = Limits.of(BOARD, 2)
    prices = Prices.of(layers, lut_menu(layers), BOARD, limits, 1)
    mixed = Mixed(prices)
    each = [prices.cycles(n, Mode(2, 1))[3, 5] for n in range(2)]
    assert mixed.cycles(0, 2, (2, 3, 5)) == sum(each)


@pytest.fixture(scope="module")
def few_layers():
    layers = lower(build("mobilenet_v2").network).layers[4:7]
    fixed = {"packed": 1, "post_in_lut": 1, "post_lanes": 8, "param_words": 256, "ports": 1, "port_bytes": 16}
    space = default_space(multipliers=1800, residual=False, fixed={**fixed, "burst_beats": 64})
    one = {"ic": (2,), "input_words": (1024,), "weight_words": (1024,), "output_words": (1024,)}
    return layers, space.limit(oc=(16, 32), px=(7, 14), **one)


@pytest.mark.parametrize("assignment, goal", [("free", Fastest()), ("contiguous", Goal("latency"))])
def test_what_runs_do_not_cover_is_enumerated(few_layers, assignment, goal):
    layers, chunk = few_layers
    of = pipeline_problem(pipeline_space(layers, chunk, (1, 2), shares=(1, 3), assignment=assignment), BOARD, goal)
    result = search(of, Budget())
    priced = [of.evaluate(designs) for designs in of.space.enumerate(1 << 12)]
    costs = [float(p.cost[p.feasible].min()) for p in priced if p.feasible.any()]
    assert result.feasible and result.cost == result.lower_bound == min(costs)
    short = search(of, Budget(evaluations=1))
    assert short.evaluations == 1 and short.lower_bound is None


def test_least_hardware_is_less_at_lower_rates():
    network = Network("few", build("alexnet").network.layers[:3])
    fast, slow = (propose(network, BOARD, goal=LeastHardware(fps), max_chunks=2) for fps in (60, 15))
    assert slow.lower_bound_hardware < fast.lower_bound_hardware
    assert slow.intervals[0] <= BOARD.cycles_per_second / 15 and fast.intervals[0] <= BOARD.cycles_per_second / 60
    for found in (fast, slow):
        used = accelerator_resources(Accelerator(found.points[0].chunks))
        share = 100 / 3 * sum(used[name] / getattr(BOARD, name) for name in ("dsp", "bram36", "lut"))
        assert found.lower_bound_hardware <= share <= 1.3 * found.lower_bound_hardware


def test_other_goals_are_refused():
    with pytest.raises(UserError, match="does not cover"):
        propose(build("alexnet").network, BOARD, goal=Goal("latency"))


def test_folds_that_pay():
    assert folds(build("mobilenet_v2").network) == [1, 2], "fewer words for more steps"
    assert folds(build("resnet50").network) == [2]
    assert folds(build("vgg16").network) == [1], "a stride of one leaves nothing to fold"
    assert set(folds(build("alexnet").network)) <= {1, 2, 4} and 2 in folds(build("alexnet").network)


def test_points_that_differ_come_first():
    chunk = Chunk(16, 4, 4, 8, 512, 512, 64, 512)
    a, b, c = ((0, 0, 1), (0, 1, 1), (0, 1, 2))
    points = [
        Point((chunk,) * (1 + max(which)), (4,) * (1 + max(which)), which, frames=n)
        for n, which in enumerate((a, a, b, a, c, b), 1)
    ]
    assert [point.frames for point in varied(points, [100, 101, 102, 103, 120, 121])] == [1, 3, 2, 4, 5, 6]
    assert varied([], []) == []
