import itertools

import pytest
import torch

from dna.accelerator.chunk import Chunk
from dna.errors import UserError
from dna.search.space import ARRAY_AXES, BUFFER_AXES, Axis, default_space
from tests.search.toy import small_space


def chunk_accepts(parameters: dict[str, int]) -> bool:
    try:
        Chunk.from_integers(parameters)
    except UserError:
        return False
    return True


@pytest.mark.parametrize("lists", [{}, {"dataflow": (0, 1, 2), "sum_words": (0, 64), "oc": (2, 16), "px": (1, 2)}])
def test_enumeration_is_exactly_what_chunk_accepts(lists):
    space = small_space().limit(**lists)
    product = itertools.product(*(axis.values for axis in space.axes))
    expected = {row for row in product if chunk_accepts(dict(zip(space.names, row, strict=True)))}
    designs = space.enumerate(space.arrays)
    values = space.values(designs)
    found = {tuple(int(values[name][i]) for name in space.names) for i in range(len(designs))}
    assert found == expected and len(designs) == space.size == len(expected) > 100
    assert 0 < len(expected) < torch.tensor(space.widths).prod()


def test_samples_are_legal_and_reach_every_value():
    space = small_space()
    designs = space.sample(2000, torch.Generator().manual_seed(1))
    assert bool(space.legal(designs).all())
    for column, width in enumerate(space.widths):
        assert len(torch.unique(designs[:, column])) == width
    again = space.sample(2000, torch.Generator().manual_seed(1))
    assert torch.equal(designs, again)


def test_chunk_and_design_are_inverse():
    space = small_space()
    for design in space.sample(20, torch.Generator().manual_seed(2)):
        assert torch.equal(space.design(space.chunk(design)), design)


def test_every_axis_is_an_array_or_a_buffer_axis():
    assert sorted(small_space().names) == sorted((*ARRAY_AXES, *BUFFER_AXES))


def test_fix_narrows_one_axis():
    space = small_space().fix(px=3, oc=16)
    values = space.values(space.enumerate(space.arrays))
    assert set(values["px"].tolist()) == {3} and set(values["oc"].tolist()) == {16}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"px": 200}, "px is 200"),
        ({"ic": 3}, "ic is 3"),
        ({"oc": 24}, "oc is 24"),
        ({"lanes": 2}, "unknown parameter 'lanes'"),
        ({"oc": 2, "ic": 1}, "no combination"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(UserError, match=message):
        small_space().fix(**change)


def test_unordered_values_are_refused():
    with pytest.raises(UserError, match="ascending"):
        Axis("px", (4, 2))


def test_default_space_follows_the_target():
    space = default_space(multipliers=64, residual=True, port_bytes=8, ports=(1,))
    values = space.values(space.arrays)
    assert int(values["px"].max()) == 4 and set(values["port_bytes"].tolist()) == {8}
    assert set(values["residual"].tolist()) == {1} and set(values["ports"].tolist()) == {1}
