"""Folding pixels of the input into channels changes no output integer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dna.errors import UserError
from dna.network.fold import fold_factors, fold_image, fold_input
from dna.network.layer import Layer
from dna.network.network import Network
from dna.network.random import random_input
from dna.quantize.random import random_weights
from dna.quantize.reference import run

CASES = [
    # size, channels, kernel, stride, padding (above, left, below, right), pad value
    ((12, 14), 3, (3, 3), (2, 2), (1, 1, 1, 1), 0),
    ((13, 11), 3, (3, 5), (2, 2), (1, 2, 1, 2), -7),
    ((24, 20), 3, (7, 7), (2, 2), (3, 3, 3, 3), 5),
    ((31, 23), 2, (11, 11), (4, 4), (2, 2, 2, 2), -3),
    ((15, 15), 1, (4, 3), (3, 3), (0, 0, 0, 2), 9),
    ((12, 12), 3, (2, 2), (2, 4), (0, 1, 1, 0), 1),
    ((11, 12), 3, (1, 1), (2, 2), (0, 0, 0, 0), 0),
]


def network(case: tuple[Any, ...]) -> Network:
    (height, width), channels, kernel, stride, padding, pad_value = case
    first = Layer("a", "conv", "input", channels, height, width, 6, kernel, stride, padding, pad_value)
    last = Layer("b", "conv", "a", 6, first.out_height, first.out_width, 4, (1, 1))
    return Network("folding", (first, last))


@pytest.mark.parametrize("case", CASES)
def test_the_same_integers(case: tuple[Any, ...]) -> None:
    given = network(case)
    weights = random_weights(given, np.random.default_rng(0))
    image = random_input(given, np.random.default_rng(1))
    expected = run(given, weights, image)
    factors = fold_factors(given)
    assert factors
    for factor in factors:
        folded, folded_weights = fold_input(given, weights, factor)
        x = fold_image(image, given.layers[0], factor)
        assert folded.layers[0].in_channels == given.layers[0].in_channels * factor**2
        got = run(folded, folded_weights, x)
        assert all(np.array_equal(got[name], expected[name]) for name in ("a", "b"))


def test_what_cannot_be_folded() -> None:
    given = network(CASES[0])
    weights = random_weights(given, np.random.default_rng(0))
    with pytest.raises(UserError, match="folded by 3; possible: 2"):
        fold_input(given, weights, 3)
    plain = Network("plain", (given.layers[1].renamed(input="input"),))
    assert fold_factors(plain) == []
    both = Network("both", (given.layers[0], Layer("p", "maxpool", "input", 3, 12, 14, 3, (2, 2), (2, 2))))
    assert fold_factors(both) == []
