"""Mappings for chunks that hand tensors over on chip, in bands of rows.

A reader can begin when the first band is there, and the writer goes on only while the bank has room. So tiles of a
layer that reads another chunk's tensor from a bank must be bands: two of them, halo included, have to fit in the bank,
and all channels of a band are done before the next. Among such mappings of nearly equal cycles, the one with the fewest
rows makes its reader wait the least.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from functools import lru_cache

import torch

from dna.accelerator.chunk import LINK_MEMORY, Accelerator, Chunk, Memory
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.accelerator.tile import WORD, ceil_div
from dna.compile.default_mapping import resident
from dna.compile.lowering import lower
from dna.cost.cycles import price
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.groups import group
from dna.search.mapping_space import UNMAPPED, candidates, decode, shape_of
from dna.search.steady import ORDERS, group_candidates

TOLERANCE = 1.02
"""Mappings within this factor of the fewest cycles count as equal."""
KEPT = 24
"""Mappings of a layer that are remembered."""
BANDS = 2
"""Bands of its input that a tile's bank must hold: one is read while the next is written."""


def banded_mapping(
    network: Network,
    accelerator: Accelerator,
    chunks: Sequence[int],
    *,
    frames: int = 1,
    batches: Sequence[int] = (),
    in_memory: Collection[str] = (),
) -> Mapping:
    """All tensors on chip but the network's input and output and those named; each layer's mapping by the closed form.

    `chunks`, `batches`: as in `Mapping`, one per executed layer. Layers with a batch above 1 load each weight tile once
    per group of frames; weights are resident where they fit. UserError, naming layer or tensor, where nothing fits or
    a link is missing.
    """
    lowered = lower(network)
    home = {layer.name: chunk for layer, chunk in zip(lowered.layers, chunks, strict=True)}
    on_chip = frozenset(layer.name for layer in lowered.layers if layer.name != lowered.output) - set(in_memory)
    found = []
    for index, layer in enumerate(lowered.layers):
        link = accelerator.link(home.get(layer.input, -1), chunks[index]) if layer.input in on_chip else None
        other = link is not None and home[layer.input] != chunks[index]
        chunk = accelerator.chunks[chunks[index]]
        mapping = banded(layer, chunk, link.words if link is not None and other else None)
        if batches and batches[index] > 1:
            mapping = replace(mapping, order="weights")
        found.append(resident(layer, chunk, mapping))
    return Mapping(tuple(found), tuple(chunks), frames, tuple(batches), on_chip)


def banded(layer: Layer, chunk: Chunk, bank_words: int | None) -> LayerMapping:
    """The layer's best mapping on operands from a bank; `bank_words`: room for the bands of its input, None for any."""
    shape = shape_of(layer)
    table = candidates(shape, chunk.px)
    values = {name: torch.tensor([value]) for name, value in chunk.integers.items()}
    priced = price(shape, table, values, LINK_MEMORY)
    fits = priced.legal[0]
    for name, need in priced.needs.items():
        fits = fits & (need[0] <= values[name])
    rows = (table.lanes_y * table.lane_rows).clamp(max=layer.out_height)
    if bank_words is not None:
        row_words = ceil_div(layer.in_channels, WORD) * layer.in_width
        band = ((rows - 1) * layer.stride[0] + layer.kernel[0]) * row_words
        in_order = (table.order == 0) | (table.out_channels >= layer.group_outputs)
        fits = fits & (BANDS * band <= bank_words) & in_order
    cycles = torch.where(fits, priced.cycles[0], UNMAPPED)
    best = int(cycles.min())
    if best == UNMAPPED:
        raise UserError(f"layer '{layer.name}': no band of rows fits the chunk's buffers and its bank; enlarge them")
    good = cycles <= best * TOLERANCE
    rank = torch.where(good, rows * UNMAPPED + (cycles - best), torch.iinfo(torch.int64).max)
    return decode(layer, chunk, int(rank.argmin()))


def chip_choices(
    layer: Layer,
    chunk: Chunk,
    memory: Memory,
    frames: int,
    count: int,
    *,
    chip_in: bool,
    chip_out: bool,
    in_order: bool = False,
    tolerance: float = TOLERANCE,
) -> list[LayerMapping]:
    """Up to `count` mappings of a layer that reads (`chip_in`) or writes on chip, for groups of `frames` frames.

    Best first: mappings whose cycles are within a factor of `tolerance` are in the order of their rows, the lowest
    bands first. `in_order`: only those that do all channels of a band before the next, if there are any. Weights are
    resident where they fit.
    """
    key = (shape_of(layer), chunk, memory, frames, chip_in, chip_out, in_order, tolerance)
    found = dict.fromkeys(resident(layer, chunk, mapping) for mapping in _chip_choices(*key)[: 4 * count])
    return list(found)[:count]


@lru_cache(maxsize=4096)
def _chip_choices(
    layer: Layer,
    chunk: Chunk,
    memory: Memory,
    frames: int,
    chip_in: bool,
    chip_out: bool,
    in_order: bool,
    tolerance: float,
) -> tuple[LayerMapping, ...]:
    """As `chip_choices`, the first `KEPT`, before weights are resident."""
    c = group_candidates(layer, chunk.px)
    interval = memory.beat_interval
    cycles = group(layer, c, chunk, memory, frames).cycles(interval, interval, chip_in, chip_out)
    rows = (c.lanes_y * c.lane_rows).clamp(max=layer.out_height)
    if in_order:
        banded = torch.where((c.order == 0) | (c.out_channels >= layer.group_outputs), cycles, UNMAPPED)
        cycles = banded if int(banded.min()) < UNMAPPED else cycles
    step = ((cycles.double() / cycles.min()).log() / math.log(tolerance)).floor()
    order = cycles.argsort(stable=True)
    order = order[rows[order].argsort(stable=True)]
    order = order[step[order].argsort(stable=True)]
    found = []
    for row in order[:KEPT].tolist():
        if cycles[row] < UNMAPPED:
            values = {f.name: int(getattr(c, f.name)[row]) for f in fields(c)}
            found.append(LayerMapping(**{**values, "order": ORDERS[values["order"]]}))  # type: ignore[arg-type]
    return tuple(found)
