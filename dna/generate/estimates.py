"""The folder `report/` of a Project: every estimate, and what was measured on the way to the Design, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dna.accelerator.board import Board
from dna.accelerator.isa import REGIONS, WORD_BYTES
from dna.compile.program import Program
from dna.cost.area import accelerator_area
from dna.cost.energy import energy_of
from dna.cost.resources import accelerator_resources, resources
from dna.cost.schedule import Schedule
from dna.record import to_plain

REPORT_FILES = ("estimate.json", "measured.json")
_LOADS, _STORES = "bytes_read", "bytes_written"


def write_report(folder: Path, program: Program, times: Schedule, board: Board, measured: Mapping[str, Any]) -> None:
    """Write `report/`: estimate.json, and measured.json with the Design's metrics."""
    folder.mkdir()
    (folder / "estimate.json").write_text(json.dumps(estimate(program, times, board), indent=1) + "\n")
    (folder / "measured.json").write_text(json.dumps(to_plain(dict(measured)), indent=1) + "\n")


def estimate(program: Program, times: Schedule, board: Board) -> dict[str, Any]:
    """Cycles (exact on the memory of the Project's simulation), resources, and traffic of one pass."""
    passes, frames = len(times.pass_ends), program.frames
    multipliers = sum(part.chunk.multipliers for part in program.chunks)
    busy = passes * frames * program.network.macs / (times.cycles * multipliers)
    traffic = [_traffic(program, index) for index in range(len(program.chunks))]
    return {
        "board": board.name,
        "clock_mhz_assumed": board.clock_mhz,
        "frames_per_pass": frames,
        "passes": passes,
        "cycles": times.cycles,
        "pass_ends": list(times.pass_ends),
        "cycles_from_pass_to_pass": times.interval,
        "frames_per_second_at_assumed_clock": round(board.cycles_per_second * frames / times.interval, 3),
        "multipliers_busy": round(busy, 4),
        "chunks": [
            {
                "cycles": chunk.cycles,
                "causes": asdict(chunk.causes),
                "resources": resources(part.chunk).as_dict(),
                **moved,
                "layers": [
                    {
                        "name": layer.name,
                        "computed": layer.computed,
                        "committed": layer.committed,
                        **asdict(layer.causes),
                    }
                    for layer in chunk.layers
                ],
            }
            for part, chunk, moved in zip(program.chunks, times.chunks, traffic, strict=True)
        ],
        "resources": accelerator_resources(program.accelerator),
        "bytes_per_pass": {key: sum(moved[key] for moved in traffic) for key in (_LOADS, _STORES)},
        **_of_chip(program, times, board),
    }


def _of_chip(program: Program, times: Schedule, board: Board) -> dict[str, Any]:
    """Area, and energy of a frame by part and by layer, where the board is an ASIC."""
    if board.technology is None:
        return {}
    area = accelerator_area(program.accelerator, board.technology)
    energy = energy_of(program, board, times.interval / program.frames)
    return {
        "area_mm2": {"logic": round(area.logic_mm2, 4), "memory": round(area.sram_mm2, 4)},
        "on_chip_memory_kb": round(area.buffer_kb, 2),
        "energy_mj_per_frame": round(energy.total_mj, 6),
        "energy_pj_per_frame": {name: round(value) for name, value in energy.parts.items()},
        "energy_pj_by_layer": {
            name: {part: round(value) for part, value in parts.items()} for name, parts in energy.layers
        },
    }


def _traffic(program: Program, chunk: int) -> dict[str, int]:
    """Bytes that a chunk moves from and to memory in a pass; what stays on the chip is not counted."""
    moved = {_LOADS: 0, _STORES: 0}
    for job in program.chunks[chunk].instructions:
        if job.op in ("LOAD", "STORE") and job["region"] != REGIONS["CHIP"]:
            words = job["run"] * job["n_inner"] * job["n_outer"]
            moved[_LOADS if job.op == "LOAD" else _STORES] += WORD_BYTES * words
    return moved
