"""What a mapping means before any instruction is written: units, traffic, hazards, and where tensors lie."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from functools import cached_property

from dna.accelerator.chunk import Accelerator
from dna.accelerator.isa import EVENTS
from dna.accelerator.mapping import Mapping as DesignMapping
from dna.compile.lowering import Lowered
from dna.compile.memory_map import OnChip, chip_addresses, place_tensors
from dna.compile.order import Job, Stuck, serial
from dna.compile.program import Tensor
from dna.compile.units import chunk_traffic, chunk_units
from dna.compile.waits import Hazards, Needs
from dna.errors import UserError


class DoesNotEndError(UserError):
    """Chunks would wait for each other for ever. `tensor` is the on-chip tensor that has no room, or None; `links`:
    writer and reader of every bank in which a chunk finds no room."""

    def __init__(self, message: str, tensor: str | None, links: tuple[tuple[int, int], ...] = ()) -> None:
        super().__init__(message)
        self.tensor = tensor
        self.links = links


class Plan:
    """A checked mapping's units, by chunk, and what they read and write."""

    def __init__(self, lowered: Lowered, accelerator: Accelerator, mapping: DesignMapping) -> None:
        self.lowered = lowered
        self.accelerator = accelerator
        self.mapping = mapping
        self.frames = mapping.frames
        self.chunks = {layer.name: mapping.chunk(index) for index, layer in enumerate(lowered.layers)}
        """By tensor that a layer writes, its chunk."""
        count = len(accelerator.chunks)
        self.units = [chunk_units(lowered.layers, mapping, chunk) for chunk in range(count)]
        self.traffic = [chunk_traffic(lowered.layers, units) for units in self.units]
        self.hazards = Hazards(lowered, self.chunks, mapping.frames, self.traffic)
        self._stores: dict[object, list[list[Needs]]] = {}
        """By on-chip tensors and links, `of_writes`; the latest only. Shared by all plans that `on` makes."""

    def on(self, accelerator: Accelerator) -> Plan:
        """The same plan with other links: chunks must be equal, and nothing of what they do is worked out again."""
        assert accelerator.chunks == self.accelerator.chunks, "a plan is made for its chunks"
        other = copy(self)
        other.accelerator = accelerator
        return other

    @cached_property
    def of_reads(self) -> list[list[Needs]]:
        """By chunk and LOAD of INPUT or RESIDUAL: what it waits for, wherever the tensors lie."""
        return [self.hazards.of_reads(chunk) for chunk in range(len(self.units))]

    def of_writes(self, on_chip: Collection[str]) -> list[list[Needs]]:
        """By chunk and STORE: what it waits for, with these tensors on chip."""
        key = (frozenset(on_chip), self.accelerator.links)
        if key not in self._stores:
            tensors, _ = self.place(on_chip)
            self._stores.clear()
            chunks = range(len(self.units))
            self._stores[key] = [self.hazards.of_writes(chunk, tensors, self.accelerator) for chunk in chunks]
        return self._stores[key]

    def check_counts(self, limit: int) -> None:
        """UserError if a chunk has so many jobs in a pass that their index does not fit."""
        for chunk, traffic in enumerate(self.traffic):
            for what, jobs in (("input and residual", traffic.reads), ("output", traffic.writes)):
                if len(jobs) >= limit:
                    raise UserError(
                        f"network '{self.lowered.network.name}': chunk {chunk} has {len(jobs)} {what} tiles in a pass;"
                        f" the limit is {limit - 1}; use larger tiles or fewer frames"
                    )

    def readers(self, tensor: str) -> tuple[int, ...]:
        """The chunks that read the tensor, as input or residual, in ascending order."""
        layers = self.lowered.layers
        return tuple(sorted({self.chunks[layer.name] for layer in layers if tensor in (layer.input, layer.residual)}))

    def place(self, on_chip: Collection[str]) -> tuple[dict[str, Tensor], dict[str, int]]:
        """`place_tensors` with the given ones in links; the writer's and all its readers' bursts are whole there."""
        places: dict[str, OnChip] = {}
        for writer, traffic in enumerate(self.traffic):
            stored = list(dict.fromkeys((a.tensor, a.frame) for a in traffic.writes if a.tensor in on_chip))
            readers = {name: self.readers(name) for name, _ in stored}
            bursts = [chunk.burst_beats for chunk in self.accelerator.chunks]
            alignments = {name: max(bursts[chunk] for chunk in (writer, *readers[name])) for name in readers}
            for name, addresses in chip_addresses(self.lowered, stored, readers, alignments).items():
                places[name] = OnChip(addresses, writer, readers[name])
        return place_tensors(self.lowered, self.frames, places)

    def check_ends(self, on_chip: Collection[str]) -> None:
        """UserError if chunks would wait for each other for ever with these tensors on chip."""
        tensors, _ = self.place(on_chip)
        chunks = []
        for units, reads, writes in zip(self.units, self.of_reads, self.of_writes(on_chip), strict=True):
            jobs: list[Job] = []
            fetched = stored = 0
            for unit in units:
                layer = self.lowered.layers[unit.layer]
                for _ in range(unit.new_input + (unit.step.last and layer.residual is not None)):
                    jobs.append(Job(reads[fetched].waits, EVENTS["FETCHED"], unit.layer))
                    fetched += 1
                if unit.step.last:
                    jobs.append(Job(writes[stored].waits, EVENTS["COMMITTED"], unit.layer))
                    stored += 1
            chunks.append(jobs)
        refuse(serial(chunks).stuck, self.lowered, self.accelerator, tensors)


def refuse(stuck: Sequence[Stuck], lowered: Lowered, accelerator: Accelerator, tensors: Mapping[str, Tensor]) -> None:
    """DoesNotEndError if chunks are stuck: for lack of room in a link, if one waits for that."""
    if not stuck:
        return
    full = [entry for entry in stuck if entry.wait.event == EVENTS["FETCHED"]]
    chunk, job, wait = (full or stuck)[0]
    name = lowered.layers[job.layer].name
    if not full:
        raise DoesNotEndError(
            f"layer '{name}': chunk {chunk} waits for chunk {wait.peer}, which waits for chunk {chunk}:"
            " their layers depend on each other in both directions; use equal batches or other chunks",
            None,
        )
    assert tensors[name].region == "CHIP", "only in a link is a word overwritten in the pass that reads it"
    link = accelerator.link(chunk, wait.peer)
    assert link is not None, "checked with the mapping"
    raise DoesNotEndError(
        f"tensor '{name}' does not fit in link {link.writer} to {link.reader} of {link.words} words: it would overwrite"
        f" what chunk {link.reader} still has to read; make the link larger or leave it in memory",
        name,
        tuple((entry.chunk, entry.wait.peer) for entry in full),
    )
