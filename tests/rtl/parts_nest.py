"""A tile's MAC cycles, written from docs/program.md as nested loops: the model of dna_compute_control."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

MIX, CHANNEL, MAX = 0, 1, 2
ADDRESS = 1 << 14


@dataclass(frozen=True)
class Cycle:
    """What the array is told in one cycle of a tile; a cycle of the idle wait has `valid` False and nothing else."""

    valid: bool
    address: int = 0
    part: int = 0
    weight: int = 0
    tap: int | None = None
    row: int = 0
    col: int = 0
    first: bool = False
    last: bool = False


@dataclass(frozen=True)
class Job:
    """A LAYER or TILE instruction, by its fields."""

    opcode: str
    fields: dict[str, int] = field(default_factory=dict)


def tile_cycles(layer: dict[str, int], tile: dict[str, int], ic: int, cg: int) -> Iterator[Cycle]:
    """Every cycle of a tile, from the one after it is popped on."""
    mix = layer["mode"] == MIX
    positions = layer["kernel_h"] * layer["kernel_w"]
    group_words = positions * tile["steps"] if mix else -(-positions // ic)
    for group in range(tile["groups"]):
        for y in range(layer["lane_rows"]):
            for x in range(layer["lane_cols"]):
                for n in range(positions * tile["steps"]):
                    position, step = divmod(n, tile["steps"])
                    ky, kx = divmod(position, layer["kernel_w"])
                    row, col = y * layer["stride_h"] + ky, x * layer["stride_w"] + kx
                    word, part = divmod(step, 16 // ic) if mix else divmod(group, 16 // cg)
                    yield Cycle(
                        valid=True,
                        address=(tile["in_base"] + row * layer["row_pitch"] + word * layer["window_w"] + col) % ADDRESS,
                        part=part,
                        weight=(tile["w_base"] + group * group_words + (n if mix else n // ic)) % ADDRESS,
                        tap=None if mix else n % ic,
                        row=row,
                        col=col,
                        first=bool(tile["first"]) and n == 0,
                        last=bool(tile["last"]) and n == positions * tile["steps"] - 1,
                    )
                for _ in range(tile["idle"]):
                    yield Cycle(valid=False)
