"""HLS sources: complete, deterministic, one instruction set, scripts that vendor tools can follow."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from dna.accelerator import isa
from dna.accelerator.chunk import Accelerator, Chunk, Link, Memory
from dna.generate.hls import HEADERS, Target, manifest, render_isa, top_of, write_hls
from dna.generate.program_folder import write_program
from dna.quantize.reference import run
from tests.compile.cases import conv, made_case, made_design

PAIR = Accelerator((Chunk(), Chunk(oc=8, ports=1, residual=False)), links=(Link(0, 1, 256), Link(1, 1, 64)))
WORDS = {"PROGRAM": 300, "INPUT": 20, "OUTPUT": 10, "WORK": 40}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hls") / "hls"
    write_hls(path, PAIR, WORDS, "made for a test", Target("xczu9eg-ffvb1156-2-e", 250))
    return path


def test_files(folder: Path) -> None:
    tops = {f"dna_chunk{index}.{kind}" for index in (0, 1) for kind in ("cpp", "cfg")}
    rendered = {"dna_isa.h", "dna_top.h", "dna_testbench.cpp", "run_hls.tcl", "Makefile"}
    assert {path.name for path in folder.iterdir()} == {*HEADERS, *rendered, *tops}
    assert all("made for a test" in path.read_text().split("\n")[0] for path in folder.iterdir())


def test_writing_again_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_hls(tmp_path / "hls", PAIR, WORDS, "made for a test", Target("xczu9eg-ffvb1156-2-e", 250))
    for path in folder.iterdir():
        assert (tmp_path / "hls" / path.name).read_bytes() == path.read_bytes()


def test_templates_are_filled_in(folder: Path) -> None:
    for path in folder.iterdir():
        assert not re.search(r"\[\[ |\[%|%\]|\[#", path.read_text()), path


def test_parameters_are_those_of_the_chunk(folder: Path) -> None:
    text = (folder / "dna_chunk1.cpp").read_text()
    values = dict(re.findall(r"static const \w+ (\w+) = (\w+);", text))
    expected = {"OC": "8", "IC": "4", "PX": "4", "POST": "4", "PORTS": "1", "PORT_BYTES": "16", "RESIDUAL": "false"}
    assert {name: values[name] for name in expected} == expected
    assert values["INPUT_HALF"] == "256" and values["OUTPUT_HALF"] == "256"


def test_links_and_peers_are_arguments() -> None:
    first, second = top_of(PAIR, 0), top_of(PAIR, 1)
    assert "bank_to_1" in first.top_arguments and "bank_from" not in first.top_arguments
    assert all(name in second.top_arguments for name in ("bank_from_0", "bank_from_1", "bank_to_1", "committed_of_0"))
    assert "&committed[1], &fetched[1]" in second.call
    for top in (first, second):
        assert len(top.call.split(", ")) == len(top.step_values.split(", ")) == len(top.step_arguments.split(", "))


def test_every_argument_has_an_interface(folder: Path) -> None:
    for index in (0, 1):
        text = (folder / f"dna_chunk{index}.cpp").read_text()
        ports = set(re.findall(r"#pragma HLS INTERFACE \w+ port = (\w+)", text))
        names = {argument.split()[-1].lstrip("*") for argument in top_of(PAIR, index).top_arguments.split(", ")}
        assert ports == names | {"return"}


def test_read_ports_have_bundles_of_their_own(folder: Path) -> None:
    for index, bundles in ((0, {"m0_read", "m1_read", "m0_write"}), (1, {"m0_read", "m0_write"})):
        text = (folder / f"dna_chunk{index}.cpp").read_text()
        assert set(re.findall(r"m_axi .*?bundle = (\w+)", text)) == bundles


def test_instruction_set_is_that_of_isa() -> None:
    text = render_isa()
    numbers = {name: int(value) for name, value in re.findall(r"(\w+) = (\d+)", text)}
    for opcode, code in isa.OPCODES.items():
        assert numbers[f"OP_{opcode}"] == code
        low = 0
        for field in isa.FIELDS[opcode]:
            name = f"{opcode}_{field.name.upper()}"
            assert (numbers[f"{name}_LOW"], numbers[f"{name}_HIGH"]) == (low, low + field.bits - 1)
            low += field.bits
            kind = "S" if field.signed else "U"
            assert field.name == "op" or f"  {kind}<{field.bits}> {field.name};" in text


def test_manifest_names_what_must_be_equal(tmp_path: Path) -> None:
    layers = [conv("a b", "input", (6, 5, 3), 20), conv("second", "a b", (6, 5, 20), 8, k=1)]
    case = made_case(layers, Chunk())
    program = case.compile()
    reference = {"input": case.x_HWC, **run(case.network, case.weights, case.x_HWC)}
    write_program(program, tmp_path / "program", reference=reference, memory=Memory())
    text = manifest(json.loads((tmp_path / "program" / "program.json").read_text()), "program")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    assert ["image", "0", "0", str(len(program.image)), "program/program.bin"] in lines
    tensor = program.tensors["a b"]
    found = next(line for line in lines if line[0] == "tensor" and line[-1] == "b")
    assert found[1:6] == [tensor.region, str(tensor.address), "6", str(2 * 5), str(tensor.row_words)]
    size = (tmp_path / found[6]).stat().st_size
    assert size == 6 * 2 * 5 * 16
    assert sum(line[0] in ("input", "tensor") for line in lines) == len(program.tensors)


def test_manifest_has_each_frame_and_buffer(tmp_path: Path) -> None:
    design = made_design([conv("a", "input", (4, 4, 3), 8)], Accelerator((Chunk(),)), {"frames": 2, "batches": (1,)})
    program = design.compile()
    rng = np.random.default_rng(0)
    inputs = [rng.integers(-128, 128, (4, 4, 3)) for _ in range(4)]
    references = [{"input": x, **run(design.network, design.weights, x)} for x in inputs]
    write_program(program, tmp_path / "program", reference=references, memory=Memory(), passes=3)
    text = manifest(json.loads((tmp_path / "program" / "program.json").read_text()), "program")
    assert "\npasses 3\n" in text and "\nbuffers 4\n" in text
    words = program.region_words["INPUT"]
    starts = [int(line.split()[2]) for line in text.splitlines() if line.startswith("input ")]
    assert starts == [buffer * words + at for buffer in range(3) for at in program.tensors["input"].frame_addresses]


STAND_INS = """
set calls {}
foreach name {open_project set_top add_files open_solution set_part create_clock csim_design csynth_design
    cosim_design export_design close_project exit} {
  catch {rename $name {}}
  proc $name args "lappend ::calls \\[linsert \\$args 0 $name\\]"
}
rename info of_tcl
proc info args {
  if {[lindex $args 0] eq "nameofexecutable"} { return $::executable }
  uplevel 1 [linsert $args 0 of_tcl]
}
"""


def tool_calls(script: Path, executable: str, steps: str) -> list[tuple[str, ...]]:
    """The tool's commands that the script gives, run by a Tcl in which they only take notes."""
    tkinter = pytest.importorskip("tkinter")
    tcl = tkinter.Tcl()
    tcl.eval(STAND_INS)
    tcl.setvar("executable", executable)
    tcl.eval(f"set ::env(DNA_HLS_STEPS) {{{steps}}}; source {{{script}}}")
    return [tuple(tcl.splitlist(call)) for call in tcl.splitlist(tcl.getvar("calls"))]


@pytest.mark.parametrize("executable", ["/tools/vivado_hls", "/tools/vitis_hls"])
def test_script_for_both_tools(folder: Path, executable: str) -> None:
    calls = tool_calls(folder / "run_hls.tcl", executable, "csim csynth cosim export")
    names = [call[0] for call in calls]
    assert [call[1] for call in calls if call[0] == "set_top"] == ["dna_chunk0", "dna_chunk1"]
    order = ["open_project", "set_top", "add_files", "add_files", "add_files", "open_solution", "set_part"]
    order += ["create_clock", "csim_design", "csynth_design", "cosim_design", "export_design", "close_project"]
    assert names == [*order, *order, "exit"]
    files = [Path(argument) for call in calls for argument in call if argument.endswith(".cpp")]
    assert files and all(path.is_file() for path in files)
    assert all(call[1] == "xczu9eg-ffvb1156-2-e" for call in calls if call[0] == "set_part")
    assert all(float(call[2]) == 4.0 for call in calls if call[0] == "create_clock")
    solutions = [call for call in calls if call[0] == "open_solution"]
    assert all(("-flow_target" in call) == ("vitis" in executable) for call in solutions)
    flags = next(call[-1] for call in calls if call[0] == "add_files")
    assert ("-DDNA_VIVADO_HLS" in flags) == ("vivado" in executable)


def test_script_does_what_it_is_asked(folder: Path) -> None:
    names = [call[0] for call in tool_calls(folder / "run_hls.tcl", "vitis_hls", "csynth")]
    assert "csynth_design" in names and not {"csim_design", "cosim_design", "export_design"} & set(names)


def test_vitis_configuration(folder: Path) -> None:
    text = (folder / "dna_chunk1.cfg").read_text()
    keys = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    assert keys["part"] == "xczu9eg-ffvb1156-2-e" and keys["clock"] == "4.000ns" and keys["syn.top"] == "dna_chunk1"
    sources = re.findall(r"(?:syn|tb)\.file=(\S+)", text)
    assert sorted(sources) == ["dna_chunk0.cpp", "dna_chunk1.cpp", "dna_testbench.cpp"]
    assert all((folder / name).is_file() for name in sources)
