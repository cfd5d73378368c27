"""AlexNet, VGG-16, ResNet, SqueezeNet and GoogLeNet."""

from __future__ import annotations

from dna.network.blueprint import Blueprint
from dna.network.zoo.builder import Builder, Request


def alexnet(request: Request) -> Blueprint:
    """The one-tower variant without response normalisation. 6 x 6 positions reach the classifier, or fewer."""
    net = Builder("alexnet", request, biased=True)
    c = request.channels
    x = net.conv("conv1", "input", c(64), 11, stride=4, padding=2)
    x = net.maxpool("pool1", x, 3, 2)
    x = net.conv("conv2", x, c(192), 5)
    x = net.maxpool("pool2", x, 3, 2)
    for index, channels in enumerate((384, 256, 256), start=3):
        x = net.conv(f"conv{index}", x, c(channels), 3)
    x = net.maxpool("pool5", x, 3, 2)
    return _two_hidden(net, net.shrink("avgpool", x, 6))


def vgg16(request: Request) -> Blueprint:
    """Thirteen convolutions in five stages. 7 x 7 positions reach the classifier, or fewer."""
    net, x = Builder("vgg16", request, biased=True), "input"
    for stage, (channels, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for index in range(1, count + 1):
            x = net.conv(f"conv{stage}_{index}", x, request.channels(channels), 3)
        x = net.maxpool(f"pool{stage}", x, 2, 2)
    return _two_hidden(net, net.shrink("avgpool", x, 7))


def _two_hidden(net: Builder, x: str) -> Blueprint:
    for name in ("fc6", "fc7"):
        x = net.fc(name, x, net.request.channels(4096), "relu")
    net.fc("fc8", x, net.request.classes)
    return net.blueprint()


def resnet18(request: Request) -> Blueprint:
    net, x = _resnet_stem("resnet18", request)
    for stage, blocks in enumerate((2, 2, 2, 2)):
        for block in range(blocks):
            x = _basic_block(net, f"stage{stage + 1}_{block}", x, request.channels(64 << stage), _stride(stage, block))
    return _pool_and_classify(net, x)


def resnet50(request: Request) -> Blueprint:
    """The variant with the stride in the 3 x 3 convolution."""
    net, x = _resnet_stem("resnet50", request)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            x = _bottleneck(net, f"stage{stage + 1}_{block}", x, 64 << stage, _stride(stage, block))
    return _pool_and_classify(net, x)


def _resnet_stem(name: str, request: Request) -> tuple[Builder, str]:
    net = Builder(name, request)
    return net, net.maxpool("pool1", net.conv("conv1", "input", request.channels(64), 7, stride=2), 3, 2, padding=1)


def _stride(stage: int, block: int) -> int:
    return 2 if stage and not block else 1


def _shortcut(net: Builder, name: str, x: str, channels: int, stride: int) -> str:
    if net.shape(x).channels == channels and stride == 1:
        return x
    return net.conv(f"{name}_shortcut", x, channels, 1, stride=stride, activation="linear")


def _basic_block(net: Builder, name: str, x: str, channels: int, stride: int) -> str:
    shortcut = _shortcut(net, name, x, channels, stride)
    inner = net.conv(f"{name}_conv1", x, channels, 3, stride=stride)
    return net.conv(f"{name}_conv2", inner, channels, 3, residual=shortcut)


def _bottleneck(net: Builder, name: str, x: str, channels: int, stride: int) -> str:
    narrow, wide = net.request.channels(channels), net.request.channels(4 * channels)
    shortcut = _shortcut(net, name, x, wide, stride)
    inner = net.conv(f"{name}_conv1", x, narrow)
    inner = net.conv(f"{name}_conv2", inner, narrow, 3, stride=stride)
    return net.conv(f"{name}_conv3", inner, wide, residual=shortcut)


def _pool_and_classify(net: Builder, x: str) -> Blueprint:
    net.fc("fc", net.global_avgpool("avgpool", x), net.request.classes)
    return net.blueprint()


def squeezenet1_0(request: Request) -> Blueprint:
    return _squeezenet("squeezenet1_0", request, stem=(96, 7), pool_after=(3, 7))


def squeezenet1_1(request: Request) -> Blueprint:
    return _squeezenet("squeezenet1_1", request, stem=(64, 3), pool_after=(2, 4))


def _squeezenet(name: str, request: Request, stem: tuple[int, int], pool_after: tuple[int, int]) -> Blueprint:
    """Fire modules count from 1; the convolution that classifies comes before the global pooling."""
    net, c = Builder(name, request, biased=True), request.channels
    x = net.conv("conv1", "input", c(stem[0]), stem[1], stride=2, padding=0)
    x = net.maxpool("pool1", x, 3, 2, ceil_mode=True)
    squeezed = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
    for index, (squeeze, expand) in enumerate(squeezed, start=1):
        fire = f"fire{index + 1}"
        inner = net.conv(f"{fire}_squeeze", x, c(squeeze))
        parts = [net.conv(f"{fire}_expand{k}", inner, c(expand), k) for k in (1, 3)]
        x = net.concat(fire, parts)
        if index in pool_after:
            x = net.maxpool(f"pool{index + 1}", x, 3, 2, ceil_mode=True)
    net.global_avgpool("avgpool", net.conv("conv10", x, request.classes))
    return net.blueprint()


def googlenet(request: Request) -> Blueprint:
    """The variant with batch normalisation and 3 x 3 in place of 5 x 5 convolutions, without auxiliary classifiers."""
    net, c = Builder("googlenet", request), request.channels
    x = net.conv("conv1", "input", c(64), 7, stride=2)
    x = net.maxpool("pool1", x, 3, 2, ceil_mode=True)
    x = net.conv("conv2", x, c(64))
    x = net.conv("conv3", x, c(192), 3)
    x = net.maxpool("pool2", x, 3, 2, ceil_mode=True)
    for name, *channels in _INCEPTIONS:
        x = _inception(net, f"inception{name}", x, [c(count) for count in channels])
        if name in ("3b", "4e"):
            x = net.maxpool(f"pool{name[0]}", x, 3 if name == "3b" else 2, 2, ceil_mode=True)
    return _pool_and_classify(net, x)


_INCEPTIONS = (
    ("3a", 64, 96, 128, 16, 32, 32),
    ("3b", 128, 128, 192, 32, 96, 64),
    ("4a", 192, 96, 208, 16, 48, 64),
    ("4b", 160, 112, 224, 24, 64, 64),
    ("4c", 128, 128, 256, 24, 64, 64),
    ("4d", 112, 144, 288, 32, 64, 64),
    ("4e", 256, 160, 320, 32, 128, 128),
    ("5a", 256, 160, 320, 32, 128, 128),
    ("5b", 384, 192, 384, 48, 128, 128),
)
"""Name; channels of the 1 x 1 branch, of the second (reduced, out), of the third (reduced, out), of the pool branch."""


def _inception(net: Builder, name: str, x: str, channels: list[int]) -> str:
    one, reduce2, out2, reduce3, out3, pooled = channels
    parts = [
        net.conv(f"{name}_b1", x, one),
        net.conv(f"{name}_b2", net.conv(f"{name}_b2_reduce", x, reduce2), out2, 3),
        net.conv(f"{name}_b3", net.conv(f"{name}_b3_reduce", x, reduce3), out3, 3),
        net.conv(f"{name}_b4", net.maxpool(f"{name}_b4_pool", x, 3, 1, padding=1), pooled),
    ]
    return net.concat(name, parts)
