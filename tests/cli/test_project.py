"""`dna generate` and `dna report` on a small Design, and what they refuse."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from dna import cli, runs
from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk, Link
from dna.compile.default_mapping import default_mapping
from dna.cost.resources import resources
from dna.design import Design
from dna.errors import UserError
from dna.network.random import random_network
from dna.project import check_fits, frame_for, load_frame
from dna.quantize.random import random_weights
from dna.report.build import summarise
from dna.verify import hls

CHUNK = Chunk(oc=16, ic=2, px=2, port_bytes=8)


@pytest.fixture(scope="module")
def design():
    rng = np.random.default_rng(3)
    network = random_network(rng)
    metrics = {"accuracy": {"float": 0.99, "int8": 0.98}, "seconds": {"search": 1.5}}
    board = load_board("zc706")
    mapping = default_mapping(network, CHUNK)
    return Design(network, random_weights(network, rng), Accelerator((CHUNK,)), mapping, board, metrics)


@pytest.fixture
def run(design, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = runs.create("test", {"board": "zc706"})
    design.save(run.design)
    return run


def equal_verification(project):
    """What a verification without a difference writes, from the project's own expectations."""
    program = json.loads((project / "program" / "program.json").read_text())
    layers = [
        {
            "name": layer["name"],
            "op": layer["op"],
            "bits_different": 0,
            "elements_different": 0,
            "first_difference": None,
            "cycles_rtl": layer["cycles"],
            "cycles_model": layer["cycles"],
            "causes_different": [],
            "chunk": 0,
            "compared": True,
        }
        for layer in program["layers"]
    ]
    one = {"name": "x", "mode": "fixed", "error": None, "layers": layers, "ok": True}
    one |= {"cycles_model": program["cycles"], "cycles_rtl": program["cycles"]}
    one |= {"pass_ends_model": program["pass_ends"], "pass_ends_rtl": program["pass_ends"], "passes_different": []}
    return {"ok": True, "runs": [one, {**copy.deepcopy(one), "mode": "stalls", "cycles_rtl": program["cycles"] + 99}]}


def record(run, content):
    """As `dna verify` does."""
    report = run.path / "results.json"
    report.write_text(json.dumps(content))
    runs.record_verification(run, run.project, report)


def test_generate_takes_the_latest_run(run, capsys):
    assert cli.main(["generate"]) == 0
    out = capsys.readouterr().out
    assert "runs/test-001/project" in out and "dna verify" in out
    assert (run.project / "rtl" / "dna_top.v").is_file()
    assert (run.project / "design.yaml").read_text() == (run.design / "design.yaml").read_text()
    assert cli.main(["generate"]) == 0, "generating again replaces the project"


def test_generate_for_another_board_uses_its_memory(run, capsys):
    assert cli.main(["generate", "--board", "pynq-z2", "--out", "other"]) == 0
    program = json.loads((run.path.parent.parent / "other" / "program" / "program.json").read_text())
    assert program["memory"][0]["read_latency"] == load_board("pynq-z2").memory.read_latency
    assert "dna verify other" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "--design", "nope"], "no run 'nope'"),
        (["generate", "--board", "nope"], "unknown board 'nope'"),
        (["generate", "--frame", "nope.npy"], "nope.npy: no .npy file"),
        (["generate", "--out", "mine"], "mine exists and is not a project"),
        (["report", "--design", "77"], "no run '77'"),
    ],
)
def test_mistakes_are_one_line(run, arguments, message, capsys):
    (run.path.parent.parent / "mine").mkdir()
    (run.path.parent.parent / "mine" / "thesis.tex").write_text("")
    assert cli.main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_frames(design, tmp_path):
    frame = frame_for(design)
    path = tmp_path / "frame.npy"
    np.save(path, frame)
    np.testing.assert_array_equal(load_frame(design.network, path), frame)
    np.save(path, np.stack([frame, frame]))
    assert load_frame(design.network, path).shape == (2, *frame.shape)
    several = replace(design, mapping=replace(design.mapping, frames=3))
    assert len({one.tobytes() for one in frame_for(several)}) == 3
    for wrong, message in (
        (frame[:-1], "of shape"),
        (frame * 0.5, "takes integers"),
        (frame * 0 + 999, "999; the network"),
    ):
        np.save(path, wrong)
        with pytest.raises(UserError, match=message):
            load_frame(design.network, path)


def test_what_does_not_fit_the_board_names_the_resource(design):
    with pytest.raises(UserError, match=r"needs 72 dsp, board 'zc706' has 71"):
        check_fits(design, replace(design.board, dsp=71))


def test_all_chunks_and_the_banks_between_them_need_resources(design):
    two = replace(design.accelerator.chunks[0], ports=1, port_bytes=16)
    board = replace(design.board, port_bits=128)
    accelerator = Accelerator((two, two))
    pair = replace(design, accelerator=accelerator, board=board)
    with pytest.raises(UserError, match=r"needs 144 dsp, board 'zc706' has 143"):
        check_fits(pair, replace(board, dsp=143))
    needed = 2 * resources(two).bram36
    check_fits(pair, replace(board, bram36=needed))
    linked = replace(pair, accelerator=replace(accelerator, links=(Link(0, 1, 2048),)))
    with pytest.raises(UserError, match=rf"needs {needed + 8} bram36"):
        check_fits(linked, replace(board, bram36=needed))


def test_report_before_and_after_verification(run, capsys):
    assert cli.main(["report"]) == 0
    assert "not verified" in capsys.readouterr().out
    assert cli.main(["generate"]) == 0
    record(run, equal_verification(run.project))
    assert cli.main(["report"]) == 0
    out = capsys.readouterr().out
    assert "bits equal                 yes" in out and "cycles equal               yes" in out
    page = (run.report / "index.html").read_text()
    assert "98.00%" in page and "not verified" not in page


def test_a_design_that_changed_since_is_not_verified(run, design):
    assert cli.main(["generate"]) == 0
    record(run, equal_verification(run.project))
    assert summarise(run).cycles_equal is True
    replace(design, metrics={"accuracy": {"int8": 0.5}}).save(run.design)
    assert summarise(run).cycles_equal is None


def test_verify_simulates_and_records(run, capsys):
    assert cli.main(["verify"]) == 2
    assert "is not a project" in capsys.readouterr().err
    assert cli.main(["generate"]) == 0
    assert cli.main(["verify"]) == 0
    out = capsys.readouterr().out
    assert "equal: every bit and every cycle" in out and "HLS C simulation" in out
    summary = summarise(run)
    assert (summary.bits_equal, summary.bits_equal_with_stalls, summary.cycles_equal) == (True, True, True)
    # A byte of the reference changed: the same simulation must now be told apart from it.
    program = json.loads((run.project / "program" / "program.json").read_text())
    path = run.project / "program" / program["tensors"][program["output"]]["files"][0][0]
    damaged = bytearray(path.read_bytes())
    damaged[0] ^= 1
    path.write_bytes(damaged)
    assert cli.main(["verify"]) == 1
    out = capsys.readouterr().out
    assert "DIFFERENT" in out and f"layer '{program['output']}': 1 bits in 1 elements differ" in out
    assert hls.missing() is not None or "1 bits in 1 bytes differ" in out
    assert summarise(run).bits_equal is False


def test_summary_adds_up_and_sees_every_kind_of_difference(run, design):
    assert cli.main(["generate"]) == 0
    good = equal_verification(run.project)
    record(run, good)
    summary = summarise(run)
    assert [row.cycles_rtl for row in summary.layers] == [row.cycles_model for row in summary.layers]
    assert sum(row.cycles_model for row in summary.layers) <= summary.cycles_model
    assert (summary.bits_equal, summary.bits_equal_with_stalls, summary.cycles_equal) == (True, True, True)

    bits = copy.deepcopy(good)
    bits["runs"][1]["layers"][0]["bits_different"] = 3
    record(run, bits)
    assert (summarise(run).bits_equal, summarise(run).bits_equal_with_stalls) == (True, False)

    cause = copy.deepcopy(good)
    cause["runs"][0]["layers"][1]["causes_different"] = ["wait_input"]
    record(run, cause)
    assert summarise(run).cycles_equal is False

    hung = copy.deepcopy(good)
    hung["runs"][0] |= {"error": "no interrupt", "layers": [], "cycles_rtl": None, "ok": False}
    record(run, hung)
    assert summarise(run).bits_equal is False
