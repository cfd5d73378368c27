"""CIFAR-10 from its official Python archive, unpacked: the folder `cifar-10-batches-py`."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dna.errors import UserError
from dna.supernet.augment import Augmentation
from dna.supernet.dataset import Dataset, Images

FOLDER = "cifar-10-batches-py"
_TRAIN_FILES = tuple(f"data_batch_{i}" for i in range(1, 6))
_TEST_FILE = "test_batch"
_ALLOWED = frozenset(
    {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }
)


class _ArrayUnpickler(pickle.Unpickler):
    """Reads arrays and plain containers only: a data file must not be able to run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not an array")
        return super().find_class(module, name)


def load_cifar10(folder: Path) -> Dataset:
    """50 000 training and 10 000 test images of 32 x 32 x 3.

    `folder` is `cifar-10-batches-py` or holds it. Raises UserError that names a missing or unreadable file.
    """
    root = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    batches = [_load_batch(root / name) for name in _TRAIN_FILES]
    train = Images(torch.cat([b.bytes_NCHW for b in batches]), torch.cat([b.labels for b in batches]))
    return Dataset(
        name="cifar10",
        train=train,
        test=_load_batch(root / _TEST_FILE),
        classes=10,
        input_scale=1 / 64,
        augmentation=Augmentation(shift_pixels=4, flip=True),
    )


def _load_batch(path: Path) -> Images:
    try:
        entry = _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        data, labels = entry[b"data"], entry[b"labels"]
    except FileNotFoundError:
        raise UserError(f"CIFAR-10: {path} is missing; unpack cifar-10-python.tar.gz and give its folder") from None
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, OSError) as error:
        raise UserError(f"CIFAR-10: {path} is not a CIFAR-10 batch ({error})") from None
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != (len(labels), 3 * 32 * 32):
        raise UserError(f"CIFAR-10: {path} does not hold rows of 3072 bytes, one per label")
    return Images(torch.from_numpy(data.reshape(-1, 3, 32, 32).copy()), torch.tensor(labels, dtype=torch.int64))
