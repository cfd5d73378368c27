"""Programs with planted changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dna.accelerator.isa import COUNTER_BITS, DESTINATIONS, INSTRUCTION_BYTES
from dna.compile.program import Instruction, Program

_FETCHED = (DESTINATIONS["INPUT"], DESTINATIONS["RESIDUAL"])


def with_instructions(program: Program, instructions: Sequence[Instruction], chunk: int = 0) -> Program:
    """The Program with other instructions on one chunk, the encoded image too; as many as before if it is to be run."""
    old = program.chunks[chunk]
    streams = old.image[len(old.instructions) * INSTRUCTION_BYTES :]
    image = b"".join(instruction.encode() for instruction in instructions) + streams
    new = replace(old, instructions=tuple(instructions), image=image)
    order = program.order
    if len(program.chunks) == 1:
        order = (0,) * (1 + next(at for at, instruction in enumerate(instructions) if instruction.op == "END"))
    return replace(program, chunks=(*program.chunks[:chunk], new, *program.chunks[chunk + 1 :]), order=order)


def changed(program: Program, at: int, chunk: int = 0, **values: int) -> Program:
    """The Program with some fields of one instruction changed."""
    instructions = list(program.chunks[chunk].instructions)
    instructions[at] = replace(instructions[at], values={**instructions[at].values, **values})
    return with_instructions(program, instructions, chunk)


def streamed(program: Program) -> Program:
    """A one-pass Program of one chunk, made fit for several passes: totals in END, `pass_last` at the last jobs.

    Its thresholds of 0 then mean all tiles of the pass before: more than is needed, but right.
    """
    body = list(program.instructions)
    kinds = {
        "fetch": [at for at, job in enumerate(body) if job.op == "LOAD" and job["dest"] in _FETCHED],
        "TILE": [at for at, job in enumerate(body) if job.op == "TILE"],
        "STORE": [at for at, job in enumerate(body) if job.op == "STORE"],
    }
    for places in kinds.values():
        body[places[-1]] = replace(body[places[-1]], values={**body[places[-1]].values, "pass_last": 1})
    loads = [job["dest"] for job in body if job.op == "LOAD"]
    totals = {name + "s": loads.count(DESTINATIONS[name.upper()]) for name in ("input", "param", "residual")}
    weights = sum(job["free_w"] for job in body if job.op == "TILE")
    totals |= {"weights": weights, "outputs": len(kinds["STORE"])}
    end = next(at for at, job in enumerate(body) if job.op == "END")
    body[end] = Instruction("END", {name: count % (1 << COUNTER_BITS) for name, count in totals.items()})
    return with_instructions(program, body)
