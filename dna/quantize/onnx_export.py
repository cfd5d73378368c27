"""The integer network as QDQ ONNX: float operators between QuantizeLinear and DequantizeLinear.

Every tensor is stored as the contract's integers (int8 or uint8, zero point 0), weights as int8 with a scale per output
channel, biases as int32. The scales are those that multiplier and shift stand for, so a runtime that computes in float
gives our integers but where a value lies next to a half: ONNX rounds halves to even, the contract rounds them up.

The exact form keeps that error out: between the same integer tensors, sums of integers in float32 (exact, for they stay
below 2^24), multiplier and rounding in float64. It gives the contract's bits in every runtime that obeys ONNX.

In the plain form a tensor's reader dequantises it with the scale that its own integers stand for. That is the writer's
scale to within a relative 2^-16, the precision of a multiplier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import LayerWeights, Network, Weights
from dna.quantize.reference import at_positions

OPSET = 17
_EXACT = 2.0**-15
"""Relative difference up to which a mean's factors count as one over the window's size."""


def to_onnx(network: Network, weights: Weights, scales: Mapping[str, float] | None = None, exact: bool = False) -> Any:
    """The network as an `onnx.ModelProto`: integer images in NCHW in, the dequantised output [frames, outputs] out.

    `scales` gives the real value of one step of each tensor, ``input`` included; without it every step counts 1, and
    the output is the integers themselves. `exact` chooses the form that is bit for bit, for comparisons; the plain one
    is what other tools recognise. Raises UserError if onnx is missing or a layer has no plain form.
    """
    return (_ExactWriter if exact else _Writer)(network, weights, scales).model()


def export_onnx(
    network: Network, weights: Weights, path: Path, scales: Mapping[str, float] | None = None, exact: bool = False
) -> None:
    """Writes the network as a QDQ ONNX file (see `to_onnx`)."""
    path.write_bytes(to_onnx(network, weights, scales, exact).SerializeToString())


def integers_name(tensor: str) -> str:
    """Name of the ONNX tensor that holds the integers of the network's tensor."""
    return "input" if tensor == "input" else f"{tensor}/integers"


class _Writer:
    """Collects nodes and initializers, layer by layer."""

    def __init__(self, network: Network, weights: Weights, scales: Mapping[str, float] | None) -> None:
        try:
            import onnx
        except ImportError:
            raise UserError("writing ONNX needs the package onnx: pip install onnx") from None
        self.onnx, self.network, self.weights = onnx, network, weights
        self.scales = dict(scales) if scales is not None else dict.fromkeys(network.shapes, 1.0)
        missing = [name for name in network.shapes if not self.scales.get(name, 0) > 0]
        if missing:
            raise UserError(f"network '{network.name}': tensor '{missing[0]}' has no positive scale")
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def model(self) -> Any:
        """The checked ONNX model."""
        helper, types = self.onnx.helper, self.onnx.TensorProto
        for layer in self.network.layers:
            if layer.parts:
                parts = [integers_name(part) for part in layer.parts]
                self.node("Concat", parts, integers_name(layer.name), axis=1)
            else:
                self.layer(layer, self.weights[layer.name])
        output = self.network.output
        shapes = self.network.shapes
        last, first = shapes[output], shapes["input"]
        real = self.dequantised(output, np.float64(self.scales[output]), "output")
        self.node("Flatten", [real], "output", axis=1)
        element = types.INT8 if first.signed else types.UINT8
        given = helper.make_tensor_value_info("input", element, ["frames", first.channels, first.height, first.width])
        outputs = last.channels * last.height * last.width
        wanted = helper.make_tensor_value_info("output", types.FLOAT, ["frames", outputs])
        graph = helper.make_graph(self.nodes, self.network.name, [given], [wanted], self.constants)
        made = helper.make_model(
            graph, producer_name="dna", ir_version=8, opset_imports=[helper.make_opsetid("", OPSET)]
        )
        self.onnx.checker.check_model(made, full_check=True)
        return made

    def layer(self, layer: Layer, integers: LayerWeights) -> None:
        """One layer: dequantise what it reads, compute, add the residual, clip, quantise."""
        out_scale = self.scales[layer.name]
        factor = np.ldexp(integers.multiplier.astype(np.float64), -integers.shift) * out_scale
        if layer.has_weights:
            y = self.weighted(layer, integers, factor)
        else:
            y = self.weightless(layer, integers, factor)
        if layer.residual is not None:
            shared = math.ldexp(integers.residual_multiplier, -int(integers.shift.flat[0])) * out_scale
            y = self.node(
                "Add",
                [y, self.dequantised(layer.residual, np.float64(shared), f"{layer.name}/residual")],
                f"{layer.name}/sum",
            )
        low, high = (-128, 127) if layer.out_signed else (0, 255)
        if (layer.lo, layer.hi) != (low, high):
            bounds = [
                self.constant(f"{layer.name}/{name}", np.float32(value * out_scale))
                for name, value in (("lo", layer.lo), ("hi", layer.hi))
            ]
            y = self.node("Clip", [y, *bounds], f"{layer.name}/clip")
        zero = self.zero(layer.out_signed)
        scale = self.constant(f"{layer.name}/scale", np.float32(out_scale))
        self.node("QuantizeLinear", [y, scale, zero], integers_name(layer.name))

    def weighted(self, layer: Layer, integers: LayerWeights, factor: NDArray[np.float64]) -> str:
        """A convolution; `fc` is one whose kernel covers the map. `factor`: real value of an accumulator step."""
        in_scale = self.scales[layer.input]
        x = self.dequantised(layer.input, np.float64(in_scale), f"{layer.name}/input")
        top, left, bottom, right = layer.padding
        pads = [top, left, bottom, right]
        if layer.pad_value and any(pads):
            width = self.constant(f"{layer.name}/pads", np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
            value = self.constant(f"{layer.name}/pad_value", np.float32(layer.pad_value * in_scale))
            x, pads = self.node("Pad", [x, width, value], f"{layer.name}/padded", mode="constant"), [0, 0, 0, 0]
        assert integers.weight is not None
        weight = self.stored(f"{layer.name}/weight", integers.weight, factor / in_scale)
        bias = self.stored(f"{layer.name}/bias", integers.bias, factor)
        return self.convolution(layer, [x, weight, bias], pads)

    def convolution(self, layer: Layer, inputs: list[str], pads: list[int]) -> str:
        return self.node(
            "Conv", inputs, f"{layer.name}/conv", kernel_shape=list(layer.kernel), strides=list(layer.stride),
            pads=pads, group=layer.in_channels if layer.per_channel else layer.groups,
        )  # fmt: skip

    def weightless(self, layer: Layer, integers: LayerWeights, factor: NDArray[np.float64]) -> str:
        """Pooling and add: the multiplier is the scale with which the input is dequantised, one per channel."""
        if integers.bias.any():
            raise UserError(f"layer '{layer.name}': {layer.op} with a bias has no QDQ form")
        window = {"kernel_shape": list(layer.kernel), "strides": list(layer.stride), "pads": list(layer.padding)}
        if layer.op == "avgpool":
            steps = factor * np.array(layer.window_sizes).reshape((-1,) + (1,) * (factor.ndim - 1))
            rows = np.atleast_2d(steps) if factor.ndim > 1 else steps[None]
            if (np.abs(rows / rows[0] - 1) > _EXACT).any():
                raise UserError(f"layer '{layer.name}': its multipliers are not those of a mean, it has no QDQ form")
            factor = rows[0]
        x = self.dequantised(layer.input, factor, f"{layer.name}/input")
        if layer.op == "maxpool":
            return self.node("MaxPool", [x], f"{layer.name}/pool", **window)
        if layer.op == "avgpool":
            return self.node(
                "AveragePool", [x], f"{layer.name}/pool", count_include_pad=int(layer.count_padding), **window
            )
        return x

    def stored(self, name: str, values: NDArray[Any], scale: NDArray[np.float64]) -> str:
        """Integers dequantised with one scale for each element of axis 0."""
        # A channel whose multiplier is 0 gives 0 whatever its weights; ONNX wants a positive scale.
        step = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)
        zero = self.constant(f"{name}/zero", np.zeros(len(step), values.dtype))
        inputs = [self.constant(f"{name}/integers", values), self.constant(f"{name}/scale", step), zero]
        return self.node("DequantizeLinear", inputs, f"{name}/real", axis=0)

    def dequantised(self, tensor: str, scale: NDArray[np.float64] | np.float64, reader: str) -> str:
        """Real values of a tensor, with one scale or, if they differ, one per channel."""
        step = np.asarray(scale)
        per_channel = step.ndim == 1 and bool((step != step[0]).any())
        shape = self.network.shapes[tensor]
        axis: dict[str, int] = {}
        if per_channel:
            axis = {"axis": 1}
            zero = self.constant(f"{reader}/zero", np.zeros(len(step), np.int8 if shape.signed else np.uint8))
        else:
            step, zero = step.reshape(-1)[0], self.zero(shape.signed)
        values = self.constant(f"{reader}/scale", np.asarray(step, np.float32))
        return self.node("DequantizeLinear", [integers_name(tensor), values, zero], f"{reader}/real", **axis)

    def zero(self, signed: bool) -> str:
        """The zero point of activations."""
        name = "zero_int8" if signed else "zero_uint8"
        if all(constant.name != name for constant in self.constants):
            self.constant(name, np.zeros((), np.int8 if signed else np.uint8))
        return name

    def constant(self, name: str, values: Any) -> str:
        self.constants.append(self.onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output


class _ExactWriter(_Writer):
    """The form that is bit for bit: integers as float32 into sums, float64 from there to the rounded result."""

    def layer(self, layer: Layer, integers: LayerWeights) -> None:
        """Accumulate, multiply, add the residual, round half up, clip: docs/arithmetic.md step by step."""
        ones = np.ones(layer.out_channels)
        if layer.has_weights:
            acc = self.double(self.weighted(layer, integers, ones))
        else:
            acc = self.double(self.window(layer))
            if integers.bias.any():
                acc = self.node("Add", [acc, self.positions(layer, "bias", integers.bias)], f"{layer.name}/biased")
        factor = np.ldexp(integers.multiplier.astype(np.float64), -integers.shift)
        y = self.node("Mul", [acc, self.positions(layer, "factor", factor)], f"{layer.name}/product")
        if layer.residual is not None:
            shared = math.ldexp(integers.residual_multiplier, -int(integers.shift.flat[0]))
            added = self.double(self.dequantised(layer.residual, np.float64(1), f"{layer.name}/residual"))
            factor_name = self.constant(f"{layer.name}/residual/factor", np.float64(shared))
            added = self.node("Mul", [added, factor_name], f"{layer.name}/residual/product")
            y = self.node("Add", [y, added], f"{layer.name}/sum")
        half = self.constant(f"{layer.name}/half", np.float64(0.5))
        y = self.node("Floor", [self.node("Add", [y, half], f"{layer.name}/half_up")], f"{layer.name}/rounded")
        bounds = [self.constant(f"{layer.name}/{n}", np.float64(v)) for n, v in (("lo", layer.lo), ("hi", layer.hi))]
        y = self.node("Clip", [y, *bounds], f"{layer.name}/clip")
        y = self.node("Cast", [y], f"{layer.name}/single", to=self.onnx.TensorProto.FLOAT)
        one = self.constant(f"{layer.name}/scale", np.float32(1))
        self.node("QuantizeLinear", [y, one, self.zero(layer.out_signed)], integers_name(layer.name))

    def weighted(self, layer: Layer, integers: LayerWeights, factor: NDArray[np.float64]) -> str:
        """The accumulator: every scale counts 1."""
        kept, self.scales = self.scales, dict.fromkeys(self.scales, 1.0)
        try:
            return super().weighted(layer, integers, factor)
        finally:
            self.scales = kept

    def window(self, layer: Layer) -> str:
        """Maximum, sum, or the input itself, as whole numbers in float32."""
        x = self.dequantised(layer.input, np.float64(1), f"{layer.name}/input")
        if layer.op == "avgpool":
            ones = np.ones((layer.in_channels, 1, *layer.kernel), np.int8)
            weight = self.stored(f"{layer.name}/ones", ones, np.ones(layer.in_channels))
            return self.convolution(layer, [x, weight], list(layer.padding))
        if layer.op == "maxpool":
            return self.node(
                "MaxPool", [x], f"{layer.name}/pool", kernel_shape=list(layer.kernel), strides=list(layer.stride),
                pads=list(layer.padding),
            )  # fmt: skip
        return x

    def positions(self, layer: Layer, name: str, values: NDArray[Any]) -> str:
        """Parameters of `Layer.param_shape` so that they broadcast against [channels][height][width]."""
        placed = at_positions(layer, values.astype(np.float64))
        spread = placed.reshape(-1, 1, 1) if placed.ndim == 1 else placed.transpose(2, 0, 1)
        return self.constant(f"{layer.name}/{name}", np.ascontiguousarray(spread))

    def double(self, tensor: str) -> str:
        return self.node("Cast", [tensor], f"{tensor}/double", to=self.onnx.TensorProto.DOUBLE)
