"""The Vivado scripts run in a Tcl interpreter against a stand-in for the tool; what Vivado would refuse, it refuses."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("tkinter", reason="the scripts run in Python's Tcl interpreter")

from dna.accelerator.board import board_names, load_board
from dna.accelerator.chunk import Accelerator, Chunk, Link
from dna.errors import UserError
from dna.generate.isa_header import render_header
from dna.generate.render import render_registers, render_top
from dna.generate.vivado import VIVADO_FILES, family_of, write_vivado
from dna.paths import rtl_templates
from tests.generate.vivado_stand_in import VendorError, Vivado

ONE = Accelerator((Chunk(ports=1, port_bytes=8),))
TWO = Accelerator((Chunk(oc=16, ic=2), Chunk(oc=16, ic=1, ports=1)), 40, (Link(0, 1, 64),))
MANY = Accelerator(tuple(Chunk(oc=16, ic=1) for _ in range(4)))


def project(folder: Path, accelerator: Accelerator, board: str) -> Path:
    """rtl/ and vivado/ of a Project."""
    (folder / "rtl").mkdir(parents=True)
    top = render_top(accelerator, "Rendered for a test.")
    texts = {path.name: path.read_text() for path in rtl_templates().glob("*.v")}
    texts |= {"dna_top.v": top, "dna_registers.v": render_registers("Rendered for a test.", len(accelerator.chunks))}
    for name, text in {**texts, "isa.vh": render_header()}.items():
        (folder / "rtl" / name).write_text(text)
    write_vivado(folder / "vivado", accelerator, load_board(board), top, sorted(texts), "Rendered for a test.")
    return folder


def run_all(folder: Path, infer: bool = True, **more: object) -> Vivado:
    vivado = Vivado(folder, infer, **more)  # type: ignore[arg-type]
    for script in ("package_ip.tcl", "project.tcl", "bitstream.tcl"):
        vivado.source(script)
    return vivado


@pytest.mark.parametrize("board", [name for name in board_names() if load_board(name).technology is None])
@pytest.mark.parametrize("accelerator", [ONE, TWO, MANY], ids=["one", "two", "eight masters"])
def test_every_board_gets_a_whole_system(tmp_path: Path, accelerator: Accelerator, board: str) -> None:
    folder = project(tmp_path, accelerator, board)
    assert {path.name for path in (folder / "vivado").iterdir()} == set(VIVADO_FILES)
    vivado = run_all(folder)
    assert "valid" in vivado.state and (folder / "vivado" / "dna.bit").is_file()
    masters = {space for space, _ in vivado.segments if space.startswith("dna/")}
    assert masters == {f"dna/m{number}_axi" for number in range(accelerator.ports)}
    used = {segment for space, segment in vivado.segments if space.startswith("dna/")}
    assert len(used) == min(accelerator.ports, load_board(board).ports), "masters spread over all memory ports"


def test_interfaces_that_are_not_inferred_are_declared(tmp_path: Path) -> None:
    vivado = run_all(project(tmp_path, TWO, "zc706"), infer=False)
    declared = [call for call in vivado.calls if call.startswith("ipx::infer_bus_interface")]
    assert len(declared) == 3 + 1 + TWO.ports


def test_constraints_are_tcl_of_the_top_level(tmp_path: Path) -> None:
    vivado = Vivado(project(tmp_path, ONE, "zcu102"))
    vivado.source("dna.xdc")
    vivado.source("dna_ooc.xdc")
    assert any(call.startswith("create_clock -name aclk -period 3.333") for call in vivado.calls)


def test_missing_board_files_and_missed_timing_are_errors(tmp_path: Path) -> None:
    folder = project(tmp_path, ONE, "zc706")
    with pytest.raises(VendorError, match="no board files"):
        run_all(folder, boards=False)
    with pytest.raises(VendorError, match="timing is not met at 200 MHz"):
        run_all(folder, slack="-0.3")


FAULTS = {
    "a file is missing": ("settings.tcl", r"    ../rtl/dna_fifo.v\n", ""),
    "a file has another name": ("settings.tcl", r"dna_fifo\.v", "dna_fifos.v"),
    "the header is no header": ("package_ip.tcl", r"set_property file_type", "#"),
    "a port is in no interface": ("settings.tcl", r" m0_axi_rlast\b", ""),
    "a port does not exist": ("settings.tcl", r"m0_axi_rlast\b", "m0_axi_rlasts"),
    "no interrupt interface": ("package_ip.tcl", r"dna_parameter \[dna_interface \$core irq.*", ""),
    "an interface without a clock": ("package_ip.tcl", r"-busif s_axi -clock aclk", "-clock aclk"),
    "a wrong polarity": ("package_ip.tcl", r"ACTIVE_LOW", "ACTIVE_HIGH"),
    "registers too small": ("package_ip.tcl", r"\[expr \{\$dna_registers_range\}\]", "1024"),
    "address width": ("settings.tcl", r"dna_address_bits 40", "dna_address_bits 32"),
    "an unknown command": ("package_ip.tcl", r"ipx::update_checksums", "ipx::update_checksum"),
    "an unknown option": ("package_ip.tcl", r"-taxonomy", "-taxonomie"),
    "a step too early": ("block_design.tcl", r"validate_bd_design\n", ""),
    "a cell without reset": ("block_design.tcl", r"connect_bd_net \[get_bd_pins reset/peripheral_aresetn\].*", ""),
    "a clock is missing": ("block_design.tcl", r" \[get_bd_pins dna/aclk\]", ""),
    "the interrupt is open": ("block_design.tcl", r"connect_bd_net \[get_bd_pins dna/irq\].*", ""),
    "a reset to a clock": ("block_design.tcl", r"reset/peripheral_aresetn", "reset/slowest_sync_clk"),
    "an unknown property": ("block_design.tcl", r"PCW_USE_S_AXI_HP0", "PCW_USE_AXI_HP0"),
    "a wrong width": ("block_design.tcl", r"DATA_WIDTH \{64\}", "DATA_WIDTH {128}"),
    "too few inputs": ("block_design.tcl", r"NUM_SI \$inputs", "NUM_SI 16"),
    "a master in no address map": (
        "block_design.tcl",
        r"dna/m1_axi\] \[get_bd_addr_segs",
        "dna/m0_axi] [get_bd_addr_segs",
    ),
    "another port's segment": ("block_design.tcl", r"S_AXI_HP2/HP2_DDR_LOWOCM", "S_AXI_HP1/HP1_DDR_LOWOCM"),
    "an address outside": ("settings.tcl", r"0x43C00000", "0x83C00000"),
    "an offset that is no multiple": ("settings.tcl", r"dna_memory_offset    0x00000000", "dna_memory_offset 0x1000"),
    "direct, other protocol": (
        "block_design.tcl",
        r"ps/M_AXI_GP0\] \[get_bd_intf_pins control/S00_AXI\]",
        "ps/M_AXI_GP0] [get_bd_intf_pins dna/s_axi]",
    ),
    "no bitstream": ("bitstream.tcl", r"-to_step write_bitstream", "-to_step route_design"),
    "not waited for": ("bitstream.tcl", r"wait_on_run impl_1", ""),
    "no wrapper": ("project.tcl", r"add_files -norecurse \$wrapper", ""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_found(tmp_path: Path, fault: str) -> None:
    folder = project(tmp_path, TWO, "zc706")
    file, pattern, replacement = FAULTS[fault]
    path = folder / "vivado" / file
    text, count = re.subn(pattern, lambda _: replacement, path.read_text())
    assert count, f"nothing to spoil in {file}"
    path.write_text(text)
    with pytest.raises(VendorError):
        run_all(folder, infer=False)


def test_make_runs_the_scripts_in_their_order(tmp_path: Path) -> None:
    folder = project(tmp_path, ONE, "zc706")
    done = subprocess.run(
        ["make", "-n", "-C", "vivado", "bitstream"], cwd=folder, capture_output=True, text=True, check=True
    )
    scripts = re.findall(r"^vivado -mode batch .*-source (\w+\.tcl)$", done.stdout, re.M)
    assert scripts == ["package_ip.tcl", "project.tcl", "bitstream.tcl"]


def test_parts_without_a_processor_are_refused() -> None:
    with pytest.raises(UserError, match="no Zynq"):
        family_of("xc7a100tcsg324-1")
