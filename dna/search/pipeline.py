"""The whole search problem: accelerators of one or more chunks, and how the layers of a network run on them.

Each chunk works on a frame of its own, so in steady state the slowest chunk decides. What a chunk takes for a frame is
the sum of its layers' stages (`dna.search.stage_terms`), each with its best mapping, solved inside. Links are sized by
what is alive in them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from dna.accelerator.board import Board
from dna.accelerator.chunk import LINK_WORDS, Accelerator, Link, Memory
from dna.accelerator.isa import WORD_BYTES
from dna.accelerator.mapping import Mapping
from dna.accelerator.tile import ceil_div
from dna.cost.energy import technology_of
from dna.cost.resources import RESOURCES, Resources, ram_half_blocks, resources
from dna.errors import UserError
from dna.network.layer import Layer
from dna.search.accelerator import UNMAPPED_CYCLES
from dna.search.goal import Costs, Goal
from dna.search.mapping_space import UNMAPPED, compute_bound, port_bound, shape_of
from dna.search.pipeline_chip import chip_size, idle_energy, link_pj, row_energy
from dna.search.pipeline_order import Sources, idle_chunks, layer_sources, waiting
from dna.search.pipeline_space import Decoded, PipelineSpace
from dna.search.problem import Evaluation
from dna.search.stage_rows import Places, RowPrices

BAND_ROWS = 4
"""A bank between chunks that work on the same frame has room for so many times the rows that an output row sees anew
and keeps: two bands for the reader, and what the writer is at."""


@dataclass(frozen=True)
class Tensors:
    """Where tensors of a network come from and go to, by number in `PipelineSpace.tensors` and layer."""

    words: Tensor
    """Words of one frame of each, int64 `(T,)`."""
    band: Tensor
    """Words that a bank must have for its bands, whichever its reader; int64 `(T,)`."""
    writer: Tensor
    """Layer that writes it; int64 `(T,)`."""
    alive: Tensor
    """During which layers it is written, kept or read; float64 `(T, L)`."""
    input: Tensor
    """The tensor that is each layer's input, -1 where that is in memory always; int64 `(L,)`."""
    residual: Tensor
    source: tuple[int, ...]
    """Layer that writes each layer's input, -1 for the network's input and for concats."""

    @staticmethod
    def of(layers: Sequence[Layer], names: Sequence[str]) -> Tensors:
        number = {name: i for i, name in enumerate(names)}
        wrote = {layer.name: i for i, layer in enumerate(layers)}
        reads = torch.tensor([[name in (la.input, la.residual) for la in layers] for name in names])
        reads = reads.reshape(len(names), len(layers))
        writer = torch.tensor([wrote[name] for name in names], dtype=torch.int64)
        steps = torch.arange(len(layers))
        last = torch.where(reads, steps, 0).amax(dim=1) if names else writer
        return Tensors(
            words=torch.tensor([_words(layers[i]) for i in writer.tolist()], dtype=torch.int64),
            band=torch.tensor([_band(layers, name) for name in names], dtype=torch.int64),
            writer=writer,
            alive=((writer[:, None] <= steps) & (steps <= last[:, None])).double(),
            input=torch.tensor([number.get(layer.input, -1) for layer in layers]),
            residual=torch.tensor([number.get(layer.residual or "", -1) for layer in layers]),
            source=tuple(wrote.get(layer.input, -1) for layer in layers),
        )


def _words(layer: Layer) -> int:
    """Words of one frame of a layer's output."""
    return layer.out_height * layer.out_width * int(ceil_div(layer.out_channels, WORD_BYTES))


def _band(layers: Sequence[Layer], name: str) -> int:
    """Words of a few rows of a tensor, as many as the reader with the largest window needs."""
    found = [_words(layer) for layer in layers if layer.name == name][:1]
    for layer in layers:
        if layer.input == name:
            rows = BAND_ROWS * (layer.kernel[0] + layer.stride[0])
            found.append(min(rows, layer.in_height) * layer.in_width * int(ceil_div(layer.in_channels, WORD_BYTES)))
    return max(found[1:], default=found[0])


@dataclass(frozen=True)
class Plain:
    """What all prices of N designs need, on K chunks and L layers."""

    decoded: Decoded
    number: Tensor
    """Of each chunk, for `RowPrices`; int64 `(N, K)`."""
    chip: Tensor
    """Whether each tensor is on chip, bool `(N, T)`."""
    chained: Tensor
    """Whether each layer reads what its chunk wrote just before, bool `(N, L)`."""
    bank: Tensor
    """Words of the bank that each layer's input comes from in bands, 0 for none; int64 `(N, L)`."""
    links: Tensor
    """Words of the link of each pair of chunks, 0 for none; int64 `(N, K * K)`, pair writer * K + reader."""
    broken: Tensor
    """What cannot work: links that are too large or need wider ports, chunks without a layer, chunks that wait for
    each other for ever; int64 `(N,)`."""


@dataclass(frozen=True)
class PipelineProblem:
    """Designs of `space` on a board, priced by the closed form with the best mapping of every layer."""

    space: PipelineSpace
    board: Board
    goal: Goal
    prices: RowPrices = field(compare=False)

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.space.layers

    @cached_property
    def tensors(self) -> Tensors:
        return Tensors.of(self.layers, self.space.tensors)

    def evaluate(self, designs: Tensor) -> Evaluation:
        """Price designs `(N, axes)`."""
        return self.goal.evaluate(self.costs(designs), self.board)

    def costs(self, designs: Tensor) -> Costs:
        """What designs `(N, axes)` take. The latency is that of stages one after the other."""
        plain = self.plain(designs)
        batches = plain.decoded.batches
        cycles = self.layer_cycles(plain, batches)
        alone = cycles if bool((batches == 1).all()) or not self._wants_latency else self._alone(plain)
        return self._costs(plain, cycles.double() / batches, alone.double(), cycles)

    def bounds(self, designs: Tensor) -> Evaluation:
        """Prices that designs cannot undercut, without solving mappings: arrays that never wait, or ports that never
        rest; resources and bandwidth are exact."""
        plain = self.plain(designs)
        decoded, values = plain.decoded, plain.decoded.values
        per_frame = torch.zeros(decoded.assignment.shape, dtype=torch.float64)
        for index, layer in enumerate(self.layers):
            part = self._chunk_of(values, decoded.assignment[:, index])
            ones = Memory(self.board.memory.read_latency, 1, self.board.memory.write_latency)
            array, shape = compute_bound(shape_of(layer), part).double(), shape_of(layer)
            share = decoded.shares.gather(1, decoded.assignment[:, index, None])[:, 0]
            port = self._least_port(shape, part, ones, plain, index) * share
            per_frame[:, index] = array.maximum(port)
        return self.goal.evaluate(
            self._costs(plain, per_frame, per_frame, torch.zeros_like(decoded.batches), least=True), self.board
        )

    def layer_cycles(self, plain: Plain, frames: Tensor) -> Tensor:
        """Cycles of a group of `frames` (int64 `(N, L)`) frames of each layer, int64 `(N, L)`; `UNMAPPED` where its
        chunk has no mapping for it."""
        decoded = plain.decoded
        result = torch.zeros_like(decoded.assignment)
        for index, layer in enumerate(self.layers):
            home = decoded.assignment[:, index]
            places = self._places(plain, index, frames)
            numbers = plain.number.gather(1, home[:, None])[:, 0]
            result[:, index] = self.prices.get(layer, self._chunk_of(decoded.values, home), numbers, places)
        return result

    def _places(self, plain: Plain, index: int, frames: Tensor) -> Places:
        """How the chunks are fed in layer `index`; `frames` of a group, int64 `(N, L)`."""
        tensors, home = self.tensors, plain.decoded.assignment[:, index]
        return Places(
            share=plain.decoded.shares.gather(1, home[:, None])[:, 0],
            frames=frames[:, index],
            chip_in=_flag(plain.chip, int(tensors.input[index])),
            chip_residual=_flag(plain.chip, int(tensors.residual[index])),
            chip_out=_flag(plain.chip, self._number(self.layers[index])),
            chained=plain.chained[:, index].long(),
            bank=plain.bank[:, index],
        )

    def energy(self, plain: Plain, interval: Tensor, least: bool = False) -> Tensor:
        """Of a frame, pJ, float64 `(N,)`; `interval`: cycles per frame, `(N,)`. `least`: what no mapping undercuts.

        UserError for a board without figures.
        """
        technology, decoded = technology_of(self.board), plain.decoded
        moved = torch.zeros(2, len(interval), dtype=torch.float64)
        for index, layer in enumerate(self.layers):
            home = decoded.assignment[:, index]
            part, places = self._chunk_of(decoded.values, home), self._places(plain, index, decoded.batches)
            numbers = plain.number.gather(1, home[:, None])[:, 0]
            chosen = None if least else self.prices.chosen(layer, part, numbers, places)
            moved += torch.stack(row_energy(layer, part, places, technology, chosen))
        links = link_pj(moved[1], plain.links, technology)
        return moved[0] + links + idle_energy(decoded, plain.links, self.board) * interval

    def solved(self, design: Tensor) -> tuple[Accelerator, Mapping]:
        """The accelerator of one design `(axes,)` with links as estimated, and the mapping that its price stands for.

        UserError, naming the layer, where one has no mapping.
        """
        point, plain = self.space.point(design), self.plain(design[None])
        found = []
        for index, layer in enumerate(self.layers):
            home = plain.decoded.assignment[:, index]
            values, places = (
                self._chunk_of(plain.decoded.values, home),
                self._places(plain, index, plain.decoded.batches),
            )
            chosen = self.prices.chosen(layer, values, plain.number.gather(1, home[:, None])[:, 0], places)
            if int(chosen.cycles) >= UNMAPPED:
                raise UserError(f"layer '{layer.name}': fits no tile on chunk {int(home)}")
            found.append(chosen.mapping(0))
        chunks = plain.decoded.used.shape[1]
        links = [Link(*divmod(pair, chunks), words) for pair, words in enumerate(plain.links[0].tolist()) if words]
        mapping = Mapping(tuple(found), point.assignment, point.frames, point.batches, point.on_chip)
        return Accelerator(point.chunks, links=tuple(links)), mapping

    def plain(self, designs: Tensor) -> Plain:
        """What the designs are, with the links that they need."""
        decoded = self.space.decode(designs)
        count, chunks = decoded.used.shape
        flat = {name: value.reshape(-1) for name, value in decoded.values.items()}
        narrow = (decoded.values["port_bytes"] != WORD_BYTES) & decoded.used
        links, bank, whole = self._links(decoded)
        too_large = (links > LINK_WORDS[1]).sum(dim=1)
        unfit = (whole & narrow[:, :, None].expand(-1, -1, chunks).reshape(count, -1)).sum(dim=1)
        unfit = unfit + (whole & narrow[:, None, :].expand(-1, chunks, -1).reshape(count, -1)).sum(dim=1)
        return Plain(
            decoded=decoded,
            number=self.prices.number(flat).view(count, chunks),
            chip=decoded.on_chip,
            chained=self._chained(decoded),
            bank=bank,
            links=links,
            broken=too_large + unfit + idle_chunks(decoded) + waiting(decoded, self._sources, self._waiting),
        )

    @cached_property
    def _sources(self) -> Sources:
        return layer_sources(self.layers)

    @cached_property
    def _waiting(self) -> dict[tuple[int, ...], bool]:
        """Assignments with batches, and whether their chunks wait for each other for ever."""
        return {}

    def _chained(self, decoded: Decoded) -> Tensor:
        """Whether each layer reads what its chunk wrote just before, in the same group of frames; bool `(N, L)`."""
        before = torch.full(decoded.used.shape, -1)
        found = torch.zeros(decoded.assignment.shape, dtype=torch.bool)
        for index, source in enumerate(self.tensors.source):
            home = decoded.assignment[:, index, None]
            if source >= 0:
                alike = decoded.batches[:, source] == decoded.batches[:, index]
                found[:, index] = (before.gather(1, home)[:, 0] == source) & alike
            before.scatter_(1, home, index)
        return found

    def _links(self, decoded: Decoded) -> tuple[Tensor, Tensor, Tensor]:
        """Words of each pair's link, int64 `(N, K * K)`; of the bank of bands behind each layer's input, `(N, L)`; and
        which pairs have a link, bool.

        Within a chunk, and between chunks that work on different frames, a tensor is on chip whole, for all frames of
        its batch. Where layers go to and fro between chunks, those work on one frame, in bands of rows.
        """
        tensors, (count, chunks) = self.tensors, decoded.used.shape
        bank = torch.zeros_like(decoded.assignment)
        size = torch.zeros(count, chunks * chunks, dtype=torch.int64)
        if not len(tensors.words):
            return size, bank, size > 0
        home = decoded.assignment[:, tensors.writer]
        batches = decoded.batches[:, tensors.writer]
        held = torch.zeros(count, chunks * chunks, len(tensors.words), dtype=torch.float64)
        for index in range(len(self.layers)):
            reader = decoded.assignment[:, index]
            for number in {int(tensors.input[index]), int(tensors.residual[index])} - {-1}:
                other = home[:, number] != reader
                frames = torch.maximum(batches[:, number], decoded.batches[:, index])
                words = tensors.words[number] * frames
                banded = other & (frames == 1) & (self.space.assignment == "free") & decoded.on_chip[:, number]
                words = torch.where(banded, words.minimum(tensors.band[number]), words) * decoded.on_chip[:, number]
                pair = (home[:, number] * chunks + reader)[:, None]
                column = held[:, :, number]
                column.scatter_(1, pair, column.gather(1, pair).maximum(words[:, None].double()))
                if number == int(tensors.input[index]):
                    bank[:, index] = torch.where(banded, _rounded(tensors.band[number]), 0)
        size = (held @ tensors.alive).amax(dim=2).long()
        return torch.where(size > 0, _rounded(size), 0), bank, size > 0

    def _number(self, layer: Layer) -> int:
        """The tensor that a layer writes, -1 where that is in memory always."""
        names = self.space.tensors
        return names.index(layer.name) if layer.name in names else -1

    def _chunk_of(self, values: dict[str, Tensor], home: Tensor) -> dict[str, Tensor]:
        """Parameters of the chunks that a layer is on, int64 `(N,)` each."""
        return {name: value.gather(1, home[:, None])[:, 0] for name, value in values.items()}

    @cached_property
    def _wants_latency(self) -> bool:
        return self.goal.objective in ("latency", "edp") or any(
            limit.name in ("latency", "edp") for limit in self.goal.limits
        )

    def _alone(self, plain: Plain) -> Tensor:
        """Cycles of each layer for a frame that has the accelerator for itself, int64 `(N, L)`."""
        return self.layer_cycles(plain, torch.ones_like(plain.decoded.batches))

    def _costs(self, plain: Plain, per_frame: Tensor, alone: Tensor, cycles: Tensor, least: bool = False) -> Costs:
        """`per_frame`, `alone`: cycles of each layer, float64 `(N, L)`; `cycles`: as priced, for what is unmapped;
        `least`: energies are bounds."""
        decoded = plain.decoded
        missing = cycles >= UNMAPPED
        instead = torch.tensor([float(layer.macs + UNMAPPED_CYCLES) for layer in self.layers], dtype=torch.float64)
        per_frame = torch.where(missing, instead, per_frame)
        alone = torch.where(missing | (alone >= UNMAPPED), instead, alone)
        of_chunk = torch.zeros(decoded.used.shape, dtype=torch.float64).scatter_add(1, decoded.assignment, per_frame)
        kilobytes, area = chip_size(decoded, plain.links, self.board)
        interval = of_chunk.amax(dim=1)
        return Costs(
            interval=interval,
            chunk_cycles=of_chunk,
            latency=alone.sum(dim=1),
            resources=self.resources(plain),
            unmapped=missing.sum(dim=1) + plain.broken,
            bandwidth=self.bandwidth(decoded),
            buffer_kb=kilobytes,
            area_mm2=area,
            energy_pj=self.energy(plain, interval, least) if "energy" in self.goal.needs else None,
        )

    def resources(self, plain: Plain) -> Resources:
        """Of all chunks and links, int64 `(N,)` each."""
        used = plain.decoded.used.long()
        each = resources(plain.decoded.values)
        total = {name: (getattr(each, name) * used).sum(dim=1) for name in RESOURCES}
        blocks = -(-ram_half_blocks(plain.links) // 2)
        total["bram36"] = total["bram36"] + torch.where(plain.links > 0, blocks, 0).sum(dim=1)
        return Resources(**total)

    def bandwidth(self, decoded: Decoded) -> Tensor:
        """Bytes per cycle and direction of all ports, float64 `(N,)`."""
        values = decoded.values
        ports = values["ports"].double() * values["port_bytes"] / decoded.shares
        return (ports * decoded.used).sum(dim=1)

    def _least_port(self, shape: Layer, part: dict[str, Tensor], memory: Memory, plain: Plain, index: int) -> Tensor:
        """Cycles per frame of the memory ports, were a beat one cycle; float64 `(N,)`."""
        batches = plain.decoded.batches[:, index]
        numbers = (int(self.tensors.input[index]), int(self.tensors.residual[index]))
        chip_in = sum(_flag(plain.chip, number) for number in numbers) > 0
        chip_out = _flag(plain.chip, self._number(self.layers[index])) > 0
        result = torch.zeros(len(batches), dtype=torch.float64)
        for frames in torch.unique(batches).tolist():
            for reads in (False, True):
                for writes in (False, True):
                    rows = (batches == frames) & (chip_in == reads) & (chip_out == writes)
                    bound = port_bound(shape, part, memory, frames, reads, writes).double() / frames
                    result = torch.where(rows, bound, result)
        return result


def _flag(chip: Tensor, number: int) -> Tensor:
    """Column `number`, int64 `(N,)`; 0 for -1."""
    return chip[:, number].long() if number >= 0 else torch.zeros(len(chip), dtype=torch.int64)


def _rounded(words: Tensor) -> Tensor:
    """The next power of two, at least the smallest link."""
    exact = words.clamp(min=LINK_WORDS[0]).double()
    return (2.0 ** exact.log2().ceil()).long()


def pipeline_problem(space: PipelineSpace, board: Board, goal: Goal) -> PipelineProblem:
    """The problem of a space on a board."""
    return PipelineProblem(space, board, goal, RowPrices(board.memory))
