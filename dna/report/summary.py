"""What there is to say of a run: one plain structure that the HTML page and the terminal tables share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dna.accelerator.board import Board
from dna.accelerator.chunk import Accelerator
from dna.cost.area import accelerator_area
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
    """From the last write of the chunk's layer before to its own last write, all frames of a pass; so is
    `cycles_rtl`."""
    causes: Mapping[str, int]
    """Cycles of the compute engine per cause, from the layer before's last tile to its own."""
    cycles_rtl: int | None = None
    counters_different: tuple[str, ...] = ()
    """Cycle counters of the RTL that do not show what the model says."""
    different_bits: int | None = None
    chunk: int = 0
    alone: bool = True
    """Whether the cycles are the layer's alone: not where its frames come in several groups, between those of other
    layers."""

    def utilisation(self, multipliers: int, frames: int = 1) -> float | None:
        """Multiply-accumulates of `frames` done over those that the array could have done, 0 to 1."""
        if not self.alone:
            return None
        return self.macs * frames / (self.cycles_model * multipliers) if self.cycles_model else 0.0


@dataclass(frozen=True)
class Anytime:
    """How the search came to its result, in cycles per frame by the price model."""

    seconds: tuple[float, ...]
    cycles: tuple[float, ...]
    lower_bound: float | None = None


@dataclass(frozen=True)
class Summary:
    """A run in figures."""

    title: str
    board: Board
    accelerator: Accelerator
    layers: tuple[LayerRow, ...]
    """Chunk by chunk, in the order in which they end."""
    cycles_model: int
    """Of one pass alone, from start to the last response of memory."""
    used: Resources
    """Of all chunks and links."""
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
    frames: int = 1
    """Of a pass."""
    interval: float | None = None
    """Cycles from frame to frame in steady state, pass after pass; None: only a frame alone is known."""
    shares: tuple[int, ...] = ()
    """Cycles per beat of each port; empty: those of the board's memory."""
    anytime: Anytime | None = None

    @property
    def cycles_per_frame(self) -> float:
        """In steady state; where that is not known, of a frame alone."""
        return self.cycles_model / self.frames if self.interval is None else self.interval

    @property
    def frames_per_second(self) -> float:
        """At the board's assumed clock."""
        return self.board.cycles_per_second / self.cycles_per_frame

    @property
    def multipliers(self) -> int:
        return sum(chunk.multipliers for chunk in self.accelerator.chunks)

    def layer_utilisation(self, row: LayerRow) -> str:
        """Of the layer's own chunk, as text; empty where it cannot be told."""
        share = row.utilisation(self.accelerator.chunks[row.chunk].multipliers, self.frames)
        return "" if share is None else f"{share:.1%}"

    @property
    def several(self) -> bool:
        """Whether chunks work at the same time, or on several frames."""
        return len(self.accelerator.chunks) > 1 or bool(self.accelerator.links) or self.frames > 1

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def utilisation(self) -> float:
        """Of all multipliers of all chunks."""
        return self.macs / (self.cycles_per_frame * self.multipliers)

    @property
    def cycles_equal(self) -> bool | None:
        """Model = RTL for the frame and for every counter of every layer; None: not verified."""
        if self.cycles_rtl is None:
            return None
        return self.cycles_rtl == self.cycles_model and not any(row.counters_different for row in self.layers)

    def resource_rows(self) -> list[tuple[str, float, float]]:
        """(name, used, available): an FPGA's resources, or a chip's area and memory."""
        technology = self.board.technology
        if technology is not None:
            area = accelerator_area(self.accelerator, technology)
            areas = ("area, mm²", area.total_mm2, self.board.area_mm2)
            return [areas, ("memory, kB", area.buffer_kb, self.board.sram_kb)]
        names = (("DSP", "dsp"), ("BRAM36", "bram36"), ("LUT", "lut"), ("FF", "ff"))
        return [(label, int(getattr(self.used, key)), int(getattr(self.board, key))) for label, key in names]

    def chunk_rows(self) -> list[tuple[str, ...]]:
        """For each chunk: number, array, dataflow, post lanes, buffers, ports, layers. As `CHUNK_COLUMNS` says."""
        return [self._chunk_row(number) for number in range(len(self.accelerator.chunks))]

    def _chunk_row(self, number: int) -> tuple[str, ...]:
        chunk = self.accelerator.chunks[number]
        first = self.accelerator.first_port(number)
        shares = self.shares[first : first + chunk.ports] or (self.board.memory.beat_interval,) * chunk.ports
        made = " in LUTs" if chunk.mac_in_lut else ", two per DSP" if chunk.packed else ""
        buffers = (chunk.input_words, chunk.weight_words, chunk.param_words, chunk.output_words)
        return (
            str(number),
            f"{chunk.oc} × {chunk.ic} × {chunk.px}{made}",
            chunk.dataflow,
            str(chunk.post_lanes),
            " / ".join(map(str, buffers)),
            " + ".join(f"{8 * chunk.port_bytes} bit / {share}" for share in shares),
            str(sum(row.chunk == number for row in self.layers)),
        )


CHUNK_COLUMNS = ("chunk", "array", "dataflow", "#post lanes", "buffers: in / weight / param / out", "ports", "#layers")
"""Buffers in words; ports as width and cycles per beat. A leading `#`: numbers."""


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
