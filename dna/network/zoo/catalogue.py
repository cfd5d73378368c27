"""The zoo's table of contents, with the published figures of each network and where they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dna.errors import UserError
from dna.network.blueprint import Blueprint
from dna.network.zoo import classic, mobile
from dna.network.zoo.builder import Request


@dataclass(frozen=True)
class ZooEntry:
    """A network of the zoo. The published figures are as `source` rounds them; `note` says where our count differs."""

    name: str
    build: Callable[[Request], Blueprint]
    published_macs: str
    published_parameters: str
    source: str
    note: str = ""


_TORCHVISION = "torchvision model weights: _ops and num_params"
_MOBILE_VISION = "mobile-vision's table of FBNet models"

ENTRIES: tuple[ZooEntry, ...] = (
    ZooEntry("alexnet", classic.alexnet, "0.714 G", "61100840", _TORCHVISION),
    ZooEntry("vgg16", classic.vgg16, "15.47 G", "138357544", _TORCHVISION),
    ZooEntry("resnet18", classic.resnet18, "1.814 G", "11689512", _TORCHVISION),
    ZooEntry("resnet50", classic.resnet50, "4.089 G", "25557032", _TORCHVISION),
    ZooEntry("squeezenet1_0", classic.squeezenet1_0, "0.819 G", "1248424", _TORCHVISION),
    ZooEntry("squeezenet1_1", classic.squeezenet1_1, "0.349 G", "1235496", _TORCHVISION),
    ZooEntry("googlenet", classic.googlenet, "1.498 G", "6624904", _TORCHVISION),
    ZooEntry("mobilenet_v1", mobile.mobilenet_v1, "569 M", "4.2 M", "arXiv 1704.04861, table 4"),
    ZooEntry("mobilenet_v2", mobile.mobilenet_v2, "0.301 G", "3504872", _TORCHVISION),
    ZooEntry("mnasnet", mobile.mnasnet, "0.314 G", "4383312", _TORCHVISION),
    ZooEntry(
        "fbnet_a", mobile.fbnet_a, "249.4 M", "4.3 M", _MOBILE_VISION, "the published definition itself has 249.9 M"
    ),
    ZooEntry("fbnet_b", mobile.fbnet_b, "295.6 M", "4.8 M", _MOBILE_VISION),
    ZooEntry("fbnet_c", mobile.fbnet_c, "383.0 M", "5.5 M", _MOBILE_VISION),
    ZooEntry("proxylessnas_mobile", mobile.proxylessnas_mobile, "320 M", "4080512", "arXiv 1812.00332; pytorchcv"),
    ZooEntry(
        "efficientnet_lite0",
        mobile.efficientnet_lite0,
        "407 M",
        "4652008",
        "EfficientNet-lite's table; timm",
        "the published 407 M is no count of multiplications alone: EfficientNet-B0, which has all layers of lite0 and"
        " squeeze-and-excitation besides, has 386 M in torchvision",
    ),  # fmt: skip
)


def names() -> tuple[str, ...]:
    """The networks that `build` knows."""
    return tuple(entry.name for entry in ENTRIES)


def build(name: str, request: Request | None = None) -> Blueprint:
    """A network of the zoo. UserError if there is none of that name or the image is too small for it."""
    for entry in ENTRIES:
        if entry.name == name:
            return entry.build(request or Request())
    raise UserError(f"there is no network '{name}' in the zoo; known: {', '.join(names())}")
