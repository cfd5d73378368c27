"""C simulation of a Project's HLS C++: compiles it against the real ap_int headers and compares every tensor's bits.

Needs a C++ compiler and the `ap_types` headers, which the Python package hls4ml brings (its code is not used).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from dna.errors import UserError
from dna.generate.hls import manifest, write_hls
from dna.generate.program_folder import write_program
from dna.generate.project import MARK
from dna.verify.simulation import Case

FLAGS = ("-std=c++14", "-O2", "-ftree-vectorize", "-fno-strict-aliasing", "-Wno-unknown-pragmas")
EXACT_TYPES = "-DDNA_EXACT_TYPES"
"""Flag: simulate with the bit-accurate types that synthesis sees."""


@dataclass(frozen=True)
class HlsTensor:
    """One tensor of one run. `first`: byte (as in memory), expected and found value of the first difference."""

    name: str
    bits_different: int
    bytes_different: int
    first: tuple[int, int, int] | None


@dataclass(frozen=True)
class HlsRun:
    """One Program in C simulation. `phases`: per chunk, how many it ran."""

    program: Path
    phases: tuple[int, ...]
    tensors: tuple[HlsTensor, ...]
    error: str | None = None

    @property
    def bits_different(self) -> int:
        return sum(tensor.bits_different for tensor in self.tensors)

    @property
    def differences(self) -> list[str]:
        """One line per difference, empty if the run is good."""
        lines = [self.error] if self.error else []
        for tensor in self.tensors:
            if tensor.first is not None:
                byte, expected, found = tensor.first
                lines.append(
                    f"tensor '{tensor.name}': {tensor.bits_different} bits in {tensor.bytes_different} bytes differ;"
                    f" first byte {byte}: expected {expected}, HLS gives {found}"
                )
        return lines


@dataclass(frozen=True)
class HlsResult:
    """All runs of one call. `build_seconds`: compilation, 0 if nothing was to be compiled."""

    runs: tuple[HlsRun, ...]
    build_seconds: float
    run_seconds: float

    @property
    def ok(self) -> bool:
        return not self.differences

    @property
    def differences(self) -> list[str]:
        return [f"{run.program.name} (HLS): {line}" for run in self.runs for line in run.differences]

    def table(self) -> Table:
        """A row per tensor and run."""
        table = Table(title="HLS C simulation", title_justify="left")
        table.add_column("tensor")
        table.add_column("bits different", justify="right")
        table.add_column("equal", justify="right")
        for run in self.runs:
            for tensor in run.tensors:
                equal = tensor.bits_different == 0
                verdict = Text("yes", style="green") if equal else Text("no", style="bold red")
                table.add_row(tensor.name, f"{tensor.bits_different:,}", verdict)
        return table


def ap_types() -> Path | None:
    """Folder with `ap_int.h`: that in the environment variable AP_TYPES, or of the package hls4ml; None without."""
    given = os.environ.get("AP_TYPES")
    if given:
        return Path(given) if (Path(given) / "ap_int.h").is_file() else None
    # Found, not imported: the package itself needs much that DNA does not.
    spec = importlib.util.find_spec("hls4ml")
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / "templates" / "vivado" / "ap_types"
        if (folder / "ap_int.h").is_file():
            return folder
    return None


def compiler() -> str | None:
    """The C++ compiler: that in the environment variable CXX, or g++, or clang++; None without."""
    names = [os.environ.get("CXX"), "g++", "clang++"]
    return next((found for name in names if name and (found := shutil.which(name))), None)


def missing() -> str | None:
    """What C simulation lacks, in one line with the remedy; None if it can run."""
    if compiler() is None:
        return "no C++ compiler; install g++"
    if ap_types() is None:
        return 'no ap_int headers; pip install --no-deps "hls4ml>=1.1,<2", or set AP_TYPES to the folder with ap_int.h'
    return None


def build(hls: Path, folder: Path, flags: Sequence[str] = ()) -> Path:
    """The executable test bench of the sources in `hls`; `folder` keeps objects, which are found by their content.

    UserError if something is missing or the compiler refuses the sources.
    """
    lack = missing()
    if lack:
        raise UserError(f"HLS C simulation: {lack}")
    command = [*_launcher(), str(compiler()), *FLAGS, *flags, "-isystem", str(ap_types()), "-I", str(hls)]
    headers = b"".join(path.read_bytes() for path in sorted(hls.glob("*.h")))
    folder.mkdir(parents=True, exist_ok=True)
    objects = []
    for source in sorted(hls.glob("*.cpp")):
        content = " ".join(flags).encode() + headers + source.read_bytes()
        target = folder / f"{source.stem}-{hashlib.sha256(content).hexdigest()[:20]}.o"
        if not target.exists():
            _compile([*command, "-c", str(source)], target)
        objects.append(str(target))
    digest = hashlib.sha256("".join(objects).encode()).hexdigest()[:20]
    executable = folder / f"testbench-{digest}"
    if not executable.exists():
        _compile([str(compiler()), *objects], executable)
    return executable


def _launcher() -> list[str]:
    found = shutil.which("ccache")
    return [found] if found else []


def _compile(command: list[str], target: Path) -> None:
    """Runs the compiler; `target` appears whole or not at all."""
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    done = subprocess.run([*command, "-o", str(part)], capture_output=True, text=True, check=False)
    if done.returncode:
        part.unlink(missing_ok=True)
        raise UserError(f"the HLS sources do not compile:\n{done.stderr.strip()[-4000:]}")
    part.rename(target)


def simulate(executable: Path, programs: Sequence[Path]) -> tuple[HlsRun, ...]:
    """Run program folders, one after the other in one process each."""
    return tuple(_simulate(executable, program) for program in programs)


def _simulate(executable: Path, program: Path) -> HlsRun:
    content = json.loads((program / "program.json").read_text())
    with tempfile.TemporaryDirectory(prefix="dna-hls-") as folder:
        path = Path(folder) / "manifest.txt"
        path.write_text(manifest(content, os.path.relpath(program.resolve(), Path(folder).resolve())))
        done = subprocess.run([str(executable), str(path)], capture_output=True, text=True, check=False)
    phases: tuple[int, ...] = ()
    tensors = []
    for line in done.stdout.splitlines():
        kind, *parts = line.split("\t")
        if kind == "program":
            phases = tuple(int(count) for count in parts[1:])
        elif kind == "tensor":
            tensors.append(_tensor(parts))
    error = None if done.returncode in (0, 1) else f"the test bench stopped: {done.stderr.strip()[-400:]}"
    expected = _files(content)
    if error is None and len(tensors) != expected:
        error = f"{len(tensors)} tensors were compared, the program has {expected}"
    return HlsRun(program, phases, tuple(tensors), error)


def _files(content: dict[str, Any]) -> int:
    """Tensors in memory at the end, those of each frame and buffer counted."""
    return sum(len(frames) for tensor in content["tensors"].values() for frames in tensor["files"])


def _tensor(parts: Sequence[str]) -> HlsTensor:
    name, (bits, size, first, expected, found) = parts[0], (int(part) for part in parts[1:])
    return HlsTensor(name, bits, size, (first, expected, found) if bits else None)


def verify_hls(
    project: Path, *, programs: Sequence[Path] = (), build_folder: Path | None = None, flags: Sequence[str] = ()
) -> HlsResult:
    """Compile `project`/hls and run `programs` (folders; default: the project's own).

    UserError if `project` is no Project with HLS sources, or they cannot be compiled.
    """
    if not (project / MARK).is_file() or not (project / "hls").is_dir():
        raise UserError(f"{project} is not a project with HLS sources; dna generate writes one")
    return _verify(project / "hls", programs or [project / "program"], build_folder or project / "hls" / "build", flags)


def _verify(hls: Path, programs: Sequence[Path], folder: Path, flags: Sequence[str]) -> HlsResult:
    begun = time.monotonic()
    executable = build(hls, folder, flags)
    built = time.monotonic()
    runs = simulate(executable, programs)
    return HlsResult(runs, built - begun, time.monotonic() - built)


def verify_hls_many(
    cases: Sequence[Case], folder: Path, *, build_folder: Path | None = None, flags: Sequence[str] = ()
) -> HlsResult:
    """C simulation of many Programs of one accelerator with one build. `folder` must be empty or absent.

    ValueError if the Programs are for different accelerators.
    """
    first = cases[0].program
    if any(case.program.accelerator != first.accelerator for case in cases):
        raise ValueError("the programs are for different accelerators")
    write_hls(folder / "hls", first.accelerator, first.region_words, f"{len(cases)} programs")
    programs = []
    for index, case in enumerate(cases):
        programs.append(folder / "programs" / f"{index:04d}")
        passes = getattr(case, "passes", 1)
        write_program(case.program, programs[-1], reference=case.reference, memory=case.memory, passes=passes)
    return _verify(folder / "hls", programs, build_folder or folder / "build", flags)
