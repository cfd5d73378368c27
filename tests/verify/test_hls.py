"""HLS C++ in C simulation: bits of every tensor, phases as estimated, and each comparison fails when it must."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dna.accelerator.chunk import Accelerator, Chunk, Memory
from dna.accelerator.isa import FIELDS, INSTRUCTION_BYTES, OPCODES, offsets
from dna.cost.hls import hls_cycles
from dna.cost.schedule import schedule
from dna.errors import UserError
from dna.generate.hls import write_hls
from dna.generate.program_folder import write_program
from dna.generate.project import generate
from dna.quantize.reference import run
from dna.verify import Case
from dna.verify.hls import EXACT_TYPES, HlsResult, ap_types, build, missing, simulate, verify_hls, verify_hls_many
from dna.verify.random_designs import Drawer
from tests.compile.cases import conv, made_case
from tests.compile.several import drawn_chunks_case

needs_compiler = pytest.mark.skipif(missing() is not None, reason=str(missing()))
BUILDS = Path(__file__).parents[2] / "build" / "hls"
PLAIN = Chunk(oc=16, ic=4, px=3, post_lanes=4, input_words=300, weight_words=600, output_words=200)
WEIGHTS_STAY = Chunk(oc=16, ic=4, px=3, post_lanes=8, dataflow="weight", sum_words=64, weight_words=600)
INPUTS_STAY = Chunk(oc=8, ic=4, px=2, post_lanes=2, dataflow="input", sum_words=48, packed=True, weight_words=900)
OTHER = Chunk(oc=8, ic=2, px=4, post_lanes=2, packed=True, post_in_lut=True, ports=1, port_bytes=8, weight_words=1024)


def drawn(chunk: Chunk, count: int) -> list[Case]:
    drawer = Drawer(np.random.default_rng(5))
    return [drawer.draw(chunk).case for _ in range(count)]


def verified(cases: list[Case], folder: Path, *flags: str) -> HlsResult:
    return verify_hls_many(cases, folder / "many", build_folder=BUILDS, flags=flags)


@needs_compiler
@pytest.mark.parametrize(
    ("chunk", "flags"),
    [(PLAIN, ()), (OTHER, ()), (WEIGHTS_STAY, ()), (INPUTS_STAY, ()), (INPUTS_STAY, (EXACT_TYPES,))],
)
def test_random_designs(chunk: Chunk, flags: tuple[str, ...], tmp_path: Path) -> None:
    cases = drawn(chunk, 12)
    result = verified(cases, tmp_path, *flags)
    assert result.ok, result.differences
    assert len(result.runs) == len(cases)
    for case, done in zip(cases, result.runs, strict=True):
        assert len(done.tensors) == len(case.program.tensors)
        assert done.phases == hls_cycles(case.program, case.memory).phases


@needs_compiler
@pytest.mark.parametrize(("seed", "passes"), [(3, 3), (4, 2)])
def test_several_chunks(seed: int, passes: int, tmp_path: Path) -> None:
    """Links, frames and passes, with an input of its own for every frame."""
    case = drawn_chunks_case(seed)
    assert len(case.accelerator.chunks) > 1 and case.accelerator.links
    rng = np.random.default_rng(seed)
    inputs = [x for _ in range(passes) for x in case.inputs(1, rng)]
    references = [{"input": x, **run(case.network, case.weights, x)} for x in inputs]
    result = verified([Case(case.program, references, passes=passes)], tmp_path)
    assert result.ok, result.differences
    assert len(result.runs[0].phases) == len(case.accelerator.chunks)


@pytest.fixture(scope="module")
def small() -> Case:
    layers = [conv("first", "input", (9, 9, 3), 24), conv("second", "first", (9, 9, 24), 20, k=1)]
    case = made_case(layers, PLAIN)
    return Case(case.compile(), {"input": case.x_HWC, **run(case.network, case.weights, case.x_HWC)})


@pytest.fixture(scope="module")
def sources(small: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources") / "hls"
    write_hls(folder, Accelerator((PLAIN,)), small.program.region_words, "made")
    return folder


@pytest.fixture(scope="module")
def program(small: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("program") / "program"
    write_program(small.program, folder, reference=small.reference, memory=small.memory)
    return folder


@needs_compiler
def test_a_wrong_bit_of_the_reference_is_found(sources: Path, program: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(program, tmp_path / "program"))
    file = next((copy / "reference").glob("*first*"))
    data = bytearray(file.read_bytes())
    data[100] ^= 0x10
    file.write_bytes(data)
    (done,) = simulate(build(sources, BUILDS), [copy])
    (found,) = [tensor for tensor in done.tensors if tensor.bits_different]
    assert (found.name, found.bits_different, found.bytes_different) == ("first", 1, 1)
    assert found.first is not None and found.first[0] == 100 and found.first[1] ^ found.first[2] == 0x10
    assert "tensor 'first': 1 bits in 1 bytes differ" in done.differences[0]


@needs_compiler
def test_a_project_is_verified_from_here_and_by_its_makefile(small: Case, tmp_path: Path) -> None:
    project = tmp_path / "project"
    generate(small.program, project, reference=small.reference, design_text="made\n")
    result = verify_hls(project, build_folder=BUILDS)
    assert result.ok and {tensor.name for tensor in result.runs[0].tensors} == {"input", "first", "second"}
    command = ["make", "-C", str(project / "hls"), f"AP_TYPES={ap_types()}", "CXXFLAGS=-O0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "\nequal\n" in done.stdout, done.stderr


MUTATIONS = {
    "rounding": ("dna_post.h", "(S<48>(1) << (shift - 1))", "S<48>(0)"),
    "padding": ("dna_compute.h", "tile_row >= tile.row_lo &&", ""),
    "a lane's place": ("dna_buffers.h", "(address - lane_address[p])", "address"),
    "a buffer's half": ("dna_sequencer.h", "choice.array = used && address >= half;", "choice.array = false;"),
}


@needs_compiler
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mistake_in_the_source_is_found(name: str, sources: Path, program: Path, tmp_path: Path) -> None:
    file, right, wrong = MUTATIONS[name]
    copy = Path(shutil.copytree(sources, tmp_path / "hls"))
    text = (copy / file).read_text()
    assert text.count(right) == 1
    (copy / file).write_text(text.replace(right, wrong))
    (done,) = simulate(build(copy, BUILDS), [program])
    assert done.differences


def with_field(program: Path, op: str, name: str, value: int) -> None:
    """Sets a field of the first instruction of that kind."""
    data = bytearray((program / "program.bin").read_bytes())
    for start in range(0, len(data), INSTRUCTION_BYTES):
        word = int.from_bytes(data[start : start + INSTRUCTION_BYTES], "little")
        if word & 0xF == OPCODES[op]:
            bits = next(field.bits for field in FIELDS[op] if field.name == name)
            low = offsets(op)[name]
            word = word & ~(((1 << bits) - 1) << low) | value << low
            data[start : start + INSTRUCTION_BYTES] = word.to_bytes(INSTRUCTION_BYTES, "little")
            break
    (program / "program.bin").write_bytes(data)


@needs_compiler
@pytest.mark.parametrize(("op", "name", "value"), [("TILE", "wait_in", 5), ("TILE", "p_base", 127)])
def test_a_program_that_breaks_a_rule_is_stopped(
    op: str, name: str, value: int, sources: Path, program: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(program, tmp_path / "program"))
    with_field(copy, op, name, value)
    (done,) = simulate(build(sources, BUILDS), [copy])
    assert done.differences and "breaks a rule" in done.differences[0]


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, sources: Path, tmp_path: Path) -> None:
    monkeypatch.setenv("AP_TYPES", str(tmp_path))
    assert "hls4ml" in (missing() or "")
    with pytest.raises(UserError, match="no ap_int headers"):
        build(sources, tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert "install g\\+\\+" in (missing() or "").replace("+", "\\+")


@needs_compiler
def test_sources_that_do_not_compile(sources: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(sources, tmp_path / "hls"))
    (copy / "dna_top.h").write_text("#error spoilt on purpose\n")
    with pytest.raises(UserError, match="spoilt on purpose"):
        build(copy, tmp_path)


def test_a_folder_without_hls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no|not a project"):
        verify_hls(tmp_path)


def test_estimate_follows_memory_and_work(small: Case) -> None:
    fast, slow = Memory(4, 1, 2), Memory(200, 2, 60)
    quick, late = hls_cycles(small.program, fast), hls_cycles(small.program, slow)
    assert quick.phases == late.phases and quick.cycles < late.cycles
    assert [layer.name for layer in quick.layers] == ["first", "second"]
    assert quick.layers[0].committed < quick.layers[1].committed <= quick.cycles
    busy = schedule(small.program, fast).causes.busy
    assert busy < quick.cycles < 10 * busy
    assert hls_cycles(small.program, fast, 3).cycles > 2 * quick.cycles
