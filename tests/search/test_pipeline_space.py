"""The whole space: what is sampled is legal, what is enumerated is counted, rows and points are inverse."""

import itertools
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dna.compile.lowering import lower
from dna.errors import UserError
from dna.network.zoo import Request, build
from dna.search.cuts import Cuts, bounds
from dna.search.pipeline_space import BATCHES, FRAMES, PipelineSpace, pipeline_space
from dna.search.space import Space, whole_space

LAYERS = lower(build("resnet18", Request((32, 32, 3))).network).layers
ONE = dict.fromkeys(("input_words", "weight_words", "param_words", "output_words"), (64,))


def tiny(**lists: tuple[int, ...]) -> Space:
    """Five legal chunks of the eight that the lists make, unless more is asked for."""
    given = {name: values[:1] for name, values in zip(whole_space().names, _values(whole_space()), strict=True)}
    few = {"oc": (4, 16), "ic": (1, 4), "post_lanes": (2, 16), "port_bytes": (16,), "burst_beats": (16,), **ONE}
    return whole_space().limit(**{**given, **few, **lists})


def _values(space: Space) -> list[tuple[int, ...]]:
    return [axis.values for axis in space.axes]


@st.composite
def spaces(draw: st.DrawFn) -> PipelineSpace:
    most = draw(st.integers(1, 4))
    chunks = draw(st.sets(st.integers(1, most), min_size=1))
    layers = LAYERS[: draw(st.integers(max(chunks), 8))]
    frames = draw(st.sampled_from([(1,), (1, 2, 4), (6,), (4, 6)]))
    kinds = [("contiguous", "layer"), ("contiguous", "chunk"), ("free", "layer")]
    assignment, batch_per = draw(st.sampled_from(kinds))
    return pipeline_space(
        layers,
        draw(st.sampled_from([tiny(), tiny(px=(1, 3, 4), packed=(0, 1), mac_in_lut=(0, 1)), whole_space()])),
        sorted(chunks),
        shares=draw(st.sampled_from([(1,), (1, 3, 20)])),
        assignment=assignment,
        frames=frames,
        batches=draw(st.sampled_from([(), (1,), (1, 2), (1, 2, 3)])),
        batch_per=batch_per,
        tensors=[layer.name for layer in layers[: draw(st.integers(0, 2))]],
        even=draw(st.booleans()),
    )


@settings(max_examples=60, deadline=None)
@given(spaces(), st.integers(0, 1000))
def test_samples_are_legal_canonical_and_survive_the_way_to_a_point_and_back(space, seed):
    rows = space.sample(20, torch.Generator().manual_seed(seed))
    assert torch.equal(rows, space.sample(20, torch.Generator().manual_seed(seed)))
    assert rows.shape == (20, len(space.widths)) and bool((rows < torch.tensor(space.widths)).all())
    assert bool(space.legal(rows).all()) and torch.equal(space.canonical(rows), rows)
    for row in rows:
        point = space.point(row)
        assert torch.equal(space.row(point), row) and space.point(space.row(point)) == point
        adds = {point.assignment[i] for i, layer in enumerate(space.layers) if layer.residual is not None}
        assert {k for k, chunk in enumerate(point.chunks) if chunk.residual} == adds


@pytest.mark.parametrize("frames", [(1, 2), (4, 6)])
@pytest.mark.parametrize(
    "lists",
    [
        {"layers": LAYERS[:3], "chunks": (1, 3), "batch_per": "chunk"},
        {"layers": LAYERS[:3], "chunks": (1, 2), "batch_per": "layer"},
        {"layers": LAYERS[:2], "chunks": (1, 2), "batch_per": "layer", "assignment": "free", "shares": (1, 2)},
    ],
)
def test_enumeration_is_every_design_once(lists, frames):
    few = {"space": tiny(ic=(4,)), "shares": (2,), "frames": frames, "batches": (1, 2, 3), "tensors": ["a"]}
    space = pipeline_space(**{**few, **lists})
    rows = torch.cat(list(space.enumerate(block=777)))
    found = set(map(tuple, rows.tolist()))
    assert len(rows) == len(found) == space.size > 100
    every = torch.cartesian_prod(*[torch.arange(width) for width in space.widths])
    legal = space.legal(every)
    assert 0 < int(legal.sum()) < len(every)
    assert found == set(map(tuple, space.canonical(every[legal]).tolist()))
    some = rows[:: max(1, len(rows) // 300)]
    assert len({space.point(row) for row in some}) == len(some), "canonical rows differ where designs do"


def test_rows_of_the_same_design_decode_alike():
    space = pipeline_space(
        LAYERS[:8], whole_space(), (1, 2, 3, 4), frames=FRAMES, batches=BATCHES, batch_per="layer", tensors=["x"]
    )
    rows = torch.stack([torch.randint(w, (400,), generator=torch.Generator().manual_seed(w)) for w in space.widths], 1)
    rows = rows[space.legal(rows)]
    assert len(rows) > 20
    one, other = space.decode(rows), space.decode(space.canonical(rows))
    for name in ("count", "frames", "used", "designs", "assignment", "batches", "on_chip"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert bool((one.frames[:, None] % one.batches == 0).all())
    assert [space.point(row) for row in rows] == [space.point(row) for row in space.canonical(rows)]


def test_decoded_numbers_are_those_of_the_point():
    space = pipeline_space(LAYERS, whole_space(), (2, 5), frames=(4,), batches=(1, 2, 4), tensors=["a", "b"])
    rows = space.sample(50, torch.Generator().manual_seed(3))
    plain = space.decode(rows)
    for i, row in enumerate(rows):
        point = space.point(row)
        assert plain.assignment[i].tolist() == list(point.assignment)
        assert plain.batches[i].tolist() == [point.batch(layer) for layer in range(len(LAYERS))]
        for k, (chunk, share) in enumerate(zip(point.chunks, point.shares, strict=True)):
            assert {name: int(values[i, k]) for name, values in plain.values.items()} == chunk.integers
            assert int(plain.shares[i, k]) == share
        assert plain.used[i].tolist() == [k < len(point.chunks) for k in range(5)]


def test_sampling_is_uniform():
    space = pipeline_space(
        LAYERS[:4], tiny(ic=(4,), post_lanes=(2,)), (1, 2, 3), shares=(1,), frames=(1, 2), batches=(1, 2)
    )
    drawn = space.sample(40 * space.size, torch.Generator().manual_seed(0))
    counts = torch.tensor(list(Counter(map(tuple, drawn.tolist())).values()), dtype=torch.float64)
    assert len(counts) == space.size > 100
    # Pearson's statistic of so many equal cells has mean size - 1 and variance twice that.
    statistic = float(((counts - 40) ** 2 / 40).sum())
    assert abs(statistic - space.size) < 5 * (2 * space.size) ** 0.5


def test_even_samples_have_every_number_of_chunks_equally_often():
    space = pipeline_space(LAYERS, whole_space(), range(1, 17), even=True)
    counts = Counter(space.decode(space.sample(3200, torch.Generator().manual_seed(1))).count.tolist())
    assert sorted(counts) == list(range(1, 17)) and min(counts.values()) > 140
    assert space.size > 10**60


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 7), st.data())
def test_cuts_within_bounds_are_counted_drawn_and_listed(layers, data):
    number = data.draw(st.integers(1, layers))
    homes = []
    for _ in range(layers):
        first = data.draw(st.integers(0, number - 1))
        homes.append(tuple(range(first, data.draw(st.integers(first, number - 1)) + 1)))
    expected = []
    for cuts in itertools.combinations(range(1, layers), number - 1):
        if all(sum(cut <= layer for cut in cuts) in home for layer, home in enumerate(homes)):
            expected.append(list(cuts))
    cuts = bounds(layers, (number,), homes)
    assert cuts.size == len(expected)
    if expected:
        assert cuts.table().tolist() == expected
        drawn = cuts.sample(50, torch.Generator().manual_seed(0)).tolist()
        assert all(row in expected for row in drawn)


def test_a_thousand_cuts_are_drawn_from_more_than_can_be_listed():
    cuts = Cuts(tuple(range(1, 16)), tuple(range(137, 152)))
    drawn = cuts.sample(1000, torch.Generator().manual_seed(0))
    assert cuts.size > 10**18 and bool((drawn.diff(dim=1) > 0).all())
    assert abs(float(drawn.double().mean()) - 76) < 1


def test_what_has_one_value_has_no_axis():
    space = pipeline_space(LAYERS, tiny(), (2,), shares=(3,), frames=(4,), batches=(2,))
    assert set(space.names) == {"cut1"} | {f"chunk{k}.{name}" for k in (0, 1) for name in ("oc", "ic", "post_lanes")}
    point = space.point(space.sample(1, torch.Generator().manual_seed(0))[0])
    assert point.shares == (3, 3) and point.frames == 4 and set(point.batches) == {2}


def test_layers_bound_to_chunks_stay_there():
    base = pipeline_space(LAYERS[:6], tiny(), (2, 3))
    homes = [tuple(range(3))] * 6
    homes[2], homes[4] = (1,), (1, 2)
    for assignment in ("contiguous", "free"):
        space = PipelineSpace(LAYERS[:6], base.spaces, base.chunks, base.shares, assignment, tuple(homes))
        found = space.decode(space.sample(300, torch.Generator().manual_seed(0))).assignment
        assert set(found[:, 2].tolist()) == {1} and set(found[:, 4].tolist()) == {1, 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunks": (4,)}, "at least 4 asked for; the network has 3 layers"),
        ({"chunks": (2, 1)}, "numbers of chunks: a list of values, ascending"),
        ({"shares": ()}, "shares: a list of values, ascending"),
        ({"frames": (3, 4), "batches": (2, 4)}, "a batch of 2 does not divide every number of frames"),
        ({"chunks": (17,), "assignment": "free"}, "1 to 16 chunks"),
        ({"assignment": "free", "batches": (1, 2), "frames": (2,)}, "batches are chosen per layer"),
    ],
)
def test_wrong_lists_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        pipeline_space(LAYERS[:3], tiny(), **{"chunks": (1, 2), **change})


@pytest.mark.parametrize(
    ("space", "change", "message"),
    [
        ({}, {"assignment": (0, 1, 0)}, "every chunk needs one run of layers"),
        ({}, {"assignment": (0, 1)}, "assignment: 2 entries for 3 layers"),
        ({}, {"frames": 3}, "frames = 3 is not among 4"),
        ({}, {"shares": (1, 7)}, "chunk1.share = 7 is not among 1, 2"),
        ({}, {"batches": (4, 4, 2)}, "the layers of chunk 1 have one batch in common"),
        ({"batches": ()}, {}, "batches are 4, all frames of a pass"),
        ({}, {"on_chip": frozenset({"gone"})}, "tensor 'gone' has no place on chip"),
        ({"chunks": (1,)}, {}, "2 chunks are not among 1"),
        ({"space": tiny(oc=(4,), ic=(4,), post_lanes=(2,))}, {}, r"chunk0.oc = 16 is not among 4"),
    ],
)
def test_a_point_outside_is_named(space, change, message):
    from dataclasses import replace

    from dna.search.point import Point

    lists = {"space": tiny(), "chunks": (1, 2), "shares": (1, 2), "frames": (4,), "batches": (2, 4), "tensors": ["a"]}
    within = pipeline_space(LAYERS[:3], **{**lists, **space})
    chunk = tiny().chunk(tiny().sample(1, torch.Generator().manual_seed(0))[0])
    chunk = replace(chunk, oc=16, ic=4, post_lanes=2)
    point = Point((chunk, chunk), (1, 2), (0, 1, 1), 4, (4, 2, 2))
    with pytest.raises(UserError, match=message):
        within.row(replace(point, **change))


def test_logits_are_one_distribution_per_axis():
    space = pipeline_space(LAYERS, tiny(), (1, 2))
    logits = space.logits(torch.Generator().manual_seed(0), spread=0.1)
    assert [len(x) for x in logits] == list(space.widths)
    assert 0 < float(torch.cat(logits).std()) < 0.2
