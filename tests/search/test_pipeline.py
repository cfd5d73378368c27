"""The problem of several chunks: rows say what tables say, a batch what its designs say alone, bounds stay below."""

from dataclasses import replace

import pytest
import torch

from dna.accelerator.board import load_board
from dna.accelerator.chunk import Accelerator, Link
from dna.compile import limits
from dna.cost.resources import RESOURCES, accelerator_resources
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.goal import Fastest, Goal, LeastHardware
from dna.search.mapping_space import UNMAPPED, shape_of
from dna.search.pipeline import PipelineProblem, pipeline_problem
from dna.search.pipeline_space import PipelineSpace, pipeline_space
from dna.search.problem import Budget
from dna.search.random_search import search
from dna.search.refine import blank_weights, pass_cycles
from dna.search.stage_prices import Key, StagePrices, chunk_prices
from dna.search.stage_rows import Places, RowPrices
from tests.search.toy import small_space

BOARD = load_board("zc706")
LAYERS = (
    Layer("a", "conv", "input", 16, 14, 14, 32, (3, 3), padding=(1, 1, 1, 1)),
    Layer("b", "depthwise", "a", 32, 14, 14, 32, (3, 3), padding=(1, 1, 1, 1)),
    Layer("c", "conv", "b", 32, 14, 14, 32, residual="a"),
    Layer("p", "maxpool", "c", 32, 14, 14, 32, (2, 2), stride=(2, 2), pad_value=-128),
    Layer("f", "fc", "p", 32, 7, 7, 10, (7, 7)),
)
CHUNK = small_space(residual=(1,), port_bytes=(16,), input_words=(64, 512), output_words=(128, 512), packed=(0, 1))


def problem(assignment: str, goal: Goal | None = None, **given: object) -> PipelineProblem:
    return pipeline_problem(space(assignment, **given), BOARD, goal or Fastest())


def space(assignment: str, **given: object) -> PipelineSpace:
    settings = {"shares": (1, 3), "frames": (1, 2), "batches": (1, 2), "tensors": ("a", "b", "c", "p"), **given}
    per = "chunk" if assignment == "contiguous" else "layer"
    return pipeline_space(LAYERS, CHUNK, (1, 2, 3), assignment=assignment, batch_per=per, **settings)


def sample(of: PipelineProblem, count: int) -> torch.Tensor:
    return of.space.sample(count, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("banded", (None, 1024))
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.op)
def test_a_row_has_the_price_that_the_table_has(layer: Layer, banded: int | None):
    rows, tables = RowPrices(BOARD.memory), StagePrices(CHUNK, BOARD.memory)
    # Arrays next to each other differ in `packed`, which costs no cycle.
    arrays = torch.arange(24)
    place = {"share": 2, "frames": 2, "chip_in": True, "chip_out": False}
    table = tables.get(layer, arrays, **place, banded=banded, chained=True)
    designs = CHUNK.enumerate(CHUNK.arrays[arrays])
    values = CHUNK.values(designs)
    flags = torch.ones(len(designs), dtype=torch.int64)
    places = Places(2 * flags, 2 * flags, flags, flags, 0 * flags, flags, (banded or 0) * flags)
    assert torch.equal(rows.get(layer, values, rows.number(values), places), table.flatten().long())
    before, chosen = rows.priced, rows.chosen(layer, values, rows.number(values), places)
    assert torch.equal(chosen.cycles, table.flatten().long())
    for row in torch.nonzero(chosen.cycles < UNMAPPED)[::17, 0].tolist():
        mapping = chosen.mapping(row)
        limits.check(layer, CHUNK.chunk(designs[row]), mapping)
        key = Key(shape_of(layer), **place, banded=banded, chained=True)
        c, cycles, _ = chunk_prices(key, CHUNK.chunk(designs[row]), BOARD.memory)
        assert mapping in [c.mapping(i) for i in torch.nonzero(cycles == chosen.cycles[row])[:, 0].tolist()]
    assert torch.equal(rows.get(layer, values, rows.number(values), places), table.flatten().long())
    assert rows.priced == before < len(designs)


@pytest.mark.parametrize("assignment", ("contiguous", "free"))
@pytest.mark.parametrize("goal", (Fastest(), LeastHardware(1000), Goal("latency")))
def test_a_batch_is_priced_as_its_designs_one_by_one(assignment: str, goal: Goal):
    of = problem(assignment, goal)
    designs = sample(of, 24)
    together = of.evaluate(designs)
    fresh = problem(assignment, goal)
    alone = [fresh.evaluate(design[None]) for design in designs]
    assert torch.equal(together.cost, torch.cat([one.cost for one in alone]))
    assert torch.equal(together.ratios, torch.cat([one.ratios for one in alone]))
    assert together.cost.unique().numel() > 4


@pytest.mark.parametrize("assignment", ("contiguous", "free"))
def test_bounds_are_below_prices_and_hardware_is_exact(assignment: str):
    of = problem(assignment)
    designs = sample(of, 100)
    bound, price = of.bounds(designs), of.evaluate(designs)
    assert (bound.cost <= price.cost).all()
    hardware = price.names.index("buffers")
    assert torch.equal(bound.ratios[:, :hardware], price.ratios[:, :hardware])
    assert (bound.ratios[:, hardware] <= price.ratios[:, hardware]).all()
    mapped = price.ratios[:, hardware] == 1
    assert float((bound.cost / price.cost)[mapped].median()) > 0.3


@pytest.mark.parametrize("assignment", ("contiguous", "free"))
def test_the_interval_is_the_slowest_chunks_sum_of_stages(assignment: str):
    of = problem(assignment)
    designs = sample(of, 20)
    costs, plain = of.costs(designs), of.plain(designs)
    cycles = of.layer_cycles(plain, plain.decoded.batches)
    for row, design in enumerate(designs):
        point = of.space.point(design)
        sums = [sum(int(cycles[row, i]) / point.batch(i) for i in point.layers(c)) for c in range(len(point.chunks))]
        if not int(costs.unmapped[row]):
            assert float(costs.interval[row]) == pytest.approx(max(sums), rel=1e-12)
    assert (costs.unmapped == 0).any()


@pytest.mark.parametrize("assignment", ("contiguous", "free"))
def test_hardware_is_that_of_the_chunks_and_of_whole_tensors_in_links(assignment: str):
    of = problem(assignment, frames=(2,), batches=(2,))
    for design in sample(of, 30):
        point, plain = of.space.point(design), of.plain(design[None])
        links = [Link(pair // 3, pair % 3, words) for pair, words in enumerate(plain.links[0].tolist()) if words]
        used = of.resources(plain)
        assert accelerator_resources(Accelerator(point.chunks, links=tuple(links))) == {
            name: int(getattr(used, name)) for name in RESOURCES
        }
        pairs = {(point.assignment[LAYERS.index(w)], point.assignment[i]) for i, r in enumerate(LAYERS)
                 for w in LAYERS if w.name in point.on_chip and w.name in (r.input, r.residual)}  # fmt: skip
        assert {(link.writer, link.reader) for link in links} == pairs
        for link in links:
            for writer in LAYERS:
                readers = [i for i, r in enumerate(LAYERS) if writer.name in (r.input, r.residual)]
                mine = point.assignment[LAYERS.index(writer)] == link.writer
                if writer.name in point.on_chip and mine and link.reader in (point.assignment[i] for i in readers):
                    assert link.words >= 2 * writer.out_height * writer.out_width * -(-writer.out_channels // 16)


def test_more_memory_for_a_chunk_costs_bandwidth_and_never_cycles():
    of = problem("contiguous", tensors=())
    costs = []
    for share in (1, 3):
        point = of.space.point(sample(of, 1)[0])
        row = of.space.row(replace(point, shares=(share,) * len(point.chunks)))
        costs.append(of.costs(row[None]))
    fast, slow = costs
    assert float(fast.bandwidth) == pytest.approx(3 * float(slow.bandwidth))
    assert float(fast.interval) <= float(slow.interval)


def test_a_searcher_takes_the_problem_and_repeats_itself():
    first, second = (search(problem("free"), Budget(evaluations=64), seed=3) for _ in range(2))
    assert torch.equal(first.design, second.design) and first.cost == second.cost
    assert first.evaluations == 64


@pytest.mark.parametrize("batch", (1, 4))
def test_the_schedule_in_steady_state_is_near_the_interval(batch: int):
    """Designs with the mappings that their prices stand for, frame after frame by the exact schedule."""
    of = problem("contiguous", frames=(4,), batches=(batch,))
    network, ratios = Network("five", LAYERS), []
    designs = sample(of, 60)
    costs = of.costs(designs)
    for row in torch.nonzero(costs.unmapped == 0)[:10, 0].tolist():
        accelerator, mapping = of.solved(designs[row])
        point = of.space.point(designs[row])
        ports = [share for share, chunk in zip(point.shares, point.chunks, strict=True) for _ in range(chunk.ports)]
        memories = tuple(replace(BOARD.memory, beat_interval=share) for share in ports)
        exact = pass_cycles(network, blank_weights(network), accelerator, mapping, memories) / mapping.frames
        ratios.append(float(costs.interval[row]) / exact)
    assert len(ratios) == 10
    assert 0.7 < min(ratios) <= max(ratios) < 1.1
    assert sorted(ratios)[5] > 0.9
