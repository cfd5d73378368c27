"""A Network as a trainable float model: what each layer computes before it is quantised."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dna.network.layer import Layer
from dna.network.network import Network


class Unit(nn.Module):
    """One layer in float: operator, batch normalisation (conv and depthwise), residual, ReLU where `lo` is 0.

    `fc` has a bias instead of a normalisation. `track` keeps running statistics; without it, the statistics
    are always those of the batch, as a supernet needs.
    """

    def __init__(self, layer: Layer, generator: torch.Generator, track: bool = True) -> None:
        super().__init__()
        self.layer = layer
        self.norm: nn.BatchNorm2d | None = None
        self.bias: nn.Parameter | None = None
        if layer.weight_shape is None:
            return
        fan = math.prod(layer.weight_shape[1:])
        gain = 2.0 if layer.lo == 0 else 1.0
        self.weight = nn.Parameter(torch.randn(layer.weight_shape, generator=generator) * math.sqrt(gain / fan))
        if layer.op == "fc":
            self.bias = nn.Parameter(torch.zeros(layer.out_channels))
        else:
            self.norm = nn.BatchNorm2d(layer.out_channels, track_running_stats=track)

    def forward(self, x_NCHW: Tensor, residual_NCHW: Tensor | None = None) -> Tensor:
        y = window(self.layer, x_NCHW, self.weight if self.layer.has_weights else None)
        if self.layer.op == "avgpool":
            y = y / math.prod(self.layer.kernel)
        if self.norm is not None:
            y = self.norm(y)
        if self.bias is not None:
            y = y + self.bias.view(1, -1, 1, 1)
        if residual_NCHW is not None:
            y = y + residual_NCHW
        return F.relu(y) if self.layer.lo == 0 else y

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias with the running statistics of the normalisation folded in, detached."""
        weight = self.weight.detach().clone()
        if self.norm is None:
            assert self.bias is not None  # fc
            return weight, self.bias.detach().clone()
        assert self.norm.running_mean is not None and self.norm.running_var is not None
        factor = (self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)).detach()
        return weight * factor.view(-1, 1, 1, 1), (self.norm.bias - self.norm.running_mean * factor).detach().clone()


def window(layer: Layer, x_NCHW: Tensor, weight: Tensor | None) -> Tensor:
    """The layer's windowed reduction alone: weighted sum, plain sum (avgpool), maximum, or x itself (add)."""
    top, left, bottom, right = layer.padding
    if layer.op in ("conv", "depthwise", "fc"):
        assert weight is not None
        groups = layer.in_channels if layer.per_channel else 1
        if (top, left) == (bottom, right):
            return F.conv2d(x_NCHW, weight, stride=layer.stride, padding=(top, left), groups=groups)
        return F.conv2d(F.pad(x_NCHW, (left, right, top, bottom)), weight, stride=layer.stride, groups=groups)
    if layer.op == "add":
        return x_NCHW
    padded = F.pad(x_NCHW, (left, right, top, bottom), value=-torch.inf if layer.op == "maxpool" else 0.0)
    if layer.op == "maxpool":
        return F.max_pool2d(padded, layer.kernel, layer.stride)
    return F.avg_pool2d(padded, layer.kernel, layer.stride, divisor_override=1)


class FloatNetwork(nn.Module):
    """The network in float, its input being bytes (as float, NCHW) that count `input_scale` each."""

    def __init__(self, network: Network, input_scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.network, self.input_scale = network, input_scale
        self.units = nn.ModuleDict({layer.name: Unit(layer, generator) for layer in network.layers})

    def forward(self, bytes_NCHW: Tensor) -> Tensor:
        """The output tensor flattened: logits [frames, outputs]."""
        return self.tensors(bytes_NCHW)[self.network.output].flatten(1)

    def tensors(self, bytes_NCHW: Tensor) -> dict[str, Tensor]:
        """Every tensor by name, real values, ``input`` included."""
        tensors = {"input": bytes_NCHW * self.input_scale}
        for layer in self.network.layers:
            residual = None if layer.residual is None else tensors[layer.residual]
            tensors[layer.name] = self.units[layer.name](tensors[layer.input], residual)
        return tensors
