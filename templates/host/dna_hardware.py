"""How a machine reaches the accelerator and the memory they share: `/dev/mem`, UIO, PYNQ, or whatever has the methods
of `Hardware`.
"""

from __future__ import annotations

import mmap
import os
import select
import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

PAGE = 4096


class Hardware(Protocol):
    """How this machine reaches the accelerator and the memory they share."""

    memory: NDArray[np.uint8]
    """The shared memory."""
    bus: int
    """What the accelerator calls its first byte; a multiple of 4096."""

    def read(self, address: int) -> int:
        """A register."""

    def write(self, address: int, value: int) -> None:
        """Set a register."""

    def flush(self, first: int, count: int) -> None:
        """What was written to these bytes of `memory` reaches the accelerator."""

    def invalidate(self, first: int, count: int) -> None:
        """These bytes of `memory` are read as the accelerator left them."""

    def wait(self, seconds: float) -> None:
        """Sleep a little, or until an interrupt."""


class DevMem:
    """Registers and reserved memory through `/dev/mem` (uncached; the kernel must not use that memory)."""

    def __init__(self, registers: int, memory: int, size: int, path: str = "/dev/mem") -> None:
        self.bus = memory
        self._file = os.open(path, os.O_RDWR | os.O_SYNC)
        self._registers_map = mmap.mmap(self._file, PAGE, offset=registers)
        self._memory_map = mmap.mmap(self._file, size, offset=memory)
        self._words = np.frombuffer(self._registers_map, "<u4")
        self.memory = np.frombuffer(self._memory_map, np.uint8)

    def __enter__(self) -> DevMem:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the mappings back; the arrays are not to be used any more."""
        del self._words, self.memory
        self._registers_map.close()
        self._memory_map.close()
        os.close(self._file)

    def read(self, address: int) -> int:
        return int(self._words[address // 4])

    def write(self, address: int, value: int) -> None:
        self._words[address // 4] = value

    def flush(self, first: int, count: int) -> None:
        """Nothing to do: not cached."""

    def invalidate(self, first: int, count: int) -> None:
        """Nothing to do: not cached."""

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


class Uio(DevMem):
    """Registers and interrupt through `/dev/uioN`, memory through a udmabuf or another device that can be mapped."""

    def __init__(self, uio: str, buffer: str, bus: int, size: int) -> None:
        self.bus = bus
        self._file = os.open(uio, os.O_RDWR | os.O_SYNC)
        memory = os.open(buffer, os.O_RDWR | os.O_SYNC)
        self._registers_map = mmap.mmap(self._file, PAGE)
        self._memory_map = mmap.mmap(memory, size)
        os.close(memory)
        self._words = np.frombuffer(self._registers_map, "<u4")
        self.memory = np.frombuffer(self._memory_map, np.uint8)

    def wait(self, seconds: float) -> None:
        os.write(self._file, (1).to_bytes(4, "little"))  # lets the next interrupt through
        if select.select([self._file], [], [], seconds)[0]:
            os.read(self._file, 4)


class Pynq:
    """Overlay and buffers of PYNQ: `overlay` is a `pynq.Overlay` of vivado/dna.bit."""

    def __init__(self, overlay: Any, size: int) -> None:
        from pynq import MMIO, allocate  # type: ignore[import-not-found]

        (ip,) = (entry for name, entry in overlay.ip_dict.items() if name.split("/")[-1] == "dna")
        self._registers = MMIO(ip["phys_addr"], PAGE)
        # PYNQ's buffers begin at pages; one more page lets any allocator do.
        self._buffer = allocate(shape=(size + PAGE,), dtype="u1")
        skip = -self._buffer.physical_address % PAGE
        self.bus = self._buffer.physical_address + skip
        self.memory = self._buffer[skip : skip + size]

    def read(self, address: int) -> int:
        return int(self._registers.read(address))

    def write(self, address: int, value: int) -> None:
        self._registers.write(address, value)

    def flush(self, first: int, count: int) -> None:
        self._buffer.flush()

    def invalidate(self, first: int, count: int) -> None:
        self._buffer.invalidate()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)
