"""Benches of RTL parts: one Verilog module that holds several parts, each at several parameter sets.

One build then serves many tests. Every input of a part becomes a register that the test writes, every output a wire
that it reads; both are found as `dut.INSTANCE.PORT`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from dna.paths import rtl_templates

_HEADER = re.compile(r"^module\s+\w+\s*(?:#\(\s*(?P<params>.*?)\n\)\s*)?\(\s*(?P<ports>.*?)\n\);", re.S | re.M)
_PORT = re.compile(
    r"^\s*(?P<way>input|output)\s+(?:wire|reg)\s*(?P<sign>signed)?\s*(?P<range>\[[^\]]*\])?\s*(?P<name>\w+)"
)


@dataclass(frozen=True)
class Instance:
    """One part at one parameter set."""

    module: str
    parameters: dict[str, int] = field(default_factory=dict)


def _post(oc: int, px: int, post_lanes: int, residual: int, in_lut: int = 0) -> Instance:
    sizes = {"OC": oc, "PX": px, "POST_LANES": post_lanes, "RESIDUAL": residual}
    return Instance("dna_post", {**sizes, "POST_LUT": in_lut})


def _lane(oc: int, ic: int, depth: int, index: int) -> Instance:
    return Instance("dna_lane", {"OC": oc, "IC": ic, "DEPTH": depth, "INDEX": index})


def _array(oc: int, ic: int, px: int, packed: int = 0, sum_words: int = 0, in_lut: int = 0) -> Instance:
    sizes = {"OC": oc, "IC": ic, "PX": px}
    return Instance("dna_mac_array", {**sizes, "PACKED": packed, "SUM_WORDS": sum_words, "MAC_LUT": in_lut})


BENCHES: dict[str, dict[str, Instance]] = {
    "arithmetic": {
        "post_lane_plain": Instance("dna_post_lane", {"RESIDUAL": 0}),
        "post_lane_residual": Instance("dna_post_lane", {"RESIDUAL": 1}),
        "post_lane_lut_plain": Instance("dna_post_lane", {"RESIDUAL": 0, "POST_LUT": 1}),
        "post_lane_lut_residual": Instance("dna_post_lane", {"RESIDUAL": 1, "POST_LUT": 1}),
        **{f"cell_{ic}": Instance("dna_mac_cell", {"IC": ic}) for ic in (1, 4, 16)},
        **{
            f"array_{oc}_{ic}_{px}": _array(oc, ic, px)
            for oc, ic, px in ((2, 8, 5), (8, 4, 2), (16, 1, 3), (32, 4, 1), (2, 16, 1))
        },
        **{
            f"packed_{oc}_{ic}_{px}": _array(oc, ic, px, packed=1)
            for oc, ic, px in ((2, 8, 5), (8, 4, 2), (16, 1, 3), (32, 2, 2), (2, 16, 2), (8, 2, 1))
        },
        **{f"in_lut_{oc}_{ic}_{px}": _array(oc, ic, px, in_lut=1) for oc, ic, px in ((2, 8, 2), (16, 1, 3), (4, 4, 1))},
        **{
            f"summing_{oc}_{ic}_{px}_{packed}": _array(oc, ic, px, packed, sum_words)
            for oc, ic, px, packed, sum_words in (
                (2, 8, 3, 0, 16),
                (16, 1, 1, 0, 100),
                (8, 4, 3, 1, 17),
                (2, 16, 2, 1, 64),
            )
        },
        **{
            f"operand_{oc}_{ic}": Instance("dna_weight_operand", {"OC": oc, "IC": ic})
            for oc, ic in ((2, 8), (8, 2), (16, 1), (32, 4), (16, 16))
        },
    },
    "buffers": {
        **{
            f"stream_{banks}_{depth}": Instance("dna_stream_buffer", {"BANKS": banks, "DEPTH": depth})
            for banks, depth in ((1, 16), (1, 300), (4, 64), (16, 17), (128, 16))
        },
        **{f"walk_{px}": Instance("dna_lane_walk", {"PX": px}) for px in (1, 2, 5, 128)},
        "capture": Instance("dna_capture"),
    },
    "lanes": {
        f"lane_{oc}_{ic}_{depth}_{index}": _lane(oc, ic, depth, index)
        for oc, ic, depth, index in ((2, 8, 64, 0), (8, 4, 300, 2), (16, 1, 512, 5), (32, 16, 128, 3), (16, 4, 200, 1))
    },
    "control": {
        f"control_{ic}_{cg}": Instance("dna_compute_control", {"IC": ic, "CG": cg})
        for ic, cg in ((1, 16), (4, 16), (16, 16), (8, 2), (4, 8))
    }
    | {
        f"{name}_{ic}_{cg}": Instance("dna_compute_control", {"IC": ic, "CG": cg, "DATAFLOW": dataflow})
        for dataflow, name in ((1, "weight"), (2, "input"))
        for ic, cg in ((1, 16), (4, 16), (16, 4), (8, 2))
    },
    "post": {
        f"post_{oc}_{px}_{lanes}_{residual}": _post(oc, px, lanes, residual)
        for oc, px, lanes, residual in (
            (2, 1, 2, 0),
            (8, 2, 4, 1),
            (16, 3, 4, 1),
            (32, 2, 16, 1),
            (32, 1, 8, 0),
            (16, 5, 16, 1),
            (32, 2, 2, 1),
        )
    }
    | {"post_in_lut": _post(16, 2, 4, 1, in_lut=1)}
    | {
        f"groups_first_{oc}_{px}_{lanes}": Instance(
            "dna_post", {"OC": oc, "PX": px, "POST_LANES": lanes, "RESIDUAL": 1, "DATAFLOW": 2}
        )
        for oc, px, lanes in ((2, 2, 2), (16, 3, 4), (32, 2, 16))
    },
}
"""Instances of each bench, by name."""


def select(bench: str, module: str) -> list[str]:
    """Names of a bench's instances of one module."""
    return [name for name, instance in BENCHES[bench].items() if instance.module == module]


def _shell(module: str) -> str:
    """A module with the part's parameters, in which the part's ports are variables."""
    text = re.sub(r"//[^\n]*", "", (rtl_templates() / f"{module}.v").read_text())
    header = _HEADER.search(text)
    assert header, f"{module}: header not understood"
    ports = [port for line in header["ports"].splitlines() if (port := _PORT.match(line))]
    assert len(ports) == len(re.findall(r"\b(?:input|output)\b", header["ports"])), (
        f"{module}: a port was not understood"
    )
    lines = [f"module bench_{module}" + (f" #(\n{header['params']}\n)" if header["params"] else "")]
    lines.append("(\n  input wire clk\n);")
    for port in ports:
        if port["name"] != "clk":
            kind, access = ("reg", "public_flat_rw") if port["way"] == "input" else ("wire", "public_flat_rd")
            shape = " ".join(filter(None, (port["sign"], port["range"])))
            lines.append(f"  {kind} {shape} {port['name']} /* verilator {access} */;")
    names = re.findall(r"parameter\s+(\w+)", header["params"] or "")
    parameters = ", ".join(f".{name}({name})" for name in names)
    connections = ", ".join(f".{port['name']}({port['name']})" for port in ports)
    lines.append(f"  {module} {f'#({parameters}) ' if names else ''}part ({connections});\nendmodule\n")
    return "\n".join(lines)


def bench_source(bench: str) -> str:
    """Verilog text of a bench; its top is module `parts_NAME` with the single port `clk`."""
    instances = BENCHES[bench]
    text = ["`default_nettype none", '`include "isa.vh"']
    text += [_shell(module) for module in dict.fromkeys(instance.module for instance in instances.values())]
    text.append(f"module parts_{bench} (input wire clk);")
    for name, instance in instances.items():
        values = ", ".join(f".{key}({value})" for key, value in instance.parameters.items())
        text.append(f"  bench_{instance.module} {f'#({values}) ' if values else ''}{name} (.clk(clk));")
    text.append("endmodule\n`default_nettype wire\n")
    return "\n".join(text)
