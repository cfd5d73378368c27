"""Real scales as integer multipliers and shifts (docs/arithmetic.md)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dna.errors import UserError

MULTIPLIER_BITS = 17
MIN_NORMALISED = 1 << (MULTIPLIER_BITS - 1)
MAX_MULTIPLIER = (1 << MULTIPLIER_BITS) - 1
MIN_SHIFT, MAX_SHIFT = 1, 40


def multiplier_shift(scale: ArrayLike) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Normalised `m` in [2^16, 2^17) and `s` in 1..40 with `m / 2^s` next to each positive scale.

    The relative error is at most 2^-17. Raises UserError for a scale that is not positive or does not fit: the
    representable scales are 2^-24 (about 6e-8) to just below 2^16.
    """
    real = np.atleast_1d(np.asarray(scale, np.float64))
    if not (np.isfinite(real).all() and (real > 0).all()):
        raise UserError("requantisation scale: every scale must be a positive finite number")
    fraction, exponent = np.frexp(real)
    multiplier = np.rint(fraction * (1 << MULTIPLIER_BITS)).astype(np.int64)
    shift = MULTIPLIER_BITS - exponent.astype(np.int64)
    carried = multiplier > MAX_MULTIPLIER
    multiplier, shift = np.where(carried, MIN_NORMALISED, multiplier), shift - carried
    if (shift < MIN_SHIFT).any() or (shift > MAX_SHIFT).any():
        raise UserError(f"requantisation scale: {real.min():.3g} to {real.max():.3g} is outside [2^-24, 2^16)")
    return multiplier.astype(np.int32), shift.astype(np.int32)


def residual_multiplier_shift(
    scale: ArrayLike, residual_scale: float
) -> tuple[NDArray[np.int32], NDArray[np.int32], int]:
    """`(m, s, mr)`: one shift, shared by all channels and the residual, with `m / 2^s` and `mr / 2^s` the scales.

    The shift is the largest for which every multiplier still fits 17 bits. Raises UserError as `multiplier_shift`;
    a scale of no more than 2^-17 of the largest one becomes 0.
    """
    real = np.atleast_1d(np.asarray(scale, np.float64))
    largest = max(float(real.max()), residual_scale)
    if min(float(real.min()), residual_scale) < 0:
        raise UserError("requantisation scale: every scale must be positive")
    shift = int(np.clip(multiplier_shift(largest)[1][0], MIN_SHIFT, MAX_SHIFT))
    multiplier = np.minimum(np.rint(np.ldexp(real, shift)), MAX_MULTIPLIER).astype(np.int32)
    shared = min(round(float(np.ldexp(residual_scale, shift))), MAX_MULTIPLIER)
    return multiplier, np.full(real.shape, shift, np.int32), shared
