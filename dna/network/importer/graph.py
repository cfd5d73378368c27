"""The importer's own graph: what every reader produces and the lowering consumes.

Operators carry ONNX's names and attributes, whatever the model came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dna.errors import UserError

Array = NDArray[Any]

MAX_NODES = 20_000
MAX_CONSTANT_BYTES = 2 << 30


@dataclass(frozen=True)
class Node:
    """One operator. An absent optional input is ''."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The node as messages name it."""
        return f"node '{self.name}' ({self.op})"

    def refuse(self, why: str) -> UserError:
        """The error to raise for this node."""
        return UserError(f"{self.where}: {why}")


@dataclass(frozen=True, eq=False)
class Graph:
    """A model with one image input. `input_shape` is complete, its batch 1."""

    name: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    input: str
    input_shape: tuple[int, ...]
    outputs: tuple[str, ...]


def prepared(graph: Graph) -> Graph:
    """The same graph with nodes in execution order and without those that no output needs.

    UserError for a cycle, a value that nothing writes, a value written twice, or a graph beyond the size limits.
    """
    if len(graph.nodes) > MAX_NODES:
        raise UserError(f"{graph.name}: {len(graph.nodes)} nodes; at most {MAX_NODES} are read")
    size = sum(array.nbytes for array in graph.constants.values())
    if size > MAX_CONSTANT_BYTES:
        raise UserError(f"{graph.name}: constants of {size >> 20} MiB; at most {MAX_CONSTANT_BYTES >> 20} MiB are read")
    writer: dict[str, Node] = {}
    for node in graph.nodes:
        for output in filter(None, node.outputs):
            if output in writer or output in graph.constants or output == graph.input:
                raise node.refuse(f"its output '{output}' is written twice")
            writer[output] = node
    ordered = _ordered(graph, writer)
    return Graph(graph.name, ordered, graph.constants, graph.input, graph.input_shape, graph.outputs)


def _ordered(graph: Graph, writer: Mapping[str, Node]) -> tuple[Node, ...]:
    """Depth first from the outputs, without recursion: models are deeper than Python's stack."""
    done: dict[str, Node] = {}
    open_nodes: set[str] = set()
    for output in graph.outputs:
        stack = [(output, False)]
        while stack:
            value, leaving = stack.pop()
            node = writer.get(value)
            if node is None:
                if value not in graph.constants and value != graph.input:
                    raise UserError(f"{graph.name}: nothing writes the value '{value}'")
                continue
            key = node.outputs[0]
            if leaving:
                open_nodes.discard(key)
                done[key] = node
            elif key not in done:
                if key in open_nodes:
                    raise node.refuse("it depends on its own output; a network must not have cycles")
                open_nodes.add(key)
                stack.append((value, True))
                stack.extend((source, False) for source in reversed(node.inputs) if source)
    needed = {id(node) for node in done.values()}
    as_written = tuple(node for node in graph.nodes if id(node) in needed)
    return as_written if _is_ordered(as_written) else tuple(done.values())


def _is_ordered(nodes: tuple[Node, ...]) -> bool:
    """Whether each node reads only what stands before it, as most files have it: then their order is kept."""
    place = {output: index for index, node in enumerate(nodes) for output in node.outputs}
    return all(place.get(source, -1) < index for index, node in enumerate(nodes) for source in node.inputs)


def uses(graph: Graph) -> dict[str, int]:
    """How often each value is read; being an output of the graph counts too, being asked for its shape does not."""
    count: dict[str, int] = dict.fromkeys(graph.outputs, 1)
    for node in graph.nodes:
        for value in filter(None, () if node.op == "Shape" else node.inputs):
            count[value] = count.get(value, 0) + 1
    return count


def as_float(node: Node, array: Array, what: str) -> NDArray[np.float64]:
    """A float constant in double precision. UserError for integers, where the model is typed wrongly."""
    if array.dtype.kind != "f":
        raise node.refuse(f"its {what} has type {array.dtype}; it must be a float type")
    if not np.isfinite(array).all():
        raise node.refuse(f"its {what} holds values that are not finite")
    return array.astype(np.float64)


def attribute_integer(node: Node, key: str, default: int) -> int:
    """An integer attribute. UserError for another type."""
    value = node.attributes.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise node.refuse(f"its attribute '{key}' must be an integer, not {value!r}")
    return int(value)


def attribute_float(node: Node, key: str, default: float) -> float:
    """A number attribute. UserError for another type."""
    value = node.attributes.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating):
        raise node.refuse(f"its attribute '{key}' must be a number, not {value!r}")
    return float(value)


def attribute_integers(node: Node, key: str, default: list[int]) -> list[int]:
    """A list of integers. UserError for another type."""
    value = node.attributes.get(key, default)
    if not isinstance(value, list | tuple) or not all(isinstance(entry, int | np.integer) for entry in value):
        raise node.refuse(f"its attribute '{key}' must be a list of integers, not {value!r}")
    return [int(entry) for entry in value]
