"""Fake-quantised training: the integer arithmetic of docs/arithmetic.md with gradients.

Tensors hold integers (as floats) next to one scale each, and scales are applied as multiplier and shift, so the forward
pass *is* the integer network: in float64 bit for bit, in float32 but for values next to a half. Rounding passes
gradients straight through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dna.errors import UserError
from dna.network.layer import Layer
from dna.quantize.float_network import FloatNetwork, Unit, window, window_sizes
from dna.quantize.limits import byte_range
from dna.quantize.reference import at_positions
from dna.quantize.scale import MAX_MULTIPLIER, multiplier_shift, residual_multiplier_shift

MAX_WEIGHT = 127
_ACC_TARGET = 0.9 * 2**24
"""Weights are coarsened where the accumulator could exceed this: then saturation never happens."""

Operands = tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]
"""A layer's input, its scale, and the residual with its scale."""


def round_straight_through(x: Tensor) -> Tensor:
    """Round half up, towards plus infinity; the gradient is that of the identity."""
    if not x.requires_grad:
        return torch.floor(x + 0.5)
    return x + (torch.floor(x + 0.5) - x).detach()


@dataclass(frozen=True, eq=False)
class Requantisation:
    """A layer's integer factors (docs/arithmetic.md), and the weight scale that makes them exact."""

    multiplier: NDArray[np.int32]
    shift: NDArray[np.int32]
    residual_multiplier: int
    weight_scale: Tensor
    """(out_channels,): real value of one weight step; 1 without weights."""


class QuantisedUnit(nn.Module):
    """One layer: integers in, integers out. Parameters are the folded float weight and bias.

    `out_scale` is the real value of one output step. The weight's scale, one per channel, follows its largest element;
    it is then moved to the next value at which multiplier and shift are exact, so that nothing is lost at export.
    """

    out_scale: Tensor

    def __init__(self, layer: Layer, unit: Unit) -> None:
        super().__init__()
        self.layer, self.bounds, self.pad = layer, unit.bounds, unit.pad
        self.scale_per_channel = True
        """False: all channels share the weight scale of the one that needs the largest; only to compare with."""
        self.register_buffer("out_scale", torch.tensor(1.0))
        if layer.has_weights:
            weight, bias = unit.folded()
            self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def smallest_weight_scale(self, in_scale: Tensor) -> Tensor:
        """(out_channels,): the finest weight step with weights in +-127 and no accumulator that could saturate."""
        flat, bias = self.weight.detach().flatten(1).abs(), self.bias.detach().abs()
        largest_input = max(abs(v) for v in byte_range(self.layer.in_signed))
        bounded = (flat.sum(1) * largest_input + bias / in_scale) / _ACC_TARGET
        finest = torch.maximum(flat.amax(1) / MAX_WEIGHT, bounded)
        return finest if self.scale_per_channel else finest.amax().expand_as(finest)

    @property
    def clip(self) -> tuple[int, int]:
        """Integer clip bounds of the output: the layer's, and the real bounds (ReLU6) where they are narrower."""
        scale = float(self.out_scale)
        low, high = (bound / scale for bound in self.bounds)
        lo = self.layer.lo if low <= self.layer.lo else min(0, round(low))
        hi = self.layer.hi if high >= self.layer.hi else max(0, round(high))
        return lo, hi

    def accumulator_scale(self, in_scale: Tensor) -> Tensor:
        """The real value of one accumulator step, `Layer.param_shape`, before it is made exact."""
        if self.layer.has_weights:
            return self.smallest_weight_scale(in_scale) * in_scale
        sizes = torch.tensor(self.layer.window_sizes if self.layer.op == "avgpool" else (1,)).to(in_scale)
        shape = self.layer.param_shape
        return (in_scale / sizes).view((-1,) + (1,) * (len(shape) - 1)).expand(shape)

    def requantisation(self, in_scale: Tensor, residual_scale: Tensor | None = None) -> Requantisation:
        """The factors that the present weights and scales lead to."""
        wanted = (self.accumulator_scale(in_scale) / self.out_scale).detach().double().numpy()
        wanted = np.maximum(wanted, 2.0**-23)  # a dead channel: scales end at 2^-24
        shared = 0
        if residual_scale is None:
            multiplier, shift = (factor.reshape(wanted.shape) for factor in multiplier_shift(wanted.ravel()))
        else:
            multiplier, shift, shared = residual_multiplier_shift(wanted, float(residual_scale / self.out_scale))
            if self.layer.has_weights:  # few bits may be left: a smaller multiplier would clip the largest weight
                coarser = np.ceil(np.ldexp(wanted, shift)).astype(np.int32)
                multiplier = np.clip(coarser, 1, MAX_MULTIPLIER)
        scale = torch.ones_like(self.out_scale)
        if self.layer.has_weights:
            exact = torch.from_numpy(np.ldexp(multiplier.astype(np.float64), -shift)).to(in_scale.dtype)
            scale = exact * (self.out_scale / in_scale)
        return Requantisation(multiplier, shift, shared, scale)

    def integers(self, in_scale: Tensor, weight_scale: Tensor) -> tuple[Tensor, Tensor]:
        """Integer weight and bias, as floats with gradients."""
        weight = round_straight_through(self.weight / weight_scale.view(-1, 1, 1, 1)).clamp(-MAX_WEIGHT, MAX_WEIGHT)
        return weight, round_straight_through(self.bias / (weight_scale * in_scale))

    def real(self, x_NCHW: Tensor, in_scale: Tensor, residual: tuple[Tensor, Tensor] | None) -> Tensor:
        """The real output for integer inputs before anything of this layer is quantised."""
        if self.layer.has_weights:
            y = window(self.layer, x_NCHW * in_scale, self.weight, self.pad) + self.bias.view(1, -1, 1, 1)
        else:
            sizes = window_sizes(self.layer).to(x_NCHW) if self.layer.op == "avgpool" else 1.0
            y = window(self.layer, x_NCHW, None) * in_scale / sizes
        return y if residual is None else y + residual[0] * residual[1]

    def forward(self, x_NCHW: Tensor, in_scale: Tensor, residual: tuple[Tensor, Tensor] | None = None) -> Tensor:
        return round_straight_through(self.steps(x_NCHW, in_scale, residual)).clamp(*self.clip)

    def steps(self, x_NCHW: Tensor, in_scale: Tensor, residual: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """The output in output steps, before it is rounded and clipped."""
        factors = self.requantisation(in_scale, None if residual is None else residual[1])
        if self.layer.has_weights:
            weight, bias = self.integers(in_scale, factors.weight_scale)
            acc = window(self.layer, x_NCHW, weight, self.layer.pad_value) + bias.view(1, -1, 1, 1)
        else:
            acc = window(self.layer, x_NCHW, None)
        scale_HWC = at_positions(self.layer, np.ldexp(factors.multiplier.astype(np.float64), -factors.shift))
        scale = torch.from_numpy(scale_HWC).to(acc.dtype)
        y = acc * (scale.view(1, -1, 1, 1) if scale.dim() == 1 else scale.permute(2, 0, 1))
        if residual is not None:
            y = y + residual[0] * math.ldexp(factors.residual_multiplier, -int(factors.shift[0]))
        return y


class QuantisedNetwork(nn.Module):
    """A float network's fake-quantised twin; call `calibrate` before the first use."""

    input_scale: Tensor

    def __init__(self, model: FloatNetwork) -> None:
        super().__init__()
        self.network = model.network
        self.register_buffer("input_scale", torch.tensor(float(model.input_scale)))
        self.units = nn.ModuleDict()
        for layer in model.network.layers:
            unit = model.units[layer.name]
            assert isinstance(unit, Unit)
            self.units[layer.name] = QuantisedUnit(layer, unit)

    def unit(self, name: str) -> QuantisedUnit:
        """The layer's unit."""
        unit = self.units[name]
        assert isinstance(unit, QuantisedUnit)
        return unit

    def scale(self, tensor: str) -> Tensor:
        """Real value of one step of the named tensor."""
        return self.input_scale if tensor == "input" else self.unit(tensor).out_scale

    def forward(self, bytes_NCHW: Tensor) -> Tensor:
        """Logits as real numbers [frames, outputs]."""
        output = self.network.output
        return self.tensors(bytes_NCHW)[output].flatten(1) * self.scale(output)

    def tensors(self, bytes_NCHW: Tensor) -> dict[str, Tensor]:
        """Every tensor by name, integers as floats, ``input`` included."""
        tensors = {"input": bytes_NCHW}
        for layer in self.network.layers:
            if layer.parts:
                tensors[layer.name] = torch.cat([tensors[part] for part in layer.parts], dim=1)
            else:
                tensors[layer.name] = self.unit(layer.name)(*self.operands(layer, tensors))
        return tensors

    @torch.no_grad()
    def calibrate(self, bytes_NCHW: Tensor, coverage: float = 1.0) -> None:
        """Sets every output scale from the values that the given frames produce, layer after layer.

        `coverage` 1 maps the largest value to the clip bound, less than 1 that quantile of the magnitudes. Max pooling
        keeps the scale of its input where the type allows, so that it changes no value. Quick, and made for training;
        `dna.quantize.ptq.quantise` is thorough, and knows concat, whose parts share one scale (UserError here).
        """
        tensors = {"input": bytes_NCHW}
        for layer in self.network.layers:
            if layer.parts:
                raise UserError(f"layer '{layer.name}': a concat needs post-training calibration of the whole network")
            unit, operands = self.unit(layer.name), self.operands(layer, tensors)
            if layer.op == "maxpool" and layer.in_signed == layer.out_signed and layer.residual is None:
                unit.out_scale.copy_(operands[1])
            else:
                scale = _range_scale(layer, unit.real(*operands).clamp(*unit.bounds), coverage)
                unit.out_scale.copy_(torch.maximum(scale, _smallest_scale(unit, operands)))
            tensors[layer.name] = unit(*operands)

    def operands(self, layer: Layer, tensors: dict[str, Tensor]) -> Operands:
        """What the layer reads, from integer tensors by name; not for concat."""
        residual = None if layer.residual is None else (tensors[layer.residual], self.scale(layer.residual))
        return tensors[layer.input], self.scale(layer.input), residual


def _range_scale(layer: Layer, real: Tensor, coverage: float) -> Tensor:
    """The scale at which the values fill the clip bounds, whichever side needs the larger one."""
    upper = _reach(real.clamp(min=0), coverage) / max(layer.hi, 1)
    lower = _reach((-real).clamp(min=0), coverage) / max(-layer.lo, 1) if layer.lo < 0 else upper
    return torch.maximum(upper, lower)


def _smallest_scale(unit: QuantisedUnit, operands: Operands) -> Tensor:
    """Keeps requantisation scales representable (below 2^16) where a layer is all but silent."""
    largest = unit.accumulator_scale(operands[1]).amax()
    if operands[2] is not None:
        largest = torch.maximum(largest, operands[2][1])
    return largest * 2.0**-14


def _reach(magnitudes: Tensor, coverage: float) -> Tensor:
    if coverage >= 1:
        return magnitudes.amax()
    flat = magnitudes.flatten()
    return flat.kthvalue(max(1, math.ceil(coverage * flat.numel()))).values
