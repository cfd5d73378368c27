"""A Project for a chip: no Vivado, the chip's clock, its area and energy in the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk
from dna.cost.area import accelerator_area
from dna.generate.project import generate
from dna.quantize.reference import run
from tests.compile.cases import conv, made_case


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layers = [conv("first", "input", (6, 5, 3), 20), conv("second", "first", (6, 5, 20), 8, k=1, in_signed=True)]
    case = made_case(layers, Chunk(oc=16, ic=4, px=2, ports=1, port_bytes=8))
    reference = {"input": case.x_HWC, **run(case.network, case.weights, case.x_HWC)}
    out = tmp_path_factory.mktemp("chip") / "p"
    board = load_board("asic-45nm")
    generate(case.compile(), out, reference=reference, design_text="network: made\n", board=board)
    return out


def test_what_a_chip_gets(project: Path) -> None:
    assert {path.name for path in project.iterdir()} == {
        "README.md", "asic", "design.yaml", "hls", "host", "manifest.json", "program", "report", "rtl", "sim",
    }  # fmt: skip
    assert "2.500" in (project / "asic" / "constraint.sdc").read_text()  # ns at 400 MHz
    assert "xc7z045" in (project / "hls" / "run_hls.tcl").read_text()
    readme = (project / "README.md").read_text()
    assert readme.count("## ASIC") == readme.count("## Software") == 1 and "## FPGA" not in readme
    assert readme.index("## ASIC") < readme.index("## Software")


def test_area_and_energy_are_reported(project: Path) -> None:
    estimate = json.loads((project / "report" / "estimate.json").read_text())
    board = load_board("asic-45nm")
    chunk = Chunk(oc=16, ic=4, px=2, ports=1, port_bytes=8)
    assert board.technology is not None
    logic = accelerator_area(Accelerator((chunk,)), board.technology)
    assert estimate["area_mm2"]["logic"] == pytest.approx(logic.logic_mm2, abs=1e-4)
    memories = json.loads((project / "asic" / "memories.json").read_text())
    assert estimate["on_chip_memory_kb"] == pytest.approx(memories["bits"] / 8192, abs=0.01)
    parts = estimate["energy_pj_per_frame"]
    assert sum(parts.values()) * 1e-9 == pytest.approx(estimate["energy_mj_per_frame"], rel=1e-3)
    assert set(estimate["energy_pj_by_layer"]) == {"first", "second", "program"}
    macs = 30 * 20 * 27 + 30 * 8 * 20
    assert parts["multipliers"] == pytest.approx(0.3 * macs, abs=2)
    moved = estimate["bytes_per_pass"]
    first_page = 64 * 32
    assert parts["DRAM"] == pytest.approx(162.5 * (moved["bytes_read"] + moved["bytes_written"] + first_page), rel=1e-4)
