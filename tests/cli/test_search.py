"""`dna search`: what it refuses, and one very short search from images to a Design; interrupted and resumed."""

import numpy as np
import pytest
import yaml

from dna import cli, pipeline, runs
from dna.accelerator.board import load_board
from dna.design import Design
from dna.errors import UserError
from dna.pipeline import Request, request_of
from dna.project import compiled, frame_for
from dna.search.goal import Fastest, LeastHardware, parse_goal
from dna.supernet.retrain import TrainSettings

SHORT = TrainSettings(float_epochs=1, int8_epochs=1)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_goals():
    assert parse_goal("fastest") == Fastest()
    assert parse_goal("fps=2.5e3") == LeastHardware(2500)


@pytest.mark.parametrize("text", ["", "fps", "fps=", "fps=0", "fps=-1", "fps=nan", "fps=inf", "fps=many", "cycles=3"])
def test_goals_that_are_none(text):
    with pytest.raises(UserError, match="goal is '.*'; it must be .*, for example"):
        parse_goal(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--board is missing"),
        (["--board", "zc707"], "unknown board 'zc707'"),
        (["--board", "zc706", "--goal", "fast"], "goal is 'fast'"),
        (["--board", "zc706", "--method", "guess"], "method is 'guess'; known: counterfactual"),
        (["--board", "zc706", "--dataset", "cats"], "dataset is 'cats'; known: digits"),
        (["--board", "zc706", "--seed", "-1"], "seed is -1"),
        (["--board", "zc706", "--limit", "dsp=4"], "--limit is of no use without --network"),
        (["--board", "zc706", "--chunks", "2"], "--chunks is of no use without --network"),
        (["--board", "zc706", "--minutes", "0"], "minutes is 0.0"),
        (["--board", "zc706", "--seed", "x"], "'x' is not a valid int"),
        (["--resume"], "no run under"),
    ],
)
def test_mistakes_are_named_and_leave_no_run(arguments, message, capsys):
    assert cli.main(["search", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert runs.numbered() == []


def test_a_damaged_run_is_named():
    run = runs.create("x", {"board": "zc706", "speed": 3})
    with pytest.raises(UserError, match=r"run\.yaml: unknown key 'speed'"):
        request_of(run)


def test_interrupted_search_can_go_on(monkeypatch, capsys):
    asked = []

    def stopped(run, watch):
        asked.append(request_of(run))
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "search", stopped)
    assert cli.main(["search", "--board", "zc706", "--goal", "fps=10000", "--seed", "7"]) == cli.EXIT_INTERRUPTED
    assert "dna search --resume" in capsys.readouterr().out
    assert cli.main(["search", "--resume"]) == cli.EXIT_INTERRUPTED
    assert asked == [Request("zc706", goal="fps=10000", seed=7)] * 2
    assert len(runs.numbered()) == 1
    assert cli.main(["search", "--board", "zc706", "--out", "mine"]) == cli.EXIT_INTERRUPTED
    assert "--resume --out mine" in capsys.readouterr().out


def test_a_short_search_ends_in_a_design_that_compiles_and_resumes_to_the_same():
    seen = {}

    def watch(stage, done):
        assert done >= seen.get(stage, 0.0)
        seen[stage] = done

    request = Request("zc706", goal="fps=5000", seed=1, minutes=0.05)
    run = runs.create("short", request.__dict__)
    design = pipeline.search(run, watch, SHORT)
    assert set(seen) == {"co-search", "training", "accelerator", "comparison"}
    assert all(done == 1.0 for done in seen.values())

    loaded = Design.load(run.design)
    assert loaded.network == design.network and loaded.mapping == design.mapping
    assert set(loaded.metrics["accuracy"]) == {"float", "int8"}
    assert loaded.metrics["rivals"][0]["name"] == "found"
    assert loaded.metrics["rivals"][0]["cycles"] <= load_board("zc706").cycles_per_second / 5000
    assert all(chunk.instructions[-1].op == "END" for chunk in compiled(loaded).chunks)
    assert frame_for(loaded).max() <= 16, "a digit, not noise"
    assert yaml.safe_load((run.path / "run.yaml").read_text())["goal"] == "fps=5000"

    # The trained stages are found again in the run's folder, and give the same integers.
    again = pipeline.search(run, lambda stage, done: None, SHORT)
    for name, weights in design.weights.items():
        np.testing.assert_array_equal(weights.bias, again.weights[name].bias)


def test_a_goal_out_of_reach_is_a_users_mistake():
    run = runs.create("far", Request("pynq-z2", goal="fps=1e9", minutes=0.05).__dict__)
    stages = {}
    with pytest.raises(UserError, match="no accelerator runs this network on pynq-z2 .*; the closest one misses"):
        pipeline.search(run, stages.__setitem__, SHORT)
    assert "training" not in stages, "said before the training, not after it"
