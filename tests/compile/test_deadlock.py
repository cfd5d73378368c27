"""The check of finished Programs: planted faults are found, and what it accepts runs correctly in any order."""

from __future__ import annotations

import numpy as np
import pytest

from dna.accelerator.chunk import Chunk
from dna.accelerator.isa import DESTINATIONS, FIELDS
from dna.accelerator.mapping import LayerMapping
from dna.compile.deadlock import ProgramError, check
from dna.compile.interpret import interpret
from dna.compile.program import Program
from dna.quantize.reference import run
from tests.compile.cases import Case, conv, drawn_case, made_case
from tests.compile.edits import changed, with_instructions

WAITS = ("wait_free", "wait_commit", "wait_ready", "wait_in", "wait_w", "wait_res", "wait_out")


def small_case() -> Case:
    """Two convolutions in several tiles of every kind, with a residual."""
    first = conv("a", "input", (8, 8, 16), 32)
    second = conv("b", "a", (8, 8, 32), 32, residual="a")
    mapping = [LayerMapping(2, 1, 1, 8, 16, 16, 3, "weights"), LayerMapping(1, 2, 2, 4, 16, 32, 3, "inputs")]
    return made_case([first, second], Chunk(oc=16, ic=4, px=2), mapping)


def find(program: Program, op: str, number: int, dest: str | None = None, layer: int | None = None) -> int:
    """Index of the instruction that is the `number`-th of its kind."""
    found = [
        index
        for index, instruction in enumerate(program.instructions)
        if instruction.op == op
        and (dest is None or instruction["dest"] == DESTINATIONS[dest])
        and (layer is None or instruction.layer == layer)
    ]
    return found[number]


def test_a_good_program_passes() -> None:
    check(small_case().compile())


@pytest.mark.parametrize(
    ("op", "number", "dest", "field", "delta", "message"),
    [
        ("LOAD", 3, "INPUT", "wait_free", -1, "overwrites input tile"),
        ("LOAD", 3, "INPUT", "wait_free", 9, "deadlock"),
        ("LOAD", 2, "WEIGHT", "wait_free", -1, "overwrites weight tile"),
        ("LOAD", 2, "PARAM", "wait_free", -1, "overwrites param tile"),
        ("LOAD", 2, "RESIDUAL", "wait_free", -1, "overwrites residual tile"),
        ("LOAD", 8, "INPUT", "wait_commit", -1, "reads words of STORE"),
        ("LOAD", -1, "INPUT", "wait_commit", 1000, "deadlock"),
        ("LOAD", 1, "WEIGHT", "port", -1, "through port 0"),
        ("LOAD", 0, "PROGRAM", "base", -64, "load of the next page"),
        ("TILE", 5, None, "wait_in", 1, "deadlock"),
        ("TILE", 5, None, "wait_in", -1, "does not wait for input tile"),
        ("TILE", 5, None, "wait_w", -1, "does not wait for its weight tile"),
        ("TILE", -1, None, "wait_res", -1, "does not wait for residual tile"),
        ("TILE", 5, None, "wait_out", -1, "overwrites output tile"),
        ("TILE", 5, None, "wait_out", 2, "deadlock"),
        ("TILE", 5, None, "in_base", 1, "reads input"),
        ("TILE", 5, None, "w_base", 1, "reads weight"),
        ("TILE", 5, None, "p_base", 1, "reads param"),
        ("STORE", 4, None, "wait_ready", -1, "does not wait for output tile"),
        ("STORE", 4, None, "wait_ready", 1, "deadlock"),
        ("STORE", 4, None, "base", 1, "reads output"),
        ("STORE", 4, None, "address", 8, "for the second time|nothing stored|reads words"),
    ],
)
def test_planted_faults(op: str, number: int, dest: str | None, field: str, delta: int, message: str) -> None:
    program = small_case().compile()
    at = find(program, op, number, dest)
    value = program.instructions[at][field] + delta
    with pytest.raises(ProgramError, match=message):
        check(changed(program, at, **{field: value}))


def test_a_missing_store_is_found() -> None:
    program = small_case().compile()
    program = changed(program, find(program, "STORE", -2), pass_last=1)
    at = find(program, "STORE", -1)
    instructions = [*program.instructions[:at], *program.instructions[at + 1 :], program.instructions[-1]]
    with pytest.raises(ProgramError, match="output tiles, but"):
        check(with_instructions(program, instructions))


@pytest.mark.parametrize(
    ("op", "number", "field"), [("TILE", -1, "pass_last"), ("STORE", 1, "pass_last"), ("LOAD", 3, "pass_last")]
)
def test_marks_of_the_last_jobs(op: str, number: int, field: str) -> None:
    program = small_case().compile()
    at = find(program, op, number, "INPUT" if op == "LOAD" else None)
    with pytest.raises(ProgramError, match="pass_last at the wrong place"):
        check(changed(program, at, **{field: 1 - program.instructions[at][field]}))


@pytest.mark.parametrize("field", ["inputs", "weights", "params", "residuals", "outputs"])
def test_totals_of_a_pass(field: str) -> None:
    program = small_case().compile()
    at = find(program, "END", 0)
    with pytest.raises(ProgramError, match="tiles per pass"):
        check(changed(program, at, **{field: program.instructions[at][field] + 1}))


@pytest.mark.parametrize("seed", range(4))
def test_what_the_check_accepts_is_right_in_any_order(seed: int) -> None:
    """Thresholds changed by one: refused, or the results stay right whichever engine goes first."""
    case = drawn_case(seed + 100)
    program = case.compile()
    expected = run(case.network, case.weights, case.x_HWC)
    rng = np.random.default_rng(seed)
    sites = [
        (at, name)
        for at, instruction in enumerate(program.instructions)
        for name in WAITS
        if name in {field.name for field in FIELDS[instruction.op]}
        and (name != "wait_commit" or instruction["wait_commit"])
    ]
    refused = 0
    chosen = rng.permutation(len(sites))[:20]
    for at, name in (sites[index] for index in chosen):
        delta = int(rng.choice([-1, 1]))
        wrap = (1 << 20 if name == "wait_commit" else 1 << 12) - 1
        faulty = changed(program, at, **{name: program.instructions[at][name] + delta & wrap})
        try:
            check(faulty)
        except ProgramError:
            refused += 1
            continue
        got = interpret(faulty, case.x_HWC, rng)
        assert all(np.array_equal(got[tensor], expected[tensor]) for tensor in expected)
    assert refused >= len(chosen) // 3


def test_the_interpreter_notices_a_deadlock() -> None:
    case = small_case()
    program = case.compile()
    at = find(program, "TILE", 5)
    faulty = changed(program, at, wait_in=program.instructions[at]["wait_in"] + 40)
    with pytest.raises(ProgramError, match="deadlock before instruction"):
        interpret(faulty, case.x_HWC)
