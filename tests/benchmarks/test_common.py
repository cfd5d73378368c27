"""Result files: complete, truthful about their bars, and silent about whose machine it was."""

import json
import socket

import pytest

from benchmarks import common
from benchmarks.common import Row


def test_written_file_has_what_the_design_promises(tmp_path):
    rows = [Row("accuracy", 0.99, "fraction", ">= 0.98", {"seeds": [0, 1]}), Row("time", 12.5, "s")]
    path = common.write("demo", rows, tmp_path)
    content = json.loads(path.read_text())
    assert list(content) == ["command", "date", "machine", "commit", "rows"]
    assert content["command"].startswith("python -m benchmarks.demo")
    assert content["rows"] == [
        {"name": "accuracy", "value": 0.99, "unit": "fraction", "bar": ">= 0.98", "holds": True, "seeds": [0, 1]},
        {"name": "time", "value": 12.5, "unit": "s"},
    ]
    assert socket.gethostname() not in path.read_text()
    assert common.read("demo", tmp_path) == content


@pytest.mark.parametrize(
    ("value", "bar", "holds"),
    [
        (0, "== 0", True),
        (1, "== 0", False),
        (0.98, ">= 0.98", True),
        (300.1, "<= 300", False),
        (float("nan"), "<= 1", False),
    ],
)
def test_bars(value, bar, holds):
    assert Row("x", value, bar=bar).holds is holds


def test_a_missed_bar_is_said_and_is_the_exit_code(capsys):
    assert common.report([Row("cycles", 3, "cycles", "== 0"), Row("bits", 0, "bits", "== 0")]) == 1
    assert "MISSED" in capsys.readouterr().out
    assert common.report([Row("bits", 0, "bits", "== 0"), Row("speed", 5)]) == 0


def test_nonsense_is_refused(tmp_path):
    with pytest.raises(ValueError, match="measured nothing"):
        common.write("x", [], tmp_path)
    with pytest.raises(ValueError, match="starts with one of"):
        common.meets(1, "about 3")
