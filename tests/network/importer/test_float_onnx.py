"""Float ONNX models compute in our float model what onnxruntime computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dna.network.importer import ImportedNetwork, load_network
from tests.network.importer.models import Model, images, normalised, ops, run_imported, run_onnx

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def check(folder: Path, model: Model, output: str, **options: Any) -> ImportedNetwork:
    """Imports, compares on two random images, returns the import."""
    path = model.save(folder, output)
    imported = load_network(path, **options)
    for _ in range(2):
        pictures = images(model.rng)
        x = normalised(pictures, options.get("mean", 0.0), options.get("std", 1.0))
        expected = run_onnx(path, x)
        # A map's values in the order of our output.
        np.testing.assert_allclose(run_imported(imported, pictures), expected.reshape(1, -1), atol=1e-4, rtol=1e-4)
    return imported


def classifier(model: Model, x: str, channels: int) -> str:
    pooled = model.node("GlobalAveragePool", x)
    return model.node("Gemm", model.node("Flatten", pooled), model.weights(5, channels), model.vector(5), transB=1)


def test_batch_norm_and_residual(tmp_path: Path) -> None:
    m = Model()
    first = m.node("Relu", m.batch_norm(m.conv("x", 3, 8, strides=[2, 2]), 8))
    branch = m.batch_norm(m.conv(first, 8, 8), 8)
    joined = m.node("Relu", m.node("Add", branch, first))
    imported = check(tmp_path, m, classifier(m, joined, 8))
    assert ops(imported) == ["conv", "conv", "avgpool", "fc"]
    layers = imported.network.layers
    assert layers[1].residual == layers[0].name and layers[1].lo == 0 and not layers[1].out_signed
    assert imported.input.scale == 1 / 255 and not imported.input.alpha
    assert not imported.scales and imported.unscaled == tuple(layer.name for layer in layers)


def test_residual_before_its_other_branch(tmp_path: Path) -> None:
    """The convolution that takes the residual stands first in the model and must wait for the other."""
    m = Model()
    first = m.node("Relu", m.conv("x", 3, 4))
    linear = m.conv(first, 4, 6, kernel=1, name="linear")
    rectified = m.node("Relu", m.conv(first, 4, 6, name="rectified"))
    imported = check(tmp_path, m, classifier(m, m.node("Add", linear, rectified), 6))
    assert [layer.name for layer in imported.network.layers][1:3] == ["rectified", "linear"]


def test_add_that_no_layer_can_take(tmp_path: Path) -> None:
    m = Model()
    a, b = m.node("Relu", m.conv("x", 3, 4)), m.node("Relu", m.conv("x", 3, 4))
    imported = check(tmp_path, m, classifier(m, m.node("Relu", m.node("Add", a, b)), 4))
    assert "add" in ops(imported)
    twice = Model(1)
    a = twice.conv("x", 3, 4)
    assert "add" not in ops(check(tmp_path, twice, classifier(twice, twice.node("Add", a, a), 4)))


def test_mobile_block_with_relu6(tmp_path: Path) -> None:
    m = Model()
    wide = m.node("Mul", m.conv("x", 3, 12, kernel=1), m.constant(20.0))  # so that 6 is reached
    wide = m.node("Clip", wide, m.constant(0.0), m.constant(6.0), name="six")
    deep = m.node("Clip", m.conv(wide, 12, 12, groups=12), m.constant(0.0), m.constant(6.0))
    imported = check(tmp_path, m, classifier(m, m.conv(deep, 12, 4, kernel=1), 4))
    assert ops(imported) == ["conv", "depthwise", "conv", "avgpool", "fc"]
    assert list(imported.blueprint.bounds.values()) == [(0.0, 6.0), (0.0, 6.0)]


def test_groups_dilation_and_channel_multiplier(tmp_path: Path) -> None:
    m = Model()
    x = m.node("Relu", m.conv("x", 3, 8))
    x = m.conv(x, 8, 12, groups=4)
    x = m.conv(x, 12, 24, groups=12)
    x = m.conv(x, 24, 4, dilations=[2, 2], pads=[2, 2, 2, 2])
    imported = check(tmp_path, m, classifier(m, x, 4))
    assert [layer.groups for layer in imported.network.layers] == [1, 4, 12, 1, 1, 1]
    assert imported.network.layers[3].kernel == (5, 5)
    assert any("dilated" in notice for notice in imported.notices)


def test_concat(tmp_path: Path) -> None:
    """Signed and unsigned branches, one of them the image itself."""
    m = Model()
    a, b = m.node("Relu", m.conv("x", 3, 5)), m.conv("x", 3, 7)
    x = m.node("Concat", a, b, "x", axis=1)
    imported = check(tmp_path, m, classifier(m, m.conv(x, 15, 4), 4))
    join = next(layer for layer in imported.network.layers if layer.op == "concat")
    assert join.out_signed and len(join.parts) == 3
    pure = Model(1)
    a, b = (pure.node("Relu", pure.conv("x", 3, 5)) for _ in range(2))
    imported = check(tmp_path, pure, classifier(pure, pure.conv(pure.node("Concat", a, b, axis=-3), 10, 4), 4))
    assert not next(layer for layer in imported.network.layers if layer.op == "concat").out_signed


@pytest.mark.parametrize(
    "pool",
    [
        {"op": "MaxPool", "kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"op": "MaxPool", "kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
        {"op": "MaxPool", "kernel_shape": [2, 3], "strides": [2, 1], "auto_pad": "SAME_UPPER"},
        {"op": "AveragePool", "kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "count_include_pad": 1},
        {"op": "AveragePool", "kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"op": "AveragePool", "kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
        {"op": "AveragePool", "kernel_shape": [3, 2], "strides": [1, 2], "auto_pad": "SAME_LOWER"},
        {"op": "GlobalMaxPool"},
    ],
)
@pytest.mark.parametrize("rectified", [True, False])
def test_pooling(tmp_path: Path, pool: dict[str, Any], rectified: bool) -> None:
    m, attributes = Model(), dict(pool)
    x = m.conv("x", 3, 4, pads=[0, 0, 0, 0])
    x = m.node("Relu", x) if rectified else x
    op = attributes.pop("op")
    imported = check(tmp_path, m, m.node(op, x, **attributes))
    layer = imported.network.layers[-1]
    assert layer.out_signed == (not rectified)
    if op != "AveragePool":
        assert layer.pad_value == (0 if rectified else -128)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding(tmp_path: Path, auto_pad: str) -> None:
    m = Model()
    x = m.node("Conv", "x", m.weights(4, 3, 4, 3), auto_pad=auto_pad, strides=[3, 2])
    check(tmp_path, m, classifier(m, x, 4))


def test_pads_are_joined(tmp_path: Path) -> None:
    m = Model()
    x = m.node("Pad", "x", m.constant([0, 0, 1, 0, 0, 0, 0, 1], np.int64))
    x = m.node("Relu", m.conv(x, 3, 4))
    x = m.node("Pad", x, m.constant([0, 0, 0, 1, 0, 0, 1, 0], np.int64), m.constant(0.0))
    x = m.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = m.node("Pad", x, m.constant([0, 0, 1, 1, 0, 0, 0, 0], np.int64))
    x = m.node("AveragePool", x, kernel_shape=[2, 2])
    imported = check(tmp_path, m, x)
    assert [layer.padding for layer in imported.network.layers] == [(2, 1, 1, 2), (0, 1, 1, 0), (1, 1, 0, 0)]


def test_constant_arithmetic(tmp_path: Path) -> None:
    """Before and behind convolutions, on either side, per channel and for all; before a padded one as a layer."""
    m = Model()
    x = m.node("Mul", m.conv("x", 3, 4), m.constant(m.rng.normal(size=(4, 1, 1))))
    x = m.node("Sub", m.constant(0.3), x)
    x = m.node("Relu", m.node("Add", x, m.constant(m.rng.normal(size=(1, 4, 1, 1)))))
    x = m.batch_norm(x, 4)  # not behind a weight: joins the next one
    x = m.node("Relu", m.conv(x, 4, 6, kernel=1))
    x = m.node("Div", m.node("Sub", x, m.constant(0.1)), m.constant(0.7))
    imported = check(tmp_path, m, classifier(m, m.conv(x, 6, 4), 4))
    assert ops(imported) == ["conv", "conv", "depthwise", "conv", "avgpool", "fc"]


def test_shared_tensors_are_not_fused(tmp_path: Path) -> None:
    """The same convolution is read as it is, rectified, and scaled."""
    m = Model()
    x = m.conv("x", 3, 4)
    parts = [x, m.node("Relu", x), m.node("Mul", x, m.constant(-2.0)), m.batch_norm(x, 4)]
    check(tmp_path, m, classifier(m, m.node("Concat", *parts, axis=1), 16))


def test_leaky_relu_hard_sigmoid_and_symmetric_clip(tmp_path: Path) -> None:
    m = Model()
    x = m.node("LeakyRelu", m.conv("x", 3, 4), alpha=0.2)
    x = m.node("PRelu", m.conv(x, 4, 4), m.constant(m.rng.uniform(-0.5, 1, (4, 1, 1))))
    x = m.node("HardSigmoid", m.conv(x, 4, 4), alpha=0.3, beta=0.4)
    x = m.node("Clip", m.conv(x, 4, 4), m.constant(-0.2), m.constant(0.3))
    x = m.node("Min", m.node("Max", m.conv(x, 4, 4), m.constant(0.0)), m.constant(0.25))
    imported = check(tmp_path, m, classifier(m, x, 4))
    assert set(imported.blueprint.bounds.values()) == {(0.0, 1.0), tuple(np.float32([-0.2, 0.3]).tolist()), (0.0, 0.25)}
    assert sum("two layers" in notice for notice in imported.notices) == 2


def test_flatten_in_both_orders(tmp_path: Path) -> None:
    for order in ([0, 1, 2, 3], [0, 2, 3, 1]):
        m = Model()
        x = m.node("Relu", m.conv("x", 3, 4, strides=[3, 3]))
        x = m.node("Transpose", x, perm=order)
        x = m.node("Reshape", x, m.constant([1, -1], np.int64))
        x = m.node("Relu", m.node("Add", m.node("MatMul", x, m.weights(64, 6)), m.vector(6)))
        x = m.node("Gemm", x, m.weights(6, 3), m.vector(3), alpha=0.5, beta=2.0)
        imported = check(tmp_path, m, x)
        assert ops(imported) == ["conv", "fc", "fc"]
        assert imported.network.layers[1].kernel == (4, 4)


def test_layout_operators_vanish(tmp_path: Path) -> None:
    m = Model()
    x = m.node("Relu", m.conv("x", 3, 4))
    x = m.node("Transpose", m.node("Transpose", x, perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2])
    x = m.node("Dropout", m.node("Identity", x))
    x = m.node("ReduceMean", x, axes=[-1, -2], keepdims=1)
    x = m.node("Squeeze", x, m.constant([2, 3], np.int64))
    x = m.node("Unsqueeze", x, m.constant([2], np.int64))
    x = m.node("Reshape", x, m.constant([0, 4], np.int64))
    x = m.node("Cast", x, to=1)
    imported = check(tmp_path, m, m.node("Gemm", x, m.weights(4, 3)))
    assert ops(imported) == ["conv", "avgpool", "fc"]


def test_shapes_computed_in_the_graph(tmp_path: Path) -> None:
    """What exporters write for x.view(x.size(0), -1): Shape, Gather, Unsqueeze, Concat, Reshape."""
    m = Model()
    x = m.node("Relu", m.conv("x", 3, 4, strides=[4, 4]))
    batch = m.node("Gather", m.node("Shape", x), m.constant(0, np.int64), axis=0)
    batch = m.node("Unsqueeze", batch, m.constant([0], np.int64))
    shape = m.node("Concat", batch, m.constant([-1], np.int64), axis=0)
    imported = check(tmp_path, m, m.node("Gemm", m.node("Reshape", x, shape), m.weights(36, 3)))
    assert ops(imported) == ["conv", "fc"]


def test_final_softmax_is_dropped(tmp_path: Path) -> None:
    m = Model()
    logits = classifier(m, m.conv("x", 3, 4), 4)
    path = m.save(tmp_path, m.node("Softmax", logits, axis=1, name="last"))
    imported = load_network(path)
    assert any("'last' (Softmax): dropped" in notice for notice in imported.notices)
    pictures = images(m.rng)
    ours = np.exp(run_imported(imported, pictures))
    np.testing.assert_allclose(ours / ours.sum(), run_onnx(path, normalised(pictures)), atol=1e-5)


def stem(padded: bool) -> Callable[[Model], str]:
    def build(m: Model) -> str:
        pads = [1, 1, 1, 1] if padded else [0, 0, 0, 0]
        return classifier(m, m.node("Relu", m.conv("x", 3, 4, pads=pads)), 4)

    return build


def test_normalisation_without_padding_is_folded(tmp_path: Path) -> None:
    m = Model()
    imported = check(tmp_path, m, stem(False)(m), mean=MEAN, std=STD)
    assert not imported.input.alpha and len(imported.network.layers) == 3


def test_mean_of_a_byte_becomes_the_pad_value(tmp_path: Path) -> None:
    m = Model()
    imported = check(tmp_path, m, stem(True)(m), mean=102 / 255, std=STD)
    assert imported.network.layers[0].pad_value == 102 and not imported.input.alpha


def test_mean_at_padded_borders_by_an_alpha_channel(tmp_path: Path) -> None:
    m = Model()
    imported = check(tmp_path, m, stem(True)(m), mean=MEAN, std=STD)
    assert imported.input.alpha and imported.network.shapes["input"].channels == 4
    assert any("alpha" in notice for notice in imported.notices)


def test_mean_at_padded_borders_by_a_layer(tmp_path: Path) -> None:
    m = Model()
    imported = check(tmp_path, m, stem(True)(m), mean=MEAN, std=STD, borders="layer")
    assert not imported.input.alpha and ops(imported)[0] == "depthwise"


def test_alpha_channel_for_several_readers(tmp_path: Path) -> None:
    m = Model()
    parts = [m.conv("x", 3, 4), m.conv("x", 3, 4, kernel=1), m.conv("x", 3, 4, kernel=5)]
    imported = check(tmp_path, m, classifier(m, m.node("Concat", *parts, axis=1), 12), mean=MEAN, std=STD)
    assert imported.input.alpha and all(layer.in_channels == 4 for layer in imported.network.layers[:3])


def test_normalisation_where_no_weight_takes_it(tmp_path: Path) -> None:
    m = Model()
    pooled = m.node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2])
    imported = check(tmp_path, m, classifier(m, m.conv(pooled, 3, 4), 4), mean=MEAN, std=STD)
    assert ops(imported)[0] == "depthwise"


def test_normalisation_in_the_graph(tmp_path: Path) -> None:
    """The model itself takes bytes / 255 and normalises."""
    m = Model()
    x = m.node("Sub", "x", m.constant(np.array(MEAN).reshape(1, 3, 1, 1)))
    x = m.node("Div", x, m.constant(np.array(STD).reshape(1, 3, 1, 1)))
    imported = check(tmp_path, m, classifier(m, m.conv(x, 3, 4), 4))
    assert imported.input.alpha


def test_channels_last_input(tmp_path: Path) -> None:
    m = Model()
    x = m.node("Transpose", "x", perm=[0, 3, 1, 2])
    path = m.save(tmp_path, classifier(m, m.conv(x, 3, 4), 4), shape=("batch", 12, 10, 3))
    pictures = images(m.rng, (12, 10, 3))
    expected = run_onnx(path, (pictures / 255).astype(np.float32))
    np.testing.assert_allclose(run_imported(load_network(path), pictures), expected, atol=1e-5)


def test_dynamic_batch_and_given_shape(tmp_path: Path) -> None:
    m = Model()
    path = m.save(tmp_path, classifier(m, m.conv("x", 3, 4), 4), shape=("N", 3, "H", "W"))
    imported = load_network(path, input_shape=(3, 9, 11), name="mine")
    assert imported.network.name == "mine"
    assert (imported.network.shapes["input"].height, imported.network.shapes["input"].width) == (9, 11)
    pictures = images(m.rng, (9, 11, 3))
    np.testing.assert_allclose(run_imported(imported, pictures), run_onnx(path, normalised(pictures)), atol=1e-5)


def test_images_as_integers(tmp_path: Path) -> None:
    """A model that takes uint8 and casts."""
    m = Model()
    x = m.node("Mul", m.node("Cast", "x", to=1), m.constant(1 / 127.5))
    x = m.node("Sub", x, m.constant(1.0))
    path = m.save(tmp_path, classifier(m, m.conv(x, 3, 4, pads=[0] * 4), 4), kind=2)
    pictures = images(m.rng)
    imported = load_network(path)
    assert imported.input.scale == 1.0
    expected = run_onnx(path, pictures.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(run_imported(imported, pictures), expected, atol=1e-4)


def test_vectors(tmp_path: Path) -> None:
    """A network of fully connected layers alone."""
    m = Model()
    x = m.node("Relu", m.node("Gemm", "x", m.weights(6, 20), m.vector(6), transB=1))
    path = m.save(tmp_path, m.node("Gemm", x, m.weights(3, 6), m.vector(3), transB=1), shape=("n", 20))
    imported, pictures = load_network(path), images(m.rng, (1, 1, 20))
    expected = run_onnx(path, (pictures.reshape(1, 20) / 255).astype(np.float32))
    np.testing.assert_allclose(run_imported(imported, pictures), expected, atol=1e-5)


def test_names_that_torch_uses_itself(tmp_path: Path) -> None:
    m = Model()
    x = m.conv(m.conv(m.conv("x", 3, 4, name="type"), 4, 4, name="a.b/c:0"), 4, 4, name="a_b_c_0")
    imported = check(tmp_path, m, classifier(m, x, 4))
    assert [layer.name for layer in imported.network.layers][:3] == ["type_layer", "a_b_c_0", "a_b_c_0_2"]
    assert list(imported.nodes.values())[:3] == ["type", "a.b/c:0", "a_b_c_0"]


def test_asking_for_a_shape_is_no_use(tmp_path: Path) -> None:
    """A Relu is still fused into a convolution whose shape is asked for."""
    m = Model()
    x = m.conv("x", 3, 4)
    shape = m.node("Shape", x)
    imported = check(tmp_path, m, classifier(m, m.node("Reshape", m.node("Relu", x), shape), 4))
    assert ops(imported) == ["conv", "avgpool", "fc"]
