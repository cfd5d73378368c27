"""The frozen spaces stay as they are, and looking a price up is pricing it."""

import json

import pytest
import torch

from benchmarks.optimality_problems import (
    Enumerated,
    all_designs,
    build_problem,
    definition_hash,
    definitions,
    smaller,
)

FROZEN = "7c109cfa522494b09115b4fcf50b3d2b36d374d7d5607aae52b22e5bce9b55ef"
"""Of the definition as it was before any search was tuned on it. Whoever changes a space must say so here."""


def test_the_spaces_are_those_that_were_frozen():
    assert definition_hash() == FROZEN


def test_the_hash_sees_values_and_not_layout(tmp_path):
    content = definitions()
    same, other = tmp_path / "same.json", tmp_path / "other.json"
    same.write_text(json.dumps(content))
    content["one chunk"]["chunk"]["px"][0] = 3
    other.write_text(json.dumps(content))
    assert definition_hash(same) == FROZEN != definition_hash(other)


@pytest.mark.parametrize("name", definitions())
def test_a_space_that_is_enumerated_is_priced_by_looking_up(name):
    of = build_problem(smaller(definitions()[name]))
    everything = Enumerated.all(of)
    assert everything.size == of.space.size
    designs = of.space.sample(200, torch.Generator().manual_seed(0))
    found, expected = everything.evaluate(designs), of.evaluate(designs)
    assert torch.equal(found.cost, expected.cost) and torch.equal(found.ratios, expected.ratios)
    assert found.names == expected.names
    priced = [evaluation for _, evaluation in all_designs(of)]
    assert everything.optimum == min(float(e.cost[e.feasible].min()) for e in priced if bool(e.feasible.any()))
    assert 0 < everything.optima <= everything.size and 0 < everything.feasible_share <= 1
