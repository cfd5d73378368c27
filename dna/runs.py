"""Where runs live: `runs/NAME-NNN`, found again by later commands, never overwritten by accident.

The numbers count over all names, so the highest is the latest run. A run's folder holds:

    run.yaml     what was asked for            design/    the Design, once the search is done
    search/      checkpoint and history        project/   the generated Project
    report/      the report                    *.json     what each command measured
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dna.errors import UserError
from dna.record import read_yaml, to_plain

RUNS = Path("runs")
"""Relative to where the command is started."""
_NUMBERED = re.compile(r"^(?P<name>.+)-(?P<number>\d{3,})$")


@dataclass(frozen=True)
class Run:
    """One run's folder and the places in it."""

    path: Path

    @property
    def design(self) -> Path:
        return self.path / "design"

    @property
    def project(self) -> Path:
        return self.path / "project"

    @property
    def search(self) -> Path:
        return self.path / "search"

    @property
    def report(self) -> Path:
        return self.path / "report"

    def options(self) -> dict[str, Any]:
        """What was asked for when the run was made."""
        content = read_yaml(self.path / "run.yaml")
        if not isinstance(content, dict):
            raise UserError(f"{self.path / 'run.yaml'}: a table of keys is expected")
        return content

    def write(self, name: str, values: Mapping[str, Any]) -> Path:
        """Writes `NAME.json` in the run's folder."""
        path = self.path / f"{name}.json"
        write_atomically(path, json.dumps(to_plain(values), indent=2) + "\n")
        return path

    def read(self, name: str) -> dict[str, Any] | None:
        """The content of `NAME.json`, None if there is none."""
        path = self.path / f"{name}.json"
        if not path.exists():
            return None
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, OSError) as error:
            raise UserError(f"{path}: cannot be read: {error}") from None


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes the file in one step: a reader or a crash sees the old content or the new, never a part."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def claim(path: Path, force: bool = False) -> Path:
    """Makes `path` an empty folder. UserError if something is in it, unless `force`: then that is removed.

    Only a folder that DNA wrote (or that is empty) is ever removed.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} exists and is not a folder")
    if path.is_dir() and any(path.iterdir()):
        if not force:
            raise UserError(f"{path} exists already; choose another place or give --force")
        if not any((path / mark).exists() for mark in ("run.yaml", "design.yaml")):
            raise UserError(f"{path} was not written by dna; it is not removed, not even with --force")
        shutil.rmtree(path)
    path.mkdir(parents=True, exist_ok=True)
    return path


def numbered(root: Path = RUNS) -> list[Run]:
    """All runs under `root`, oldest first."""
    if not root.is_dir():
        return []
    found = []
    for path in root.iterdir():
        match = _NUMBERED.match(path.name)
        if match and (path / "run.yaml").is_file():
            found.append((int(match["number"]), path.name, path))
    return [Run(path) for _, _, path in sorted(found)]


def create(
    name: str, options: Mapping[str, Any], root: Path = RUNS, out: Path | None = None, force: bool = False
) -> Run:
    """A new run: `root/NAME-NNN` with the next number, or the folder `out`.

    `options` are kept in `run.yaml`. UserError if `out` is in use (see `claim`).
    """
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
        raise UserError(f"run name '{name}': letters, digits, '.', '_' and '-' only")
    path = claim(out, force) if out is not None else _next_folder(name, root)
    write_atomically(path / "run.yaml", yaml.safe_dump(to_plain(options), sort_keys=False))
    return Run(path)


def _next_folder(name: str, root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    # Numbers of unfinished folders count too: nothing that exists is ever reused.
    numbers = [int(match["number"]) for path in root.iterdir() if (match := _NUMBERED.match(path.name))]
    number = max(numbers, default=0)
    while True:
        number += 1
        path = root / f"{name}-{number:03d}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path


def find(given: str | Path | None = None, root: Path = RUNS) -> Run:
    """The run that is meant: a folder, a name or number under `root`, or the latest if nothing is given.

    A folder of one's own counts if it holds a Design in its folder `design`.
    """
    if given is None:
        runs = numbered(root)
        if not runs:
            raise UserError(f"no run under {root.absolute()}; start with 'dna search --board zc706'")
        return runs[-1]
    for path in (Path(given), root / str(given)):
        if (path / "run.yaml").is_file() or (path / "design" / "design.yaml").is_file():
            return Run(path)
    for run in numbered(root):
        match = _NUMBERED.match(run.path.name)
        if match and str(given).isdigit() and int(match["number"]) == int(str(given)):
            return run
    names = ", ".join(run.path.name for run in numbered(root)) or "none"
    raise UserError(f"no run '{given}'; under {root} there are: {names}")


def record_verification(run: Run, project: Path, report: Path) -> None:
    """Keeps what verification found in the run, together with the Design for which it was found."""
    content = json.loads(report.read_text(encoding="utf-8"))
    run.write("verify", {"design": digest((project / "design.yaml").read_bytes()), **content})


def verification_of(run: Run) -> dict[str, Any] | None:
    """What verification found of the run's present Design; None if it was never verified, or changed since."""
    content = run.read("verify")
    path = run.design / "design.yaml"
    if content is None or not path.is_file() or content.get("design") != digest(path.read_bytes()):
        return None
    return content


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
