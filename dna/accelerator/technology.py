"""A chip technology: what an operation, a memory access, a gate and a bit cost in energy and area."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from dna.errors import UserError

KILOBYTE = 1024


def real(value: Any) -> Any:
    """A number as a float, a tensor as float64: an integer tensor times a float would be float32."""
    return float(value) if isinstance(value, (int, float)) else value.double()


@dataclass(frozen=True)
class Technology:
    """Figures of one process at one voltage. Energies are in pJ, areas in µm².

    Memories follow a power law: an access of a byte takes `sram_pj * (size / 8 kB) ** sram_exponent`, at least as much
    as `sram_floor_pj`.
    """

    node_nm: float
    voltage: float
    mac_pj: float
    """An 8 bit by 8 bit product, added to a sum of 32 bits."""
    post_pj: float
    """One output byte in a post lane: bias, 32 by 16 bit product, rounding, shift, clip."""
    sram_pj: float
    """A byte read from, or written to, a memory of 8 kB."""
    sram_exponent: float
    sram_floor_pj: float
    """A byte of the smallest memory."""
    dram_pj: float
    """A byte of DRAM read or written, interface included."""
    flip_flop_pj: float
    """A flip-flop's clock edge, its value unchanged: what an idle register takes per cycle."""
    leakage_mw_per_mm2: float
    """Logic cells that do nothing."""
    sram_leakage_mw_per_mm2: float
    """Memories that do nothing."""
    gate_um2: float
    """A NAND gate of two inputs: a gate equivalent."""
    utilisation: float
    """Part of the logic's area that cells fill after placement."""
    sram_bit_um2: float
    """A bit of a memory with one read and one write port, its share of decoders and amplifiers included."""
    sram_macro_um2: float
    """What every memory takes besides its bits."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise UserError(f"{field.name} is {value:g}; it must be a number of at least 0")
        for name in ("node_nm", "voltage", "mac_pj", "sram_pj", "dram_pj", "gate_um2", "sram_bit_um2"):
            if getattr(self, name) == 0:
                raise UserError(f"{name} is 0; it must be above 0")
        if not 0 < self.utilisation <= 1:
            raise UserError(f"utilisation is {self.utilisation:g}; it must be above 0, at most 1")
        if not 0 <= self.sram_exponent <= 1:
            raise UserError(f"sram_exponent is {self.sram_exponent:g}; it must be 0 to 1")

    def sram_byte_pj(self, size_bytes: Any) -> Any:
        """Energy of one byte of an access to a memory of `size_bytes`, numbers or tensors; differentiable."""
        law = self.sram_pj * (real(size_bytes) / (8 * KILOBYTE)) ** self.sram_exponent
        return max(self.sram_floor_pj, law) if isinstance(law, float) else law.clamp(min=self.sram_floor_pj)

    def sram_um2(self, bits: Any, macros: Any = 1) -> Any:
        """Area of `macros` memories of `bits` altogether: a float, or a float64 tensor."""
        return self.sram_bit_um2 * real(bits) + self.sram_macro_um2 * real(macros)
