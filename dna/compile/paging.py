"""Instructions cut into the pages of the program memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from dna.accelerator.chunk import PAGE_INSTRUCTIONS, Chunk
from dna.accelerator.isa import DESTINATIONS, INSTRUCTION_BYTES, REGIONS, WORD_BYTES
from dna.compile.memory_map import stream_runs
from dna.compile.program import Instruction

_INSTRUCTION_WORDS = INSTRUCTION_BYTES // WORD_BYTES
_PAGE_WORDS = PAGE_INSTRUCTIONS * _INSTRUCTION_WORDS
PAGE_LOAD = 16
"""Place in its page of the LOAD of the next one: behind the first weights, which are waited for, and early enough."""


def paged(body: Sequence[Instruction], chunk: Chunk) -> tuple[Instruction, ...]:
    """The body cut into pages, in each but the last the LOAD of the next; addresses of streams made absolute."""
    pages = 1
    while len(body) > (PAGE_INSTRUCTIONS - 1) * (pages - 1) + PAGE_INSTRUCTIONS:
        pages += 1
    moved = iter([_moved(instruction, pages * _PAGE_WORDS) for instruction in body])
    result: list[Instruction] = []
    for page in range(pages):
        if page < pages - 1:
            result += [*_take(moved, PAGE_LOAD), _page_load(page + 1, chunk)]
        result += _take(moved, PAGE_INSTRUCTIONS * (page + 1) - len(result))
    result += [body[-1]] * (pages * PAGE_INSTRUCTIONS - len(result))
    return tuple(result)


def _take(items: Iterator[Instruction], count: int) -> list[Instruction]:
    return [item for _, item in zip(range(count), items, strict=False)]


def _moved(instruction: Instruction, offset: int) -> Instruction:
    """Streams lie behind the instructions, whose number is known only now."""
    if instruction.op != "LOAD" or instruction["region"] != REGIONS["PROGRAM"]:
        return instruction
    return replace(instruction, values={**instruction.values, "address": instruction["address"] + offset})


def _page_load(page: int, chunk: Chunk) -> Instruction:
    values = stream_runs(page * _PAGE_WORDS, 1, _PAGE_WORDS)
    values |= {"dest": DESTINATIONS["PROGRAM"], "base": PAGE_INSTRUCTIONS * (page % 2), "signal": 1}
    return Instruction("LOAD", values | {"port": chunk.weight_port})
