"""Published accelerators on the ZC706: each one's nearest design of ours, by the exact schedule, in steady state.

    python -m benchmarks.published [--quick]

Networks: the convolutions of AlexNet in two towers, for which the papers print cycles, and those of VGG-16 (`--quick`:
without those). Where a paper's own model or table gives cycles for a network, they stand beside.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.common import Row, report, write
from dna.accelerator.board import load_board
from dna.network.network import Network
from dna.network.zoo import build
from dna.search.published import ALEXNET_HALF, EYERISS, FPGA15, HALVES, ISCA17
from dna.search.published_points import Baseline, baselines, two_towers

BOARD = load_board("zc706")
CYCLES: dict[str, float] = {
    "single engine, 64 x 7": HALVES * sum(FPGA15.cycles(layer) for layer in ALEXNET_HALF),
    "engines, 485T": ISCA17[2].interval,
    "engines, 690T": ISCA17[3].interval,
    "row-stationary, 168 cells": sum(line.printed_cycles for line in EYERISS),
}
"""Of AlexNet in two towers, published: computed by the papers' models, for Eyeriss measured."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="AlexNet only; nothing is written")
    quick = parser.parse_args().quick
    networks = [("AlexNet, two towers", two_towers())] + ([] if quick else [("VGG-16", convolutions("vgg16"))])
    rows = []
    for name, network in networks:
        for each in baselines(network, BOARD):
            rows += baseline_rows(name, each, CYCLES.get(each.name) if network.name == two_towers().name else None)
            print(f"{name}: {each.name} scheduled", flush=True)
    if not quick:
        write("published", rows)
    return report(rows)


def convolutions(name: str) -> Network:
    """Convolutions and pooling of a zoo network."""
    whole = build(name).network
    kept = tuple(layer for layer in whole.layers if layer.op in ("conv", "maxpool"))
    return Network(f"{whole.name}_convolutions", kept)


def baseline_rows(network: str, each: Baseline, published: float | None) -> list[Row]:
    name = f"{network}: {each.source}, {each.name}"
    extra = {
        "chunks": [f"{chunk.oc} x {chunk.ic} x {chunk.px}" for chunk in each.point.chunks],
        "multipliers": each.multipliers,
        "on chip": len(each.realised.mapping.on_chip),
        **each.settled.used,
    }
    rows = [
        Row(f"{name}: cycles per frame", round(each.cycles), "cycle", "", extra),
        Row(f"{name}: frames/s", round(each.settled.frames_per_second(BOARD), 1)),
        Row(f"{name}: utilisation", round(each.utilisation, 4), "fraction"),
    ]
    if published is not None:
        rows.append(Row(f"{name}: published cycles", round(published), "cycle"))
    return rows


if __name__ == "__main__":
    sys.exit(main())
