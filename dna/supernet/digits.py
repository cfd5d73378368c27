"""Handwritten digits from scikit-learn: 1 797 real 8 x 8 images, nothing to download."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits as sklearn_digits

from dna.supernet.augment import Augmentation
from dna.supernet.dataset import Dataset, Images

TRAIN_IMAGES = 1437
LARGEST_BYTE = 16


def load_digits() -> Dataset:
    """The first 1 437 images to train, the last 360 to test, in the data set's own order; bytes are 0 to 16.

    The two parts come from different writers, so the test is harder than a random split.
    """
    data = sklearn_digits()
    images = torch.from_numpy(data.images).to(torch.uint8)[:, None]
    labels = torch.from_numpy(data.target).long()
    return Dataset(
        name="digits",
        train=Images(images[:TRAIN_IMAGES], labels[:TRAIN_IMAGES]),
        test=Images(images[TRAIN_IMAGES:], labels[TRAIN_IMAGES:]),
        classes=10,
        input_scale=1 / LARGEST_BYTE,
        largest_byte=LARGEST_BYTE,
        # Other writers slant and bend their strokes otherwise: shear and elastic displacement stand for that.
        augmentation=Augmentation(shift_pixels=0.9, rotate_degrees=12, scale=0.12, shear=0.15, elastic_pixels=0.25),
    )
