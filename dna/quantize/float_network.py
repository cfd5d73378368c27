"""A Network as a trainable float model: what each layer computes before it is quantised."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dna.errors import UserError
from dna.network.blueprint import Blueprint, Bounds
from dna.network.layer import Layer
from dna.network.network import Network


class Unit(nn.Module):
    """One layer in float: operator, batch normalisation (conv and depthwise), residual, ReLU where `lo` is 0.

    `fc` has a bias instead of a normalisation, and so has a `biased` convolution. `bounds` are real clip bounds, (0, 6)
    for ReLU6; without them `lo` decides. `track` keeps running statistics; without it, the statistics are always those
    of the batch, as a supernet needs.
    """

    def __init__(
        self,
        layer: Layer,
        generator: torch.Generator,
        track: bool = True,
        biased: bool = False,
        bounds: Bounds | None = None,
    ) -> None:
        super().__init__()
        self.layer = layer
        self.bounds: Bounds = bounds or (0.0 if layer.lo == 0 else -math.inf, math.inf)
        self.pad = 0.0
        """Real value outside the image; other than 0 only where the network's input is padded."""
        self.norm: nn.BatchNorm2d | None = None
        self.bias: nn.Parameter | None = None
        if layer.weight_shape is None:
            return
        fan = math.prod(layer.weight_shape[1:])
        gain = 2.0 if layer.lo == 0 else 1.0
        self.weight = nn.Parameter(torch.randn(layer.weight_shape, generator=generator) * math.sqrt(gain / fan))
        if layer.op == "fc" or biased:
            self.bias = nn.Parameter(torch.zeros(layer.out_channels))
        else:
            self.norm = nn.BatchNorm2d(layer.out_channels, track_running_stats=track)

    def forward(self, x_NCHW: Tensor, residual_NCHW: Tensor | None = None) -> Tensor:
        y = window(self.layer, x_NCHW, self.weight if self.layer.has_weights else None, self.pad)
        if self.layer.op == "avgpool":
            y = y / window_sizes(self.layer).to(y)
        if self.norm is not None:
            y = self.norm(y)
        if self.bias is not None:
            y = y + self.bias.view(1, -1, 1, 1)
        if residual_NCHW is not None:
            y = y + residual_NCHW
        if self.bounds == (-math.inf, math.inf):
            return y
        return F.relu(y) if self.bounds == (0.0, math.inf) else y.clamp(*self.bounds)

    @torch.no_grad()
    def set_folded(self, weight: Tensor, bias: Tensor) -> None:
        """Gives the layer this weight and bias: from here on it has no normalisation."""
        if weight.shape != self.layer.weight_shape or bias.shape != (self.layer.out_channels,):
            raise UserError(
                f"layer '{self.layer.name}': weight {tuple(weight.shape)}, bias {tuple(bias.shape)} do not fit"
            )
        self.norm = None
        self.weight, self.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias with the running statistics of the normalisation folded in, detached."""
        weight = self.weight.detach().clone()
        if self.norm is None:
            assert self.bias is not None  # fc, or biased
            return weight, self.bias.detach().clone()
        assert self.norm.running_mean is not None and self.norm.running_var is not None
        factor = (self.norm.weight / torch.sqrt(self.norm.running_var + self.norm.eps)).detach()
        return weight * factor.view(-1, 1, 1, 1), (self.norm.bias - self.norm.running_mean * factor).detach().clone()


def window_sizes(layer: Layer) -> Tensor:
    """How many elements the mean of an avgpool counts: [1, 1] or, where it leaves padding out, [height, width]."""
    if layer.count_padding:
        return torch.tensor([[float(math.prod(layer.kernel))]])
    return torch.outer(torch.tensor(layer.counted_rows), torch.tensor(layer.counted_cols)).float()


def window(layer: Layer, x_NCHW: Tensor, weight: Tensor | None, pad: float = 0.0) -> Tensor:
    """The layer's windowed reduction alone: weighted sum, plain sum (avgpool), maximum, or x itself (add).

    `pad` is the value outside the image for weighted sums, in the unit of `x_NCHW`.
    """
    top, left, bottom, right = layer.padding
    if layer.op in ("conv", "depthwise", "fc"):
        assert weight is not None
        groups = layer.in_channels if layer.per_channel else layer.groups
        if (top, left) == (bottom, right) and pad == 0:
            return F.conv2d(x_NCHW, weight, stride=layer.stride, padding=(top, left), groups=groups)
        padded = F.pad(x_NCHW, (left, right, top, bottom), value=pad)
        return F.conv2d(padded, weight, stride=layer.stride, groups=groups)
    if layer.op == "add":
        return x_NCHW
    padded = F.pad(x_NCHW, (left, right, top, bottom), value=-torch.inf if layer.op == "maxpool" else 0.0)
    if layer.op == "maxpool":
        return F.max_pool2d(padded, layer.kernel, layer.stride)
    return F.avg_pool2d(padded, layer.kernel, layer.stride, divisor_override=1)


class FloatNetwork(nn.Module):
    """The network in float, its input being bytes (as float, NCHW) that count `input_scale` each.

    A Blueprint says which convolutions have a bias and which layers real clip bounds; a bare Network has neither.
    """

    def __init__(self, network: Network | Blueprint, input_scale: float, generator: torch.Generator) -> None:
        super().__init__()
        plan = network if isinstance(network, Blueprint) else Blueprint(network)
        self.network, self.input_scale = plan.network, input_scale
        self.units = nn.ModuleDict()
        for layer in plan.network.layers:
            unit = Unit(layer, generator, True, layer.name in plan.biased, plan.bounds.get(layer.name))
            unit.pad = _real_pad(layer, input_scale)
            self.units[layer.name] = unit

    def forward(self, bytes_NCHW: Tensor) -> Tensor:
        """The output tensor flattened: logits [frames, outputs]."""
        return self.tensors(bytes_NCHW)[self.network.output].flatten(1)

    def tensors(self, bytes_NCHW: Tensor) -> dict[str, Tensor]:
        """Every tensor by name, real values, ``input`` included."""
        tensors = {"input": bytes_NCHW * self.input_scale}
        for layer in self.network.layers:
            if layer.parts:
                tensors[layer.name] = torch.cat([tensors[part] for part in layer.parts], dim=1)
                continue
            residual = None if layer.residual is None else tensors[layer.residual]
            tensors[layer.name] = self.units[layer.name](tensors[layer.input], residual)
        return tensors


def _real_pad(layer: Layer, input_scale: float) -> float:
    if not layer.has_weights or layer.pad_value == 0:
        return 0.0
    if layer.input != "input":
        raise UserError(f"layer '{layer.name}': only the network's input can be padded with a value other than 0")
    return layer.pad_value * input_scale
