"""Which arrays keep up with an interval, for all runs of layers at once."""

import numpy as np
import pytest

from dna.search.partition import COLUMNS, Needs
from dna.search.run_table import NEAR, Runs, RunTable

LAYERS, ARRAYS, BUFFERS = 6, 7, 40
WEIGHTS = np.concatenate([np.eye(len(COLUMNS)), np.ones((1, len(COLUMNS)))])


def table(seed=0, runs=None, dip=0.0):
    """Fewer cycles and more resources for larger buffers; the largest take a part `dip` more than the ones before."""
    draw = np.random.default_rng(seed)
    speed = np.sort(draw.uniform(1, 4, (ARRAYS, BUFFERS)), axis=1)[:, ::-1]
    speed[:, -1] = speed[:, -2] * (1 + dip)
    each = (100 * draw.integers(1, 50, (LAYERS, 1, 1)) * speed).astype(np.int64)
    sums = np.concatenate([np.zeros_like(each[:1]), np.cumsum(each, axis=0)])
    use = np.sort(draw.uniform(0.01, 0.3, (ARRAYS, BUFFERS, len(COLUMNS))), axis=1)
    runs = runs or Runs.all(LAYERS)
    return RunTable(runs, sums, sums, runs.end % 2 == 0, np.stack([use, 1.1 * use]))


def needs(interval, most=0.6, seed=1):
    least = np.random.default_rng(seed).uniform(0, 100, (LAYERS, len(WEIGHTS))) * WEIGHTS.sum(axis=1) / 2
    return Needs.of(WEIGHTS, least / interval, most * WEIGHTS.sum(axis=1))


def by_definition(of, interval, given):
    """(first, end, array): place and use."""
    found = {}
    for run, (first, end) in enumerate(zip(of.runs.first.tolist(), of.runs.end.tolist(), strict=True)):
        for array in range(ARRAYS):
            quick = np.nonzero(of.tail[end, array] - of.head[first, array] <= interval)[0]
            if len(quick):
                used = of.use[int(of.adds[run]), array, quick[0]]
                if not given.wasteful(used[None], first, end)[0]:
                    found[first, end, array] = (int(quick[0]), used.tolist())
    return found


def found_by(of, interval, given, among=None):
    runs, arrays, places, used = of.smallest(interval, given, among)
    keys = zip(of.runs.first[runs].tolist(), of.runs.end[runs].tolist(), arrays.tolist(), strict=True)
    return dict(zip(keys, zip(places.tolist(), used.tolist(), strict=True), strict=True))


@pytest.mark.parametrize("dip", [0.0, 0.02])
@pytest.mark.parametrize("interval", [9_000, 16_000, 30_000])
def test_smallest_buffers_that_keep_up(interval, dip):
    given = needs(interval)
    expected = by_definition(table(dip=dip), interval, given)
    assert expected and found_by(table(dip=dip), interval, given) == expected


def test_what_an_interval_ruled_out_is_ruled_out_for_shorter_ones_only():
    one = table()
    for interval, most in ((30_000, 0.6), (20_000, 0.6), (16_000, 0.5), (24_000, 0.6), (17_000, 0.9), (40_000, 0.6)):
        given = needs(interval, most)
        assert found_by(one, interval, given) == by_definition(one, interval, given), interval


def test_some_runs_alone():
    one, interval = table(), 20_000
    given = needs(interval)
    among = {(0, 2), (1, 4), (9, 12)}
    expected = {key: value for key, value in by_definition(one, interval, given).items() if key[:2] in among}
    assert expected and found_by(one, interval, given, among) == expected
    assert found_by(one, interval, given) == by_definition(one, interval, given), "no other run is forgotten"


def test_a_buffer_less_than_the_largest_may_be_the_quickest():
    one = table(dip=(NEAR - 1) / 2)
    quickest = one.tail[1, :, -2] - one.head[0, :, -2]
    interval = int(quickest.max())
    assert (one.tail[1, :, -1] - one.head[0, :, -1]).max() > interval
    assert {key[2] for key in found_by(one, interval, needs(interval, 9.0)) if key[:2] == (0, 1)} == set(range(ARRAYS))


def test_runs():
    assert len(Runs.all(4)) == 10
    given = Runs.of([(0, 2), (1, 2)])
    assert given.first.tolist() == [0, 1] and given.end.tolist() == [2, 2]
    assert given.among({(1, 2), (3, 4)}).tolist() == [1]
    assert len(Runs.of([])) == 0
