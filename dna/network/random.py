"""Random small networks: legal by construction, meant to reach every corner of the layer set in tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from dna.network.layer import MAX_KERNEL, MAX_STRIDE, OPS, Layer, Op
from dna.network.network import Network, TensorShape, concat_layer

_TRIES = 60
_SHARES: dict[Op, float] = {"conv": 4, "depthwise": 2, "fc": 0.6, "maxpool": 1, "avgpool": 1, "add": 0.8, "concat": 2}
RANDOM_OPS: tuple[Op, ...] = tuple(op for op in OPS if op != "concat")
"""Operators that random networks draw from unless they are to hold everything."""
_PARTS = 4
"""Most parts of a concat."""


@dataclass(frozen=True)
class RandomLimits:
    """What `random_network` stays within. `macs` bounds one frame's window reads, those of pooling included."""

    layers: int = 8
    channels: int = 70
    size: int = 20
    macs: int = 300_000
    everything: bool = False
    """Whether grouped convolutions, concats, and means that leave padding out are drawn as well."""


def random_network(
    rng: Generator, limits: RandomLimits | None = None, ops: Sequence[Op] | None = None, name: str = "random"
) -> Network:
    """A network of 1 to `limits.layers` layers drawn from `ops`: mostly a chain, with branches and residuals.

    Without `ops`, from all that the limits allow.
    """
    limits = limits or RandomLimits()
    ops = ops or (OPS if limits.everything else RANDOM_OPS)
    count = int(rng.integers(1, limits.layers + 1))
    shapes = {"input": _random_input(rng, limits)}
    layers: list[Layer] = []
    for index in range(count):
        layer = _draw_layer(rng, limits, limits.macs // count, f"layer{index}", shapes, ops)
        layers.append(layer)
        shapes[layer.name] = TensorShape(layer.out_height, layer.out_width, layer.out_channels, layer.out_signed)
    return Network(name, tuple(layers))


def _random_input(rng: Generator, limits: RandomLimits) -> TensorShape:
    height, width = (int(n) for n in rng.integers(1, limits.size + 1, 2))
    channels = min(_random_channels(rng, limits), max(1, limits.macs // (limits.layers * height * width)))
    return TensorShape(height, width, channels, bool(rng.integers(2)))


def _random_channels(rng: Generator, limits: RandomLimits) -> int:
    """Often few, often next to a multiple of 16, always within the limit."""
    kind = rng.integers(3)
    if kind == 0:
        count = int(rng.integers(1, 9))
    elif kind == 1:
        count = 16 * int(rng.integers(1, 5)) + int(rng.integers(-1, 2))
    else:
        count = int(rng.integers(1, limits.channels + 1))
    return max(1, min(count, limits.channels))


def _draw_layer(
    rng: Generator, limits: RandomLimits, budget: int, name: str, shapes: dict[str, TensorShape], ops: Sequence[Op]
) -> Layer:
    """One layer within the budget; the cheapest legal one if many draws were too large."""
    for _ in range(_TRIES):
        op = _pick_op(rng, ops)
        layer = _candidate(rng, limits, name, op, _pick_source(rng, shapes), shapes)
        if layer is not None and op in ("conv", "fc") and layer.residual is None:
            fitting = budget // max(1, layer.macs // layer.out_channels) // layer.groups * layer.groups
            layer = replace(layer, out_channels=min(layer.out_channels, max(layer.groups, fitting)))
        if layer is not None and _window_reads(layer) <= budget:
            return layer
    source = next(reversed(shapes))
    shape = shapes[source]
    fallback: Op = "maxpool" if "add" not in ops else "add"
    return _finished(rng, name, fallback, source, shapes, shape.channels, (1, 1), (1, 1), (0, 0, 0, 0))


def _window_reads(layer: Layer) -> int:
    """Multiplies, or for pooling and add the elements that are read."""
    return layer.macs or layer.out_height * layer.out_width * layer.out_channels * layer.kernel[0] * layer.kernel[1]


def _pick_op(rng: Generator, ops: Sequence[Op]) -> Op:
    """Convolutions are the most frequent; fc is rare, for little follows it."""
    share = np.array([_SHARES[op] for op in ops])
    return ops[int(rng.choice(len(ops), p=share / share.sum()))]


def _pick_source(rng: Generator, shapes: dict[str, TensorShape]) -> str:
    names = list(shapes)
    return names[-1] if rng.random() < 0.85 else names[int(rng.integers(len(names)))]


def _candidate(
    rng: Generator, limits: RandomLimits, name: str, op: Op, source: str, shapes: dict[str, TensorShape]
) -> Layer | None:
    """A layer of the given operator, None if the drawn window does not fit the input."""
    if op == "concat":
        return _concat(rng, limits, name, source, shapes)
    shape = shapes[source]
    channels = _random_channels(rng, limits) if op in ("conv", "fc") else shape.channels
    kernel, stride, padding = (1, 1), (1, 1), (0, 0, 0, 0)
    if op == "fc" or (op == "avgpool" and rng.random() < 0.15):
        kernel = (shape.height, shape.width)
    elif op != "add" and rng.random() < 0.4:
        kernel, padding = _same_window(rng)
        channels = _known_channels(rng, shapes) if op == "conv" else channels
    elif op != "add":
        kernel, stride, padding = _random_kernel(rng), _random_stride(rng), (0, 0, 0, 0)
        padding = _random_padding(rng, kernel)
        if shape.height + padding[0] + padding[2] < kernel[0] or shape.width + padding[1] + padding[3] < kernel[1]:
            return None
    groups = _random_groups(rng, shape.channels) if op == "conv" and limits.everything else 1
    channels = min(-(-channels // groups) * groups, limits.channels // groups * groups)
    layer = _finished(rng, name, op, source, shapes, channels, kernel, stride, padding, groups)
    if op == "avgpool" and limits.everything and rng.random() < 0.5:
        layer = replace(layer, count_padding=False)
    return layer


def _concat(
    rng: Generator, limits: RandomLimits, name: str, source: str, shapes: dict[str, TensorShape]
) -> Layer | None:
    """The source and other tensors of its size and sign, now and then one of them twice; None if they are too many."""
    shape = shapes[source]
    size = (shape.height, shape.width, shape.signed)
    fitting = [n for n, s in shapes.items() if (s.height, s.width, s.signed) == size]
    if len(shapes) < 2:  # a network does not begin with a concat
        return None
    if len(fitting) < 2 and rng.random() < 0.8:
        return None
    count = int(rng.integers(2, _PARTS + 1))
    repeat = len(fitting) < 2 or rng.random() < 0.1
    picked = [fitting[int(i)] for i in rng.choice(len(fitting), count if repeat else min(count, len(fitting)), repeat)]
    parts = picked if source in picked else [source, *picked[1:]]
    layer = concat_layer(name, parts, shapes)
    return layer if layer.out_channels <= limits.channels else None


def _random_groups(rng: Generator, channels: int) -> int:
    """1 more often than not, else a divisor of the input channels, which may be all of them."""
    if rng.random() < 0.6:
        return 1
    divisors = [n for n in range(1, channels + 1) if channels % n == 0]
    return divisors[int(rng.integers(len(divisors)))]


def _same_window(rng: Generator) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """An odd kernel that keeps the size: residuals need such layers."""
    k = 2 * int(rng.integers(0, MAX_KERNEL // 2 + 1)) + 1 if rng.random() < 0.3 else int(rng.choice([1, 3, 5]))
    return (k, k), (k // 2, k // 2, k // 2, k // 2)


def _known_channels(rng: Generator, shapes: dict[str, TensorShape]) -> int:
    known = [shape.channels for shape in shapes.values()]
    return known[int(rng.integers(len(known)))]


def _random_kernel(rng: Generator) -> tuple[int, int]:
    def side() -> int:
        return int(rng.choice([1, 2, 3, 5, 7])) if rng.random() < 0.6 else int(rng.integers(1, MAX_KERNEL + 1))

    k = side()
    return (k, k) if rng.random() < 0.6 else (k, side())


def _random_stride(rng: Generator) -> tuple[int, int]:
    s = int(rng.integers(1, MAX_STRIDE + 1))
    return (s, s) if rng.random() < 0.6 else (s, int(rng.integers(1, MAX_STRIDE + 1)))


def _random_padding(rng: Generator, kernel: tuple[int, int]) -> tuple[int, int, int, int]:
    kind = rng.integers(4)
    if kind == 0:
        return 0, 0, 0, 0
    if kind == 1:
        vertical, horizontal = (kernel[0] - 1) // 2, (kernel[1] - 1) // 2
        return vertical, horizontal, vertical, horizontal
    top, bottom = (int(n) for n in rng.integers(0, kernel[0], 2))
    left, right = (int(n) for n in rng.integers(0, kernel[1], 2))
    return top, left, bottom, right


def _random_clip(rng: Generator, signed: bool) -> tuple[int, int]:
    """Whole range, ReLU, ReLU6-like, or any bounds around 0."""
    low, high = (-128, 127) if signed else (0, 255)
    kind = rng.integers(4)
    if kind == 0:
        return low, high
    if kind == 1:
        return 0, high
    if kind == 2:
        return 0, int(rng.integers(1, high + 1))
    return int(rng.integers(low, 1)), int(rng.integers(1, high + 1))


def _finished(
    rng: Generator,
    name: str,
    op: Op,
    source: str,
    shapes: dict[str, TensorShape],
    channels: int,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    groups: int = 1,
) -> Layer:
    """The layer with signedness, clip, pad value and, where a tensor of its shape exists, perhaps a residual."""
    shape = shapes[source]
    height = (shape.height + padding[0] + padding[2] - kernel[0]) // stride[0] + 1
    width = (shape.width + padding[1] + padding[3] - kernel[1]) // stride[1] + 1
    signed = bool(rng.integers(2))
    lo, hi = _random_clip(rng, signed)
    same = [n for n, s in shapes.items() if (s.height, s.width, s.channels) == (height, width, channels)]
    use_residual = bool(same) and (op == "add" or rng.random() < 0.6)
    residual = same[int(rng.integers(len(same)))] if use_residual else None
    return Layer(
        name=name,
        op=op,
        input=source,
        in_channels=shape.channels,
        in_height=shape.height,
        in_width=shape.width,
        out_channels=channels,
        kernel=kernel,
        stride=stride,
        padding=padding,
        pad_value=-128 if op == "maxpool" and shape.signed else 0,
        in_signed=shape.signed,
        out_signed=signed,
        lo=lo,
        hi=hi,
        residual=residual,
        residual_signed=shapes[residual].signed if residual is not None else True,
        groups=groups,
    )


def random_input(network: Network, rng: Generator) -> np.ndarray:
    """One frame for the network, int64 [height][width][channels], both ends of the byte's range present often."""
    shape = network.shapes["input"]
    low, high = (-128, 127) if shape.signed else (0, 255)
    return rng.integers(low, high + 1, (shape.height, shape.width, shape.channels))
