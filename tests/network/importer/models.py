"""Small ONNX models, written node by node, and what onnxruntime makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from dna.network.importer import ImportedNetwork
from dna.quantize.imported import float_model

Array = NDArray[Any]


class Model:
    """Collects nodes and constants. Each call of `node` returns the name of its output."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}

    def constant(self, values: Any, kind: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(values, kind)
        return name

    def weights(self, *shape: int) -> str:
        return self.constant(self.rng.normal(size=shape) / np.sqrt(np.prod(shape[1:])))

    def vector(self, size: int, low: float = -0.5, high: float = 0.5) -> str:
        return self.constant(self.rng.uniform(low, high, size))

    def node(self, op: str, *inputs: str, name: str | None = None, domain: str = "", **attributes: Any) -> str:
        name = name or f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [f"{name}_out"], name, domain=domain, **attributes))
        return f"{name}_out"

    def conv(self, x: str, inputs: int, outputs: int, kernel: int = 3, groups: int = 1, **attributes: Any) -> str:
        attributes.setdefault("pads", [kernel // 2] * 4)
        weight = self.weights(outputs, inputs // groups, kernel, kernel)
        return self.node("Conv", x, weight, self.vector(outputs), group=groups, **attributes)

    def batch_norm(self, x: str, channels: int) -> str:
        scale, mean = self.vector(channels, 0.5, 1.5), self.vector(channels)
        return self.node("BatchNormalization", x, scale, self.vector(channels), mean, self.vector(channels, 0.5, 1.5))

    def proto(
        self, output: str, shape: Sequence[int | str] = (1, 3, 12, 12), kind: int = TensorProto.FLOAT, opset: int = 17
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "model",
            [helper.make_tensor_value_info("x", kind, list(shape))],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("qonnx.custom_op.general", 1)]
        model = helper.make_model(graph, opset_imports=opsets)
        model.ir_version = 8
        return model

    def save(self, folder: Path, output: str, **options: Any) -> Path:
        path = folder / "model.onnx"
        onnx.save(self.proto(output, **options), str(path))
        return path


def images(rng: np.random.Generator, shape: Sequence[int] = (12, 12, 3), count: int = 1) -> NDArray[np.uint8]:
    """Random images [frames][height][width][channels]."""
    return rng.integers(0, 256, (count, *shape)).astype(np.uint8)


def run_onnx(path: Path, x: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # Compare with the model as it is written, not with what fusion makes of it.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def run_imported(imported: ImportedNetwork, images_NHWC: NDArray[np.uint8]) -> Array:
    """The float model's outputs, [frames][outputs]."""
    frames = torch.from_numpy(imported.input.frames(images_NHWC)).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        return np.asarray(float_model(imported)(frames))


def normalised(images_NHWC: NDArray[np.uint8], mean: Any = 0.0, std: Any = 1.0) -> Array:
    """What the model is fed: float32 NCHW."""
    return ((images_NHWC / 255 - mean) / std).astype(np.float32).transpose(0, 3, 1, 2)


def ops(imported: ImportedNetwork) -> list[str]:
    return [layer.op for layer in imported.network.layers]
