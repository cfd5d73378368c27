"""Where concats, groups and means without padding end up: places, channel orders, inserted layers, tiles."""

from __future__ import annotations

import numpy as np
import pytest

from dna.accelerator.chunk import Chunk
from dna.accelerator.isa import DESTINATIONS
from dna.accelerator.mapping import LayerMapping
from dna.compile.layout import pack_values, unpack_values, word_addresses
from dna.compile.lowering import HOLE, executed_groups, lower
from dna.compile.program import Program
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network, concat_layer
from tests.compile.cases import Case, conv, made_case
from tests.compile.test_interpret import assert_equal


class Builder:
    """Layers on a 6 x 5 map, one after the other."""

    def __init__(self, channels: int) -> None:
        self.layers: list[Layer] = [conv("stem", "input", (6, 5, 3), channels, hi=127)]

    @property
    def network(self) -> Network:
        return Network("built", tuple(self.layers))

    def conv(self, name: str, source: str, channels: int, **more: object) -> Builder:
        shape = self.network.shapes[source]
        self.layers.append(conv(name, source, (6, 5, shape.channels), channels, **more))  # type: ignore[arg-type]
        return self

    def per_channel(self, name: str, op: str, source: str, **more: object) -> Builder:
        channels = self.network.shapes[source].channels
        window = {} if op == "add" else {"kernel": (3, 3), "padding": (1, 1, 1, 1)}
        pad = {"pad_value": -128} if op == "maxpool" else {}
        layer = Layer(name, op, source, channels, 6, 5, channels, **{**window, **pad, **more})  # type: ignore[arg-type]
        self.layers.append(layer)
        return self

    def concat(self, name: str, *parts: str) -> Builder:
        self.layers.append(concat_layer(name, parts, self.network.shapes))
        return self

    def case(self) -> Case:
        return made_case(self.layers, Chunk(oc=16, ic=4, px=3, weight_words=4096, input_words=1024))

    def inserted(self) -> dict[str, str]:
        """Inserted layers and their operators."""
        lowered = lower(self.network)
        return {layer.name: layer.op for layer in lowered.layers if layer.name in lowered.sources}


def test_parts_are_written_straight_into_their_places() -> None:
    built = Builder(16).conv("a", "stem", 16).conv("b", "stem", 20).conv("c", "stem", 7)
    built.concat("cat", "a", "b", "c").conv("d", "cat", 8)
    lowered = lower(built.network)
    assert [layer.name for layer in lowered.layers] == ["stem", "a", "b", "c", "d"]
    assert lowered.places == {"a": ("cat", 0), "b": ("cat", 1), "c": ("cat", 3)}
    assert lowered.orders["cat"] == (*range(36), *[HOLE] * 12, *range(36, 43))
    assert lowered.layers[-1].in_channels == 16 + 32 + 7
    assert lowered.writers("cat") == ("a", "b", "c")
    program = built.case().compile()
    cat, b = program.tensors["cat"], program.tensors["b"]
    assert (cat.groups, cat.row_words, cat.shape) == (4, 4 * 5, (6, 5, 43))
    assert (b.address, b.row_words, b.groups) == (cat.address + 5, 4 * 5, 2)
    assert_equal(built.case())


def test_a_reader_waits_for_all_parts() -> None:
    built = Builder(16).conv("a", "stem", 16).conv("b", "stem", 16).concat("cat", "b", "a").conv("d", "cat", 8)
    program = built.case().compile()
    stores = [job.layer for job in program.instructions if job.op == "STORE"]
    first = next(job for job in program.instructions if job.op == "LOAD" and job.layer == 3 and job["dest"] == 0)
    done = stores[: first["wait_commit"]]
    assert first["dest"] == DESTINATIONS["INPUT"] and {1, 2} <= set(done)


def test_concats_within_concats_take_no_copy() -> None:
    built = Builder(8).conv("a", "stem", 24).conv("b", "stem", 8).concat("ab", "a", "b").conv("c", "ab", 5)
    built.concat("abc", "ab", "c").per_channel("p", "maxpool", "abc").conv("d", "p", 8)
    assert built.inserted() == {}
    lowered = lower(built.network)
    assert lowered.places == {"a": ("ab", 0), "b": ("ab", 2), "ab": ("abc", 0), "c": ("abc", 3)}
    assert (
        lowered.orders["p"]
        == lowered.orders["abc"]
        == (*range(24), *[HOLE] * 8, *range(24, 32), *[HOLE] * 8, *range(32, 37))
    )
    assert_equal(built.case())


def test_growing_concats_of_the_same_parts_take_no_copy() -> None:
    """As densely connected networks have them: each concat begins with the parts of the one before."""
    built = Builder(16).conv("a", "stem", 8).concat("two", "stem", "a").conv("b", "two", 8)
    built.concat("three", "stem", "a", "b").conv("c", "three", 8).concat("four", "stem", "a", "b", "c").conv(
        "d", "four", 4
    )
    assert built.inserted() == {}
    assert lower(built.network).places["three"] == ("four", 0)
    assert_equal(built.case())


def test_a_part_with_another_place_is_copied() -> None:
    built = Builder(10).conv("a", "stem", 20, in_signed=True).concat("one", "stem", "a").conv("b", "one", 8)
    built.concat("two", "a", "b", "b").concat("three", "one", "input", "two").conv("c", "three", 4)
    assert built.inserted() == {"two.a": "maxpool", "two.b": "maxpool", "three.input": "maxpool"}
    lowered = lower(built.network)
    assert lowered.source("two.a") == "a" and lowered.source("three.input") == "input"
    assert_equal(built.case())


def test_names_of_copies_are_not_taken() -> None:
    built = Builder(8).conv("cat.input", "stem", 8).concat("cat", "cat.input", "input").conv("c", "cat", 4)
    assert built.inserted() == {"cat.input_": "maxpool"}


@pytest.mark.parametrize("op", ["depthwise", "maxpool", "avgpool", "add"])
def test_layers_that_keep_channels_apart_read_holes(op: str) -> None:
    more = {"residual": "cat"} if op == "add" else {}
    built = Builder(8).conv("a", "stem", 17).concat("cat", "stem", "a").per_channel("p", op, "cat", **more)
    built.conv("d", "p", 4)
    assert built.inserted() == {}
    assert lower(built.network).orders["p"] == (*range(8), *[HOLE] * 8, *range(8, 25))
    assert_equal(built.case())


def test_a_convolution_takes_the_order_of_its_residual() -> None:
    built = Builder(8).conv("a", "stem", 17).concat("cat", "stem", "a").conv("b", "cat", 25, residual="cat")
    built.conv("c", "b", 25, residual="b").conv("d", "c", 4)
    assert built.inserted() == {}
    assert lower(built.network).orders["c"] == lower(built.network).orders["cat"]
    assert_equal(built.case())


def test_a_residual_of_another_order_is_repacked() -> None:
    built = Builder(8).conv("a", "stem", 17).concat("cat", "stem", "a").conv("b", "stem", 25)
    built.per_channel("p", "depthwise", "b", residual="cat").conv("d", "p", 4)
    assert built.inserted() == {"p.residual": "conv"}
    assert_equal(built.case())


def test_the_output_has_plain_channels() -> None:
    aligned = Builder(16).conv("a", "stem", 5).concat("out", "stem", "a")
    assert aligned.inserted() == {}
    assert aligned.case().compile().tensors["out"].region == "OUTPUT"
    assert_equal(aligned.case())
    ragged = Builder(5).conv("a", "stem", 16).concat("out", "stem", "a")
    assert ragged.inserted() == {"out.packed": "conv"}
    program = ragged.case().compile()
    output = program.tensors[program.output]
    assert (output.name, output.region, output.order, output.source) == ("out.packed", "OUTPUT", None, "out")
    assert_equal(ragged.case())


def test_packing_keeps_to_the_order() -> None:
    program = Builder(5).conv("a", "stem", 18).concat("cat", "stem", "a").conv("d", "cat", 4).case().compile()
    tensor = program.tensors["cat"]
    x = np.random.default_rng(0).integers(-128, 128, tensor.shape)
    data = pack_values(tensor, x)
    assert len(data) == 16 * tensor.words and np.array_equal(unpack_values(tensor, data), x)
    words = np.frombuffer(data, np.int8).reshape(6, 3, 5, 16)
    assert np.array_equal(words[:, 0, :, :5], x[:, :, :5]) and not words[:, 0, :, 5:].any()
    assert np.array_equal(words[:, 1], x[:, :, 5:21]) and np.array_equal(words[:, 2, :, :2], x[:, :, 21:])
    part = program.tensors["a"]
    assert word_addresses(part).tolist() == [part.address + 15 * row + n for row in range(6) for n in range(10)]
    assert part.extent == 5 * 15 + 10


@pytest.mark.parametrize(
    ("inputs", "outputs", "groups", "executed"),
    [
        (64, 64, 2, 2), (64, 64, 4, 4), (64, 64, 8, 4), (64, 64, 64, 4), (128, 64, 32, 4), (48, 48, 3, 3),
        (24, 24, 3, 1), (96, 96, 12, 6), (96, 96, 4, 2), (30, 30, 3, 1), (144, 144, 9, 9),
    ],
)  # fmt: skip
def test_groups_are_merged_to_whole_words(inputs: int, outputs: int, groups: int, executed: int) -> None:
    layer = Layer("g", "conv", "input", inputs, 4, 4, outputs, groups=groups)
    assert executed_groups(layer) == executed
    assert executed_groups(layer, plain=False) == 1
    assert_equal(made_case([layer], Chunk(px=2, weight_words=2048)))


@pytest.mark.parametrize("order", ["inputs", "weights"])
@pytest.mark.parametrize("part", [16, 32])
def test_a_group_reads_its_own_channels(order: str, part: int) -> None:
    layer = conv("g", "input", (6, 6, 96), 64, groups=2)
    mapping = LayerMapping(1, 1, 3, 6, part, 48, 3, order)  # type: ignore[arg-type]
    case = made_case([layer], Chunk(px=2, input_words=2048, weight_words=2048), [mapping])
    program = case.compile()
    assert_equal(case)
    inputs = jobs(program, "INPUT")
    assert {job["groups"] for job in inputs} == {3}
    assert {job["address"] // 6 % 6 for job in inputs} == {0, 3}
    assert len(inputs) == 2 * 2 * (1 if order == "inputs" else 32 // part)
    weights = sum(job["run"] * job["n_inner"] * job["n_outer"] for job in jobs(program, "WEIGHT"))
    assert weights * 16 % (64 * 48 * 9) == 0


def test_slices_stay_in_their_group() -> None:
    layer = conv("g", "input", (4, 4, 128), 32, groups=2)
    assert_equal(made_case([layer], Chunk(px=2), [LayerMapping(1, 2, 1, 1, 16, 32, 3)]))


def test_tiles_end_where_the_count_changes() -> None:
    layer = Layer("p", "avgpool", "input", 20, 8, 8, 20, (3, 3), (1, 1), (1, 1, 1, 1), count_padding=False)
    case = made_case([layer], Chunk(px=4), [LayerMapping(2, 2, 4, 4, 20, 20, 3)])
    program = case.compile()
    tiles = [(job["out_rows"], job["out_cols"]) for job in program.instructions if job.op == "TILE"]
    assert tiles == [(rows, cols) for rows in (1, 6, 1) for cols in (1, 6, 1)]
    assert len({job["address"] for job in jobs(program, "PARAM")}) == 3  # 4, 6 and 9 elements
    assert_equal(case)


def test_a_mapping_is_one_entry_per_executed_layer() -> None:
    built = Builder(8).conv("a", "stem", 8).concat("cat", "a", "input").conv("c", "cat", 4)
    case = built.case()
    assert len(case.mapping.layers) == 4  # without the concat, with the input's copy
    short = Case(case.network, case.weights, case.chunk, type(case.mapping)(case.mapping.layers[:3]), case.x_HWC)
    with pytest.raises(UserError, match="the mapping has 3 layers, network 'made' 4 to be executed"):
        short.compile()


def jobs(program: Program, dest: str) -> list:
    return [job for job in program.instructions if job.op == "LOAD" and job["dest"] == DESTINATIONS[dest]]
