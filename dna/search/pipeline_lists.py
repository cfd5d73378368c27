"""What a design of several chunks chooses: every choice with its values in a fixed order, and how many designs that is.

A *full row* has an index for each choice, a design's row only for those with more than one value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from dna.accelerator.chunk import MAX_CHUNKS
from dna.errors import UserError
from dna.network.layer import Layer
from dna.search.cuts import Cuts, bounds
from dna.search.space import Space

Assignment = Literal["contiguous", "free"]
BatchPer = Literal["layer", "chunk"]


@dataclass(frozen=True)
class PipelineLists:
    """Accelerators of several chunks for the executed layers of a network, and how the layers run on them.

    `pipeline_space` makes one with equal lists for all. UserError where nothing is left.
    """

    layers: tuple[Layer, ...]
    spaces: tuple[Space, ...]
    """Parameters of each chunk; as many as the largest number of chunks. All have the same axes in the same order, and
    one value of `residual`: whether the chunk may have a residual buffer."""
    chunks: tuple[int, ...]
    """Numbers of chunks, ascending."""
    shares: tuple[tuple[int, ...], ...]
    """Cycles per beat, for each chunk its choices."""
    assignment: Assignment = "contiguous"
    homes: tuple[tuple[int, ...], ...] = ()
    """Chunks that each layer may be on, ascending; empty: every layer on any. Contiguous: only runs of chunks."""
    frames: tuple[int, ...] = (1,)
    batch_per: BatchPer = "chunk"
    batches: tuple[tuple[int, ...], ...] = ()
    """Frames per weight load, for each layer or chunk (`batch_per`) its choices; empty: `frames` for all."""
    tensors: tuple[str, ...] = ()
    """Tensors that may be handed over on chip."""
    places: tuple[tuple[int, ...], ...] = ()
    """For each of `tensors` its choices: 0 memory, 1 on chip; empty: both for all."""
    even: bool = False
    """Whether samples have every number of chunks and frames equally often, and are uniform among those that agree in
    them. Otherwise all designs are equally likely, and then nearly all have the most chunks."""

    def __post_init__(self) -> None:
        _ascending("numbers of chunks", self.chunks)
        if not (self.chunks[0] >= 1 and self.chunks[-1] == len(self.spaces) == len(self.shares) <= MAX_CHUNKS):
            raise UserError(f"search space: 1 to {MAX_CHUNKS} chunks, with parameters and shares for each, are needed")
        for name, length in (
            ("homes", len(self.layers)),
            ("batches", len(self.layers) if self.batch_per == "layer" else len(self.spaces)),
            ("places", len(self.tensors)),
        ):
            if len(getattr(self, name)) not in (0, length):
                raise UserError(f"search space: {name} has {len(getattr(self, name))} lists; {length} are needed")
        for name in ("shares", "homes", "batches", "places"):
            for values in getattr(self, name):
                _ascending(name, values)
        if self.assignment == "free" and self.batch_per == "chunk" and any(len(values) > 1 for values in self.batches):
            raise UserError("search space: where any layer may be on any chunk, batches are chosen per layer")
        self._check_chunks()
        self._check_homes()
        _ascending("frames", self.frames)
        for values in self.batches:
            if any(frames % values[0] for frames in self.frames):
                raise UserError(f"search space: a batch of {values[0]} does not divide every number of frames")

    def _check_chunks(self) -> None:
        for space in self.spaces:
            if space.names != self.spaces[0].names:
                raise UserError("search space: all chunks must list the same parameters in the same order")
            if space.widths[space.column("residual")] != 1:
                raise UserError("search space: residual buffers follow from the layers; give one value of residual")

    def _check_homes(self) -> None:
        for layer, home in zip(self.layers, self.homes, strict=False):
            if self.assignment == "contiguous" and home[-1] - home[0] != len(home) - 1:
                raise UserError(f"layer '{layer.name}': the chunks it may be on must be a run of numbers")
        for number in self.chunks:
            if not self.assignments(number):
                raise UserError(f"search space: no assignment of {len(self.layers)} layers to {number} chunks is left")

    @cached_property
    def _slots(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Name and values of everything that is chosen, one value included, in the order of a full row."""
        slots = [("chunks", self.chunks), ("frames", self.frames)]
        for chunk, (space, shares) in enumerate(zip(self.spaces, self.shares, strict=True)):
            slots += [(f"chunk{chunk}.{axis.name}", axis.values) for axis in space.axes]
            slots.append((f"chunk{chunk}.share", shares))
        if self.assignment == "contiguous":
            pairs = enumerate(zip(self._cuts.low, self._cuts.high, strict=True), 1)
            slots += [(f"cut{chunk}", tuple(range(low, high + 1))) for chunk, (low, high) in pairs]
        else:
            every = tuple(range(len(self.spaces)))
            homes = self.homes or (every,) * len(self.layers)
            slots += [(f"{layer.name}.chunk", home) for layer, home in zip(self.layers, homes, strict=True)]
        owners = [layer.name for layer in self.layers] if self.batch_per == "layer" else self._chunk_names
        slots += [(f"{owner}.batch", batch) for owner, batch in zip(owners, self.batches, strict=False)]
        return (*slots, *((f"{name}.place", place) for name, place in zip(self.tensors, self._places, strict=True)))

    @property
    def _chunk_names(self) -> list[str]:
        return [f"chunk{chunk}" for chunk in range(len(self.spaces))]

    @cached_property
    def _free(self) -> list[int]:
        """Columns of a full row that a design's row has: where there is a choice; the number of chunks if nowhere."""
        return [i for i, (_, values) in enumerate(self._slots) if len(values) > 1] or [0]

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self._slots[i][0] for i in self._free)

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """Values per axis."""
        return tuple(len(self._slots[i][1]) for i in self._free)

    def column(self, name: str) -> int:
        """The axis' place in a design's row."""
        return self.names.index(name)

    @cached_property
    def _tables(self) -> Tensor:
        """Values of every slot, int64 `(slots, most values)`, shorter lists filled up with their last value."""
        most = max(len(values) for _, values in self._slots)
        return torch.tensor([[*values, *[values[-1]] * (most - len(values))] for _, values in self._slots])

    def _columns(self, part: str) -> slice:
        """Where a part of a full row stands: `cuts`, `homes`, `batches` or `places`."""
        start = 2 + len(self.spaces) * self._per_chunk
        lengths = {
            "cuts": len(self.spaces) - 1 if self.assignment == "contiguous" else 0,
            "homes": 0 if self.assignment == "contiguous" else len(self.layers),
            "batches": len(self.batches),
            "places": len(self.tensors),
        }
        for name, length in lengths.items():
            if name == part:
                return slice(start, start + length)
            start += length
        raise KeyError(part)

    @property
    def _per_chunk(self) -> int:
        """Slots of one chunk: its parameters and its share."""
        return len(self.spaces[0].axes) + 1

    def _chunk_slots(self, full: Tensor) -> Tensor:
        """A view on the chunks' part of full rows, int64 `(N, K, parameters + 1)`."""
        return full[:, 2 : 2 + len(self.spaces) * self._per_chunk].unflatten(1, (len(self.spaces), self._per_chunk))

    def _full(self, designs: Tensor) -> Tensor:
        """Rows with a column for every slot."""
        full = designs.new_zeros(len(designs), len(self._slots))
        full[:, self._free] = designs
        return full

    def _values(self, full: Tensor, columns: slice) -> Tensor:
        """Values of some columns of full rows."""
        slots = torch.arange(columns.start, columns.stop, device=full.device)
        return self._tables.to(full.device)[slots, full[:, columns]]

    @cached_property
    def _cuts(self) -> Cuts:
        return bounds(len(self.layers), self.chunks, self.homes)

    def _cuts_of(self, number: int) -> Cuts:
        return Cuts(self._cuts.low[: number - 1], self._cuts.high[: number - 1])

    def assignments(self, number: int) -> int:
        """How many there are with so many chunks."""
        if any(home[0] >= number for home in self.homes):
            return 0
        if self.assignment == "contiguous":
            return self._cuts_of(number).size
        every = range(len(self.spaces))
        return math.prod(sum(chunk < number for chunk in home) for home in self.homes or (every,) * len(self.layers))

    @cached_property
    def _variants(self) -> dict[tuple[int, int], int]:
        """How many designs have each pair of row numbers in `chunks` and `frames`."""
        counts = {}
        for row, number in enumerate(self.chunks):
            chunks = math.prod(self.spaces[k].size * len(self.shares[k]) for k in range(number))
            common = chunks * self.assignments(number) * math.prod(len(place) for place in self._places)
            for column, frames in enumerate(self.frames):
                used = self.batches if self.batch_per == "layer" else self.batches[:number]
                counts[row, column] = common * math.prod(sum(frames % b == 0 for b in values) for values in used)
        return counts

    @property
    def _places(self) -> tuple[tuple[int, ...], ...]:
        return self.places or ((0, 1),) * len(self.tensors)

    @cached_property
    def size(self) -> int:
        """Designs, each counted once."""
        return sum(self._variants.values())


def _ascending(name: str, values: Sequence[int]) -> None:
    if not values or list(values) != sorted(set(values)):
        raise UserError(f"search space: {name}: a list of values, ascending and each once, is needed")
