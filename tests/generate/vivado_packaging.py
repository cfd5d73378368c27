"""The packaging commands of the stand-in for Vivado: an IP whose interfaces are made of the ports of the Verilog."""

from __future__ import annotations

import re

from tests.generate.vivado_ips import AXI_SIGNALS, dna_ip
from tests.generate.vivado_session import Core, Port, Session, VendorError


class Packager(Session):
    """A session that can package."""

    def do_ipx__package_project(self, *arguments: str) -> None:
        given, rest = self.options(arguments, "import_files force", "root_dir vendor library taxonomy")
        if rest or self.top != "dna_top" or not {"root_dir", "vendor", "library"} <= set(given):
            raise VendorError(f"package_project {arguments}; top is '{self.top}'")
        rtl = {path.name for path in (self.project / "rtl").iterdir() if path.suffix in (".v", ".vh")}
        if not rtl <= set(self.files):
            raise VendorError(f"not in the project: {sorted(rtl - set(self.files))}")
        for name in rtl:
            header = self.properties.get((f"file {name}", "file_type")) == "Verilog Header"
            if header != name.endswith(".vh"):
                raise VendorError(f"{name}: wrong file type")
        self.core = Core({"root": given["root_dir"]})
        if self.infer:
            for name in self.ports:
                if match := re.match(r"((?:s|m\d+)_axi)_", name):
                    self.core.interfaces.setdefault(match[1], []).append(name)
            self.core.interfaces |= {"aclk": ["aclk"], "aresetn": ["aresetn"]}

    def do_ipx__current_core(self) -> str:
        if self.core is None:
            raise VendorError("nothing was packaged")
        return "core"

    def _get(self, kind: str, known: object, arguments: tuple[str, ...]) -> str:
        given, rest = self.options(arguments, "quiet", "of_objects")
        assert isinstance(known, (dict, set))
        if "of_objects" not in given or len(rest) != 1:
            raise VendorError(f"get {kind} {arguments}")
        parent = given["of_objects"].partition(" ")[2]
        name = f"{parent} {rest[0]}" if kind == "parameter" else parent if kind == "block" else rest[0]
        found = (parent, rest[0]) in known if kind == "parameter" else name in known
        if kind == "block":
            found = bool(self.core and self.core.maps.get(parent, {}).get("block") == rest[0])
        if not found and "quiet" not in given:
            raise VendorError(f"no {kind} {rest[0]}")
        return self.tcl.call("list", f"{kind} {name}") if found else ""

    def do_ipx__get_bus_interfaces(self, *arguments: str) -> str:
        return self._one(self._get("interface", self.core.interfaces if self.core else {}, arguments))

    def do_ipx__get_bus_parameters(self, *arguments: str) -> str:
        return self._one(self._get("parameter", self.core.parameters if self.core else {}, arguments))

    def do_ipx__get_memory_maps(self, *arguments: str) -> str:
        return self._one(self._get("map", self.core.maps if self.core else {}, arguments))

    def do_ipx__get_address_spaces(self, *arguments: str) -> str:
        return self._one(self._get("space", self.core.spaces if self.core else {}, arguments))

    def do_ipx__get_address_blocks(self, *arguments: str) -> str:
        return self._one(self._get("block", {}, arguments))

    @staticmethod
    def _one(value: str) -> str:
        return value[0] if isinstance(value, tuple) else value

    def do_ipx__infer_bus_interface(self, ports: str, definition: str, core: str) -> None:
        assert self.core is not None and core == "core"
        names = self.items(ports)
        missing = [name for name in names if name not in self.ports]
        if missing:
            raise VendorError(f"dna_top has no port {missing}")
        if definition == "xilinx.com:interface:aximm_rtl:1.0":
            self.core.interfaces[re.sub(r"_[a-z]+$", "", names[0])] = names
        elif definition in {f"xilinx.com:signal:{kind}_rtl:1.0" for kind in ("clock", "reset", "interrupt")}:
            (name,) = names
            self.core.interfaces[name] = names
        else:
            raise VendorError(f"no definition {definition}")

    def do_ipx__add_bus_parameter(self, name: str, interface: str) -> None:
        assert self.core is not None
        if name not in ("POLARITY", "SENSITIVITY"):
            raise VendorError(f"parameter {name}")
        self.core.parameters[interface.partition(" ")[2], name] = ""

    def do_ipx__associate_bus_interfaces(self, *arguments: str) -> None:
        given, rest = self.options(arguments, "", "busif clock reset")
        assert self.core is not None and rest == ["core"]
        known = {"aclk", "aresetn", *self.core.interfaces}
        if given.get("clock") != "aclk" or not set(given.values()) <= known:
            raise VendorError(f"associate {arguments}")
        if "busif" in given:
            self.core.clocks[given["busif"]] = given["clock"]
        self.core.reset = given.get("reset", self.core.reset)

    def do_ipx__add_memory_map(self, name: str, core: str) -> None:
        assert self.core is not None and core == "core"
        self.core.maps[name] = {}

    def do_ipx__add_address_block(self, name: str, memory_map: str) -> None:
        assert self.core is not None
        self.core.maps[memory_map.partition(" ")[2]]["block"] = name

    def do_ipx__add_address_space(self, name: str, core: str) -> None:
        assert self.core is not None and core == "core"
        self.core.spaces[name] = {}

    def do_ipx__create_xgui_files(self, core: str) -> None:
        self._step("xgui", core)

    def do_ipx__update_checksums(self, core: str) -> None:
        self._step("checksums", core)

    def do_ipx__check_integrity(self, core: str) -> None:
        self._step("integrity", core)
        assert self.core is not None
        made = self.core
        covered = [name for names in made.interfaces.values() for name in names]
        if sorted(covered) != sorted(self.ports):
            raise VendorError(f"ports in no interface or in two: {set(self.ports) ^ set(covered)}")
        for name, ports in made.interfaces.items():
            if name.endswith("_axi"):
                self._check_axi(name, {port.removeprefix(f"{name}_"): self.ports[port] for port in ports})
        wanted = {("aresetn", "POLARITY"): "ACTIVE_LOW", ("irq", "SENSITIVITY"): "LEVEL_HIGH"}
        if made.parameters != wanted or made.reset != "aresetn":
            raise VendorError(f"clock, reset, interrupt: {made.parameters}, reset {made.reset}")
        if made.maps != {"s_axi": {"block": "reg0", "range": "4096", "width": "32", "usage": "register"}}:
            raise VendorError(f"memory maps: {made.maps}")

    def _check_axi(self, name: str, signals: dict[str, Port]) -> None:
        assert self.core is not None
        master = name != "s_axi"
        for signal, port in signals.items():
            if signal not in AXI_SIGNALS or (AXI_SIGNALS[signal] == "m") != ((port.direction == "output") == master):
                raise VendorError(f"{name}: signal {signal} ({port.direction})")
        if name not in self.core.clocks:
            raise VendorError(f"{name} has no clock")
        reference = "master_address_space_ref" if master else "slave_memory_map_ref"
        if self.core.values.get(f"{name}.{reference}") != name:
            raise VendorError(f"{name} has no address space or memory map")
        width = signals["araddr"].width
        if master and self.core.spaces[name] != {"range": str(1 << width), "width": str(width)}:
            raise VendorError(f"{name}: address space {self.core.spaces[name]} for {width} bits")

    def _step(self, name: str, core: str) -> None:
        assert self.core is not None and core == "core"
        self.core.steps.append(name)

    def do_ipx__save_core(self, core: str) -> None:
        self._step("save", core)
        assert self.core is not None
        if self.core.steps != ["xgui", "checksums", "integrity", "save"]:
            raise VendorError(f"steps of packaging: {self.core.steps}")
        if (self.core.values["name"], self.core.values["version"]) != ("dna", "1.0"):
            raise VendorError("the block design wants dna:user:dna:1.0")
        self.packaged = dna_ip({name: (port.direction, port.width) for name, port in self.ports.items()})
