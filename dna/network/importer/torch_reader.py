"""PyTorch modules, through torch.export, as the importer's graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from dna.errors import UserError
from dna.network.importer.graph import Array, Graph, Node

Spec = tuple[str, tuple[Any, ...], dict[str, Any]]
"""An operator in ONNX's words: its name, its inputs (nodes, arrays or None), its attributes."""


def read_torch(source: Any, input_shape: Sequence[int] | None) -> Graph:
    """The graph of a module (exported in evaluation mode) or of an ExportedProgram. UserError otherwise."""
    if isinstance(source, torch.nn.Module):
        program = _exported(source, input_shape)
    elif isinstance(source, torch.export.ExportedProgram):
        program = source
    else:
        raise UserError(f"a {type(source).__name__} is no network; give an ONNX file, a torch module or its export")
    return _Reader(program).graph()


def _exported(module: torch.nn.Module, input_shape: Sequence[int] | None) -> torch.export.ExportedProgram:
    if input_shape is None:
        raise UserError("a torch module needs input_shape: channels, height and width")
    shape = tuple(input_shape) if len(input_shape) in (2, 4) else (1, *input_shape)
    if min(shape) < 1 or shape[0] != 1 or len(shape) not in (2, 4):
        raise UserError(f"input_shape {list(input_shape)} must be positive sizes: channels, height and width")
    mode = module.training
    try:
        return torch.export.export(module.eval(), (torch.zeros(shape),))
    except Exception as error:  # whatever the module itself or the tracing raises
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"{type(module).__name__}: torch.export cannot trace it ({line})") from None
    finally:
        module.train(mode)


class _Reader:
    """Walks the exported program once."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self.program = program
        self.constants: dict[str, Array] = {}
        self.nodes: list[Node] = []
        self.input: fx.Node | None = None

    def graph(self) -> Graph:
        signature = self.program.graph_signature
        state = {**self.program.state_dict, **self.program.constants}
        owners = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        owners |= dict(signature.inputs_to_lifted_tensor_constants)
        outputs: list[str] = []
        for node in self.program.graph.nodes:
            if node.op == "placeholder" and node.name in owners:
                self.constants[node.name] = _array(state[owners[node.name]])
            elif node.op == "placeholder":
                self._take_input(node)
            elif node.op == "call_function":
                self._call(node)
            elif node.op == "output":
                outputs = [value.name for value in node.args[0] if isinstance(value, fx.Node)]
        if self.input is None or len(outputs) != 1:
            raise UserError(f"the module must have one input and one output tensor; it has {len(outputs)} outputs")
        shape = _sizes(self.input)
        return Graph("network", tuple(self.nodes), self.constants, self.input.name, shape, tuple(outputs))

    def _take_input(self, node: fx.Node) -> None:
        if self.input is not None:
            raise UserError("the module must have one input, the image; it has several")
        if not all(isinstance(size, int) for size in node.meta["val"].shape[1:]):
            raise UserError("the module's input is dynamic; export it with a fixed height and width")
        self.input = node

    def _call(self, node: fx.Node) -> None:
        name = getattr(node.target, "__name__", str(node.target))
        op = name.split(".")[0]
        if op in _IGNORED:
            return
        where = f"node '{node.name}' ({name})"
        translate = _TRANSLATE.get(op)
        if translate is None:
            # Spelt as ONNX spells it, so that the lowering names it and says what would work instead.
            translate = _unknown(_ONNX_NAMES.get(op, name))
        arguments = _arguments(node)
        try:
            spec = translate(node, arguments)
        except KeyError as error:
            raise UserError(f"{where}: its argument {error} is missing") from None
        for index, (onnx_op, inputs, attributes) in enumerate(spec if isinstance(spec, list) else [spec]):
            last = index == (len(spec) if isinstance(spec, list) else 1) - 1
            output = node.name if last else f"{node.name}_step{index}"
            names = tuple(self._input_name(node, value, index) for value in inputs)
            self.nodes.append(Node(node.name, onnx_op, names, (output,), attributes))

    def _input_name(self, node: fx.Node, value: Any, step: int) -> str:
        if value is None:
            return ""
        if value is _PREVIOUS:
            return f"{node.name}_step{step - 1}"
        if isinstance(value, fx.Node):
            return value.name
        name = f"{node.name}_constant{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name


_PREVIOUS = object()
_IGNORED = {"_assert_tensor_metadata", "sym_size", "_assert_scalar"}
_ONNX_NAMES = {
    "hardswish": "HardSwish", "silu": "Silu", "gelu": "Gelu", "tanh": "Tanh", "elu": "Elu", "softplus": "Softplus",
    "layer_norm": "LayerNormalization", "group_norm": "GroupNormalization", "instance_norm": "InstanceNormalization",
    "conv_transpose2d": "ConvTranspose", "upsample_nearest2d": "Resize", "upsample_bilinear2d": "Resize", "exp": "Exp",
    "mish": "Mish", "selu": "Selu", "celu": "Celu",
}  # fmt: skip


def _array(tensor: Any) -> Array:
    array = tensor.detach().to("cpu")
    return np.asarray((array.float() if array.dtype == torch.bfloat16 else array).numpy())


def _sizes(node: fx.Node) -> tuple[int, ...]:
    """The node's shape, a dynamic batch taken as 1."""
    shape = node.meta["val"].shape
    return tuple(int(size) if isinstance(size, int) else 1 for size in shape)


def _arguments(node: fx.Node) -> dict[str, Any]:
    """Arguments by name, defaults included."""
    schema = getattr(node.target, "_schema", None)
    found: dict[str, Any] = {}
    for index, argument in enumerate(schema.arguments if schema is not None else []):
        if index < len(node.args):
            found[argument.name] = node.args[index]
        elif argument.name in node.kwargs:
            found[argument.name] = node.kwargs[argument.name]
        elif argument.has_default_value():
            found[argument.name] = argument.default_value
    return found


def _two(value: Any, default: Any = None) -> list[int]:
    values = list(value) if isinstance(value, list | tuple) else [value]
    values = values or list(default)
    return [int(v) for v in (values * 2 if len(values) == 1 else values)]


def _conv(node: fx.Node, a: dict[str, Any]) -> Spec:
    attributes: dict[str, Any] = {"strides": _two(a["stride"]), "dilations": _two(a["dilation"]), "group": a["groups"]}
    if isinstance(a["padding"], str):
        attributes["auto_pad"] = {"same": "SAME_UPPER", "valid": "VALID"}[a["padding"]]
    else:
        attributes["pads"] = _two(a["padding"]) * 2
    return "Conv", (a["input"], a["weight"], a["bias"]), attributes


def _batch_norm(node: fx.Node, a: dict[str, Any]) -> Spec:
    channels = _sizes(node)[1]
    scale = np.ones(channels, np.float32) if a["weight"] is None else a["weight"]
    bias = np.zeros(channels, np.float32) if a["bias"] is None else a["bias"]
    attributes = {"epsilon": float(a["eps"]), "training_mode": int(bool(a.get("training", False)))}
    if a["running_mean"] is None:
        raise UserError(f"node '{node.name}' (BatchNormalization): it has no running statistics; train it with them")
    return "BatchNormalization", (a["input"], scale, bias, a["running_mean"], a["running_var"]), attributes


def _max_pool(node: fx.Node, a: dict[str, Any]) -> Spec:
    return "MaxPool", (a["self"],), {
        "kernel_shape": _two(a["kernel_size"]), "strides": _two(a["stride"], _two(a["kernel_size"])),
        "pads": _two(a["padding"]) * 2, "dilations": _two(a["dilation"]), "ceil_mode": int(a["ceil_mode"]),
    }  # fmt: skip


def _avg_pool(node: fx.Node, a: dict[str, Any]) -> Spec | list[Spec]:
    window, divisor = math.prod(_two(a["kernel_size"])), a.get("divisor_override")
    spec = _mean_pool(a)
    if divisor is None:
        return spec
    counted = ("AveragePool", spec[1], {**spec[2], "count_include_pad": 1})
    return [counted, ("Mul", (_PREVIOUS, np.float64(window / divisor)), {})]


def _mean_pool(a: dict[str, Any]) -> Spec:
    return "AveragePool", (a["self"],), {
        "kernel_shape": _two(a["kernel_size"]), "strides": _two(a["stride"], _two(a["kernel_size"])),
        "pads": _two(a["padding"]) * 2, "ceil_mode": int(a["ceil_mode"]),
        "count_include_pad": int(a["count_include_pad"]),
    }  # fmt: skip


def _adaptive(node: fx.Node, a: dict[str, Any]) -> Spec:
    wanted, sizes = _two(a["output_size"]), _sizes(a["self"])[-2:]
    if list(sizes) == wanted:
        return "Identity", (a["self"],), {}
    if wanted == [1, 1]:
        return "GlobalAveragePool", (a["self"],), {}
    if any(size % n for size, n in zip(sizes, wanted, strict=True)):
        raise UserError(
            f"node '{node.name}' (adaptive_avg_pool2d): {sizes[0]} x {sizes[1]} does not divide into"
            f" {wanted[0]} x {wanted[1]}; use another input size or AveragePool"
        )
    kernel = [size // n for size, n in zip(sizes, wanted, strict=True)]
    return "AveragePool", (a["self"],), {"kernel_shape": kernel, "strides": kernel}


def _linear(node: fx.Node, a: dict[str, Any]) -> Spec:
    return "Gemm", (a["input"], a["weight"], a["bias"]), {"transB": 1}


def _addmm(node: fx.Node, a: dict[str, Any]) -> Spec:
    return "Gemm", (a["mat1"], a["mat2"], a["self"]), {"alpha": float(a["alpha"]), "beta": float(a["beta"])}


def _binary(op: str) -> Callable[[fx.Node, dict[str, Any]], Spec]:
    def translate(node: fx.Node, a: dict[str, Any]) -> Spec:
        if a.get("alpha", 1) != 1:
            raise UserError(f"node '{node.name}' ({op}): alpha is {a['alpha']}; only 1 is supported")
        return op, tuple(v if isinstance(v, fx.Node) else np.float32(v) for v in (a["self"], a["other"])), {}

    return translate


def _clamp(low: str, high: str) -> Callable[[fx.Node, dict[str, Any]], Spec]:
    def translate(node: fx.Node, a: dict[str, Any]) -> Spec:
        given = (-math.inf if a[low] is None else a[low], math.inf if a[high] is None else a[high])
        return "Clip", (a["self"],), {"min": float(given[0]), "max": float(given[1])}

    return translate


def _fixed(op: str, **attributes: Any) -> Callable[[fx.Node, dict[str, Any]], Spec]:
    return lambda node, a: (op, (a["self"] if "self" in a else a["input"],), attributes)


def _unknown(op: str) -> Callable[[fx.Node, dict[str, Any]], Spec]:
    return lambda node, a: (op, tuple(v for v in node.args if isinstance(v, fx.Node)), {})


def _to_own_shape(node: fx.Node, a: dict[str, Any]) -> Spec:
    """All reshapes: the result's shape is known."""
    return "Reshape", (next(v for v in node.args if isinstance(v, fx.Node)), np.array(_sizes(node), np.int64)), {}


def _permute(node: fx.Node, a: dict[str, Any]) -> Spec:
    return "Transpose", (a["self"],), {"perm": [int(d) % len(_sizes(node)) for d in a["dims"]]}


def _swap(node: fx.Node, a: dict[str, Any]) -> Spec:
    order = list(range(len(_sizes(node))))
    first, second = (int(d) % len(order) for d in (a.get("dim0", 0), a.get("dim1", 1)))
    order[first], order[second] = order[second], order[first]
    return "Transpose", (a["self"],), {"perm": order}


def _mean(node: fx.Node, a: dict[str, Any]) -> Spec:
    axes = None if a.get("dim") is None else np.array([int(d) for d in a["dim"]], np.int64)
    return "ReduceMean", (a["self"], axes), {"keepdims": int(a.get("keepdim", False))}


def _cat(node: fx.Node, a: dict[str, Any]) -> Spec:
    return "Concat", tuple(a["tensors"]), {"axis": int(a["dim"])}


def _pad(node: fx.Node, a: dict[str, Any]) -> Spec:
    rank, amounts = len(_sizes(node)), [int(p) for p in a["pad"]]
    if a.get("mode", "constant") != "constant":
        raise UserError(f"node '{node.name}' (Pad): mode '{a['mode']}' is not supported; pad with zeros")
    before, after = [0] * rank, [0] * rank
    for index in range(len(amounts) // 2):
        before[-1 - index], after[-1 - index] = amounts[2 * index], amounts[2 * index + 1]
    filled = np.float32(a.get("value") or 0.0)
    return "Pad", (a["self"], np.array([*before, *after], np.int64), filled), {}


def _leaky(node: fx.Node, a: dict[str, Any]) -> Spec:
    return "LeakyRelu", (a["self"],), {"alpha": float(a["negative_slope"])}


def _prelu(node: fx.Node, a: dict[str, Any]) -> list[Spec]:
    shape = np.array([1, -1] + [1] * (len(_sizes(node)) - 2), np.int64)
    return [("Reshape", (a["weight"], shape), {}), ("PRelu", (a["self"], _PREVIOUS), {})]


def _quantize(op: str) -> Callable[[fx.Node, dict[str, Any]], Spec]:
    def translate(node: fx.Node, a: dict[str, Any]) -> Spec:
        kind = {torch.int8: np.int8, torch.uint8: np.uint8, torch.int32: np.int32}.get(a["dtype"])
        if kind is None:
            raise UserError(f"node '{node.name}' ({op}): quantised type {a['dtype']}; 8 bits are supported")
        scale = a["scale"] if "scale" in a else a["scales"]
        zero = a["zero_point"] if "zero_point" in a else a["zero_points"]
        steps = scale if isinstance(scale, fx.Node) else np.float32(scale)
        point = zero if isinstance(zero, fx.Node) else np.asarray(zero, kind)
        return op, (a["input"], steps, point), {"axis": int(a.get("axis", 1))}

    return translate


_TRANSLATE: dict[str, Callable[[fx.Node, dict[str, Any]], Spec | list[Spec]]] = {
    "conv2d": _conv,
    "batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "adaptive_avg_pool2d": _adaptive,
    "linear": _linear,
    "addmm": _addmm,
    "matmul": lambda node, a: ("MatMul", (a["self"], a["other"]), {}),
    "mm": lambda node, a: ("MatMul", (a["self"], a["mat2"]), {}),
    "relu": _fixed("Relu"),
    "relu_": _fixed("Relu"),
    "relu6": _fixed("Clip", min=0.0, max=6.0),
    "hardtanh": _clamp("min_val", "max_val"),
    "hardtanh_": _clamp("min_val", "max_val"),
    "clamp": _clamp("min", "max"),
    "clamp_": _clamp("min", "max"),
    "hardsigmoid": _fixed("HardSigmoid", alpha=1 / 6, beta=0.5),
    "leaky_relu": _leaky,
    "leaky_relu_": _leaky,
    "prelu": _prelu,
    "sigmoid": _fixed("Sigmoid"),
    "softmax": _fixed("Softmax"),
    "_softmax": _fixed("Softmax"),
    "log_softmax": _fixed("LogSoftmax"),
    "argmax": _fixed("ArgMax"),
    "add": _binary("Add"),
    "add_": _binary("Add"),
    "sub": _binary("Sub"),
    "mul": _binary("Mul"),
    "mul_": _binary("Mul"),
    "div": _binary("Div"),
    "mean": _mean,
    "cat": _cat,
    "pad": _pad,
    "constant_pad_nd": _pad,
    "permute": _permute,
    "transpose": _swap,
    "t": _swap,
    "dropout": _fixed("Identity"),
    "dropout_": _fixed("Identity"),
    "feature_dropout": _fixed("Identity"),
    "clone": _fixed("Identity"),
    "contiguous": _fixed("Identity"),
    "alias": _fixed("Identity"),
    "detach": _fixed("Identity"),
    "detach_": _fixed("Identity"),
    "lift_fresh_copy": _fixed("Identity"),
    "to": _fixed("Identity"),
    "_to_copy": _fixed("Identity"),
    "flatten": _to_own_shape,
    "view": _to_own_shape,
    "reshape": _to_own_shape,
    "_unsafe_view": _to_own_shape,
    "squeeze": _to_own_shape,
    "unsqueeze": _to_own_shape,
    "quantize_per_tensor": _quantize("QuantizeLinear"),
    "dequantize_per_tensor": _quantize("DequantizeLinear"),
    "quantize_per_channel": _quantize("QuantizeLinear"),
    "dequantize_per_channel": _quantize("DequantizeLinear"),
}
