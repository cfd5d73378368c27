"""What post-training quantisation costs a MobileNetV2-style network on CIFAR-10, technique by technique.

    python -m benchmarks.calibration --data FOLDER [--run FOLDER] [--epochs 7] [--qat-steps 150] [--quick]

Trains the network in float first (or goes on from the checkpoint in the `--run` folder), then quantises it with every
technique on and off, and fine-tunes the default's result for some steps with fake quantisation. Ablations are counted
with the fake-quantised model in float32, the default and the fine-tuned network with the integer reference.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.cifar_mobilenet import FloatTraining, flipped_crops, train_float
from benchmarks.common import Row, report, write
from dna.quantize.export import export
from dna.quantize.fake import QuantisedNetwork
from dna.quantize.float_network import FloatNetwork
from dna.quantize.histogram import METHODS
from dna.quantize.ptq import Quantised, QuantiseOptions, quantise
from dna.supernet.cifar10 import load_cifar10
from dna.supernet.dataset import Dataset, Images
from dna.supernet.retrain import evaluate_int8
from dna.supernet.training import batches

CALIBRATION_IMAGES = 512
POINTS_LOST = 1.0
"""The bar: top-1 points that the default may lose."""
PLAIN = QuantiseOptions(method="max", per_channel=True, equalise=False, correct_bias=False)


@dataclass(frozen=True)
class Reference:
    """The float network's answers on the test images."""

    logits: Tensor
    labels: Tensor

    @property
    def top1(self) -> float:
        return 100 * float((self.logits.argmax(1) == self.labels).double().mean())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 in the official Python format, unpacked")
    parser.add_argument("--run", type=Path, default=Path("runs/calibration"), help="folder for the checkpoint")
    parser.add_argument("--epochs", type=int, default=FloatTraining.epochs)
    parser.add_argument("--qat-steps", type=int, default=150)
    parser.add_argument("--quick", action="store_true", help="500 test images, two ablations, 10 steps of fine-tuning")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = load_cifar10(given.data)
    model = train_float(data, given.run, 0, FloatTraining(epochs=given.epochs))
    test = data.test.subset(torch.arange(500)) if given.quick else data.test
    reference = Reference(answers(model, test), test.labels)
    extra = {"images": len(test), "macs": model.network.macs, "epochs": given.epochs}
    rows = [Row("float: top-1", round(reference.top1, 2), "%", extra=extra)]
    calibration = data.train.bytes_NCHW[:CALIBRATION_IMAGES]
    for name, options in list(ablations().items())[: 2 if given.quick else None]:
        rows.append(ablation(name, quantise(model, calibration, options), test, reference))
    started = time.monotonic()
    done = quantise(model, calibration)
    seconds = time.monotonic() - started
    rows += integer_rows("default", done, test, reference, {"calibration images": len(calibration)}, bar=True)
    rows.append(Row("default: time to quantise", round(seconds, 1), "s"))
    steps = 10 if given.quick else given.qat_steps
    tuned = fine_tuned(done, data, model, steps)
    rows += integer_rows("default, then fine-tuned", tuned, test, reference, {"steps": steps}, bar=False)
    write("calibration", rows)
    return report(rows)


def ablations() -> dict[str, QuantiseOptions]:
    """What is measured beside the default: from plain upwards, and the default without each technique."""
    default = QuantiseOptions()
    plain = {f"plain, range by {method}": replace(PLAIN, method=method) for method in METHODS}
    added = {
        "plain, one weight scale per layer": replace(PLAIN, per_channel=False),
        "plain and equalisation": replace(PLAIN, equalise=True),
        "plain and bias correction": replace(PLAIN, correct_bias=True),
    }
    removed = {
        f"default, range by {method}": replace(default, method=method) for method in METHODS if method != default.method
    } | {
        "default, one weight scale per layer": replace(default, per_channel=False),
        "default without equalisation": replace(default, equalise=False),
        "default without bias correction": replace(default, correct_bias=False),
    }
    return plain | added | removed


@torch.no_grad()
def answers(model: nn.Module, images: Images) -> Tensor:
    """Logits of a float or fake-quantised model."""
    model.eval()
    parts = images.bytes_NCHW.split(64)  # small batches stay in the cache: several times as fast
    return torch.cat([model(part.float().contiguous(memory_format=torch.channels_last)) for part in parts])


def ablation(name: str, done: Quantised, test: Images, reference: Reference) -> Row:
    """Top-1 points lost, and how far the logits are from the float network's."""
    logits = answers(done.model, test)
    lost = reference.top1 - Reference(logits, test.labels).top1
    row = Row(f"{name}: top-1 lost", round(lost, 2), "points", extra=distance(logits, reference))
    print(row.as_dict(), flush=True)
    return row


def distance(logits: Tensor, reference: Reference) -> dict[str, float]:
    """Less noisy than a difference of top-1: the logits' relative error, and the share of changed answers."""
    error = (logits - reference.logits).square().mean().sqrt() / reference.logits.std()
    changed = (logits.argmax(1) != reference.logits.argmax(1)).double().mean()
    return {"logit error, %": round(100 * float(error), 2), "answers changed, %": round(100 * float(changed), 2)}


def integer_rows(
    name: str, done: Quantised, test: Images, reference: Reference, extra: dict[str, int], bar: bool
) -> list[Row]:
    """Top-1 by the integer reference."""
    top1 = 100 * evaluate_int8(done.network, done.weights, test)
    lost = round(reference.top1 - top1, 2)
    columns = extra | {"images": len(test)} | distance(answers(done.model, test), reference)
    rows = [
        Row(f"{name}: top-1, integers", round(top1, 2), "%", extra=columns),
        Row(f"{name}: top-1 lost, integers", lost, "points", f"<= {POINTS_LOST:g}" if bar else ""),
    ]
    print(*(row.as_dict() for row in rows), sep="\n", flush=True)
    return rows


def fine_tuned(done: Quantised, data: Dataset, teacher: FloatNetwork, steps: int) -> Quantised:
    """Short training with the integer arithmetic in the loop, towards the float network's own answers."""
    model: QuantisedNetwork = copy.deepcopy(done.model).train()
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.SGD(model.parameters(), lr=2e-3, momentum=0.9)
    step = 0
    while step < steps:
        for indices in batches(len(data.train), 64, generator):
            x = flipped_crops(data.train.subset(indices), data.image_shape[0], generator)
            with torch.no_grad():
                wanted = teacher(x).softmax(1)
            loss = F.cross_entropy(model(x), wanted)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for group in optimiser.param_groups:
                group["lr"] = 2e-3 * (1 - step / steps)
            optimiser.step()
            step += 1
            if step == steps:
                break
    model.eval()
    return Quantised(model, *export(model))


if __name__ == "__main__":
    sys.exit(main())
