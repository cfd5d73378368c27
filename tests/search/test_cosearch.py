"""The joint search on a tiny space: prices against solving each network, determinism, resuming."""

import numpy as np
import pytest
import torch

from dna.accelerator.board import load_board
from dna.search import exact
from dna.search.accelerator import AcceleratorProblem
from dna.search.cosearch import CosearchSettings, cosearch
from dna.search.goal import Fastest, LeastHardware
from dna.search.pricing import operator_prices
from dna.search.problem import Budget
from dna.supernet.dataset import Dataset, Images
from dna.supernet.space import Block, Space, space_network

BOARD = load_board("pynq-z2")
SPACE = Space((6, 6, 1), 2, stem_channels=8, stem_stride=1, blocks=(Block(8), Block(16, 2)), head_channels=16)
SETTINGS = CosearchSettings(warmup_epochs=2, search_epochs=2, batch_size=16, alpha_steps=2, checkpoint_epochs=1)


@pytest.fixture(scope="module")
def stripes() -> Dataset:
    """Horizontal against vertical stripes."""
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, 2, 96))
    images = torch.from_numpy(rng.integers(0, 4, (96, 1, 6, 6)))
    images[labels == 0, :, ::2] += 10
    images[labels == 1, :, :, ::2] += 10
    part = Images(images.to(torch.uint8), labels)
    return Dataset("stripes", part, part, 2, 1 / 16, 16)


def solved(prices, choice):
    """The proven optimum of one network's accelerator over the whole space."""
    of = prices.problem
    layers = space_network(SPACE, choice, "n").layers
    return exact.search(AcceleratorProblem(layers, of.space, BOARD, of.goal, of.tables), Budget())


def test_prices_are_the_solved_accelerators_of_each_network():
    prices = operator_prices(SPACE, BOARD, LeastHardware(20_000))
    choice = (1, 0)
    table = prices.prices(choice)
    seen = set()
    for block, operator in [(0, 0), (0, 2), (0, 5), (0, 6), (1, 3), (1, 5)]:
        other = tuple(operator if i == block else chosen for i, chosen in enumerate(choice))
        best = solved(prices, other)
        if best.feasible:
            assert float(table[block, operator]) == pytest.approx(best.cost, rel=1e-9)
            seen.add(best.cost)
    assert len(seen) > 1
    assert float(table[0, 1]) == pytest.approx(float(table[1, 0]))  # both are the network itself


def test_fastest_prices_are_never_below_the_optimum():
    prices = operator_prices(SPACE, BOARD, Fastest())
    for choice in [(0, 0), (6, 5)]:
        best = solved(prices, choice).cost
        assert best * (1 - 1e-9) <= float(prices.prices(choice)[0, choice[0]]) <= 1.05 * best


def test_same_seed_same_search_and_resuming_changes_nothing(stripes, tmp_path):
    goal, path = LeastHardware(20_000), tmp_path / "cosearch.pt"
    seen = []
    whole = cosearch(stripes, SPACE, BOARD, goal, 3, SETTINGS, seen.append)
    assert [p.stage for p in seen] == ["warmup", "warmup", "search", "search"] and seen[-1].price > 0

    class Stop(Exception):
        pass

    def interrupt(done):
        if done.epoch == 4:
            raise Stop

    with pytest.raises(Stop):
        cosearch(stripes, SPACE, BOARD, goal, 3, SETTINGS, interrupt, path)
    resumed = cosearch(stripes, SPACE, BOARD, goal, 3, SETTINGS, None, path)
    assert resumed.choice == whole.choice and resumed.chunk == whole.chunk and resumed.cost == whole.cost
    assert torch.equal(resumed.probabilities, whole.probabilities)
    assert [p.loss for p in resumed.history] == [p.loss for p in whole.history]


def test_cost_moves_the_choice_towards_cheap_operators(stripes):
    settings = CosearchSettings(warmup_epochs=1, search_epochs=6, batch_size=16, alpha_steps=3, cost_weight=5.0)
    found = cosearch(stripes, SPACE, BOARD, LeastHardware(20_000), 0, settings)
    assert found.names[0] in ("skip", "k3e1", "k5e1") and found.feasible and found.cost > 0
    prices = operator_prices(SPACE, BOARD, LeastHardware(20_000))
    assert found.cost >= solved(prices, found.choice).cost - 1e-9
