"""A synthetic problem with a known optimum: cost is separable but for one coupling, resources are products."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dna.search.problem import Evaluation
from dna.search.space import Space, default_space


def small_space(**lists: tuple[int, ...]) -> Space:
    """A few hundred designs over four axes; all other parameters are given."""
    space = default_space(multipliers=64, residual=False, fixed={"param_words": 256, "ports": 1})
    narrow = {
        "oc": (2, 4, 16, 32),
        "ic": (1, 4, 8),
        "px": (1, 2, 4),
        "post_lanes": (2, 4),
        "input_words": (64, 128, 512),
        "weight_words": (64, 512),
        "output_words": (128,),
    }
    return space.limit(**{**narrow, **lists})


@dataclass(frozen=True)
class Toy:
    """Work over multipliers plus a stall where the input buffer is short; limited multipliers."""

    space: Space
    limit: float = 64.0
    offset: float = 100.0

    def evaluate(self, designs: Tensor) -> Evaluation:
        v = {name: value.double() for name, value in self.space.values(designs).items()}
        multipliers = v["oc"] * v["ic"] * v["px"]
        cost = self.offset + 4096 / multipliers + 64 * v["px"] / v["input_words"] + 8 / v["post_lanes"]
        cost = cost + 0.001 * v["weight_words"]
        return Evaluation(cost, (multipliers / self.limit)[:, None], ("multipliers",))

    def optimum(self) -> float:
        """By brute force over the whole space."""
        priced = self.evaluate(self.space.enumerate(self.space.arrays))
        return float(priced.cost[priced.feasible].min())
