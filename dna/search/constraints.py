"""What a user gives rather than leaves to the search: applied to the space and the goal.

The YAML for it: `dna.search.constraints_file`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from itertools import accumulate

from dna.accelerator.board import Board
from dna.accelerator.chunk import Accelerator, Chunk
from dna.accelerator.mapping import Mapping as LayerMappings
from dna.errors import UserError
from dna.network.layer import Layer
from dna.search.cuts import bounds
from dna.search.goal import CONSTRAINED, FIGURES, Goal, Limit
from dna.search.pipeline_lists import Assignment, BatchPer
from dna.search.pipeline_space import SHARES, PipelineSpace
from dna.search.point import Point
from dna.search.space import Space

Values = tuple[int, ...]
SHARE = "share"
"""Cycles per beat of a chunk's memory ports: given like a parameter, though no part of the hardware."""


@dataclass(frozen=True)
class Constraints:
    """Empty fields leave the choice to the search. Values are ascending, each once."""

    source: str = "constraints"
    """Where they come from, for messages."""
    chunks: Values = ()
    every: Mapping[str, Values] = field(default_factory=dict)
    """Parameters of every chunk; `share` besides."""
    each: Mapping[int, Mapping[str, Values]] = field(default_factory=dict)
    """Of single chunks; they win over `every`."""
    layers: Mapping[str, Values] = field(default_factory=dict)
    """Pattern of layer names to the chunks that they may be on."""
    on_chip: tuple[str, ...] = ()
    """Patterns of tensor names."""
    in_memory: tuple[str, ...] = ()
    frames: Values = ()
    batch: Values = ()
    limits: tuple[Limit, ...] = ()
    board_share: float = 1.0
    accelerator: Accelerator | None = None
    """Kept as it is, links included."""
    mapping: LayerMappings | None = None
    """Kept as it is; `layers`, `frames`, `batch` and places follow from it."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the fields that say something."""
        nothing = Constraints()
        names = (f.name for f in fields(self) if f.name != "source")
        return tuple(name for name in names if getattr(self, name) != getattr(nothing, name))

    @property
    def empty(self) -> bool:
        return not self.keys

    @property
    def plain(self) -> bool:
        """Whether only the number of chunks and limits are given: nothing of chunks, layers and tensors."""
        return not set(self.keys) - {"chunks", "limits", "board_share"}

    @property
    def fixed(self) -> bool:
        """Whether a whole part of the design is given: accelerator, mapping, or what each port of a chunk takes."""
        shares = any(SHARE in given for given in (self.every, *self.each.values()))
        return self.accelerator is not None or self.mapping is not None or shares

    @property
    def one_chunk(self) -> bool:
        """Whether a single chunk may be the answer, and nothing but parameters of it is given."""
        alone = not set(self.keys) - {"chunks", "every", "each", "limits", "board_share"}
        return alone and 1 in self.numbers(1)

    def without(self, key: str) -> Constraints:
        """The same but for one field."""
        return replace(self, **{key: getattr(Constraints(), key)})

    def error(self, key: str, text: str) -> UserError:
        return UserError(f"{self.source}: {key}: {text}")

    def numbers(self, most: int) -> Values:
        """Numbers of chunks that are left of 1 to `most` (`chunks` may go beyond). UserError if none is."""
        if self.accelerator is not None:
            return (len(self.accelerator.chunks),)
        needed = 1 + max([0, *self.each, *(min(chunks) for chunks in self.layers.values())])
        if self.mapping is not None:
            return (max(needed, 1 + max(self.mapping.chunks, default=0)),)
        if not self.chunks:
            return tuple(range(needed, max(most, needed) + 1))
        numbers = tuple(number for number in self.chunks if number >= needed)
        if not numbers:
            raise self.error("chunks", f"at most {self.chunks[-1]}, but chunk {needed - 1} is asked for elsewhere")
        return numbers

    def lists(self, chunk: int | None) -> dict[str, Values]:
        """Given parameters of a chunk by its number, or of every chunk."""
        if chunk is not None and self.accelerator is not None:
            return {name: (value,) for name, value in self.accelerator.chunks[chunk].integers.items()}
        return {**self.every, **(self.each.get(chunk, {}) if chunk is not None else {})}

    def allows(self, chunk: Chunk, number: int | None = None) -> bool:
        """Whether a chunk has the given parameters: those of every chunk, or of the chunk with that number.

        A residual buffer follows from the layers and is not asked for."""
        given = self.lists(number)
        values = chunk.integers
        return all(values[name] in given[name] for name in given if name not in (SHARE, "residual"))

    def check(self, point: Point, layers: Sequence[Layer], tensors: Sequence[str]) -> None:
        """UserError, with the key, where a point does not keep what is given of chunks, layers, frames and places.

        `tensors`: those that may be on chip.
        """
        count = len(point.chunks)
        if count not in self.numbers(count):
            raise self.error("chunks", f"{count} are not asked for")
        for number, chunk in enumerate(point.chunks):
            if not self.allows(chunk, number):
                raise self.error("each", f"chunk {number} has other parameters")
        for layer, number, home in zip(layers, point.assignment, self.homes(layers, count), strict=False):
            if number not in home:
                raise self.error("layers", f"'{layer.name}' is on chunk {number}")
        for name, place in zip(tensors, self.places(tensors), strict=True):
            if int(name in point.on_chip) not in place:
                key, why = ("in_memory", "is on chip") if name in point.on_chip else ("on_chip", "has no room on chip")
                raise self.error(key, f"tensor '{name}' {why}")
        if self.frames and point.frames not in self.frames:
            raise self.error("frames", f"a pass of {point.frames}")
        if self.batch and any(point.batch(number) not in self.batch for number in range(len(layers))):
            raise self.error("batch", "other frames per weight load")

    def chunk_space(self, space: Space, chunk: int | None = None) -> Space:
        """The part of a space that is left for a chunk; given values that are not in its lists are added."""
        given = {name: values for name, values in self.lists(chunk).items() if name != SHARE}
        try:
            return space.limit(**given)
        except UserError as error:
            raise self.error(f"each.{chunk}" if chunk in self.each else "every", str(error)) from None

    def shares(self, chunk: int, otherwise: Sequence[int] = SHARES) -> Values:
        return self.lists(chunk).get(SHARE, tuple(otherwise))

    def goal(self, goal: Goal, board: Board) -> Goal:
        """The goal with all limits; of two limits of one figure the harder one. UserError if the board has no such
        figure."""
        limits = [*goal.limits, *self.limits]
        if self.board_share < 1:
            if board.technology is not None:
                limits += [Limit("area", self.board_share * board.area_mm2)]
            else:
                limits += [Limit(name, self.board_share * getattr(board, name)) for name in CONSTRAINED]
        hardest: dict[str, Limit] = {}
        for limit in limits:
            before = hardest.get(limit.name)
            hardest[limit.name] = limit if before is None else _harder(before, limit)
        wanted = Goal(goal.objective, tuple(hardest.values()))
        wanted.check(board)
        return wanted

    def homes(self, layers: Sequence[Layer], most: int) -> tuple[Values, ...]:
        """Chunks that each executed layer may be on, `()` if nothing is said of any. UserError: no such layer."""
        if self.mapping is not None:
            self._check_length(layers)
            return tuple((self.mapping.chunk(index),) for index in range(len(layers)))
        if not self.layers:
            return ()
        homes = [tuple(range(most))] * len(layers)
        for pattern, chunks in self.layers.items():
            for index in self._matching("layers", pattern, [layer.name for layer in layers]):
                homes[index] = chunks
        return tuple(homes)

    def places(self, tensors: Sequence[str]) -> tuple[Values, ...]:
        """For each tensor that may be on chip: 1 on chip, 0 in memory, or both. UserError: a tensor that may not."""
        if self.mapping is not None:
            return tuple((int(name in self.mapping.on_chip),) for name in tensors)
        places: list[Values] = [(0, 1)] * len(tensors)
        for key, value in (("on_chip", 1), ("in_memory", 0)):
            for pattern in getattr(self, key):
                for index in self._matching(key, pattern, tensors):
                    places[index] = (value,)
        return tuple(places)

    def space(
        self,
        layers: Sequence[Layer],
        space: Space,
        most: int,
        *,
        tensors: Sequence[str] = (),
        shares: Sequence[int] = SHARES,
        frames: Sequence[int] = (1,),
        batches: Sequence[int] = (),
        batch_per: BatchPer = "chunk",
        assignment: Assignment = "contiguous",
        in_memory: bool = False,
        even: bool = False,
    ) -> PipelineSpace:
        """What is left of the space of accelerators with up to `most` chunks; the other arguments are as those of
        `pipeline_space`, but that layers are assigned freely where no runs of layers are left.

        `in_memory`: all of `tensors` are in memory but those that are asked for on chip. UserError with the key that
        leaves nothing.
        """
        numbers = self.numbers(most)
        homes = self.homes(layers, numbers[-1])
        if not _in_order(homes):
            assignment = "free"
        if assignment == "contiguous":
            asked, numbers = numbers, tuple(n for n in numbers if _divisible(len(layers), n, homes))
            if not numbers:
                wanted = " or ".join(map(str, asked))
                raise self.error("chunks", f"no assignment of {len(layers)} layers in runs to {wanted} chunks is left")
        places = self.places(tensors)
        if in_memory:
            tensors = [name for name, place in zip(tensors, places, strict=True) if place == (1,)]
            places = ((1,),) * len(tensors)
        kept, count = self.mapping, range(numbers[-1])
        given = (kept.frames,) if kept else self.frames
        owners = len(layers) if batch_per == "layer" or kept else numbers[-1]
        lists: tuple[Values, ...] = (self.batch or tuple(batches),) * owners if self.batch or batches else ()
        if kept:
            lists = tuple((kept.batch(index),) for index in range(len(layers)))
        try:
            return PipelineSpace(
                layers=tuple(layers),
                spaces=tuple(self.chunk_space(space, chunk) for chunk in count),
                chunks=numbers,
                shares=tuple(self.shares(chunk, shares) for chunk in count),
                assignment=assignment,
                homes=homes,
                frames=given or self._frames(frames),
                batch_per="layer" if kept else batch_per,
                batches=lists,
                tensors=tuple(tensors),
                places=places,
                even=even,
            )
        except UserError as error:
            text = str(error)
            raise UserError(text if text.startswith(f"{self.source}: ") else f"{self.source}: {text}") from None

    def _frames(self, frames: Sequence[int]) -> Values:
        """Those that every given batch divides; the batch itself if none."""
        fitting = tuple(count for count in frames if all(count % batch == 0 for batch in self.batch))
        return fitting or (max(self.batch),)

    def _check_length(self, layers: Sequence[Layer]) -> None:
        assert self.mapping is not None
        if len(self.mapping.layers) != len(layers):
            text = f"is for {len(self.mapping.layers)} layers; the network has {len(layers)}"
            raise self.error("keep_mapping", text)

    def _matching(self, key: str, pattern: str, names: Sequence[str]) -> list[int]:
        found = [index for index, name in enumerate(names) if fnmatchcase(name, pattern)]
        if not found:
            what = "layer" if key == "layers" else "tensor that may be on chip"
            raise self.error(key, f"there is no {what} '{pattern}'; there are {', '.join(names) or 'none'}")
        return found

    def describe(self) -> str:
        """In a few words, for messages: what is given, limits aside."""
        parts = []
        if self.chunks:
            parts.append(f"chunks {' or '.join(map(str, self.chunks))}")
        for number, given in [(None, self.every), *self.each.items()]:
            where = "" if number is None else f"chunk {number} "
            parts += [f"{where}{name} {' or '.join(map(str, values))}" for name, values in given.items()]
        parts += [f"layers {name}" for name in self.layers]
        names = ("on_chip", "in_memory", "frames", "batch", "accelerator", "mapping")
        return ", ".join([*parts, *(name for name in names if getattr(self, name))])


def _divisible(layers: int, number: int, homes: Sequence[Values]) -> bool:
    """Whether there is an assignment in runs to so many chunks."""
    inside = all(home[0] < number for home in homes)
    return number <= layers and inside and bounds(layers, (number,), homes).size > 0


def _in_order(homes: Sequence[Values]) -> bool:
    """Whether no layer must be on an earlier chunk than a layer before it."""
    earliest = list(accumulate((home[0] for home in homes), max))
    return all(home[-1] >= before for home, before in zip(homes[1:], earliest, strict=False))


def _harder(one: Limit, other: Limit) -> Limit:
    harder = max if FIGURES[one.name].highest else min
    return harder(one, other, key=lambda limit: limit.value)
