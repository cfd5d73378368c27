"""Memory contents as text that $readmemh and $writememh understand: one word of 16 bytes per line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

WORD_BYTES = 16


def write_hex(path: Path, data: bytes) -> None:
    """Write whole words; least significant byte first in `data`, last in the text."""
    digits = np.frombuffer(data, np.uint8).reshape(-1, WORD_BYTES)[:, ::-1].tobytes().hex()
    width = 2 * WORD_BYTES
    path.write_text("".join(f"{digits[start : start + width]}\n" for start in range(0, len(digits), width)))


def read_hex(path: Path, words: int) -> bytes:
    """The `words` words of a file; ValueError if there are not as many."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    digits = "".join(line for line in lines if line and not line.startswith(("//", "@")))
    data = np.frombuffer(bytes.fromhex(digits), np.uint8).reshape(-1, WORD_BYTES)
    if len(data) != words:
        raise ValueError(f"{path} holds {len(data)} words; {words} expected")
    return data[:, ::-1].tobytes()
