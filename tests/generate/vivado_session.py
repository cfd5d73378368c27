"""A session of the stand-in for Vivado (`vivado_stand_in`): projects, files, properties, runs."""

from __future__ import annotations

import fnmatch
import re
import tkinter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.generate.vivado_ips import IPS, Pin


class VendorError(Exception):
    """What the vendor's tool would refuse."""


@dataclass
class Port:
    direction: str
    width: int


def verilog_ports(path: Path) -> dict[str, Port]:
    """Ports of the module in a file written in the style of dna_top.v."""
    ports = {}
    pattern = r"^ +(input|output) +wire +(?:\[(\d+):0\] +)?(\w+),?$"
    for direction, high, name in re.findall(pattern, path.read_text(), re.M):
        ports[name] = Port(direction, int(high or 0) + 1)
    return ports


@dataclass
class Core:
    """An IP that is being packaged."""

    values: dict[str, str] = field(default_factory=dict)
    interfaces: dict[str, list[str]] = field(default_factory=dict)
    parameters: dict[tuple[str, str], str] = field(default_factory=dict)
    clocks: dict[str, str] = field(default_factory=dict)
    reset: str = ""
    maps: dict[str, dict[str, str]] = field(default_factory=dict)
    spaces: dict[str, dict[str, str]] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)


@dataclass
class Cell:
    ip: str
    values: dict[str, str] = field(default_factory=dict)
    automated: bool = False


class Session:
    """One session. `infer`: whether packaging finds the AXI interfaces by itself, as it usually does."""

    def __init__(self, project: Path, infer: bool = True, boards: bool = True, slack: str = "0.12") -> None:
        self.project, self.infer, self.boards, self.slack = project, infer, boards, slack
        self.ports = verilog_ports(project / "rtl" / "dna_top.v")
        self.calls: list[str] = []
        self.files: dict[str, Path] = {}
        self.top = ""
        self.properties: dict[tuple[str, str], str] = {}
        self.open = ""
        self.repository: Path | None = None
        self.core: Core | None = None
        self.packaged: dict[str, Pin] | None = None
        self.cells: dict[str, Cell] = {}
        self.nets: dict[str, int] = {}
        self.net_members: list[list[str]] = []
        self.links: dict[str, str] = {}
        self.segments: dict[tuple[str, str], tuple[int, int]] = {}
        self.state: set[str] = set()
        self.error: VendorError | None = None
        self.tcl = tkinter.Tcl()
        # No command of the machine's own may be taken for the vendor's.
        self.tcl.eval("rename exec {}; rename unknown {}; namespace eval ipx {}")
        for name in dir(self):
            if name.startswith("do_"):
                self._command(name.removeprefix("do_").replace("ipx__", "ipx::"), getattr(self, name))

    def _command(self, name: str, work: Callable[..., str | None]) -> None:
        def call(*arguments: str) -> str:
            self.calls.append(" ".join([name, *arguments]))
            try:
                return work(*arguments) or ""
            except VendorError as error:
                self.error = self.error or error
                raise
            except TypeError as error:
                self.error = self.error or VendorError(f"{name}: {error}")
                raise

        self.tcl.createcommand(name, call)

    def source(self, script: str) -> None:
        """Runs a script of vivado/. VendorError if anything in it is wrong."""
        try:
            self.tcl.eval(f"source {{{self.project / 'vivado' / script}}}")
        except tkinter.TclError as error:
            raise self.error or VendorError(str(error)) from None

    def items(self, text: str) -> list[str]:
        """The elements of a Tcl list."""
        return [str(item) for item in self.tcl.splitlist(text)]

    def options(
        self, arguments: tuple[str, ...], flags: str = "", values: str = ""
    ) -> tuple[dict[str, str], list[str]]:
        """Options and other arguments; only the given ones are legal."""
        given, rest, left = {}, [], list(arguments)
        while left:
            word = left.pop(0)
            if word.startswith("-") and not re.match(r"-\d", word):
                if word[1:] in flags.split():
                    given[word[1:]] = "1"
                elif word[1:] in values.split() and left:
                    given[word[1:]] = left.pop(0)
                else:
                    raise VendorError(f"unknown option or missing value: {word}")
            else:
                rest.append(word)
        return given, rest

    # ---- Projects and files.

    def do_create_project(self, *arguments: str) -> None:
        given, rest = self.options(arguments, "force", "part")
        if self.open or len(rest) != 2 or not re.match(r"xc(7z|zu|k2)", given.get("part", "")):
            raise VendorError(f"create_project {arguments}: a name, a folder and a part; no other project open")
        self.open = rest[0]
        self.files = {}

    def do_open_project(self, path: str) -> None:
        if self.open or Path(path).name != "dna_project.xpr" or "wrapped" not in self.state:
            raise VendorError(f"no project {path}")
        self.open = "dna_project"

    def do_close_project(self) -> None:
        if not self.open:
            raise VendorError("no project is open")
        self.open = ""

    def do_current_project(self) -> str:
        return "project"

    def do_current_fileset(self) -> str:
        return "fileset"

    def do_add_files(self, *arguments: str) -> None:
        given, rest = self.options(arguments, "norecurse", "fileset")
        if given.get("fileset", "constrs_1") != "constrs_1" or len(rest) != 1:
            raise VendorError(f"add_files {arguments}")
        path = Path(rest[0])
        if path.name == "dna_system_wrapper.v" and "wrapper" in self.state:
            self.state.add("wrapped")
        elif not path.is_file():
            raise VendorError(f"no file {path}")
        self.files[path.name] = path

    def do_get_files(self, name: str) -> str:
        if name not in self.files:
            raise VendorError(f"the project has no file {name}")
        return f"file {name}"

    def do_update_compile_order(self, *arguments: str) -> None:
        if arguments != ("-fileset", "sources_1"):
            raise VendorError(f"update_compile_order {arguments}")

    def do_update_ip_catalog(self) -> None:
        if self.repository is not None and self.packaged is None:
            raise VendorError("the repository holds no IP")
        self.state.add("catalogue")

    def do_get_board_parts(self, *arguments: str) -> str:
        given, rest = self.options(arguments, "quiet")
        known = ("xilinx.com:zc706:part0:1.3", "xilinx.com:zc706:part0:1.4", "tul.com.tw:pynq-z2:part0:1.0")
        known += ("xilinx.com:zcu102:part0:3.4", "xilinx.com:zcu104:part0:1.1", "xilinx.com:kv260_som:part0:1.4")
        known += ("avnet.com:ultra96v2:part0:1.2",)
        found = [name for name in known if fnmatch.fnmatch(name, rest[0])] if self.boards else []
        if not found and "quiet" not in given:
            raise VendorError("no board parts")
        return " ".join(found)

    def do_get_ipdefs(self, pattern: str) -> str:
        return " ".join(
            f"xilinx.com:ip:{name}:1.0" for name in IPS if fnmatch.fnmatch(f"xilinx.com:ip:{name}:", pattern)
        )

    # ---- Properties.

    def do_set_property(self, *arguments: str) -> None:
        given, rest = self.options(arguments, "", "dict")
        if "dict" in given:
            words = self.items(given["dict"])
            pairs = list(zip(words[::2], words[1::2], strict=True))
            (target,) = rest
        else:
            name, value, target = rest
            pairs = [(name, value)]
        for name, value in pairs:
            self._set(name, value, target)

    def _set(self, name: str, value: str, target: str) -> None:
        kind, _, what = target.partition(" ")
        legal = {
            "project": ("board_part", "ip_repo_paths"), "fileset": ("top",), "file": ("file_type", "used_in"),
            "core": ("name", "version", "display_name", "description"), "design": ("BITSTREAM.GENERAL.COMPRESS",),
            "interface": ("slave_memory_map_ref", "master_address_space_ref"), "parameter": ("value",),
            "block": ("range", "width", "usage"), "space": ("range", "width"),
        }  # fmt: skip
        if kind == "cell":
            return self._configure(name, value, what)
        if name not in legal.get(kind, ()):
            raise VendorError(f"set_property {name} of {target}")
        if kind == "fileset":
            modules = {"dna_top": "dna_top.v", "dna_system_wrapper": "dna_system_wrapper.v"}
            if modules.get(value) not in self.files:
                raise VendorError(f"top {value} is in no file")
            self.top = value
        elif kind == "project" and name == "ip_repo_paths":
            self.repository = Path(value)
        elif kind == "file" and name == "file_type" and value != "Verilog Header":
            raise VendorError(f"file type {value}")
        elif kind in ("core", "interface", "parameter", "block", "space"):
            self._set_core(kind, what, name, value)
        self.properties[target, name] = value
        return None

    def _set_core(self, kind: str, what: str, name: str, value: str) -> None:
        assert self.core is not None
        if kind == "core":
            self.core.values[name] = value
        elif kind == "parameter":
            interface, parameter = what.split()
            self.core.parameters[interface, parameter] = value
        elif kind == "interface":
            known = self.core.maps if name.startswith("slave") else self.core.spaces
            if value not in known:
                raise VendorError(f"{name} {value} does not exist")
            self.core.values[f"{what}.{name}"] = value
        else:
            (self.core.maps if kind == "block" else self.core.spaces)[what][name] = value

    def _configure(self, name: str, value: str, cell: str) -> None:
        ip = self.cells[cell].ip
        rule = IPS[ip].get(name.removeprefix("CONFIG.")) if name.startswith("CONFIG.") and ip in IPS else None
        if rule is None or not re.fullmatch(rule, value):
            raise VendorError(f"{name} {value} of {cell} ({ip})")
        self.cells[cell].values[name.removeprefix("CONFIG.")] = value

    def do_get_property(self, name: str, target: str) -> str:
        values = {
            "PROGRESS": "100%" if "implemented" in self.state else "0%", "STATUS": "done", "STATS.WNS": self.slack,
            "DIRECTORY": str(self.project / "vivado" / "build" / "run"),
        }  # fmt: skip
        if target != "run impl_1" or name not in values:
            raise VendorError(f"get_property {name} {target}")
        return values[name]

    # ---- Implementation, and what constraint files use.

    def do_launch_runs(self, *arguments: str) -> None:
        given, rest = self.options(arguments, "", "to_step jobs")
        if rest != ["impl_1"] or given.get("to_step") != "write_bitstream" or self.open != "dna_project":
            raise VendorError(f"launch_runs {arguments}")
        self.state.add("launched")
        folder = self.project / "vivado" / "build" / "run"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dna_system_wrapper.bit").write_text("bits")

    def do_wait_on_run(self, run: str) -> None:
        if run != "impl_1" or "launched" not in self.state:
            raise VendorError(f"wait_on_run {run}")
        self.state.add("implemented")

    def do_get_runs(self, run: str) -> str:
        return f"run {run}"

    def do_open_run(self, run: str) -> None:
        if run != "impl_1" or "implemented" not in self.state:
            raise VendorError(f"open_run {run}")

    def do_report_timing_summary(self, *arguments: str) -> None:
        self.options(arguments, "", "file")

    def do_report_utilization(self, *arguments: str) -> None:
        self.options(arguments, "", "file")

    def do_write_hw_platform(self, *arguments: str) -> None:
        given, rest = self.options(arguments, "fixed include_bit force", "file")
        if rest or not given.get("file", "").endswith(".xsa") or "implemented" not in self.state:
            raise VendorError(f"write_hw_platform {arguments}")

    def do_current_design(self) -> str:
        return "design"

    def do_get_ports(self, name: str) -> str:
        if name not in self.ports:
            raise VendorError(f"no port {name}")
        return f"port {name}"

    def do_create_clock(self, *arguments: str) -> None:
        given, rest = self.options(arguments, "", "name period")
        if rest != ["port aclk"] or float(given["period"]) <= 0:
            raise VendorError(f"create_clock {arguments}")
