"""The model zoo: published figures, any size, and a float model for each."""

from __future__ import annotations

import math

import pytest
import torch

from dna.cli import main
from dna.errors import UserError
from dna.network.blueprint import Blueprint
from dna.network.layer import Layer
from dna.network.network import Network
from dna.network.zoo import ENTRIES, Request, ZooEntry, build, names
from dna.quantize.float_network import FloatNetwork

SMALL = Request((32, 32, 3), 0.25, 10)
DIFFERS = {"fbnet_a": 1.0021, "efficientnet_lite0": 0.9464}
"""Our MACs divided by the published ones where they differ; the entry's note says why."""


def by_name(entry: ZooEntry) -> str:
    return entry.name


def rounding(figure: str) -> tuple[float, float]:
    """A published figure and half a unit of its last place: '1.814 G' gives (1.814e9, 0.5e6)."""
    number, _, unit = figure.partition(" ")
    factor = {"": 1.0, "M": 1e6, "G": 1e9}[unit]
    decimals = len(number.partition(".")[2])
    return float(number) * factor, 0.5 * factor / 10**decimals


@pytest.mark.parametrize("entry", ENTRIES, ids=by_name)
def test_published_macs(entry: ZooEntry) -> None:
    published, half = rounding(entry.published_macs)
    macs = entry.build(Request()).macs
    if entry.name in DIFFERS:
        assert entry.note and macs / published == pytest.approx(DIFFERS[entry.name], abs=1e-4)
    else:
        assert abs(macs - published) <= half


@pytest.mark.parametrize("entry", ENTRIES, ids=by_name)
def test_published_parameters(entry: ZooEntry) -> None:
    published, half = rounding(entry.published_parameters)
    # FBNet's table cuts the second decimal off.
    assert -half <= entry.build(Request()).parameters - published <= 2 * half


def test_efficientnet_lite0_is_b0_without_squeeze_and_excitation() -> None:
    """EfficientNet-B0 in torchvision: 5 288 548 parameters and 0.386 G operations."""
    blueprint = build("efficientnet_lite0")
    squeezes = [
        (layer.out_channels, max(1, source // 4)) for layer, source in depthwise_and_block_input(blueprint.network)
    ]
    extra = sum(2 * wide * narrow + wide + narrow for wide, narrow in squeezes)
    assert len(squeezes) == 16
    assert blueprint.parameters + extra == 5_288_548
    assert round((blueprint.macs + sum(2 * wide * narrow for wide, narrow in squeezes)) / 1e9, 3) == 0.386


def depthwise_and_block_input(network: Network) -> list[tuple[Layer, int]]:
    found, source = [], 0
    for layer in network.layers:
        if layer.name.endswith("_expand") or (layer.op == "depthwise" and layer.input == "stem"):
            source = layer.in_channels
        if layer.op == "depthwise":
            found.append((layer, source))
    return found


@pytest.mark.parametrize("entry", ENTRIES, ids=by_name)
def test_float_model(entry: ZooEntry) -> None:
    """Runs at reduced width and size, with as many parameters as counted, and depends on its input."""
    blueprint = entry.build(SMALL)
    model = FloatNetwork(blueprint, 1 / 255, torch.Generator().manual_seed(0))
    assert sum(parameter.numel() for parameter in model.parameters()) == blueprint.parameters
    frames = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(1)).float()
    tensors = model.tensors(frames)
    for name, shape in blueprint.network.shapes.items():
        assert tensors[name].shape == (4, shape.channels, shape.height, shape.width)
        assert shape.signed or tensors[name].min() >= 0
    for name, (_, high) in blueprint.bounds.items():
        assert tensors[name].max() <= high
    logits = tensors[blueprint.network.output].flatten(1)
    assert logits.shape == (4, 10) and torch.isfinite(logits).all()
    assert (logits[0] - logits[1]).abs().max() > 0


@pytest.mark.parametrize("entry", ENTRIES, ids=by_name)
@pytest.mark.parametrize("image", [(96, 80, 3), (225, 227, 1)])
def test_any_size(entry: ZooEntry, image: tuple[int, int, int]) -> None:
    network = entry.build(Request(image, 0.5, 7)).network
    shapes = network.shapes
    assert (shapes["input"].height, shapes["input"].width, shapes["input"].channels) == image
    assert (shapes[network.output].height, shapes[network.output].channels) == (1, 7)


def test_relu6_is_kept_apart_from_relu() -> None:
    blueprint = build("mobilenet_v2", SMALL)
    clipped = {layer.name for layer in blueprint.network.layers if layer.lo == 0 and layer.has_weights}
    assert set(blueprint.bounds) == clipped and set(blueprint.bounds.values()) == {(0.0, 6.0)}
    assert not build("resnet18", SMALL).bounds


def test_grouped_shuffle_needs_no_move() -> None:
    """FBNet-A's shuffle: the concatenated shares hold what the next group would read after the shuffle."""
    blueprint = build("fbnet_a", Request((32, 32, 3), 1.0, 10))
    model = FloatNetwork(blueprint, 1.0, torch.Generator().manual_seed(0))
    shares = [layer for layer in blueprint.network.layers if layer.groups == 2 and "expand" in layer.name][:2]
    x = torch.rand(1, shares[0].in_channels, 4, 4)
    both = [model.units[share.name].weight for share in shares]  # each [out of group 0 | out of group 1]
    half = shares[0].out_channels // 2
    whole = torch.cat([both[0][:half], both[1][:half], both[0][half:], both[1][half:]])
    plain = torch.nn.functional.conv2d(x, whole, groups=2)  # one grouped convolution, then the textbook's shuffle
    shuffled = plain.view(1, 2, -1, 4, 4).transpose(1, 2).reshape(plain.shape)
    ours = torch.cat([torch.nn.functional.conv2d(x, weight, groups=2) for weight in both], dim=1)
    for group in range(2):
        reads = slice(group * 2 * half, (group + 1) * 2 * half)
        order = [2 * (i % half) + i // half for i in range(2 * half)]
        torch.testing.assert_close(ours[:, reads], shuffled[:, reads][:, order])


def test_pooling_that_rounds_up() -> None:
    pools = [layer for layer in build("squeezenet1_0").network.layers if layer.op == "maxpool"]
    for pool in pools:
        assert pool.out_height == math.ceil((pool.in_height - 3) / 2) + 1


def test_mistakes() -> None:
    with pytest.raises(UserError, match="no network 'resnet19'.*resnet18"):
        build("resnet19")
    with pytest.raises(UserError, match="alexnet: an image of 6 x 6 is too small; at layer 'conv1'"):
        build("alexnet", Request((6, 6, 3)))
    with pytest.raises(UserError, match="must be positive"):
        Request((0, 32, 3))
    network = build("resnet18", SMALL).network
    with pytest.raises(UserError, match="no layer 'nowhere'"):
        Blueprint(network, {"nowhere": (0.0, 6.0)})
    with pytest.raises(UserError, match=r"layer 'fc': real clip bounds \[1.0, 6.0\] must hold 0"):
        Blueprint(network, {"fc": (1.0, 6.0)})


def test_command_lists_the_zoo(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["networks"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in names())
    assert "15,470.3" in shown and "138.36" in shown
    assert main(["networks", "resnet18", "--size", "64", "--width", "0.25", "--classes", "10"]) == 0
    shown = capsys.readouterr().out
    assert "11.1" in shown and "11689512 parameters (torchvision" in shown
    assert main(["networks", "lenet"]) == 2
    assert "no network 'lenet'" in capsys.readouterr().err
