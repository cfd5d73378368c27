"""Writes a Network layer by layer: sizes, signs and clip bounds follow from what came before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dna.errors import UserError
from dna.network.blueprint import Blueprint, Bounds
from dna.network.layer import Layer, Op
from dna.network.network import Network, TensorShape, concat_layer

Activation = Literal["linear", "relu", "relu6"]


@dataclass(frozen=True)
class Request:
    """What a zoo network is built for: image (height, width, channels), multiplier of all channels, classes."""

    image: tuple[int, int, int] = (224, 224, 3)
    width: float = 1.0
    classes: int = 1000

    def __post_init__(self) -> None:
        if min(self.image) < 1 or self.classes < 1 or not 0 < self.width <= 16:
            raise UserError(
                f"zoo: image {self.image}, width {self.width}, classes {self.classes}: all must be positive"
            )

    def channels(self, count: int) -> int:
        """The scaled count: a multiple of 8 that is at least 0.9 times what was asked for; unchanged at width 1."""
        if self.width == 1:
            return count
        wanted = count * self.width
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded if rounded >= 0.9 * wanted else rounded + 8


class Builder:
    """Collects layers. Each method returns the name of the tensor that it adds."""

    def __init__(self, name: str, request: Request, biased: bool = False) -> None:
        self.name, self.request, self._all_biased = name, request, biased
        height, width, channels = request.image
        self._shapes = {"input": TensorShape(height, width, channels, False)}
        self._layers: list[Layer] = []
        self._bounds: dict[str, Bounds] = {}
        self._biased: set[str] = set()

    def shape(self, tensor: str) -> TensorShape:
        return self._shapes[tensor]

    def conv(
        self,
        name: str,
        source: str,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int | None = None,
        activation: Activation = "relu",
        residual: str | None = None,
        groups: int = 1,
    ) -> str:
        """A convolution to exactly `channels`; `padding` on all sides, by default half the kernel."""
        pad = kernel // 2 if padding is None else padding
        shape = self.shape(source)
        self._fit(name, shape, kernel, pad)
        extra: dict[str, int] = {} if groups == 1 else {"groups": groups}
        return self._add(
            name, "conv", source, channels, activation, residual,
            kernel=(kernel, kernel), stride=(stride, stride), padding=(pad, pad, pad, pad), **extra,
        )  # fmt: skip

    def depthwise(self, name: str, source: str, kernel: int, stride: int = 1, activation: Activation = "relu") -> str:
        pad, shape = kernel // 2, self.shape(source)
        self._fit(name, shape, kernel, pad)
        return self._add(
            name, "depthwise", source, shape.channels, activation,
            kernel=(kernel, kernel), stride=(stride, stride), padding=(pad, pad, pad, pad),
        )  # fmt: skip

    def maxpool(
        self, name: str, source: str, kernel: int, stride: int, padding: int = 0, ceil_mode: bool = False
    ) -> str:
        """Max pooling; on a map smaller than the window, the window shrinks to the map."""
        shape = self.shape(source)
        (kh, top, bottom), (kw, left, right) = (
            _pool_side(size, kernel, stride, padding, ceil_mode) for size in (shape.height, shape.width)
        )
        return self._pool(name, "maxpool", source, (kh, kw), (stride, stride), (top, left, bottom, right))

    def global_avgpool(self, name: str, source: str) -> str:
        shape = self.shape(source)
        return self._pool(name, "avgpool", source, (shape.height, shape.width), (1, 1), (0, 0, 0, 0))

    def shrink(self, name: str, source: str, size: int) -> str:
        """Average pooling to at most `size` x `size`; a map that is not larger stays as it is."""
        shape = self.shape(source)
        if shape.height <= size and shape.width <= size:
            return source
        sides = [(max(1, side // size), min(side, size)) for side in (shape.height, shape.width)]
        kernel = tuple(
            side - stride * (n - 1) for side, (stride, n) in zip((shape.height, shape.width), sides, strict=True)
        )
        return self._pool(name, "avgpool", source, (kernel[0], kernel[1]), (sides[0][0], sides[1][0]), (0, 0, 0, 0))

    def concat(self, name: str, sources: Sequence[str]) -> str:
        """Channels side by side, in the given order: a matter of layout, nothing is computed."""
        layer = concat_layer(name, sources, self._shapes)
        self._layers.append(layer)
        self._shapes[name] = TensorShape(layer.out_height, layer.out_width, layer.out_channels, layer.out_signed)
        return name

    def fc(self, name: str, source: str, outputs: int, activation: Activation = "linear") -> str:
        shape = self.shape(source)
        return self._add(name, "fc", source, outputs, activation, kernel=(shape.height, shape.width))

    def blueprint(self) -> Blueprint:
        """The finished network; its output is the tensor added last."""
        return Blueprint(Network(self.name, tuple(self._layers)), self._bounds, frozenset(self._biased))

    def _pool(
        self,
        name: str,
        op: Op,
        source: str,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int, int, int],
    ) -> str:
        shape = self.shape(source)
        pad_value = -128 if op == "maxpool" and shape.signed else 0
        activation: Activation = "linear" if shape.signed else "relu"
        return self._add(
            name, op, source, shape.channels, activation,
            kernel=kernel, stride=stride, padding=padding, pad_value=pad_value,
        )  # fmt: skip

    def _fit(self, name: str, shape: TensorShape, kernel: int, padding: int) -> None:
        if min(shape.height, shape.width) + 2 * padding < kernel:
            height, width, _ = self.request.image
            raise UserError(
                f"{self.name}: an image of {height} x {width} is too small; at layer '{name}' only"
                f" {shape.height} x {shape.width} is left for a kernel of {kernel}"
            )

    def _add(
        self,
        name: str,
        op: Op,
        source: str,
        channels: int,
        activation: Activation,
        residual: str | None = None,
        **fields: object,
    ) -> str:
        shape, signed = self.shape(source), activation == "linear"
        layer = Layer(
            name, op, source, shape.channels, shape.height, shape.width, channels,
            in_signed=shape.signed, out_signed=signed, lo=-128 if signed else 0, hi=127 if signed else 255,
            residual=residual, residual_signed=True if residual is None else self.shape(residual).signed, **fields,  # type: ignore[arg-type]
        )  # fmt: skip
        self._layers.append(layer)
        self._shapes[name] = TensorShape(layer.out_height, layer.out_width, layer.out_channels, signed)
        if activation == "relu6":
            self._bounds[name] = (0.0, 6.0)
        if self._all_biased and layer.has_weights and op != "fc":
            self._biased.add(name)
        return name


def _pool_side(size: int, kernel: int, stride: int, padding: int, ceil_mode: bool) -> tuple[int, int, int]:
    """(kernel, padding before, padding after) of one side."""
    kernel = min(kernel, size + 2 * padding)
    padding = min(padding, kernel - 1)
    covered = size + 2 * padding - kernel
    left_over = -covered % stride if ceil_mode else 0
    # A last window that would start in the padding is left out, as other tools do it.
    starts_outside = (covered + left_over) // stride * stride >= size + padding
    return kernel, padding, padding if starts_outside else min(padding + left_over, kernel - 1)
