"""Scales as multiplier and shift."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dna.errors import UserError
from dna.quantize.scale import multiplier_shift, residual_multiplier_shift


@pytest.mark.parametrize(
    ("scale", "multiplier", "shift"),
    [
        (1.0, 1 << 16, 16),
        (0.5, 1 << 16, 17),
        (0.75, 3 << 15, 17),
        (1 - 2**-20, 1 << 16, 16),  # rounds up into the next power of two
        (2.0**-24, 1 << 16, 40),
        (2.0**15, 1 << 16, 1),
    ],
)
def test_by_hand(scale: float, multiplier: int, shift: int) -> None:
    m, s = multiplier_shift(scale)
    assert (m.tolist(), s.tolist()) == ([multiplier], [shift])


@given(st.floats(2.0**-24, 2.0**15.99))
def test_normalised_and_close(scale: float) -> None:
    m, s = multiplier_shift(scale)
    assert 1 << 16 <= m[0] < 1 << 17 and 1 <= s[0] <= 40
    assert abs(m[0] / 2.0 ** int(s[0]) / scale - 1) <= 2**-17


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 2.0**-26, 2.0**16])
def test_impossible_scales_are_refused(scale: float) -> None:
    with pytest.raises(UserError, match="requantisation scale"):
        multiplier_shift(scale)


def test_residual_shares_the_shift_by_hand() -> None:
    m, s, shared = residual_multiplier_shift([0.25, 0.001], 0.5)
    # The largest, 1/2, is 2^16 / 2^17: so all are in steps of 2^-17.
    assert (m.tolist(), s.tolist(), shared) == ([1 << 15, 131], [17, 17], 1 << 16)


@given(st.lists(st.floats(1e-5, 100), min_size=1, max_size=5), st.floats(1e-5, 100))
def test_residual_fits_and_is_close(scales: list[float], residual: float) -> None:
    m, s, shared = residual_multiplier_shift(scales, residual)
    largest = max(*scales, residual)
    assert len(set(s.tolist())) == 1 and 1 <= s[0] <= 40
    assert max(*m.tolist(), shared) >> 16 == 1  # 17 bits are used
    for value, real in [*zip(m.tolist(), scales, strict=True), (shared, residual)]:
        assert abs(value / 2.0 ** int(s[0]) - real) <= 2**-16 * largest
