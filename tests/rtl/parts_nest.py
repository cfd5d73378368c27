"""A tile's MAC cycles, written from docs/program.md as nested loops: the model of dna_compute_control."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

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
    sums: int = 0
    read_input: bool = True
    read_weight: bool = True


@dataclass(frozen=True)
class Job:
    """A LAYER or TILE instruction, by its fields."""

    opcode: str
    fields: dict[str, int] = field(default_factory=dict)


def tile_cycles(layer: dict[str, int], tile: dict[str, int], ic: int, cg: int, dataflow: int = 0) -> Iterator[Cycle]:
    """Every cycle of a tile, from the one after it is popped on; `dataflow`: output-, weight- or input-stationary."""
    mix = layer["mode"] == MIX
    positions = layer["kernel_h"] * layer["kernel_w"]
    turns = positions * tile["steps"]
    words = turns if mix else -(-positions // ic)
    sliced = not (tile["first"] and tile["last"])
    for group, y, x, n in _order(layer, tile, turns, dataflow):
        position, step = divmod(n, tile["steps"])
        ky, kx = divmod(position, layer["kernel_w"])
        row, col = y * layer["stride_h"] + ky, x * layer["stride_w"] + kx
        word, part = divmod(step, 16 // ic) if mix else divmod(group, 16 // cg)
        number = n if mix else n // ic
        pixel, pixels = y * layer["lane_cols"] + x, layer["lane_rows"] * layer["lane_cols"]
        sums = (0, pixel + sliced * group * pixels, group + sliced * pixel * tile["groups"])[dataflow]
        yield Cycle(
            valid=True,
            address=(tile["in_base"] + row * layer["row_pitch"] + word * layer["window_w"] + col) % ADDRESS,
            part=part,
            weight=(tile["w_base"] + (number * tile["groups"] + group if dataflow == 2 else group * words + number))
            % ADDRESS,
            tap=None if mix else n % ic,
            row=row,
            col=col,
            first=bool(tile["first"]) and n == 0,
            last=bool(tile["last"]) and n == turns - 1,
            sums=sums,
            read_input=dataflow != 2 or not mix or group == 0,
            read_weight=dataflow != 1 or pixel == 0,
        )
        for _ in range(tile["idle"] if n == turns - 1 else 0):
            yield Cycle(valid=False)


def _order(layer: dict[str, int], tile: dict[str, int], turns: int, dataflow: int) -> Iterator[tuple[int, ...]]:
    """Group, row, column and turn of the reduction in every cycle."""
    sizes = {"g": tile["groups"], "y": layer["lane_rows"], "x": layer["lane_cols"], "n": turns}
    loops = ("gyxn", "gnyx", "yxng")[dataflow]
    for values in product(*(range(sizes[name]) for name in loops)):
        yield tuple(values[loops.index(name)] for name in "gyxn")
