"""A folder `program/`: program.json and the files it names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from memory_image import WORD_BYTES

UNWRITTEN = 0xA5
"""What memory holds before the accelerator writes it: a tensor that is not written whole is seen."""


@dataclass(frozen=True)
class ProgramFolder:
    """What the bench needs of a Program."""

    path: Path

    @cached_property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.path / "program.json").read_text())
        if content["format"] != 2:
            raise ValueError(f"{self.path}: program.json has format {content['format']}; this bench reads 2")
        return content

    @property
    def name(self) -> str:
        return str(self.content["name"])

    @property
    def registers(self) -> dict[str, int]:
        """Byte address of each register."""
        return dict(self.content["registers"])

    @property
    def capabilities(self) -> list[dict[str, int]]:
        """Per chunk, what the read-only registers of the right accelerator hold."""
        return list(self.content["capabilities"])

    @property
    def chunks(self) -> int:
        return len(self.capabilities)

    @property
    def memory_timing(self) -> list[dict[str, int]]:
        """Per port."""
        return list(self.content["memory"])

    @property
    def frames(self) -> int:
        """Frames per pass."""
        return int(self.content["frames"])

    @property
    def passes(self) -> int:
        return int(self.content["passes"])

    @property
    def buffers(self) -> int:
        """Pairs of input and output that passes take turns with: pass p uses number p mod buffers."""
        return int(self.content["buffers"])

    @property
    def memory_words(self) -> int:
        return int(self.content["memory_words"])

    def addresses(self, region: str) -> list[int]:
        """Byte addresses of a region in the simulated memory: per chunk (PROGRAM) or buffer (INPUT, OUTPUT)."""
        return list(self.content["regions"][region]["addresses"])

    @property
    def base_registers(self) -> dict[str, int]:
        """Values of the base registers, by name without the half."""
        return {
            f"BASE_{region}_{index}" if index else f"BASE_{region}": address
            for region in self.content["regions"]
            for index, address in enumerate(self.addresses(region))
        }

    def region_bytes(self, region: str) -> int:
        return int(self.content["regions"][region]["words"]) * WORD_BYTES

    @property
    def layers(self) -> list[dict[str, Any]]:
        """Chunk by chunk, in the order in which they end."""
        return list(self.content["layers"])

    def layers_of(self, chunk: int) -> list[dict[str, Any]]:
        return [layer for layer in self.layers if layer["chunk"] == chunk]

    @property
    def pass_ends(self) -> list[int] | None:
        """By pass, the cycle in which all chunks had committed it, by the model."""
        value = self.content["pass_ends"]
        return None if value is None else list(value)

    @property
    def model_cycles(self) -> int | None:
        """Cycles of the whole Program by the model."""
        value = self.content["cycles"]
        return None if value is None else int(value)

    @property
    def expected_cycles(self) -> int:
        """Cycles to be patient for; without a model, from the work there is."""
        return self.model_cycles or 1_000_000 + 100 * self.memory_words

    @property
    def first_written(self) -> int:
        """First word of the memory that the accelerator may write."""
        return min(*self.addresses("OUTPUT"), *self.addresses("WORK")) // WORD_BYTES

    def tensor(self, name: str) -> dict[str, Any]:
        return dict(self.content["tensors"][name])

    def copies(self, name: str) -> list[dict[str, Any]]:
        """Where the tensor stands in memory at the end; nowhere if it is handed over on the chip.

        Per pass that is kept and per frame: the byte `address` in the simulated memory, the first `word` in its region,
        and the `file` with what is to be there.
        """
        tensor = self.tensor(name)
        found = []
        first = max(0, self.passes - self.buffers)
        for buffer, files in enumerate(tensor["files"]):
            # Inputs and outputs: what the last pass that used the buffer left; all else: what the last pass left.
            several = len(tensor["files"]) > 1
            number = (
                next(p for p in range(first, self.passes) if p % self.buffers == buffer) if several else self.passes - 1
            )
            base = self.addresses(tensor["region"])[buffer]
            for frame, (word, file) in enumerate(zip(tensor["frame_addresses"], files, strict=True)):
                address = base + WORD_BYTES * word
                found.append({"pass": number, "frame": frame, "address": address, "word": word, "file": file})
        return found

    def expected(self, file: str) -> bytes:
        """What memory must hold where the file's tensor is."""
        return (self.path / file).read_bytes()

    def memory_image(self) -> bytes:
        """The memory before the start: program and inputs in their places."""
        image = bytearray([UNWRITTEN]) * (self.memory_words * WORD_BYTES)
        parts = [(self.addresses("PROGRAM")[0], (self.path / "program.bin").read_bytes())]
        parts += [(copy["address"], self.expected(copy["file"])) for copy in self.copies("input")]
        for address, data in parts:
            image[address : address + len(data)] = data
        return bytes(image)
