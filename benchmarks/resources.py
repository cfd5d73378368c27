"""How close the resource model is to open synthesis, and the fit of its coefficients.

    python -m benchmarks.resources [--quick] [--fit] [--work FOLDER]

Each chunk's Verilog is synthesised by Yosys for a 7-series part. LUT counts LUT1 to LUT6, inverters, shift registers
and four per RAM32M or RAM64M; CARRY4 is reported beside it. The coefficients are fitted on one half of the chunks, part
of the hardware by part, and judged on the other. `--fit` prints what this fit gives, to be entered in
`dna/cost/resources.py`; without it, what stands there is measured. Finished modules are kept in the folder, so an
interrupted run resumes.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import Row, report, write
from benchmarks.synthesis import Cells, Synthesis, counts, synthesise
from dna.accelerator.chunk import Chunk
from dna.cost.resources import FF_MODEL, LUT_MODEL, RESOURCES, Coefficients, memory_resources, resources, terms


def _chunk(array: tuple[int, int, int, int], buffers: tuple[int, int, int, int], **others: int | bool) -> Chunk:
    oc, ic, px, post_lanes = array
    depths = dict(zip(("input_words", "weight_words", "param_words", "output_words"), buffers, strict=True))
    return Chunk(oc=oc, ic=ic, px=px, post_lanes=post_lanes, **depths, **others)  # type: ignore[arg-type]


FITTED = (
    Chunk(),
    _chunk((16, 1, 2, 2), (1024, 256, 64, 64), residual=False, ports=1, port_bytes=8),
    _chunk((8, 2, 4, 8), (256, 1024, 128, 256), port_bytes=8, outstanding=4),
    _chunk((4, 16, 2, 4), (2048, 128, 96, 1024), residual=False, ports=1, outstanding=16),
    _chunk((32, 4, 2, 16), (512, 1536, 32, 2048), burst_beats=64),
    _chunk((16, 8, 4, 8), (1000, 600, 512, 512), residual=False, port_bytes=8),
    _chunk((64, 2, 1, 8), (512, 2048, 256, 100), ports=1),
    _chunk((2, 8, 14, 2), (64, 512, 16, 512), outstanding=32),
    _chunk((16, 4, 4, 4), (512, 512, 256, 512), packed=True, post_in_lut=True),
    _chunk((16, 1, 5, 2), (512, 256, 64, 256), packed=True, residual=False, ports=1, post_in_lut=True),
    _chunk((8, 8, 2, 4), (256, 512, 128, 256), packed=True),
    _chunk((4, 16, 4, 4), (512, 128, 64, 256), packed=True, ports=1, post_in_lut=True),
    _chunk((16, 1, 1, 4), (256, 64, 64, 256), residual=False, ports=1, mac_in_lut=True, post_in_lut=True),
    _chunk((8, 4, 3, 4), (256, 512, 128, 256), mac_in_lut=True),
    _chunk((4, 16, 2, 4), (512, 128, 64, 256), ports=1, mac_in_lut=True),
)
HELD_OUT = (
    _chunk((16, 2, 7, 4), (700, 512, 256, 512), residual=False),
    _chunk((8, 16, 1, 2), (4096, 64, 128, 512), ports=1, outstanding=2),
    _chunk((4, 4, 3, 4), (512, 256, 64, 256), port_bytes=8),
    _chunk((32, 8, 2, 8), (1024, 1024, 200, 1024), residual=False, ports=1, outstanding=16),
    _chunk((48, 1, 4, 16), (128, 3000, 48, 300), port_bytes=8, burst_beats=8),
    _chunk((16, 16, 2, 16), (512, 512, 256, 512)),
    _chunk((16, 4, 8, 8), (32, 512, 256, 48), ports=1, port_bytes=8),
    _chunk((2, 16, 4, 2), (2500, 80, 256, 2048), residual=False, outstanding=4),
    _chunk((32, 4, 3, 8), (512, 512, 256, 512), packed=True),
    _chunk((16, 2, 6, 8), (256, 512, 256, 512), packed=True, residual=False, post_in_lut=True),
    _chunk((16, 8, 4, 16), (512, 512, 128, 512), packed=True, ports=1, post_in_lut=True),
    _chunk((16, 2, 2, 4), (256, 512, 128, 256), residual=False, mac_in_lut=True, post_in_lut=True),
    _chunk((2, 8, 3, 2), (256, 512, 128, 256), mac_in_lut=True),
)
QUICK = 2
"""Chunks of each half in a quick run."""


@dataclass(frozen=True)
class Part:
    """Modules whose cells are explained by a few terms of the model."""

    modules: tuple[str, ...]
    """Names; `dna_lut_multiplier` with the bits of its multiplicand, which tell what it is for."""
    lut: tuple[str, ...]
    ff: tuple[str, ...]


MAC_ADDERS = ("per_adder_in_lut", "per_adder_level_in_lut")
POST = ("per_post_lane", "per_post_lane_in_lut", "per_residual_lane_in_lut")
PARTS = (
    Part(
        ("dna_mac_cell", "dna_mac_pair"),
        ("per_accumulator", "per_pair", "per_remainder_product", *MAC_ADDERS),
        ("per_accumulator", "per_remainder_bit", "per_dot_bit_in_lut"),
    ),
    Part(("dna_lut_multiplier 9",), ("per_multiplier_in_lut",), ("per_multiplier_in_lut",)),
    Part(("dna_mac_array",), ("per_pair_operand",), ("per_pair_operand",)),
    Part(("dna_lane",), ("per_lane", "per_operand"), ("per_lane", "per_operand")),
    Part(("dna_weight_operand",), ("per_weight_choice",), ("per_weight",)),
    Part(("dna_stream_buffer",), ("fixed", "residual_buffer"), ("fixed", "residual_buffer")),
    Part(("dna_post_lane", "dna_lut_multiplier 25", "dna_lut_multiplier 18"), POST, POST),
    Part(
        ("dna_post",),
        ("fixed", "per_held_multiplexer", "per_post_lane"),
        ("fixed", "per_accumulator", "per_output_channel", "per_post_lane"),
    ),
)
REST = ("fixed", "per_port", "per_narrow_port", "per_burst")
"""Terms of what is left, memories of LUTs apart, which are counted exactly."""


def parameters(chunk: Chunk) -> dict[str, int]:
    return chunk.integers


def solve(chunks: Sequence[Chunk], names: Sequence[str], measured: Sequence[int]) -> dict[str, float]:
    """Least squares of the measured counts in the named terms."""
    columns = [[float(terms(parameters(chunk))[name]) for name in names] for chunk in chunks]
    matrix: NDArray[np.float64] = np.array(columns)
    solution = np.linalg.lstsq(matrix, np.array(measured, dtype=np.float64), rcond=None)[0]
    return {name: float(value) for name, value in zip(names, solution, strict=True)}


def fit(chunks: Sequence[Chunk], done: Sequence[Synthesis], kind: str) -> Coefficients:
    """Coefficients of `kind`, lut or ff: those of all parts and of the rest, added up, in tenths.

    What no fitted chunk has, partial sums in a buffer, stays as it is.
    """
    total: Counter[str] = Counter({"per_partial_sum": {"lut": LUT_MODEL, "ff": FF_MODEL}[kind].per_partial_sum})
    left = [
        counts(s.total)[kind] - getattr(memory_resources(parameters(c)), kind)
        for c, s in zip(chunks, done, strict=True)
    ]
    for part in PARTS:
        measured = [counts(part_cells(synthesis, part.modules))[kind] for synthesis in done]
        left = [rest - own for rest, own in zip(left, measured, strict=True)]
        total.update(solve(chunks, getattr(part, kind), measured))
    total.update(solve(chunks, REST, left))
    return Coefficients(**{f.name: round(float(total[f.name]), 1) for f in fields(Coefficients)})


def part_cells(synthesis: Synthesis, modules: Sequence[str]) -> Cells:
    """Cells of all instances of the modules, without what stands below them."""
    total: Counter[str] = Counter()
    for module, times, cells in synthesis.modules:
        width = f" {dict(module.parameters)['AW']}" if module.name == "dna_lut_multiplier" else ""
        if module.name + width in modules:
            total.update({name: times * number for name, number in cells.items()})
    return dict(total)


def compare(chunk: Chunk, synthesis: Synthesis) -> dict[str, dict[str, int]]:
    """Measured and modelled counts of a chunk."""
    measured = counts(synthesis.total)
    return {
        "measured": {name: measured[name] for name in (*RESOURCES, "carry4")},
        "model": {name: int(value) for name, value in resources(chunk).as_dict().items()},
    }


def rows_of(half: str, chunks: Sequence[Chunk], done: Sequence[Synthesis]) -> list[Row]:
    """One row per chunk, and the worst errors of the half with their bars."""
    rows, worst = [], dict.fromkeys(RESOURCES, 0.0)
    for chunk, synthesis in zip(chunks, done, strict=True):
        result = compare(chunk, synthesis)
        measured, model = result["measured"], result["model"]
        errors = {name: float(model[name] - measured[name]) for name in ("dsp", "bram36")}
        errors |= {name: round(100 * (model[name] / measured[name] - 1), 2) for name in ("lut", "ff")}
        worst = {name: max(worst[name], abs(errors[name])) for name in RESOURCES}
        shape = f"{chunk.oc} x {chunk.ic} x {chunk.px}, {chunk.post_lanes} post lanes"
        shape += ", packed" * chunk.packed + ", multipliers of LUTs" * chunk.mac_in_lut
        shape += ", post lanes of LUTs" * chunk.post_in_lut
        extra = {"chunk": parameters(chunk), **result, "error": errors}
        rows.append(Row(f"{half}: {shape}", chunk.multipliers, "multipliers", extra=extra))
    bars = {"dsp": "== 0", "bram36": "== 0", "lut": "<= 10", "ff": "<= 10"}
    units = {"dsp": "DSP48E1", "bram36": "BRAM36", "lut": "%", "ff": "%"}
    rows += [Row(f"{half}: largest {name} error", worst[name], units[name], bars[name]) for name in RESOURCES]
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} chunks of each half; writes no result")
    parser.add_argument("--fit", action="store_true", help="print fitted coefficients; writes no result")
    parser.add_argument("--work", type=Path, default=Path("build/resources"), help="folder for finished modules")
    options = parser.parse_args()
    number = QUICK if options.quick else None
    halves = {"fitted": FITTED[:number], "held out": HELD_OUT[:number]}
    done: dict[str, list[Synthesis]] = {}
    for half, chunks in halves.items():
        done[half] = []
        for chunk in chunks:
            done[half].append(synthesise(chunk, options.work))
            print(f"{half}: {compare(chunk, done[half][-1])}", flush=True)
    if options.fit:
        print(f"LUT_MODEL = {fit(FITTED, done['fitted'], 'lut')}\nFF_MODEL = {fit(FITTED, done['fitted'], 'ff')}")
        return 0
    rows = [row for half, chunks in halves.items() for row in rows_of(half, chunks, done[half])]
    if not options.quick:
        write("resources", rows)
    return report(rows)


if __name__ == "__main__":
    raise SystemExit(main())
