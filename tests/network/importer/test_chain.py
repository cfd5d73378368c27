"""From a model brought along to the executed Program: import, quantise, compile, interpret."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dna.accelerator.chunk import Accelerator, Chunk
from dna.compile.compiler import compile
from dna.compile.default_mapping import default_mapping
from dna.compile.interpret import interpret
from dna.network.importer import load_network
from dna.quantize.imported import float_model, given_integers
from dna.quantize.onnx_export import export_onnx
from dna.quantize.ptq import quantise
from dna.quantize.reference import run, run_batch
from tests.network.importer.models import images


class Small(nn.Module):
    """Padding before a mean is subtracted, groups, ReLU6, concatenation, a mean without padding, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.grouped = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.ReLU())
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.grouped(x), self.pool(torch.relu(x + self.deep(x)))], dim=1)
        return self.head(x.mean([2, 3]))


def nchw(frames_NHWC: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(frames_NHWC).permute(0, 3, 1, 2).float()


def test_from_module_to_program(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Small().eval()
    imported = load_network(module, input_shape=(3, 12, 12), mean=(0.4, 0.5, 0.45), std=(0.25, 0.2, 0.22))
    frames = imported.input.frames(images(np.random.default_rng(0), count=64))
    result = quantise(float_model(imported), nchw(frames))
    integers = run_batch(result.network, result.weights, frames)
    with torch.no_grad():
        logits = float_model(imported)(nchw(frames)).numpy()
    ours = integers.reshape(64, 5) * result.scales[result.network.output]
    assert np.abs(ours - logits).max() < 0.1 * np.ptp(logits)

    chunk = Chunk()
    program = compile(result.network, result.weights, Accelerator((chunk,)), default_mapping(result.network, chunk))
    executed = interpret(program, frames[0])
    reference = run(result.network, result.weights, frames[0])
    assert np.array_equal(executed[result.network.output], reference[result.network.output])


def test_export_and_import_return_the_same_integers(tmp_path: Path) -> None:
    """Our QDQ export is a QDQ model like any other: brought back, it has the integers it was written with."""
    torch.manual_seed(1)
    imported = load_network(Small().eval(), input_shape=(3, 12, 12))
    frames = imported.input.frames(images(np.random.default_rng(1), count=32))
    result = quantise(float_model(imported), nchw(frames))
    export_onnx(result.network, result.weights, tmp_path / "out.onnx", result.scales)
    back = load_network(tmp_path / "out.onnx")
    network, weights = given_integers(back)
    difference = run_batch(network, weights, frames) - run_batch(result.network, result.weights, frames)
    assert np.abs(difference).max() <= 1
    for (name, theirs), ours in zip(weights.items(), result.weights.values(), strict=True):
        assert ours.weight is None or np.array_equal(theirs.weight, ours.weight), name
