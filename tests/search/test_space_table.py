"""The space for people: every choice has a line, and the documentation shows just these lines."""

from pathlib import Path

import pytest

from dna import cli
from dna.accelerator.board import load_board
from dna.network.zoo import build
from dna.search.constraints_file import constraints_of
from dna.search.searched import SEARCHED_CHUNKS, placeable, searched, whole
from dna.search.space import MEANINGS
from dna.search.space_table import about, markdown, space_rows

ROOT = Path(__file__).resolve().parents[2]
NETWORK = build("mobilenet_v2").network


def test_the_documentation_shows_the_space():
    text = (ROOT / "docs" / "search.md").read_text()
    table = text.split("<!-- space -->\n")[1].split("<!-- end space -->")[0]
    assert table == markdown(whole(NETWORK).table()), "paste what 'dna space --markdown' prints"


def test_every_choice_has_a_line_and_every_line_a_choice():
    space = whole(NETWORK)
    rows = {row.name: row for row in space_rows(space)}
    named = {name.split(".")[1] for name in space.names if name.startswith("chunk0.")}
    assert named == set(MEANINGS) | {"share"} and named < set(rows)
    assert set(rows) - named == {"chunks", "frames", "assignment", "batch", "place"}
    for axis in space.spaces[0].axes:
        if axis.name in rows:
            assert rows[axis.name].count == len(axis.values)
    assert rows["assignment"].count == sum(number ** len(space.layers) for number in range(1, 17))


def test_the_whole_space_holds_what_is_searched_on_any_board():
    every = whole(NETWORK, assignment="contiguous")
    for board in ("pynq-z2", "zc706", "kv260", "asic-45nm"):
        part = searched(NETWORK, load_board(board))
        assert part.chunks == tuple(range(1, SEARCHED_CHUNKS + 1)) and part.even
        for axis, all_values in zip(part.spaces[0].axes, every.spaces[0].axes, strict=True):
            assert set(axis.values) <= set(all_values.values)
        assert set(part.shares[0]) <= set(every.shares[0]) and set(part.frames) <= set(every.frames)


def test_input_and_output_have_no_place_on_chip():
    names = placeable(NETWORK)
    assert "input" not in names and NETWORK.layers[-1].name not in names and len(names) == len(NETWORK.layers) - 1


def test_counts_are_short():
    assert about(12_345) == "12 345" and about(7 * 10**8) == "about 10^8"


def test_the_command_prints_it(tmp_path, capsys):
    given = tmp_path / "given.yaml"
    given.write_text("chunks: 2\neach: {1: {oc: 16, ic: 1}}\n")
    arguments = ["space", "--board", "zc706", "--network", "alexnet", "--constraints", str(given)]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().out
    assert "chunk 0" in said and "chunk 1" in said and "designs for alexnet" in said
    assert cli.main([*arguments, "--markdown"]) == 0
    space = searched(
        build("alexnet").network, load_board("zc706"), constraints_of({"chunks": 2, "each": {1: {"oc": 16, "ic": 1}}})
    )
    assert capsys.readouterr().out == markdown(space.table())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--network", "lenet"], "there is no network 'lenet' in the zoo"),
        (["--board", "none"], "unknown board 'none'"),
        (["--constraints", "gone.yaml"], "gone.yaml: No such file"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    assert cli.main(["space", *arguments]) == cli.EXIT_USER_ERROR
    assert message in capsys.readouterr().err
