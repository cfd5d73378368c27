"""The documents' tables are the results, never anything else."""

import pytest

from benchmarks import tables
from benchmarks.common import Row, write


@pytest.fixture
def results(tmp_path):
    rows = [
        Row("int8, worst seed", 0.9806, "fraction", ">= 0.98"),
        Row("differing cycles", 3, "", "== 0"),
        Row("a detail", 7, "s"),
        Row("equal", True, bar="== 1"),
    ]
    write("demo", rows, tmp_path)
    write("speed", [Row("simulated", 412345.6, "cycles/s")], tmp_path)
    return tmp_path


def test_table_shows_what_is_claimed_and_what_fails(results):
    text = tables.table(["demo", "speed"], results)
    assert "| demo | int8, worst seed | 98.06 % | at least 98 % | yes |" in text
    assert "| demo | differing cycles | 3 | 0 | **no** |" in text
    assert "| demo | a detail | 7 s |  |  |" in text
    assert "| demo | equal | yes | yes | yes |" in text
    assert "| speed | simulated | 412 346 cycles/s |  |  |" in text
    assert "`python -m benchmarks.demo" in text


def test_of_many_rows_only_claims_are_shown(results):
    details = [Row(f"layer {number}", number, "cycles") for number in range(tables.MOST_ROWS)]
    write("many", [*details, Row("difference", 0, bar="== 0")], results)
    text = tables.table(["many"], results)
    assert "difference" in text and "layer" not in text


def test_a_word_takes_the_rows_that_have_it(results):
    details = [Row(f"layer {number}", number, "cycles") for number in range(tables.MOST_ROWS)]
    write("many", [*details, Row("pool:, difference", 0, bar="== 0"), Row("layer 1, again", 5, bar="== 5")], results)
    claimed, named = (tables.table([f"many{sign}layer"], results) for sign in ":/")
    assert claimed.count("| many |") == 1 and "layer 1, again" in claimed
    assert named.count("| many |") == tables.MOST_ROWS + 1 and "difference" not in named
    text = "<!-- results: many/pool:, -->\n<!-- end results -->"
    assert "pool:, difference" in tables.filled(text, results)


def test_methods_stand_side_by_side_and_the_best_is_marked(results):
    figures = [("a", "x", "fast", 2000.0), ("a", "x", "slow", 0.5), ("b", "x", "slow", 12.34)]
    rows = [Row(f"{n}, {m}: rate", v, extra={"network": n, "board": b, "method": m}) for n, b, m, v in figures]
    write("many", [*rows, Row("mean rate", 3)], results)
    text = tables.filled("<!-- results: many@rate -->\n<!-- end results -->", results)
    assert "| network | board | fast | slow |\n| --- | --- | ---: | ---: |\n" in text
    assert "| a | x | **2 000** | 0.5 |\n| b | x |  | **12.3** |\n" in text and "mean" not in text


def test_blocks_are_replaced_and_the_rest_is_left_alone(results):
    text = "before\n<!-- results: demo -->\nSTALE\n<!-- end results -->\nafter | 98 %\n"
    once = tables.filled(text, results)
    assert "STALE" not in once and once.startswith("before\n") and once.endswith("after | 98 %\n")
    assert tables.filled(once, results) == once


def test_a_figure_without_results_is_refused(results):
    with pytest.raises(FileNotFoundError):
        tables.filled("<!-- results: dreams -->\n<!-- end results -->", results)


def test_documents_of_this_checkout_are_up_to_date():
    assert tables.stale() == [], "run: python -m benchmarks.tables"
