"""The simulation finds what differs, and nothing else: each comparison is shown to fail when it must."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from dna.accelerator.chunk import Chunk, Memory
from dna.accelerator.isa import FIELDS, INSTRUCTION_BYTES, offsets
from dna.compile.layout import word_addresses
from dna.compile.program import Program, decode
from dna.errors import UserError
from dna.generate.project import generate
from dna.quantize.reference import run
from dna.verify import Case, verify, verify_many
from dna.verify.tiles import written_by
from tests.compile import cases

BUILDS = Path(__file__).parents[2] / "build" / "sim"
CHUNK = Chunk(oc=8, ic=2, px=2, post_lanes=2, ports=1, port_bytes=8, output_words=64, input_words=256)


def made(seed: int = 1, chunk: Chunk = CHUNK) -> cases.Case:
    layers = [
        cases.conv("first", "input", (9, 9, 3), 24),
        cases.conv("second", "first", (9, 9, 24), 20, k=1),
    ]
    return cases.made_case(layers, chunk, seed=seed)


def case_of(given: cases.Case, memory: Memory | None = None) -> Case:
    reference = {"input": given.x_HWC, **run(given.network, given.weights, given.x_HWC)}
    return Case(given.compile(), reference, memory or Memory())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    case = case_of(made())
    out = tmp_path_factory.mktemp("verify") / "project"
    generate(case.program, out, reference=case.reference, design_text="made\n", memory=case.memory)
    return out


@pytest.fixture
def changed(project: Path, tmp_path: Path) -> Path:
    """A copy of the project's program, to be spoilt."""
    return Path(shutil.copytree(project / "program", tmp_path / "program"))


def edit(program: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads((program / "program.json").read_text())
    change(content)
    (program / "program.json").write_text(json.dumps(content))


def test_a_good_project_agrees_in_bits_cycles_and_faults(project: Path) -> None:
    result = verify(project, build=BUILDS, modes=("fixed", "faults", "stalls", "fixed"))
    assert result.ok and result.exit_status == 0 and result.differences == []
    fixed, faults, stalls, again = result.runs
    assert fixed.cycles_rtl == fixed.cycles_model == again.cycles_rtl
    assert stalls.cycles_rtl > fixed.cycles_rtl
    assert faults.ok and faults.layers == ()
    for layer in fixed.layers:
        assert layer.rtl == layer.model and layer.model["commit"] > 0 and layer.bits_different == 0
    console = Console(record=True, width=120)
    console.print(result.table())
    text = console.export_text()
    assert f"{fixed.cycles_rtl:,}" in text and "first" in text and "second" in text


def test_a_wrong_bit_is_found_with_its_element_and_tile(project: Path, changed: Path) -> None:
    content = json.loads((changed / "program.json").read_text())
    tensor = content["tensors"]["first"]
    ((file,),) = tensor["files"]
    path = changed / file
    row, col, channel = 7, 4, 19
    word = (row * tensor["groups"] + channel // 16) * tensor["width"] + col
    data = bytearray(path.read_bytes())
    right = data[16 * word + channel % 16]
    data[16 * word + channel % 16] ^= 0b101
    path.write_bytes(data)
    result = verify(project, programs=[changed], build=BUILDS, results=changed.parent / "results")
    assert not result.ok and result.exit_status == 1
    for entry in result.runs:
        first, second = entry.layers
        assert first.bits_different == 2 and second.bits_different == 0
        found = first.first_difference
        assert (found["row"], found["col"], found["channel"]) == (row, col, channel)
        assert (found["got"] % 256, found["expected"] % 256) == (right, right ^ 0b101)
        (line,) = entry.differences
        assert f"row {row}, column {col}, channel {channel}" in line and "tile " in line and "(instruction " in line


def test_a_wrong_counter_is_named(project: Path, changed: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["layers"][1]["cycles"]["wait_input"] += 1

    edit(changed, change)
    result = verify(project, programs=[changed], build=BUILDS, results=changed.parent / "results")
    assert [entry.ok for entry in result.runs] == [False, True], "with stalls, cycles are not compared"
    (line,) = result.differences
    assert "layer 'second': counter wait_input" in line


def test_a_wrong_total_is_seen(project: Path, changed: Path) -> None:
    edit(changed, lambda content: content.update(cycles=content["cycles"] - 1))
    result = verify(project, programs=[changed], build=BUILDS, results=changed.parent / "results", modes=("fixed",))
    assert not result.ok and "whole program" in result.differences[0]


def spoil(program: Path, op: str, name: str, value: int) -> None:
    """Set a field of the last instruction of that opcode before END."""
    image = bytearray((program / "program.bin").read_bytes())
    places = range(0, len(image), INSTRUCTION_BYTES)
    ops = []
    for place in places:
        ops.append(decode(bytes(image[place : place + INSTRUCTION_BYTES])).op)
        if ops[-1] == "END":
            break
    place = max(n for n, found in enumerate(ops) if found == op) * INSTRUCTION_BYTES
    word = int.from_bytes(image[place : place + INSTRUCTION_BYTES], "little")
    low = offsets(op)[name]
    bits = next(entry.bits for entry in FIELDS[op] if entry.name == name)
    word = word & ~(((1 << bits) - 1) << low) | value << low
    image[place : place + INSTRUCTION_BYTES] = word.to_bytes(INSTRUCTION_BYTES, "little")
    (program / "program.bin").write_bytes(image)


def test_a_program_that_hangs_is_given_up_and_the_next_one_runs(project: Path, changed: Path) -> None:
    spoil(changed, "STORE", "wait_ready", 2000)
    result = verify(
        project,
        programs=[changed, project / "program"],
        build=BUILDS,
        results=changed.parent / "results",
        modes=("fixed",),
    )
    assert [entry.ok for entry in result.runs] == [False, True]
    assert "no interrupt within" in result.differences[0]


def test_a_program_that_does_not_write_is_seen(project: Path, changed: Path) -> None:
    # The last STORE writes one word less than it should: the word keeps what memory held before.
    image = (changed / "program.bin").read_bytes()
    stores = [decode(image[n : n + 32]) for n in range(0, 64 * 32, 32)]
    last = [job for job in stores if job.op == "STORE"][-1]
    spoil(changed, "STORE", "run", last["run"] - 1)
    result = verify(project, programs=[changed], build=BUILDS, results=changed.parent / "results", modes=("stalls",))
    assert not result.ok
    first, second = result.runs[0].layers
    assert first.bits_different == 0 and second.bits_different > 0


def test_another_accelerators_program_is_refused(project: Path, changed: Path) -> None:
    edit(changed, lambda content: content["capabilities"][0].update(ARRAY=0))
    result = verify(project, programs=[changed], build=BUILDS, results=changed.parent / "results", modes=("fixed",))
    assert "register ARRAY" in result.differences[0]


def test_many_programs_share_one_build(tmp_path: Path) -> None:
    timings = (Memory(), Memory(1, 1, 1), Memory(30, 3, 40))
    many = [case_of(made(seed), timing) for seed, timing in enumerate(timings)]
    result = verify_many(many, tmp_path / "many", build=BUILDS)
    assert result.ok and len(result.runs) == 6
    cycles = [entry.cycles_rtl for entry in result.runs if entry.mode == "fixed"]
    assert len(set(cycles)) == 3
    other = case_of(made(chunk=Chunk(oc=8, ic=2, px=2, post_lanes=2)))
    with pytest.raises(ValueError, match="different accelerators"):
        verify_many([many[0], other], tmp_path / "other")


def test_make_runs_the_project_alone(project: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(project, tmp_path / "elsewhere"))
    verify(project, build=BUILDS)
    shutil.copytree(BUILDS, copy / "sim" / "sim_build", dirs_exist_ok=True)
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "dna.py").write_text("raise ImportError('a project must not need dna')\n")
    environment = {**os.environ, "PYTHONPATH": str(blocked)}
    command = ["make", "-C", str(copy / "sim"), f"PYTHON={sys.executable}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 runs equal" in done.stdout
    assert json.loads((copy / "sim" / "results" / "results.json").read_text())["ok"]


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a project"):
        verify(tmp_path)


def test_broken_verilog_is_reported_with_the_tools_words(project: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(project, tmp_path / "broken"))
    with (copy / "rtl" / "dna_fifo.v").open("a") as file:
        file.write("module\n")
    with pytest.raises(UserError, match="dna_fifo.v"):
        verify(copy, build=tmp_path / "builds")


def test_each_word_has_the_tile_that_writes_it() -> None:
    seed = next(seed for seed in range(100) if any(layer.parts for layer in cases.drawn_case(seed).network.layers))
    given = cases.drawn_case(seed)
    program: Program = given.compile()
    for layer in program.layers:
        tensor = program.tensors[layer.name]
        rng = np.random.default_rng(3)
        row, pitch = tensor.groups * tensor.width, tensor.row_words
        for word in rng.choice(word_addresses(tensor), 5):
            found = written_by(program.image, tensor.region, tensor.address, tensor.extent, int(word), row, pitch)
            assert found is not None and found.tile < found.tiles
            store = program.instructions[found.instruction]
            runs = {
                store["address"] + outer * store["stride_outer"] + inner * store["stride_inner"] + n
                for outer in range(store["n_outer"])
                for inner in range(store["n_inner"])
                for n in range(store["run"])
            }
            assert int(word) in runs and program.layers[store.layer] == layer
    assert written_by(program.image, "WORK", 0, 0, 0) is None
