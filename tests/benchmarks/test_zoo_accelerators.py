"""Rows of the zoo's accelerators: what is claimed, what is summed up, and that a run goes on where it stopped."""

import json
from dataclasses import replace

import pytest

from benchmarks import common, zoo_accelerators
from benchmarks.common import Row
from benchmarks.zoo_accelerators import Task, earlier, measured, summary
from dna.errors import UserError


def row(network: str, method: str, rate: float) -> Row:
    task = Task(network, "zc706", method, 60.0)
    key = {"task": task.title, "network": network, "board": "zc706", "method": method, "budget": 60.0}
    return Row(f"{task.title}: frames/s", rate, "", "", key)


def test_methods_are_summed_up_over_what_the_default_did_too():
    rows = [row("a", "exact", 100), row("b", "exact", 50), row("a", "random", 80), row("b", "random", 60)]
    rows.append(row("c", "random", 1000))
    values = {entry.name: (entry.value, entry.extra["tasks"]) for entry in summary(rows)}
    assert values == {
        "random: frames/s over the default's, mean": (1.0, 2),
        "random: faster than the default": (1, 2),
    }


def test_the_longest_search_of_each_method_is_named():
    seconds = [replace(row("a", "random", 80), name="a: seconds", value=value) for value in (50.0, 61.0)]
    (slowest,) = summary(seconds)
    assert (slowest.name, slowest.value, slowest.extra["median"]) == ("random: slowest search", 61.0, 55.5)


def test_the_worst_distance_to_the_bound_is_claimed():
    above = [replace(row(name, "exact", 1), name=f"{name}: cycles above the bound", value=v) for name, v in
             (("a", 1.5), ("b", 5.5), ("c", -2.0))]  # fmt: skip
    (worst,) = summary(above)
    assert (worst.name, worst.value, worst.holds) == ("exact: cycles above the bound, worst", 5.5, False)
    assert worst.extra == {"median": 1.5, "searches": 3}


def test_a_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    monkeypatch.setattr(zoo_accelerators, "measured_before", lambda name: common.earlier(name, tmp_path))
    assert earlier() == []
    rows = [row("a", "exact", 100), row("a", "random", 80)]
    common.write("zoo_accelerators", [*rows, *summary(rows)], tmp_path)
    assert json.loads((tmp_path / "zoo_accelerators.json").read_text())["rows"]
    assert earlier() == rows


def test_a_search_without_a_design_is_a_row_with_its_reason(monkeypatch):
    def fails(*_):
        raise UserError("nothing fits")

    monkeypatch.setattr(zoo_accelerators, "accelerate", fails)
    (only,) = measured(Task("alexnet", "zc706", "paper", 1.0))
    assert (only.value, only.extra["problem"]) == (0, "nothing fits")


@pytest.mark.parametrize("argument", ["--networks=nothing", "--methods=nothing"])
def test_what_is_unknown_is_named(argument, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["zoo_accelerators", argument])
    with pytest.raises(SystemExit):
        zoo_accelerators.main()
    assert "unknown: nothing" in capsys.readouterr().err
