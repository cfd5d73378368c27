"""The folder `hls/` of a Project: Vivado/Vitis-HLS C++ of the same chunks, its C simulation, and the tools' scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dna.accelerator import isa
from dna.accelerator.chunk import PAGE_INSTRUCTIONS, Accelerator, Link
from dna.generate.isa_header import field_range
from dna.generate.render import environment
from dna.paths import data_folder

HEADERS = (
    "dna_buffers.h", "dna_compute.h", "dna_memory.h", "dna_nest.h", "dna_phase.h", "dna_post.h", "dna_sequencer.h",
    "dna_types.h",
)  # fmt: skip
MANIFEST = "manifest.txt"
LINE = 118
"""Columns of generated C++."""
SCALARS = ("input_stride", "output_stride", "passes")
READ_WRITE = {"WORK": ("work_read", "work_write"), "OUTPUT": ("output_read", "output_write")}
"""A region that is read and written has two pointers."""


@dataclass(frozen=True)
class Target:
    """What the vendor's tools need to know of the board."""

    part: str = "xc7z045ffg900-2"
    clock_mhz: float = 200.0

    @property
    def period(self) -> str:
        """Nanoseconds."""
        return f"{1000 / self.clock_mhz:.3f}"


@dataclass(frozen=True)
class Top:
    """The top function of one chunk: its name, arguments, and what the test bench calls it with."""

    name: str
    top_arguments: str
    step_arguments: str
    step_values: str
    call: str


def write_hls(
    folder: Path, accelerator: Accelerator, words: Mapping[str, int], header: str, target: Target | None = None
) -> None:
    """Write `hls/` but for its manifest. `words`: sizes of the regions, which are the depths of the co-simulation.

    `header`: what generated it, and from what.
    """
    templates = data_folder("templates") / "hls"
    folder.mkdir(parents=True)
    for name in HEADERS:
        (folder / name).write_text(f"// {header}\n{(templates / name).read_text()}")
    (folder / "dna_isa.h").write_text(f"// {header}\n{render_isa()}")
    for name, text in render(accelerator, words, header, target or Target()).items():
        (folder / name).write_text(text)


def write_hls_of(project: Path, accelerator: Accelerator, header: str, target: Target | None = None) -> None:
    """Write `hls/` of a Project whose `program/` is there: `write_hls`, and the manifest of that program."""
    content = json.loads((project / "program" / "program.json").read_text())
    words = {name: region["words"] for name, region in content["regions"].items()}
    words |= {name: words[name] * content["buffers"] for name in ("INPUT", "OUTPUT")}
    write_hls(project / "hls", accelerator, words, header, target)
    (project / "hls" / MANIFEST).write_text(manifest(content, "../program"))


def render(accelerator: Accelerator, words: Mapping[str, int], header: str, target: Target) -> dict[str, str]:
    """Text by file name of everything that depends on the accelerator."""
    templates = environment(data_folder("templates") / "hls")
    templates.trim_blocks = templates.lstrip_blocks = True
    tops = [top_of(accelerator, index) for index in range(len(accelerator.chunks))]
    common: dict[str, Any] = {
        "header": header,
        "tops": tops,
        "chunks": len(tops),
        "links": accelerator.links,
        "part": target.part,
        "period": target.period,
        "beat_bytes": accelerator.chunks[0].port_bytes,
        "mixed": len({chunk.port_bytes for chunk in accelerator.chunks}) > 1,
    }
    texts = {
        name: templates.get_template(f"{name}.j2").render(common)
        for name in ("dna_top.h", "dna_testbench.cpp", "run_hls.tcl", "Makefile")
    }
    for index, top in enumerate(tops):
        chunk = accelerator.chunks[index]
        values = common | {
            "index": index,
            "chunk": chunk,
            "name": top.name,
            "top_arguments": top.top_arguments,
            "step_arguments": top.step_arguments,
            "step_values": top.step_values,
            "reads": _links(accelerator, reader=index),
            "writes": _links(accelerator, writer=index),
            "depth": _depths(words, 16 // chunk.port_bytes),
        }
        texts[f"{top.name}.cpp"] = templates.get_template("dna_chunk.cpp.j2").render(values)
        texts[f"{top.name}.cfg"] = templates.get_template("vitis.cfg.j2").render(common, top=top)
    return {name: _wrapped(text) if name.endswith((".cpp", ".h")) else text for name, text in texts.items()}


def _wrapped(text: str) -> str:
    """Long lines of C++ broken behind a comma, pragmas and comments left whole; subscripts without spaces."""
    text = re.sub(r"\[ (\w+) \]", r"[\1]", text)
    return "\n".join(part for line in text.split("\n") for part in _broken(line))


def _broken(line: str) -> list[str]:
    indent = line[: len(line) - len(line.lstrip())]
    parts = []
    while len(line) > LINE and not line.lstrip().startswith(("#", "//")):
        cut = line.rfind(", ", len(indent) + 5, LINE) + 1
        if cut == 0:
            break
        parts.append(line[:cut])
        line = f"{indent}    {line[cut + 1 :]}"
    return [*parts, line]


def _links(accelerator: Accelerator, writer: int | None = None, reader: int | None = None) -> list[Link]:
    return [link for link in accelerator.links if link.writer == writer or link.reader == reader]


def _depths(words: Mapping[str, int], beats: int) -> dict[str, int]:
    """Beats behind each pointer, at least one."""
    regions = {"program": "PROGRAM", "input": "INPUT"}
    regions |= {pointer: region for region, pointers in READ_WRITE.items() for pointer in pointers}
    return {pointer: max(1, words.get(region, 0) * beats) for pointer, region in regions.items()}


def top_of(accelerator: Accelerator, index: int) -> Top:
    """The top function of chunk `index`."""
    beat = f"ap_uint<{8 * accelerator.chunks[index].port_bytes}>"
    cast = accelerator.chunks[index].port_bytes != accelerator.chunks[0].port_bytes
    arguments, values, call = [], [], []

    def add(kind: str, name: str, given: str) -> None:
        arguments.append(f"{kind}{name}")
        values.append(name)
        call.append(given)

    def memory(name: str) -> str:
        return f"reinterpret_cast<{beat} *>({name}.data())" if cast else f"{name}.data()"

    add(f"const {beat} *", "program", memory("programs[index]"))
    add(f"const {beat} *", "input", memory("input"))
    for suffix, kind in (("read", f"const {beat} *"), ("write", f"{beat} *")):
        add(kind, f"work_{suffix}", memory("work"))
        add(kind, f"output_{suffix}", memory("output"))
    for name in SCALARS:
        add("ap_uint<32> ", name, name)
    add("ap_uint<2> ", "buffer_mask", "buffer_mask")
    for link in _links(accelerator, reader=index):
        add("const ap_uint<128> *", f"bank_from_{link.writer}", f"bank_{link.writer}_{link.reader}")
    for link in _links(accelerator, writer=index):
        add("ap_uint<128> *", f"bank_to_{link.reader}", f"bank_{link.writer}_{link.reader}")
    others = [other for other in range(len(accelerator.chunks)) if other != index]
    for other in others:
        for counter in ("committed", "fetched"):
            add("const volatile unsigned *", f"{counter}_of_{other}", f"&{counter}[{other}]")
    if others:
        for counter in ("committed", "fetched"):
            add("volatile unsigned *", counter, f"&{counter}[{index}]")
    step = ", ".join(arguments)
    name = f"dna_chunk{index}"
    return Top(name, f"{step}, ap_uint<32> *phases", step, ", ".join(values), ", ".join(call))


# ---------------------------------------------------------------- instruction set


def render_isa() -> str:
    """Text of `dna_isa.h`: opcodes, bit positions, and a struct with its decoder for each instruction."""
    parts = [
        "// Instruction set, generated from dna/accelerator/isa.py: do not edit.",
        "#ifndef DNA_ISA_H",
        "#define DNA_ISA_H",
        "",
        '#include "dna_types.h"',
        "",
        "namespace dna {",
        "",
        f"typedef ap_uint<{isa.INSTRUCTION_BITS}> instruction_t;",
        f"const int PAGE_INSTRUCTIONS = {PAGE_INSTRUCTIONS};",
        f"const int PAGES_INSTRUCTIONS = {2 * PAGE_INSTRUCTIONS};",
        f"const int COUNTER_BITS = {isa.COUNTER_BITS};",
        f"const int INDEX_BITS = {isa.INDEX_BITS};",
        f"const int PASS_BITS = {isa.PASS_BITS};",
        f"const int COMMIT_BITS = {isa.COMMIT_BITS};",
        "",
        _enum("Opcode", "OP", isa.OPCODES),
        _enum("Destination", "DEST", isa.DESTINATIONS),
        _enum("Mode", "MODE", isa.MODES),
        _enum("Region", "REGION", isa.REGIONS),
        _enum("Engine", "ENGINE", isa.ENGINES),
        _enum("Event", "EVENT", isa.EVENTS),
    ]
    for opcode in isa.FIELDS:
        parts += ["", *_decoder(opcode)]
    return "\n".join([*parts, "", "}  // namespace dna", "", "#endif", ""])


def _enum(name: str, prefix: str, values: Mapping[str, int]) -> str:
    entries = ", ".join(f"{prefix}_{key} = {value}" for key, value in values.items())
    return f"enum {name} {{ {entries} }};"


def _decoder(opcode: str) -> list[str]:
    """Lines: the positions of an instruction's fields, its struct, and the function that fills it."""
    fields = isa.FIELDS[opcode][1:]
    positions = []
    for field in isa.FIELDS[opcode]:
        high, low = field_range(opcode, field.name)
        prefix = f"{opcode}_{field.name.upper()}"
        positions.append(f"const int {prefix}_HIGH = {high}, {prefix}_LOW = {low};")
    struct = opcode.capitalize()
    members = [f"  {'S' if f.signed else 'U'}<{f.bits}> {f.name};  // {f.meaning}" for f in fields]
    decodes = [f"  fields.{f.name} = {_value(opcode, f)};" for f in fields]
    return [
        *positions,
        "",
        f"struct {struct} {{",
        *members,
        "};",
        "",
        f"inline {struct} decode_{opcode.lower()}(const instruction_t &word) {{",
        "#pragma HLS INLINE",
        f"  {struct} fields;",
        *decodes,
        "  return fields;",
        "}",
    ]


def _value(opcode: str, field: isa.Field) -> str:
    prefix = f"{opcode}_{field.name.upper()}"
    bits = f"word.range({prefix}_HIGH, {prefix}_LOW)"
    return f"ap_int<{field.bits}>({bits}).to_int()" if field.signed else f"{bits}.to_int()"


# ---------------------------------------------------------------- manifest


def manifest(content: Mapping[str, Any], program: str) -> str:
    """Text of a manifest: what the test bench reads instead of `program.json`, whose `content` is given.

    `program`: path from the manifest to the program folder.
    """
    regions = content["regions"]
    starts = regions["PROGRAM"]["addresses"]
    ends = [*starts[1:], starts[0] + 16 * regions["PROGRAM"]["words"]]
    lines = ["# What the C simulation runs and compares; written from program.json."]
    for chunk, (start, end) in enumerate(zip(starts, ends, strict=True)):
        lines.append(f"image {chunk} {start - starts[0]} {end - start} {program}/program.bin")
    lines += [f"region {name} {regions[name]['words']}" for name in ("INPUT", "OUTPUT", "WORK")]
    lines += [f"passes {content['passes']}", f"buffers {content['buffers']}"]
    for name, tensor in content["tensors"].items():
        kind = "input" if name == "input" else "tensor"
        shape = f"{tensor['height']} {tensor['groups'] * tensor['width']} {tensor['row_words']}"
        for buffer, frames in enumerate(tensor["files"]):
            first = buffer * regions[tensor["region"]]["words"]
            for address, file in zip(tensor["frame_addresses"], frames, strict=True):
                lines.append(f"{kind} {tensor['region']} {first + address} {shape} {program}/{file} {name}")
    return "\n".join([*lines, ""])
