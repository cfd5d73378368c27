"""The vendor's IPs as far as a block design of the accelerator meets them: settings, pins, interfaces, segments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

SWITCH = "[01]"
IPS: dict[str, dict[str, str]] = {
    "processing_system7": {
        "PCW_USE_M_AXI_GP0": SWITCH, "PCW_EN_CLK0_PORT": SWITCH, "PCW_EN_RST0_PORT": SWITCH,
        "PCW_FPGA0_PERIPHERAL_FREQMHZ": r"\d+(\.\d+)?", "PCW_USE_FABRIC_INTERRUPT": SWITCH, "PCW_IRQ_F2P_INTR": SWITCH,
        **{f"PCW_USE_S_AXI_HP{n}": SWITCH for n in range(4)},
        **{f"PCW_S_AXI_HP{n}_DATA_WIDTH": "32|64" for n in range(4)},
    },
    "zynq_ultra_ps_e": {
        **{f"PSU__USE__M_AXI_GP{n}": SWITCH for n in range(3)},
        "PSU__FPGA_PL0_ENABLE": SWITCH, "PSU__USE__IRQ0": SWITCH,
        "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ": r"\d+(\.\d+)?",
        **{f"PSU__USE__S_AXI_GP{n}": SWITCH for n in range(7)},
        **{f"PSU__SAXIGP{n}__DATA_WIDTH": "32|64|128" for n in range(7)},
    },
    "proc_sys_reset": {},
    "smartconnect": {"NUM_SI": r"[1-9]|1[0-6]", "NUM_MI": r"[1-9]|1[0-6]"},
}  # fmt: skip
"""Settings of each IP that scripts may use, and what values they take."""

AXI_SIGNALS = {
    **dict.fromkeys(
        ("awaddr", "awlen", "awsize", "awburst", "awcache", "awprot", "awvalid", "wdata", "wstrb", "wlast"), "m"
    ),
    **dict.fromkeys(("wvalid", "bready", "araddr", "arlen", "arsize", "arburst", "arcache", "arprot", "arvalid"), "m"),
    **dict.fromkeys(("rready",), "m"),
    **dict.fromkeys(("awready", "wready", "bresp", "bvalid", "arready", "rdata", "rresp", "rlast", "rvalid"), "s"),
}
"""Who drives each signal: the master or the slave."""


@dataclass(frozen=True)
class Pin:
    """A pin, or with a protocol an interface: `drives` is a master then, `segment` the slave's address segment."""

    drives: bool
    width: int = 1
    kind: str = ""
    required: bool = True
    protocol: str = ""
    segment: str = ""
    window: tuple[int, int] | None = None
    """Addresses that a slave has, or that a master of the processing system reaches."""


def _on(values: Mapping[str, str], name: str, default: str) -> bool:
    return values.get(name, default) == "1"


def ip_pins(ip: str, values: Mapping[str, str]) -> dict[str, Pin]:
    """Pins of an IP with these settings."""
    clock_in, clock_out = Pin(False, kind="clock"), Pin(True, kind="clock", required=False)
    reset_out, interrupt = Pin(True, kind="reset", required=False), Pin(False, kind="interrupt")
    if ip == "processing_system7":
        pins = {"FCLK_CLK0": clock_out} if _on(values, "PCW_EN_CLK0_PORT", "0") else {}
        pins |= {"FCLK_RESET0_N": reset_out} if _on(values, "PCW_EN_RST0_PORT", "0") else {}
        pins |= {"M_AXI_GP0_ACLK": clock_in} if _on(values, "PCW_USE_M_AXI_GP0", "1") else {}
        used = _on(values, "PCW_USE_FABRIC_INTERRUPT", "0") and _on(values, "PCW_IRQ_F2P_INTR", "0")
        pins |= {"IRQ_F2P": interrupt} if used else {}
        return pins | {f"S_AXI_HP{n}_ACLK": clock_in for n in range(4) if _on(values, f"PCW_USE_S_AXI_HP{n}", "0")}
    if ip == "zynq_ultra_ps_e":
        pins = {"pl_clk0": clock_out, "pl_resetn0": reset_out} if _on(values, "PSU__FPGA_PL0_ENABLE", "1") else {}
        names = {0: "maxihpm0_fpd_aclk", 1: "maxihpm1_fpd_aclk", 2: "maxihpm0_lpd_aclk"}
        # As the usual presets leave them.
        pins |= {
            pin: clock_in for n, pin in names.items() if _on(values, f"PSU__USE__M_AXI_GP{n}", "1" if n < 2 else "0")
        }
        pins |= {"pl_ps_irq0": interrupt} if _on(values, "PSU__USE__IRQ0", "1") else {}
        return pins | {
            f"saxihp{n}_fpd_aclk": clock_in for n in range(4) if _on(values, f"PSU__USE__S_AXI_GP{n + 2}", "0")
        }
    if ip == "proc_sys_reset":
        pins = {"slowest_sync_clk": clock_in, "ext_reset_in": Pin(False, kind="reset")}
        return pins | dict.fromkeys(("peripheral_aresetn", "interconnect_aresetn"), reset_out)
    return {"aclk": clock_in, "aresetn": Pin(False, kind="reset")}


def ip_interfaces(ip: str, values: Mapping[str, str]) -> dict[str, Pin]:
    """AXI interfaces of an IP with these settings."""
    found: dict[str, Pin] = {}
    if ip == "processing_system7":
        if _on(values, "PCW_USE_M_AXI_GP0", "1"):
            found["M_AXI_GP0"] = Pin(True, 32, protocol="AXI3", window=(0x40000000, 0x7FFFFFFF))
        for n in range(4):
            if _on(values, f"PCW_USE_S_AXI_HP{n}", "0"):
                width, segment = int(values.get(f"PCW_S_AXI_HP{n}_DATA_WIDTH", "64")), f"S_AXI_HP{n}/HP{n}_DDR_LOWOCM"
                found[f"S_AXI_HP{n}"] = Pin(False, width, protocol="AXI3", segment=segment, window=(0, 0x3FFFFFFF))
    elif ip == "zynq_ultra_ps_e":
        if _on(values, "PSU__USE__M_AXI_GP0", "1"):
            found["M_AXI_HPM0_FPD"] = Pin(True, 128, protocol="AXI4", window=(0xA0000000, 0xAFFFFFFF))
        for n in range(4):
            if _on(values, f"PSU__USE__S_AXI_GP{n + 2}", "0"):
                width = int(values.get(f"PSU__SAXIGP{n + 2}__DATA_WIDTH", "128"))
                segment = f"SAXIGP{n + 2}/HP{n}_DDR_LOW"
                found[f"S_AXI_HP{n}_FPD"] = Pin(False, width, protocol="AXI4", segment=segment, window=(0, 0x7FFFFFFF))
    elif ip == "smartconnect":
        found = {f"S{n:02d}_AXI": Pin(False, protocol="any") for n in range(int(values.get("NUM_SI", "1")))}
        found |= {f"M{n:02d}_AXI": Pin(True, protocol="any") for n in range(int(values.get("NUM_MI", "1")))}
    return found


def dna_ip(ports: Mapping[str, tuple[str, int]]) -> dict[str, Pin]:
    """Pins and interfaces of the packaged accelerator, from the ports (direction, width) of its Verilog."""
    found = {"aclk": Pin(False, kind="clock"), "aresetn": Pin(False, kind="reset"), "irq": Pin(True, kind="interrupt")}
    for name, (_, width) in ports.items():
        if match := re.fullmatch(r"((?:s|m\d+)_axi)_rdata", name):
            slave = match[1] == "s_axi"
            segment = "s_axi/reg0" if slave else ""
            found[match[1]] = Pin(not slave, width, protocol="AXI4LITE" if slave else "AXI4", segment=segment)
    return found
