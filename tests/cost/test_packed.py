"""The compiled schedule is the schedule: every figure of random designs, and what happens without a compiler."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dna.accelerator.chunk import Memory
from dna.compile.program import Instruction, Program
from dna.cost import native, packed
from dna.cost.packed import schedule_packed
from dna.cost.schedule import Schedule, schedule
from tests.compile.cases import drawn_case
from tests.compile.several import drawn_chunks_case


def _without_tiles(times: Schedule) -> Schedule:
    return replace(times, chunks=tuple(replace(chunk, tiles=()) for chunk in times.chunks))


def test_there_is_a_compiler_where_the_others_compare() -> None:
    assert native.library() is not None


@pytest.mark.parametrize("seed", range(24))
def test_figures_of_several_chunks_are_those_of_the_schedule(seed: int) -> None:
    case = drawn_chunks_case(seed)
    given = packed.packed(case.program)
    for passes in (1, 2, 3, 5):
        memories = case.memories(np.random.default_rng(seed + passes))
        assert schedule_packed(given, memories, passes) == _without_tiles(schedule(case.program, memories, passes))


@pytest.mark.parametrize("seed", range(12))
def test_figures_of_one_chunk_are_those_of_the_schedule(seed: int) -> None:
    program = drawn_case(seed).compile()
    for memory in (Memory(), Memory(1, 1, 1), Memory(200, 7, 90)):
        assert schedule_packed(packed.packed(program), memory, 2) == _without_tiles(schedule(program, memory, 2))


def test_chunks_of_an_earlier_one_are_taken_over() -> None:
    program = drawn_chunks_case(5).program
    first = packed.packed(program)
    other = replace(program, chunks=(replace(program.chunks[0]), *program.chunks[1:]))
    again = packed.packed(other, first)
    taken = [mine is before for mine, before in zip(again.parts, first.parts, strict=True)]
    assert taken == [False] + [True] * (len(taken) - 1) and len(taken) > 1
    assert (again.rows == first.rows).all()


def test_without_a_compiler_it_is_the_schedule_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = drawn_chunks_case(2).program
    expected = schedule(program, Memory(), 2)
    monkeypatch.setattr(packed, "library", lambda: None)
    assert schedule_packed(packed.packed(program), Memory(), 2) == expected
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "COMPILERS", ())
    monkeypatch.delenv("CC", raising=False)
    assert native.library.__wrapped__() is None
    broken = tmp_path / "broken.c"
    broken.write_text("int dna_schedule(")
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "SOURCES", (broken,))
    assert native.library.__wrapped__() is None
    assert not list((tmp_path / "dna").glob("*"))


def test_it_is_built_once_and_without_a_cache_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.library.__wrapped__() is not None
    (kept,) = (tmp_path / "dna").iterdir()
    made = kept.stat().st_mtime_ns
    assert native.library.__wrapped__() is not None and kept.stat().st_mtime_ns == made
    file = tmp_path / "file"
    file.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert native.library.__wrapped__() is not None


def test_what_does_not_end_is_refused_as_by_the_schedule() -> None:
    """The WAITs of a chunk are for events of a later pass."""
    program = next(found for found in map(_program, range(24)) if _waits(found))
    late = replace(
        program, chunks=tuple(replace(c, instructions=tuple(map(_late, c.instructions))) for c in program.chunks)
    )
    with pytest.raises(LookupError, match="deadlock"):
        schedule_packed(packed.packed(late), Memory(), 2)
    with pytest.raises(ValueError, match="passes is 0"):
        schedule_packed(packed.packed(program), Memory(), 0)


def _program(seed: int) -> Program:
    return drawn_chunks_case(seed).program


def _waits(program: Program) -> bool:
    return any(job.op == "WAIT" for chunk in program.chunks for job in chunk.instructions)


def _late(job: Instruction) -> Instruction:
    return replace(job, values={**job.values, "ago": -1}) if job.op == "WAIT" else job
