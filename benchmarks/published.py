"""Published accelerators on the ZC706: each one's nearest design of ours, by the exact schedule, in steady state.

    python -m benchmarks.published [--all]

Networks: the convolutions of AlexNet in two towers, for which the papers print cycles; with `--all` those of VGG-16.
Beside them stand the design that the search chooses for the same board and, where a paper's own model or table gives
cycles for the network, how far the nearest design is from them.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from benchmarks.common import Row, report, write
from dna.accelerator.board import load_board
from dna.accelerator.chunk import Chunk
from dna.network.network import Network
from dna.network.zoo import build
from dna.search.exact_pipeline import propose
from dna.search.finish import finish
from dna.search.problem import Budget
from dna.search.published import ALEXNET_HALF, EYERISS, FPGA15, HALVES, ISCA17
from dna.search.published_points import KINDS, Baseline, baselines, two_towers
from dna.search.realise import Settled

BOARD = load_board("zc706")
FINISH = Budget(evaluations=12)
"""Schedules of the search's designs."""
CYCLES: dict[str, float] = {
    "single engine, 64 x 7": HALVES * sum(FPGA15.cycles(layer) for layer in ALEXNET_HALF),
    "engines, 485T": ISCA17[2].interval,
    "engines, 690T": ISCA17[3].interval,
    "row-stationary, 168 cells": sum(line.printed_cycles for line in EYERISS),
}
"""Of AlexNet in two towers, published: computed by the papers' models, for Eyeriss measured."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="VGG-16, too: some minutes more")
    more = [("VGG-16", convolutions("vgg16"))] if parser.parse_args().all else []
    networks = [("AlexNet, two towers", two_towers()), *more]
    rows = [row for name, network in networks for row in network_rows(name, network)]
    write("published", rows)
    return report(rows)


def convolutions(name: str) -> Network:
    """Convolutions and pooling of a zoo network."""
    whole = build(name).network
    kept = tuple(layer for layer in whole.layers if layer.op in ("conv", "maxpool"))
    return Network(f"{whole.name}_convolutions", kept)


def network_rows(name: str, network: Network) -> list[Row]:
    """The search's design and every kind that suits the network."""
    found = finish(network, propose(network, BOARD).points, BOARD, budget=FINISH)
    best = round(found.settled.frames_per_second(BOARD), 1)
    print(f"{name}: searched", flush=True)
    fixed = [each for kind in KINDS for each in baselines(network, BOARD, [kind])]
    print(f"{name}: {len(fixed)} kinds scheduled", flush=True)
    rows = [row for each in fixed for row in baseline_rows(name, network, each, best)]
    fastest = max(round(each.settled.frames_per_second(BOARD), 1) for each in fixed)
    extra = design(found.point.chunks, found.settled, network)
    return [Row(f"{name}: searched, frames/s", best, "", f">= {fastest}", extra), *rows]


def design(chunks: tuple[Chunk, ...], settled: Settled, network: Network) -> dict[str, Any]:
    """What a row says of a design beside its rate."""
    multipliers = sum(chunk.multipliers for chunk in chunks)
    return {
        "chunks": [f"{chunk.oc} x {chunk.ic} x {chunk.px}" + " packed" * chunk.packed for chunk in chunks],
        "multipliers": multipliers,
        "cycles per frame": round(settled.cycles),
        "utilisation": round(network.macs / (settled.cycles * multipliers), 4),
        **settled.used,
    }


def baseline_rows(name: str, network: Network, each: Baseline, best: float) -> list[Row]:
    """A kind's rate and, where the paper has cycles for the network, its cycles over those."""
    title = f"{name}: {each.source}, {each.name}"
    rate = round(each.settled.frames_per_second(BOARD), 1)
    extra = design(each.point.chunks, each.settled, network)
    rows = [Row(f"{title}, frames/s", rate, "", f"<= {best}", extra)]
    if network.name == two_towers().name and each.name in CYCLES:
        ratio = round(each.cycles / CYCLES[each.name], 3)
        rows.append(Row(f"{title}, cycles / published ones", ratio, "", "<= 1.2", {"published": CYCLES[each.name]}))
    return rows


if __name__ == "__main__":
    sys.exit(main())
