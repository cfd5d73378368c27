"""Networks in the manner of the zoo's, with strides for 32 x 32 images: each ends in maps that are still averaged."""

from __future__ import annotations

from collections.abc import Callable

from dna.network.blueprint import Blueprint
from dna.network.zoo.builder import Builder, Request

REQUEST = Request((32, 32, 3), classes=10)


def resnet_small() -> Blueprint:
    """Basic residual blocks, projections at the strides, as in ResNet-20."""
    net = Builder("resnet_small", REQUEST)
    x = net.conv("stem", "input", 16, 3, stride=2)
    for index, (channels, stride) in enumerate(((16, 1), (16, 1), (32, 2), (32, 1), (48, 2), (48, 1)), start=1):
        skip = x if stride == 1 else net.conv(f"skip{index}", x, channels, 1, stride, activation="linear")
        inside = net.conv(f"first{index}", x, channels, 3, stride)
        x = net.conv(f"second{index}", inside, channels, 3, residual=skip)
    return _classified(net, x)


def resnext_small() -> Blueprint:
    """Bottlenecks with grouped convolutions."""
    net = Builder("resnext_small", REQUEST)
    x = net.conv("stem", "input", 32, 3, stride=2)
    for index, (channels, stride) in enumerate(((32, 1), (32, 1), (64, 2), (64, 1)), start=1):
        skip = x if stride == 1 else net.conv(f"skip{index}", x, channels, 1, stride, activation="linear")
        inside = net.conv(f"reduce{index}", x, channels)
        inside = net.conv(f"grouped{index}", inside, channels, 3, stride, groups=4)
        x = net.conv(f"expand{index}", inside, channels, residual=skip)
    return _classified(net, x)


def mobilenet_v1_small() -> Blueprint:
    """Depthwise and pointwise layers in turn, ReLU6."""
    net = Builder("mobilenet_v1_small", REQUEST)
    x = net.conv("stem", "input", 16, 3, stride=2, activation="relu6")
    for index, (channels, stride) in enumerate(((32, 1), (64, 2), (64, 1), (128, 2), (128, 1)), start=1):
        x = net.depthwise(f"depthwise{index}", x, 3, stride, "relu6")
        x = net.conv(f"pointwise{index}", x, channels, activation="relu6")
    return _classified(net, x)


def mnasnet_small() -> Blueprint:
    """Inverted residuals with ReLU and kernels of 3 and 5."""
    net = Builder("mnasnet_small", REQUEST)
    x = net.conv("stem", "input", 16, 3, stride=2)
    blocks = ((3, 3, 24, 2), (3, 3, 24, 1), (5, 3, 40, 2), (5, 3, 40, 1))
    for index, (kernel, expansion, channels, stride) in enumerate(blocks, start=1):
        inside = net.conv(f"expand{index}", x, net.shape(x).channels * expansion)
        inside = net.depthwise(f"depthwise{index}", inside, kernel, stride)
        x = net.conv(f"project{index}", inside, channels, activation="linear", residual=x if stride == 1 else None)
    return _classified(net, net.conv("head", x, 128))


def googlenet_small() -> Blueprint:
    """Inception modules: four branches and a concat, one branch behind a maximum."""
    net = Builder("googlenet_small", REQUEST)
    x = net.maxpool("pool1", net.conv("stem", "input", 24, 3, stride=1), 3, 2, 1)
    for index, width in enumerate((8, 12, 16), start=1):
        if index == 3:
            x = net.maxpool("pool2", x, 3, 2, 1)
        branches = [
            net.conv(f"one{index}", x, 2 * width),
            net.conv(f"three{index}", net.conv(f"before_three{index}", x, width), 2 * width, 3),
            net.conv(f"five{index}", net.conv(f"before_five{index}", x, width // 2), width, 5),
            net.conv(f"pooled{index}", net.maxpool(f"maximum{index}", x, 3, 1, 1), width),
        ]
        x = net.concat(f"module{index}", branches)
    return _classified(net, x)


def squeezenet_small() -> Blueprint:
    """Fire modules without batch normalisation; the classifier is a convolution."""
    net = Builder("squeezenet_small", REQUEST, biased=True)
    x = net.maxpool("pool1", net.conv("stem", "input", 24, 3, stride=1), 3, 2, ceil_mode=True)
    for index, width in enumerate((8, 8, 16, 16), start=1):
        squeezed = net.conv(f"squeeze{index}", x, width)
        sides = [net.conv(f"left{index}", squeezed, 3 * width), net.conv(f"right{index}", squeezed, 3 * width, 3)]
        x = net.concat(f"fire{index}", sides)
        if index == 2:
            x = net.maxpool("pool2", x, 3, 2, ceil_mode=True)
    net.global_avgpool("mean", net.conv("classes", x, REQUEST.classes))
    return net.blueprint()


def vgg_small() -> Blueprint:
    """Plain convolutions and maxima, two fully connected layers."""
    net = Builder("vgg_small", REQUEST)
    x = "input"
    for index, channels in enumerate((16, 32, 64), start=1):
        x = net.conv(f"conv{index}", x, channels, 3)
        x = net.maxpool(f"pool{index}", x, 2, 2)
    net.fc("fc2", net.fc("fc1", x, 64, "relu"), REQUEST.classes)
    return net.blueprint()


NETWORKS: tuple[Callable[[], Blueprint], ...] = (
    vgg_small, squeezenet_small, resnet_small, googlenet_small, mobilenet_v1_small, mnasnet_small, resnext_small,
)  # fmt: skip


def _classified(net: Builder, source: str) -> Blueprint:
    net.fc("fc", net.global_avgpool("mean", source), REQUEST.classes)
    return net.blueprint()
