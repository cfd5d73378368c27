"""Torch modules, through torch.export, compute in our float model what torch computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dna.errors import UserError
from dna.network.importer import ImportedNetwork, load_network
from dna.network.zoo import Request, build
from dna.quantize.float_network import FloatNetwork
from tests.network.importer.models import images, normalised, ops, run_imported


def check(module: nn.Module, size: int = 12, **options: Any) -> ImportedNetwork:
    module.eval()
    imported = load_network(module, input_shape=(3, size, size), **options)
    pictures = images(np.random.default_rng(0), (size, size, 3))
    x = normalised(pictures, options.get("mean", 0.0), options.get("std", 1.0))
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).flatten(1).numpy()
    np.testing.assert_allclose(run_imported(imported, pictures), expected, atol=1e-4, rtol=1e-4)
    return imported


def trained(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random statistics in every batch normalisation, so that folding them matters."""
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.running_mean, part.running_var, part.weight.data, part.bias.data):
                assert tensor is not None
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return module


class Residual(nn.Module):
    """Inverted residual with ReLU6, a strided shortcut, concatenation and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.expand = nn.Sequential(nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU6(inplace=True))
        self.deep = nn.Sequential(nn.Conv2d(24, 24, 3, 1, 1, groups=24), nn.BatchNorm2d(24), nn.ReLU6())
        self.project = nn.Sequential(nn.Conv2d(24, 8, 1), nn.BatchNorm2d(8))
        self.side = nn.Conv2d(8, 4, 3, padding="same")
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.project(self.deep(self.expand(x)))
        x = torch.cat([x, self.side(x)], dim=1)
        return self.head(self.drop(x.mean([2, 3])))


def test_residual_network() -> None:
    torch.manual_seed(0)
    imported = check(trained(Residual()), mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 0.3))
    assert ops(imported) == ["conv", "conv", "depthwise", "conv", "conv", "concat", "avgpool", "fc"]
    assert imported.input.alpha and list(imported.blueprint.bounds.values()) == [(0.0, 6.0)] * 2


class Pools(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(x - 0.4), 3, 2, 1, ceil_mode=True)
        x = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        x = F.avg_pool2d(F.pad(x, (1, 0, 0, 1)), 2, 1)
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


def test_pooling() -> None:
    imported = check(Pools(), 13)
    assert ops(imported)[-4:] == ["maxpool", "avgpool", "avgpool", "avgpool"]


class Activations(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, 3, 3, padding=1) for _ in range(4))
        self.prelu = nn.PReLU(3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.leaky_relu(self.convs[0](x), 0.1)
        x = F.hardsigmoid(self.convs[1](x))
        x = torch.clamp(self.convs[2](x) * 2.0 - 0.1, -0.5, 0.5)
        x = self.prelu(self.convs[3](x))
        return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1)


def test_activations_and_layout() -> None:
    """The output's order is not ours: compared after undoing it."""
    torch.manual_seed(1)
    module = Activations().eval()
    imported = load_network(module, input_shape=(1, 3, 6, 6))
    pictures = images(np.random.default_rng(0), (6, 6, 3))
    with torch.no_grad():
        expected = module(torch.from_numpy(normalised(pictures))).view(6, 6, 3).permute(2, 0, 1).flatten()
    np.testing.assert_allclose(run_imported(imported, pictures)[0], expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "googlenet", "mobilenet_v2", "fbnet_a"])
def test_zoo_network_comes_back(name: str) -> None:
    """A zoo network, exported and imported, has the layers, MACs and values that it had."""
    blueprint = build(name, Request((32, 32, 3), 0.25, 10))
    model = FloatNetwork(blueprint, 1.0, torch.Generator().manual_seed(0)).eval()
    imported = load_network(model, input_shape=(3, 32, 32))
    ours, theirs = imported.network.layers, blueprint.network.layers
    pointwise = {"fc": "conv"}  # on a map of one pixel they are the same
    assert [pointwise.get(layer.op, layer.op) for layer in ours] == [pointwise.get(k.op, k.op) for k in theirs]
    assert imported.network.macs == blueprint.network.macs
    fields = (
        "kernel",
        "stride",
        "padding",
        "groups",
        "out_channels",
        "in_signed",
        "out_signed",
        "lo",
        "hi",
        "pad_value",
    )
    for layer, known in zip(ours, theirs, strict=True):
        assert [getattr(layer, field) for field in fields] == [getattr(known, field) for field in fields], layer.name
    pictures = images(np.random.default_rng(1), (32, 32, 3))
    with torch.no_grad():
        expected = model(torch.from_numpy(normalised(pictures))).numpy()
    np.testing.assert_allclose(run_imported(imported, pictures), expected, atol=1e-4, rtol=1e-4)


def test_exported_program_and_training_mode() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    program = torch.export.export(module.eval(), (torch.zeros(1, 3, 4, 4),))
    assert ops(load_network(program)) == ["conv", "fc"]
    module.train()
    load_network(module, input_shape=(3, 4, 4))
    assert module.training


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x.mean([2, 3], keepdim=True))


class Data(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardswish()), r"'hardswish' \(HardSwish\).*fine-tune"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten()), r"\(Silu\).*use Relu"),
        (Attention(), r"\(Sigmoid\).*HardSigmoid"),
        (nn.ConvTranspose2d(3, 4, 2), "ConvTranspose.*not supported"),
        (nn.BatchNorm2d(3, track_running_stats=False), "no running statistics"),
        (nn.AdaptiveAvgPool2d(5), "12 x 12 does not divide into 5 x 5"),
        (Data(), "torch.export cannot trace it"),
        (nn.Identity(), "holds no layers"),
    ],
)
def test_refusals(module: nn.Module, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_network(module, input_shape=(3, 12, 12))
    assert "\n" not in str(caught.value)


def test_mistakes_around_modules() -> None:
    with pytest.raises(UserError, match="needs input_shape"):
        load_network(nn.Conv2d(3, 4, 1))
    with pytest.raises(UserError, match="must be positive sizes"):
        load_network(nn.Conv2d(3, 4, 1), input_shape=(3, 0, 4))
    with pytest.raises(UserError, match="a dict is no network"):
        load_network({})
