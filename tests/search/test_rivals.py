"""Rivals: priced alike, by the exact schedule; the optimum is not beaten; what fits nothing is left out."""

from dataclasses import replace

import pytest

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Chunk
from dna.cost.resources import resources
from dna.network.layer import Layer
from dna.network.network import Network
from dna.record import from_plain, to_plain
from dna.search import rivals as module
from dna.search.goal import LeastHardware
from dna.search.one_chunk import best_mapping
from dna.search.rivals import Entrant, Rival, rivals

NETWORK = Network("two", (Layer("a", "conv", "input", 3, 8, 8, 16), Layer("b", "conv", "a", 16, 8, 8, 16)))


CHUNK = Chunk(oc=16, ic=1, px=2, port_bytes=8, residual=False)
HAND = Entrant("by hand", (CHUNK, CHUNK), resources(CHUNK), 4000.0)


@pytest.fixture(scope="module")
def board():
    return replace(load_board("pynq-z2"), dsp=64)


@pytest.fixture(scope="module")
def found(board):
    return rivals(NETWORK, board, LeastHardware(20_000), HAND, seed=1)


def test_all_three_are_there_and_the_optimum_is_not_beaten(found):
    by_name = {rival.name: rival for rival in found}
    assert list(by_name) == ["found", "best single chunk", "random"]
    optimum = by_name["best single chunk"]
    assert "proven" in optimum.note
    assert optimum.feasible
    for rival in found:
        assert rival.share_percent >= optimum.share_percent or not rival.feasible
        assert rival.cycles > 0


def test_feasible_means_board_and_goal(found, board):
    for rival in found:
        fits = rival.used.dsp <= board.dsp and rival.used.lut <= board.lut
        assert rival.feasible == (fits and rival.cycles <= board.cycles_per_second / 20_000)


def test_they_survive_a_file(found):
    assert [from_plain(Rival, to_plain(rival)) for rival in found] == found


def test_what_has_no_mapping_or_no_optimum_is_left_out(monkeypatch, board):
    monkeypatch.setattr(module, "RANDOM_DESIGNS", 5)
    impossible = LeastHardware(1e9)
    assert [rival.name for rival in rivals(NETWORK, board, impossible, HAND, 0)] == ["found", "random"]
    monkeypatch.setattr(module, "best_mapping", lambda *a: None)
    assert [rival.name for rival in rivals(NETWORK, board, impossible, HAND, 0)] == ["found"]


def test_best_mapping_has_an_entry_per_layer(board):
    mapping = best_mapping(NETWORK, Chunk(residual=False), board)
    assert mapping is not None and len(mapping.layers) == 2
