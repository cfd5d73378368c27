"""Several chunks on a chip: memory and area are the accelerator's, energy the compiled Program's, bounds bounds."""

import numpy as np
import pytest
import torch

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator
from dna.compile.compiler import compile
from dna.cost.area import accelerator_area
from dna.cost.energy import energy_of
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.quantize.random import random_weights
from dna.search.goal import Fastest, Goal, Limit
from dna.search.pipeline import PipelineProblem, pipeline_problem
from dna.search.pipeline_space import pipeline_space
from dna.search.problem import Budget
from dna.search.random_search import search
from dna.search.realise import realise
from dna.search.searched import chunk_lists
from dna.search.stage_prices import IDLE_AXES
from tests.search.toy import small_space

CHIP = load_board("asic-45nm")
LAYERS = (
    Layer("a", "conv", "input", 16, 14, 14, 32, (3, 3), padding=(1, 1, 1, 1)),
    Layer("b", "depthwise", "a", 32, 14, 14, 32, (3, 3), padding=(1, 1, 1, 1)),
    Layer("c", "conv", "b", 32, 14, 14, 32, residual="a"),
    Layer("p", "maxpool", "c", 32, 14, 14, 32, (2, 2), stride=(2, 2), pad_value=-128),
    Layer("f", "fc", "p", 32, 7, 7, 10, (7, 7)),
)
CHUNK = small_space(residual=(1,), port_bytes=(16,), input_words=(64, 512), output_words=(128, 512))


def problem(goal: Goal, tensors: tuple[str, ...] = ("a", "b", "c", "p"), **given: object) -> PipelineProblem:
    settings = {"shares": (1, 3), "frames": (1, 2), "batches": (1, 2), "batch_per": "chunk", **given}
    space = pipeline_space(LAYERS, CHUNK, (1, 2, 3), assignment="contiguous", tensors=tensors, **settings)
    return pipeline_problem(space, CHIP, goal)


def sample(of: PipelineProblem, count: int) -> torch.Tensor:
    return of.space.sample(count, torch.Generator().manual_seed(0))


def test_memory_and_area_are_the_accelerators():
    of = problem(Fastest(), ())
    designs = sample(of, 20)
    costs = of.costs(designs)
    for row, design in enumerate(designs):
        real = accelerator_area(Accelerator(of.space.point(design).chunks), CHIP.technology)
        assert float(costs.buffer_kb[row]) == pytest.approx(real.buffer_kb)
        assert float(costs.area_mm2[row]) == pytest.approx(real.total_mm2)


def test_links_cost_memory_and_area():
    linked = problem(Fastest())
    designs = sample(linked, 60)
    plain, costs = linked.plain(designs), linked.costs(designs)
    words = plain.links.sum(dim=1)
    assert bool((words > 0).any() & (words == 0).any())
    for row, design in enumerate(designs):
        real = accelerator_area(Accelerator(linked.space.point(design).chunks), CHIP.technology)
        assert float(costs.buffer_kb[row]) == pytest.approx(real.buffer_kb + float(words[row]) * 16 / 1024)
        assert (float(costs.area_mm2[row]) > real.total_mm2 + 1e-9) == bool(words[row] > 0)


@pytest.mark.parametrize("text", ["energy", "edp"])
def test_a_batch_is_priced_as_its_designs_one_by_one(text):
    of = problem(Goal(text))
    designs = sample(of, 12)
    together = of.evaluate(designs)
    fresh = problem(Goal(text))
    alone = torch.cat([fresh.evaluate(design[None]).cost for design in designs])
    assert together.cost.tolist() == pytest.approx(alone.tolist())
    assert together.cost.unique().numel() > 4
    assert together.names == ("area", "on-chip memory", "bandwidth", "buffers")


def test_bounds_are_below_prices():
    of = problem(Goal("energy", (Limit("fps", 100),)))
    designs = sample(of, 100)
    assert bool((of.bounds(designs).cost <= of.evaluate(designs).cost + 1e-12).all())


def test_energy_is_the_compiled_programs():
    """Never much less than the program takes; where tiles on chip are chosen larger than those priced, it is more."""
    of = problem(Goal("energy"), shares=(1,), frames=(1,), batches=(1,))
    network, ratios = Network("five", LAYERS), []
    weights = random_weights(network, np.random.default_rng(0))
    for design in sample(of, 40):
        costs = of.costs(design[None])
        if int(costs.unmapped):
            continue
        try:
            real = realise(network, of.space.point(design), CHIP)
        except UserError:
            continue
        program = compile(network, weights, real.accelerator, real.mapping)
        ratios.append(float(costs.energy_pj) / energy_of(program, CHIP, float(costs.interval)).total_pj)
    assert len(ratios) >= 12
    assert min(ratios) > 0.9
    assert sorted(ratios)[-2] < 1.1 and max(ratios) < 1.2


def test_searched_energy_is_not_above_that_of_the_fastest():
    energy, fast = problem(Goal("energy")), problem(Fastest())
    least = search(energy, Budget(evaluations=300), 0)
    quick = search(fast, Budget(evaluations=300), 0)
    assert least.feasible
    assert least.cost <= float(energy.evaluate(quick.design[None]).cost)


def test_an_fpga_has_no_energy():
    space = pipeline_space(LAYERS, CHUNK, (1,), assignment="contiguous", tensors=())
    of = pipeline_problem(space, load_board("zc706"), Goal("energy"))
    with pytest.raises(UserError, match="energy: board 'zc706' has no energy figures"):
        of.evaluate(of.space.sample(2, torch.Generator().manual_seed(0)))


def test_a_chip_has_no_arrays_that_spare_dsps():
    network = Network("five", LAYERS)
    lists = {axis.name: axis.values for axis in chunk_lists(network, CHIP).axes}
    assert [lists[name] for name in IDLE_AXES] == [(0,), (0,), (0,)]
    fpga = {axis.name: axis.values for axis in chunk_lists(network, load_board("zc706")).axes}
    assert fpga["packed"] == (0, 1)
