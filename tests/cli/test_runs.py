"""Runs: predictable places, the latest is found, nothing is overwritten by accident."""

import pytest

from dna import runs
from dna.errors import UserError


def test_numbers_count_over_all_names_and_the_highest_is_the_latest(tmp_path):
    root = tmp_path / "runs"
    first = runs.create("zc706", {"seed": 0}, root)
    second = runs.create("kv260", {"seed": 1}, root)
    assert [first.path.name, second.path.name] == ["zc706-001", "kv260-002"]
    assert runs.find(None, root) == second
    assert runs.find("zc706-001", root) == first
    assert runs.find("1", root) == first
    assert runs.find(first.path, root) == first
    (tmp_path / "own" / "design").mkdir(parents=True)
    (tmp_path / "own" / "design" / "design.yaml").write_text("format: 1\n")
    assert runs.find(tmp_path / "own", root).design == tmp_path / "own" / "design"
    assert second.options() == {"seed": 1}


def test_folders_that_are_no_runs_are_skipped_but_never_reused(tmp_path):
    (tmp_path / "zc706-007").mkdir()
    (tmp_path / "notes").mkdir()
    with pytest.raises(UserError, match="no run under .*dna search"):
        runs.find(None, tmp_path)
    assert runs.create("zc706", {}, tmp_path).path.name == "zc706-008"


def test_unknown_run_names_what_there_is(tmp_path):
    runs.create("zc706", {}, tmp_path)
    with pytest.raises(UserError, match="no run 'zc709'.*zc706-001"):
        runs.find("zc709", tmp_path)


def test_out_is_not_overwritten_without_force(tmp_path):
    out = tmp_path / "mine"
    run = runs.create("x", {"a": 1}, out=out)
    (run.path / "design").mkdir()
    with pytest.raises(UserError, match="exists already.*--force"):
        runs.create("x", {"a": 2}, out=out)
    assert runs.Run(out).options() == {"a": 1}
    runs.create("x", {"a": 2}, out=out, force=True)
    assert runs.Run(out).options() == {"a": 2}
    assert not (out / "design").exists()


def test_force_never_removes_what_dna_did_not_write(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="not written by dna"):
        runs.claim(tmp_path, force=True)
    assert (tmp_path / "thesis.tex").exists()


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="is not a folder"):
        runs.create("x", {}, out=tmp_path / "out")


def test_atomic_write_leaves_the_old_content_and_no_rubbish_when_it_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    runs.write_atomically(path, "old")

    def broken(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(runs.os, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        runs.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_json_round_trip_and_damage(tmp_path):
    run = runs.create("x", {}, tmp_path)
    assert run.read("verify") is None
    run.write("verify", {"equal": True, "cycles": (1, 2)})
    assert run.read("verify") == {"equal": True, "cycles": [1, 2]}
    (run.path / "verify.json").write_text("{")
    with pytest.raises(UserError, match=r"verify\.json: cannot be read"):
        run.read("verify")


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b"])
def test_names_that_would_leave_the_folder(tmp_path, name):
    with pytest.raises(UserError, match="run name"):
        runs.create(name, {}, tmp_path)
