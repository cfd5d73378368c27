"""Runs inside the simulator: drives one part of a bench cycle by cycle, and shapes its values."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from cocotb.triggers import Timer

from dna.accelerator import isa


class Part:
    """One instance of a bench, with the bench's clock.

    A cycle is: set inputs, `settle`, read outputs, `edge`. Registers change at the edge. Inputs keep their values.
    """

    def __init__(self, dut: Any, name: str) -> None:
        self._clk, self._part = dut.clk, getattr(dut, name)
        self._ports: dict[str, Any] = {}

    def _port(self, name: str) -> Any:
        if name not in self._ports:
            self._ports[name] = getattr(self._part, name)
        return self._ports[name]

    def set(self, **inputs: int) -> None:
        """Set inputs; negative numbers are cut to the port's width."""
        for name, value in inputs.items():
            port = self._port(name)
            port.value = value & ((1 << len(port)) - 1)

    def get(self, name: str) -> int:
        return int(self._port(name).value)  # counted unsigned, one bit or many

    async def settle(self) -> None:
        self._clk.value = 0
        await Timer(1, "ns")

    async def edge(self) -> None:
        self._clk.value = 1
        await Timer(1, "ns")

    async def cycle(self) -> None:
        await self.settle()
        await self.edge()

    async def reset(self, **inputs: int) -> None:
        """Two cycles of reset with these inputs."""
        self.set(rst_n=0, **inputs)
        await self.cycle()
        await self.cycle()
        self.set(rst_n=1)


def pack(values: Iterable[int], bits: int) -> int:
    """Fields of equal width side by side, the first one least significant."""
    mask = (1 << bits) - 1
    return sum((value & mask) << (bits * index) for index, value in enumerate(values))


def encode(opcode: str, **values: int) -> int:
    """Instruction word; fields that are not named are 0."""
    places = isa.offsets(opcode)
    widths = {field.name: field.bits for field in isa.FIELDS[opcode]}
    word = isa.OPCODES[opcode]
    for name, value in values.items():
        word |= (value & ((1 << widths[name]) - 1)) << places[name]
    return word


def draw(rng: random.Random, low: int, high: int, corners: Iterable[int] = ()) -> int:
    """A number from low to high: a corner in a third of the draws."""
    if rng.random() < 0.33:
        return rng.choice([low, high, *corners])
    return rng.randint(low, high)
