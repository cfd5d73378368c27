"""From the graph to stages: one handler per operator, constants computed on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dna.errors import UserError
from dna.network.importer.constants import FOLDABLE, fold
from dna.network.importer.graph import (
    Array,
    Graph,
    Node,
    as_float,
    attribute_integers,
)
from dna.network.importer.imported import FloatArray
from dna.network.importer.stages import Builder, Stage, Tensor


@dataclass(frozen=True, eq=False)
class Constant:
    """A known value; `scale` broadcasts against it where it comes from quantised integers."""

    array: Array
    scale: FloatArray | None = None


Value = Constant | Tensor


@dataclass
class Lowering:
    """The state while a graph is walked: values by name, and the stages made so far."""

    graph: Graph
    uses: Mapping[str, int]
    given_scales: bool = True
    integer: str | None = None
    """'uint8' or 'int8' if the model takes integers."""
    values: dict[str, Value] = field(default_factory=dict)
    builder: Builder = field(default_factory=Builder)

    def value(self, node: Node, index: int) -> Value | None:
        """An input of the node, None where it is absent."""
        if index >= len(node.inputs) or not node.inputs[index]:
            return None
        return self.values[node.inputs[index]]

    def tensor(self, node: Node, index: int = 0) -> Tensor:
        """An input that must depend on the image. What follows may be fused into it only if nobody else reads it."""
        value = self.value(node, index)
        if not isinstance(value, Tensor):
            raise node.refuse(f"input {index} must depend on the network's input, not be a constant")
        return value

    def constant(self, node: Node, index: int, what: str) -> Constant | None:
        """An optional input that must be known."""
        value = self.value(node, index)
        if isinstance(value, Tensor):
            raise node.refuse(f"its {what} depends on the network's input; it must be a constant")
        return value

    def floats(self, node: Node, index: int, what: str) -> FloatArray | None:
        """An optional constant of floats."""
        value = self.constant(node, index, what)
        return None if value is None else as_float(node, value.array, what)

    def integers(self, node: Node, index: int, what: str, attribute: str | None = None) -> list[int] | None:
        """An optional list of integers, which newer models give as an input and older ones as an attribute."""
        value = self.constant(node, index, what)
        if value is not None:
            if value.array.dtype.kind not in "iu":
                raise node.refuse(f"its {what} has type {value.array.dtype}; it must be an integer type")
            return [int(entry) for entry in value.array.reshape(-1)]
        if attribute is None or attribute not in node.attributes:
            return None
        return attribute_integers(node, attribute, [])

    def stage(self, node: Node, op: str, source: Tensor, shape: tuple[int, int, int], **fields: Any) -> Tensor:
        """A new stage of (channels, height, width) behind the source's stage."""
        name = self.builder.name(node.name)
        return self.builder.add(Stage(name, op, node.name, [source.stage], *shape, **fields))

    def notice(self, node: Node, text: str) -> None:
        """Something that the model's author might not expect."""
        self.builder.notices.append(f"{node.where}: {text}")

    def run(self, handlers: Mapping[str, Callable[[Lowering, Node], Value]], tensor: Tensor) -> Tensor:
        """Lowers every node, from the network's input on; the graph's output."""
        self.values = {name: Constant(array) for name, array in self.graph.constants.items()}
        self.values[self.graph.input] = self._counted(self.graph.input, tensor)
        for node in self.graph.nodes:
            known = [self.value(node, index) for index in range(len(node.inputs))]
            if node.op in FOLDABLE and known and not any(isinstance(value, Tensor) for value in known):
                arrays = [value.array if isinstance(value, Constant) else None for value in known]
                self.values[node.outputs[0]] = Constant(fold(node, arrays))
                continue
            if node.op not in handlers:
                raise node.refuse(f"this operator is not supported; {advice(node.op)}")
            for extra in node.outputs[1:]:
                if extra and self.uses.get(extra):
                    raise node.refuse(f"its further output '{extra}' is used; only the first output is supported")
            made = handlers[node.op](self, node)
            self.values[node.outputs[0]] = self._counted(node.outputs[0], made)
        result = self.values[self.graph.outputs[0]]
        if isinstance(result, Constant):
            raise UserError(f"{self.graph.name}: its output does not depend on its input")
        return result

    def _counted(self, name: str, value: Value) -> Value:
        """Shared from here on if several nodes read it."""
        if isinstance(value, Tensor) and self.uses.get(name, 0) > 1:
            return replace(value, sole=False)
        return value


_ADVICE = {
    "HardSwish": "it multiplies two tensors; use Relu or Clip to [0, 6] and fine-tune for a few epochs",
    "Sigmoid": "except as the last node; use HardSigmoid or Clip and fine-tune",
    "Softmax": "except as the last node, where it is dropped",
    "LRN": "networks without it train as well: remove it and fine-tune",
    "LayerNormalization": "use BatchNormalization, which folds into the weights",
    "InstanceNormalization": "use BatchNormalization, which folds into the weights",
    "GroupNormalization": "use BatchNormalization, which folds into the weights",
    "ConvTranspose": "upsampling networks are outside the layer set",
    "Resize": "upsampling networks are outside the layer set",
    "QLinearConv": "export the model in QDQ format (QuantizeLinear and DequantizeLinear around float operators)",
    "QLinearMatMul": "export the model in QDQ format (QuantizeLinear and DequantizeLinear around float operators)",
    "ConvInteger": "export the model in QDQ format (QuantizeLinear and DequantizeLinear around float operators)",
    "QGemm": "export the model in QDQ format (QuantizeLinear and DequantizeLinear around float operators)",
    "If": "export the model with its control flow resolved",
    "Loop": "export the model with its control flow resolved",
}
_SMOOTH = ("Elu", "Selu", "Celu", "Gelu", "Mish", "Swish", "Silu", "Tanh", "Softplus", "Erf", "Exp", "ThresholdedRelu")
_SUPPORTED = (
    "supported are convolutions, fully connected layers, pooling, Add, Concat, BatchNormalization, Relu, LeakyRelu,"
    " Clip, HardSigmoid, constant arithmetic and reshapes"
)


def advice(op: str) -> str:
    """What would work in place of an operator."""
    if op in _SMOOTH:
        return "use Relu, LeakyRelu or Clip to [0, 6] and fine-tune for a few epochs"
    return _ADVICE.get(op, _SUPPORTED)
