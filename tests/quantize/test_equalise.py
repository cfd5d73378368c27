"""Cross-layer equalisation keeps the function, by hand and on random networks."""

from __future__ import annotations

import math

import pytest
import torch

from dna.network.layer import Layer
from dna.network.network import Network
from dna.network.zoo.builder import Builder, Request
from dna.quantize.calibrate import real_tensors
from dna.quantize.equalise import channel_factors, channel_maxima, equalise, pairs
from dna.quantize.fake import QuantisedNetwork
from dna.quantize.float_network import FloatNetwork

DEPTHWISE = Layer("d", "depthwise", "x", 3, 4, 4, 3)
POINTWISE = Layer("p", "conv", "x", 3, 4, 4, 5)


def block(activation: str = "relu") -> QuantisedNetwork:
    net = Builder("n", Request((8, 8, 3), classes=4))
    x = net.conv("stem", "input", 8, 3, activation=activation)  # type: ignore[arg-type]
    x = net.conv("expand", x, 16, activation=activation)  # type: ignore[arg-type]
    x = net.depthwise("depthwise", x, 3, 1, activation)  # type: ignore[arg-type]
    x = net.conv("project", x, 8, activation="linear", residual="stem")
    x = net.conv("grouped", x, 8, activation=activation, groups=2)  # type: ignore[arg-type]
    x = net.conv("halves", x, 12, activation=activation, groups=4)  # type: ignore[arg-type]
    net.fc("fc", net.global_avgpool("pool", x), 4)
    model = FloatNetwork(net.blueprint(), 1 / 64, torch.Generator().manual_seed(3)).eval()
    return QuantisedNetwork(model)


def images(count: int = 6) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_pairs_skip_residuals_and_pass_pooling() -> None:
    found = [(pair.first.name, pair.second.name) for pair in pairs(block().network)]
    # stem has two readers, project adds a residual; halves reaches fc through the mean.
    assert found == [("expand", "depthwise"), ("depthwise", "project"), ("grouped", "halves"), ("halves", "fc")]


def test_a_tensor_in_a_concat_is_left_alone() -> None:
    net = Builder("n", Request((4, 4, 3)))
    a, b = net.conv("a", "input", 4), net.conv("b", "input", 4)
    net.conv("c", net.concat("ab", [a, b]), 4)
    assert pairs(net.blueprint().network) == []


def test_channels_before_a_depthwise_layer_are_filled() -> None:
    factors = channel_factors(torch.tensor([4.0, 1.0, 0.0]), torch.ones(3), DEPTHWISE, math.inf)
    assert factors.tolist() == [4 / 4, 4 / 1, 1]  # the silent one stays


def test_before_a_mixing_layer_activations_and_weights_are_balanced() -> None:
    """Ranges 4, 1 and weights 1, 1: factors go as 1/2, 1; ranges become 2, 1, weights 2, 1; then the gain is freed."""
    factors = channel_factors(torch.tensor([4.0, 1.0]), torch.tensor([1.0, 1.0]), POINTWISE, math.inf)
    assert factors.tolist() == [1, 2]
    balanced = torch.tensor([4.0, 1.0]) * factors
    assert (balanced / (torch.ones(2) / factors)).tolist() == [4, 4]  # range over weight: the same for all channels


def test_relu6_keeps_clipped_channels_and_creates_no_clip() -> None:
    """Channel 0 is clipped at 6, so it keeps its factor; 1 could grow by 6, with its margin of a tenth by 60 / 11."""
    factors = channel_factors(torch.tensor([6.0, 1.0, 5.9]), torch.ones(3), DEPTHWISE, 6.0)
    assert factors.tolist() == pytest.approx([1, 60 / 11, 1])


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_the_function_stays_the_same_on_the_given_images(activation: str) -> None:
    model, x = block(activation), images().float()
    # Unequal channels, some of which ReLU6 clips.
    spread = torch.logspace(-1.5, 0.7, 16)
    unit = model.unit("expand")
    unit.weight.data.mul_(spread.view(-1, 1, 1, 1))
    before = real_tensors(model, x)
    maxima = channel_maxima(model, images())
    clipped = int((maxima["expand"] >= 6).sum())
    assert clipped > 0 if activation == "relu6" else True
    assert equalise(model, images()) == 4
    after = real_tensors(model, x)
    for name in ("stem", "project", "fc"):
        assert torch.allclose(before[name], after[name], atol=1e-4 * float(before[name].abs().max())), name
    # And it did something: more channels of the tensor before the depthwise layer are near its largest value.
    ranges = after["expand"].abs().amax(dim=(0, 2, 3))
    alive = ranges > 0
    assert (ranges[alive] / ranges.max()).median() > (maxima["expand"][alive] / maxima["expand"].max()).median()


def test_groups_meet_their_own_weights() -> None:
    """Two groups of one input channel: the second layer's weights 2 and 8 belong to channels 0 and 1."""
    layers = (Layer("a", "conv", "input", 1, 1, 1, 2, lo=0, hi=255, out_signed=False),
              Layer("b", "conv", "a", 2, 1, 1, 2, in_signed=False, groups=2))  # fmt: skip
    float_model = FloatNetwork(Network("n", layers), 1.0, torch.Generator().manual_seed(0)).eval()
    model = QuantisedNetwork(float_model)
    model.unit("a").weight.data[:] = torch.tensor([1.0, 1.0]).view(2, 1, 1, 1)
    model.unit("b").weight.data[:] = torch.tensor([2.0, 8.0]).view(2, 1, 1, 1)
    for name in ("a", "b"):
        model.unit(name).bias.data.zero_()
    equalise(model, torch.full((1, 1, 1, 1), 3, dtype=torch.uint8))
    # Ranges 3 and 3: factors as sqrt(2), sqrt(8), that is 1 to 2, of which the larger is 1.
    assert model.unit("a").weight.ravel().tolist() == pytest.approx([0.5, 1])
    assert model.unit("b").weight.ravel().tolist() == pytest.approx([4, 8])
