"""The whole design space: several chunks, the layers on them, batches, shares and places of tensors, as flat axes.

A design is a row of axis indices, int64 `(axes,)`; a batch is `(designs, axes)`. What has one value has no axis.

Rows are forgiving, so that changing one axis mostly gives another legal design: what a design does not use is ignored
(parameters of chunks beyond their number), cuts may stand in any order, and a choice that does not fit the number of
chunks or frames counts as the largest one that does (the chunk of a layer, a batch). `canonical` gives the one row that
stands for all rows of the same design; `size` and `enumerate` count designs, not rows.

Not searched but solved from a design: the mapping of every layer, the depths of links, and which chunks have a residual
buffer (those whose layers add one).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dna.accelerator.chunk import Chunk
from dna.errors import UserError
from dna.network.layer import Layer
from dna.search.pipeline_lists import Assignment, BatchPer, PipelineLists
from dna.search.point import Point
from dna.search.space import Space
from dna.search.space_table import SpaceRow, space_rows

SHARES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 128, 256, 1000)
FRAMES = (1, 2, 4, 8)
BATCHES = (1, 2, 4, 8)
BLOCK = 4096
"""Designs enumerated at once."""


@dataclass(frozen=True)
class Decoded:
    """A batch of N designs in plain numbers: K chunks at most, L layers, T tensors."""

    count: Tensor
    """Chunks of each design, int64 `(N,)`."""
    frames: Tensor
    """Frames of a pass, int64 `(N,)`."""
    used: Tensor
    """Which chunks there are, bool `(N, K)`."""
    designs: Tensor
    """Row of each chunk in its own `Space`, int64 `(N, K, chunk axes)`; 0 where there is no such chunk."""
    values: dict[str, Tensor]
    """Parameters of each chunk by name, int64 `(N, K)`; `residual` is 1 where layers of the chunk need it and it may
    have it. Meaningless where there is no such chunk."""
    shares: Tensor
    """Cycles per beat of each chunk's ports, int64 `(N, K)`."""
    assignment: Tensor
    """Chunk of each layer, int64 `(N, L)`."""
    batches: Tensor
    """Frames per weight load of each layer, int64 `(N, L)`."""
    on_chip: Tensor
    """Whether each tensor of the space is handed over on chip, bool `(N, T)`."""


@dataclass(frozen=True)
class PipelineSpace(PipelineLists):
    """Accelerators of several chunks for the executed layers of a network, and how the layers run on them.

    `pipeline_space` makes one with equal lists for all. UserError where nothing is left.
    """

    def _canonical(self, full: Tensor) -> Tensor:
        """Full rows in their canonical form."""
        full = full.clone()
        chunks = torch.tensor(self.chunks, device=full.device)[full[:, 0]][:, None]
        numbers = torch.arange(len(self.spaces), device=full.device)
        part = self._chunk_slots(full)
        part *= (numbers < chunks)[..., None]
        if self.assignment == "contiguous":
            columns, used = self._columns("cuts"), numbers[1:] < chunks
            beyond = torch.full_like(used, len(self.layers), dtype=torch.int64)
            ordered = torch.where(used, self._values(full, columns), beyond).sort(dim=1).values
            full[:, columns] = torch.where(
                used, ordered - torch.tensor(self._cuts.low, dtype=torch.int64, device=full.device), 0
            )
        else:
            columns = self._columns("homes")
            full[:, columns] = full[:, columns].minimum(self._last_home.to(full.device)[full[:, 0]])
        columns = self._columns("batches")
        slots = torch.arange(len(self.batches), device=full.device)
        batches = self._allowed_batch.to(full.device)[full[:, 1:2], slots, full[:, columns]]
        full[:, columns] = batches if self.batch_per == "layer" or not self.batches else batches * (numbers < chunks)
        return full

    @cached_property
    def _last_home(self) -> Tensor:
        """For each number of chunks and layer, the last of its choices that there is; int64 `(numbers, L)`."""
        homes = [values for _, values in self._slots[self._columns("homes")]]
        return torch.tensor([[sum(chunk < number for chunk in home) - 1 for home in homes] for number in self.chunks])

    @cached_property
    def _allowed_batch(self) -> Tensor:
        """For each number of frames, batch and choice, the largest choice up to it that divides; int64 `(F, B, W)`."""
        most = max((len(values) for values in self.batches), default=0)
        table = torch.zeros(len(self.frames), len(self.batches), most, dtype=torch.int64)
        for row, frames in enumerate(self.frames):
            for column, values in enumerate(self.batches):
                best = 0
                for choice, value in enumerate(values):
                    best = choice if frames % value == 0 else best
                    table[row, column, choice:] = best
        return table

    def canonical(self, designs: Tensor) -> Tensor:
        """The row that stands for each design `(N, axes)`; designs are the same if and only if these are equal."""
        return self._canonical(self._full(designs))[:, self._free]

    def legal(self, designs: Tensor) -> Tensor:
        """Whether each row is a design, bool `(N,)`: `Chunk` accepts every chunk, and every chunk of contiguous runs
        has a layer. Whether it fits a board is no matter of the space."""
        full = self._full(designs)
        numbers = torch.arange(len(self.spaces), device=full.device)
        used = numbers < torch.tensor(self.chunks, device=full.device)[full[:, 0]][:, None]
        rows = self._chunk_slots(full)[..., :-1]
        fine = torch.stack([space.legal(rows[:, k]) for k, space in enumerate(self.spaces)], dim=1) | ~used
        if self.assignment == "contiguous":
            apart = len(self.layers) + numbers[1:]
            cuts = torch.where(used[:, 1:], self._values(full, self._columns("cuts")), apart).sort(dim=1).values
            fine[:, 1:-1] &= cuts.diff(dim=1) > 0
        return fine.all(dim=1)

    def decode(self, designs: Tensor) -> Decoded:
        """What the rows `(N, axes)` stand for, in plain numbers."""
        full = self._canonical(self._full(designs))
        count = torch.tensor(self.chunks, device=full.device)[full[:, 0]]
        frames = torch.tensor(self.frames, device=full.device)[full[:, 1]]
        numbers = torch.arange(len(self.spaces), device=full.device)
        used, part = numbers < count[:, None], self._chunk_slots(full)
        homes = self._homes(full, used)
        return Decoded(
            count=count,
            frames=frames,
            used=used,
            designs=part[..., :-1],
            values=self._parameters(part[..., :-1], homes),
            shares=torch.stack(
                [torch.tensor(s, device=full.device)[part[:, k, -1]] for k, s in enumerate(self.shares)], 1
            ),
            assignment=homes,
            batches=self._batches(full, frames, homes),
            on_chip=self._values(full, self._columns("places")).bool(),
        )

    def _homes(self, full: Tensor, used: Tensor) -> Tensor:
        """Chunk of each layer, int64 `(N, L)`, of canonical rows."""
        if self.assignment == "free":
            return self._values(full, self._columns("homes"))
        cuts = torch.where(used[:, 1:], self._values(full, self._columns("cuts")), len(self.layers))
        return (torch.arange(len(self.layers), device=full.device)[:, None] >= cuts[:, None, :]).sum(dim=2)

    def _batches(self, full: Tensor, frames: Tensor, homes: Tensor) -> Tensor:
        """Frames per weight load of each layer, int64 `(N, L)`, of canonical rows."""
        if not self.batches:
            return frames[:, None].expand_as(homes)
        batches = self._values(full, self._columns("batches"))
        return batches if self.batch_per == "layer" else batches.gather(1, homes)

    def _parameters(self, designs: Tensor, homes: Tensor) -> dict[str, Tensor]:
        """Chunk parameters by name, int64 `(N, K)`; a residual buffer only where a layer needs it."""
        each = [space.values(designs[:, k]) for k, space in enumerate(self.spaces)]
        values = {name: torch.stack([one[name] for one in each], dim=1) for name in self.spaces[0].names}
        adds = torch.tensor([layer.residual is not None for layer in self.layers], device=homes.device)
        needed = torch.zeros_like(values["residual"]).scatter_add_(1, homes, adds.long().expand_as(homes).contiguous())
        values["residual"] *= needed.clamp(max=1)
        return values

    def point(self, row: Tensor) -> Point:
        """What one row `(axes,)` stands for."""
        plain = self.decode(row[None])
        chunks = range(int(plain.count))
        return Point(
            chunks=tuple(Chunk.from_integers({n: int(v[0, k]) for n, v in plain.values.items()}) for k in chunks),
            shares=tuple(plain.shares[0, : len(chunks)].tolist()),
            assignment=tuple(plain.assignment[0].tolist()),
            frames=int(plain.frames),
            batches=tuple(plain.batches[0].tolist()) if self.batches else (),
            on_chip=frozenset(name for name, chip in zip(self.tensors, plain.on_chip[0].tolist(), strict=True) if chip),
        )

    def row(self, point: Point) -> Tensor:
        """The canonical row of a point, int64 `(axes,)`; UserError names what is not in the space.

        Residual buffers are those that the layers need, whatever the point's chunks say."""
        if len(point.assignment) != len(self.layers):
            raise UserError(f"assignment: {len(point.assignment)} entries for {len(self.layers)} layers")
        full = torch.zeros(1, len(self._slots), dtype=torch.int64)
        values = self._chosen(point)
        for column, (name, choices) in enumerate(self._slots):
            if name in values:
                if values[name] not in choices:
                    listed = ", ".join(map(str, choices))
                    raise UserError(f"search space: {name} = {values[name]} is not among {listed}")
                full[0, column] = choices.index(values[name])
        return self._canonical(full)[0, self._free]

    def _chosen(self, point: Point) -> dict[str, int]:
        """The value of every slot that the point fixes. UserError where no slot can say it."""
        number = len(point.chunks)
        values = {"chunks": number, "frames": point.frames}
        if number > len(self.spaces):
            raise UserError(f"search space: {number} chunks are not among {', '.join(map(str, self.chunks))}")
        for chunk, (parameters, share) in enumerate(zip(point.chunks, point.shares, strict=True)):
            values |= {f"chunk{chunk}.{n}": v for n, v in parameters.integers.items() if n != "residual"}
            values[f"chunk{chunk}.share"] = share
        if self.assignment == "contiguous":
            if sorted(point.assignment) != list(point.assignment) or len(set(point.assignment)) != number:
                raise UserError("search space: every chunk needs one run of layers, in the order of the chunks")
            values |= {f"cut{chunk}": point.assignment.index(chunk) for chunk in range(1, number)}
        else:
            values |= {f"{la.name}.chunk": c for la, c in zip(self.layers, point.assignment, strict=True)}
        unknown = sorted(point.on_chip - set(self.tensors))
        if unknown:
            raise UserError(f"search space: tensor '{unknown[0]}' has no place on chip")
        values |= {f"{tensor}.place": int(tensor in point.on_chip) for tensor in self.tensors}
        return values | self._chosen_batches(point)

    def _chosen_batches(self, point: Point) -> dict[str, int]:
        batches = [point.batch(layer) for layer in range(len(self.layers))]
        if not self.batches and set(batches) != {point.frames}:
            raise UserError(f"search space: batches are {point.frames}, all frames of a pass")
        if self.batch_per == "layer":
            return {f"{layer.name}.batch": batch for layer, batch in zip(self.layers, batches, strict=True)}
        values: dict[str, int] = {}
        for chunk, batch in zip(point.assignment, batches, strict=True):
            if values.setdefault(f"chunk{chunk}.batch", batch) != batch:
                raise UserError(f"search space: the layers of chunk {chunk} have one batch in common")
        return values

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Canonical rows of designs drawn independently, uniformly but for `even`; int64 `(count, axes)`."""
        variants = list(self._variants)
        chances = [1.0 if self.even else self._variants[v] / self.size for v in variants]
        drawn = torch.multinomial(torch.tensor(chances, dtype=torch.float64), count, True, generator=generator)
        full = torch.zeros(count, len(self._slots), dtype=torch.int64)
        full[:, :2] = torch.tensor(variants)[drawn]
        part = self._chunk_slots(full)
        for chunk, (space, shares) in enumerate(zip(self.spaces, self.shares, strict=True)):
            part[:, chunk, :-1] = space.sample(count, generator)
            part[:, chunk, -1] = torch.randint(len(shares), (count,), generator=generator)
        self._draw_assignment(full, generator)
        columns = self._columns("batches")
        full[:, columns] = self._draw_batches(full, generator)
        for column, place in zip(range(*self._columns("places").indices(len(self._slots))), self._places, strict=True):
            full[:, column] = torch.randint(len(place), (count,), generator=generator)
        return self._canonical(full)[:, self._free]

    def _draw_assignment(self, full: Tensor, generator: torch.Generator) -> None:
        if self.assignment == "free":
            choices = self._last_home[full[:, 0]] + 1
            drawn = torch.rand(choices.shape, dtype=torch.float64, generator=generator) * choices
            full[:, self._columns("homes")] = drawn.long().minimum(choices - 1)
            return
        start = self._columns("cuts").start
        for row, number in enumerate(self.chunks):
            asked = torch.nonzero(full[:, 0] == row)[:, 0]
            drawn = self._cuts_of(number).sample(len(asked), generator) - torch.tensor(
                self._cuts.low[: number - 1], dtype=torch.int64
            )
            full[asked, start : start + number - 1] = drawn

    def _draw_batches(self, full: Tensor, generator: torch.Generator) -> Tensor:
        """Choices of all batches, uniform among those that divide the frames."""
        drawn = torch.zeros(len(full), len(self.batches), dtype=torch.int64)
        for row, frames in enumerate(self.frames):
            asked = torch.nonzero(full[:, 1] == row)[:, 0]
            for column, values in enumerate(self.batches):
                fitting = torch.tensor([i for i, batch in enumerate(values) if frames % batch == 0])
                drawn[asked, column] = fitting[torch.randint(len(fitting), (len(asked),), generator=generator)]
        return drawn

    def enumerate(self, block: int = BLOCK) -> Iterator[Tensor]:
        """Canonical rows of all designs, each once, in blocks of int64 `(at most block, axes)`."""
        for variant, size in self._variants.items():
            factors = self._factors(variant)
            for start in range(0, size, block):
                number = torch.arange(start, min(size, start + block))
                full = torch.zeros(len(number), len(self._slots), dtype=torch.int64)
                full[:, :2] = torch.tensor(variant)
                for columns, rows in factors:
                    full[:, columns] = rows[number % len(rows)]
                    number = number // len(rows)
                yield full[:, self._free]

    def _factors(self, variant: tuple[int, int]) -> list[tuple[list[int], Tensor]]:
        """Independent choices of the designs of a variant: columns of full rows, and what may stand there."""
        number, frames = self.chunks[variant[0]], self.frames[variant[1]]
        factors = []
        for chunk in range(number):
            start = 2 + chunk * self._per_chunk
            factors += [([start + i for i in columns], rows) for columns, rows in self.spaces[chunk].groups]
            factors.append(([start + self._per_chunk - 1], torch.arange(len(self.shares[chunk]))[:, None]))
        if self.assignment == "contiguous":
            start = self._columns("cuts").start
            rows = self._cuts_of(number).table() - torch.tensor(self._cuts.low[: number - 1], dtype=torch.int64)
            factors.append((list(range(start, start + number - 1)), rows))
        else:
            start = self._columns("homes").start
            choices = (self._last_home[variant[0]] + 1).tolist()
            factors += [([start + i], torch.arange(count)[:, None]) for i, count in enumerate(choices)]
        start, used = self._columns("batches").start, self.batches[: None if self.batch_per == "layer" else number]
        for i, values in enumerate(used):
            fitting = [choice for choice, batch in enumerate(values) if frames % batch == 0]
            factors.append(([start + i], torch.tensor(fitting)[:, None]))
        start = self._columns("places").start
        return factors + [([start + i], torch.arange(len(p))[:, None]) for i, p in enumerate(self._places)]

    def table(self) -> list[SpaceRow]:
        """The space for people, a line for each kind of choice."""
        return space_rows(self)

    def logits(self, generator: torch.Generator, spread: float = 0.5) -> list[Tensor]:
        """First parameters of a categorical (Gumbel) distribution per axis: normal, float64 `(width,)` each."""
        return [spread * torch.randn(width, dtype=torch.float64, generator=generator) for width in self.widths]


def pipeline_space(
    layers: Sequence[Layer],
    space: Space,
    chunks: Sequence[int],
    *,
    shares: Sequence[int] = SHARES,
    assignment: Assignment = "contiguous",
    frames: Sequence[int] = (1,),
    batches: Sequence[int] = (),
    batch_per: BatchPer = "chunk",
    tensors: Sequence[str] = (),
    even: bool = False,
) -> PipelineSpace:
    """The space in which all chunks, layers and tensors have the same choices.

    `space`: parameters of every chunk. `chunks`: numbers of chunks; where layers are assigned in runs, those with more
    chunks than layers are left out. `batches` empty: a batch is all frames of a pass.
    """
    numbers = tuple(n for n in chunks if assignment == "free" or n <= len(layers))
    if not numbers:
        raise UserError(f"chunks: at least {min(chunks, default=1)} asked for; the network has {len(layers)} layers")
    owners = len(layers) if batch_per == "layer" else numbers[-1]
    return PipelineSpace(
        layers=tuple(layers),
        spaces=(space,) * numbers[-1],
        chunks=numbers,
        shares=(tuple(shares),) * numbers[-1],
        assignment=assignment,
        frames=tuple(frames),
        batch_per=batch_per,
        batches=(tuple(batches),) * owners if batches else (),
        tensors=tuple(tensors),
        even=even,
    )
