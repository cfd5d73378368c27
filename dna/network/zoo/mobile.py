"""MobileNetV1 and V2, MnasNet, FBNet, ProxylessNAS and EfficientNet-lite: mostly inverted residual blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dna.network.blueprint import Blueprint
from dna.network.zoo.builder import Activation, Builder, Request


@dataclass(frozen=True)
class Block:
    """One inverted residual block. `groups` are those of both pointwise convolutions, with a shuffle in between;
    `cascaded` puts a second depthwise layer behind the first."""

    kernel: int
    expansion: int
    channels: int
    stride: int = 1
    groups: int = 1
    cascaded: bool = False


@dataclass(frozen=True)
class Plan:
    """Stem, blocks, head, global pooling, classifier. `always_expand`: expansion 1 has its pointwise layer too."""

    name: str
    stem: int
    blocks: Sequence[Block]
    head: int
    activation: Activation = "relu"
    always_expand: bool = False


def mobilenet_v1(request: Request) -> Blueprint:
    """Depthwise and pointwise layers in turn."""
    net = Builder("mobilenet_v1", request)
    x = net.conv("conv1", "input", request.channels(32), 3, stride=2, activation="relu6")
    strides = {2: 2, 4: 2, 6: 2, 12: 2}
    for index, channels in enumerate((64, 128, 128, 256, 256, *[512] * 6, 1024, 1024), start=1):
        x = net.depthwise(f"depthwise{index}", x, 3, strides.get(index, 1), "relu6")
        x = net.conv(f"pointwise{index}", x, request.channels(channels), activation="relu6")
    net.fc("fc", net.global_avgpool("avgpool", x), request.classes)
    return net.blueprint()


def mobilenet_v2(request: Request) -> Blueprint:
    """All channels scale with the width, the head's too."""
    rows = [(3, 1, 16, 1, 1), (3, 6, 24, 2, 2), (3, 6, 32, 3, 2), (3, 6, 64, 4, 2)]
    rows += [(3, 6, 96, 3, 1), (3, 6, 160, 3, 2), (3, 6, 320, 1, 1)]
    return _inverted(Plan("mobilenet_v2", 32, _repeated(rows), 1280, "relu6"), request)


def mnasnet(request: Request) -> Blueprint:
    """MnasNet-B1, the variant without squeeze and excitation."""
    rows = [(3, 1, 16, 1, 1), (3, 3, 24, 3, 2), (5, 3, 40, 3, 2), (5, 6, 80, 3, 2)]
    rows += [(3, 6, 96, 2, 1), (5, 6, 192, 4, 2), (3, 6, 320, 1, 1)]
    return _inverted(Plan("mnasnet", 32, _repeated(rows), 1280), request)


def efficientnet_lite0(request: Request) -> Blueprint:
    rows = [(3, 1, 16, 1, 1), (3, 6, 24, 2, 2), (5, 6, 40, 2, 2), (3, 6, 80, 3, 2)]
    rows += [(5, 6, 112, 3, 1), (5, 6, 192, 4, 2), (3, 6, 320, 1, 1)]
    return _inverted(Plan("efficientnet_lite0", 32, _repeated(rows), 1280, "relu6"), request)


def proxylessnas_mobile(request: Request) -> Blueprint:
    stages: list[tuple[int, str]] = [(16, "k3e1"), (32, "k5e3 k3e3"), (40, "k7e3 k3e3 k5e3 k5e3")]
    stages += [(80, "k7e6 k5e3 k5e3 k5e3"), (96, "k5e6 k5e3 k5e3 k5e3"), (192, "k7e6 k7e6 k7e3 k7e3"), (320, "k7e6")]
    return _inverted(Plan("proxylessnas_mobile", 32, _written(stages, (1, 2, 3, 5)), 1280, "relu6"), request)


def fbnet_a(request: Request) -> Blueprint:
    stages = [(16, "skip"), (24, "k3e3 k3e1 skip skip"), (32, "k5e6 k3e3 k5e1 k3e3"), (64, "k5e6 k5e3 k5e1g2 k5e6")]
    stages += [(112, "k3e6 k5e1g2 k5e3 k3e1g2"), (184, "k5e6 k5e6 k5e3 k5e6"), (352, "k5e6")]
    return _fbnet("fbnet_a", stages, 1504, request)


def fbnet_b(request: Request) -> Blueprint:
    stages = [(16, "k3e1"), (24, "k3e6 k5e1 k3e1 k3e1"), (32, "k5e6 k5e3 k3e6 k3e6c"), (64, "k5e6 k5e1 skip k5e3")]
    stages += [(112, "k5e6 k3e1 k5e1 k5e3"), (184, "k5e6 k5e1 k5e6 k5e6"), (352, "k3e6")]
    return _fbnet("fbnet_b", stages, 1984, request)


def fbnet_c(request: Request) -> Blueprint:
    stages = [(16, "k3e1"), (24, "k3e6 skip k3e1 k3e1"), (32, "k5e6 k5e3 k3e6c k3e6"), (64, "k5e6 k5e3 k5e6 k5e6")]
    stages += [(112, "k5e6 k3e6c k5e6 k5e3"), (184, "k5e6 k5e6 k5e6 k5e6"), (352, "k3e6")]
    return _fbnet("fbnet_c", stages, 1984, request)


def _fbnet(name: str, stages: list[tuple[int, str]], head: int, request: Request) -> Blueprint:
    return _inverted(Plan(name, 16, _written(stages, (1, 2, 3, 5)), head, always_expand=True), request)


def _repeated(rows: Sequence[tuple[int, int, int, int, int]]) -> list[Block]:
    """Rows are (kernel, expansion, channels, blocks, stride of the first block)."""
    return [
        Block(kernel, expansion, channels, stride if index == 0 else 1)
        for kernel, expansion, channels, count, stride in rows
        for index in range(count)
    ]


def _written(stages: Sequence[tuple[int, str]], strided: tuple[int, ...]) -> list[Block]:
    """Blocks from words such as k5e6, k5e1g2 (groups) or k3e6c (cascaded).

    `strided` are the stages whose first block has stride 2.
    """
    blocks = []
    for index, (channels, words) in enumerate(stages):
        for position, word in enumerate(words.split()):
            if word == "skip":
                continue
            kernel, _, rest = word[1:].removesuffix("c").partition("e")
            expansion, _, groups = rest.partition("g")
            stride = 2 if index in strided and position == 0 else 1
            blocks.append(Block(int(kernel), int(expansion), channels, stride, int(groups or 1), word.endswith("c")))
    return blocks


def _inverted(plan: Plan, request: Request) -> Blueprint:
    net, c = Builder(plan.name, request), request.channels
    x = net.conv("stem", "input", c(plan.stem), 3, stride=2, activation=plan.activation)
    for index, block in enumerate(plan.blocks):
        x = _block(net, f"block{index}", x, block, plan)
    x = net.conv("head", x, c(plan.head), activation=plan.activation)
    net.fc("fc", net.global_avgpool("avgpool", x), request.classes)
    return net.blueprint()


def _block(net: Builder, name: str, x: str, block: Block, plan: Plan) -> str:
    source = net.shape(x).channels
    out, middle = net.request.channels(block.channels), source * block.expansion
    groups = block.groups if source % (block.groups**2) == 0 and out % block.groups == 0 else 1
    inner = x
    if block.expansion > 1 or plan.always_expand:
        inner = _expand(net, f"{name}_expand", x, middle, groups, plan.activation)
    inner = net.depthwise(f"{name}_depthwise", inner, block.kernel, block.stride, plan.activation)
    if block.cascaded:
        inner = net.depthwise(f"{name}_depthwise2", inner, block.kernel, 1, plan.activation)
    residual = x if block.stride == 1 and source == out else None
    return net.conv(f"{name}_project", inner, out, activation="linear", residual=residual, groups=groups)


def _expand(net: Builder, name: str, x: str, channels: int, groups: int, activation: Activation) -> str:
    """A pointwise convolution; with groups, its channel shuffle is in the order of the outputs.

    After the shuffle, group j of the next grouped convolution reads the j-th share of every group's outputs. So each
    such set is a grouped convolution of its own, and the shuffle a concatenation: nothing is moved.
    """
    if groups == 1:
        return net.conv(name, x, channels, activation=activation)
    shares = [
        net.conv(f"{name}{share}", x, channels // groups, activation=activation, groups=groups)
        for share in range(groups)
    ]
    return net.concat(name, shares)
