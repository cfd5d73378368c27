"""dna_sequencer.v against its model, cycle by cycle, with queues that stall at random."""

from __future__ import annotations

import pytest

from dna.cost.dispatch import BOOTSTRAP_DELAY, DONE_DELAY, PAGE_DELAY, Sequencer
from tests.rtl.runner import RTL, run_cocotb


@pytest.mark.parametrize("ports", [1, 2])
def test_sequencer_equals_model(ports: int) -> None:
    sources = [RTL / "dna_sequencer.v", RTL / "dna_ram.v"]
    run_cocotb("dna_sequencer", "tests.rtl.sequencer_cocotb", sources, parameters={"PORTS": ports})


def test_model_dispatches_one_per_cycle_and_waits_for_queue_and_page() -> None:
    model = Sequencer(start=100)
    assert model.dispatch() == 100 + BOOTSTRAP_DELAY
    with pytest.raises(LookupError):
        _ = model.earliest
    model.page_loaded(500)
    first = 500 + PAGE_DELAY
    assert [model.dispatch(), model.dispatch(), model.dispatch(first + 9), model.dispatch(0)] == [
        first,
        first + 1,
        first + 9,
        first + 10,
    ]
    assert model.finish(900) == 900 + DONE_DELAY


def test_model_starts_over_at_the_end_of_a_pass() -> None:
    model = Sequencer()
    model.dispatch()
    model.page_loaded(100)
    assert model.next_pass(40) == 100 + PAGE_DELAY
    # The bootstrap again; the page of the pass before does not count.
    assert model.dispatch() == 100 + PAGE_DELAY + 1
    with pytest.raises(LookupError):
        _ = model.earliest
    model.page_loaded(200)
    assert model.next_pass(300) == 300
    assert model.dispatch(310) == 310
