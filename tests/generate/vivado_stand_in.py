"""A stand-in for Vivado's Tcl commands: knows the few that the scripts use, and refuses everything that Vivado would.

What stands here of the vendor's commands, IPs, pins and properties is what its documents say of them (UG835, UG1118,
UG994, PG021, PG201, PG247); the accelerator's side is read from the generated Verilog. Any wrong name, argument, width
or missing connection raises `VendorError`, in the Tcl script as well as out of it.
"""

from __future__ import annotations

from pathlib import Path

from tests.generate.vivado_ips import IPS, Pin, ip_interfaces, ip_pins
from tests.generate.vivado_packaging import Packager
from tests.generate.vivado_session import Cell, VendorError, verilog_ports

__all__ = ["VendorError", "Vivado", "verilog_ports"]


class Vivado(Packager):
    """A session that can package and make block designs."""

    def do_create_bd_design(self, name: str) -> None:
        if self.open != "dna_project" or "catalogue" not in self.state:
            raise VendorError("no project with a catalogue")
        self.files[f"{name}.bd"] = Path(f"{name}.bd")

    def do_create_bd_cell(self, *arguments: str) -> str:
        given, (name,) = self.options(arguments, "", "type vlnv")
        vendor = given.get("vlnv", "").split(":")
        known = vendor[:2] == ["xilinx.com", "ip"] and len(vendor) == 4 and vendor[2] in IPS
        own = given.get("vlnv") == "dna:user:dna:1.0" and self.packaged is not None and self.repository is not None
        if given.get("type") != "ip" or name in self.cells or not (known or own):
            raise VendorError(f"create_bd_cell {arguments}")
        self.cells[name] = Cell(vendor[2])
        return f"cell {name}"

    def pins(self, cell: str) -> dict[str, Pin]:
        """Pins and interfaces of a cell as it is configured."""
        if self.cells[cell].ip == "dna":
            assert self.packaged is not None
            return self.packaged
        ip, values = self.cells[cell].ip, self.cells[cell].values
        return {**ip_pins(ip, values), **ip_interfaces(ip, values)}

    def _find(self, kind: str, path: str) -> str:
        cell, _, name = path.partition("/")
        if cell not in self.cells or name not in self.pins(cell):
            raise VendorError(f"no {kind} {path}")
        if (self.pins(cell)[name].protocol == "") != (kind == "pin"):
            raise VendorError(f"{path} is no {kind}")
        return f"{kind} {path}"

    def do_get_bd_cells(self, name: str) -> str:
        if name not in self.cells:
            raise VendorError(f"no cell {name}")
        return f"cell {name}"

    def do_get_bd_pins(self, path: str) -> str:
        return self._find("pin", path)

    def do_get_bd_intf_pins(self, path: str) -> str:
        return self._find("interface", path)

    def pin(self, path: str) -> Pin:
        cell, _, name = path.partition("/")
        return self.pins(cell)[name]

    def do_connect_bd_net(self, *arguments: str) -> None:
        paths = [argument.removeprefix("pin ") for argument in arguments]
        known = {self.nets[path] for path in paths if path in self.nets}
        if len(paths) < 2 or len(known) > 1:
            raise VendorError(f"connect_bd_net {arguments}")
        number = known.pop() if known else len(self.net_members)
        if number == len(self.net_members):
            self.net_members.append([])
        for path in paths:
            if self.nets.setdefault(path, number) == number and path not in self.net_members[number]:
                self.net_members[number].append(path)
        members = [self.pin(path) for path in self.net_members[number]]
        if len({(pin.width, pin.kind) for pin in members}) > 1 or sum(pin.drives for pin in members) != 1:
            raise VendorError(f"net {self.net_members[number]}: width, kind, or number of drivers")

    def do_connect_bd_intf_net(self, first: str, second: str) -> None:
        paths = [first.removeprefix("interface "), second.removeprefix("interface ")]
        ends = [self.pin(path) for path in paths]
        if any(path in self.links for path in paths) or {end.drives for end in ends} != {True, False}:
            raise VendorError(f"{paths}: connected already, or not a master and a slave")
        smart = [self.cells[path.split("/")[0]].ip == "smartconnect" for path in paths]
        if not any(smart) and (ends[0].width, ends[0].protocol) != (ends[1].width, ends[1].protocol):
            raise VendorError(f"{paths}: widths {ends[0].width} and {ends[1].width}, or protocols, differ")
        self.links |= {paths[0]: paths[1], paths[1]: paths[0]}

    def do_apply_bd_automation(self, *arguments: str) -> None:
        given, (cell,) = self.options(arguments, "", "rule config")
        name = cell.removeprefix("cell ")
        rules = {"processing_system7": ["make_external", "FIXED_IO, DDR"], "zynq_ultra_ps_e": []}
        ip = self.cells[name].ip
        wanted = [*rules.get(ip, ["no"]), "apply_board_preset", "1"]
        if given.get("rule") != f"xilinx.com:bd_rule:{ip}" or self.items(given.get("config", "")) != wanted:
            raise VendorError(f"apply_bd_automation {arguments}")
        if ("project", "board_part") not in self.properties:
            raise VendorError("a board preset without a board")
        self.cells[name].automated = True

    def do_get_bd_addr_spaces(self, path: str) -> str:
        cell, _, name = path.partition("/")
        ip = self.cells[cell].ip if cell in self.cells else ""
        masters = (
            [key for key, pin in self.pins(cell).items() if pin.protocol and pin.drives] if ip == "dna" else ["Data"]
        )
        if name not in masters or ip not in ("dna", "processing_system7", "zynq_ultra_ps_e"):
            raise VendorError(f"no address space {path}")
        return f"space {path}"

    def do_get_bd_addr_segs(self, path: str) -> str:
        cell, _, name = path.partition("/")
        names = [pin.segment for pin in self.pins(cell).values()] if cell in self.cells else []
        if not name or name not in names:
            raise VendorError(f"no address segment {path}")
        return f"segment {path}"

    def do_create_bd_addr_seg(self, *arguments: str) -> None:
        given, (space, segment, _) = self.options(arguments, "", "range offset")
        size, offset = int(given["range"], 0), int(given["offset"], 0)
        if size < 4096 or size & (size - 1) or offset % size:
            raise VendorError(
                f"{segment}: offset 0x{offset:X} is no multiple of its range 0x{size:X}, or that no power of 2"
            )
        self.segments[space.removeprefix("space "), segment.removeprefix("segment ")] = (offset, size)

    def do_validate_bd_design(self) -> None:
        for name, cell in self.cells.items():
            if cell.ip in ("processing_system7", "zynq_ultra_ps_e") and not cell.automated:
                raise VendorError(f"{name}: no board preset, no external DDR")
            for pin_name, pin in self.pins(name).items():
                path = f"{name}/{pin_name}"
                connected = path in (self.links if pin.protocol else self.nets)
                if pin.required and not connected:
                    raise VendorError(f"{path} is not connected")
                if pin.protocol and pin.drives and cell.ip in ("dna", "processing_system7", "zynq_ultra_ps_e"):
                    self._check_reach(path, "ps/Data" if cell.ip != "dna" else path)
        clocks = {self.nets[f"{name}/{pin}"] for name in self.cells for pin, p in self.pins(name).items()
                  if p.kind == "clock" and not p.drives}  # fmt: skip
        if len(clocks) != 1:
            raise VendorError(f"{len(clocks)} clocks")
        self.state.add("valid")

    def _check_reach(self, path: str, space: str) -> None:
        """The slave behind a master is in its address space."""
        slave = self.links[path]
        cell = slave.split("/")[0]
        if self.cells[cell].ip == "smartconnect":
            slave = self.links[f"{cell}/M00_AXI"]
        segment = f"{slave.split('/')[0]}/{self.pin(slave).segment}"
        if (space, segment) not in self.segments:
            raise VendorError(f"{path}: {segment} is not in its address map")
        offset, size = self.segments[space, segment]
        low, high = self.pin(slave).window if self.pin(slave).window else self.pin(path).window
        if not low <= offset <= offset + size - 1 <= high:
            raise VendorError(f"{path}: {segment} at 0x{offset:X} lies outside 0x{low:X} to 0x{high:X}")

    def do_save_bd_design(self) -> None:
        if "valid" not in self.state:
            raise VendorError("saved before it was validated")
        self.state.add("saved")

    def do_generate_target(self, what: str, target: str) -> None:
        if what != "all" or target != "file dna_system.bd" or "saved" not in self.state:
            raise VendorError(f"generate_target {what} {target}")
        self.state.add("generated")

    def do_make_wrapper(self, *arguments: str) -> str:
        given, rest = self.options(arguments, "top", "files")
        if rest or given != {"top": "1", "files": "file dna_system.bd"} or "generated" not in self.state:
            raise VendorError(f"make_wrapper {arguments}")
        self.state.add("wrapper")
        return "dna_system_wrapper.v"
