"""The folder `asic/` of a Project: sources with memory macros, constraints, and the configurations of open flows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dna.accelerator.chunk import PAGE_INSTRUCTIONS, Accelerator, Chunk
from dna.accelerator.isa import INSTRUCTION_BITS
from dna.accelerator.registers import SNAPSHOT, STATS_LAYERS
from dna.generate.render import environment
from dna.paths import data_folder

RENDERED = ("config.mk", "constraint.sdc", "dna_macros.v", "dna_ram_macro.v", "synth.ys")
ASIC_FILES = (*RENDERED, "Makefile", "config.json", "dna_macros_blackbox.v", "filelist.f", "memories.json")
RAM = "dna_ram.v"
"""The one source that an ASIC flow replaces."""
WORD_BITS = 128
REGISTER_BITS = 32


@dataclass(frozen=True, order=True)
class Macro:
    """A size of memory: one write and one read port, `byte_write` with an enable per byte."""

    width: int
    depth: int
    byte_write: bool

    @property
    def name(self) -> str:
        return f"dna_macro_w{self.width}_d{self.depth}{'_b' if self.byte_write else ''}"

    @property
    def address_bits(self) -> int:
        return max(1, (self.depth - 1).bit_length())


def memories(accelerator: Accelerator) -> Counter[tuple[str, Macro]]:
    """How many memories of each size the accelerator has, by what they are for: every instance of `dna_ram`."""
    found: Counter[tuple[str, Macro]] = Counter()
    for chunk in accelerator.chunks:
        for use, macro, count in _of_chunk(chunk):
            found[use, macro] += count
    for link in accelerator.links:
        found["links", Macro(WORD_BITS, link.words, False)] += 1
    return found


def _of_chunk(chunk: Chunk) -> list[tuple[str, Macro, int]]:
    pages = INSTRUCTION_BITS // WORD_BITS
    result = [
        ("input buffers", Macro(WORD_BITS, chunk.input_words, False), chunk.px),
        ("weight buffers", Macro(WORD_BITS, chunk.weight_words, False), 8 * chunk.weight_word_bytes // WORD_BITS),
        ("parameter buffers", Macro(WORD_BITS, chunk.param_words, False), 64 * chunk.post_lanes // WORD_BITS),
        ("output buffers", Macro(WORD_BITS, chunk.output_words, True), 1),
        ("program", Macro(WORD_BITS, 2 * PAGE_INSTRUCTIONS, False), pages),
        ("layer counters", Macro(REGISTER_BITS * len(SNAPSHOT), STATS_LAYERS, False), 1),
        ("layer commits", Macro(REGISTER_BITS, STATS_LAYERS, False), 1),
    ]
    if chunk.sum_words:
        # A pixel lane's sums, 32 bits for each output channel, in memories of at most one word.
        width = min(REGISTER_BITS * chunk.oc, WORD_BITS)
        result.append(
            ("sum buffers", Macro(width, chunk.sum_words, False), chunk.px * REGISTER_BITS * chunk.oc // width)
        )
    if chunk.residual:
        result.append(("residual buffers", Macro(WORD_BITS, chunk.output_words, False), 1))
    return result


def write_asic(folder: Path, accelerator: Accelerator, clock_mhz: float, sources: Sequence[str], header: str) -> None:
    """Write `asic/`. `sources`: the Verilog files in rtl/."""
    folder.mkdir()
    templates = data_folder("templates") / "asic"
    used = memories(accelerator)
    macros = sorted({macro for _, macro in used})
    period = 1000 / clock_mhz
    logic = [name for name in sources if name != RAM]
    values = {
        "header": header,
        "clock_mhz": f"{clock_mhz:g}",
        "period": f"{period:.3f}",
        "macros": macros,
        "sources": logic,
        "range": lambda bits: f"{f'[{bits - 1}:0]':<7}",
    }
    jinja = environment(templates)
    for name in RENDERED:
        (folder / name).write_text(jinja.get_template(f"{name}.j2").render(values))
    (folder / "Makefile").write_text(f"# {header}\n{(templates / 'Makefile').read_text()}")
    (folder / "dna_macros_blackbox.v").write_text(_black_boxes((folder / "dna_macros.v").read_text()))
    (folder / "memories.json").write_text(json.dumps(_list(used), indent=1) + "\n")
    (folder / "config.json").write_text(json.dumps(openlane(macros, logic, period), indent=1) + "\n")
    files = ["+incdir+../rtl", *(f"../rtl/{name}" for name in logic), "dna_ram_macro.v", "dna_macros.v"]
    comment = f"// {header}\n// Top module: dna_top. Paths are relative to this folder."
    (folder / "filelist.f").write_text("\n".join([comment, *files, ""]))


def _black_boxes(text: str) -> str:
    """The macros' ports alone."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("module "):
            lines.append("(* blackbox *)")
        if not inside:
            lines.append(line.replace("output reg ", "output wire"))
        if line == ");":
            inside = True
        if line == "endmodule":
            inside = False
            lines.append(line)
    head, _, rest = "\n".join(lines).partition("`default_nettype none")
    first = head.splitlines()[0]
    return f"{first}\n// The memory macros' ports, without their behaviour.\n`default_nettype none{rest}\n"


def _list(used: Counter[tuple[str, Macro]]) -> dict[str, Any]:
    """memories.json: each use, and what to ask the memory compiler for."""
    totals: Counter[Macro] = Counter()
    for (_, macro), count in used.items():
        totals[macro] += count
    return {
        "ports": "one write, one read, one clock; the word read is there one cycle after its address, and stays",
        "macros": [
            {"name": macro.name, **asdict(macro), "instances": totals[macro], "bits": macro.width * macro.depth}
            for macro in sorted(totals)
        ],
        "uses": [{"use": use, "name": macro.name, "instances": count} for (use, macro), count in sorted(used.items())],
        "bits": sum(count * macro.width * macro.depth for macro, count in totals.items()),
    }


def openlane(macros: Sequence[Macro], sources: Sequence[str], period: float) -> dict[str, Any]:
    """Content of OpenLane's config.json; the macros' views are to be put into macros/."""

    def views(kind: str) -> list[str]:
        return [f"dir::macros/{macro.name}.{kind}" for macro in macros]

    return {
        "meta": {"version": 2},
        "DESIGN_NAME": "dna_top",
        "VERILOG_FILES": [*(f"dir::../rtl/{name}" for name in sources), "dir::dna_ram_macro.v"],
        "VERILOG_INCLUDE_DIRS": ["dir::../rtl"],
        "EXTRA_VERILOG_MODELS": ["dir::dna_macros_blackbox.v"],
        "EXTRA_LEFS": views("lef"),
        "EXTRA_LIBS": views("lib"),
        "EXTRA_GDS_FILES": views("gds"),
        "CLOCK_PORT": "aclk",
        "CLOCK_PERIOD": round(period, 3),
        "PNR_SDC_FILE": "dir::constraint.sdc",
        "SIGNOFF_SDC_FILE": "dir::constraint.sdc",
        "FP_CORE_UTIL": 40,
        "PL_TARGET_DENSITY_PCT": 50,
    }
