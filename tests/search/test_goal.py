"""Goals: every objective and limit by hand, what people write, and what is said when a limit is missed."""

import math

import pytest
import torch

from dna.accelerator.board import load_board
from dna.cost.resources import Resources
from dna.errors import UserError
from dna.search.figures import FIGURES, Costs, figures
from dna.search.goal import OBJECTIVES, Fastest, Goal, LeastHardware, Limit, parse_goal, parse_limit

FPGA = load_board("zc706")
USED = Resources(dsp=torch.tensor([450, 1800]), bram36=torch.tensor([109, 109]), lut=torch.tensor([21860, 0]), ff=100)


def costs(**changes):
    given = {"interval": torch.tensor([1_000_000, 2_000_000]), "latency": torch.tensor([3_000_000, 2_000_000])}
    return Costs(**{**given, "resources": USED, "unmapped": torch.tensor([0, 3]), **changes})


def of(evaluation, name):
    return evaluation.ratios[:, evaluation.names.index(name)].tolist()


def test_fastest_prices_cycles_and_keeps_the_boards_limits():
    evaluation = Fastest().evaluate(costs(), FPGA)
    assert evaluation.cost.tolist() == [1e6, 2e6]
    assert evaluation.names == ("dsp", "bram36", "lut", "ff", "buffers")
    assert of(evaluation, "dsp") == [0.5, 2.0] and of(evaluation, "buffers") == [1.0, 4.0]
    assert evaluation.feasible.tolist() == [True, False]


def test_the_cycles_of_all_chunks_guide_towards_a_short_interval():
    chunks = torch.tensor([[1e6, 1e6, 0.0], [2e6, 5e5, 1e5]], dtype=torch.float64)
    guided = Fastest().evaluate(costs(chunk_cycles=chunks), FPGA)
    assert guided.cost.tolist() == [1e6, 2e6] and guided.smooth is not None
    assert guided.smooth.tolist() == pytest.approx([1e6 * 2 ** (1 / 16), 2e6], rel=1e-6)
    assert Fastest().evaluate(costs(), FPGA).smooth is None
    assert LeastHardware(150).evaluate(costs(chunk_cycles=chunks), FPGA).smooth is None


def test_latency_is_not_the_interval():
    assert Goal("latency").evaluate(costs(), FPGA).cost.tolist() == [3e6, 2e6]


def test_least_hardware_is_the_mean_share_at_a_frame_rate():
    evaluation = LeastHardware(150).evaluate(costs(), FPGA)
    share = 100 * (0.5 + 109 / 545 + 0.1) / 3
    assert evaluation.cost[0].item() == pytest.approx(share)
    assert of(evaluation, "frame rate") == pytest.approx([150 / 200, 150 / 100])
    assert LeastHardware(150).cycles(FPGA) == FPGA.cycles_per_second / 150
    assert LeastHardware(150).faster(2).frames_per_second == 300
    assert Fastest().cycles(FPGA) == math.inf


def test_limits_tighten_what_the_board_has():
    goal = Goal("interval", (Limit("dsp", 225), Limit("latency", 10), Limit("bandwidth", 1.6)))
    evaluation = goal.evaluate(costs(bandwidth=torch.tensor([8.0, 32.0])), FPGA)
    assert of(evaluation, "dsp") == [2.0, 8.0]
    assert of(evaluation, "latency") == pytest.approx([1.5, 1.0])
    assert of(evaluation, "bandwidth") == pytest.approx([1.0, 4.0])  # 8 bytes at 200 MHz are 1.6 GB/s; carried: 16
    loose = Goal("interval", (Limit("dsp", 9000),)).evaluate(costs(), FPGA)
    assert of(loose, "dsp") == [0.5, 2.0]


def test_energy_goals_by_hand():
    board = load_board("asic-45nm")
    priced = costs(
        energy_pj=torch.tensor([2e9, 4e9]), area_mm2=torch.tensor([1.0, 3.0]), buffer_kb=torch.tensor([64, 8])
    )
    scale = 1e3 / board.cycles_per_second
    assert Goal("energy").evaluate(priced, board).cost.tolist() == pytest.approx([2, 4])
    assert Goal("edp").evaluate(priced, board).cost.tolist() == pytest.approx([2 * 3e6 * scale, 4 * 2e6 * scale])
    assert Goal("area").evaluate(priced, board).cost.tolist() == [1, 3]
    assert LeastHardware(1).evaluate(priced, board).cost.tolist() == pytest.approx(
        [100 / board.area_mm2, 300 / board.area_mm2]
    )
    evaluation = Goal("energy", (Limit("area", 2),)).evaluate(priced, board)
    assert of(evaluation, "area") == [0.5, 1.5]
    assert of(evaluation, "on-chip memory") == pytest.approx([64 / board.sram_kb, 8 / board.sram_kb])
    assert "dsp" not in evaluation.names


def test_what_was_not_priced_is_an_error_not_a_guess():
    with pytest.raises(ValueError, match="energy was not priced"):
        Goal("energy").cost(costs(), load_board("asic-45nm"))
    with pytest.raises(ValueError, match="area was not priced"):
        Fastest().evaluate(costs(), load_board("asic-45nm"))
    assert "energy" in Goal("edp").needs and "area" in Goal("interval").needs_on(load_board("asic-45nm"))
    assert set(figures(costs(), FPGA)) == {"fps", "latency", "hardware", "dsp", "bram36", "lut", "ff"}


def test_cost_and_ratios_are_differentiable():
    cycles = torch.tensor([1e6, 2e6], dtype=torch.float64, requires_grad=True)
    LeastHardware(150).evaluate(costs(interval=cycles, latency=cycles), FPGA).score.sum().backward()
    assert cycles.grad is not None and bool((cycles.grad[1] > 0) & (cycles.grad[0] == 0))


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("fps=100", "fps", 100),
        ("energy=2mJ", "energy", 2),
        ("energy=250uJ", "energy", 0.25),
        ("energy_mj=0.5", "energy", 0.5),
        ("latency=5us", "latency", 0.005),
        ("latency=2s", "latency", 2000),
        ("area=4mm2", "area", 4),
        ("dsp=300", "dsp", 300),
        ("BRAM=100", "bram36", 100),
        ("bandwidth=3.2GB/s", "bandwidth", 3.2),
        ("buffer=1MB", "buffer", 1024),
        ("edp=1e-3", "edp", 0.001),
    ],
)
def test_limits_as_people_write_them(text, name, value):
    limit = parse_limit(text)
    assert (limit.name, limit.value) == (name, pytest.approx(value))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("energy", "limit is 'energy'; it must be NAME=NUMBER"),
        ("power=2", "limit is 'power'; known: fps, latency, energy"),
        ("energy=2km", "behind energy= there must be a number and a unit of mj"),
        ("dsp=", "behind dsp= there must be a number$"),
        ("fps=-3", "limit fps: is -3; it must be above 0"),
        ("area=inf", "behind area= there must be a number"),
    ],
)
def test_bad_limits_are_refused_in_one_line(text, message):
    with pytest.raises(UserError, match=message):
        parse_limit(text)


def test_goals_as_people_write_them():
    assert parse_goal("fastest") == Fastest() and parse_goal("fps=30") == LeastHardware(30)
    assert parse_goal("edp", ["fps=30", "area=4"]) == Goal("edp", (Limit("fps", 30), Limit("area", 4)))
    assert parse_goal("fps=30", ["latency=5"]) == Goal("hardware", (Limit("fps", 30), Limit("latency", 5)))
    assert parse_goal("fastest", ["dsp=90"]).objective == "interval"
    for text in ("speed", "fps", "fps=", "fps=0", "fps=nan"):
        with pytest.raises(UserError, match=f"goal is '{text}'; it must be"):
            parse_goal(text)
    with pytest.raises(UserError, match="limit fps is given twice"):
        parse_goal("fps=30", ["fps=20"])
    with pytest.raises(UserError, match="one of interval"):
        Goal("speed")


def test_every_objective_has_a_name_in_messages():
    assert [Goal(name).describe() for name in OBJECTIVES] == [
        "fastest",
        "least latency",
        "least energy",
        "least energy-delay product",
        "least area",
        "least hardware",
    ]
    assert Goal("area", (Limit("fps", 100),)).describe() == "least area; frame rate at least 100 frames/s"


def test_what_a_board_does_not_have_is_refused():
    with pytest.raises(UserError, match="goal energy: board 'zc706' has no energy figures"):
        Goal("energy").check(FPGA)
    with pytest.raises(UserError, match="limit dsp: board 'asic-45nm' is an ASIC"):
        Goal("interval", (Limit("dsp", 3),)).check(load_board("asic-45nm"))
    Goal("latency", (Limit("dsp", 3),)).check(FPGA)


def test_missed_limits_in_words():
    goal = Goal("interval", (Limit("fps", 150), Limit("dsp", 225), Limit("latency", 10)))
    assert goal.missed("frame rate", 1.5, FPGA) == "frame rate: 100 of 150 frames/s"
    assert goal.missed("dsp", 2.0, FPGA) == "dsp: 450 of 225"
    assert goal.missed("latency", 1.5, FPGA) == "latency: 15 of 10 ms"
    assert goal.missed("buffers", 4.0, FPGA) == "buffers: 3 layers fit no tile"
    assert Fastest().missed("lut", 1.5, FPGA) == "lut: 327900 of 218600"
    assert Fastest().missed("bandwidth", 2.0, FPGA) == "bandwidth: 6.4 of 3.2 GB/s"
    assert all(figure.label for figure in FIGURES.values())


def test_score_of_cycles_is_the_scores_part():
    goal = Goal("interval", (Limit("fps", 150), Limit("latency", 8)))
    both = torch.tensor([1_000_000, 2_000_000])
    whole = goal.evaluate(costs(interval=both, latency=both), FPGA).score
    rest = goal.evaluate(costs(interval=torch.ones(2), latency=torch.ones(2)), FPGA).score
    assert (whole - rest).tolist() == pytest.approx(goal.cycles_score(both, FPGA).tolist())
