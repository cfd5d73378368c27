"""`dna search --network`: networks from the zoo and from files, what is refused, and what is generated from them."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from dna import bring, cli, runs
from dna.accelerator.board import load_board
from dna.brought import RANDOM_IMAGES, Source, load, to_integers
from dna.cost.resources import accelerator_resources
from dna.design import Design
from dna.errors import UserError
from dna.network.importer import load_network
from dna.network.layer import Layer
from dna.network.network import Network
from dna.project import compiled
from dna.quantize.imported import given_integers
from dna.quantize.onnx_export import to_onnx
from dna.quantize.reference import run as run_reference
from dna.report.build import summarise
from dna.search import accelerate
from dna.search.one_chunk import check_runnable

SHORT = ["--minutes", "0.1"]
FEW = ["--goal", "latency", *SHORT]
"""A goal whose optimum is proven in no time."""
ZOO = ["--network", "squeezenet1_1", "--input-size", "32", "--width", "0.25", "--classes", "5"]


def small_model(height=8, width=8, seed=0):
    """Two convolutions with ReLU, the second with stride 2, the mean of the map, 4 classes."""
    rng = np.random.default_rng(seed)
    arrays = {
        "w0": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "b0": rng.normal(0, 0.1, 8),
        "w1": rng.normal(0, 0.2, (8, 8, 3, 3)),
        "b1": rng.normal(0, 0.1, 8),
        "w2": rng.normal(0, 0.5, (4, 8)),
        "b2": rng.normal(0, 0.1, 4),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["a"], "first", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w1", "b1"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("GlobalAveragePool", ["d"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("Gemm", ["f", "w2", "b2"], ["y"], transB=1),
    ]
    constants = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, height, width])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph(nodes, "small", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with a model, images for it, and a number of wrong files."""
    monkeypatch.chdir(tmp_path)
    content = small_model().SerializeToString()
    (tmp_path / "model.onnx").write_bytes(content)
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) // 2])
    onnx.save(small_model("rows", "columns"), "open.onnx")
    (tmp_path / "wrong.yaml").write_text("every: {lanes: 4}")
    rng = np.random.default_rng(1)
    np.save("images.npy", rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8))
    np.savez("images.npz", images=rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8))
    np.save("large.npy", rng.integers(0, 256, (12, 9, 8, 3), dtype=np.uint8))
    np.save("real.npy", rng.random((12, 8, 8, 3)))
    (tmp_path / "none").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--network", "resnet19"], "network 'resnet19': neither a file nor a network of the zoo; known: alexnet"),
        (["--network", "gone.onnx", "--calibrate", "images.npy"], "gone.onnx: there is no such file"),
        (["--network", "cut.onnx", "--calibrate", "images.npy"], "cut.onnx: not a readable ONNX model"),
        (["--network", "open.onnx", "--calibrate", "images.npy"], "is dynamic; give it with --input-size"),
        (["--network", "model.onnx"], "give a folder or .npy file with --calibrate"),
        (["--network", "model.onnx", "--calibrate", "none"], "none holds no picture"),
        (["--network", "model.onnx", "--calibrate", "gone"], "gone is neither a folder of pictures nor"),
        (["--network", "model.onnx", "--calibrate", "large.npy"], "is (12, 9, 8, 3), the network takes"),
        (["--network", "model.onnx", "--calibrate", "real.npy"], "must hold whole numbers in [0, 255]"),
        (["--network", "model.onnx", "--calibrate", "images.npy", "--width", "0.5"], "--width is for a network of the"),
        (["--network", "model.onnx", "--calibrate", "images.npy", "--mean", "0.1,0.2"], "mean has 2 values"),
        (["--network", "model.onnx", "--calibrate", "images.npy", "--dataset", "digits"], "--dataset is of no use"),
        (["--network", "model.onnx", "--calibrate", "images.npy", "--method", "guess"], "method is 'guess'; known"),
        ([*ZOO, "--mean", "0.5"], "--mean is for a model file"),
        ([*ZOO, "--goal", "soon"], "goal is 'soon'"),
        ([*ZOO, "--goal", "area"], "goal area: board 'zc706' has no area figures"),
        ([*ZOO, "--limit", "dsp"], "limit is 'dsp'; it must be NAME=NUMBER"),
        ([*ZOO, "--limit", "energy=1mJ"], "limit energy: board 'zc706' has no energy figures"),
        ([*ZOO, "--chunks", "4-2"], "chunks is '4-2'; it must be a number from 1 to 16"),
        ([*ZOO, "--constraints", "gone.yaml"], "gone.yaml: No such file"),
        ([*ZOO, "--constraints", "wrong.yaml"], "wrong.yaml: every: a chunk has no parameter 'lanes'"),
        ([*ZOO[:2], "--input-size", "0"], "input size 0x0"),
        ([*ZOO[:2], "--input-size", "4x32x32"], "take 3 channels, not 4"),
        ([*ZOO[:2], "--input-size", "big"], "'big' is not a list of numbers"),
        (["--network", "alexnet", "--input-size", "4"], "an image of 4 x 4 is too small"),
        ([*ZOO[:2], "--width", "17"], "width is 17.0"),
        ([*ZOO, "--fold", "3"], "--fold 3: the input of 'squeezenet1_1' cannot be folded so; possible: 2"),
        (["--network", "model.onnx", "--calibrate", "images.npy", "--fold", "2"], "possible: none, for a strided"),
        (["--fold", "2"], "--fold is of no use without --network"),
        (["--calibrate", "images.npy"], "--calibrate is of no use without --network"),
        (["--input-size", "32"], "--input-size is of no use without --network"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_run(arguments, message, capsys):
    assert cli.main(["search", "--board", "zc706", *arguments]) == cli.EXIT_USER_ERROR
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.startswith("dna: ") and error.count("\n") == 0 or "Usage" in error
    assert runs.numbered() == []


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Layer("wide", "fc", "input", 16, 1, 9000, 10, (1, 9000)), "layer 'wide': "),
        (Layer("thick", "depthwise", "input", 16 * 5000, 2, 2, 16 * 5000), "layer 'thick': input channel groups"),
        (Layer("heavy", "fc", "input", 2**15, 1, 1, 2**18), "layer 'heavy': has 536870912 of 536870912 words of"),
    ],
)
def test_a_network_beyond_every_accelerator_is_refused_by_layer_and_limit(layer, message):
    with pytest.raises(UserError) as refused:
        check_runnable(Network("large", (layer,)))
    assert str(refused.value).startswith(message) and "limit is" in str(refused.value)


def test_from_the_zoo_to_a_report_that_says_the_weights_are_random(capsys):
    assert cli.main(["search", "--board", "zc706", *ZOO, *SHORT]) == 0
    said = capsys.readouterr().out
    assert "weights are random" in said and f"{RANDOM_IMAGES} random images" in said
    assert "by the price model" in said or "the method gives no bound" in said
    run = runs.find()
    design = Design.load(run.design)
    assert design.network.name == "squeezenet1_1" and design.network.shapes["input"].height == 32
    figures = design.metrics["search"]
    assert figures["cycles"] <= figures["latency_cycles"] and figures["trace"][-1][1] == figures["cost"]
    assert all(chunk.instructions[-1].op == "END" for chunk in compiled(design).chunks)
    summary = summarise(run)
    assert any("weights are random" in line for line in summary.notices)
    assert summary.title.startswith("squeezenet1_1 on zc706")
    assert cli.main(["report"]) == 0
    assert "weights are random" in (run.report / "index.html").read_text()


def test_from_onnx_to_a_project_proven_with_a_calibration_image(capsys):
    arguments = ["--network", "model.onnx", "--calibrate", "images.npz", "--mean", "0.4,0.5,0.6", "--std", "0.25"]
    assert cli.main(["search", "--board", "pynq-z2", "--goal", "fps=500", *arguments, *SHORT]) == 0
    assert "of 12 calibration images" in capsys.readouterr().out
    run = runs.find()
    design = Design.load(run.design)
    board = load_board("pynq-z2")
    assert design.metrics["rivals"][0]["cycles"] <= board.cycles_per_second / 500
    assert cli.main(["generate"]) == 0
    image = np.load("images.npz")["images"][0]
    frame = np.load(bring.frame_path(run))
    np.testing.assert_array_equal(frame[..., :3], image)
    assert frame.shape == (8, 8, 4) and (frame[..., 3] == 255).all(), "an alpha channel carries the mean"
    assert (run.project / "program").is_dir()


def test_a_folder_of_pictures_of_any_size_is_brought_to_the_networks_size(place, capsys):
    (place / "pictures" / "more").mkdir(parents=True)
    rng = np.random.default_rng(5)
    for index, (name, kind) in enumerate([("a.png", "PNG"), ("more/b.jpg", "JPEG"), ("c.png", "PNG")]):
        pixels = rng.integers(0, 256, (20 + index, 31, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "pictures" / name, kind)
    arguments = ["--network", "model.onnx", "--calibrate", "pictures"]
    assert cli.main(["search", "--board", "zc706", *arguments, *SHORT]) == 0
    assert "calibrated with 3 images of pictures" in capsys.readouterr().out
    assert np.load(bring.frame_path(runs.find())).shape == (8, 8, 3)
    (place / "pictures" / "d.png").write_bytes(b"no picture")
    assert cli.main(["search", "--board", "zc706", *arguments]) == cli.EXIT_USER_ERROR
    assert "d.png cannot be read" in capsys.readouterr().err


def test_a_folded_input_gives_the_same_answers_on_fewer_words(capsys):
    assert cli.main(["search", "--board", "zc706", *ZOO, "--fold", "2", *FEW]) == 0
    assert "can be folded" not in capsys.readouterr().out
    run = runs.find()
    design, frame = Design.load(run.design), np.load(bring.frame_path(run))
    loaded = load(Source("squeezenet1_1", input_size=(32, 32), width=0.25, classes=5))
    assert any("can be folded, for fewer words to read: --fold 2" in line for line in loaded.notices)
    plain = to_integers(loaded, 0)
    image = loaded.images_NCHW[0].permute(1, 2, 0).numpy()
    assert image.shape == (32, 32, 3) and frame.shape == (16, 16, 12)
    expected = run_reference(plain.network, plain.weights, image.astype(np.int64))[plain.network.output]
    got = run_reference(design.network, design.weights, frame.astype(np.int64))[design.network.output]
    np.testing.assert_array_equal(got, expected)
    pad = plain.network.layers[0].pad_value
    fold = {"factor": 2, "height": 32, "width": 32, "channels": 3, "pad_value": pad}
    assert design.metrics["fold"] == fold
    assert cli.main(["generate"]) == 0
    assert json.loads((run.project / "host" / "dna_program.json").read_text())["fold"] == fold
    np.testing.assert_array_equal(np.load(run.project / "program" / "input.npy"), frame)
    assert cli.main(["export", "--onnx", "out.onnx"]) == 0
    assert "its input is folded: squares of 2 x 2 pixels" in capsys.readouterr().out


def test_export_is_the_network_of_the_run(capsys):
    assert cli.main(["search", "--board", "zc706", "--network", "model.onnx", "--calibrate", "images.npy", *FEW]) == 0
    assert cli.main(["export"]) == cli.EXIT_USER_ERROR
    assert "--onnx FILE is missing" in capsys.readouterr().err
    assert cli.main(["export", "--onnx", "out.onnx"]) == 0
    assert cli.main(["export", "--onnx", "out.onnx"]) == cli.EXIT_USER_ERROR
    assert "--force" in capsys.readouterr().err
    design = Design.load(runs.find().design)
    image = np.load("images.npy")[0].astype(np.int64)
    expected = run_reference(design.network, design.weights, image)[design.network.output]
    network, weights = given_integers(load_network("out.onnx"))
    np.testing.assert_array_equal(run_reference(network, weights, image)[network.output], expected)
    assert cli.main(["export", "--onnx", "exact.onnx", "--exact"]) == 0
    assert (
        Path("exact.onnx").read_bytes()
        == to_onnx(design.network, design.weights, design.metrics["scales"], exact=True).SerializeToString()
    )


def test_an_exported_network_is_searched_with_the_scales_it_brings(capsys):
    assert cli.main(["search", "--board", "zc706", "--network", "model.onnx", "--calibrate", "images.npy", *FEW]) == 0
    assert cli.main(["export", "--onnx", "out.onnx"]) == 0
    first = Design.load(runs.find().design)
    assert cli.main(["search", "--board", "zc706", "--network", "out.onnx", *FEW]) == 0
    assert "quantised with the scales that the model brings" in capsys.readouterr().out
    second = Design.load(runs.find().design)
    for ours, theirs in zip(first.weights.values(), second.weights.values(), strict=True):
        np.testing.assert_array_equal(ours.bias, theirs.bias)
    assert first.accelerator == second.accelerator


def test_a_dynamic_model_takes_the_size_that_is_given():
    arguments = ["--network", "open.onnx", "--calibrate", "images.npy", "--input-size", "8x8", *FEW]
    assert cli.main(["search", "--board", "zc706", *arguments]) == 0
    assert Design.load(runs.find().design).network.shapes["input"].width == 8


def test_an_interrupted_search_goes_on_with_the_same_integers(monkeypatch, capsys):
    real = bring.accelerate

    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(bring, "accelerate", stopped)
    arguments = ["--network", "model.onnx", "--calibrate", "images.npy", "--seed", "3", *FEW]
    assert cli.main(["search", "--board", "zc706", *arguments]) == cli.EXIT_INTERRUPTED
    assert "go on with: dna search --resume" in capsys.readouterr().out
    run = runs.find()
    asked = bring.request_of(run)
    assert asked.source.seed == 3 and asked.source.network.endswith("model.onnx")
    monkeypatch.setattr(bring, "accelerate", real)
    for name in ("model.onnx", "images.npy"):  # quantised already: neither is needed again
        (run.path.parent.parent / name).unlink()
    assert cli.main(["search", "--resume"]) == 0
    assert len(runs.numbered()) == 1
    assert Design.load(run.design).metrics["notices"][-2].startswith("calibrated with 12 images of ")


def test_a_search_whose_time_is_over_says_how_far_it_came():
    source = Source("mobilenet_v2", input_size=(32, 32), width=0.25, classes=4, seed=1)
    run = runs.create("short", bring.options(bring.BringRequest("zc706", source, minutes=1e-6)))
    design = bring.bring(run, lambda stage, done: None)
    figures = design.metrics["search"]
    assert figures["lower_bound"] is None or figures["lower_bound"] <= figures["cycles"]
    assert design.metrics["notices"][-1].startswith(f"{figures['method']}: ")


def test_chunks_limits_and_constraints_are_kept_and_resumed(tmp_path, monkeypatch, capsys):
    (tmp_path / "given.yaml").write_text("every: {post_lanes: 4}\nlimits: {bram36: 100}\n")
    arguments = ["--network", "model.onnx", "--calibrate", "images.npy", "--chunks", "2", "--limit", "dsp=64"]
    asked = ["search", "--board", "zc706", *arguments, "--constraints", "given.yaml", "--method", "random", *SHORT]
    assert cli.main(asked) == 0
    assert "random: " in capsys.readouterr().out
    run = runs.find()
    design = Design.load(run.design)
    assert [chunk.post_lanes for chunk in design.accelerator.chunks] == [4, 4]
    used = accelerator_resources(design.accelerator)
    assert used["dsp"] <= 64 and used["bram36"] <= 100 and len(design.shares) == design.accelerator.ports
    assert design.metrics["constraints"] == {"every": {"post_lanes": 4}, "limits": {"bram36": 100}, "chunks": [2]}
    (tmp_path / "given.yaml").unlink()
    assert cli.main(["search", "--resume"]) == 0
    assert len(Design.load(run.design).accelerator.chunks) == 2
    assert len(runs.numbered()) == 1


def test_a_request_that_nothing_meets_names_limit_and_constraint(monkeypatch, capsys):
    monkeypatch.setattr(accelerate, "RELAXED_SECONDS", 1.0)
    arguments = ["--network", "model.onnx", "--calibrate", "images.npy", "--limit", "fps=1e9", *SHORT]
    assert cli.main(["search", "--board", "zc706", *arguments]) == cli.EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert "no accelerator runs this network on zc706" in error and "of 1e+09 frames/s" in error
