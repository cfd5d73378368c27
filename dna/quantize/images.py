"""Calibration images from a folder of pictures or a NumPy file, as the bytes a network takes."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dna.errors import UserError
from dna.network.importer.imported import ImportedNetwork
from dna.network.network import TensorShape

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm")


def load_images(path: Path, shape: TensorShape, limit: int = 512) -> Tensor:
    """At most `limit` images as uint8 (signed networks: int8) [frames][channels][height][width].

    `path` is a folder of pictures, searched with its subfolders: each is brought to the network's size by scaling its
    shorter side and cutting out the middle. More than `limit` are thinned out evenly, in the order of their names. Or
    it is a `.npy` or `.npz` file with whole numbers in [frames][height][width][channels] or channels first; of `.npz`
    the array `images`, or its only one. Raises UserError naming what is missing or does not fit.
    """
    if limit < 1:
        raise UserError(f"calibration images: the limit is {limit}; it must be at least 1")
    if path.is_dir():
        images: NDArray[Any] = _from_folder(path, shape, limit)
    elif path.suffix in (".npy", ".npz"):
        images = _thinned(_channels_first(path, _from_numpy(path), shape), limit)
    else:
        raise UserError(f"calibration images: {path} is neither a folder of pictures nor a .npy or .npz file")
    return torch.from_numpy(np.ascontiguousarray(images))


def load_frames(path: Path, imported: ImportedNetwork, limit: int = 512) -> Tensor:
    """Like `load_images`, as an imported network takes them: with an alpha channel, if its import added one."""
    shape = imported.network.shapes["input"]
    if not imported.input.alpha:
        return load_images(path, shape, limit)
    images = load_images(path, replace(shape, channels=shape.channels - 1), limit)
    frames_NHWC = imported.input.frames(images.permute(0, 2, 3, 1).numpy())
    return torch.from_numpy(np.ascontiguousarray(frames_NHWC.transpose(0, 3, 1, 2)))


def _from_folder(folder: Path, shape: TensorShape, limit: int) -> NDArray[np.uint8]:
    if shape.signed or shape.channels not in (1, 3):
        kind = f"{shape.channels} {'signed' if shape.signed else 'unsigned'} channels"
        raise UserError(f"calibration images: the network takes {kind}, no pictures; give a .npy file")
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise UserError(f"calibration images: {folder} holds no picture ({', '.join(SUFFIXES)})")
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, min(limit, len(files))).round().astype(int)]
    return np.stack([_picture(file, shape) for file in chosen])


def _picture(path: Path, shape: TensorShape) -> NDArray[np.uint8]:
    """One picture, uint8 [channels][height][width]."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise UserError("reading pictures needs the package pillow: pip install pillow") from None
    try:
        with Image.open(path) as picture:
            converted = picture.convert("RGB" if shape.channels == 3 else "L")
            fitted = ImageOps.fit(converted, (shape.width, shape.height), Image.Resampling.BILINEAR)
            pixels: NDArray[np.uint8] = np.asarray(fitted, np.uint8).reshape(shape.height, shape.width, shape.channels)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"calibration images: {path} cannot be read ({error})") from None
    return pixels.transpose(2, 0, 1)


def _from_numpy(path: Path) -> NDArray[np.generic]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            name = "images" if "images" in loaded.files else loaded.files[0] if len(loaded.files) == 1 else None
            if name is None:
                raise UserError(
                    f"calibration images: {path} holds {', '.join(loaded.files)}; name one of them 'images'"
                )
            array: NDArray[np.generic] = loaded[name]
            return array
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"calibration images: {path} cannot be read ({error})") from None


def _channels_first(path: Path, array: NDArray[np.generic], shape: TensorShape) -> NDArray[np.generic]:
    """Whole numbers of the network's type, channels first."""
    last, first = (shape.height, shape.width, shape.channels), (shape.channels, shape.height, shape.width)
    if array.ndim != 4 or not len(array) or array.shape[1:] not in (last, first):
        raise UserError(f"calibration images: {path} is {array.shape}, the network takes (frames, {last})")
    if array.shape[1:] == last:
        array = array.transpose(0, 3, 1, 2)
    wanted = np.int8 if shape.signed else np.uint8
    limits = np.iinfo(wanted)
    whole = np.issubdtype(array.dtype, np.number) and bool((array == np.floor(array)).all())  # type: ignore[call-overload]
    if not whole or array.min() < limits.min or array.max() > limits.max:
        raise UserError(f"calibration images: {path} must hold whole numbers in [{limits.min}, {limits.max}]")
    return array.astype(wanted)


def _thinned(images: NDArray[np.generic], limit: int) -> NDArray[np.generic]:
    return images[np.linspace(0, len(images) - 1, min(limit, len(images))).round().astype(int)]
