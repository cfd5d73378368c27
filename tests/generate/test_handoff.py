"""Manifest, archive, differences of two Projects, and that every promised file is there and used by some test."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from dna import cli
from dna.accelerator.board import load_board
from dna.accelerator.chunk import Chunk, Memory
from dna.compile.program import Instruction
from dna.errors import UserError
from dna.generate import asic, difference, estimates, host, manifest, vivado
from dna.generate.project import SIMULATION_FILES, generate
from dna.quantize.reference import run
from tests.compile import cases

CHUNK = Chunk(oc=8, ic=2, px=2, post_lanes=2, ports=1, port_bytes=8, output_words=64, input_words=256)
BOARD = load_board("zc706")
DESIGN = "network: {name: made}\nboard: {clock_mhz: 200}\n"
USED = {
    "README.md": "tests/generate/test_handoff.py: its commands exist",
    "design.yaml": "tests/generate/test_handoff.py: compared field by field",
    "manifest.json": "tests/generate/test_handoff.py: every hash",
    "program/": "tests/verify/test_verify.py: simulated",
    "rtl/": "tests/verify/test_verify.py: simulated; tests/generate/test_top.py: linted, elaborated",
    "sim/": "tests/verify/test_verify.py: run",
    "hls/": "tests/verify/test_hls.py: compiled and run; tests/generate/test_hls.py: scripts",
    "vivado/": "tests/generate/test_vivado.py: run in a Tcl interpreter",
    "asic/": "tests/generate/test_asic.py: simulated, elaborated, synthesised, keys and constraints checked",
    "host/": "tests/generate/test_host.py: compiled, run against the simulated RTL",
    "report/": "tests/generate/test_handoff.py: compared with the schedule",
}
"""Who uses what is in a Project. Contract 3: no file without a test."""


def write(out: Path, design: str = DESIGN, **changes: object) -> Path:
    layers = [cases.conv("first", "input", (9, 9, 3), 24), cases.conv("second", "first", (9, 9, 24), 20, k=1)]
    case = cases.made_case(layers, replace(CHUNK, **changes))  # type: ignore[arg-type]
    reference = {"input": case.x_HWC, **run(case.network, case.weights, case.x_HWC)}
    generate(case.compile(), out, reference=reference, design_text=design, board=BOARD, memory=Memory(20, 1, 9))
    return out


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("handoff") / "project")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_promised_file_is_there_and_every_file_has_its_user(project: Path) -> None:
    names = set(files(project))
    promised = {
        "README.md", "design.yaml", "manifest.json", "rtl/filelist.f", "rtl/isa.vh", "rtl/dna_top.v",
        "program/program.bin", "program/program.hex", "program/program.json", "program/input.npy", "program/output.npy",
        "sim/dna_testbench.v",
        "hls/run_hls.tcl", "hls/dna_chunk0.cpp", "hls/dna_chunk0.cfg", "hls/dna_top.h", "hls/dna_testbench.cpp",
        "hls/Makefile",
    }  # fmt: skip
    for folder, parts in (
        ("vivado", vivado.VIVADO_FILES), ("asic", asic.ASIC_FILES), ("host", host.HOST_FILES),
        ("sim", SIMULATION_FILES),
        ("report", estimates.REPORT_FILES),
    ):  # fmt: skip
        promised |= {f"{folder}/{name}" for name in parts}
    assert promised <= names
    unused = [name for name in names if not any(name == use or name.startswith(use) for use in USED)]
    assert not unused
    exact = {"vivado": vivado.VIVADO_FILES, "asic": asic.ASIC_FILES, "host": host.HOST_FILES}
    for folder, parts in exact.items():
        assert {name for name in names if name.startswith(f"{folder}/")} == {f"{folder}/{name}" for name in parts}
    root = Path(__file__).parents[2]
    assert all((root / use.split(":")[0]).is_file() for uses in USED.values() for use in uses.split("; "))


def test_written_again_every_byte_is_the_same(project: Path, tmp_path: Path) -> None:
    assert files(write(tmp_path / "again")) == files(project)


def test_nothing_generated_names_this_machine(project: Path) -> None:
    words = (str(project).encode(), str(Path.home()).encode() + b"/", b"/tmp/")
    assert not [name for name, data in files(project).items() if any(word in data for word in words)]


def test_manifest_has_every_file_with_its_hash(project: Path) -> None:
    content = json.loads((project / "manifest.json").read_text())
    found = files(project)
    assert set(content["files"]) == set(found) - {"manifest.json"}
    for name, entry in content["files"].items():
        assert entry == {"bytes": len(found[name]), "sha256": hashlib.sha256(found[name]).hexdigest()}
    assert set(content["versions"]) == {"dna", "registers_and_instructions", "program_folder"}


def test_archive_holds_the_project_and_nothing_else(project: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(project, tmp_path / "p")
    (copy / "sim" / "sim_build").mkdir()
    (copy / "sim" / "sim_build" / "built").write_text("binary")
    archives = [tmp_path / "a" / "net.tar.gz", tmp_path / "b" / "net.tar.gz"]
    for folder, archive in zip((project, copy), archives, strict=True):
        manifest.write_archive(folder, archive)
    assert archives[0].read_bytes() == archives[1].read_bytes()
    with tarfile.open(archives[0]) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    assert files(tmp_path / "out" / "net") == files(project)
    assert (tmp_path / "out" / "net" / "sim" / "run.py").stat().st_mode & 0o111
    (copy / "rtl" / "dna_top.v").write_text("module dna_top; endmodule")
    (copy / "host" / "dna_driver.c").unlink()
    with pytest.raises(UserError, match="changed since it was generated: host/dna_driver.c, rtl/dna_top.v"):
        manifest.write_archive(copy, tmp_path / "c.tar.gz")
    with pytest.raises(UserError, match="has no manifest.json"):
        manifest.write_archive(tmp_path, tmp_path / "c.tar.gz")


def test_report_is_that_of_the_schedule(project: Path) -> None:
    content = json.loads((project / "report" / "estimate.json").read_text())
    program = json.loads((project / "program" / "program.json").read_text())
    assert content["cycles"] == program["cycles"] and content["pass_ends"] == program["pass_ends"]
    (chunk,) = content["chunks"]
    assert [layer["committed"] for layer in chunk["layers"]] == [
        layer["cycles"]["commit"] for layer in program["layers"]
    ]
    assert sum(layer["busy"] for layer in chunk["layers"]) == program["layers"][-1]["cycles"]["busy"]
    macs = sum(layer["macs"] for layer in program["layers"])
    assert content["multipliers_busy"] == round(macs / (program["cycles"] * CHUNK.multipliers), 4)
    assert content["resources"]["dsp"] == CHUNK.multipliers + 2 * CHUNK.post_lanes
    # 9 x 9 x 32 and 9 x 9 x 32 bytes are stored, whole words each.
    assert content["bytes_per_pass"]["bytes_written"] == 2 * 9 * 9 * 32
    assert json.loads((project / "report" / "measured.json").read_text()) == {}


# ---- Differences.


def test_the_same_twice_has_no_difference(project: Path, tmp_path: Path) -> None:
    assert difference.differences(project, write(tmp_path / "p")) == {}


def test_a_changed_design_shows_in_its_field_alone(project: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "p", DESIGN.replace("200", "100"))
    assert difference.differences(project, other) == {"design": ["board.clock_mhz: 200 -> 100"]}


def test_a_changed_accelerator_shows_in_registers_program_and_files(project: Path, tmp_path: Path) -> None:
    found = difference.differences(project, write(tmp_path / "p", output_words=128))
    assert found["registers"] == ["chunk 0: BUFFERS_OUT.OUTPUT: 64 -> 128"]
    assert "accelerator.chunks[0].output_words: 64 -> 128" in found["program"]
    assert "rtl/dna_top.v differs" in found["files"] and "rtl/dna_ram.v differs" not in found["files"]
    assert "asic/memories.json differs" in found["files"] and "design" not in found


def test_a_changed_instruction_and_weight_are_named(project: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(project, tmp_path / "p")
    path = copy / "program" / "program.bin"
    image = bytearray(path.read_bytes())
    instructions = difference._pages(bytes(image))
    number = next(n for n, job in enumerate(instructions) if job.op == "TILE")
    old = instructions[number]
    changed = Instruction("TILE", {**old.values, "wait_in": old["wait_in"] + 1})
    image[32 * number : 32 * number + 32] = changed.encode()
    image[-1] ^= 1
    path.write_bytes(image)
    assert difference.differences(project, copy) == {
        "instructions": [
            f"chunk 0, instruction {number}, TILE.wait_in: {old['wait_in']} -> {old['wait_in'] + 1}",
            "chunk 0: 1 bytes of weights and parameters",
        ]
    }


def test_files_of_one_side_only_are_listed(project: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(project, tmp_path / "p")
    content = json.loads((copy / "manifest.json").read_text())
    del content["files"]["asic/config.mk"]
    (copy / "manifest.json").write_text(json.dumps(content))
    assert difference.differences(project, copy) == {"files": [f"asic/config.mk only in {project}"]}
    (copy / "rtl" / "dna_fifo.v").unlink()
    with pytest.raises(UserError, match="dna_fifo.v is missing"):
        difference.differences(project, copy)


# ---- Commands.


def test_diff_prints_sections_and_exits_with_1_on_a_difference(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same, other = write(tmp_path / "same"), write(tmp_path / "other", DESIGN.replace("200", "100"), px=3)
    assert cli.main(["diff", str(project), str(same)]) == 0
    assert "no difference" in capsys.readouterr().out
    assert CliRunner().invoke(cli.cli, ["diff", str(project), str(other)]).exit_code == 1
    out = CliRunner().invoke(cli.cli, ["diff", "--lines", "2", str(project), str(other)]).output
    assert "board.clock_mhz: 200 -> 100" in out and re.search(r"and \d+ more", out)
    assert cli.main(["diff", str(tmp_path), str(same)]) == 2


def test_readme_names_commands_that_exist(project: Path) -> None:
    text = (project / "README.md").read_text()
    for folder, target in re.findall(r"make -C (\w+) ?(\w*)", text):
        makefile = (project / folder / "Makefile").read_text()
        assert not target or re.search(rf"^{target}:", makefile, re.M), f"make -C {folder} {target}"
    for name in re.findall(r"`((?:\w+/)?\w+\.(?:py|h|json|tcl|f|v|yaml))`", text):
        assert list(project.rglob(Path(name).name)), name
    done = subprocess.run(
        [sys.executable, "host/dna_driver.py", "--help"], cwd=project, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "probe" in done.stdout


def test_boards_without_a_processor_get_no_vivado_folder(tmp_path: Path) -> None:
    case = cases.made_case([cases.conv("a", "input", (5, 5, 3), 8)], CHUNK)
    reference = {"input": case.x_HWC, **run(case.network, case.weights, case.x_HWC)}
    board = replace(BOARD, part="xc7a100tcsg324-1")
    generate(case.compile(), tmp_path / "p", reference=reference, design_text="x: 1\n", board=board)
    assert not (tmp_path / "p" / "vivado").exists()
    assert "make -C vivado" not in (tmp_path / "p" / "README.md").read_text()
    assert np.load(tmp_path / "p" / "program" / "input.npy").shape == (5, 5, 3)
