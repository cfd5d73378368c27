"""The network search space: inverted residual blocks with a choice of kernel, expansion and skip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network


@dataclass(frozen=True)
class Operator:
    """One alternative of a block: an inverted residual block, or (`kernel` 0) nothing at all."""

    kernel: int
    expansion: int

    @property
    def name(self) -> str:
        return "skip" if self.kernel == 0 else f"k{self.kernel}e{self.expansion}"


SKIP = Operator(0, 0)


@dataclass(frozen=True)
class Block:
    """One searchable place: its output channels and stride."""

    out_channels: int
    stride: int = 1


@dataclass(frozen=True)
class Space:
    """Stem convolution, searchable blocks, head convolution, average pooling, fully connected layer."""

    image: tuple[int, int, int]
    """(height, width, channels)."""
    classes: int
    stem_channels: int
    stem_stride: int
    blocks: tuple[Block, ...]
    head_channels: int
    kernels: tuple[int, ...] = (3, 5)
    expansions: tuple[int, ...] = (1, 3, 6)
    pooled: int = 1
    """Height and width after average pooling: 1 pools globally; on tiny images a few positions tell more."""

    def __post_init__(self) -> None:
        if not self.blocks or not self.kernels or not self.expansions:
            raise UserError("network space: at least one block, one kernel and one expansion are needed")
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise UserError(f"network space: kernels are {self.kernels}; they must be odd")

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The alternatives of every block, in the order of the columns of `Supernet.alpha`; skip is the last."""
        return (*(Operator(k, e) for k in self.kernels for e in self.expansions), SKIP)

    def can_skip(self, block: int) -> bool:
        """Whether the block keeps its input's shape, so that leaving it out is possible."""
        return self.blocks[block].stride == 1 and self.blocks[block].out_channels == self.in_channels(block)

    def in_channels(self, block: int) -> int:
        return self.blocks[block - 1].out_channels if block else self.stem_channels

    def choice(self, names: Sequence[str]) -> tuple[int, ...]:
        """Operator indices from names such as k3e6 and skip. Raises UserError for an unknown name."""
        known = {operator.name: index for index, operator in enumerate(self.operators)}
        for name in names:
            if name not in known:
                raise UserError(f"network space: unknown operator '{name}'; known: {', '.join(known)}")
        return self.checked(tuple(known[name] for name in names))

    def names(self, choice: Sequence[int]) -> tuple[str, ...]:
        """The inverse of `choice`."""
        return tuple(self.operators[index].name for index in choice)

    def checked(self, choice: Sequence[int]) -> tuple[int, ...]:
        """The choice itself; UserError unless it names one possible operator per block."""
        if len(choice) != len(self.blocks):
            raise UserError(f"network space: {len(choice)} operators given for {len(self.blocks)} blocks")
        for block, index in enumerate(choice):
            if not 0 <= index < len(self.operators):
                raise UserError(f"network space: block {block} has no operator {index}")
            if self.operators[index] == SKIP and not self.can_skip(block):
                raise UserError(f"network space: block {block} changes its shape and cannot be skipped")
        return tuple(int(index) for index in choice)


def stem_layer(space: Space) -> Layer:
    """The first convolution: unsigned bytes in, ReLU."""
    height, width, channels = space.image
    return Layer(
        "stem", "conv", "input", channels, height, width, space.stem_channels, kernel=(3, 3), padding=(1, 1, 1, 1),
        stride=(space.stem_stride, space.stem_stride), in_signed=False, out_signed=False, lo=0, hi=255,
    )  # fmt: skip


def block_layers(block: int, spec: Block, operator: Operator, source: Layer) -> list[Layer]:
    """Expansion (ReLU), depthwise (ReLU) and linear projection with the residual where the shape stays; [] for skip."""
    if operator == SKIP:
        return []
    layers, name = [], f"block{block}"
    if operator.expansion > 1:
        layers.append(_pointwise(f"{name}_expand", source, source.out_channels * operator.expansion, relu=True))
    layers.append(_depthwise(f"{name}_depthwise", (layers or [source])[-1], operator.kernel, spec.stride))
    project = _pointwise(f"{name}_project", layers[-1], spec.out_channels, relu=False)
    if spec.stride == 1 and spec.out_channels == source.out_channels:
        project = replace(project, residual=source.name, residual_signed=source.out_signed)
    return [*layers, project]


def tail_layers(space: Space, source: Layer) -> list[Layer]:
    """Head convolution, average pooling and classifier."""
    head = _pointwise("head", source, space.head_channels, relu=True)
    height, width = head.out_height // space.pooled, head.out_width // space.pooled
    stride = (1, 1) if space.pooled == 1 else (height, width)
    pool = Layer(
        "pool", "avgpool", "head", head.out_channels, head.out_height, head.out_width, head.out_channels,
        kernel=(height, width), stride=stride, in_signed=False, out_signed=False, lo=0, hi=255,
    )  # fmt: skip
    fc = Layer(
        "fc", "fc", "pool", head.out_channels, pool.out_height, pool.out_width, space.classes,
        kernel=(pool.out_height, pool.out_width), in_signed=False,
    )  # fmt: skip
    return [head, pool, fc]


def space_network(space: Space, choice: Sequence[int], name: str) -> Network:
    """The network that the choice describes."""
    layers = [stem_layer(space)]
    for block, index in enumerate(space.checked(choice)):
        layers += block_layers(block, space.blocks[block], space.operators[index], layers[-1])
    return Network(name, tuple(layers + tail_layers(space, layers[-1])))


def _pointwise(name: str, source: Layer, channels: int, relu: bool) -> Layer:
    return Layer(
        name, "conv", source.name, source.out_channels, source.out_height, source.out_width, channels,
        in_signed=source.out_signed, out_signed=not relu, lo=0 if relu else -128, hi=255 if relu else 127,
    )  # fmt: skip


def _depthwise(name: str, source: Layer, kernel: int, stride: int) -> Layer:
    pad, channels = kernel // 2, source.out_channels
    return Layer(
        name, "depthwise", source.name, channels, source.out_height, source.out_width, channels,
        kernel=(kernel, kernel), stride=(stride, stride), padding=(pad, pad, pad, pad),
        in_signed=source.out_signed, out_signed=False, lo=0, hi=255,
    )  # fmt: skip


def digits_space() -> Space:
    """The space for 8 x 8 digits.

    Four positions are kept after pooling, for on strokes this coarse place tells much. Only one block can be left
    out (the others change the number of channels), and all are wide enough for the smallest choice to read digits well.
    """
    blocks = (Block(40), Block(48, 2), Block(48), Block(64), Block(72))
    return Space((8, 8, 1), 10, stem_channels=32, stem_stride=1, blocks=blocks, head_channels=128, pooled=2)


def cifar10_space() -> Space:
    """The space for 32 x 32 colour images."""
    blocks = (Block(16), Block(24, 2), Block(24), Block(40, 2), Block(40), Block(80), Block(96, 2), Block(96))
    return Space((32, 32, 3), 10, stem_channels=16, stem_stride=1, blocks=blocks, head_channels=256)
