"""Which tile wrote a word of a tensor: read from the Program's own instructions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dna.accelerator.isa import INSTRUCTION_BYTES, REGIONS
from dna.compile.program import Instruction, decode


@dataclass(frozen=True)
class WrittenBy:
    """The STORE that writes a word: its place among the tensor's STOREs, their number, and its instruction's place."""

    tile: int
    tiles: int
    instruction: int


def instructions(image: bytes) -> Iterator[tuple[int, Instruction]]:
    """Instructions of a Program image up to END, with their numbers."""
    for number in range(len(image) // INSTRUCTION_BYTES):
        instruction = decode(image[number * INSTRUCTION_BYTES : (number + 1) * INSTRUCTION_BYTES])
        if instruction.op == "END":
            return
        yield number, instruction


def covers(store: Instruction, word: int) -> bool:
    """Whether one of the STORE's runs holds the word (of the STORE's region)."""
    for outer in range(store["n_outer"]):
        offset = word - store["address"] - outer * store["stride_outer"]
        if store["n_inner"] == 1:
            inner = 0
        else:
            inner = min(max(offset // store["stride_inner"], 0), store["n_inner"] - 1)
        if 0 <= offset - inner * store["stride_inner"] < store["run"]:
            return True
    return False


def written_by(
    image: bytes, region: str, first: int, words: int, word: int, row: int | None = None, pitch: int = 1
) -> WrittenBy | None:
    """Who writes `word` of a tensor of `words` words from word `first` of the region on; None if nobody does.

    In a concat, the tensor has `row` of each `pitch` words, and `words` counts from its first to its last.
    """
    found, tiles = None, 0
    for number, instruction in instructions(image):
        offset = instruction["address"] - first
        inside = 0 <= offset < words and (row is None or offset % pitch < row)
        if instruction.op != "STORE" or instruction["region"] != REGIONS[region] or not inside:
            continue
        if found is None and covers(instruction, word):
            found = (tiles, number)
        tiles += 1
    return None if found is None else WrittenBy(found[0], tiles, found[1])


def describe_tile(program: Path, tensor_name: str, word: int, frame: int = 0) -> str:
    """In words, which tile of the tensor, in a frame of a pass, holds `word` of its region; `program` is the folder."""
    content = json.loads((program / "program.json").read_text())
    tensor = content["tensors"][tensor_name]
    data = (program / "program.bin").read_bytes()
    starts = content["regions"]["PROGRAM"]["addresses"]
    row, pitch = tensor["groups"] * tensor["width"], tensor["row_words"]
    words = (tensor["height"] - 1) * pitch + row
    for chunk, start in enumerate(starts):
        image = data[start - starts[0] :]
        found = written_by(image, tensor["region"], tensor["frame_addresses"][frame], words, word, row, pitch)
        if found is not None:
            where = f" of chunk {chunk}" if len(starts) > 1 else ""
            return f"tile {found.tile + 1} of {found.tiles} (instruction {found.instruction}{where})"
    return "no tile writes it"
