"""Boards: the ones that ship are complete and sourced; a bad file is refused with the key named."""

import re

import pytest
import yaml

from dna.accelerator.board import board_names, load_board
from dna.accelerator.chunk import Memory
from dna.errors import UserError
from dna.paths import boards

GOOD = yaml.safe_load((boards() / "zc706.yaml").read_text())


def write(tmp_path, **changes):
    content = {key: value for key, value in {**GOOD, **changes}.items() if value is not ...}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_all_promised_boards_load():
    names = board_names()
    assert set(names) >= {"zc706", "zcu102", "zcu104", "kv260", "ultra96", "pynq-z2"}
    for name in names:
        board = load_board(name)
        assert board.name == name
        assert board.port_bytes in (8, 16)


def test_zc706_is_what_the_part_holds():
    board = load_board("zc706")
    assert (board.dsp, board.bram36, board.lut) == (900, 545, 218_600)
    assert board.cycles_per_second == board.clock_mhz * 1_000_000


@pytest.mark.parametrize("name", board_names())
def test_every_number_has_its_source_beside_it(name):
    for line in (boards() / f"{name}.yaml").read_text().splitlines():
        if re.match(r"\s*\w+: +\S*\d", line) and not line.startswith("title"):
            assert re.search(r"# .{6,}", line), f"no source: {line}"


def test_own_file_is_taken(tmp_path):
    board = load_board(write(tmp_path, dsp=12, memory={"read_latency": 7}))
    assert (board.name, board.dsp) == ("mine", 12)
    assert board.memory == Memory(read_latency=7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dps": 900}, "unknown key 'dps'; known: .*dsp"),
        ({"dsp": ...}, "key 'dsp' is missing"),
        ({"dsp": "many"}, "dsp: is 'many'; it must be an integer"),
        ({"dsp": True}, "dsp: is 'True'; it must be an integer"),
        ({"dsp": 1.5}, "dsp: is '1.5'; it must be an integer"),
        ({"dsp": 0}, "dsp is 0; it must be 1 to"),
        ({"clock_mhz": None}, "clock_mhz: is nothing; it must be a number"),
        ({"clock_mhz": 0}, "clock_mhz is 0.0; it must be"),
        ({"clock_mhz": float("nan")}, "clock_mhz is nan; it must be"),
        ({"port_bits": 32}, "port_bits is 32; it must be 64 or 128"),
        ({"part": " "}, "part is  ; it must be not empty"),
        ({"memory": 64}, "memory: a table of keys is expected, not '64'"),
        ({"memory": {"latency": 64}}, "memory: unknown key 'latency'; known: read_latency"),
        ({"memory": {"read_latency": 0}}, "memory: .*read_latency is 0; it must be 1 to 4096"),
    ],
)
def test_bad_file_is_refused_with_file_and_key(tmp_path, changes, message):
    path = write(tmp_path, **changes)
    with pytest.raises(UserError, match=message) as caught:
        load_board(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "- 1\n", "dsp: [1\n", "\0"])
def test_what_is_no_board_at_all(tmp_path, content):
    path = tmp_path / "x.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=r"x\.yaml"):
        load_board(path)


def test_unknown_names():
    with pytest.raises(UserError, match=r"unknown board 'zc707'; known: .*zc706"):
        load_board("zc707")
    with pytest.raises(UserError, match="nowhere.yaml: No such file"):
        load_board("nowhere.yaml")
