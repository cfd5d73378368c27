"""Data sets: the digits as they come, CIFAR-10 from its official file format, distortions."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits as sklearn_digits

from dna.errors import UserError
from dna.supernet.augment import Augmentation
from dna.supernet.cifar10 import FOLDER, load_cifar10
from dna.supernet.dataset import Dataset, Images
from dna.supernet.digits import load_digits


def test_digits_keep_their_order_and_bytes() -> None:
    data, source = load_digits(), sklearn_digits()
    assert (len(data.train), len(data.test)) == (1437, 360)
    assert data.image_shape == (8, 8, 1) and data.classes == 10
    together = torch.cat([data.train.bytes_NHWC, data.test.bytes_NHWC])[..., 0].numpy()
    assert np.array_equal(together, source.images)
    assert np.array_equal(torch.cat([data.train.labels, data.test.labels]).numpy(), source.target)
    assert int(data.train.bytes_NCHW.max()) == data.largest_byte == 16


def test_halves_share_nothing_and_cover_all() -> None:
    count = 11
    images = Images(torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1), torch.zeros(count, dtype=torch.int64))
    data = Dataset("n", images, images, 1, 1.0)
    one, other = data.halves(torch.Generator().manual_seed(0))
    assert (len(one), len(other)) == (5, 6)
    assert sorted(torch.cat([one.bytes_NCHW, other.bytes_NCHW]).flatten().tolist()) == list(range(count))
    again, _ = data.halves(torch.Generator().manual_seed(0))
    assert torch.equal(one.bytes_NCHW, again.bytes_NCHW)


def test_wrong_data_is_refused() -> None:
    images = Images(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 3]))
    with pytest.raises(UserError, match="data set 'n': labels must be 0 to 2"):
        Dataset("n", images, images, 3, 1.0)
    with pytest.raises(UserError, match="must be uint8"):
        Images(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]))
    with pytest.raises(UserError, match="one per image"):
        Images(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0]))


def write_batch(path: Path, data: np.ndarray, labels: list[int]) -> None:
    """As the official archive has it: protocol 2, keys of bytes."""
    path.write_bytes(pickle.dumps({b"batch_label": b"x", b"data": data, b"labels": labels}, protocol=2))


@pytest.fixture
def cifar_folder(tmp_path: Path) -> Path:
    folder = tmp_path / FOLDER
    folder.mkdir()
    for index, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        pixels = np.zeros((2, 3072), np.uint8)
        pixels[1, 1024 + 32 + 2] = 100 + index  # green, second row, third column
        write_batch(folder / name, pixels, [index, 9])
    return tmp_path


def test_cifar_format(cifar_folder: Path) -> None:
    data = load_cifar10(cifar_folder)
    assert data.train.bytes_NCHW.shape == (10, 3, 32, 32) and data.test.bytes_NCHW.shape == (2, 3, 32, 32)
    assert data.train.labels.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9] and data.test.labels.tolist() == [5, 9]
    assert data.train.bytes_NCHW[9, 1, 1, 2] == 104 and int(data.train.bytes_NCHW[9].sum()) == 104
    assert torch.equal(load_cifar10(cifar_folder / FOLDER).train.labels, data.train.labels)


def test_cifar_mistakes_are_named(cifar_folder: Path) -> None:
    batch = cifar_folder / FOLDER / "data_batch_3"
    write_batch(batch, np.zeros((2, 100), np.uint8), [0, 1])
    with pytest.raises(UserError, match="data_batch_3 does not hold rows of 3072 bytes"):
        load_cifar10(cifar_folder)
    batch.write_bytes(b"text")
    with pytest.raises(UserError, match="data_batch_3 is not a CIFAR-10 batch"):
        load_cifar10(cifar_folder)
    batch.unlink()
    with pytest.raises(UserError, match=r"data_batch_3 is missing; unpack cifar-10-python.tar.gz"):
        load_cifar10(cifar_folder)


class Payload:
    def __reduce__(self) -> tuple:
        return os.system, ("exit 0",)


def test_a_data_file_cannot_run_code(cifar_folder: Path) -> None:
    (cifar_folder / FOLDER / "data_batch_1").write_bytes(pickle.dumps({b"data": Payload()}, protocol=2))
    with pytest.raises(UserError, match="which is not an array"):
        load_cifar10(cifar_folder)


@pytest.mark.skipif("CIFAR10" not in os.environ, reason="set CIFAR10 to the folder of the unpacked archive")
def test_real_cifar() -> None:
    data = load_cifar10(Path(os.environ["CIFAR10"]))
    assert len(data.train) == 50_000 and len(data.test) == 10_000
    assert torch.bincount(data.test.labels).tolist() == [1000] * 10


def one_dot() -> torch.Tensor:
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 1] = 16
    return x


def test_no_augmentation_changes_nothing() -> None:
    x = torch.randint(0, 17, (4, 1, 5, 5)).float()
    assert torch.equal(Augmentation().apply(x, 16, torch.Generator()), x)


def test_flip_mirrors_about_half() -> None:
    y = Augmentation(flip=True).apply(one_dot().expand(400, 1, 5, 5), 16, torch.Generator().manual_seed(0))
    mirrored = y[:, 0, 2, 3] == 16
    assert torch.equal(mirrored, y[:, 0, 2, 1] == 0) and 150 < int(mirrored.sum()) < 250


def test_shift_moves_by_at_most_its_range() -> None:
    y = Augmentation(shift_pixels=1.0).apply(one_dot().expand(500, 1, 5, 5), 16, torch.Generator().manual_seed(0))
    assert torch.equal(y, y.round()) and y.min() >= 0 and y.max() <= 16
    reached = y.amax(0)[0] > 0
    assert reached[1:4, 0:3].all() and int(reached.sum()) == 9
    assert abs(float(y.sum((1, 2, 3)).mean()) - 16) < 1


def test_rotation_and_scale_keep_the_centre() -> None:
    x = torch.zeros(50, 1, 5, 5)
    x[:, 0, 2, 2] = 16
    y = Augmentation(rotate_degrees=45, scale=0.1).apply(x, 16, torch.Generator().manual_seed(0))
    assert (y[:, 0, 2, 2] >= 12).all()


def test_same_generator_same_distortion() -> None:
    every = Augmentation(0.5, 10, 0.1, 0.1, 0.3, True)
    x = torch.randint(0, 17, (20, 1, 8, 8)).float()
    one, other = (every.apply(x, 16, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other) and not torch.equal(one, x)
