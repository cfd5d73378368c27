"""Several chunks, links, frames and passes: right in any order, and planted faults are found."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dna.accelerator.chunk import PAGE_INSTRUCTIONS
from dna.accelerator.isa import DESTINATIONS, EVENTS, REGIONS
from dna.compile.deadlock import ProgramError, check
from dna.compile.interpret import interpret, interpret_frames
from dna.compile.program import Program
from dna.network.random import RandomLimits
from dna.quantize.reference import run
from tests.compile.edits import changed, with_instructions
from tests.compile.several import ChunksCase, drawn_chunks_case

SMALL = RandomLimits(layers=5, macs=8000, size=8, everything=True)
FETCHED = DESTINATIONS["INPUT"], DESTINATIONS["RESIDUAL"]
REFUSED = "deadlock|overwrites|overwritten|without waiting|nothing stored|ahead|which there is not"


def right(case: ChunksCase, program: Program, rng: np.random.Generator, passes: int = 3) -> bool:
    """Whether all tensors of all frames are those of the reference, engines going on in random order."""
    inputs = case.inputs(passes, rng)
    results = interpret_frames(program, inputs, rng)
    assert len(results) == passes * program.frames
    for x_HWC, got in zip(inputs, results, strict=True):
        expected = run(case.network, case.weights, x_HWC)
        if any(not np.array_equal(x, expected[program.tensors[name].source]) for name, x in got.items()):
            return False
    return True


def waits(program: Program, **fields: int) -> Iterator[tuple[int, int]]:
    """Chunk and place of each WAIT with these fields."""
    for chunk, chunk_program in enumerate(program.chunks):
        for at, job in enumerate(chunk_program.instructions):
            if job.op == "WAIT" and all(job[name] == value for name, value in fields.items()):
                yield chunk, at


def without(program: Program, chunk: int, at: int) -> Program:
    """The Program with a WAIT that waits for nothing in its place."""
    return changed(program, at, chunk, index=0, ago=3)


@pytest.mark.parametrize("seed", range(25))
def test_random_designs(seed: int) -> None:
    case = drawn_chunks_case(seed)
    assert right(case, case.program, np.random.default_rng(seed), 1 + seed % 3)


def features(program: Program) -> Iterator[object]:
    """What is special about a Program."""
    yield "chunks", len(program.chunks)
    yield "frames", program.frames
    for tensor in program.tensors.values():
        if tensor.region == "CHIP":
            yield "several readers" if len(tensor.readers) > 1 else "one reader"
            yield "own reader" if tensor.writer in tensor.readers else "other reader"
    for chunk, chunk_program in enumerate(program.chunks):
        depths = {link.reader: link.words for link in program.accelerator.links if link.writer == chunk}
        for job in chunk_program.instructions:
            if job.op == "WAIT":
                yield job["event"], job["ago"]
            if job.op == "STORE" and job["region"] == REGIONS["CHIP"]:
                readers = [reader for reader in depths if job["readers"] >> reader & 1]
                yield "wraps" if job["address"] >= min(depths[reader] for reader in readers) else "first turn"


def test_what_random_designs_cover() -> None:
    wanted = {*(("chunks", n) for n in (2, 3, 4)), *(("frames", n) for n in (1, 2, 3, 4)), "wraps", "first turn"}
    wanted |= {"several readers", "one reader", "own reader", "other reader"}
    wanted |= {(EVENTS["COMMITTED"], 0), (EVENTS["FETCHED"], 0), (EVENTS["FETCHED"], 1)}
    for seed in range(60):
        wanted -= set(features(drawn_chunks_case(seed).program))
        if not wanted:
            break
    assert not wanted


@pytest.mark.parametrize("seed", range(8))
def test_a_missing_wait_is_refused_or_was_not_needed(seed: int) -> None:
    case = drawn_chunks_case(seed + 40, SMALL)
    rng = np.random.default_rng(seed)
    places = list(waits(case.program))
    refused = 0
    chosen = [places[index] for index in rng.permutation(len(places))[:8]]
    for place in chosen:
        faulty = without(case.program, *place)
        try:
            check(faulty)
        except ProgramError as error:
            assert any(word in str(error) for word in REFUSED.split("|")), error
            refused += 1
            continue
        assert right(case, faulty, rng, 2)
    assert refused >= len(chosen) // 3


@pytest.mark.parametrize("field", ["index", "ago", "peer", "event"])
def test_a_changed_wait_is_refused_or_harmless(field: str) -> None:
    rng = np.random.default_rng(3)
    refused = count = 0
    for seed in range(6):
        case = drawn_chunks_case(seed + 60, SMALL)
        places = list(waits(case.program))
        for chunk, at in (places[index] for index in rng.permutation(len(places))[:4]):
            job = case.program.chunks[chunk].instructions[at]
            limit = {"index": 1 << 20, "ago": 4, "peer": 16, "event": 2}[field]
            faulty = changed(case.program, at, chunk, **{field: (job[field] + int(rng.choice([-1, 1]))) % limit})
            count += 1
            try:
                check(faulty)
            except ProgramError:
                refused += 1
                continue
            assert right(case, faulty, rng, 2), (seed, chunk, at)
    assert refused >= count // 3


def test_a_wait_behind_its_job_is_refused_or_harmless() -> None:
    """WAIT and the instruction after it change places."""
    rng = np.random.default_rng(5)
    refused = count = 0
    for seed in range(6):
        case = drawn_chunks_case(seed + 80, SMALL)
        places = list(waits(case.program))
        for chunk, at in (places[index] for index in rng.permutation(len(places))[:4]):
            body = list(case.program.chunks[chunk].instructions)
            if (at + 1) % PAGE_INSTRUCTIONS == 0:
                continue
            body[at], body[at + 1] = body[at + 1], body[at]
            faulty = with_instructions(case.program, body, chunk)
            count += 1
            try:
                check(faulty)
            except ProgramError:
                refused += 1
                continue
            assert right(case, faulty, rng, 2), (seed, chunk, at)
    assert refused >= count // 2


def test_the_interpreter_finds_missing_waits() -> None:
    """The two proofs are independent: without the check, running in random orders shows wrong data, of either kind."""
    found = dict.fromkeys(EVENTS, False)
    for seed in range(40, 60):
        case = drawn_chunks_case(seed, SMALL)
        for name, event in EVENTS.items():
            for place in list(waits(case.program, event=event))[:6]:
                if not found[name]:
                    faulty = without(case.program, *place)
                    found[name] = not right_or_broken(case, faulty, np.random.default_rng(seed))
    assert all(found.values()), found


def right_or_broken(case: ChunksCase, program: Program, rng: np.random.Generator) -> bool:
    try:
        return right(case, program, rng)
    except ProgramError:
        return False


def test_the_interpreter_notices_that_chunks_wait_for_each_other() -> None:
    """A STORE that waits until this pass's reader of it has read everything."""
    case = next(case for case in map(drawn_chunks_case, range(20)) if any(True for _ in waits(case.program, ago=1)))
    program = case.program
    chunk, at = next(waits(program, event=EVENTS["FETCHED"], ago=1))
    reader = program.chunks[program.chunks[chunk].instructions[at]["peer"]]
    fetches = sum(job.op == "LOAD" and job["dest"] in FETCHED for job in reader.instructions)
    faulty = changed(program, at, chunk, ago=0, index=fetches)
    with pytest.raises(ProgramError, match="deadlock before instruction"):
        interpret_frames(faulty, case.inputs(1, np.random.default_rng(0)))
    with pytest.raises(ProgramError, match="deadlock"):
        check(faulty)


def test_frames_are_whole_passes() -> None:
    case = next(case for case in map(drawn_chunks_case, range(20)) if case.program.frames == 2)
    rng = np.random.default_rng(1)
    inputs = case.inputs(1, rng)
    with pytest.raises(ValueError, match="frames"):
        interpret_frames(case.program, [*inputs, inputs[0]])
    with pytest.raises(ValueError, match="frames"):
        interpret(case.program, inputs[0])
