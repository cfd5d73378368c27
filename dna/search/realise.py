"""From a `Point` to something that compiles: tiles, resident weights, sizes of links, a share for every port.

A layer whose tensors all lie in memory takes the best of a few mappings by its own schedule. One that reads or writes
on chip takes bands of rows, which let the chunks on both sides work at the same time. Links are as large as the
order of jobs asks for and as the block RAM that is left allows; where it does not, tensors go back to memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dna.accelerator.board import Board
from dna.accelerator.chunk import Accelerator, Memories
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile.limits import check_mapping
from dna.compile.lowering import Lowered, lower
from dna.compile.plan import DoesNotEndError, Plan
from dna.cost.packed import packed, schedule_packed
from dna.cost.resources import accelerator_resources
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.bands import TOLERANCE, chip_choices
from dna.search.groups import of_mapping
from dna.search.links import Pair, frame_words, link_needs, link_pairs, sized
from dna.search.outline import outline, plan_of
from dna.search.point import Point
from dna.search.refine import layer_choices
from dna.search.shares import split_shares

CHOICES = 8
"""Mappings of a layer that are scheduled where all its tensors lie in memory."""
SLACK = 0.5
"""Part of the time in which a chunk waits for the slowest one that lower bands may take."""
MOST_SLACK = 1.2
PASSES = 3
"""Passes of a schedule: the last one is taken as steady state."""


@dataclass(frozen=True)
class Realised:
    """A point with everything that follows from it."""

    accelerator: Accelerator
    """Links included."""
    mapping: Mapping
    shares: tuple[int, ...]
    """Cycles per beat of each port, as `Design.shares`."""

    def memories(self, board: Board) -> Memories:
        """The memory behind each port."""
        return tuple(replace(board.memory, beat_interval=share) for share in self.shares)


@dataclass(frozen=True)
class Settled:
    """What the exact schedule says of a realised point."""

    interval: int
    """Cycles of a pass in steady state."""
    frames: int
    """Frames of a pass."""
    latency: int | None
    """Cycles of one frame that has the accelerator for itself, if that was asked for."""
    used: dict[str, int]
    """Resources of all chunks and links."""

    @property
    def cycles(self) -> float:
        """Per frame, in steady state."""
        return self.interval / self.frames

    def frames_per_second(self, board: Board) -> float:
        return board.cycles_per_second / self.cycles

    def excess(self, board: Board) -> dict[str, float]:
        """Resources of which more is used than the board has: use over limit."""
        ratios = {name: count / getattr(board, name) for name, count in self.used.items()}
        return {name: ratio for name, ratio in ratios.items() if ratio > 1}


def realise(
    network: Network, point: Point, board: Board, choices: int = CHOICES, most_dropped: int | None = None
) -> Realised:
    """Mappings, links and shares for the point. Deterministic.

    Tensors for which there is no room on chip go back to memory, at most `most_dropped`. UserError, naming layer,
    tensor or resource, where a layer fits nowhere, layers wait for each other, or the chunks alone exceed the board's
    block RAM.
    """
    lowered = lower(network)
    _check_point(network, lowered, point)
    blocks = board.bram36 - accelerator_resources(Accelerator(point.chunks))["bram36"]
    if blocks < 0:
        raise UserError(f"bram36: the chunks need {-blocks} more than the {board.bram36} of board '{board.name}'")
    on_chip = point.on_chip
    least = 0 if most_dropped is None else len(on_chip) - most_dropped
    while True:
        mapping = replace(point_mapping(lowered, replace(point, on_chip=on_chip), board, choices), on_chip=on_chip)
        plan = plan_of(network, Accelerator(point.chunks), mapping)
        accelerator, on_chip = _linked(plan, mapping, blocks, least)
        if on_chip == mapping.on_chip:
            break
    check_mapping(network, accelerator, mapping)
    return Realised(accelerator, mapping, split_shares(lowered.layers, point, mapping, board))


def settled(
    network: Network, realised: Realised, board: Board, *, passes: int = PASSES, latency: bool = False
) -> Settled:
    """Schedules it on the board's memory. UserError if it does not compile.

    Compiled is an outline: for a search. What a search ends with is compiled in full when its Program is written.
    """
    memories = realised.memories(board)
    program = outline(network, realised.accelerator, realised.mapping)
    alone = one_frame_latency(network, realised, board) if latency else None
    used = accelerator_resources(realised.accelerator)
    return Settled(schedule_packed(packed(program), memories, passes).interval, realised.mapping.frames, alone, used)


def one_frame_latency(network: Network, realised: Realised, board: Board) -> int:
    """Cycles of one frame that has the accelerator for itself, from start to done."""
    mapping = replace(realised.mapping, frames=1, batches=())
    program = outline(network, realised.accelerator, mapping)
    return schedule_packed(packed(program), realised.memories(board), 1).latency


def point_mapping(lowered: Lowered, point: Point, board: Board, choices: int = CHOICES) -> Mapping:
    """Each layer's mapping, by where its tensors lie. UserError, naming the layer, if it has none.

    A chunk that has less to do than the slowest one may take a little longer with lower bands, for which others wait
    less.
    """
    layers = lowered.layers
    found = [layer_mapping(layer, point, index, board, choices) for index, layer in enumerate(layers)]
    spans = spanning(layers, point)
    if spans:
        busy = [0] * len(point.chunks)
        for index, layer in enumerate(layers):
            busy[point.assignment[index]] += closed_form(layer, point, index, found[index], board)
        for index in spans:
            slack = max(busy) / busy[point.assignment[index]]
            tolerance = min(max(TOLERANCE, 1 + (slack - 1) * SLACK), MOST_SLACK)
            found[index] = chip_ranked(layers[index], point, index, board, 1, True, tolerance)[0]
    return Mapping(tuple(found), point.assignment, point.frames, point.batches, point.on_chip)


def spanning(layers: Sequence[Layer], point: Point) -> list[int]:
    """Layers that read on chip what another chunk writes, or write what another one reads, frame by frame."""
    home = {layer.name: chunk for layer, chunk in zip(layers, point.assignment, strict=True)}
    found: set[int] = set()
    number = {layer.name: index for index, layer in enumerate(layers)}
    for index, layer in enumerate(layers):
        if layer.input in point.on_chip and home[layer.input] != point.assignment[index]:
            found |= {index, number[layer.input]}
    return sorted(index for index in found if point.batch(index) == 1)


def closed_form(layer: Layer, point: Point, index: int, mapping: LayerMapping, board: Board) -> int:
    """Cycles of a pass of the layer on its chunk, nothing else going on."""
    home, frames = point.assignment[index], point.batch(index)
    counts = of_mapping(layer, mapping, point.chunks[home], board.memory, frames)
    share, on_chip = point.shares[home], point.on_chip
    cycles = counts.cycles(share, share, layer.input in on_chip, layer.name in on_chip)
    return int(cycles) * (point.frames // frames)


def layer_mapping(layer: Layer, point: Point, index: int, board: Board, choices: int) -> LayerMapping:
    """The layer's mapping on its chunk."""
    home = point.assignment[index]
    chunk, batch = point.chunks[home], point.batch(index)
    if point.on_chip.isdisjoint((layer.name, layer.input)):
        memory = replace(board.memory, beat_interval=point.shares[home])
        ranked = [choice.mapping for choice in layer_choices(layer, chunk, memory, batch, choices)]
    else:
        ranked = chip_ranked(layer, point, index, board, 1)
    if not ranked:
        raise UserError(f"layer '{layer.name}': fits no tile on chunk {home}")
    return ranked[0]


def chip_ranked(
    layer: Layer,
    point: Point,
    index: int,
    board: Board,
    count: int,
    in_order: bool = False,
    tolerance: float = TOLERANCE,
) -> list[LayerMapping]:
    """The best mappings of a layer that reads or writes on chip."""
    home = point.assignment[index]
    memory = replace(board.memory, beat_interval=point.shares[home])
    return chip_choices(
        layer,
        point.chunks[home],
        memory,
        point.batch(index),
        count,
        chip_in=layer.input in point.on_chip,
        chip_out=layer.name in point.on_chip,
        in_order=in_order,
        tolerance=tolerance,
    )


def _check_point(network: Network, lowered: Lowered, point: Point) -> None:
    """UserError unless every layer has a chunk and every tensor on chip can be there."""
    given, needed = len(point.assignment), len(lowered.layers)
    if given != needed:
        raise UserError(f"assignment: {given} entries for {needed} layers of network '{network.name}'")
    unknown = sorted(point.on_chip - {layer.name for layer in lowered.layers})
    if unknown:
        raise UserError(f"on_chip: network '{network.name}' has no layer '{unknown[0]}'")


def _linked(plan: Plan, mapping: Mapping, blocks: int, least: int) -> tuple[Accelerator, frozenset[str]]:
    """The accelerator with links, and the tensors in them: as many as the block RAM has room for. UserError if that is
    less than `least`."""
    on_chip = mapping.on_chip
    while True:
        if len(on_chip) < least:
            raise UserError(f"on_chip: there is room for fewer than {least} tensors")
        if not on_chip:
            plan.check_ends(())
            return plan.accelerator, on_chip
        needs = link_needs(plan, on_chip)
        try:
            return sized(plan, on_chip, needs, blocks), on_chip
        except DoesNotEndError as stuck:
            if stuck.tensor is None:
                raise
            on_chip = on_chip - {stuck.tensor}
        except UserError:
            on_chip = on_chip - {_least_useful(plan, on_chip, needs)}


def _least_useful(plan: Plan, on_chip: frozenset[str], needs: dict[Pair, int]) -> str:
    """The tensor of the largest link without which most words are saved for the traffic that it adds."""
    pair = max(needs, key=lambda pair: (needs[pair], pair))
    traffic = words_by_tensor(plan)

    def worth(name: str) -> tuple[float, float, str]:
        without = link_needs(plan, on_chip - {name}).get(pair, 0)
        size = frame_words(plan, name)
        return (needs[pair] - without) / traffic[name], size / traffic[name], name

    return max(link_pairs(plan, on_chip)[pair], key=worth)


def words_by_tensor(plan: Plan) -> dict[str, int]:
    """By tensor, the words that are stored and loaded in a pass."""
    words = dict.fromkeys(plan.lowered.tensors, 0)
    for traffic in plan.traffic:
        for access in (*traffic.reads, *traffic.writes):
            rows, groups, cols = access.block
            words[access.tensor] += rows.count * groups.count * cols.count
    return words
