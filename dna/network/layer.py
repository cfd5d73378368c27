"""Integer layers: what is computed, with shapes, and nothing of the hardware that computes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from dna.errors import UserError

Op = Literal["conv", "depthwise", "fc", "maxpool", "avgpool", "add", "concat"]
OPS: tuple[Op, ...] = ("conv", "depthwise", "fc", "maxpool", "avgpool", "add", "concat")
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
    added to it. A `conv` may have `groups`: each group of output channels reduces its own group of input channels.
    The arithmetic is defined in `docs/arithmetic.md`.

    `concat` computes nothing: its output is the channels of its `parts`, one after the other, as they are. Its
    channel counts are those of all parts together, and it has no entry in `Weights` (see `network.concat_layer`).

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
    groups: int = 1
    """Groups of a `conv`; divides both channel counts."""
    parts: tuple[str, ...] = ()
    """Tensors that a `concat` puts one after the other; `input` is the first of them."""
    count_padding: bool = True
    """Whether the mean of an `avgpool` counts padded positions: if not, multipliers depend on the window's place."""

    def __post_init__(self) -> None:
        where = f"layer '{self.name}'"
        if self.op not in OPS:
            raise UserError(f"{where}: unknown operator '{self.op}'; known: {', '.join(OPS)}")
        for field in ("in_channels", "in_height", "in_width", "out_channels"):
            if getattr(self, field) < 1:
                raise UserError(f"{where}: {field} is {getattr(self, field)}; it must be at least 1")
        self._check_kind(where)
        if (self.op in PER_CHANNEL_OPS or self.op == "concat") and self.in_channels != self.out_channels:
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

    def _check_kind(self, where: str) -> None:
        """The fields that belong to one operator alone."""
        if self.groups != 1 and self.op != "conv":
            raise UserError(f"{where}: {self.op} has no groups")
        if self.groups < 1 or self.in_channels % self.groups or self.out_channels % self.groups:
            channels = f"{self.in_channels} input and {self.out_channels} output channels"
            raise UserError(f"{where}: {self.groups} groups do not divide {channels}")
        if not self.count_padding and self.op != "avgpool":
            raise UserError(f"{where}: only avgpool can leave padding out of the count")
        if bool(self.parts) != (self.op == "concat"):
            raise UserError(f"{where}: a concat has parts, no other operator has")
        if self.op == "concat":
            self._check_concat(where)

    def _check_concat(self, where: str) -> None:
        if len(self.parts) < 2 or self.parts[0] != self.input:
            raise UserError(f"{where}: a concat takes two or more parts, and its input is the first of them")
        if self.kernel != (1, 1) or self.stride != (1, 1) or any(self.padding) or self.residual is not None:
            raise UserError(f"{where}: a concat has no window and no residual")
        whole = (-128, 127) if self.out_signed else (0, 255)
        if self.in_signed != self.out_signed or (self.lo, self.hi) != whole:
            raise UserError(f"{where}: a concat passes its parts on: same sign, clip bounds [{whole[0]}, {whole[1]}]")

    @property
    def computes(self) -> bool:
        """Whether it has arithmetic, and so an entry in `Weights`; `concat` has none."""
        return self.op != "concat"

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the tensors it reads; a name may occur twice."""
        read = self.parts or (self.input,)
        return read if self.residual is None else (*read, self.residual)

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
        """(out_channels, in_channels of a group or 1, kernel height, kernel width), None without weights."""
        if not self.has_weights:
            return None
        return (self.out_channels, 1 if self.per_channel else self.in_channels // self.groups, *self.kernel)

    @cached_property
    def counted_rows(self) -> tuple[int, ...]:
        """For each output row, the rows of its window that a mean counts: all, or those inside the image."""
        return self._counted(0, self.out_height, self.in_height)

    @cached_property
    def counted_cols(self) -> tuple[int, ...]:
        """The same for each output column."""
        return self._counted(1, self.out_width, self.in_width)

    def _counted(self, axis: int, outputs: int, size: int) -> tuple[int, ...]:
        kernel, padding = self.kernel[axis], self.padding[axis]
        if self.count_padding:
            return (kernel,) * outputs
        firsts = [position * self.stride[axis] - padding for position in range(outputs)]
        return tuple(min(first + kernel, size) - max(first, 0) for first in firsts)

    @cached_property
    def window_sizes(self) -> tuple[int, ...]:
        """The numbers of elements that windows of this layer count, largest first: one number but for an `avgpool` that
        leaves padding out. Parameters have one row for each of them if there are several."""
        return tuple(sorted({r * c for r in set(self.counted_rows) for c in set(self.counted_cols)}, reverse=True))

    @property
    def param_shape(self) -> tuple[int, ...]:
        """Shape of bias, multiplier and shift: (out_channels,), or (window sizes, out_channels) if several."""
        sizes = len(self.window_sizes)
        return (self.out_channels,) if sizes == 1 else (sizes, self.out_channels)

    @property
    def group_inputs(self) -> int:
        """Input channels of one group: all, unless it is a grouped convolution."""
        return self.in_channels // self.groups

    @property
    def group_outputs(self) -> int:
        """Output channels of one group."""
        return self.out_channels // self.groups

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one frame; pooling and add count none."""
        if not self.has_weights:
            return 0
        per_output = self.kernel[0] * self.kernel[1] * (1 if self.per_channel else self.in_channels // self.groups)
        return self.out_height * self.out_width * self.out_channels * per_output

    def renamed(self, **changes: object) -> Layer:
        """A copy with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]
