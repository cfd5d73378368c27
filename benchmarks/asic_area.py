"""The area model of ASICs against open synthesis: gates and flip-flops of chunks in the Nangate 45 nm library.

    python -m benchmarks.asic_area --liberty FILE [--fit] [--quick] [--work FOLDER]

FILE is the library in Liberty format, or that compressed with gzip. Memories are macros and left out, for the model
counts them apart. Half of the chunks are fitted, part of the hardware by part; the others judge. `--fit` prints the
coefficients for `dna/cost/area.py`. Finished modules are kept in the folder.
"""

from __future__ import annotations

import argparse
import gzip
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import Row, report, write
from benchmarks.synthesis import Cells, Flow, Synthesis, synthesise
from dna.accelerator.chunk import Chunk
from dna.cost.area import LogicCoefficients, flip_flops, gates, logic_terms

LIBRARY = "library.lib"
GATE = "NAND2_X1"
FLOW = Flow(
    script=(
        "synth -top dna_chunk",
        f"dfflibmap -liberty {LIBRARY}",
        f"abc -liberty {LIBRARY}",
        "opt_clean -purge",
    ),
    cache="cells",
    boxes=("dna_ram",),
)
FITTED = (
    Chunk(residual=True),
    Chunk(oc=16, ic=1, px=2, post_lanes=2, residual=False, ports=1, port_bytes=8),
    Chunk(oc=8, ic=2, px=4, post_lanes=8, port_bytes=8, outstanding=4),
    Chunk(oc=32, ic=4, px=2, post_lanes=16, burst_beats=64, outstanding=16),
    Chunk(oc=16, ic=4, px=5, post_lanes=4, residual=False, ports=1, dataflow="weight", sum_words=256),
)
HELD_OUT = (
    Chunk(oc=16, ic=8, px=6, post_lanes=8, ports=1),
    Chunk(oc=8, ic=8, px=3, post_lanes=4, residual=False, dataflow="input", sum_words=64),
    Chunk(oc=48, ic=4, px=4, post_lanes=16),
    Chunk(oc=4, ic=16, px=2, post_lanes=2, port_bytes=8),
)
QUICK = 1
PARTS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("dna_mac_cell",), ("per_accumulator", "per_multiplier")),
    (("dna_lane",), ("per_lane", "per_operand")),
    (("dna_weight_operand",), ("per_weight",)),
    (("dna_stream_buffer",), ("fixed", "residual_buffer")),
    (("dna_post_lane",), ("per_post_lane", "per_residual_lane")),
    (("dna_post",), ("fixed", "per_held_multiplexer", "per_output_channel", "per_accumulator")),
    (("dna_sum_buffer", "dna_sum_step"), ("per_partial_sum",)),
)
REST = ("fixed", "per_port", "per_narrow_port", "per_burst")


def cell_areas(liberty: str) -> dict[str, float]:
    """Area by cell, in the library's unit."""
    found = re.findall(r"\n\s*cell\s*\(\s*\"?(\w+)\"?\s*\)\s*\{.*?\barea\s*:\s*([\d.]+)", liberty, re.DOTALL)
    return {name: float(area) for name, area in found}


def gate_count(cells: Cells, areas: Mapping[str, float]) -> float:
    """Area of the cells over that of a NAND gate. KeyError for a cell that the library does not have."""
    return sum(areas[name] * count for name, count in cells.items()) / areas[GATE]


def flip_flop_count(cells: Cells, areas: Mapping[str, float]) -> float:
    return float(sum(count for name, count in cells.items() if "DFF" in name))


def fit(done: Sequence[Synthesis], chunks: Sequence[Chunk], areas: Mapping[str, float], count) -> LogicCoefficients:  # type: ignore[no-untyped-def]
    """Least squares of `count` (`gate_count` or `flip_flop_count`), each part of the hardware on its own."""
    total: Counter[str] = Counter()
    left = np.array([count(s.total, areas) for s in done])
    for modules, names in PARTS:
        cells = [_cells_of(s, modules) for s in done]
        measured = np.array([count(c, areas) for c in cells])
        left = left - measured
        total.update(_solve(chunks, names, measured))
    total.update(_solve(chunks, REST, left))
    return LogicCoefficients(
        **{name: round(max(0.0, float(total[name])), 1) for name in LogicCoefficients.__dataclass_fields__}
    )


def _cells_of(synthesis: Synthesis, modules: Sequence[str]) -> Cells:
    total: Counter[str] = Counter()
    for module, times, cells in synthesis.modules:
        if module.name in modules:
            total.update({name: times * number for name, number in cells.items()})
    return total


def _solve(chunks: Sequence[Chunk], names: Sequence[str], measured: np.ndarray) -> dict[str, float]:
    matrix = np.array([[float(logic_terms(chunk.integers)[name]) for name in names] for chunk in chunks])
    return dict(zip(names, np.linalg.lstsq(matrix, measured, rcond=None)[0].tolist(), strict=True))


def rows_of(half: str, chunks: Sequence[Chunk], done: Sequence[Synthesis], areas: Mapping[str, float]) -> list[Row]:
    """One row per chunk with the error of its gates, and the worst errors of the half."""
    rows, worst = [], {"gates": 0.0, "flip-flops": 0.0}
    for chunk, synthesis in zip(chunks, done, strict=True):
        p = chunk.integers
        measured = {
            "gates": round(gate_count(synthesis.total, areas)),
            "flip-flops": int(flip_flop_count(synthesis.total, areas)),
        }
        model = {"gates": round(gates(p)), "flip-flops": round(flip_flops(p))}
        errors = {name: round(100 * (model[name] / measured[name] - 1), 2) for name in worst}
        worst = {name: max(worst[name], abs(errors[name])) for name in worst}
        shape = f"{chunk.oc} x {chunk.ic} x {chunk.px}, {chunk.post_lanes} post lanes, {chunk.dataflow} stationary"
        extra = {"chunk": p, "measured": measured, "model": model, "error": errors}
        rows.append(Row(f"{half}: {shape}", measured["gates"], "gates", extra=extra))
    bars = {"gates": "<= 10", "flip-flops": "<= 10"}
    return rows + [Row(f"{half}: largest error of {name}", worst[name], "%", bars[name]) for name in worst]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--liberty", type=Path, required=True, help="the library; may be compressed")
    parser.add_argument("--fit", action="store_true", help="print fitted coefficients; writes no result")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} chunk of each half; writes no result")
    parser.add_argument("--work", type=Path, default=Path("build/asic_area"), help="folder for finished modules")
    options = parser.parse_args()
    data = options.liberty.read_bytes()
    liberty = (gzip.decompress(data) if options.liberty.suffix == ".gz" else data).decode()
    options.work.mkdir(parents=True, exist_ok=True)
    (options.work / LIBRARY).write_text(liberty)
    areas = cell_areas(liberty)
    number = QUICK if options.quick else None
    halves = {"fitted": FITTED[:number], "held out": HELD_OUT[:number]}
    done: dict[str, list[Synthesis]] = {half: [] for half in halves}
    for half, chunks in halves.items():
        for chunk in chunks:
            done[half].append(synthesise(chunk, options.work, FLOW))
            print(f"{half}: {gate_count(done[half][-1].total, areas):.0f} gates", flush=True)
    if options.fit:
        for name, count in (("GATES", gate_count), ("FLIP_FLOPS", flip_flop_count)):
            print(f"{name} = {fit(done['fitted'], FITTED, areas, count)}")
        return 0
    rows = [row for half, chunks in halves.items() for row in rows_of(half, chunks, done[half], areas)]
    if not options.quick:
        write("asic_area", rows)
    return report(rows)


if __name__ == "__main__":
    raise SystemExit(main())
