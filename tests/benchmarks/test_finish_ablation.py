"""The ablation of the finish: what it sums up, and that a proposal that cannot be built is no figure."""

from types import SimpleNamespace

from benchmarks import finish_ablation
from benchmarks.common import Row
from benchmarks.finish_ablation import measured, summary
from dna.accelerator.board import load_board
from dna.errors import UserError


def test_the_summary_leaves_out_what_could_not_be_built():
    rows = [Row("a", 1.5), Row("b", 0), Row("c", 1.1), Row("d", 1.3)]
    (row,) = summary(rows)
    assert (row.value, row.extra) == (1.3, {"lowest": 1.1, "highest": 1.5, "networks": 3})
    assert summary([Row("b", 0)]) == []


def test_on_and_off_have_the_same_proposals(monkeypatch):
    seen = []

    def finish(network, points, board, budget):
        seen.append((points, budget.evaluations))
        if budget.evaluations == 1 and len(seen) > 2:
            raise UserError("no room")
        return SimpleNamespace(settled=SimpleNamespace(cycles=100.0 if budget.evaluations > 1 else 150.0))

    monkeypatch.setattr(finish_ablation, "propose", lambda *_: SimpleNamespace(points=["best", "next"]))
    monkeypatch.setattr(finish_ablation, "finish", finish)
    row = measured("squeezenet1_1", load_board("zc706"), 10.0)
    assert (row.value, row.extra["on"], row.extra["off"]) == (1.5, 100.0, 150.0)
    assert [points for points, _ in seen] == [["best", "next"], ["best"]]
    assert measured("squeezenet1_1", load_board("zc706"), 10.0).extra["problem"] == "no room"
