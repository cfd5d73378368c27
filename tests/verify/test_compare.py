"""What the simulation compares: a tensor's own words, also where it lies in a concat, and where they differ."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from dna.paths import simulation

TENSOR = {
    "height": 2,
    "width": 3,
    "groups": 2,
    "row_words": 9,
    "frame_addresses": [40, 80],
    "signed": True,
    "order": None,
}
"""Of each row of nine words, the six after the first three."""
PLACE = 16 * 3


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The bench's module, which runs without the package."""
    monkeypatch.syspath_prepend(str(simulation()))
    import compare as module

    yield module
    for name in ("compare", "memory_image", "program_folder"):
        sys.modules.pop(name, None)


def test_own_words_leave_the_neighbours_out(compare: ModuleType) -> None:
    memory = np.repeat(np.arange(18, dtype=np.uint8), 16).tobytes()
    own = compare.own_words(TENSOR, memory, PLACE)
    assert list(own[::16]) == [3, 4, 5, 6, 7, 8, 12, 13, 14, 15, 16, 17]


def test_a_difference_is_named_with_its_place_and_channel(compare: ModuleType) -> None:
    expected = bytes(12 * 16)
    got = bytearray(expected)
    got[16 * (6 + 3 + 2) + 5] = 0xFF  # second row, second group, third column, sixth byte
    found = compare.tensor_difference(TENSOR, expected, bytes(got))
    assert (found["bits_different"], found["elements_different"]) == (8, 1)
    assert found["first_difference"] == {
        "row": 1, "col": 2, "channel": 21, "group": 1, "word": 40 + 9 + 5, "expected": 0, "got": -1,
    }  # fmt: skip
    second = compare.tensor_difference(TENSOR, expected, bytes(got), 80)["first_difference"]
    assert second["word"] == found["first_difference"]["word"] + 40
    ordered = {**TENSOR, "order": [*range(10), *[-1] * 6, *range(10, 20)]}
    assert compare.tensor_difference(ordered, expected, bytes(got))["first_difference"]["channel"] == 15
