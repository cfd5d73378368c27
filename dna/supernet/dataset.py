"""Image data sets as bytes, the way a camera or a file gives them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from dna.errors import UserError
from dna.supernet.augment import Augmentation


@dataclass(frozen=True, eq=False)
class Images:
    """`bytes_NCHW`: uint8 [frames][channels][height][width]; `labels`: int64 [frames]."""

    bytes_NCHW: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.bytes_NCHW.dtype != torch.uint8 or self.bytes_NCHW.dim() != 4:
            raise UserError("data set: images must be uint8 [frames][channels][height][width]")
        if self.labels.shape != (len(self.bytes_NCHW),) or self.labels.dtype != torch.int64:
            raise UserError("data set: labels must be int64, one per image")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> Images:
        """The chosen frames, in the given order."""
        return Images(self.bytes_NCHW[indices], self.labels[indices])

    @property
    def bytes_NHWC(self) -> Tensor:
        """The images in the order of the integer network: uint8 [frames][height][width][channels]."""
        return self.bytes_NCHW.permute(0, 2, 3, 1).contiguous()


@dataclass(frozen=True, eq=False)
class Dataset:
    """A classification task. Any source of images joins by building this type."""

    name: str
    train: Images
    test: Images
    classes: int
    input_scale: float
    """Real value of one byte step: the network sees `byte * input_scale`."""
    largest_byte: int = 255
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        for part in (self.train, self.test):
            if len(part) and not 0 <= int(part.labels.min()) <= int(part.labels.max()) < self.classes:
                raise UserError(f"data set '{self.name}': labels must be 0 to {self.classes - 1}")
        if self.train.bytes_NCHW.shape[1:] != self.test.bytes_NCHW.shape[1:]:
            raise UserError(f"data set '{self.name}': training and test images differ in size")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        channels, height, width = self.train.bytes_NCHW.shape[1:]
        return height, width, channels

    def halves(self, generator: torch.Generator) -> tuple[Images, Images]:
        """The training images in two random halves: one for the weights, one for the architecture."""
        order = torch.randperm(len(self.train), generator=generator)
        middle = len(order) // 2
        return self.train.subset(order[:middle]), self.train.subset(order[middle:])

    def augmented(self, images: Images, generator: torch.Generator) -> Tensor:
        """Randomly distorted images as float bytes NCHW in channels_last."""
        x = images.bytes_NCHW.float()
        return self.augmentation.apply(x, self.largest_byte, generator).contiguous(memory_format=torch.channels_last)


def as_float_bytes(images: Images) -> Tensor:
    """The images unchanged, as a network takes them: float bytes NCHW in channels_last."""
    return images.bytes_NCHW.float().contiguous(memory_format=torch.channels_last)
