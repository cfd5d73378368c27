"""The accelerator design space: one description for sampling, enumeration, validation and the search's logits.

A design is a row of axis indices, int64 `(axes,)`; a batch is `(designs, axes)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property

import torch
from torch import Tensor

from dna.accelerator.chunk import SWITCHES, Chunk
from dna.accelerator.isa import WORD_BYTES
from dna.errors import UserError

OUTPUT_CHANNELS = (2, 4, 8, 16, 32, 48, 64, 96, 128)
INPUT_CHANNELS = (1, 2, 4, 8, 16)
PIXEL_LANES = (1, 2, 3, 4, 6, 7, 8, 12, 14, 16, 28, 32, 56, 64)
POST_LANES = (2, 4, 8, 16)
WEIGHT_WORDS = (64, 128, 256, 512, 1024, 2048, 4096)
BUFFER_WORDS = (64, 128, 256, 512, 1024, 2048)
PARAM_WORDS = (16, 64, 256, 1024)
_NEST = ("dataflow", "sum_words")
ARRAY_AXES = ("oc", "ic", "px", "post_lanes", "ports", "port_bytes", "burst_beats", "outstanding", *SWITCHES, *_NEST)
"""Axes that decide what a tile costs."""
BUFFER_AXES = ("input_words", "weight_words", "param_words", "output_words")
"""Axes that decide only which tiles fit: more never costs cycles."""
TIES: tuple[tuple[tuple[str, ...], Callable[[Mapping[str, Tensor]], Tensor]], ...] = (
    (
        ("oc", "ic", "post_lanes"),
        lambda v: (v["oc"] * v["ic"] % WORD_BYTES == 0) & (v["oc"] % v["post_lanes"] == 0),
    ),
    (("packed", "mac_in_lut"), lambda v: v["packed"] * v["mac_in_lut"] == 0),
    (("dataflow", "sum_words"), lambda v: (v["dataflow"] == 0) == (v["sum_words"] == 0)),
    (("port_bytes", "burst_beats"), lambda v: v["burst_beats"] * v["port_bytes"] <= 4096),
)
"""Axes that depend on each other, and what `Chunk` demands of their values; every other axis is free."""


@dataclass(frozen=True)
class Axis:
    """One parameter of `Chunk` and the values it may take, in ascending order."""

    name: str
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.name not in {f.name for f in fields(Chunk)}:
            raise UserError(f"search space: a chunk has no parameter '{self.name}'")
        if not self.values or list(self.values) != sorted(set(self.values)):
            raise UserError(f"search space: the values of {self.name} must be given, ascending and each once")


@dataclass(frozen=True)
class Space:
    """A product of axes, less the combinations that `Chunk` refuses."""

    axes: tuple[Axis, ...]

    def __post_init__(self) -> None:
        names = tuple(axis.name for axis in self.axes)
        if sorted(names) != sorted(f.name for f in fields(Chunk)):
            raise UserError("search space: every parameter of the chunk needs exactly one axis")
        for row, axis in enumerate(self.axes):
            for value in axis.values:
                self._check_alone(row, value)
        if self.size == 0:
            raise UserError("search space: no combination of the given values is a legal chunk")

    def _check_alone(self, row: int, value: int) -> None:
        """Refuse a value that no chunk can have, with `Chunk`'s own message where one can be had."""
        name = self.axes[row].name
        if name in (*BUFFER_AXES, "px", "ports", "port_bytes", "burst_beats", "outstanding"):
            Chunk(**{name: int(value)})  # type: ignore[arg-type]
        elif name in ("ic", "post_lanes"):
            Chunk(**{"oc": 16, "ic": 16, name: int(value)})  # type: ignore[arg-type]
        elif name == "oc":
            Chunk(oc=int(value), ic=16, post_lanes=2)
        elif name == "dataflow":
            Chunk.from_integers({"dataflow": int(value), "sum_words": 64 * (value != 0)})
        elif name == "sum_words":
            Chunk.from_integers({"dataflow": int(value != 0), "sum_words": int(value)})

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(axis.name for axis in self.axes)

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Values per axis."""
        return tuple(len(axis.values) for axis in self.axes)

    def column(self, name: str) -> int:
        """The axis' place in a design's row."""
        return self.names.index(name)

    def values(self, designs: Tensor) -> dict[str, Tensor]:
        """The parameters of a batch `(..., axes)`: one int64 `(...)` per name."""
        return {axis.name: torch.tensor(axis.values)[designs[..., i]] for i, axis in enumerate(self.axes)}

    def legal(self, designs: Tensor) -> Tensor:
        """Whether `Chunk` accepts each design `(..., axes)`, bool `(...)`."""
        v = self.values(designs)
        return torch.stack([rule(v) for _, rule in TIES]).all(dim=0)

    @cached_property
    def groups(self) -> tuple[tuple[tuple[int, ...], Tensor], ...]:
        """The space as a product of independent choices: columns, and their legal rows, int64 `(M, columns)`."""
        found = []
        for names, rule in TIES:
            rows = self._product(names)
            v = {name: torch.tensor(self.axes[self.column(name)].values)[rows[:, i]] for i, name in enumerate(names)}
            found.append((tuple(self.column(name) for name in names), rows[rule(v)]))
        tied = {name for names, _ in TIES for name in names}
        free = [i for i, name in enumerate(self.names) if name not in tied]
        return (*found, *(((i,), torch.arange(self.widths[i])[:, None]) for i in free))

    def _product(self, names: Iterable[str]) -> Tensor:
        """All index combinations of some axes, int64 `(N, len(names))`."""
        ranges = [torch.arange(len(self.axes[self.column(n)].values)) for n in names]
        return torch.cartesian_prod(*ranges).reshape(-1, len(ranges))

    @cached_property
    def arrays(self) -> Tensor:
        """Every legal choice of the axes that are no buffer, with the smallest buffers; int64 `(A, axes)`."""
        choices = self._product(ARRAY_AXES)
        designs = torch.zeros(len(choices), len(self.axes), dtype=torch.int64)
        designs[:, [self.column(n) for n in ARRAY_AXES]] = choices
        return designs[self.legal(designs)]

    @cached_property
    def buffers(self) -> Tensor:
        """Every choice of the four buffer depths, as axis indices; int64 `(B, 4)` in `BUFFER_AXES`' order."""
        return self._product(BUFFER_AXES)

    @cached_property
    def size(self) -> int:
        """Legal designs."""
        return math.prod(len(rows) for _, rows in self.groups)

    def enumerate(self, arrays: Tensor) -> Tensor:
        """All designs with the given arrays, int64 `(A * B, axes)`, buffers innermost."""
        designs = arrays.repeat_interleave(len(self.buffers), dim=0)
        designs[:, [self.column(n) for n in BUFFER_AXES]] = self.buffers.repeat(len(arrays), 1)
        return designs

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Legal designs, uniformly and independently drawn; int64 `(count, axes)`."""
        designs = torch.empty(count, len(self.axes), dtype=torch.int64)
        for columns, rows in self.groups:
            designs[:, list(columns)] = rows[torch.randint(len(rows), (count,), generator=generator)]
        return designs

    def chunk(self, design: Tensor) -> Chunk:
        """The chunk of one row `(axes,)`."""
        chosen = {axis.name: axis.values[int(i)] for axis, i in zip(self.axes, design, strict=True)}
        return Chunk.from_integers(chosen)

    def design(self, chunk: Chunk) -> Tensor:
        """The row of a chunk; UserError if one of its values is not in the space."""
        row = []
        for axis in self.axes:
            value = chunk.integers[axis.name]
            if value not in axis.values:
                raise UserError(f"search space: {axis.name} = {value} is not among {_listed(axis)}")
            row.append(axis.values.index(value))
        return torch.tensor(row)

    def fix(self, **parameters: int) -> Space:
        """The part of the space with some parameters given; a value outside the lists is added if it is legal."""
        unknown = set(parameters) - set(self.names)
        if unknown:
            raise UserError(f"search space: unknown parameter '{sorted(unknown)[0]}'; known: {', '.join(self.names)}")
        given = {name: (int(value),) for name, value in parameters.items()}
        return self.limit(**given)

    def limit(self, **lists: tuple[int, ...]) -> Space:
        """The space with some axes' lists replaced."""
        return replace(self, axes=tuple(Axis(a.name, lists.get(a.name, a.values)) for a in self.axes))


def _listed(axis: Axis) -> str:
    return ", ".join(str(v) for v in axis.values)


def default_space(
    *,
    multipliers: int,
    residual: bool,
    port_bytes: int = 16,
    ports: tuple[int, ...] = (1, 2),
    burst_beats: int = 16,
    outstanding: int = 8,
    fixed: Mapping[str, int] | None = None,
) -> Space:
    """The one-chunk space of a target: arrays up to its multipliers, the ports it has.

    `multipliers`: most that the target could hold (its DSPs). `residual`: whether the network adds residuals; the
    buffer for them is there exactly if so. `fixed`: parameters that are given rather than searched.
    """
    lists = {
        "oc": tuple(v for v in OUTPUT_CHANNELS if v <= max(16, multipliers)),
        "ic": INPUT_CHANNELS,
        "px": tuple(v for v in PIXEL_LANES if v == 1 or v * WORD_BYTES <= multipliers),
        "post_lanes": POST_LANES,
        "input_words": BUFFER_WORDS,
        "weight_words": WEIGHT_WORDS,
        "param_words": PARAM_WORDS,
        "output_words": BUFFER_WORDS,
        "residual": (int(residual),),
        "packed": (0,),
        "mac_in_lut": (0,),
        "post_in_lut": (0,),
        "ports": ports,
        "port_bytes": (port_bytes,),
        "burst_beats": (burst_beats,),
        "outstanding": (outstanding,),
        "dataflow": (0,),
        "sum_words": (0,),
    }
    return Space(tuple(Axis(name, values) for name, values in lists.items())).fix(**(fixed or {}))


MEANINGS = {
    "oc": "output channels computed at once",
    "ic": "input channels reduced at once; 1 suits depthwise layers",
    "px": "pixel lanes",
    "post_lanes": "output bytes requantised per cycle; divides oc",
    "input_words": "depth of each lane's input buffer, words of 16 bytes",
    "weight_words": "depth of the weight buffer, words of oc x ic bytes",
    "param_words": "depth of the parameter buffer, words of 8 x post_lanes bytes",
    "output_words": "depth of the output buffer, words of 16 bytes; the residual buffer is as deep",
    "packed": "two multiplications per DSP: pixel lanes in pairs; not with mac_in_lut",
    "mac_in_lut": "the array's multipliers are made of LUTs",
    "post_in_lut": "the post lanes' multipliers are made of LUTs",
    "ports": "AXI4 masters: with 2, weights, parameters and program have their own",
    "port_bytes": "width of the masters in bytes",
    "burst_beats": "longest burst, in beats; at most 4 KB",
    "outstanding": "bursts in flight per master and direction",
    "dataflow": "what stays inside a tile: 0 output, 1 weight, 2 input",
    "sum_words": "depth of each lane's buffer of partial sums; 0 with dataflow 0",
}
"""What each searched parameter of a chunk is. `residual` is not among them: it follows from the chunk's layers."""


def whole_space(residual: bool = True, **lists: tuple[int, ...]) -> Space:
    """All that a chunk can be: every parameter with the values worth a choice; keywords replace lists."""
    whole = {
        "oc": (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128),
        "ic": INPUT_CHANNELS,
        "px": (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96, 112, 128),
        "post_lanes": POST_LANES,
        "input_words": (*BUFFER_WORDS, 4096, 8192),
        "weight_words": (*WEIGHT_WORDS, 8192),
        "param_words": PARAM_WORDS,
        "output_words": (*BUFFER_WORDS, 4096, 8192),
        "residual": (int(residual),),
        "packed": (0, 1),
        "mac_in_lut": (0, 1),
        "post_in_lut": (0, 1),
        "ports": (1, 2),
        "port_bytes": (8, 16),
        "burst_beats": (4, 8, 16, 32, 64, 128, 256),
        "outstanding": (1, 2, 4, 8, 16, 32),
        "dataflow": (0, 1, 2),
        "sum_words": (0, 64, 256, 1024, 4096),
    }
    return Space(tuple(Axis(name, values) for name, values in whole.items())).limit(**lists)
