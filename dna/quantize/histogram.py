"""Histograms of magnitudes that grow with what they see, and the ranges that can be read from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dna.errors import UserError

Method = Literal["max", "percentile", "mse", "entropy"]
METHODS: tuple[Method, ...] = ("max", "percentile", "mse", "entropy")
BINS = 2048
_CANDIDATES = 128
"""Ranges that the searching methods compare."""


@dataclass(eq=False)
class Histogram:
    """Magnitudes of the values of one tensor in `BINS` equal bins over [0, reach); `reach` doubles when needed.

    One pass over the data suffices, in any order of batches. Exact zeros are not counted: they cost nothing at any
    scale. `largest` is the greatest magnitude itself.
    """

    reach: float = 0.0
    largest: float = 0.0
    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))

    def add(self, values: Tensor) -> None:
        """Counts a batch of values of any shape. UserError for values that are not finite."""
        magnitudes = values.detach().abs().flatten()
        top = float(magnitudes.max()) if len(magnitudes) else 0.0
        if not math.isfinite(top):
            raise UserError("calibration: the network computes values that are not finite on the given images")
        self.largest = max(self.largest, top)
        if top == 0:
            return
        self._grow(top)
        counted = torch.histc(magnitudes[magnitudes > 0].float(), BINS, 0, self.reach)
        self.counts += counted.double().numpy()

    def merge(self, other: Histogram) -> None:
        """Adds another histogram's counts, as if its values had been added here."""
        if other.largest == 0:
            return
        self._grow(other.reach)
        counts, reach = other.counts, other.reach
        while reach < self.reach:
            counts, reach = _halved(counts), reach * 2
        self.counts = self.counts + counts
        self.largest = max(self.largest, other.largest)

    def _grow(self, magnitude: float) -> None:
        """Makes the reach a power of two of at least `magnitude`: histograms then merge bin by bin."""
        wanted = 2.0 ** math.ceil(math.log2(magnitude))
        if self.reach == 0:
            self.reach = wanted
        while self.reach < wanted:
            self.counts, self.reach = _halved(self.counts), self.reach * 2

    @property
    def centres(self) -> NDArray[np.float64]:
        """The magnitude each bin stands for."""
        return (np.arange(BINS, dtype=np.float64) + 0.5) * np.float64(self.reach / BINS)

    def range(self, method: Method, levels: int, percentile: float = 99.99) -> float:
        """The magnitude that the largest integer, `levels`, shall stand for; 0 if no value was other than 0.

        `max` takes the greatest, `percentile` the one that so many percent of the values (zeros left out) do not
        exceed, `mse` the one with the least mean squared error of rounding and clipping, `entropy` the one whose
        quantised distribution is nearest by the Kullback-Leibler divergence.
        """
        if self.largest == 0 or method == "max":
            return self.largest
        if method == "percentile":
            return self._percentile(percentile)
        cost = self._squared_error if method == "mse" else self._divergence
        used = max(1, math.ceil(self.largest / self.reach * BINS))
        first = min(used, max(levels // 2, used // 8))
        ends = np.unique(np.linspace(first, used, _CANDIDATES).round().astype(int))
        costs = [cost(int(end), levels) for end in ends]
        return min(self.largest, float(ends[int(np.argmin(costs))]) * self.reach / BINS)

    def _percentile(self, percentile: float) -> float:
        if not 0 < percentile <= 100:
            raise UserError(f"calibration: percentile {percentile} is outside (0, 100]")
        covered = np.cumsum(self.counts)
        end = int(np.searchsorted(covered, covered[-1] * percentile / 100 * (1 - 1e-12))) + 1
        return min(self.largest, end * self.reach / BINS)

    def _squared_error(self, end: int, levels: int) -> float:
        """Summed squared error when the first `end` bins are mapped to 0..`levels`."""
        top = end * self.reach / BINS
        step, centres = top / levels, self.centres
        # Bins are not much narrower than a step, so rounding is counted by its mean, and where the result is 0 exactly.
        rounding = np.where(centres < step / 2, centres**2, step**2 / 12)
        error = np.where(centres < top, rounding, (centres - top) ** 2)
        return float((self.counts * error).sum())

    def _divergence(self, end: int, levels: int) -> float:
        """Divergence between the distribution clipped to `end` bins and its form with `levels` steps."""
        clipped = self.counts[:end].copy()
        clipped[-1] += self.counts[end:].sum()
        step_of_bin = np.minimum(np.arange(end) * levels // end, levels - 1)
        occupied = self.counts[:end] > 0
        sums = np.bincount(step_of_bin, self.counts[:end], levels)
        places = np.bincount(step_of_bin, occupied, levels)
        spread = np.where(occupied, (sums / np.maximum(places, 1))[step_of_bin], 0)
        if spread.sum() == 0:
            return math.inf
        p, q = clipped / clipped.sum(), spread / spread.sum()
        # An empty bin in the quantised form that the clipped one needs: a small share instead of infinity.
        q = np.where((p > 0) & (q == 0), 1e-6, q)
        return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())


def _halved(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same counts in bins of twice the width, zeros above."""
    return np.concatenate([counts.reshape(-1, 2).sum(1), np.zeros(len(counts) // 2)])
