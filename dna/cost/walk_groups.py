"""Designs as the walk over tiles (`dna.cost.walk`) takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from dna.accelerator.chunk import Accelerator, Chunk, Memories, Memory, port_memory
from dna.accelerator.mapping import LayerMapping
from dna.accelerator.mapping import Mapping as Design
from dna.accelerator.tile import channel_words
from dna.compile.lowering import Lowered
from dna.cost.mapping_limits import Candidates
from dna.errors import UserError
from dna.network.layer import Layer


@dataclass(frozen=True, eq=False)
class Group:
    """Designs of one network, as `network_cycles` takes them; `memories`: one each."""

    layers: tuple[Layer, ...]
    mappings: tuple[Candidates, ...]
    values: Mapping[str, Tensor]
    memories: tuple[Memory, ...]
    written: Mapping[str, int]
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    resident: Tensor | None = None


def writers(lowered: Lowered, executed: Sequence[int] | None = None) -> dict[str, int]:
    """By tensor, the last executed layer that writes it or what lies in it; the network's input is not in it.

    `executed`: the layers that count, None for all; numbers are places in it.
    """
    chosen = range(len(lowered.layers)) if executed is None else executed
    numbers = {lowered.layers[index].name: number for number, index in enumerate(chosen)}
    found = {}
    for name in lowered.tensors:
        mine = [numbers[writer] for writer in lowered.writers(name) if writer in numbers]
        if mine:
            found[name] = max(mine)
    return found


def places(lowered: Lowered) -> dict[str, tuple[int, int]]:
    """By tensor that lies in a concat: words from row to row there, and words of a row in front of it."""
    found = {}
    for name in lowered.places:
        whole, group = name, 0
        while whole in lowered.places:
            whole, first = lowered.places[whole]
            group += first
        shape = lowered.shape(whole)
        found[name] = int(channel_words(shape.channels)) * shape.width, group * shape.width
    return found


def design_groups(lowered: Lowered, accelerator: Accelerator, design: Design, memories: Memories) -> list[Group]:
    """A design's chunks, one group each, as if what other chunks write were there from the start.

    UserError where tensors are on chip, where groups of frames are smaller than a pass, or where the ports of a chunk
    have different memories.
    """
    if design.on_chip:
        raise UserError("the walk over tiles knows no tensors on chip; take the schedule")
    if any(design.batch(index) != design.frames for index in range(len(lowered.layers))):
        raise UserError("the walk over tiles knows no groups of frames smaller than a pass; take the schedule")
    found = []
    for number, chunk in enumerate(accelerator.chunks):
        mine = [index for index in range(len(lowered.layers)) if design.chunk(index) == number]
        mappings = [design.layers[index] for index in mine]
        first = accelerator.first_port(number)
        behind = {port_memory(memories, first + port) for port in range(chunk.ports)}
        if len(behind) > 1:
            raise UserError("the walk over tiles knows one memory behind all ports of a chunk; take the schedule")
        found.append(
            Group(
                tuple(lowered.layers[index] for index in mine),
                tuple(candidates([mapping]) for mapping in mappings),
                columns([chunk]),
                tuple(behind),
                writers(lowered, mine),
                places(lowered),
                torch.tensor([[int(mapping.resident)] for mapping in mappings]),
            )
        )
    return found


def columns(chunks: Sequence[Chunk]) -> dict[str, Tensor]:
    """Parameters of chunks, int64 `(chunks,)` each."""
    return {f.name: torch.tensor([chunk.integers[f.name] for chunk in chunks]) for f in fields(Chunk)}


def candidates(mappings: Sequence[LayerMapping]) -> Candidates:
    """Mappings of one layer, one row each; whether weights are resident is not among them."""
    rows = [
        [int(m.order == "weights") if f.name == "order" else getattr(m, f.name) for f in fields(Candidates)]
        for m in mappings
    ]
    return Candidates.of(torch.tensor(rows))
