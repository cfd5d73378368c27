"""Boards: what a target offers. One small YAML file each, every number with its source beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from dna.accelerator.chunk import Memory
from dna.accelerator.technology import Technology
from dna.errors import UserError
from dna.paths import boards
from dna.record import from_plain, read_yaml

ASIC_PART = "asic"
ASIC_KEYS = ("multipliers", "area_mm2", "sram_kb")
BLOCK_KB = 2.25
"""What stands for a block RAM of 4.5 kB in an ASIC: many a buffer leaves half of its blocks empty, macros never are."""
MOST_BLOCKS = 100_000
NO_LIMIT = 100_000_000
"""LUTs or flip-flops that nothing reaches."""


@dataclass(frozen=True)
class Board:
    """A target: its part, what the part holds, and the memory ports an accelerator can use."""

    name: str
    """The file's name without `.yaml`."""
    title: str
    part: str
    """The vendor tool's part number."""
    dsp: int
    bram36: int
    """Block RAMs of 36 Kb."""
    uram: int
    """UltraRAMs of 288 Kb."""
    lut: int
    ff: int
    clock_mhz: float
    """Assumed until a timing run for the board says otherwise."""
    ports: int
    """AXI4 slave ports to DRAM that an accelerator can use."""
    port_bits: int
    """Width of each port: 64 or 128."""
    address_bits: int
    dram_bytes: int = 0
    """Bytes per cycle and direction that the memory behind all ports sustains; 0: all that the ports carry."""
    memory: Memory = Memory()
    """Assumed behaviour of the memory behind each port, in accelerator cycles."""
    technology: Technology | None = None
    """Of an ASIC; None: an FPGA. An ASIC is limited by area and on-chip memory. `dsp` is then the multipliers that a
    search considers, `bram36` its memory in half filled blocks, and `lut` and `ff` are no limit."""
    area_mm2: float = 0.0
    """Of an ASIC: what the accelerator may take."""
    sram_kb: float = 0.0
    """Of an ASIC: on-chip memory, all buffers and links together, in units of 1024 bytes."""

    def __post_init__(self) -> None:
        def require(name: str, ok: bool, rule: str) -> None:
            if not ok:
                raise UserError(f"{name} is {getattr(self, name)}; it must be {rule}")

        for name, low, high in (
            ("dsp", 1, 100_000),
            ("bram36", 1, 100_000),
            ("uram", 0, 100_000),
            ("lut", 1, 100_000_000),
            ("ff", 1, 100_000_000),
            ("clock_mhz", 1, 2000),
            ("ports", 1, 16),
            ("address_bits", 32, 64),
            ("dram_bytes", 0, 4096),
        ):
            require(name, low <= getattr(self, name) <= high, f"{low} to {high}")
        require("port_bits", self.port_bits in (64, 128), "64 or 128")
        for name in ("name", "title", "part"):
            require(name, bool(getattr(self, name).strip()), "not empty")
        for name in ("area_mm2", "sram_kb"):
            value = getattr(self, name)
            require(name, (0 < value < float("inf")) if self.technology else value == 0, self._rule)

    @property
    def _rule(self) -> str:
        return "above 0" if self.technology else "left out: only an ASIC has it"

    @property
    def port_bytes(self) -> int:
        return self.port_bits // 8

    @property
    def carried(self) -> Fraction:
        """Bytes per cycle and direction that all ports together move."""
        ports = Fraction(self.ports * self.port_bytes, self.memory.beat_interval)
        return min(ports, Fraction(self.dram_bytes)) if self.dram_bytes else ports

    @property
    def cycles_per_second(self) -> float:
        return self.clock_mhz * 1e6


def board_names() -> list[str]:
    """Names of the boards that come with DNA, sorted."""
    return sorted(path.stem for path in boards().glob("*.yaml"))


def load_board(name: str | Path) -> Board:
    """The board of that name, or of that file if `name` is a path to a YAML file.

    UserError if there is none, or names the file and the key that is wrong.
    """
    path = Path(name)
    if path.suffix not in (".yaml", ".yml"):
        if str(name) not in board_names():
            known = ", ".join(board_names())
            raise UserError(f"unknown board '{name}'; known: {known}; a path to a .yaml file is taken as well")
        path = boards() / f"{name}.yaml"
    content = read_yaml(path)
    if isinstance(content, Mapping):
        content = {"name": path.stem, **_of_asic(content, path)}
    try:
        return from_plain(Board, content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _of_asic(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The content with the FPGA resources that stand for what an ASIC has, so that every search can size its space."""
    if "technology" not in content:
        return dict(content)
    result = dict(content)
    for name in ASIC_KEYS:
        if name not in content:
            raise UserError(f"{path}: key '{name}' is missing")
        if type(content[name]) not in (int, float):
            raise UserError(f"{path}: {name}: is '{content[name]}'; it must be a number")
    for name in ("dsp", "bram36", "uram", "lut", "ff"):
        if name in content:
            raise UserError(f"{path}: unknown key '{name}': an ASIC has {', '.join(ASIC_KEYS)}")
    blocks = max(1, min(MOST_BLOCKS, int(content["sram_kb"] / BLOCK_KB)))
    result |= {"dsp": result.pop("multipliers"), "bram36": blocks, "uram": 0, "lut": NO_LIMIT, "ff": NO_LIMIT}
    return {"part": ASIC_PART, **result}
