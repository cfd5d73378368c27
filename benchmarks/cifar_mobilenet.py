"""A small MobileNetV2 for CIFAR-10 and its float training: what the `calibration` benchmark quantises."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dna.errors import UserError
from dna.network.blueprint import Blueprint
from dna.network.zoo.builder import Builder, Request
from dna.quantize.float_network import FloatNetwork
from dna.supernet.checkpoint import Stateful, load_checkpoint, save_checkpoint
from dna.supernet.dataset import Dataset, Images
from dna.supernet.training import batches

STEM, HEAD = 16, 256
BLOCKS = ((1, 16, 1), (4, 24, 2), (4, 24, 1), (4, 40, 2), (4, 40, 1), (4, 40, 1), (4, 80, 2), (4, 80, 1))
"""Expansion, channels, stride of each inverted residual block: 8.4 M multiply-accumulates at 32 x 32."""
INPUT_SCALE = 1 / 64
CHECKPOINT = "float.pt"
CROP = 24
"""Side of the random crops that the first epochs see: half the arithmetic, and an augmentation."""


@dataclass(frozen=True)
class FloatTraining:
    """One-cycle stochastic gradient descent; `crop_share` of the epochs see crops, the rest whole images."""

    epochs: int = 7
    batch_size: int = 128
    learning_rate: float = 0.4
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    crop_share: float = 0.9
    checkpoint_steps: int = 100


def mobilenet_blueprint(size: int = 32, classes: int = 10) -> Blueprint:
    """MobileNetV2's blocks (ReLU6, linear bottlenecks, residuals) with strides for small images."""
    net = Builder("mobilenet_v2_cifar", Request((size, size, 3), classes=classes))
    x = net.conv("stem", "input", STEM, 3, activation="relu6")
    for index, (expansion, channels, stride) in enumerate(BLOCKS, start=1):
        inside = x
        if expansion > 1:
            inside = net.conv(f"expand{index}", x, net.shape(x).channels * expansion, activation="relu6")
        inside = net.depthwise(f"depthwise{index}", inside, 3, stride, "relu6")
        keeps = stride == 1 and net.shape(x).channels == channels
        x = net.conv(f"project{index}", inside, channels, activation="linear", residual=x if keeps else None)
    x = net.conv("head", x, HEAD, activation="relu6")
    net.fc("classifier", net.global_avgpool("pool", x), classes)
    return net.blueprint()


def float_model(seed: int) -> FloatNetwork:
    """The untrained network."""
    generator = torch.Generator().manual_seed(seed)
    model = FloatNetwork(mobilenet_blueprint(), INPUT_SCALE, generator)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def load_trained(folder: Path) -> FloatNetwork:
    """The network as the checkpoint in `folder` left it. UserError if there is none."""
    model = float_model(0)
    if not (folder / CHECKPOINT).exists():
        raise UserError(f"{folder / CHECKPOINT} is missing: run python -m benchmarks.calibration first")
    load_checkpoint(folder / CHECKPOINT, {"model": model}, torch.Generator())
    return model.eval()


def cropped_twin(model: FloatNetwork) -> FloatNetwork:
    """The same network for crops: every unit with parameters is shared, so training one trains the other."""
    twin = FloatNetwork(mobilenet_blueprint(CROP), INPUT_SCALE, torch.Generator())
    for layer in model.network.layers:
        if layer.has_weights:
            twin.units[layer.name] = model.units[layer.name]
    return twin


def flipped_crops(images: Images, size: int, generator: torch.Generator) -> Tensor:
    """Random crops of `size` pixels (whole images: shifted by up to 4), half of them mirrored; float bytes NCHW."""
    x = images.bytes_NCHW.float()
    side = x.shape[2]
    margin = 4 if size == side else 0
    x = F.pad(x, (margin,) * 4)
    choices = side + 2 * margin - size + 1
    # One offset for every group of eight images: as varied over an epoch, and far fewer copies.
    groups = [
        part[:, :, top : top + size, left : left + size]
        for part in x.split(8)
        for top, left in [torch.randint(choices, (2,), generator=generator).tolist()]
    ]
    x = torch.cat(groups)
    mirrored = torch.rand(len(x), generator=generator) < 0.5
    x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(3), x)
    return x.contiguous(memory_format=torch.channels_last)


def one_cycle(done: float) -> float:
    """Factor of the learning rate after the share `done` of the training: up for a fifth, then down to 0."""
    return done / 0.2 if done < 0.2 else max(0.0, (1 - done) / 0.8)


def train_float(data: Dataset, folder: Path, seed: int = 0, settings: FloatTraining | None = None) -> FloatNetwork:
    """Trains the float network, or goes on from the checkpoint in `folder`. Prints one line now and then."""
    settings = settings or FloatTraining()
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    model = float_model(seed)
    twin = cropped_twin(model)
    optimiser = _optimiser(model, settings)
    parts: dict[str, Stateful] = {"model": model, "optimiser": optimiser}
    path = folder / CHECKPOINT
    step = load_checkpoint(path, parts, generator)[0] if path.exists() else 0
    per_epoch = len(list(batches(len(data.train), settings.batch_size, torch.Generator())))
    total = settings.epochs * per_epoch
    started, first = time.monotonic(), step
    model.train()
    twin.train()
    while step < total:
        # An interrupted epoch starts again with a new order: steps count, not epochs.
        for indices in batches(len(data.train), settings.batch_size, generator):
            cropped = step < settings.crop_share * total
            images = data.train.subset(indices)
            x = flipped_crops(images, CROP if cropped else images.bytes_NCHW.shape[2], generator)
            rate = settings.learning_rate * one_cycle(step / total)
            loss = _step(twin if cropped else model, optimiser, x, images.labels, rate, settings.label_smoothing)
            step += 1
            if step % settings.checkpoint_steps == 0 or step == total:
                save_checkpoint(path, parts, generator, step)
                speed = (step - first) * settings.batch_size / (time.monotonic() - started)
                print(f"step {step} of {total}, loss {loss:.3f}, {speed:.0f} images/s", flush=True)
            if step == total:
                break
    return model.eval()


def _optimiser(model: nn.Module, settings: FloatTraining) -> torch.optim.SGD:
    weights = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=0.9, nesterov=True)


def _step(
    model: nn.Module, optimiser: torch.optim.SGD, x: Tensor, labels: Tensor, rate: float, smoothing: float
) -> float:
    for group in optimiser.param_groups:
        group["lr"] = rate
    loss = F.cross_entropy(model(x), labels, label_smoothing=smoothing)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return float(loss.detach())
