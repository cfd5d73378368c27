"""Programs with planted changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dna.accelerator.isa import INSTRUCTION_BYTES
from dna.compile.program import Instruction, Program


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
