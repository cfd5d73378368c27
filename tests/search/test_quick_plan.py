"""The search's plan says what the compiler's says: hazards of random designs, with links of every size."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dna.accelerator.chunk import LINK_WORDS
from dna.compile.lowering import lower
from dna.compile.plan import Plan
from dna.search import quick_plan
from dna.search.quick_plan import QuickPlan
from tests.compile.several import drawn_chunks_case


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("factor", [1, 4])
def test_stores_wait_for_the_same(seed: int, factor: int) -> None:
    case = drawn_chunks_case(seed)
    links = tuple(replace(link, words=min(link.words * factor, LINK_WORDS[1])) for link in case.accelerator.links)
    accelerator = replace(case.accelerator, links=links)
    quick, plain = (kind(lower(case.network), accelerator, case.mapping) for kind in (QuickPlan, Plan))
    on_chip = case.mapping.on_chip
    expected = plain.of_writes(on_chip)
    assert quick.of_writes(on_chip) == expected
    assert all(mine is again for mine, again in zip(quick.of_writes(on_chip), quick.of_writes(on_chip), strict=True))


def test_a_link_that_is_too_small_is_found_and_others_are_not_looked_up_again() -> None:
    for case in map(drawn_chunks_case, range(60)):
        links, on_chip = case.accelerator.links, case.mapping.on_chip
        if len({link.writer for link in links}) < 2:
            continue
        plan = QuickPlan(lower(case.network), case.accelerator, case.mapping)
        before = plan.of_writes(on_chip)
        small = replace(links[0], words=LINK_WORDS[0])
        other = plan.on(replace(case.accelerator, links=(small, *links[1:])))
        expected = Plan(lower(case.network), other.accelerator, case.mapping).of_writes(on_chip)
        assert other.of_writes(on_chip) == expected
        same = [chunk for chunk in range(len(before)) if chunk != small.writer]
        assert all(other.of_writes(on_chip)[chunk] is before[chunk] for chunk in same)
        return
    raise AssertionError("no design with links of two writers was drawn")


def test_without_a_compiler_it_is_the_plan_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    case = drawn_chunks_case(3)
    given = (lower(case.network), case.accelerator, case.mapping)
    with_compiler = QuickPlan(*given).of_writes(case.mapping.on_chip)
    monkeypatch.setattr(quick_plan, "library", lambda: None)
    assert QuickPlan(*given).of_writes(case.mapping.on_chip) == with_compiler
