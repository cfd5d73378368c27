"""The demo's promises over 5 seeds: accuracy in float and int8, times, equality of bits and cycles.

`python -m benchmarks.demo_accuracy [--quick] [--seeds N]`; `--quick` runs one seed. Takes a demo's time per seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.common import Row, report, write
from dna.demo import run_demo
from dna.report.summary import Summary

BOARD, GOAL, MINUTES = "zc706", "fps=10000", 3.0
SEARCH_STAGES = ("co-search", "training", "accelerator", "comparison")


@dataclass(frozen=True)
class Outcome:
    """One seed's demo."""

    seed: int
    summary: Summary
    seconds: float

    @property
    def search_seconds(self) -> float:
        """Co-search, training and the accelerator's finish."""
        return sum(self.summary.seconds[stage] for stage in SEARCH_STAGES)

    @property
    def exact(self) -> bool:
        """Bits on both memories, cycles on the fixed one."""
        found = self.summary
        return bool(found.bits_equal and found.bits_equal_with_stalls and found.cycles_equal)


def measure(seed: int) -> Outcome:
    """One whole demo in a folder of its own."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        _, summary = run_demo(BOARD, GOAL, seed, MINUTES, lambda stage, done: None, Path(folder))
    return Outcome(seed, summary, time.perf_counter() - started)


def rows(outcomes: list[Outcome]) -> list[Row]:
    """What is claimed of them."""
    shares = {stage: [o.summary.accuracy[stage] for o in outcomes] for stage in ("float", "int8")}
    seeds = {"seeds": [o.seed for o in outcomes]}
    int8, single = shares["int8"], shares["float"]
    means = {stage: sum(values) / len(values) for stage, values in shares.items()}
    whole = [round(o.seconds, 1) for o in outcomes]
    search = [round(o.search_seconds, 1) for o in outcomes]
    rates = [round(o.summary.frames_per_second) for o in outcomes]
    different = sum(not o.exact for o in outcomes)
    return [
        Row(
            "held-out digits read by int8, mean",
            means["int8"],
            "fraction",
            ">= 0.98",
            {**seeds, "values": int8},
        ),
        Row("held-out digits read by int8, worst seed", min(int8), "fraction", ">= 0.98", seeds),
        Row(
            "held-out digits read in float, mean",
            means["float"],
            "fraction",
            "",
            {**seeds, "values": single},
        ),
        Row("whole demo, slowest seed", max(whole), "s", "<= 300", {**seeds, "values": whole}),
        Row("search and training, slowest seed", max(search), "s", "<= 180", {**seeds, "values": search}),
        Row("frames per second at an assumed 200 MHz, least", min(rates), "", ">= 10000", {**seeds, "values": rates}),
        Row("demos in which a bit or a cycle differs", different, "", "== 0", seeds),
        Row("DSP", max(o.summary.used.dsp for o in outcomes), "", "", seeds),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0 on")
    parser.add_argument("--quick", action="store_true", help="one seed")
    given = parser.parse_args()
    torch.set_num_threads(1)
    outcomes = []
    for seed in range(1 if given.quick else given.seeds):
        outcomes.append(measure(seed))
        print(
            f"seed {seed}: int8 {outcomes[-1].summary.accuracy['int8']:.4f}, {outcomes[-1].seconds:.0f} s", flush=True
        )
    found = rows(outcomes)
    if not given.quick:
        write("demo_accuracy", found)
    return report(found)


if __name__ == "__main__":
    sys.exit(main())
