"""The inner loops of searches as machine code, where a C compiler is found: `*.c`, built once and kept.

DNA needs a C++ compiler for its simulations, so there is one, as a rule. Without it the Python
that they follow is used (`dna.cost.schedule`, `dna.compile.waits`): the same results, in a hundred times as long.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from dna.accelerator.chunk import PAGE_INSTRUCTIONS
from dna.accelerator.isa import COUNTER_BITS
from dna.cost import counters
from dna.cost.dispatch import PAGE_DELAY
from dna.cost.ports import OUTPUT_READ_LATENCY
from dna.cost.schedule import CAPTURE_STAGES, POST_STAGES

SOURCES = tuple(Path(__file__).with_name(name) for name in ("schedule.c", "banks.c"))
CONSTANTS = {
    "QUEUE": counters.QUEUE_DEPTH,
    "RANGE": 1 << COUNTER_BITS,
    "PASSES_KEPT": counters.PASSES_KEPT,
    "PAGE": PAGE_INSTRUCTIONS,
    "PAGE_DELAY": PAGE_DELAY,
    "CAPTURE": CAPTURE_STAGES,
    "POST": POST_STAGES,
    "READ_LATENCY": OUTPUT_READ_LATENCY,
}
FLAGS = ("-O2", "-std=c99", "-shared", "-fPIC", *(f"-D{name}={value}" for name, value in CONSTANTS.items()))
COMPILERS = ("cc", "gcc", "clang", "g++")
SECONDS = 60
"""A compiler that takes longer is given up."""


@cache
def library() -> ctypes.CDLL | None:
    """The compiled functions; None where it cannot be built or loaded."""
    try:
        return ctypes.CDLL(str(_built()))
    except (OSError, subprocess.SubprocessError):
        return None


def _built() -> Path:
    """The shared library of the sources, built if it is not kept from before. OSError, SubprocessError if it cannot."""
    found = (shutil.which(name) for name in (os.environ.get("CC", ""), *COMPILERS) if name)
    compiler = next((path for path in found if path), None)
    if compiler is None:
        raise FileNotFoundError("no C compiler")
    content = (
        b"".join(source.read_bytes() for source in SOURCES) + " ".join((*FLAGS, compiler, platform.platform())).encode()
    )
    kept = _folder() / f"search-{hashlib.sha256(content).hexdigest()[:20]}.so"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            made = Path(folder) / kept.name
            command = [compiler, *FLAGS, "-x", "c", *map(str, SOURCES), "-o", str(made)]
            subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
            os.replace(made, kept)  # at once: another process may build the same
    return kept


def _folder() -> Path:
    """Where it is kept: the user's cache, or a new folder if that cannot be written."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dna"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):
        return Path(tempfile.mkdtemp(prefix="dna-"))
