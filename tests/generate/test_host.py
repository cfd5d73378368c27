"""The drivers for real: compiled C and Python, each run against the simulated RTL; and their parts on their own."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk, Link, Memory
from dna.accelerator.registers import all_capabilities, registers
from dna.compile.layout import pack_tensor
from dna.errors import UserError
from dna.generate.host import HOST_FILES, Fold
from dna.generate.probe import RUNS, make_probe, probe_cycles
from dna.generate.project import generate
from dna.generate.registers_code import render_c_header, render_python
from dna.network.fold import fold_image, fold_input
from dna.network.layer import Layer
from dna.network.network import Network
from dna.network.random import random_input
from dna.quantize.random import random_weights
from dna.quantize.reference import run
from tests.compile import cases
from tests.verify import test_chunks as pairs

BUILDS = Path(__file__).parents[2] / "build" / "sim"
CHUNK = Chunk(oc=8, ic=2, px=2, post_lanes=2, ports=1, port_bytes=8, output_words=64, input_words=256)
STRICT = "-std=c99 -pedantic -O1 -Wall -Wextra -Wconversion -Wno-sign-conversion -Werror"


def write(out: Path, passes: int = 3, chunk: Chunk = CHUNK) -> Path:
    """A Project of two layers, every pass with a frame of its own."""
    layers = [cases.conv("first", "input", (9, 9, 3), 24), cases.conv("second", "first", (9, 9, 24), 20, k=1, lo=-128)]
    case = cases.made_case(layers, chunk)
    rng = np.random.default_rng(3)
    inputs = [random_input(case.network, rng) for _ in range(passes)]
    references = [{"input": x, **run(case.network, case.weights, x)} for x in inputs]
    memory = Memory(30, 2, 7)
    generate(case.compile(), out, reference=references, design_text="made\n", memory=memory, passes=passes)
    return out


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("host") / "project")


def check(project: Path, *arguments: str) -> dict[str, bool]:
    """What host/check.py says: by test, whether it is good."""
    command = [sys.executable, str(project / "host" / "check.py"), "--build", str(BUILDS), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = {
        line.split()[1]: line.startswith("ok") for line in done.stdout.splitlines() if line[:4] in ("ok  ", "FAIL")
    }
    assert found, done.stdout + done.stderr
    assert done.returncode == int(not all(found.values())), done.stdout + done.stderr
    return found


def test_both_drivers_on_the_simulated_accelerator(project: Path) -> None:
    results = check(project)
    assert all(results.values()), results
    assert len(results) == 3 * (3 + 1 + 1 + 1 + 1) + 2, (
        "each test with the C driver, with its interrupt, and with Python"
    )


def test_both_drivers_with_several_chunks_links_and_frames(tmp_path: Path) -> None:
    case = pairs.case(pairs.mobile(), pairs.ACCELERATOR, pairs.CHIP, 2, 2, 5)
    generate(
        case.program, tmp_path / "p", reference=case.reference, design_text="x\n", memory=Memory(12, 1, 9), passes=2
    )
    results = check(
        tmp_path / "p", "--tests", r"inference/.*slots=1|inference/.*slots=4|counters|probe", "--timings", "20,2,9"
    )
    assert all(results.values()) and len(results) == 3 * 4, results


FAULTS: dict[str, tuple[str, str, str, str]] = {
    "not flushed": ("dna_driver.c", "dna_extent(&program->input));\n", "16u);\n", "inference"),
    "not invalidated": (
        "dna_driver.c",
        "invalidate(device, place, dna_extent(",
        "invalidate(device, place, 16u + 0u * dna_extent(",
        "inference",
    ),
    "wrong turn": ("dna_driver.py", "slot = (first + pair) % self.slots", "slot = first", "inference"),
    "errors not looked at": ("dna_driver.c", "SHIFT)) return DNA_ERROR_READ;", "SHIFT)) return DNA_OK;", "faults"),
    "another constant": ("dna_program.c", ".read_cycles = 5u", ".read_cycles = 6u", "probe"),
    "another counter": ("c_driver.py", "for name in COUNTERS]", "for name in sorted(COUNTERS)]", "counters"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(project: Path, tmp_path: Path, fault: str) -> None:
    copy = tmp_path / "p"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns("results", "libdna.so"))
    file, text, replacement, test = FAULTS[fault]
    path = copy / "host" / file
    assert text in path.read_text()
    path.write_text(path.read_text().replace(text, replacement))
    results = check(copy, "--tests", rf"{test}/driver=[02](/slots=4)?$", "--timings", "20,2,9")
    assert not all(results.values()), results


def test_c_is_strict_and_the_example_links(project: Path, tmp_path: Path) -> None:
    host = shutil.copytree(project / "host", tmp_path / "p" / "host")
    shutil.copytree(project / "program", tmp_path / "p" / "program")
    assert {path.name for path in host.iterdir()} - {"results", "libdna.so"} == set(HOST_FILES)
    (host / "xil_cache.h").write_text(
        "#include <stdint.h>\n#define INTPTR intptr_t\n"
        "static inline void Xil_DCacheFlushRange(INTPTR a, size_t n) { (void)a; (void)n; }\n"
        "static inline void Xil_DCacheInvalidateRange(INTPTR a, size_t n) { (void)a; (void)n; }\n"
    )
    for target, more in (("libdna.so", ""), ("elf", ""), ("elf", " -DDNA_XILINX")):
        command = ["make", "-B", "-C", str(host), target, f"CFLAGS={STRICT}{more}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (host / "dna.elf").is_file()


# ---- Parts.


class Recorded:
    """An accelerator that is done at once: its registers, and what they were at each start."""

    def __init__(self, content: Mapping[str, Any], size: int, bus: int) -> None:
        addresses = {entry.name: entry.offset for entry in registers(len(content["capabilities"]))}
        (values,) = content["capabilities"]
        self.registers = {addresses[name]: value for name, value in values.items()}
        self.names = {address: name for name, address in addresses.items()}
        self.memory, self.bus = np.zeros(size, np.uint8), bus
        self.starts: list[dict[str, int]] = []
        self.calls: list[tuple[str, int, int]] = []

    def read(self, address: int) -> int:
        return 0b10 if self.names[address] == "STATUS" else self.registers.get(address, 0)

    def write(self, address: int, value: int) -> None:
        self.registers[address] = value
        if self.names[address] == "CONTROL":
            kept = {self.names[a]: v for a, v in self.registers.items() if "IRQ" not in self.names[a]}
            self.starts.append(kept)

    def flush(self, first: int, count: int) -> None:
        self.calls.append(("flush", first, count))

    def invalidate(self, first: int, count: int) -> None:
        self.calls.append(("invalidate", first, count))

    def wait(self, seconds: float) -> None:
        pass


@pytest.mark.parametrize("slots", [1, 2, 3, 5, 8])
def test_both_drivers_do_the_same_beyond_4_gigabytes(project: Path, modules: ModuleType, slots: int) -> None:
    import c_driver  # type: ignore[import-not-found]

    library(project)
    content = json.loads((project / "host" / "dna_program.json").read_text())
    x = np.load(project / "program" / "input.npy")
    images = np.concatenate([x] * 4)[:11]
    found = []
    for kind in ("c", "python"):
        hardware = Recorded(content, 1 << 20, 0x12_3456_7000)
        if kind == "c":
            driver = c_driver.CAccelerator(project / "host" / "libdna.so", hardware, content, slots)
        else:
            driver = modules.Accelerator(hardware, slots)
        driver.infer(images)
        found.append((hardware.starts, sorted(hardware.calls), hardware.memory.tobytes()))
    assert found[0] == found[1]
    starts = found[0][0]
    assert sum(start["PASSES"] for start in starts) == len(images)
    assert {start["BASE_WORK_HIGH"] for start in starts} == {0x12}
    places = {start[f"BASE_{region}_LOW"] for start in starts for region in ("INPUT", "OUTPUT", "WORK", "PROGRAM")}
    assert all(place % 4096 == 0 and place >= 0x3456_7000 for place in places)


def test_names_that_c_would_stumble_over(tmp_path: Path) -> None:
    name = 'a "b" \\n ??/ */ é'
    layers = [cases.conv(name, "input", (5, 5, 3), 8)]
    case = cases.made_case(layers, CHUNK)
    case = replace(case, network=Network("ne*/t", case.network.layers))
    reference = {"input": case.x_HWC, **run(case.network, case.weights, case.x_HWC)}
    generate(case.compile(), tmp_path / "p", reference=reference, design_text="x\n")
    own = library(tmp_path / "p")
    own.dna_layer_name.restype = ctypes.c_char_p
    program = ctypes.c_uint8.in_dll(own, "dna_compiled_program")
    assert own.dna_layer_name(ctypes.byref(program), 0, 0).decode() == name
    assert own.dna_layer_name(ctypes.byref(program), 0, 1) is None


def test_uio_maps_two_devices(tmp_path: Path, modules: ModuleType) -> None:
    uio, buffer = tmp_path / "uio0", tmp_path / "udmabuf0"
    uio.write_bytes(bytes(8192))
    buffer.write_bytes(bytes(4096))
    with modules.Uio(str(uio), str(buffer), 0x3000_0000, 4096) as hardware:
        hardware.write(0x40, 77)
        hardware.memory[1] = 5
        hardware.wait(0.01)
        assert (hardware.read(0x40), hardware.bus) == (77, 0x3000_0000)
    assert uio.read_bytes()[0x40] == 77 and buffer.read_bytes()[1] == 5
    assert uio.read_bytes()[:4] == bytes([1, 0, 0, 0]), "the interrupt is let through"


@pytest.fixture
def modules(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The Project's dna_driver."""
    monkeypatch.syspath_prepend(str(project / "host"))
    for name in ("c_driver", "dna_driver", "dna_hardware", "dna_registers"):
        sys.modules.pop(name, None)
    import dna_driver  # type: ignore[import-not-found]

    yield dna_driver
    for name in ("c_driver", "dna_driver", "dna_hardware", "dna_registers"):
        sys.modules.pop(name, None)


def library(project: Path) -> ctypes.CDLL:
    subprocess.run(["make", "-C", str(project / "host"), "libdna.so"], check=True, capture_output=True)
    return ctypes.CDLL(str(project / "host" / "libdna.so"))


class CTensor(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("height", "width", "channels", "row_words", "is_signed")),
        ("frame_words", ctypes.c_void_p),
    ]


class CFold(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_uint32) for name in ("factor", "height", "width", "channels")), ("pad_value", ctypes.c_uint8),
    ]  # fmt: skip


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 4, 3), (3, 7, 16), (4, 5, 37)])
@pytest.mark.parametrize("gap", [0, 3])
def test_images_lie_in_memory_as_the_compiler_says(
    project: Path, modules: ModuleType, shape: tuple[int, int, int], gap: int
) -> None:
    height, width, channels = shape
    groups = -(-channels // 16)
    pitch = groups * width + gap
    x = np.random.default_rng(1).integers(-128, 128, shape)
    rows = np.frombuffer(pack_tensor(x), np.uint8).reshape(height, -1)
    wanted = np.zeros((height, 16 * pitch), np.uint8)
    wanted[:, : rows.shape[1]] = rows
    wanted = wanted.ravel()[: 16 * ((height - 1) * pitch + groups * width)]
    assert np.array_equal(modules.pack(x, pitch), wanted)
    tensor = {"height": height, "width": width, "channels": channels, "row_words": pitch, "signed": True}
    assert np.array_equal(modules.unpack(wanted, tensor), x)
    own, c_tensor = library(project), CTensor(height, width, channels, pitch, 1, None)
    image, memory = np.ascontiguousarray(x, np.int8), np.zeros(len(wanted), np.uint8)
    own.dna_pack(ctypes.byref(c_tensor), pointer(image), pointer(memory))
    assert np.array_equal(memory, wanted)
    back = np.zeros(shape, np.int8)
    own.dna_unpack(ctypes.byref(c_tensor), pointer(memory), pointer(back))
    assert np.array_equal(back, x)


@pytest.mark.parametrize("factor", [2, 4])
def test_folding_is_that_of_the_network(project: Path, modules: ModuleType, factor: int) -> None:
    layer = Layer("stem", "conv", "input", 3, 11, 10, 8, (3, 3), (4, 4), (1, 1, 1, 1), pad_value=7)
    x = random_input(Network("n", (layer,)), np.random.default_rng(2))
    wanted = fold_image(x, layer, factor)
    assert np.array_equal(modules.fold(x, factor, 7), wanted)
    height, width, channels = wanted.shape
    groups = -(-channels // 16)
    tensor, folding = CTensor(height, width, channels, groups * width, 0, None), CFold(factor, 11, 10, 3, 7)
    image, memory = np.ascontiguousarray(x, np.uint8), np.full(16 * height * groups * width, 9, np.uint8)
    library(project).dna_pack_folded(ctypes.byref(tensor), ctypes.byref(folding), pointer(image), pointer(memory))
    assert memory.tobytes() == pack_tensor(wanted)


def test_a_folded_design_takes_the_original_image(tmp_path: Path) -> None:
    layer = Layer("stem", "conv", "input", 3, 9, 9, 8, (3, 3), (2, 2), (1, 1, 1, 1), lo=0)
    network, rng = Network("net", (layer,)), np.random.default_rng(4)
    weights = random_weights(network, rng)
    x = random_input(network, rng)
    folded, folded_weights = fold_input(network, weights, 2)
    case = replace(cases.made_case(list(folded.layers), CHUNK), weights=folded_weights)
    image = fold_image(x, layer, 2)
    reference = {"input": image, **run(case.network, folded_weights, image)}
    fold = {"factor": 2, "height": 9, "width": 9, "channels": 3, "pad_value": layer.pad_value}
    out = tmp_path / "p"
    generate(case.compile(), out, reference=reference, design_text="x\n", metrics={"fold": fold})
    facts = json.loads((out / "host" / "dna_program.json").read_text())
    assert facts["fold"] == fold and "DNA_IMAGE_BYTES=243" in (out / "host" / "Makefile").read_text()
    np.save(out / "program" / "input.npy", x)  # what the camera gives
    results = check(out, "--tests", r"inference/driver=[02]/slots=4")
    assert all(results.values()) and len(results) == 2


def test_fold_that_does_not_give_the_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metrics.fold gives an input of \(2, 2, 12\)"):
        case = cases.made_case([cases.conv("a", "input", (5, 5, 3), 8)], CHUNK)
        reference = {"input": case.x_HWC, **run(case.network, case.weights, case.x_HWC)}
        fold = {"factor": 2, "height": 4, "width": 4, "channels": 3, "pad_value": 0}
        generate(case.compile(), tmp_path / "p", reference=reference, design_text="x\n", metrics={"fold": fold})
    with pytest.raises(UserError, match="metrics.fold: .*known keys: factor"):
        Fold.of({"fold": {"factors": 2}})


class CTiming(ctypes.Structure):
    _fields_ = [
        *((f"n{number}", ctypes.c_uint32) for number in range(3)),
        *((f"m{n}", ctypes.c_uint64) for n in range(3)),
    ]


def test_probe_prints_what_a_board_file_wants(project: Path, modules: ModuleType, tmp_path: Path) -> None:
    own, text = library(project), ctypes.create_string_buffer(512)
    own.dna_probe_text(ctypes.byref(CTiming(61, 2, 17, 61200, 1800, 16777)), text, ctypes.c_size_t(512))
    board = (Path(__file__).parents[2] / "boards" / "zc706.yaml").read_text()
    for number, lines in enumerate((text.value.decode(), modules.Timing(61.2, 1.8, 16.777).text())):
        path = tmp_path / f"mine{number}.yaml"
        path.write_text(board[: board.index("memory:")] + lines)
        assert load_board(path).memory == Memory(61, 2, 17)
        assert "61.200" in lines and "16.777" in lines


@pytest.mark.parametrize("values", [[3], [1, 9, 9, 2], [-5, -1, -1], [200, 127]])
def test_argmax_takes_the_first_of_the_largest(project: Path, values: list[int]) -> None:
    signed = min(values) < 0
    data = np.array(values).astype(np.uint8)
    got = library(project).dna_argmax(pointer(data), ctypes.c_uint32(len(values)), int(signed))
    assert got == int(np.argmax(values))


def test_every_error_has_its_own_message(project: Path, modules: ModuleType) -> None:
    own = library(project)
    own.dna_message.restype = ctypes.c_char_p
    texts = [own.dna_message(code) for code in range(0, -14, -1)]
    assert len(set(texts)) == 14 and own.dna_message(-99) == b"unknown error"
    names = [name for name in vars(modules) if name.endswith("_ERROR") and isinstance(getattr(modules, name), int)]
    codes = {name.removesuffix("_ERROR"): getattr(modules, name) for name in names}
    header = (project / "host" / "dna_driver.h").read_text()
    assert len(codes) == 12 and all(f"DNA_ERROR_{name} = {code}" in header for name, code in codes.items())


@pytest.mark.parametrize("chunks", [1, 3])
def test_registers_are_the_same_in_c_python_and_the_map(tmp_path: Path, chunks: int) -> None:
    (tmp_path / "dna_registers.h").write_text(render_c_header("/* Generated. */", chunks))
    lines, wanted = [], []
    space: dict[str, Any] = {}
    exec(render_python("Generated.", chunks), space)
    own = space["Registers"]
    for entry in registers(chunks):
        assert own.address(entry.name) == entry.offset
        lines.append(f"DNA_REG_{entry.name}")
        wanted.append(entry.offset)
        for field in entry.fields:
            if field.name:
                lines += [f"DNA_{entry.name}_{field.name}_{kind}" for kind in ("SHIFT", "MASK")]
                wanted += [field.low, (1 << field.bits) - 1]
                assert own.FIELDS[entry.name][field.name] == (field.low, (1 << field.bits) - 1)
    prints = "".join(f'  printf("%lu\\n", (unsigned long){line});\n' for line in lines)
    (tmp_path / "t.c").write_text(
        f'#include <stdio.h>\n#include "dna_registers.h"\nint main(void) {{\n{prints}return 0; }}\n'
    )
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Werror", "-o", "t", "t.c"], cwd=tmp_path, check=True)
    out = subprocess.run([tmp_path / "t"], capture_output=True, text=True, check=True).stdout
    assert [int(line) for line in out.split()] == wanted


def test_python_drivers_map_registers_and_memory(tmp_path: Path, modules: ModuleType) -> None:
    path = tmp_path / "mem"
    path.write_bytes(bytes(3 * 4096))
    with modules.DevMem(registers=4096, memory=8192, size=4096, path=str(path)) as hardware:
        hardware.write(0x20, 0x12345678)
        hardware.memory[5] = 9
        assert hardware.read(0x20) == 0x12345678 and hardware.bus == 8192
    data = path.read_bytes()
    assert data[4096 + 0x20 : 4096 + 0x24] == bytes.fromhex("78563412") and data[8192 + 5] == 9
    assert modules.main(["run", "--registers", "0", "--memory", "4096", "--bytes", "8192", "--device", str(path)]) == 2


class _Recorded:
    """Stands for PYNQ's buffer and registers."""

    def __init__(self, physical_address: int, count: int) -> None:
        self.physical_address, self.data, self.calls = physical_address, np.zeros(count, np.uint8), []  # type: ignore[var-annotated]

    def __getitem__(self, item: slice) -> np.ndarray:
        return self.data[item]

    def flush(self) -> None:
        self.calls.append("flush")

    def invalidate(self) -> None:
        self.calls.append("invalidate")

    def read(self, address: int) -> int:
        return 100 + address

    def write(self, address: int, value: int) -> None:
        self.calls.append(f"{address}={value}")


def test_pynq_is_used_as_it_is_documented(modules: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, _Recorded] = {}

    def mmio(address: int, length: int) -> _Recorded:
        return made.setdefault("registers", _Recorded(address, length))

    def allocate(shape: tuple[int, ...], dtype: str) -> _Recorded:
        assert dtype == "u1"
        return made.setdefault("buffer", _Recorded(0x1000_0100, *shape))

    pynq = ModuleType("pynq")
    pynq.MMIO, pynq.allocate = mmio, allocate  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pynq", pynq)
    entries: Mapping[str, Any] = {"dna": {"phys_addr": 0x43C0_0000}, "ps": {"phys_addr": 1}}
    hardware = modules.Pynq(type("Overlay", (), {"ip_dict": entries})(), 8192)
    assert (hardware.bus, len(hardware.memory), made["registers"].physical_address) == (0x1000_1000, 8192, 0x43C0_0000)
    hardware.flush(0, 1)
    hardware.invalidate(0, 1)
    hardware.write(8, 3)
    assert (
        hardware.read(4) == 104
        and made["buffer"].calls == ["flush", "invalidate"]
        and made["registers"].calls == ["8=3"]
    )


# ---- The probe, by the model.

PROBED = [
    Accelerator((CHUNK,)),
    Accelerator((Chunk(), Chunk(ports=1)), links=(Link(0, 1, 64),)),
    Accelerator((Chunk(oc=16, ic=1, burst_beats=2, outstanding=1),)),
    Accelerator((Chunk(port_bytes=8, burst_beats=256),)),
]


@pytest.mark.parametrize("accelerator", PROBED)
@pytest.mark.parametrize("memory", [Memory(1, 1, 1), Memory(200, 3, 90), Memory(64, 7, 400), Memory(2, 1, 33)])
def test_probe_is_exact_for_every_memory(accelerator: Accelerator, memory: Memory) -> None:
    probe = make_probe(accelerator)
    few, more, long, few_stores, more_stores = (probe_cycles(accelerator, name, memory) for name in RUNS)
    interval = (long - more) / (probe.jobs * (probe.burst_beats - probe.first_beats))
    besides = (probe.first_beats - 1) * interval
    latency = (more - few) / probe.jobs - probe.read_cycles - besides
    write = (more_stores - few_stores) / probe.jobs - probe.write_cycles - besides
    assert (latency, interval, write) == (memory.read_latency, memory.beat_interval, memory.write_latency)


def test_capabilities_in_c_are_those_of_the_registers(project: Path) -> None:
    (values,) = all_capabilities(Accelerator((CHUNK,)))
    text = (project / "host" / "dna_program.c").read_text()
    row = ", ".join(f"0x{values[name]:08X}u" for name in ("ARRAY", "PORTS", "BUFFERS_IN", "BUFFERS_OUT"))
    assert f"{{{row}}}" in text
