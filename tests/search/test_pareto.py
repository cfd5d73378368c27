"""Pareto sets against brute force, the archive against the whole, hypervolumes by hand and by sampling."""

import time

import pytest
import torch

from dna.accelerator.board import load_board
from dna.cost.resources import Resources
from dna.errors import UserError
from dna.report.pareto import pareto_chart, pareto_table, people
from dna.search.figures import Costs
from dna.search.pareto import Archive, hypervolume, mask, objectives, parse_objectives


def brute_force(points: torch.Tensor) -> set[tuple[float, ...]]:
    rows = [tuple(row) for row in points.tolist()]
    return {p for p in rows if not any(all(a <= b for a, b in zip(q, p, strict=True)) and q != p for q in rows)}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("grid", [3, 7, 1000])
def test_mask_is_the_definition(count, grid):
    generator = torch.Generator().manual_seed(count * grid)
    points = torch.randint(grid, (300, count), generator=generator).double()
    kept = points[mask(points)]
    assert {tuple(row) for row in kept.tolist()} == brute_force(points)
    assert len({tuple(row) for row in kept.tolist()}) == len(kept)  # equal points once


def test_first_of_equal_points_is_kept():
    points = torch.tensor([[2.0, 2.0], [1.0, 1.0], [1.0, 1.0], [0.0, 3.0]])
    assert mask(points).tolist() == [False, True, False, True]


def test_no_points_infinite_points_and_what_is_refused():
    assert mask(torch.empty(0, 3)).tolist() == []
    assert mask(torch.tensor([[float("inf"), 1.0], [2.0, 1.0]])).tolist() == [False, True]
    assert mask(torch.tensor([[1.0, float("inf")]])).tolist() == [True]
    with pytest.raises(ValueError, match="NaN"):
        mask(torch.tensor([[float("nan"), 1.0]]))
    with pytest.raises(ValueError, match="shape"):
        mask(torch.ones(3))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_hundred_thousand_points_take_seconds(count):
    points = torch.rand(100_000, count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    started = time.perf_counter()
    kept = mask(points)
    assert time.perf_counter() - started < 20
    some = points[~kept][:200]
    front = points[kept]
    assert bool(((front[None] <= some[:, None]).all(dim=2)).any(dim=1).all())


@pytest.mark.parametrize("count", [2, 3, 4])
def test_archive_in_parts_is_the_set_of_all(count):
    generator = torch.Generator().manual_seed(5)
    points = torch.randint(12, (400, count), generator=generator).double()
    feasible = torch.rand(400, generator=generator) < 0.8
    archive = Archive(("a",) * count)
    for start in range(0, 400, 37):
        part = slice(start, start + 37)
        archive.offer(points[part], torch.arange(400)[part, None], feasible[part])
    assert {tuple(row) for row in archive.values.tolist()} == brute_force(points[feasible])
    assert torch.equal(points[archive.designs[:, 0]], archive.values)
    assert archive.offered == 400
    first = archive.sorted()[0][:, 0]
    assert torch.equal(first, first.sort().values)


def test_archive_takes_nothing_infeasible_and_nothing_twice():
    archive = Archive(("a", "b"))
    assert archive.offer(torch.ones(1, 2), torch.zeros(1, 1), torch.zeros(1, dtype=torch.bool)) == 0
    assert archive.offer(torch.ones(2, 2), torch.zeros(2, 1)) == 1
    assert archive.offer(torch.ones(1, 2), torch.zeros(1, 1)) == 0
    assert archive.hypervolume((3.0, 2.0)) == 2.0


def test_hypervolume_by_hand():
    steps = torch.tensor([[1.0, 3.0], [2.0, 1.0], [3.0, 3.0], [9.0, 0.0]])
    assert hypervolume(steps, (4.0, 4.0)) == 1 * 1 + 2 * 3
    corner = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 2.0]])
    assert hypervolume(corner, (2.0, 2.0, 3.0)) == 1 * 1 * 2 + 2 * 2 * 1 - 1
    assert hypervolume(steps, (1.0, 1.0)) == 0
    with pytest.raises(ValueError, match="2 or 3"):
        hypervolume(torch.ones(1, 4), (2.0,) * 4)


@pytest.mark.parametrize("count", [2, 3])
def test_hypervolume_by_sampling(count):
    generator = torch.Generator().manual_seed(2)
    points = torch.rand(40, count, generator=generator, dtype=torch.float64)
    samples = torch.rand(40_000, count, generator=generator, dtype=torch.float64)
    share = (points[None] <= samples[:, None]).all(dim=2).any(dim=1).double().mean()
    assert hypervolume(points, (1.0,) * count) == pytest.approx(float(share), abs=0.01)


def test_objectives_turn_what_should_be_high():
    board = load_board("zc706")
    used = Resources(dsp=torch.tensor([90, 900]), bram36=0, lut=torch.tensor([0, 0]), ff=0)
    cycles = torch.tensor([2_000_000, 1_000_000])
    costs = Costs(cycles, cycles, used, torch.zeros(2))
    values = objectives(("fps", "dsp"), costs, board)
    assert values.tolist() == [[-100.0, 90.0], [-200.0, 900.0]]
    rows = people(("fps", "dsp"), values.tolist())
    assert rows == [(100.0, 90.0), (200.0, 900.0)]
    chart = pareto_chart(("fps", "dsp"), rows, [(50.0, 500.0)])
    assert chart.startswith("<svg") and "frame rate (frames/s)" in chart and chart.count('rx="4"') == 2
    assert pareto_table(("fps", "dsp"), rows, ["small", "large"]).row_count == 2


def test_names_of_objectives_are_checked():
    board = load_board("zc706")
    assert parse_objectives("fps, hardware", board) == ("fps", "hardware")
    for text, message in (("fps", "two or more"), ("fps,fps", "two or more"), ("fps,speed", "pareto is 'speed'")):
        with pytest.raises(UserError, match=message):
            parse_objectives(text, board)
    with pytest.raises(UserError, match="pareto energy: board 'zc706' has no energy"):
        parse_objectives("fps,energy", board)
