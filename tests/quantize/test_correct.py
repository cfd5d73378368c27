"""Bias correction gives back what rounding and clipping move on average."""

from __future__ import annotations

import pytest
import torch

from dna.network.layer import Layer
from dna.network.network import Network
from dna.network.zoo.builder import Builder, Request
from dna.quantize.calibrate import histograms, real_tensors, set_scales
from dna.quantize.correct import correct_biases
from dna.quantize.fake import QuantisedNetwork
from dna.quantize.float_network import FloatNetwork


def test_by_hand() -> None:
    """Weights 1 and 0.36 in steps of 1/127 become 127 and 46: too much by (46/127 - 0.36) * 100, on average."""
    layer = Layer("a", "fc", "input", 2, 1, 1, 1, in_signed=False)
    model = QuantisedNetwork(FloatNetwork(Network("n", (layer,)), 1.0, torch.Generator()).eval())
    unit = model.unit("a")
    unit.weight.data[:] = torch.tensor([1.0, 0.36]).view(1, 2, 1, 1)
    unit.bias.data.zero_()
    unit.out_scale.fill_(128 / 127)  # one accumulator step is 2^-7 output steps: exact
    images = torch.tensor([[20.0, 90.0], [40.0, 110.0]]).view(2, 2, 1, 1)
    correct_biases(model, images)
    assert unit.bias.item() == pytest.approx(0.36 * 100 - 46 / 127 * 100, abs=1e-3)


def test_what_is_clipped_is_given_back() -> None:
    """The first layer's range holds half of a value of 100, so the second layer is told the missing 50."""
    layers = (Layer("a", "conv", "input", 1, 1, 1, 1, in_signed=False, out_signed=False, lo=0, hi=255),
              Layer("b", "conv", "a", 1, 1, 1, 1, in_signed=False))  # fmt: skip
    model = QuantisedNetwork(FloatNetwork(Network("n", layers), 1.0, torch.Generator()).eval())
    for name in ("a", "b"):
        model.unit(name).weight.data.fill_(1.0)
        model.unit(name).bias.data.zero_()
    model.unit("a").out_scale.fill_(50 / 255)
    model.unit("b").out_scale.fill_(1.0)
    correct_biases(model, torch.full((3, 1, 1, 1), 100.0))
    assert model.unit("b").bias.item() == pytest.approx(50, abs=0.01)


def test_means_of_every_layer_come_closer() -> None:
    net = Builder("n", Request((8, 8, 3), classes=4))
    stem = net.conv("stem", "input", 8, 3, activation="relu6")
    x = net.depthwise("depthwise", net.conv("expand", stem, 16, activation="relu6"), 3)
    x = net.conv("project", x, 8, activation="linear", residual=stem)
    x = net.concat("both", [net.conv("left", x, 8), net.conv("right", x, 8)])
    net.fc("fc", net.global_avgpool("mean", x), 4)
    float_model = FloatNetwork(net.blueprint(), 1 / 64, torch.Generator().manual_seed(5)).eval()
    images = torch.randint(0, 256, (96, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    model = QuantisedNetwork(float_model).eval()
    set_scales(model, histograms(model, images), "percentile", 95)

    def errors() -> dict[str, float]:
        with torch.no_grad():
            real, integer = float_model.tensors(images.float()), model.tensors(images.float())
        return {
            name: float((integer[name] * model.scale(name) - real[name]).mean(dim=(0, 2, 3)).abs().mean())
            for name in ("project", "fc")
        }

    before = errors()
    reals = real_tensors(model, images.float())
    correct_biases(model, images)
    after = errors()
    assert after["project"] < 0.6 * before["project"] and after["fc"] < 0.3 * before["fc"], (before, after)
    assert torch.allclose(reals["fc"], float_model.tensors(images.float())["fc"], atol=1e-3)
