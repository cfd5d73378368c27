"""The folder `host/` of a Project: drivers in C and Python, and what they have to know of registers and program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dna.accelerator.isa import WORD_BYTES
from dna.accelerator.registers import all_capabilities
from dna.compile.program import Program, Tensor
from dna.cost.schedule import Schedule
from dna.errors import UserError
from dna.generate.probe import PAGE_BYTES, Probe, make_probe
from dna.generate.program_folder import images_of
from dna.generate.registers_code import render_c_header, render_python
from dna.generate.render import environment
from dna.paths import data_folder

C_FILES = ("dna_driver.c", "dna_driver.h", "dna_example.c", "dna_image.c", "dna_images.S")
PYTHON_FILES = ("bench.py", "c_driver.py", "check.py", "dna_driver.py", "dna_hardware.py")
GENERATED = ("Makefile", "dna_probe.bin", "dna_program.c", "dna_program.json", "dna_registers.h", "dna_registers.py")
HOST_FILES = (*C_FILES, *PYTHON_FILES, *GENERATED)


@dataclass(frozen=True)
class Fold:
    """An input that was folded (`dna.network.fold`): what the camera gives, and what stands beyond its borders."""

    factor: int = 1
    height: int = 0
    width: int = 0
    channels: int = 0
    pad_value: int = 0

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> Fold:
        """From a Design's `metrics.fold`; no folding if there is none. UserError for a key that is missing or wrong."""
        given = metrics.get("fold")
        if given is None:
            return cls()
        try:
            return cls(**{key: int(value) for key, value in given.items()})
        except (TypeError, ValueError, AttributeError) as error:
            raise UserError(f"metrics.fold: {error}; known keys: {', '.join(cls.__dataclass_fields__)}") from None


def write_host(
    folder: Path, program: Program, times: Schedule, header: str, registers_address: int, fold: Fold
) -> None:
    """Write `host/`. `times`: the schedule of any number of passes; `registers_address`: where the
    processor sees the registers.
    """
    folder.mkdir()
    templates = data_folder("templates") / "host"
    for name in C_FILES:
        (folder / name).write_text(f"{_comment(header)}\n{(templates / name).read_text()}")
    for name in PYTHON_FILES:
        (folder / name).write_text(f"# {header}\n{(templates / name).read_text()}")
    chunks = len(program.chunks)
    (folder / "dna_registers.h").write_text(render_c_header(_comment(header), chunks))
    (folder / "dna_registers.py").write_text(render_python(header, chunks))
    probe = make_probe(program.accelerator)
    (folder / "dna_probe.bin").write_bytes(probe.image)
    facts = program_facts(program, times, probe, fold) | {"registers_address": registers_address}
    (folder / "dna_program.json").write_text(json.dumps(facts, indent=1) + "\n")
    _render(folder, facts, header)


def program_facts(program: Program, times: Schedule, probe: Probe, fold: Fold) -> dict[str, Any]:
    """What `dna_program.json` says. UserError if the folding does not give the network's input."""
    image, starts = images_of(program)
    tensors = {"input": program.tensors["input"], "output": program.tensors[program.output]}
    taken = tensors["input"]
    if fold.factor > 1:
        folded = (-(-fold.height // fold.factor), -(-fold.width // fold.factor), fold.channels * fold.factor**2)
        if folded != taken.shape:
            raise UserError(f"metrics.fold gives an input of {folded}; the network takes {taken.shape}")
    constants = {key: value for key, value in asdict(probe).items() if key != "image"}
    return {
        "name": program.network.name,
        "image": "../program/program.bin",
        "image_bytes": len(image),
        "image_starts": starts,
        "frames": program.frames,
        "bytes": {name: WORD_BYTES * program.region_words.get(name, 0) for name in ("INPUT", "OUTPUT", "WORK")},
        **{kind: _tensor(tensor) for kind, tensor in tensors.items()},
        "fold": asdict(fold),
        "pass_cycles": times.pass_ends[0],
        "capabilities": all_capabilities(program.accelerator),
        "layers": [[program.layers[index].name for index in chunk.layers] for chunk in program.chunks],
        "probe": {"page_bytes": PAGE_BYTES, "image_bytes": len(probe.image), **constants},
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    if tensor.order is not None:
        raise ValueError(f"tensor '{tensor.name}' has an order of its own; the drivers know plain ones only")
    names = ("height", "width", "channels", "row_words", "signed")
    return {name: getattr(tensor, name) for name in names} | {"frame_words": list(tensor.frame_addresses)}


def _quoted(name: str) -> str:
    """As the content of a C string: no trigraphs, nothing that ends it."""
    escaped = {"\\": "\\\\", '"': '\\"', "?": "\\?"}
    return "".join(escaped.get(letter, letter if letter.isprintable() else "_") for letter in name)


def _comment(header: str) -> str:
    """As a C comment: a Design's name must not end it."""
    return f"/* {header.replace('*/', '* /')} */"


def _render(folder: Path, facts: Mapping[str, Any], header: str) -> None:
    templates = environment(data_folder("templates") / "host")
    taken = facts["fold"] if facts["fold"]["factor"] > 1 else facts["input"]
    values = {
        **facts,
        "header": header,
        "comment": _comment(header),
        "name": _quoted(facts["name"]),
        "layers": [[_quoted(name) for name in names] for names in facts["layers"]],
        "input_bytes": facts["bytes"]["INPUT"],
        "output_bytes": facts["bytes"]["OUTPUT"],
        "work_bytes": facts["bytes"]["WORK"],
        "image_bytes_raw": _values(taken),
        "output_bytes_raw": _values(facts["output"]),
        "registers_address": f"0x{facts['registers_address']:X}",
    }
    for name in ("Makefile", "dna_program.c"):
        (folder / name).write_text(templates.get_template(f"{name}.j2").render(values))


def _values(tensor: Mapping[str, int]) -> int:
    return tensor["height"] * tensor["width"] * tensor["channels"]
