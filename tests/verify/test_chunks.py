"""Several chunks, links, frames and streamed passes: bits and cycles of the whole chain, and faults that must show."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from dna.accelerator.chunk import PAGE_INSTRUCTIONS, Accelerator, Chunk, Link, Memory
from dna.accelerator.isa import INSTRUCTION_BYTES, REGIONS, WORD_BYTES
from dna.accelerator.mapping import Mapping
from dna.compile.compiler import compile
from dna.compile.default_mapping import default_mapping
from dna.compile.program import Program
from dna.generate.project import generate
from dna.network.layer import Layer
from dna.network.network import Network
from dna.network.random import random_input
from dna.quantize.random import random_weights
from dna.quantize.reference import run
from dna.verify import Case, verify, verify_many
from tests.compile.cases import conv

BUILDS = Path(__file__).parents[2] / "build" / "sim"
STANDARD = Chunk(oc=16, ic=4, px=2, post_lanes=4, input_words=256, weight_words=128, output_words=128, burst_beats=8)
DEPTHWISE = Chunk(oc=16, ic=1, px=3, post_lanes=4, ports=1, input_words=256, param_words=64, output_words=128)
ACCELERATOR = Accelerator((STANDARD, DEPTHWISE), links=(Link(0, 1, 256), Link(1, 0, 512)))
PAGE_WORDS = PAGE_INSTRUCTIONS * INSTRUCTION_BYTES // WORD_BYTES
CHIP = frozenset({"expand0", "deep0", "expand1", "deep1"})
SLOW = (Memory(20, 2, 9), Memory(40, 1, 5), Memory(8, 3, 30))


def depthwise(name: str, source: str, shape: tuple[int, int, int]) -> Layer:
    height, width, channels = shape
    return Layer(name, "depthwise", source, channels, height, width, channels, (3, 3), padding=(1, 1, 1, 1), lo=0)


def mobile() -> Network:
    """Two inverted residuals between the stem and the head."""
    shape = (7, 6, 16)
    layers = [conv("stem", "input", (7, 6, 3), 16)]
    for block in range(2):
        before = f"project{block - 1}" if block else "stem"
        layers += [
            conv(f"expand{block}", before, shape, 32, k=1),
            depthwise(f"deep{block}", f"expand{block}", (7, 6, 32)),
            conv(f"project{block}", f"deep{block}", (7, 6, 32), 16, k=1, residual=before),
        ]
    return Network("mobile", (*layers, conv("head", "project1", shape, 20, k=1)))


def case(network: Network, accelerator: Accelerator, chip: frozenset[str], frames: int, passes: int, seed: int) -> Case:
    """Depthwise layers on chunk 1, the others on chunk 0; every frame of every pass is another one."""
    rng = np.random.default_rng(seed)
    chunks = tuple(int(layer.op == "depthwise") for layer in network.layers)
    rows = tuple(
        default_mapping(
            Network("one", (layer.renamed(name="x", input="input", residual=None),)), accelerator.chunks[at]
        ).layers[0]
        for layer, at in zip(network.layers, chunks, strict=True)
    )
    mapping = Mapping(rows, chunks, frames, on_chip=chip)
    weights = random_weights(network, rng)
    program = compile(network, weights, accelerator, mapping)
    references = []
    for _ in range(frames * min(passes, 4)):
        x_HWC = random_input(network, rng)
        references.append({"input": x_HWC, **run(network, weights, x_HWC)})
    return Case(program, tuple(references), SLOW, passes)


@pytest.fixture(scope="module")
def pair() -> Case:
    return case(mobile(), ACCELERATOR, CHIP, frames=2, passes=2, seed=1)


def test_two_chunks_hand_over_on_chip_frame_by_frame(pair: Case, tmp_path: Path) -> None:
    network = mobile()
    many = [
        pair,
        case(network, ACCELERATOR, CHIP, frames=1, passes=1, seed=2),
        case(network, ACCELERATOR, frozenset(), frames=1, passes=5, seed=3),
        case(network, ACCELERATOR, CHIP, frames=1, passes=11, seed=4),
    ]
    result = verify_many(many, tmp_path / "many", build=BUILDS, modes=("fixed", "stalls", "shared", "faults"))
    assert result.differences == [] and result.ok
    fixed = [entry for entry in result.runs if entry.mode == "fixed"]
    for entry, given in zip(fixed, many, strict=True):
        assert entry.cycles_rtl == entry.cycles_model and len(entry.pass_ends_rtl) == given.passes
        assert [layer.chunk for layer in entry.layers] == [0] * 6 + [1] * 2
        assert all(layer.rtl == layer.model for layer in entry.layers)
        compared = {layer.name for layer in entry.layers if layer.compared}
        on_chip = {name for name, tensor in given.program.tensors.items() if tensor.region == "CHIP"}
        assert compared == {layer.name for layer in network.layers} - on_chip
    # The hardware keeps the last eight passes only; the chunks stream: a pass more takes less than a pass alone.
    ends = fixed[3].pass_ends_rtl
    assert ends[:3] == (None,) * 3 and None not in ends[3:]
    assert ends[-1] - ends[-2] < fixed[1].cycles_rtl
    shared = next(entry for entry in result.runs if entry.mode == "shared")
    assert shared.ok and shared.cycles_rtl > 0


def test_chunks_with_ports_of_different_width_share_a_memory(tmp_path: Path) -> None:
    small = {"px": 1, "input_words": 128, "weight_words": 64, "param_words": 32, "output_words": 64, "ports": 1}
    narrow = Chunk(oc=8, ic=2, post_lanes=2, port_bytes=8, outstanding=2, **small)
    wide = Chunk(oc=16, ic=1, post_lanes=2, burst_beats=4, **small)
    accelerator = Accelerator((narrow, wide), address_bits=40)
    layers = (conv("one", "input", (5, 4, 20), 16, k=1), depthwise("two", "one", (5, 4, 16)))
    given = case(Network("mixed", layers), accelerator, frozenset(), frames=1, passes=3, seed=5)
    result = verify_many([given], tmp_path / "mixed", build=BUILDS, modes=("fixed", "stalls", "shared"), shared_bytes=9)
    assert result.ok and result.differences == []


def test_a_shared_memory_is_as_slow_as_its_bytes(pair: Case, tmp_path: Path) -> None:
    loads = stores = 0
    for chunk in pair.program.chunks:
        loads += PAGE_WORDS  # the first page, which no instruction loads
        for job in chunk.instructions:
            if job.op in ("LOAD", "STORE") and job["region"] != REGIONS["CHIP"]:
                words = job["n_outer"] * job["n_inner"] * job["run"]
                loads += words * (job.op == "LOAD")
                stores += words * (job.op == "STORE")
    beats = (loads + stores) * pair.passes
    cycles = []
    for shared_bytes in (2, 3):
        folder = tmp_path / str(shared_bytes)
        result = verify_many([pair], folder, build=BUILDS, modes=("shared",), shared_bytes=shared_bytes)
        assert result.ok
        cycles.append(result.runs[0].cycles_rtl)
        used = 16 * beats / (shared_bytes * result.runs[0].cycles_rtl)
        assert 0.8 < used <= 1, (shared_bytes, used)
    assert cycles[0] > 1.3 * cycles[1]


def test_the_table_names_chunks_and_passes(pair: Case, tmp_path: Path) -> None:
    result = verify_many([pair], tmp_path / "one", build=BUILDS, modes=("fixed",))
    console = Console(record=True, width=120)
    console.print(result.table())
    text = console.export_text()
    assert "chunk" in text and "deep1" in text and "pass 1" in text


@pytest.fixture(scope="module")
def project(pair: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("chunks") / "project"
    generate(pair.program, out, reference=pair.reference, design_text="pair\n", memory=pair.memory, passes=pair.passes)
    return out


def test_differences_name_pass_frame_and_chunk(project: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(project / "program", tmp_path / "program"))
    content = json.loads((changed / "program.json").read_text())
    # Second frame of the first pass' output.
    path = changed / content["tensors"]["head"]["files"][0][1]
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    content["pass_ends"][1] -= 1
    deep = next(layer for layer in content["layers"] if layer["name"] == "deep0")
    deep["cycles"]["busy"] += 1
    (changed / "program.json").write_text(json.dumps(content))
    result = verify(project, programs=[changed], build=BUILDS, results=tmp_path / "results", modes=("fixed",))
    text = "\n".join(result.differences)
    assert not result.ok and len(result.differences) == 3
    assert "pass 1: ends in cycle" in text and "layer 'deep0': counter busy" in text
    assert "first at frame 1 of pass 0, row 0, column 0, channel 3" in text and "of chunk 0)" in text


def test_another_chunk_of_the_accelerator_is_looked_at_too(project: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(project / "program", tmp_path / "program"))
    content = json.loads((changed / "program.json").read_text())
    content["capabilities"][1]["ARRAY"] += 1
    (changed / "program.json").write_text(json.dumps(content))
    result = verify(project, programs=[changed], build=BUILDS, results=tmp_path / "results", modes=("fixed",))
    assert "register ARRAY of chunk 1" in result.differences[0]


def test_images_of_all_chunks_are_apart(project: Path, pair: Case) -> None:
    content = json.loads((project / "program" / "program.json").read_text())
    data = (project / "program" / "program.bin").read_bytes()
    addresses = content["regions"]["PROGRAM"]["addresses"]
    program: Program = pair.program
    for address, chunk in zip(addresses, program.chunks, strict=True):
        assert address % 4096 == 0
        start = address - addresses[0]
        assert data[start : start + len(chunk.image)] == chunk.image
    assert "chunk 1: MAC array" in (project / "README.md").read_text()
