"""Energy and area by hand, what must rise must rise, gradients, and the search that minimises them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dna.accelerator.board import board_names, load_board
from dna.accelerator.chunk import Accelerator, Chunk, Link
from dna.accelerator.technology import Technology
from dna.cost import area
from dna.cost.energy import PARTS, clock_pj, dynamic_pj, energy_of, idle_pj, leakage_pj
from dna.cost.traffic import BUFFERS, Traffic, program_traffic, total
from dna.errors import UserError
from dna.generate.asic import memories as macros_of
from dna.search import exact
from dna.search.accelerator import problem
from dna.search.goal import Goal, Limit, parse_goal
from dna.search.problem import Budget
from dna.search.space import default_space
from tests.compile.several import drawn_chunks_case
from tests.cost.chains import columns, random_chain
from tests.cost.test_traffic import best, compiled

BOARD = load_board("asic-45nm")
TECHNOLOGY = BOARD.technology
assert TECHNOLOGY is not None
ASICS = [name for name in board_names() if name.startswith("asic-")]


def test_power_law_of_memories():
    assert TECHNOLOGY.sram_byte_pj(8192) == pytest.approx(1.25)  # 10 pJ for 8 bytes of 8 kB
    assert TECHNOLOGY.sram_byte_pj(32768) == pytest.approx(2.5)
    assert TECHNOLOGY.sram_byte_pj(2**20) == pytest.approx(12.5, rel=0.2)  # the table's third point is off the law
    assert TECHNOLOGY.sram_byte_pj(16) == TECHNOLOGY.sram_floor_pj
    sizes = torch.tensor([16, 8192, 32768])
    assert TECHNOLOGY.sram_byte_pj(sizes).tolist() == pytest.approx([TECHNOLOGY.sram_byte_pj(int(s)) for s in sizes])


def test_dynamic_energy_by_hand():
    p = Chunk(input_words=512, weight_words=2048, residual=False).integers
    traffic = Traffic(macs=1000.0, outputs=10.0, read=64.0, written=36.0, link=8.0, input=100.0, weight=200.0)
    parts = dynamic_pj(traffic, p, TECHNOLOGY, link_words=2048)
    assert list(parts) == list(PARTS[:5])
    assert parts["multipliers"] == pytest.approx(300)
    assert parts["post lanes"] == pytest.approx(33)
    assert parts["DRAM"] == pytest.approx(100 * 162.5)
    assert parts["buffers"] == pytest.approx(100 * 1.25 + 200 * 2.5)  # memories of 8 and 32 kB
    assert parts["links"] == pytest.approx(8 * 2.5)


def test_idle_energy_by_hand():
    p = Chunk().integers
    assert clock_pj(p, TECHNOLOGY) == pytest.approx(0.0054 * area.flip_flops(p))
    milliwatts = area.gates(p) * 0.798e-6 * 17.5 + area.sram_mm2(p, TECHNOLOGY) * 47.6
    assert leakage_pj(p, TECHNOLOGY, 400) == pytest.approx(milliwatts * 1e-3 / 400e6 * 1e12)
    assert idle_pj(p, BOARD) == pytest.approx(clock_pj(p, TECHNOLOGY) + leakage_pj(p, TECHNOLOGY, 400))


@pytest.mark.parametrize("name", ASICS)
@pytest.mark.parametrize("buffer", [name for name in BUFFERS if name != "program"])
def test_larger_memories_cost_more_per_access(name, buffer):
    technology = load_board(name).technology
    traffic = Traffic(**{buffer: 1000.0})
    words = {"residual": "output_words"}.get(buffer, f"{buffer}_words")
    costs = [
        dynamic_pj(traffic, {**Chunk().integers, words: depth}, technology)["buffers"] for depth in (256, 1024, 8192)
    ]
    assert 0 < costs[0] < costs[1] < costs[2]


@pytest.mark.parametrize("name", Traffic.__dataclass_fields__)
def test_more_traffic_costs_more(name):
    few, many = (sum(dynamic_pj(Traffic(**{name: n}), Chunk().integers, TECHNOLOGY).values()) for n in (1.0, 2.0))
    assert 0 < few < many == pytest.approx(2 * few)


def test_nodes_rank_as_they_should():
    by_node = [load_board(f"asic-{nm}nm").technology for nm in (65, 45, 28)]
    for figure in ("mac_pj", "post_pj", "sram_pj", "flip_flop_pj", "gate_um2", "sram_bit_um2"):
        values = [getattr(technology, figure) for technology in by_node]
        assert values == sorted(values, reverse=True), figure


def test_energy_carries_gradients():
    depth = torch.tensor([1024.0], dtype=torch.float64, requires_grad=True)
    bytes_read = torch.tensor([100.0], dtype=torch.float64, requires_grad=True)
    p = {**columns([Chunk()]), "input_words": depth}
    dynamic_pj(Traffic(input=bytes_read), p, TECHNOLOGY)["buffers"].sum().backward()
    each = TECHNOLOGY.sram_byte_pj(16 * 1024)
    assert bytes_read.grad.item() == pytest.approx(each)
    assert depth.grad.item() == pytest.approx(100 * each * 0.5 / 1024)


def test_energy_of_a_program_adds_up():
    rng = np.random.default_rng(8)
    network, chunk = random_chain(rng), Chunk()
    program = compiled(network.layers, chunk, best(network.layers, chunk) or [])
    found = energy_of(program, BOARD, 100_000)
    assert [name for name, _ in found.layers] == [*(layer.name for layer in network.layers), "program"]
    whole = dynamic_pj(total(program_traffic(program)), chunk.integers, TECHNOLOGY)
    for name, value in whole.items():
        assert found.parts[name] == pytest.approx(value)
    assert found.parts["clock"] + found.parts["leakage"] == pytest.approx(100_000 * idle_pj(chunk.integers, BOARD))
    assert found.total_pj == pytest.approx(sum(found.parts.values())) and tuple(found.parts) == PARTS
    assert found.total_mj == found.total_pj * 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_energy_of_several_chunks_and_frames(seed):
    program = drawn_chunks_case(seed).program
    found = energy_of(program, BOARD, 1000)
    whole = total(program_traffic(program))
    assert found.parts["DRAM"] == pytest.approx(whole.memory * 162.5)
    assert (found.parts["links"] > 0) == (whole.link > 0)
    assert all(value >= -1e-6 for name, parts in found.layers for value in parts.values())


def test_fpgas_are_refused():
    program = drawn_chunks_case(0).program
    with pytest.raises(UserError, match="energy: board 'zc706' has no energy figures"):
        energy_of(program, load_board("zc706"), 1)


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(),
        Chunk(oc=8, ic=2, px=3, dataflow="weight", sum_words=64, residual=False),
        Chunk(oc=2, ic=8, post_lanes=2, dataflow="input", sum_words=32),
    ],
)
def test_memories_are_the_macros_of_the_asic_folder(chunk):
    link = Link(0, 0, 256)
    accelerator = Accelerator((replace(chunk, port_bytes=16),), links=(link,))
    found = macros_of(accelerator)
    bits = sum(count * macro.width * macro.depth for (_, macro), count in found.items())
    counted = area.accelerator_area(accelerator, TECHNOLOGY)
    assert counted.buffer_kb == pytest.approx(bits / 8192)
    instances = sum(found.values())
    assert counted.sram_mm2 == pytest.approx((0.74 * bits + 100 * instances) * 1e-6)
    assert counted.total_mm2 == counted.logic_mm2 + counted.sram_mm2 > 0


def test_area_grows_with_every_parameter_and_in_batches():
    small = Chunk(oc=16, ic=2, px=2, post_lanes=2, residual=False, ports=1)
    for change in ({"px": 4}, {"ic": 4}, {"oc": 32}, {"post_lanes": 8}, {"ports": 2}, {"input_words": 1024}):
        large = replace(small, **change)
        assert area.area_mm2(large.integers, TECHNOLOGY) > area.area_mm2(small.integers, TECHNOLOGY), change
    both = area.area_mm2(columns([small, Chunk()]), TECHNOLOGY)
    alone = [area.area_mm2(chunk.integers, TECHNOLOGY) for chunk in (small, Chunk())]
    assert both.tolist() == pytest.approx(alone)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mac_pj": 0}, "mac_pj is 0; it must be above 0"),
        ({"dram_pj": float("nan")}, "dram_pj is nan"),
        ({"utilisation": 1.2}, "utilisation is 1.2"),
        ({"sram_exponent": 2}, "sram_exponent is 2"),
        ({"leakage_mw_per_mm2": -1}, "leakage_mw_per_mm2 is -1"),
    ],
)
def test_impossible_technologies_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        replace(TECHNOLOGY, **changes)
    assert isinstance(TECHNOLOGY, Technology)


SMALL = default_space(multipliers=64, residual=True).limit(
    oc=(16,),
    ic=(1, 4),
    px=(1, 2, 4),
    post_lanes=(2, 4),
    input_words=(128, 512),
    weight_words=(256,),
    param_words=(64,),
    output_words=(128, 512),
    ports=(1, 2),
)


@pytest.mark.parametrize("text", ["energy", "edp", "area", "fps=50"])
def test_exact_search_finds_what_enumeration_finds(text):
    layers = random_chain(np.random.default_rng(4)).layers
    of = problem(layers, BOARD, parse_goal(text), SMALL)
    result = exact.search(of, Budget())
    designs, priced = of.evaluate_arrays(torch.arange(len(SMALL.arrays)))
    best_cost = float(priced.cost[priced.feasible].min())
    assert result.feasible and result.cost == pytest.approx(best_cost)
    assert result.lower_bound == pytest.approx(best_cost)
    again = of.evaluate(designs)
    assert again.cost.tolist() == pytest.approx(priced.cost.tolist())


def test_bounds_of_arrays_are_bounds():
    layers = random_chain(np.random.default_rng(4)).layers
    for goal in (Goal("energy"), Goal("edp"), Goal("area")):
        of = problem(layers, BOARD, goal, SMALL)
        bounds = of.array_bounds().cost
        costs = of.evaluate_arrays(torch.arange(len(SMALL.arrays)))[1].cost.view(len(bounds), -1)
        assert bool((bounds[:, None] <= costs + 1e-12).all())


def test_table_of_a_design_is_its_program_but_for_borders():
    """The searched figure against the compiled Program's, one design."""
    layers = random_chain(np.random.default_rng(4)).layers
    of = problem(layers, BOARD, Goal("energy"), SMALL)
    result = exact.search(of, Budget())
    chunk = SMALL.chunk(result.design)
    program = compiled(layers, chunk, best(layers, chunk) or [])
    counted = energy_of(program, BOARD, of.cycles(result.design)).total_mj
    assert result.cost == pytest.approx(counted, rel=0.05)


def test_goals_trade_what_they_name():
    layers = random_chain(np.random.default_rng(4)).layers
    found = {}
    for goal in (Goal("interval"), Goal("energy"), Goal("area")):
        result = exact.search(problem(layers, BOARD, goal, SMALL), Budget())
        one = problem(layers, BOARD, Goal("energy"), SMALL).evaluate(result.design[None]).cost.item()
        found[goal.objective] = (one, problem(layers, BOARD, goal, SMALL).cycles(result.design))
    assert found["energy"][0] <= min(found["interval"][0], found["area"][0])
    assert found["interval"][1] <= min(found["energy"][1], found["area"][1])
    limited = Goal("area", (Limit("latency", found["interval"][1] * 1.2 * 1e3 / BOARD.cycles_per_second),))
    result = exact.search(problem(layers, BOARD, limited, SMALL), Budget())
    assert result.feasible and result.ratios["latency"] <= 1
