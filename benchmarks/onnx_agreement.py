"""onnxruntime on exported QDQ files beside the integer reference: top-1 and elements, on CIFAR-10's test images.

    python -m benchmarks.onnx_agreement --data FOLDER [--run FOLDER] [--images 300] [--steps 150] [--quick]

The networks are small ones in the manner of the zoo's, trained for some steps (with random weights, deep networks that
end in maps of one pixel amplify the smallest difference without bound), and the MobileNetV2 of the `calibration`
benchmark, trained if `--run` names its folder. All are quantised with the default options. Outputs are compared from
image to logits, where a difference of one step in an early layer goes on through all later ones; and every layer alone,
given what onnxruntime has computed before it. The file's exact form is compared from image to logits. onnxruntime runs
without graph optimisation: with it, it replaces the float operators between QuantizeLinear and DequantizeLinear by
integer kernels that have their own rounding, and saturate on some processors.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from benchmarks.cifar_mobilenet import CHECKPOINT, INPUT_SCALE, float_model, load_trained
from benchmarks.common import Row, report, write
from benchmarks.small_networks import NETWORKS
from dna.quantize.float_network import FloatNetwork
from dna.quantize.onnx_export import integers_name, to_onnx
from dna.quantize.ptq import Quantised, quantise
from dna.quantize.reference import run_batch, run_layer
from dna.supernet.cifar10 import load_cifar10
from dna.supernet.dataset import Dataset, as_float_bytes

CALIBRATION_IMAGES = 256


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 in the official Python format, unpacked")
    parser.add_argument("--run", type=Path, help="folder of the calibration benchmark, for the trained network")
    parser.add_argument("--images", type=int, default=300, help="test images for each network")
    parser.add_argument("--steps", type=int, default=150, help="training steps of each small network, 64 images each")
    parser.add_argument("--quick", action="store_true", help="three networks, 50 images, 5 steps")
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = load_cifar10(given.data)
    images, steps = (50, 5) if given.quick else (given.images, given.steps)
    tested = data.test.bytes_NHWC[:images].numpy()
    calibration = data.train.bytes_NCHW[:CALIBRATION_IMAGES]
    trained = given.run is not None and (given.run / CHECKPOINT).exists()
    model = load_trained(given.run) if trained else briefly_trained(float_model(0), data, steps)
    title = f"mobilenet_v2_cifar, {'trained' if trained else f'{steps} training steps'}"
    rows = compared(title, quantise(model, calibration), tested)
    chosen = NETWORKS[:2] if given.quick else NETWORKS
    for network in chosen:
        blueprint = network()
        model = briefly_trained(FloatNetwork(blueprint, INPUT_SCALE, torch.Generator().manual_seed(0)), data, steps)
        rows += compared(f"{blueprint.network.name}, {steps} training steps", quantise(model, calibration), tested)
    rows.append(Row("networks compared", 1 + len(chosen), "", "" if given.quick else ">= 6"))
    write("onnx_agreement", rows)
    return report(rows)


def briefly_trained(model: FloatNetwork, data: Dataset, steps: int) -> FloatNetwork:
    """Some steps of gradient descent; then every normalisation gets the statistics of the calibration images."""
    model.train()
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    order = torch.randperm(len(data.train), generator=generator)[: 64 * steps]
    for indices in order.split(64):
        images = data.train.subset(indices)
        loss = F.cross_entropy(model(as_float_bytes(images)), images.labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain mean over batches
    with torch.no_grad():
        for batch in data.train.bytes_NCHW[:CALIBRATION_IMAGES].float().split(64):
            model(batch)
    return model.eval()


@dataclass
class Differences:
    """Elements that were compared, those that differ, and by how many steps at most."""

    elements: int = 0
    different: int = 0
    largest: int = 0

    def add(self, ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> None:
        error = np.abs(ours - theirs)
        self.elements += error.size
        self.different += int((error > 0).sum())
        self.largest = max(self.largest, int(error.max()))

    @property
    def share(self) -> float:
        """In percent."""
        return float(f"{100 * self.different / self.elements:.3g}")


def compared(name: str, done: Quantised, tested_NHWC: NDArray[np.uint8]) -> list[Row]:
    """The reference and onnxruntime on the same images."""
    session, exact_session = qdq_session(done), qdq_session(done, exact=True)
    outputs, layers, exact = Differences(), Differences(), Differences()
    other_top1, ties, named = 0, 0, set()
    for first in range(0, len(tested_NHWC), 50):
        x_NHWC = tested_NHWC[first : first + 50]
        ours = run_batch(done.network, done.weights, x_NHWC).reshape(len(x_NHWC), -1)
        theirs = onnx_tensors(session, done, x_NHWC)
        last = theirs[done.network.output].reshape(len(x_NHWC), -1)
        outputs.add(ours, last)
        other_top1 += int((ours.argmax(1) != last.argmax(1)).sum())
        close = np.sort(ours, axis=1)
        ties += int(((ours.argmax(1) != last.argmax(1)) & (close[:, -1] - close[:, -2] <= 1)).sum())
        exact.add(ours, onnx_tensors(exact_session, done, x_NHWC)[done.network.output].reshape(len(x_NHWC), -1))
        named |= set(ours.argmax(1).tolist())
        for layer in done.network.layers:
            if layer.computes:
                alone = run_layer(layer, done.weights[layer.name], theirs, np.float64)
                layers.add(alone, theirs[layer.name])
    extra = {"images": len(tested_NHWC), "macs": done.network.macs, "different answers": len(named)}
    extra["of these, two best at most a step apart"] = ties
    rows = [
        Row(f"{name}: images with another top-1", other_top1, "", "== 0", extra),
        Row(f"{name}: largest difference of an output", outputs.largest, "step", "<= 1"),
        Row(f"{name}: outputs that differ", outputs.share, "%", extra={"elements": outputs.elements}),
        Row(f"{name}: largest difference of any layer alone", layers.largest, "step", "<= 1"),
        Row(f"{name}: elements of all layers that differ", layers.share, "%", extra={"elements": layers.elements}),
        Row(
            f"{name}: outputs of the exact form that differ", exact.different, "", "== 0", {"elements": exact.elements}
        ),
    ]
    print(*(f"{row.name}: {row.value} {row.unit}" for row in rows), sep="\n", flush=True)
    return rows


def qdq_session(done: Quantised, exact: bool = False) -> onnxruntime.InferenceSession:
    """The exported file in onnxruntime, with every layer's integers as further outputs."""
    model = to_onnx(done.network, done.weights, done.scales, exact)
    for layer in done.network.layers:
        element = onnx.TensorProto.INT8 if layer.out_signed else onnx.TensorProto.UINT8
        model.graph.output.append(onnx.helper.make_tensor_value_info(integers_name(layer.name), element, None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def onnx_tensors(
    session: onnxruntime.InferenceSession, done: Quantised, x_NHWC: NDArray[np.uint8]
) -> dict[str, NDArray[np.int64]]:
    """Every tensor's integers as onnxruntime has them, channels last, ``input`` included."""
    names = [layer.name for layer in done.network.layers]
    x_NCHW = np.ascontiguousarray(x_NHWC.transpose(0, 3, 1, 2))
    found = session.run([integers_name(name) for name in names], {"input": x_NCHW})
    tensors = {name: value.transpose(0, 2, 3, 1).astype(np.int64) for name, value in zip(names, found, strict=True)}
    return {"input": x_NHWC.astype(np.int64)} | tensors


if __name__ == "__main__":
    sys.exit(main())
