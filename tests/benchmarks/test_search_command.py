"""Whole commands: their rows, and what is summed up."""

from benchmarks import search_command
from benchmarks.common import Row
from benchmarks.search_command import measured, summary


def test_the_slowest_command_is_named():
    rows = [Row(f"{network}, zc706: seconds", seconds, "s", "<= 60") for network, seconds in (("a", 41.0), ("b", 61.5))]
    slowest, within = summary(rows)
    assert (slowest.value, slowest.extra, slowest.holds) == (61.5, {"of": 2, "slowest": "b, zc706"}, False)
    assert (within.value, within.holds) == (1, False)
    assert summary([]) == []


def test_a_command_that_fails_is_a_row_with_its_reason():
    row = measured("no-such-network", "zc706")
    assert "no-such-network" in row.extra["problem"] and row.extra["board"] == "zc706"


def test_a_command_is_measured_with_its_parts(monkeypatch):
    monkeypatch.setattr(search_command, "OPTIONS", ("--input-size", "32", "--minutes", "0.05", "--classes", "10"))
    row = measured("squeezenet1_1", "pynq-z2")
    assert row.extra["frames/s"] > 0 and row.extra["method"]
    assert set(row.extra["parts"]) == {"quantisation", "accelerator", "comparison"}
    assert row.value >= sum(row.extra["parts"].values())
