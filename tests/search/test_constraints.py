"""Constraints: what is left of the space and the goal, and one line for what is wrong."""

import re
from dataclasses import replace

import pytest
import torch

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk
from dna.accelerator.mapping import Mapping
from dna.compile.default_mapping import default_pipeline
from dna.compile.lowering import lower
from dna.design import Design
from dna.errors import UserError
from dna.network.zoo import Request, build
from dna.search.constraints import Constraints
from dna.search.constraints_file import absolute, constraints_of, parse_chunks, read_constraints
from dna.search.goal import Fastest, Limit
from dna.search.point import Point
from dna.search.refine import blank_weights
from dna.search.space import whole_space

NETWORK = build("resnet18", Request((32, 32, 3), 0.25, 10)).network
LAYERS = lower(NETWORK).layers
TENSORS = [layer.name for layer in LAYERS[:-1]]
BOARD = load_board("zc706")


def left(content, most=3, **more):
    return constraints_of(content).space(LAYERS, whole_space(), most, tensors=TENSORS, **more)


def drawn(space, count=200):
    return space.decode(space.sample(count, torch.Generator().manual_seed(0)))


def test_nothing_given_leaves_everything():
    assert constraints_of({}).empty and not constraints_of({"chunks": 2}).empty
    assert left({}).chunks == (1, 2, 3)
    assert left({}).spaces == (whole_space(),) * 3


@pytest.mark.parametrize(
    ("content", "numbers"),
    [
        ({"chunks": 4}, (4,)),
        ({"chunks": [3, 1]}, (1, 3)),
        ({"each": {1: {"px": 4}}}, (2, 3)),
        ({"layers": {LAYERS[0].name: 0, LAYERS[-1].name: [2, 3]}}, (3,)),
        ({"chunks": [2, 3], "each": {2: {"px": 4}}}, (3,)),
    ],
)
def test_numbers_of_chunks(content, numbers):
    assert left(content).chunks == numbers


def test_parameters_of_all_chunks_and_of_one():
    content = {
        "chunks": 2,
        "every": {"post_lanes": [8, 16], "packed": True, "dataflow": "output", "share": [2, 4]},
        "each": {1: {"oc": 16, "ic": 1, "px": 5, "packed": False, "share": 7}},
    }
    plain = drawn(left(content))
    assert set(plain.values["post_lanes"].flatten().tolist()) == {8, 16}
    assert set(plain.values["px"][:, 1].tolist()) == {5} and len(set(plain.values["px"][:, 0].tolist())) > 5
    assert plain.values["packed"][:, 0].all() and not plain.values["packed"][:, 1].any()
    assert set(plain.shares[:, 0].tolist()) == {2, 4} and set(plain.shares[:, 1].tolist()) == {7}
    given = constraints_of(content)
    chunk = Chunk(oc=16, ic=1, px=5, post_lanes=8)
    assert given.allows(chunk, 1) and not given.allows(chunk, 0) and not given.allows(chunk)
    assert given.allows(replace(chunk, packed=True)) and not given.allows(replace(chunk, px=4), 1)


def test_layers_stay_on_their_chunks_even_against_the_order():
    first, last = LAYERS[0].name, LAYERS[-1].name
    runs = left({"layers": {first: 0, last: [1, 2]}}, even=True)
    assert runs.assignment == "contiguous" and set(drawn(runs).assignment[:, -1].tolist()) == {1, 2}
    mixed = left({"layers": {first: 1, last: 0}, "chunks": 2})
    assert mixed.assignment == "free" and set(drawn(mixed).assignment[:, 0].tolist()) == {1}
    some = left({"layers": {"*_conv1": 1}, "chunks": 2}, assignment="free")
    of = [index for index, layer in enumerate(LAYERS) if layer.name.endswith("_conv1")]
    assert len(of) > 4 and set(drawn(some).assignment[:, of].flatten().tolist()) == {1}


def test_places_frames_and_batches():
    space = left({"on_chip": TENSORS[0], "in_memory": TENSORS[1:3], "frames": 4, "batch": [1, 4], "chunks": 2})
    plain = drawn(space)
    assert plain.on_chip[:, 0].all() and not plain.on_chip[:, 1:3].any() and plain.on_chip[:, 3].any()
    assert set(plain.frames.tolist()) == {4} and set(plain.batches.flatten().tolist()) == {1, 4}
    assert left({"batch": 2}, frames=(1, 2, 4)).frames == (2, 4)


POINT = Point((Chunk(), Chunk(px=4)), (2, 2), (0,) * 5 + (1,) * (len(LAYERS) - 5), 4, (), frozenset(TENSORS[:2]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"chunks": 2, "each": {1: {"px": [2, 4]}}, "frames": 4, "batch": [2, 4], "on_chip": TENSORS[0]}, None),
        ({"chunks": [1, 3]}, "chunks: 2 are not asked for"),
        ({"each": {1: {"px": 2}}}, "each: chunk 1 has other parameters"),
        ({"layers": {LAYERS[5].name: 0}}, f"layers: '{LAYERS[5].name}' is on chunk 1"),
        ({"on_chip": TENSORS[2]}, f"on_chip: tensor '{TENSORS[2]}' has no room on chip"),
        ({"in_memory": TENSORS[1:3]}, f"in_memory: tensor '{TENSORS[1]}' is on chip"),
        ({"frames": [1, 2]}, "frames: a pass of 4"),
        ({"batch": 1}, "batch: other frames per weight load"),
    ],
)
def test_a_point_keeps_what_is_given(content, message):
    given = constraints_of(content)
    assert not given.fixed
    if message is None:
        given.check(POINT, LAYERS, TENSORS)
        return
    with pytest.raises(UserError, match=f"constraints: {re.escape(message)}$"):
        given.check(POINT, LAYERS, TENSORS)


def test_limits_and_a_share_of_the_board_are_limits_of_the_goal():
    given = constraints_of({"limits": {"buffer": "1 MB", "dsp": 500}, "board_share": 0.5})
    goal = given.goal(Fastest(limits=(Limit("fps", 10), Limit("lut", 50_000))), BOARD)
    found = {limit.name: limit.value for limit in goal.limits}
    assert found == {"fps": 10, "lut": 50_000, "buffer": 1024, "dsp": 450, "bram36": 272.5, "ff": 218_600}
    twice = constraints_of({"limits": {"fps": 20}}).goal(Fastest(limits=(Limit("fps", 10),)), BOARD)
    assert twice.frames_per_second == 20


def saved(folder):
    narrow = {"ports": 1, "port_bytes": 8}
    accelerator = Accelerator((Chunk(oc=16, ic=4, px=2, **narrow), Chunk(oc=16, ic=2, px=3, **narrow)))
    mapping = default_pipeline(NETWORK, accelerator)
    design = Design(NETWORK, blank_weights(NETWORK), accelerator, mapping, BOARD)
    design.save(folder / "design")
    return design


def test_a_kept_accelerator_leaves_its_parameters_no_choice(tmp_path):
    design = saved(tmp_path)
    given = constraints_of({"keep_accelerator": str(tmp_path)})
    space = given.space(LAYERS, whole_space(), 4)
    assert space.chunks == (2,) and given.accelerator == design.accelerator
    assert {name.split(".")[-1] for name in space.names} == {"cut1", "share"}
    point = space.point(space.sample(1, torch.Generator().manual_seed(0))[0])
    assert [(chunk.oc, chunk.ic, chunk.px) for chunk in point.chunks] == [(16, 4, 2), (16, 2, 3)]


def test_a_kept_mapping_leaves_the_chunks_to_the_search(tmp_path):
    design = saved(tmp_path)
    given = constraints_of({"keep_mapping": str(tmp_path / "design")})
    space = given.space(LAYERS, whole_space(), 4, tensors=TENSORS)
    assert space.chunks == (2,) and isinstance(given.mapping, Mapping)
    plain = drawn(space)
    assert (plain.assignment == torch.tensor(design.mapping.chunks)).all() and not plain.on_chip.any()
    assert set(plain.frames.tolist()) == {design.mapping.frames}
    with pytest.raises(UserError, match=f"keep_mapping: is for {len(LAYERS)} layers; the network has 3"):
        given.space(LAYERS[:3], whole_space(), 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "a table of keys is expected"),
        ("chunk: 4", "unknown key 'chunk'; known: chunks, every"),
        ("chunks: 17", "chunks: is 17; it must be a whole number from 1 to 16"),
        ("chunks: many", "chunks: is 'many'"),
        ("chunks: []", "chunks: the list is empty"),
        ("every: {lanes: 4}", "every: a chunk has no parameter 'lanes'"),
        ("every: {residual: true}", "every: a chunk has no parameter 'residual'"),
        ("every: {px: true}", "every: px is True; it must be a whole number"),
        ("every: {packed: 1}", "every: packed is 1; it must be true or false"),
        ("every: {dataflow: row}", "every: dataflow is 'row'; it must be one of output, weight, input"),
        ("every: {px: []}", "every: px: the list is empty"),
        ("every: {share: 0}", "every: share is 0"),
        ("every: 4", "every: a table of parameters is expected"),
        ("each: {first: {px: 4}}", "each: chunk 'first': it must be a number"),
        ("each: {16: {px: 4}}", "each: chunk 16"),
        ("layers: [conv1]", "layers: a table from layers"),
        ("layers: {conv1: -1}", "layers: is -1"),
        ("on_chip: 3", "on_chip: is 3; it must be the name of a tensor"),
        ("frames: 0", "frames: is 0"),
        ("limits: {speed: 4}", "limits: limit is 'speed'; known: fps"),
        ("limits: {buffer: much}", "limits: limit is 'buffer=much'"),
        ("board_share: 2", "board_share: is 2; it must be above 0 and at most 1"),
        ("keep_accelerator: gone", "keep_accelerator: gone holds no design"),
        ("keep_mapping: 3", "keep_mapping: is 3; it must be the folder"),
        ("chunks: {", "not YAML"),
    ],
)
def test_mistakes_are_one_line_with_file_and_key(text, message, tmp_path):
    path = tmp_path / "given.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        read_constraints(path)
    assert str(refused.value).startswith(str(path)) and message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"layers": {"stem": 0}}, "constraints: layers: there is no layer 'stem'; there are "),
        ({"on_chip": "gone*"}, "constraints: on_chip: there is no tensor that may be on chip 'gone*'"),
        ({"chunks": 1, "each": {2: {"px": 1}}}, "constraints: chunks: at most 1, but chunk 2 is asked for elsewhere"),
        ({"every": {"px": 200}}, "constraints: every: chunk: px is 200; it must be 1 to 128"),
        ({"each": {0: {"oc": 2, "ic": 1}}}, "constraints: each.0: search space: no combination"),
        ({"layers": {LAYERS[0].name: 1, LAYERS[1].name: 1}, "chunks": 2}, "chunks: no assignment of"),
        ({"layers": {LAYERS[3].name: [0, 2]}}, "must be a run of numbers"),
        ({"batch": [3], "frames": 4}, "a batch of 3 does not divide"),
    ],
)
def test_what_leaves_nothing_is_named(content, message):
    with pytest.raises(UserError) as refused:
        left(content, assignment="contiguous")
    assert message in str(refused.value) and str(refused.value).startswith("constraints: ")


def test_a_limit_that_the_board_does_not_have_is_refused():
    with pytest.raises(UserError, match="is an ASIC and has no dsp"):
        Constraints(limits=(Limit("dsp", 100),)).goal(Fastest(), load_board("asic-45nm"))


def test_chunks_in_short():
    assert parse_chunks("4") == (4,) and parse_chunks("2-4") == (2, 3, 4)
    for text in ("0", "4-2", "17", "x", "1-", ""):
        with pytest.raises(UserError, match="chunks is"):
            parse_chunks(text)


def test_folders_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute({"keep_mapping": "run", "chunks": 2}) == {"keep_mapping": str(tmp_path / "run"), "chunks": 2}
