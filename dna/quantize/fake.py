"""Fake-quantised training: the integer arithmetic of docs/arithmetic.md with gradients.

Tensors hold integers (as floats) next to one scale each, so the forward pass *is* the integer network, but
for scales that are not yet multiplier and shift. Rounding passes gradients straight through.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dna.network.layer import Layer
from dna.quantize.float_network import FloatNetwork, Unit, window
from dna.quantize.limits import byte_range

MAX_WEIGHT = 127
_ACC_TARGET = 0.9 * 2**24
"""Weights are coarsened where the accumulator could exceed this: then saturation never happens."""


def round_straight_through(x: Tensor) -> Tensor:
    """Round half up, towards plus infinity; the gradient is that of the identity."""
    return x + (torch.floor(x + 0.5) - x).detach()


class QuantisedUnit(nn.Module):
    """One layer: integers in, integers out. Parameters are the folded float weight and bias.

    `out_scale` is the real value of one output step. The weight's scale, one per channel, follows its largest element.
    """

    out_scale: Tensor

    def __init__(self, layer: Layer, unit: Unit | None) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("out_scale", torch.tensor(1.0))
        if unit is not None:
            weight, bias = unit.folded()
            self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def weight_scale(self, in_scale: Tensor) -> Tensor:
        """(out_channels,): one weight step's real value, large enough that no accumulator saturates."""
        flat, bias = self.weight.detach().flatten(1).abs(), self.bias.detach().abs()
        largest_input = max(abs(v) for v in byte_range(self.layer.in_signed))
        exact = flat.amax(1) / MAX_WEIGHT
        bounded = (flat.sum(1) * largest_input + bias / in_scale) / _ACC_TARGET
        smallest = self.out_scale / in_scale * 2.0**-23  # requantisation scales end at 2^-24
        return torch.maximum(torch.maximum(exact, bounded), smallest)

    def integers(self, in_scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Integer weight and bias (as floats, with gradients), and the real value of one accumulator step."""
        scale = self.weight_scale(in_scale)
        weight = round_straight_through(self.weight / scale.view(-1, 1, 1, 1)).clamp(-MAX_WEIGHT, MAX_WEIGHT)
        return weight, round_straight_through(self.bias / (scale * in_scale)), scale * in_scale

    def accumulator_scale(self, in_scale: Tensor) -> Tensor:
        """The real value of one accumulator step, (out_channels,)."""
        if self.layer.has_weights:
            return self.weight_scale(in_scale) * in_scale
        taps = math.prod(self.layer.kernel) if self.layer.op == "avgpool" else 1
        return (in_scale / taps).expand(self.layer.out_channels)

    def real(self, x_NCHW: Tensor, in_scale: Tensor, residual: tuple[Tensor, Tensor] | None) -> Tensor:
        """The output in steps of `out_scale`, before rounding and clipping."""
        if self.layer.has_weights:
            weight, bias, step = self.integers(in_scale)
            acc = window(self.layer, x_NCHW, weight) + bias.view(1, -1, 1, 1)
        else:
            acc, step = window(self.layer, x_NCHW, None), self.accumulator_scale(in_scale)
        y = acc * (step / self.out_scale).view(1, -1, 1, 1)
        if residual is not None:
            y = y + residual[0] * (residual[1] / self.out_scale)
        return y

    def forward(self, x_NCHW: Tensor, in_scale: Tensor, residual: tuple[Tensor, Tensor] | None = None) -> Tensor:
        y = round_straight_through(self.real(x_NCHW, in_scale, residual))
        return y.clamp(self.layer.lo, self.layer.hi)


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
            self.units[layer.name] = QuantisedUnit(layer, unit if layer.has_weights else None)

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
            tensors[layer.name] = self.unit(layer.name)(*self._operands(layer, tensors))
        return tensors

    @torch.no_grad()
    def calibrate(self, bytes_NCHW: Tensor, coverage: float = 1.0) -> None:
        """Sets every output scale from the values that the given frames produce, layer after layer.

        `coverage` 1 maps the largest value to the clip bound, less than 1 that quantile of the magnitudes. Max pooling
        keeps the scale of its input where the type allows, so that it changes no value.
        """
        tensors = {"input": bytes_NCHW}
        for layer in self.network.layers:
            unit, operands = self.unit(layer.name), self._operands(layer, tensors)
            if layer.op == "maxpool" and layer.in_signed == layer.out_signed and layer.residual is None:
                unit.out_scale.copy_(operands[1])
            else:
                unit.out_scale.fill_(1.0)  # `real` is then the real value itself
                unit.out_scale.copy_(_range_scale(layer, unit.real(*operands), coverage))
            tensors[layer.name] = unit(*operands)

    def _operands(
        self, layer: Layer, tensors: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
        residual = None if layer.residual is None else (tensors[layer.residual], self.scale(layer.residual))
        return tensors[layer.input], self.scale(layer.input), residual


def _range_scale(layer: Layer, real: Tensor, coverage: float) -> Tensor:
    """The scale at which the values fill the clip bounds, whichever side needs the larger one."""
    upper = _reach(real.clamp(min=0), coverage) / max(layer.hi, 1)
    lower = _reach((-real).clamp(min=0), coverage) / max(-layer.lo, 1) if layer.lo < 0 else upper
    return torch.maximum(torch.maximum(upper, lower), torch.tensor(1e-8, dtype=real.dtype))


def _reach(magnitudes: Tensor, coverage: float) -> Tensor:
    if coverage >= 1:
        return magnitudes.amax()
    flat = magnitudes.flatten()
    return flat.kthvalue(max(1, math.ceil(coverage * flat.numel()))).values
