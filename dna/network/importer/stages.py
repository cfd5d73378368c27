"""Layers in the making: what the lowering builds before shapes, signs and the input's format are settled."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from dna.network.blueprint import Bounds
from dna.network.importer.graph import Node
from dna.network.importer.imported import FloatArray, TensorScale
from dna.network.layer import WEIGHTED_OPS

UNBOUNDED: Bounds = (-math.inf, math.inf)
NO_PADDING = (0, 0, 0, 0)
Affine = tuple[FloatArray, FloatArray]
_TAKEN = {
    "T_destination", "add_module", "apply", "bfloat16", "buffers", "call_super_init", "children", "clear", "compile",
    "cpu", "cuda", "double", "dump_patches", "eval", "extra_repr", "float", "forward", "half", "ipu", "items", "keys",
    "load_state_dict", "modules", "mtia", "parameters", "pop", "requires_grad_", "share_memory", "state_dict", "to",
    "to_empty", "train", "training", "type", "update", "values", "xpu", "zero_grad",
}  # fmt: skip
_TAKEN_STARTS = ("register_", "named_", "get_", "set_")
"""Names that torch's containers use themselves, so that no layer in them can have one."""


@dataclass(eq=False)
class Stage:
    """A layer before it is one; op 'input' for the network's input. Sizes are those of its output."""

    name: str
    op: str
    node: str
    sources: list[Stage]
    channels: int
    height: int
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = NO_PADDING
    groups: int = 1
    count_padding: bool = True
    weight: FloatArray | None = None
    bias: FloatArray | None = None
    weight_scale: FloatArray | None = None
    bounds: Bounds = UNBOUNDED
    residual: Stage | None = None
    scale: TensorScale | None = None
    input_affine: Affine | None = None
    """Of a convolution on the network's input: what its weights expect, (a, b) of a * x + b."""
    pad_value: int = 0
    force_signed: bool = False

    @property
    def weighted(self) -> bool:
        return self.op in WEIGHTED_OPS

    @property
    def linear(self) -> bool:
        """Whether nothing follows the weights yet, so that a factor or a sum can join them."""
        return self.weighted and self.bounds == UNBOUNDED and self.residual is None

    @property
    def nonnegative(self) -> bool:
        """Whether no value can be below 0."""
        if self.op in ("maxpool", "avgpool", "concat") and self.bounds == UNBOUNDED:
            return all(source.nonnegative for source in self.sources)
        if self.op == "input":
            return not self.force_signed if self.scale is None else not self.scale.signed
        return self.bounds[0] >= 0


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value of the graph: a stage's output, seen through reshapes, a pending factor and pending padding.

    `axes` says for each axis of the value which of C, H and W it runs over, leaving out those of size 1: ('', 'C', 'H',
    'W') for an ordinary map, ('', 'CHW') for a flattened one. `sole`: no other node reads the stage, so that what
    follows may be fused into it.
    """

    stage: Stage
    axes: tuple[str, ...]
    sole: bool
    affine: Affine | None = None
    padding: tuple[int, int, int, int] = NO_PADDING
    lowest: bool = False
    """Whether the pending padding is the smallest value there is, not 0: for maxima alone."""

    def size(self, label: str) -> int:
        """Of C, H or W, without pending padding."""
        return {"C": self.stage.channels, "H": self.stage.height, "W": self.stage.width}[label]

    @property
    def shape(self) -> tuple[int, ...]:
        top, left, bottom, right = self.padding
        extra = {"C": 0, "H": top + bottom, "W": left + right}
        return tuple(math.prod(self.size(label) + extra[label] for label in axis) for axis in self.axes)

    @property
    def is_map(self) -> bool:
        """Whether the axes are batch, channels, rows, columns."""
        return self.axes == map_axes(self.stage)

    def with_axes(self, axes: tuple[str, ...]) -> Tensor:
        return replace(self, axes=axes)


def map_axes(stage: Stage) -> tuple[str, ...]:
    """('', 'C', 'H', 'W') without the labels of size 1."""
    sizes = {"C": stage.channels, "H": stage.height, "W": stage.width}
    return ("", *(label if sizes[label] > 1 else "" for label in "CHW"))


@dataclass
class Builder:
    """The stages so far, in execution order, and what there is to tell about them."""

    stages: list[Stage] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    _names: set[str] = field(default_factory=lambda: {"input"})

    def name(self, wanted: str) -> str:
        """A legal layer name that is still free."""
        base = re.sub(r"[^A-Za-z0-9_]+", "_", wanted).strip("_") or "layer"
        base = f"{base}_layer" if base in _TAKEN or base.startswith(_TAKEN_STARTS) else base
        name, count = base, 1
        while name in self._names:
            count += 1
            name = f"{base}_{count}"
        self._names.add(name)
        return name

    def add(self, stage: Stage) -> Tensor:
        """Appends it; its output as a map that nobody else reads yet."""
        self.stages.append(stage)
        return Tensor(stage, map_axes(stage), True)

    def copy(self, node: Node, source: Stage, suffix: str) -> Tensor:
        """A stage that passes its input through, for what cannot be fused: max pooling over one element."""
        name = self.name(f"{node.name}_{suffix}")
        return self.add(Stage(name, "maxpool", node.name, [source], source.channels, source.height, source.width))

    def scaled(self, node: Node, source: Stage, affine: Affine, suffix: str) -> Tensor:
        """A depthwise 1 x 1 stage: a factor and a shift for each channel."""
        factor, shift = affine
        return self.add(
            Stage(
                self.name(f"{node.name}_{suffix}"),
                "depthwise",
                node.name,
                [source],
                source.channels,
                source.height,
                source.width,
                weight=factor.reshape(-1, 1, 1, 1).copy(),
                bias=shift.copy(),
            )  # fmt: skip
        )

    def plain(self, node: Node, tensor: Tensor) -> Tensor:
        """The same value without a pending factor: a stage of its own if need be. Refuses pending padding."""
        if any(tensor.padding):
            raise node.refuse("padding can only be joined to the convolution or pooling that follows it")
        if tensor.affine is None or (np.allclose(tensor.affine[0], 1, 1e-12, 0) and np.all(tensor.affine[1] == 0)):
            return replace(tensor, affine=None)
        made = self.scaled(node, tensor.stage, tensor.affine, "scale")
        return replace(made, axes=tensor.axes)

    def times_plus(self, node: Node, tensor: Tensor, factor: FloatArray, shift: FloatArray) -> Tensor:
        """factor * tensor + shift per channel: into the weights before it, or kept for those after it."""
        stage = tensor.stage
        if any(tensor.padding):
            raise node.refuse("arithmetic between padding and the layer it belongs to; put the Pad after it")
        if tensor.affine is None and tensor.sole and stage.linear and stage.scale is None:
            assert stage.weight is not None and stage.bias is not None
            stage.weight = stage.weight * factor.reshape(-1, 1, 1, 1)
            stage.bias = stage.bias * factor + shift
            if stage.weight_scale is not None:
                stage.weight_scale = np.where(factor == 0, stage.weight_scale, stage.weight_scale * np.abs(factor))
            return tensor
        old_factor, old_shift = tensor.affine or (np.ones_like(factor), np.zeros_like(shift))
        return replace(tensor, affine=(old_factor * factor, old_shift * factor + shift))

    def clipped(self, node: Node, tensor: Tensor, bounds: Bounds) -> Tensor:
        """The tensor between two bounds that hold 0."""
        if not bounds[0] <= 0 <= bounds[1]:
            raise node.refuse(f"the bounds [{bounds[0]:g}, {bounds[1]:g}] must hold 0")
        if tensor.affine is not None:
            padding = tensor.padding
            tensor = replace(self.plain(node, replace(tensor, padding=NO_PADDING)), padding=padding)
        if not tensor.sole or tensor.stage.op in ("input", "concat"):
            tensor = replace(tensor, stage=self.copy(node, tensor.stage, "clip").stage, sole=True)
        low, high = tensor.stage.bounds
        tensor.stage.bounds = (max(low, bounds[0]), min(high, bounds[1]))
        return tensor

    def readers(self, stage: Stage) -> Iterator[Stage]:
        """The stages that read this one."""
        for reader in self.stages:
            if stage in reader.sources or reader.residual is stage:
                yield reader
