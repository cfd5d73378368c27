"""One entry for every model that can be brought along."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dna.errors import UserError
from dna.network.importer import elementwise, layout, pooling, quantised, weighted
from dna.network.importer.finish import Borders, Finish, input_stage
from dna.network.importer.graph import Graph, Node, prepared, uses
from dna.network.importer.imported import BYTE, ImportedNetwork, Normalisation, TensorScale
from dna.network.importer.lower import Constant, Lowering, Value
from dna.network.importer.stages import Tensor

_LONGEST = 480


def load_network(
    source: str | Path | Any,
    *,
    input_shape: Sequence[int] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    given_scales: bool = True,
    borders: Borders = "alpha",
    name: str | None = None,
) -> ImportedNetwork:
    """A network from an ONNX file (float, QDQ or QONNX), a torch module or a torch.export program.

    `input_shape` is needed for modules and where the model leaves it open: (channels, height, width) as the model has
    them. `mean` and `std`: the model's input is `(byte / 255 - mean) / std`; without both, it is byte / 255, or what
    the model's own first quantisation says. `given_scales=False` ignores the scales of a quantised model.
    `borders` says how a mean is kept exact at padded borders: by an alpha channel, or by a layer in front.
    Raises UserError, one line that names the node, for everything that cannot be imported.
    """
    try:
        return _load(source, input_shape, mean, std, given_scales, borders, name)
    except UserError as error:  # names in damaged files hold anything, line breaks included
        raise UserError(_one_line(str(error))) from None


def _one_line(message: str) -> str:
    printable = "".join(letter if letter.isprintable() else " " for letter in message)
    return " ".join(printable.split())[:_LONGEST]


def _load(
    source: str | Path | Any,
    input_shape: Sequence[int] | None,
    mean: float | Sequence[float] | None,
    std: float | Sequence[float] | None,
    given_scales: bool,
    borders: Borders,
    name: str | None,
) -> ImportedNetwork:
    if borders not in ("alpha", "layer"):
        raise UserError(f"borders is '{borders}'; it must be 'alpha' or 'layer'")
    graph, integer = _read(source, input_shape)
    graph = prepared(graph)
    normalisation = None
    if mean is not None or std is not None:
        if integer:
            raise UserError(f"{graph.name}: the model takes {integer} pixels; leave mean and std out")
        normalisation = Normalisation(_tuple(mean, 0.0), _tuple(std, 1.0))
    return _lower(replace(graph, name=name or graph.name), integer, normalisation, given_scales, borders)


def _read(source: str | Path | Any, input_shape: Sequence[int] | None) -> tuple[Graph, str | None]:
    if not isinstance(source, str | Path):
        from dna.network.importer.torch_reader import read_torch

        return read_torch(source, input_shape), None
    path = Path(source)
    if path.suffix.lower() in (".pt", ".pth", ".ckpt", ".safetensors"):
        raise UserError(f"{path}: a checkpoint of weights says nothing of the network's structure; export it to ONNX")
    try:
        from dna.network.importer.onnx_reader import read_onnx
    except ImportError:
        raise UserError("reading ONNX files needs the package onnx: pip install onnx") from None
    return read_onnx(path, input_shape)


def _tuple(values: float | Sequence[float] | None, default: float) -> tuple[float, ...]:
    if values is None:
        return (default,)
    return (float(values),) if isinstance(values, int | float) else tuple(float(value) for value in values)


def _lower(
    graph: Graph, integer: str | None, normalisation: Normalisation | None, given_scales: bool, borders: Borders
) -> ImportedNetwork:
    stage, axes = input_stage(graph.input_shape)
    stage.force_signed = integer == "int8"
    tensor = Tensor(stage, axes, True)
    if normalisation is not None:
        factor, shift = normalisation.affine(stage.channels)
        tensor = replace(tensor, affine=(factor / BYTE, shift))
    lowering = Lowering(graph, uses(graph), given_scales, integer)
    output = lowering.run(HANDLERS, tensor)
    last = lowering.builder.plain(Node("output", "output", (), ()), output)
    if integer:
        stage.scale = TensorScale(1.0, True, -128, 127) if integer == "int8" else TensorScale(1.0, False, 0, 255)
    elif stage.scale is None and normalisation is None:
        lowering.builder.notices.append("the model's input is taken to be byte / 255; give mean and std otherwise")
    scale = BYTE if stage.scale is None else stage.scale.scale
    return Finish(graph.name, lowering.builder, stage, scale, borders).result(last.stage)


def constant(lowering: Lowering, node: Node) -> Value:
    """A Constant node."""
    for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if key in node.attributes:
            value = node.attributes[key]
            return Constant(np.asarray(value, np.float32) if "float" in key else np.asarray(value))
    raise node.refuse("it holds no tensor")


HANDLERS: Mapping[str, Callable[[Lowering, Node], Value]] = {
    "Constant": constant,
    "Conv": weighted.conv,
    "Gemm": weighted.gemm,
    "MatMul": weighted.matmul,
    "Add": elementwise.arithmetic,
    "Sub": elementwise.arithmetic,
    "Mul": elementwise.arithmetic,
    "Div": elementwise.arithmetic,
    "BatchNormalization": elementwise.batch_normalization,
    "Relu": elementwise.relu,
    "Clip": elementwise.clip,
    "Max": elementwise.extremum,
    "Min": elementwise.extremum,
    "HardSigmoid": elementwise.hard_sigmoid,
    "LeakyRelu": elementwise.leaky_relu,
    "PRelu": elementwise.leaky_relu,
    "Softmax": elementwise.last_only,
    "LogSoftmax": elementwise.last_only,
    "Sigmoid": elementwise.last_only,
    "ArgMax": elementwise.last_only,
    "MaxPool": pooling.maxpool,
    "AveragePool": pooling.avgpool,
    "GlobalAveragePool": pooling.global_avgpool,
    "GlobalMaxPool": pooling.global_maxpool,
    "ReduceMean": pooling.reduce_mean,
    "Identity": layout.identity,
    "Dropout": layout.identity,
    "Cast": layout.identity,
    "Reshape": layout.reshape,
    "Flatten": layout.flatten,
    "Squeeze": layout.squeeze,
    "Unsqueeze": layout.unsqueeze,
    "Transpose": layout.transpose,
    "Shape": layout.shape_of,
    "Pad": layout.pad,
    "Concat": layout.concat,
    "QuantizeLinear": quantised.quantize_linear,
    "DequantizeLinear": quantised.dequantize_linear,
    "Quant": quantised.quant,
}
