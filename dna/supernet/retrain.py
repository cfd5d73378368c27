"""Training a derived network to its end: in float first, then with the integer arithmetic in the loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dna.network.network import Network, Weights
from dna.quantize.fake import QuantisedNetwork
from dna.quantize.float_network import FloatNetwork
from dna.quantize.reference import run_batch
from dna.supernet.checkpoint import Stateful, load_checkpoint, save_checkpoint
from dna.supernet.dataset import Dataset, Images, as_float_bytes
from dna.supernet.training import batches


@dataclass(frozen=True)
class Progress:
    """One finished epoch of one stage."""

    stage: str
    """`float` or `int8`."""
    epoch: int
    epochs: int
    loss: float


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True)
class TrainSettings:
    """How a derived network is trained; the defaults suit small images."""

    float_epochs: int = 60
    int8_epochs: int = 4
    batch_size: int = 32
    learning_rate: float = 6e-3
    int8_learning_rate: float = 3e-4
    weight_decay: float = 2e-2
    label_smoothing: float = 0.05
    average: float = 0.99
    """Decay per step of the running average of the weights that is kept in the end."""
    calibration_frames: int = 1024
    checkpoint_epochs: int = 10


@dataclass(frozen=True, eq=False)
class Trained:
    """The float network and its fake-quantised twin, both ready to be evaluated."""

    float_model: FloatNetwork
    quantised: QuantisedNetwork


def train_qat(
    model: FloatNetwork,
    data: Dataset,
    seed: int,
    settings: TrainSettings | None = None,
    progress: ProgressCallback | None = None,
    checkpoint: Path | None = None,
) -> Trained:
    """Trains the model on all training images, then its fake-quantised twin; `model` itself is changed.

    Same seed and thread count, same result. With `checkpoint`, the loop saves itself there now and then, and goes
    on from there if the file exists.
    """
    settings = settings or TrainSettings()
    generator = torch.Generator().manual_seed(seed)
    stage = _Stage("float", model, data, settings, settings.float_epochs, settings.learning_rate, generator)
    averaged = stage.run(progress, _suffixed(checkpoint, "float"))
    model.load_state_dict(averaged)
    model.eval()
    quantised = QuantisedNetwork(model)
    calibration = data.train.subset(torch.arange(min(len(data.train), settings.calibration_frames)))
    quantised.calibrate(torch.cat([as_float_bytes(calibration), data.augmented(calibration, generator)]))
    stage = _Stage("int8", quantised, data, settings, settings.int8_epochs, settings.int8_learning_rate, generator)
    quantised.load_state_dict(stage.run(progress, _suffixed(checkpoint, "int8")))
    quantised.eval()
    return Trained(model, quantised)


def _suffixed(path: Path | None, stage: str) -> Path | None:
    return None if path is None else path.with_name(f"{path.name}.{stage}")


class _Stage:
    """One optimisation run with a cosine schedule and a running average of everything in the model."""

    def __init__(
        self,
        name: str,
        model: nn.Module,
        data: Dataset,
        settings: TrainSettings,
        epochs: int,
        learning_rate: float,
        generator: torch.Generator,
    ) -> None:
        self.name, self.model, self.data, self.settings = name, model, data, settings
        self.epochs, self.learning_rate, self.generator = epochs, learning_rate, generator
        decayed = [p for p in model.parameters() if p.dim() > 1]
        others = [p for p in model.parameters() if p.dim() <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=learning_rate,
        )
        self.average = {key: value.clone() for key, value in model.state_dict().items()}

    def run(self, progress: ProgressCallback | None, checkpoint: Path | None) -> dict[str, Tensor]:
        """All epochs; returns the averaged state."""
        first = self._resume(checkpoint)
        for epoch in range(first, self.epochs):
            loss = self._epoch(epoch)
            if checkpoint is not None and (epoch + 1) % self.settings.checkpoint_epochs in (0, self.epochs):
                self._save(checkpoint, epoch + 1)
            if progress is not None:
                progress(Progress(self.name, epoch + 1, self.epochs, loss))
        if checkpoint is not None:
            self._save(checkpoint, self.epochs)
        return self.average

    def _epoch(self, epoch: int) -> float:
        self.model.train()
        total, count = 0.0, 0
        parts = list(batches(len(self.data.train), self.settings.batch_size, self.generator))
        for step, indices in enumerate(parts):
            self._set_rate((epoch + step / len(parts)) / self.epochs)
            images = self.data.train.subset(indices)
            loss = self._step(self.data.augmented(images, self.generator), images.labels)
            total, count = total + loss, count + 1
        return total / max(count, 1)

    def _set_rate(self, done: float) -> None:
        """Linear warm-up over the first tenth, then half a cosine."""
        factor = done / 0.1 if done < 0.1 else 0.5 * (1 + math.cos(math.pi * (done - 0.1) / 0.9))
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * max(factor, 1e-3)

    def _step(self, bytes_NCHW: Tensor, labels: Tensor) -> float:
        loss = F.cross_entropy(self.model(bytes_NCHW), labels, label_smoothing=self.settings.label_smoothing)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimiser.step()
        self._update_average()
        return float(loss.detach())

    @torch.no_grad()
    def _update_average(self) -> None:
        for key, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[key].lerp_(value, 1 - self.settings.average)
            else:
                self.average[key].copy_(value)

    def _save(self, path: Path, epoch: int) -> None:
        save_checkpoint(path, self._parts(), self.generator, epoch, {"average": self.average})

    def _parts(self) -> dict[str, Stateful]:
        return {"model": self.model, "optimiser": self.optimiser}

    def _resume(self, path: Path | None) -> int:
        if path is None or not path.exists():
            return 0
        epoch, extra = load_checkpoint(path, self._parts(), self.generator)
        self.average = extra["average"]
        return epoch


@torch.no_grad()
def evaluate(model: nn.Module, images: Images, frames_at_once: int = 512) -> float:
    """Share of images that a float or fake-quantised model names correctly, 0 to 1."""
    model.eval()
    x = as_float_bytes(images)
    logits = torch.cat([model(part) for part in x.split(frames_at_once)])
    return float((logits.argmax(1) == images.labels).double().mean())


def evaluate_int8(network: Network, weights: Weights, images: Images) -> float:
    """Share of images that the integer reference names correctly; the first of equal logits counts."""
    logits = run_batch(network, weights, images.bytes_NHWC.numpy()).reshape(len(images), -1)
    return float((logits.argmax(1) == images.labels.numpy()).mean())
