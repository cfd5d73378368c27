"""Integer layers: what is computed, with shapes, and nothing of the hardware that computes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from dna.errors import UserError

Op = Literal["conv", "depthwise", "fc", "maxpool", "avgpool", "add"]
OPS: tuple[Op, ...] = ("conv", "depthwise", "fc", "maxpool", "avgpool", "add")
WEIGHTED_OPS = frozenset({"conv", "depthwise", "fc"})
PER_CHANNEL_OPS = frozenset({"depthwise", "maxpool", "avgpool", "add"})
"""Operators whose output channel c depends on input channel c alone."""

MAX_KERNEL = 11
MAX_STRIDE = 4


@dataclass(frozen=True)
class Layer:
    """One integer layer: a windowed reduction, then requantisation, an optional residual and a clip.

    Every operator is one of two reductions over a `kernel` window moved by `stride` over the padded input:
    across all input channels (`conv`, `fc`) or inside each channel (`depthwise`, `maxpool`, `avgpool`,
    `add`). `fc` reduces the whole input map: its kernel equals the input's height and width. `avgpool` sums the
    window (the division is in the multiplier). `add` passes its input through, so that the residual is
    added to it. The arithmetic is defined in `docs/arithmetic.md`.

    Tensors are named after the layer that writes them; the network's input is called ``input``.
    """

    name: str
    op: Op
    input: str
    in_channels: int
    in_height: int
    in_width: int
    out_channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Rows above, columns left, rows below, columns right."""
    pad_value: int = 0
    in_signed: bool = True
    out_signed: bool = True
    lo: int = -128
    hi: int = 127
    """Clip bounds of the output, inclusive: ReLU and ReLU6 are a matter of these two."""
    residual: str | None = None
    residual_signed: bool = True

    def __post_init__(self) -> None:
        where = f"layer '{self.name}'"
        if self.op not in OPS:
            raise UserError(f"{where}: unknown operator '{self.op}'; known: {', '.join(OPS)}")
        for field in ("in_channels", "in_height", "in_width", "out_channels"):
            if getattr(self, field) < 1:
                raise UserError(f"{where}: {field} is {getattr(self, field)}; it must be at least 1")
        if self.op in PER_CHANNEL_OPS and self.in_channels != self.out_channels:
            raise UserError(
                f"{where}: {self.op} keeps its channels, but in_channels is {self.in_channels}"
                f" and out_channels {self.out_channels}"
            )
        if self.op == "fc" and (self.kernel != (self.in_height, self.in_width) or any(self.padding)):
            raise UserError(f"{where}: fc reduces the whole map; kernel must equal the input's size, without padding")
        if self.op == "add" and (self.residual is None or self.kernel != (1, 1) or self.stride != (1, 1)):
            raise UserError(f"{where}: add takes a residual, a 1 x 1 kernel and stride 1")
        if self.op in ("conv", "depthwise", "maxpool") and max(self.kernel) > MAX_KERNEL:
            raise UserError(f"{where}: kernel {self.kernel} is larger than {MAX_KERNEL}")
        if min(self.kernel) < 1 or min(self.stride) < 1 or min(self.padding) < 0:
            raise UserError(f"{where}: kernel and stride must be at least 1, padding at least 0")
        if max(self.stride) > MAX_STRIDE and self.op != "fc" and not self.is_global:
            raise UserError(f"{where}: stride {self.stride} is larger than {MAX_STRIDE}")
        if self.padding[0] >= self.kernel[0] or self.padding[2] >= self.kernel[0]:
            raise UserError(f"{where}: padding {self.padding} reaches a whole kernel {self.kernel} beyond the image")
        if self.padding[1] >= self.kernel[1] or self.padding[3] >= self.kernel[1]:
            raise UserError(f"{where}: padding {self.padding} reaches a whole kernel {self.kernel} beyond the image")
        if self.out_height < 1 or self.out_width < 1:
            raise UserError(f"{where}: the kernel {self.kernel} is larger than the padded input")
        low, high = (-128, 127) if self.out_signed else (0, 255)
        if not low <= self.lo <= 0 <= self.hi <= high:
            raise UserError(f"{where}: clip bounds [{self.lo}, {self.hi}] must hold 0 and lie in [{low}, {high}]")
        low, high = (-128, 127) if self.in_signed else (0, 255)
        if not low <= self.pad_value <= high:
            raise UserError(f"{where}: pad_value {self.pad_value} is outside [{low}, {high}]")

    @property
    def is_global(self) -> bool:
        """Whether one window covers the whole input map."""
        return self.kernel == (self.in_height, self.in_width) and not any(self.padding)

    @property
    def out_height(self) -> int:
        return (self.in_height + self.padding[0] + self.padding[2] - self.kernel[0]) // self.stride[0] + 1

    @property
    def out_width(self) -> int:
        return (self.in_width + self.padding[1] + self.padding[3] - self.kernel[1]) // self.stride[1] + 1

    @property
    def has_weights(self) -> bool:
        return self.op in WEIGHTED_OPS

    @property
    def per_channel(self) -> bool:
        """Whether channels do not mix: the accelerator's depthwise mode."""
        return self.op in PER_CHANNEL_OPS

    @property
    def weight_shape(self) -> tuple[int, int, int, int] | None:
        """(out_channels, in_channels or 1, kernel height, kernel width), None without weights."""
        if not self.has_weights:
            return None
        return (self.out_channels, 1 if self.per_channel else self.in_channels, *self.kernel)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one frame; pooling and add count none."""
        if not self.has_weights:
            return 0
        per_output = self.kernel[0] * self.kernel[1] * (1 if self.per_channel else self.in_channels)
        return self.out_height * self.out_width * self.out_channels * per_output

    def renamed(self, **changes: object) -> Layer:
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]
