"""What there is to say of a run: one plain structure that the HTML page and the terminal tables share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dna.accelerator.board import Board
from dna.accelerator.chunk import Chunk
from dna.cost.resources import Resources
from dna.network.layer import Layer
from dna.search.rivals import Rival


@dataclass(frozen=True)
class LayerRow:
    """One layer: what it is, what the model says, and, once verified, what the RTL did."""

    name: str
    kind: str
    shape: str
    macs: int
    cycles_model: int
    """From the last write of the layer before to its own last write; so is `cycles_rtl`."""
    causes: Mapping[str, int]
    """Cycles of the compute engine per cause, from the layer before's last tile to its own."""
    cycles_rtl: int | None = None
    counters_different: tuple[str, ...] = ()
    """Cycle counters of the RTL that do not show what the model says."""
    different_bits: int | None = None

    def utilisation(self, multipliers: int) -> float:
        """Multiply-accumulates done over those that the array could have done, 0 to 1."""
        return self.macs / (self.cycles_model * multipliers) if self.cycles_model else 0.0


@dataclass(frozen=True)
class Summary:
    """A run in figures. Cycles are of one frame alone, from start to the last response of memory."""

    title: str
    board: Board
    chunk: Chunk
    layers: tuple[LayerRow, ...]
    cycles_model: int
    used: Resources
    accuracy: Mapping[str, float] = field(default_factory=dict)
    """Share of the held-out images named correctly, by stage: `float`, `int8`."""
    cycles_rtl: int | None = None
    bits_equal: bool | None = None
    """Over every layer, every memory that was tried; None: not verified."""
    bits_equal_with_stalls: bool | None = None
    rivals: tuple[Rival, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall time of each step."""
    notices: tuple[str, ...] = ()
    """What the reader should know of how the network came about, a sentence each."""

    @property
    def frames_per_second(self) -> float:
        """At the board's assumed clock, one frame after the other."""
        return self.board.cycles_per_second / self.cycles_model

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def utilisation(self) -> float:
        return self.macs / (self.cycles_model * self.chunk.multipliers)

    @property
    def cycles_equal(self) -> bool | None:
        """Model = RTL for the frame and for every counter of every layer; None: not verified."""
        if self.cycles_rtl is None:
            return None
        return self.cycles_rtl == self.cycles_model and not any(row.counters_different for row in self.layers)

    def resource_rows(self) -> list[tuple[str, int, int]]:
        """(name, used, available)."""
        names = (("DSP", "dsp"), ("BRAM36", "bram36"), ("LUT", "lut"), ("FF", "ff"))
        return [(label, int(getattr(self.used, key)), int(getattr(self.board, key))) for label, key in names]


def layer_kind(layer: Layer) -> str:
    """Operator, kernel and stride in a few characters: `conv 3×3 /2 + add`."""
    size = "" if layer.kernel == (1, 1) and layer.op != "conv" else f" {layer.kernel[0]}×{layer.kernel[1]}"
    stride = "" if layer.stride == (1, 1) else f" /{max(layer.stride)}"
    residual = " + add" if layer.residual and layer.op != "add" else ""
    groups = f" in {layer.groups} groups" if layer.groups > 1 else ""
    return f"{layer.op}{size}{stride}{groups}{residual}"


def layer_shape(layer: Layer) -> str:
    """Input and output as height × width × channels."""
    into = f"{layer.in_height}×{layer.in_width}×{layer.in_channels}"
    return f"{into} → {layer.out_height}×{layer.out_width}×{layer.out_channels}"


def yes_no(value: bool | None) -> str:
    """`yes`, `NO`, or what is not known yet."""
    return {None: "not verified", True: "yes", False: "NO"}[value]
