"""The layer contract: groups, concats and means that leave padding out."""

from __future__ import annotations

import pytest

from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network, TensorShape, concat_layer

SHAPES = {"input": TensorShape(4, 5, 6, True), "a": TensorShape(4, 5, 8, True), "b": TensorShape(4, 5, 3, False)}


def test_a_grouped_convolution_counts_its_own_channels() -> None:
    layer = Layer("a", "conv", "input", 6, 4, 5, 9, (3, 3), padding=(1, 1, 1, 1), groups=3)
    assert layer.weight_shape == (9, 2, 3, 3)
    assert layer.macs == 4 * 5 * 9 * 2 * 9
    assert (layer.group_inputs, layer.group_outputs) == (2, 3)


def test_counted_windows() -> None:
    layer = Layer("p", "avgpool", "input", 1, 4, 2, 1, (3, 3), (2, 1), (1, 1, 1, 1), count_padding=False)
    assert layer.counted_rows == (2, 3)  # rows -1..1 and 1..3
    assert layer.counted_cols == (2, 2)
    assert layer.window_sizes == (6, 4) and layer.param_shape == (2, 1)
    counting = layer.renamed(count_padding=True)
    assert counting.window_sizes == (9,) and counting.param_shape == (1,)
    # one size only, though it is not the kernel's
    assert layer.renamed(in_height=1, kernel=(3, 1), padding=(1, 0, 1, 0), stride=(1, 1)).window_sizes == (1,)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"groups": 4}, "4 groups do not divide 6 input and 8 output channels"),
        ({"groups": 0}, "0 groups do not divide"),
        ({"op": "fc", "kernel": (4, 5), "groups": 2}, "fc has no groups"),
        ({"count_padding": False}, "only avgpool can leave padding out"),
        ({"parts": ("input", "a")}, "a concat has parts, no other operator has"),
        ({"op": "concat"}, "a concat has parts"),
        ({"op": "concat", "parts": ("input",)}, "takes two or more parts"),
        ({"op": "concat", "parts": ("a", "input")}, "its input is the first of them"),
        ({"op": "concat", "parts": ("input", "a"), "stride": (2, 2)}, "no window and no residual"),
        ({"op": "concat", "parts": ("input", "a"), "hi": 100}, "passes its parts on"),
        ({"op": "concat", "parts": ("input", "a"), "out_signed": False, "lo": 0}, "passes its parts on"),
        ({"op": "concat", "parts": ("input", "a")}, "in_channels is 6 and out_channels 8"),
    ],
)
def test_wrong_fields_are_named(fields: dict, message: str) -> None:
    given = {"op": "conv", "input": "input", "in_channels": 6, "in_height": 4, "in_width": 5, "out_channels": 8}
    with pytest.raises(UserError, match=f"layer 'x': .*{message}"):
        Layer("x", **{**given, **fields})  # type: ignore[arg-type]


def test_concats_in_networks() -> None:
    a = Layer("a", "conv", "input", 6, 4, 5, 8)
    both = concat_layer("both", ("a", "input"), SHAPES)
    network = Network("n", (a, both))
    assert network.shapes["both"] == TensorShape(4, 5, 14, True)
    assert not both.computes and both.macs == 0 and both.sources == ("a", "input")
    for layers, message in [
        ((a, both.renamed(in_channels=15, out_channels=15)), "has 15 channels, but its parts have 14"),
        ((a, both.renamed(parts=("a", "b"))), "reads 'b', which no earlier layer writes"),
        ((a, a.renamed(name="b", out_signed=False, lo=0, hi=255), both.renamed(parts=("a", "b"))), "part 'b' is"),
        ((concat_layer("c", ("input", "input"), SHAPES),), "it cannot be a concat"),
    ]:
        with pytest.raises(UserError, match=message):
            Network("n", layers)
