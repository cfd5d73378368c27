"""Pictures and the HTML page: well-formed, self-contained, escaped, and saying what the numbers say."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Chunk, Link
from dna.cost.resources import resources
from dna.report.architecture import GRID_COLS, GRID_ROWS, architecture_svg
from dna.report.charts import BAR, share_bars, stacked_bars, steps
from dna.report.page import html_page
from dna.report.picture import readme_picture
from dna.report.summary import CHUNK_COLUMNS, Anytime, LayerRow, Summary
from dna.report.system import columns, system_svg
from dna.search.rivals import Rival

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "{http://www.w3.org/2000/svg}"
CHUNK = Chunk(oc=16, ic=4, px=2, post_lanes=8)


@pytest.fixture
def summary():
    layers = (
        LayerRow("stem", "conv 3×3", "8×8×1 → 8×8×16", 9216, 300, {"compute": 200, "input": 100}, 300, (), 0),
        LayerRow("<head>", "fc 8×8", "8×8×16 → 1×1×10", 10240, 100, {"compute": 90, "weights": 10}, 100, (), 0),
    )
    rival = Rival("random", (Chunk(), CHUNK), 900, resources(Chunk()), 12.5, False, "best of 10 & more")
    return Summary(
        "digits on zc706",
        load_board("zc706"),
        Accelerator((CHUNK,)),
        layers,
        400,
        resources(CHUNK),
        {"float": 0.99, "int8": 0.985},
        400,
        True,
        True,
        (rival,),
        {"search": 12.0},
    )


def test_figures_of_the_summary(summary):
    assert summary.frames_per_second == 200e6 / 400
    assert summary.macs == 19456
    assert summary.utilisation == pytest.approx(19456 / (400 * 128))
    assert summary.cycles_equal is True and not summary.several
    assert replace(summary, cycles_rtl=None).cycles_equal is None
    assert replace(summary, cycles_rtl=401).cycles_equal is False
    moved = (replace(summary.layers[0], counters_different=("wait_input",)), summary.layers[1])
    assert replace(summary, layers=moved).cycles_equal is False, "a cause that differs is a difference"


class Checker(HTMLParser):
    """Open and close tags must match; nothing may be loaded."""

    def __init__(self):
        super().__init__()
        self.open, self.texts = [], []

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "link", "img", "iframe")
        assert not any(name in ("src", "href") for name, _ in attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_page_is_well_formed_and_self_contained(summary):
    checker = Checker()
    checker.feed(html_page(summary))
    assert checker.open == []
    text = " ".join(checker.texts)
    for expected in ("digits on zc706", "98.50%", "500,000", "<head>", "best of 10 & more", "12.50 %", "200 MHz"):
        assert expected in text


def test_page_says_no_loudly_and_unverified_honestly(summary):
    assert '<b class="bad">NO</b>' in html_page(replace(summary, bits_equal=False))
    page = html_page(replace(summary, bits_equal=None, cycles_rtl=None))
    assert page.count("not verified") == 2
    assert 'class="bad"' not in page


@pytest.mark.parametrize(
    "chunk",
    [
        CHUNK,
        Chunk(oc=128, ic=16, px=128, post_lanes=16),
        Chunk(oc=16, ic=1, px=1, post_lanes=2, ports=1, residual=False),
    ],
)
def test_architecture_is_xml_inside_its_frame_with_the_chunk_numbers(chunk):
    text = architecture_svg(chunk)
    root = ElementTree.fromstring(text)
    width, height = float(root.get("width")), float(root.get("height"))
    for rect in root.iter(f"{NAMESPACE}rect"):
        x, y = float(rect.get("x", 0)), float(rect.get("y", 0))
        assert x >= 0 and x + float(rect.get("width")) <= width
        assert y >= 0 and y + float(rect.get("height")) <= height
    assert f"MAC array {chunk.oc} × {chunk.ic} × {chunk.px}" in text
    assert f"{chunk.multipliers} multiplies per cycle" in text
    assert ("residual buffer" in text) == chunk.residual
    assert ("AXI4 read port 1" in text) == (chunk.ports == 2)
    cells = sum(rect.get("stroke") == "#e0bd6c" for rect in root.iter(f"{NAMESPACE}rect"))
    assert cells == min(chunk.oc, GRID_ROWS) * min(chunk.ic, GRID_COLS)


@pytest.fixture
def several(summary):
    """Two chunks on two frames, the second one with two ports."""
    small = Chunk(oc=16, ic=1, px=1, mac_in_lut=True, ports=1)
    accelerator = Accelerator((small, CHUNK), links=(Link(0, 1, 8192), Link(1, 1, 64)))
    layers = (summary.layers[0], replace(summary.layers[1], chunk=1, alone=False))
    anytime = Anytime((0.5, 2.0), (900.0, 310.0), 300.0)
    return replace(
        summary,
        accelerator=accelerator,
        layers=layers,
        frames=2,
        cycles_model=900,
        cycles_rtl=900,
        interval=320.0,
        shares=(3, 1, 20),
        anytime=anytime,
    )


def test_figures_of_several_chunks(several):
    assert several.several and several.cycles_equal
    assert several.frames_per_second == 200e6 / 320
    assert several.utilisation == pytest.approx(19456 / (320 * (16 + 128)))
    first, second = several.layers
    assert several.layer_utilisation(first) == f"{2 * 9216 / (300 * 16):.1%}", "of its own chunk, both frames"
    assert several.layer_utilisation(second) == "", "its cycles lie between those of other layers"
    rows = several.chunk_rows()
    assert [row[1] for row in rows] == ["16 × 1 × 1 in LUTs", "16 × 4 × 2"]
    assert [row[5] for row in rows] == ["128 bit / 3", "128 bit / 1 + 128 bit / 20"]
    assert all(len(row) == len(CHUNK_COLUMNS) for row in rows) and [row[-1] for row in rows] == ["1", "1"]


def test_the_page_shows_all_chunks_and_the_search(several):
    checker = Checker()
    page = html_page(several)
    checker.feed(page)
    assert checker.open == []
    text = " ".join(checker.texts)
    for expected in (
        "chunk 0: 16 × 1 × 1, 1 layer",
        "chunk 1: 16 × 4 × 2",
        "128 kB",
        "cycles per frame in steady state",
    ):
        assert expected in text
    for expected in ("cycles of one pass, 2 frames, alone", "625,000", "lower bound 300", "16×4×4 + 16×4×2"):
        assert expected in text
    assert page.count("<details>") == 2


@pytest.mark.parametrize("count", [2, 5, 16])
def test_the_picture_of_many_chunks_stays_inside_its_frame(count):
    links = [Link(a, (a + step) % count, 64 << a % 5) for a in range(count) for step in (0, 1, 3) if step < count]
    accelerator = Accelerator((CHUNK,) * count, links=tuple(links))
    text = system_svg(accelerator, (2,) * accelerator.ports, (1,) * count)
    root = ElementTree.fromstring(text)
    width, height = float(root.get("width")), float(root.get("height"))
    for rect in root.iter(f"{NAMESPACE}rect"):
        x, y = float(rect.get("x", 0)), float(rect.get("y", 0))
        assert x >= 0 and x + float(rect.get("width")) <= width
        assert y >= 0 and y + float(rect.get("height")) <= height
    assert text.count("marker-end") == accelerator.ports + len(links)
    for place in set(columns(links)):
        spans = [sorted((li.writer, li.reader)) for li, at in zip(links, columns(links), strict=True) if at == place]
        for (low, high), (other, end) in zip(sorted(spans), sorted(spans)[1:], strict=False):
            assert high < other or end < low


def test_steps_fall_to_the_bound():
    text = steps("t", [(1.0, 400.0), (3.0, 100.0)], 50.0, "cycles", 4.0)
    lines = [line.get("points") for line in ElementTree.fromstring(text).iter(f"{NAMESPACE}polyline")]
    assert lines[1] == "305,24 695,24 695,121.5 890,121.5" and "lower bound 50" in text and "4.0 s" in text
    ElementTree.fromstring(steps("t", [], None, "cycles", 0.0))


def test_bars_are_in_proportion():
    root = ElementTree.fromstring(stacked_bars("t", [("a", {"x": 30, "y": 10}), ("b", {"y": 20})], "cycles"))
    widths = [float(r.get("width")) for r in root.iter(f"{NAMESPACE}rect") if r.get("rx") == "1"]
    assert widths == [BAR * 0.75, BAR * 0.25, BAR * 0.5]


def test_charts_of_nothing_and_of_too_much():
    ElementTree.fromstring(stacked_bars("t", [], "cycles"))
    ElementTree.fromstring(stacked_bars("t", [("a", {"x": 0})], "cycles"))
    text = share_bars("t", [("DSP", 1000, 900), ("URAM", 0, 0)])
    assert "1,000 of 900 (111.1%)" in text
    widths = [float(r.get("width")) for r in ElementTree.fromstring(text).iter(f"{NAMESPACE}rect") if r.get("x")]
    assert max(widths) == BAR


def test_readme_picture_is_up_to_date():
    committed = (ROOT / "docs" / "dna.svg").read_text()
    assert committed == readme_picture(), "run: python -m dna.report.picture docs/dna.svg"
    ElementTree.fromstring(committed)
    assert not re.search(r"href|<script|<image", committed)
