"""A network that the user brings: a zoo name or a model file, read, checked and quantised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from dna.errors import UserError
from dna.network import zoo
from dna.network.blueprint import Blueprint
from dna.network.fold import fold_factors, fold_image, fold_input
from dna.network.importer import ImportedNetwork, load_network
from dna.network.layer import Layer
from dna.network.network import Network, Weights
from dna.quantize.float_network import FloatNetwork
from dna.quantize.images import load_frames, load_images
from dna.quantize.imported import float_model, given_integers
from dna.quantize.ptq import QuantiseOptions, quantise
from dna.quantize.untrained import random_images, untrained
from dna.search.one_chunk import check_runnable

RANDOM_IMAGES = 2
UNTRAINED = QuantiseOptions(equalise=False, correct_bias=False)
"""Random weights have no accuracy to save: what serves nothing else is left out."""
AGREEMENT_IMAGES = 64
"""On so many of the calibration images the classes of float and integers are compared."""
DEFAULT_SIZE, DEFAULT_WIDTH, DEFAULT_CLASSES = (224, 224), 1.0, 1000


@dataclass(frozen=True)
class Source:
    """Which network is meant, and the images it is calibrated with, as given on the command line."""

    network: str
    """A name of the zoo, or an ONNX file."""
    calibrate: str | None = None
    """A folder of pictures, or a .npy or .npz file."""
    input_size: tuple[int, ...] | None = None
    """Height and width; of a model that leaves it open, also the channels in front."""
    width: float | None = None
    classes: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    seed: int = 0
    fold: int = 1
    """Squares of so many pixels a side become channels of the input (`dna.network.fold`); 1: as it is."""

    def __post_init__(self) -> None:
        size = self.input_size
        if size is not None and (len(size) not in (2, 3) or min(size) < 1):
            raise UserError(f"input size {'x'.join(map(str, size))}: give HEIGHTxWIDTH, or CHANNELSxHEIGHTxWIDTH")
        for name in ("width", "classes") if not self.from_zoo else ("mean", "std"):
            if getattr(self, name) is not None:
                where = "a network of the zoo" if not self.from_zoo else "a model file"
                raise UserError(f"--{name} is for {where}; '{self.network}' is none")
        if self.width is not None and not (math.isfinite(self.width) and 0 < self.width <= 16):
            raise UserError(f"width is {self.width}; it must be above 0 and at most 16")

    @property
    def from_zoo(self) -> bool:
        return self.network in zoo.names()


@dataclass(frozen=True, eq=False)
class Loaded:
    """A network that was read, and images [frames][channels][height][width] as it takes them; None: not needed."""

    blueprint: Blueprint
    imported: ImportedNetwork | None
    images_NCHW: Tensor | None
    notices: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Integers:
    """The quantised network: its integers, the real value of one step of each tensor, and what there is to say."""

    network: Network
    weights: Weights
    scales: Mapping[str, float]
    notices: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)


def load(source: Source) -> Loaded:
    """Reads the network and its images. UserError, one line, for whatever is wrong with either.

    That includes a network that no accelerator can run: it is refused before anything large is made of it.
    """
    loaded = _from_zoo(source) if source.from_zoo else _from_file(source)
    network, possible = loaded.blueprint.network, fold_factors(loaded.blueprint.network)
    if source.fold != 1 and source.fold not in possible:
        known = ", ".join(map(str, possible)) or "none, for a strided convolution alone must read it"
        raise UserError(f"--fold {source.fold}: the input of '{network.name}' cannot be folded so; possible: {known}")
    if source.fold == 1 and possible:
        hint = f"its input can be folded, for fewer words to read: --fold {possible[-1]}"
        loaded = replace(loaded, notices=(*loaded.notices, hint))
    return loaded


def to_integers(loaded: Loaded, seed: int, fold: int = 1) -> Integers:
    """Quantises, by the model's own scales if it brings them, otherwise from the images; then folds the input.

    `metrics.fold` says what the drivers need to fold an image alike.
    """
    integers = _quantised(loaded, seed)
    if fold == 1:
        return integers
    network, weights = fold_input(integers.network, integers.weights, fold)
    first = first_layer(integers.network)
    size = {"height": first.in_height, "width": first.in_width, "channels": first.in_channels}
    facts = {"factor": fold, **size, "pad_value": first.pad_value}
    return replace(integers, network=network, weights=weights, metrics={**integers.metrics, "fold": facts})


def first_layer(network: Network) -> Layer:
    """The layer that reads the input, of a network whose input can be folded."""
    return next(layer for layer in network.layers if layer.input == "input")


def frame_of(loaded: Loaded, fold: int) -> NDArray[Any]:
    """The first image as the accelerator takes it, [H][W][C]."""
    assert loaded.images_NCHW is not None
    image_HWC: NDArray[Any] = loaded.images_NCHW[0].permute(1, 2, 0).numpy()
    return image_HWC if fold == 1 else fold_image(image_HWC, first_layer(loaded.blueprint.network), fold)


def _quantised(loaded: Loaded, seed: int) -> Integers:
    imported = loaded.imported
    if imported is not None and _brings_scales(imported):
        missing = _missing_scales(imported, loaded.images_NCHW)
        network, weights = given_integers(imported, missing)
        scales = {"input": imported.input.scale, **{name: scale.scale for name, scale in imported.scales.items()}}
        return Integers(network, weights, {**scales, **missing}, loaded.notices)
    images = loaded.images_NCHW
    assert images is not None  # `load` sees to it
    generator = torch.Generator().manual_seed(seed)
    model = float_model(imported) if imported else untrained(loaded.blueprint, images, generator)
    done = quantise(model, images, None if imported else UNTRAINED)
    metrics = {} if imported is None else {"agreement": _agreement(model, done.model, images[:AGREEMENT_IMAGES])}
    return Integers(done.network, done.weights, done.scales, loaded.notices, metrics)


def _from_zoo(source: Source) -> Loaded:
    height, width = _image_size(source)
    request = zoo.Request((height, width, 3), source.width or DEFAULT_WIDTH, source.classes or DEFAULT_CLASSES)
    blueprint = zoo.build(source.network, request)
    check_runnable(blueprint.network)
    shape = blueprint.network.shapes["input"]
    notices = ["weights are random: cycles and hardware are those of the trained network, its answers are not"]
    if source.calibrate is None:
        images = random_images(shape, RANDOM_IMAGES, torch.Generator().manual_seed(source.seed))
        notices.append(f"calibrated with {RANDOM_IMAGES} random images: --calibrate was not given")
    else:
        images = load_images(Path(source.calibrate), shape)
        notices.append(f"calibrated with {len(images)} images of {source.calibrate}")
    return Loaded(blueprint, None, images, tuple(notices))


def _image_size(source: Source) -> tuple[int, int]:
    size = source.input_size or DEFAULT_SIZE
    if len(size) == 3 and size[0] != 3:
        raise UserError(f"input size: networks of the zoo take 3 channels, not {size[0]}")
    return size[-2], size[-1]


def _from_file(source: Source) -> Loaded:
    path = Path(source.network)
    if not path.suffix and not path.exists():
        raise UserError(
            f"network '{source.network}': neither a file nor a network of the zoo; known: {', '.join(zoo.names())}"
        )
    imported = _imported(source, path)
    check_runnable(imported.network)
    notices = list(imported.notices)
    if _brings_scales(imported):
        notices.append("quantised with the scales that the model brings")
        if imported.unscaled and source.calibrate is None:
            names = ", ".join(imported.unscaled)
            raise UserError(f"{path}: the model gives no scale for {names}; give images with --calibrate to find it")
    elif source.calibrate is None:
        raise UserError(f"{path}: images are needed to quantise it; give a folder or .npy file with --calibrate")
    images = None
    if source.calibrate is not None:
        images = load_frames(Path(source.calibrate), imported)
        notices.append(f"calibrated with {len(images)} images of {source.calibrate}")
    return Loaded(imported.blueprint, imported, images, tuple(notices))


def _imported(source: Source, path: Path) -> ImportedNetwork:
    """The file as a network; a model with scales for some weights only is calibrated like one without any."""
    size = source.input_size
    shape = None if size is None else size if len(size) == 3 else (3, *size)
    try:
        imported = load_network(path, input_shape=shape, mean=source.mean, std=source.std)
        if imported.scales and not _brings_scales(imported):
            imported = load_network(path, input_shape=shape, mean=source.mean, std=source.std, given_scales=False)
    except UserError as error:
        raise UserError(str(error).replace("give it as input_shape", "give it with --input-size")) from None
    return imported


def _brings_scales(imported: ImportedNetwork) -> bool:
    weighted = [layer.name for layer in imported.network.layers if layer.has_weights]
    return bool(imported.scales) and all(name in imported.weight_scales for name in weighted)


@torch.no_grad()
def _missing_scales(imported: ImportedNetwork, images_NCHW: Tensor | None) -> dict[str, float]:
    """Scales of the tensors for which the model gives none: their largest magnitude over the images."""
    if not imported.unscaled:
        return {}
    assert images_NCHW is not None  # `load` sees to it
    largest = dict.fromkeys(imported.unscaled, 1e-6)
    model = float_model(imported)
    for batch in images_NCHW.split(16):
        tensors = model.tensors(batch.float())
        for name in largest:
            largest[name] = max(largest[name], float(tensors[name].abs().max()))
    return {name: value / (127 if imported.network.layer(name).out_signed else 255) for name, value in largest.items()}


@torch.no_grad()
def _agreement(model: FloatNetwork, twin: torch.nn.Module, images_NCHW: Tensor) -> dict[str, int]:
    """On how many of the images both name the same class."""
    same = 0
    for batch in images_NCHW.split(16):
        same += int((model(batch.float()).argmax(1) == twin(batch.float()).argmax(1)).sum())
    return {"images": len(images_NCHW), "same class": same}
