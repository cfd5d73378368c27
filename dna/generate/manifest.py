"""The manifest of a Project: every file with its SHA-256, and what it was made with; the archive that holds them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import dna
from dna.accelerator.registers import VERSION
from dna.errors import UserError
from dna.runs import write_atomically

NAME = "manifest.json"
FORMAT = 1


def make_manifest(project: Path, program_format: int) -> dict[str, Any]:
    """Content of the manifest of all files that are in the folder now."""
    paths = sorted(path for path in project.rglob("*") if path.is_file() and path.name != NAME)
    files = {path.relative_to(project).as_posix(): _entry(path) for path in paths}
    versions = {"dna": dna.__version__, "registers_and_instructions": VERSION, "program_folder": program_format}
    return {"format": FORMAT, "versions": versions, "files": files}


def _entry(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def write_manifest(project: Path, program_format: int) -> None:
    """Write manifest.json; the folder must hold nothing but what was generated."""
    (project / NAME).write_text(json.dumps(make_manifest(project, program_format), indent=1) + "\n")


def read_manifest(project: Path) -> dict[str, Any]:
    """UserError if the folder is no Project, or one of before there were manifests."""
    path = project / NAME
    if not path.is_file():
        raise UserError(f"{project} has no {NAME}: it is no project, or an old one; dna generate writes one")
    content: dict[str, Any] = json.loads(path.read_text())
    if content.get("format") != FORMAT:
        raise UserError(f"{path}: format {content.get('format')}; this version of dna reads {FORMAT}")
    return content


def changed_files(project: Path) -> list[str]:
    """Files that are not as the manifest says, by name; what came later (builds, results) is not looked at."""
    files = read_manifest(project)["files"]
    return [name for name, entry in files.items() if not (project / name).is_file() or _entry(project / name) != entry]


def write_archive(project: Path, archive: Path) -> None:
    """Pack manifest and files, nothing else, into a .tar.gz; the same Project gives the same bytes.

    UserError if a file was changed since it was generated.
    """
    changed = changed_files(project)
    if changed:
        raise UserError(f"{project}: changed since it was generated: {', '.join(changed[:5])}; generate it again")
    names = sorted([NAME, *read_manifest(project)["files"]])
    packed = io.BytesIO()
    # No time and no file name in the header: only the content decides.
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in names:
            _add(tar, project / name, f"{archive.name.removesuffix('.tar.gz')}/{name}")
    write_atomically(archive, packed.getvalue())


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    data = path.read_bytes()
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
    tar.addfile(entry, io.BytesIO(data))
