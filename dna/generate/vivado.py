"""The folder `vivado/` of a Project: IP packaging, block design of a Zynq board, constraints, one `make bitstream`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dna.accelerator.board import Board
from dna.accelerator.chunk import Accelerator
from dna.errors import UserError
from dna.generate.render import environment
from dna.paths import data_folder

STATIC = ("Makefile", "bitstream.tcl", "dna.xdc", "package_ip.tcl", "project.tcl")
RENDERED = ("block_design.tcl", "dna_ooc.xdc", "settings.tcl")
VIVADO_FILES = (*STATIC, *RENDERED)
LINE = 100

_MEMORY_BYTES = {"zc706": 1 << 30}
"""Memory of the processing system that lies below 2 GB, where it is not the family's usual."""


@dataclass(frozen=True)
class Family:
    """A processing system: its IP, its pins, and how its memory ports are called."""

    name: str
    ip: str
    clock: str
    reset: str
    control: str
    control_clock: str
    interrupt: str
    registers_address: str
    memory_bytes: int
    port: str
    port_clock: str
    segment: str

    def properties(self, ports: Sequence[int], port_bits: int, clock_mhz: float) -> dict[str, str]:
        """Settings of the IP for the memory ports used."""
        clock = f"{clock_mhz:g}"
        if self.name == "zynq-7000":
            values = {"PCW_USE_M_AXI_GP0": "1", "PCW_EN_CLK0_PORT": "1", "PCW_EN_RST0_PORT": "1"}
            values |= {"PCW_FPGA0_PERIPHERAL_FREQMHZ": clock, "PCW_USE_FABRIC_INTERRUPT": "1", "PCW_IRQ_F2P_INTR": "1"}
            for port in range(4):
                values[f"PCW_USE_S_AXI_HP{port}"] = str(int(port in ports))
            return values | {f"PCW_S_AXI_HP{port}_DATA_WIDTH": str(port_bits) for port in ports}
        values = {"PSU__USE__M_AXI_GP0": "1", "PSU__USE__M_AXI_GP1": "0", "PSU__USE__M_AXI_GP2": "0"}
        values |= {"PSU__FPGA_PL0_ENABLE": "1", "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ": clock, "PSU__USE__IRQ0": "1"}
        for port in range(4):
            values[f"PSU__USE__S_AXI_GP{port + 2}"] = str(int(port in ports))
        return values | {f"PSU__SAXIGP{port + 2}__DATA_WIDTH": str(port_bits) for port in ports}


FAMILIES = {
    "zynq-7000": Family(
        "zynq-7000", "processing_system7", "FCLK_CLK0", "FCLK_RESET0_N", "M_AXI_GP0", "M_AXI_GP0_ACLK", "IRQ_F2P",
        "0x43C00000", 1 << 29, "S_AXI_HP{0}", "S_AXI_HP{0}_ACLK", "S_AXI_HP{0}/HP{0}_DDR_LOWOCM",
    ),
    "zynq_ultra": Family(
        "zynq_ultra", "zynq_ultra_ps_e", "pl_clk0", "pl_resetn0", "M_AXI_HPM0_FPD", "maxihpm0_fpd_aclk", "pl_ps_irq0",
        "0xA0000000", 1 << 31, "S_AXI_HP{0}_FPD", "saxihp{0}_fpd_aclk", "SAXIGP{1}/HP{0}_DDR_LOW",
    ),
}  # fmt: skip


def family_of(part: str) -> Family:
    """The processing system in a part. UserError if it has none that is known."""
    if part.startswith("xc7z"):
        return FAMILIES["zynq-7000"]
    if re.match(r"xczu|xck26|xck24", part):
        return FAMILIES["zynq_ultra"]
    raise UserError(f"part '{part}' is no Zynq; the block design knows xc7z..., xczu..., xck24 and xck26")


def has_processor(part: str) -> bool:
    """Whether there is a block design for the part."""
    try:
        family_of(part)
    except UserError:
        return False
    return True


def registers_address(part: str) -> int:
    """Where the processor sees the registers; of a part without a processing system, as on Zynq-7000."""
    family = family_of(part) if has_processor(part) else FAMILIES["zynq-7000"]
    return int(family.registers_address, 16)


def write_vivado(
    folder: Path, accelerator: Accelerator, board: Board, top: str, sources: Sequence[str], header: str
) -> None:
    """Write `vivado/`. `top`: text of dna_top.v, whose ports the interfaces are made of; `sources`: files of rtl/."""
    folder.mkdir()
    templates = data_folder("templates") / "vivado"
    for name in STATIC:
        (folder / name).write_text(f"# {header}\n{(templates / name).read_text()}")
    values = settings(accelerator, board, top, sources, header)
    jinja = environment(templates)
    for name in RENDERED:
        (folder / name).write_text(jinja.get_template(f"{name}.j2").render(values))


def settings(accelerator: Accelerator, board: Board, top: str, sources: Sequence[str], header: str) -> dict[str, Any]:
    """All that the templates want to know."""
    family = family_of(board.part)
    ports = min(board.ports, 4)
    widths = [8 * chunk.port_bytes for chunk in accelerator.chunks for _ in range(chunk.ports)]
    masters = [
        {"name": f"m{number}_axi", "bits": bits, "port": family.port.format(number % ports)}
        for number, bits in enumerate(widths)
    ]
    used = list(range(min(ports, len(masters))))
    return {
        "header": header,
        "title": board.title,
        "part": board.part,
        "board_pattern": f"*:{board_file(board.name)}*:*",
        "clock_mhz": f"{board.clock_mhz:g}",
        "period": f"{1000 / board.clock_mhz:.3f}",
        "family": family.name,
        "registers_address": family.registers_address,
        "memory_range": f"0x{_MEMORY_BYTES.get(board.name, family.memory_bytes):08X}",
        "memory_ports": [family.port.format(port) for port in used],
        "port_bits": board.port_bits,
        "masters": masters,
        "address_bits": accelerator.address_bits,
        "interfaces": {name: _wrapped(names) for name, names in interfaces(top).items()},
        "sources": sources,
        "ps": {
            "ip": family.ip, "clock": family.clock, "reset": family.reset, "control": family.control,
            "control_clock": family.control_clock, "interrupt": family.interrupt,
            "properties": family.properties(used, board.port_bits, board.clock_mhz),
        },
        "used_ports": [
            {
                "name": family.port.format(port),
                "clock": family.port_clock.format(port),
                "segment": family.segment.format(port, port + 2),
                "masters": [master["name"] for number, master in enumerate(masters) if number % ports == port],
            }
            for port in used
        ],
    }  # fmt: skip


def board_file(name: str) -> str:
    """What the vendor's board files call it."""
    return {"kv260": "kv260_som", "ultra96": "ultra96v2"}.get(name, name)


def interfaces(top: str) -> dict[str, list[str]]:
    """Ports of each AXI interface of dna_top, by the interface's name, from the Verilog itself."""
    found: dict[str, list[str]] = {}
    for prefix, signal in re.findall(r"^ +(?:input|output) +wire +(?:\[[^]]*\] +)?((?:s|m\d+)_axi)_(\w+)", top, re.M):
        found.setdefault(prefix, []).append(f"{prefix}_{signal}")
    return found


def _wrapped(names: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for name in names:
        if lines and len(lines[-1]) + len(name) < LINE:
            lines[-1] += f" {name}"
        else:
            lines.append(name)
    return lines
