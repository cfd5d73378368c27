"""The one place that knows where package data lies: in a checkout's root, or in `dna/_data` of an installed wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
KINDS = ("templates", "sim", "boards")


def data_folder(kind: str) -> Path:
    """Folder of the package data `kind`: templates, sim or boards. FileNotFoundError if the installation lacks it."""
    if kind not in KINDS:
        raise ValueError(f"unknown package data '{kind}'; known: {', '.join(KINDS)}")
    candidates = (PACKAGE / "_data" / kind, PACKAGE.parent / kind)
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"package data '{kind}' is missing; looked in {candidates[0]} and {candidates[1]}")


def rtl_templates() -> Path:
    """Verilog templates."""
    return data_folder("templates") / "rtl"


def simulation() -> Path:
    """The simulation regression: benches and memory models."""
    return data_folder("sim")


def boards() -> Path:
    """Board files, one YAML per target."""
    return data_folder("boards")
