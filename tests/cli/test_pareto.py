"""`dna search --network --pareto`: a set of designs on disk, each of which generates; what is refused."""

import csv
import re

import pytest

from dna import bring_pareto, cli, runs
from dna.design import Design
from dna.project import compiled
from dna.report.build import summarise

ZOO = ["--network", "squeezenet1_1", "--input-size", "32", "--width", "0.25", "--classes", "5"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--board", "zc706", *ZOO, "--pareto", "fps,speed"], "pareto is 'speed'; known: fps, latency, energy"),
        (["--board", "zc706", *ZOO, "--pareto", "fps"], "pareto is 'fps'; it must be two or more different figures"),
        (["--board", "zc706", *ZOO, "--pareto", "fps,fps"], "it must be two or more different figures"),
        (["--board", "zc706", *ZOO, "--pareto", "fps,dsp,lut,ff"], "it must be two or three figures"),
        (["--board", "zc706", *ZOO, "--pareto", "fps,energy"], "board 'zc706' has no energy figures"),
        (["--board", "asic-45nm", *ZOO, "--pareto", "fps,dsp"], "board 'asic-45nm' is an ASIC and has no dsp"),
        (["--board", "zc706", *ZOO, "--pareto", "fps,dsp", "--goal", "latency"], "with --pareto there is none"),
        (["--board", "zc706", "--pareto", "fps,dsp"], "--pareto is of no use without --network"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_run(arguments, message, capsys):
    assert cli.main(["search", *arguments]) == cli.EXIT_USER_ERROR
    error = capsys.readouterr().err.strip()
    assert error.startswith("dna: ") and "\n" not in error and message in error
    assert runs.numbered() == []


def test_a_set_on_an_fpga_of_which_each_design_generates(capsys):
    asked = ["--board", "zc706", *ZOO, "--pareto", "fps,hardware", "--minutes", "0.2", "--limit", "dsp=400"]
    assert cli.main(["search", *asked]) == 0
    said = capsys.readouterr().out
    assert "Pareto set: " in said and re.search(r"dna generate --design runs/zc706-001/pareto/\d\d", said)
    run = runs.find()
    folder = run.path / "pareto"
    with (folder / "pareto.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows and [row["design"] for row in rows] == sorted(p.name for p in folder.iterdir() if p.is_dir())
    rates = [float(row["frame rate (frames/s)"]) for row in rows]
    shares = [float(row["share of the board (%)"]) for row in rows]
    assert rates == sorted(rates, reverse=True) and shares == sorted(shares, reverse=True)
    assert len(set(rates)) == len(set(shares)) == len(rows), "a point that another one beats"
    for row in rows:
        assert float(row["dsp"]) <= 400
        assert float(row["frame rate (frames/s), price model"]) > 0
        design = Design.load(folder / row["design"] / "design")
        assert design.metrics["pareto"] == ["fps", "hardware"]
        assert compiled(design).chunks
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "<svg" in page and all(f"<td>{row['design']}</td>" in page for row in rows)

    first = runs.find(folder / "01")
    summary = summarise(first)
    assert summary.frames_per_second == pytest.approx(rates[0], rel=1e-6)
    assert Design.load(run.design).accelerator in [
        Design.load(folder / row["design"] / "design").accelerator for row in rows
    ]
    assert cli.main(["generate", "--design", str(folder / rows[-1]["design"])]) == 0
    assert (folder / rows[-1]["design"] / "project" / "design.yaml").is_file()

    before = (folder / "pareto.csv").read_bytes()
    capsys.readouterr()
    assert cli.main(["search", "--resume"]) == cli.EXIT_USER_ERROR
    assert "exists already: the search is done" in capsys.readouterr().err
    assert (folder / "pareto.csv").read_bytes() == before


def test_a_set_on_a_chip_within_constraints_and_after_an_interruption(monkeypatch, capsys):
    constraints = ["--limit", "fps=500", "--chunks", "1"]
    asked = ["--board", "asic-45nm", *ZOO, "--pareto", "latency,area", "--minutes", "0.1", *constraints]

    def stopped(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(bring_pareto, "front_csv", stopped)
        assert cli.main(["search", *asked]) == cli.EXIT_INTERRUPTED
    assert not (runs.find().path / "pareto").exists()
    assert cli.main(["search", "--resume"]) == 0
    run = runs.find()
    with (run.path / "pareto" / "pareto.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows and {"latency (ms)", "area (mm²)", "frame rate (frames/s)"} <= set(rows[0])
    assert "dsp" not in rows[0]
    for row in rows:
        assert row["chunks"] == "1" and float(row["frame rate (frames/s)"]) >= 500
    assert Design.load(run.path / "pareto" / "01" / "design").board.name == "asic-45nm"
