"""What one chunk does in a pass: all steps of its layers and frames in order, with the tiles they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from dna.accelerator.mapping import Mapping
from dna.compile.fields import input_block, output_block
from dna.compile.memory_map import Block
from dna.compile.tiling import Step, framed_steps
from dna.network.layer import Layer


@dataclass(frozen=True)
class Unit:
    """One step of a chunk's pass, with the tiles it uses."""

    layer: int
    """Index of the executed layer."""
    frame: int
    step: Step
    weight_tile: int
    """Index of its weight tile, counted over the pass."""
    new_input: bool
    free_input: bool
    free_weight: bool
    use: int
    """How many steps used its weight tile before."""
    layer_last: bool
    """Last step of its layer in the pass."""


class Access(NamedTuple):
    """What one LOAD of INPUT or RESIDUAL reads, or one STORE writes."""

    tensor: str
    frame: int
    block: Block


def chunk_units(layers: Sequence[Layer], mapping: Mapping, chunk: int) -> tuple[Unit, ...]:
    """All steps of one chunk in program order; neighbours of a layer and a group of frames share tiles."""
    mine = [index for index in range(len(layers)) if mapping.chunk(index) == chunk]
    visits = list(_visits(mine, mapping))
    last_visit = {layer: number for number, (layer, _) in enumerate(visits)}
    result: list[Unit] = []
    for number, (layer, frames) in enumerate(visits):
        todo = list(framed_steps(layers[layer], mapping.layers[layer], frames))
        weight_tile = result[-1].weight_tile if result else -1
        result += _visit_units(layer, todo, weight_tile, number == last_visit[layer])
    return tuple(result)


def _visits(mine: Sequence[int], mapping: Mapping) -> Iterator[tuple[int, range]]:
    """Layer and group of frames, in order: runs of layers with equal batch go through a group together."""
    for batch, run in groupby(mine, key=mapping.batch):
        layers = list(run)
        for first in range(0, mapping.frames, batch):
            for layer in layers:
                yield layer, range(first, first + batch)


def _visit_units(layer: int, todo: list[tuple[int, Step]], weight_tile: int, last_visit: bool) -> Iterator[Unit]:
    """Units of one layer and group of frames; `weight_tile` is the number of the last one before."""
    keys = [(frame, step.input_key) for frame, step in todo]
    position = 0
    for _, group in groupby(todo, key=lambda entry: entry[1].weight_key):
        weight_tile += 1
        sharing = list(group)
        for use, (frame, step) in enumerate(sharing):
            yield Unit(
                layer=layer,
                frame=frame,
                step=step,
                weight_tile=weight_tile,
                new_input=position == 0 or keys[position - 1] != keys[position],
                free_input=position == len(keys) - 1 or keys[position + 1] != keys[position],
                free_weight=use == len(sharing) - 1,
                use=use,
                layer_last=last_visit and position == len(keys) - 1,
            )
            position += 1


@dataclass(frozen=True)
class Traffic:
    """What a chunk reads and writes in a pass, without weights, in the order of its jobs."""

    reads: tuple[Access, ...]
    """Read n (from 1) is the LOAD after which `fetched` has index n."""
    writes: tuple[Access, ...]
    """Write n (from 1) is the STORE after which `committed` has index n."""
    reads_before: tuple[int, ...]
    """By STORE: reads that are complete before its TILE starts, for that waits for them."""


def chunk_traffic(layers: Sequence[Layer], units: Sequence[Unit]) -> Traffic:
    """A chunk's reads and writes: INPUT, then RESIDUAL, then the STORE of each unit."""
    reads: list[Access] = []
    writes: list[Access] = []
    before: list[int] = []
    known: dict[int, tuple[Block, Block]] = {}
    for unit in units:
        layer = layers[unit.layer]
        if id(unit.step) not in known:  # frames share their steps
            known[id(unit.step)] = input_block(unit.step), output_block(unit.step)
        source, output = known[id(unit.step)]
        if unit.new_input:
            reads.append(Access(layer.input, unit.frame, source))
        if unit.step.last:
            if layer.residual is not None:
                reads.append(Access(layer.residual, unit.frame, output))
            writes.append(Access(layer.name, unit.frame, output))
            before.append(len(reads))
    return Traffic(tuple(reads), tuple(writes), tuple(before))
