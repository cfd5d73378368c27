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
        if content["format"] != 1:
            raise ValueError(f"{self.path}: program.json has format {content['format']}; this bench reads 1")
        return content

    @property
    def name(self) -> str:
        return str(self.content["name"])

    @property
    def registers(self) -> dict[str, int]:
        """Byte address of each register."""
        return dict(self.content["registers"])

    @property
    def capabilities(self) -> dict[str, int]:
        """What the read-only registers of the right accelerator hold."""
        return dict(self.content["capabilities"])

    @property
    def memory_timing(self) -> dict[str, int]:
        return dict(self.content["memory"])

    @property
    def memory_words(self) -> int:
        return int(self.content["memory_words"])

    @property
    def base_addresses(self) -> dict[str, int]:
        """Byte address of each region in the simulated memory."""
        return {name: region["address"] for name, region in self.content["regions"].items()}

    def region_bytes(self, region: str) -> int:
        return int(self.content["regions"][region]["words"]) * WORD_BYTES

    @property
    def layers(self) -> list[dict[str, Any]]:
        return list(self.content["layers"])

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
        addresses = self.base_addresses
        return min(addresses["OUTPUT"], addresses["WORK"]) // WORD_BYTES

    def tensor(self, name: str) -> dict[str, Any]:
        return dict(self.content["tensors"][name])

    def place(self, name: str) -> int:
        """Byte address of a tensor in the simulated memory."""
        tensor = self.tensor(name)
        return int(self.base_addresses[tensor["region"]] + WORD_BYTES * tensor["address"])

    def expected(self, name: str) -> bytes:
        """What memory must hold at the tensor's place."""
        return (self.path / self.tensor(name)["file"]).read_bytes()

    def memory_image(self) -> bytes:
        """The memory before the start: program and input in their places."""
        image = bytearray([UNWRITTEN]) * (self.memory_words * WORD_BYTES)
        for address, data in (
            (self.base_addresses["PROGRAM"], (self.path / "program.bin").read_bytes()),
            (self.place("input"), self.expected("input")),
        ):
            image[address : address + len(data)] = data
        return bytes(image)
