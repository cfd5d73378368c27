"""dna_link.v: both sides at once against the memory LINK_MEMORY, and the linter at the ends of the ranges."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.rtl.link_cocotb import OUTSTANDING, WORDS
from tests.rtl.runner import RTL, run_cocotb, tool_environment

SOURCES = [RTL / f"{part}.v" for part in ("dna_link", "dna_fifo", "dna_ram")]


def test_link_equals_model() -> None:
    parameters = {"WORDS": WORDS, "OUTSTANDING": OUTSTANDING}
    run_cocotb("dna_link", "tests.rtl.link_cocotb", SOURCES, parameters=parameters)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["-GWORDS=64", "-GOUTSTANDING=1"], ""),
        (["-GWORDS=65536", "-GOUTSTANDING=32", "-GADDR_W=64"], ""),
        (["-GWORDS=96"], "WORDS_must_be_a_power_of_two"),
        (["-GOUTSTANDING=33"], "OUTSTANDING_must_be_1_to_32"),
    ],
)
def test_link_lint(tmp_path: Path, values: list[str], message: str) -> None:
    command = ["verilator", "--lint-only", "-Wall", "-y", str(RTL), *values, str(RTL / "dna_link.v")]
    done = subprocess.run(
        command, cwd=tmp_path, env=tool_environment(), capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode != 0) == bool(message)
    assert message in done.stderr if message else not done.stderr.strip()
