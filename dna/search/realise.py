"""From a `Point` to something that compiles: tiles, resident weights, sizes of links, a share for every port.

Links are as large as the order of jobs asks for and as the block RAM that is left allows; where it does not, tensors go
back to memory. (Mappings: `dna.search.point_mappings`.)
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace

from dna.accelerator.board import Board
from dna.accelerator.chunk import Accelerator, Memories
from dna.accelerator.mapping import Mapping
from dna.compile.limits import check_mapping
from dna.compile.lowering import Lowered, lower
from dna.compile.plan import DoesNotEndError, Plan
from dna.cost.packed import packed, schedule_packed
from dna.cost.resources import accelerator_resources
from dna.errors import UserError
from dna.network.network import Network
from dna.search.links import Pair, frame_words, in_the_way, link_needs, sized
from dna.search.outline import outline, plan_of
from dna.search.point import Point
from dna.search.point_mappings import CHOICES, Mapper, Ports
from dna.search.shares import split_shares

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
    rows_priced: bool = field(default=False, compare=False)
    """How its bands were chosen (`Mapper`)."""

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
    network: Network,
    point: Point,
    board: Board,
    choices: int = CHOICES,
    most_dropped: int | None = None,
    ports: Ports | None = None,
    rows_priced: bool = False,
) -> Realised:
    """Mappings, links and shares for the point. Deterministic.

    Tensors for which there is no room on chip go back to memory, at most `most_dropped`. `ports`: what mappings are
    chosen for; None: the point's shares. `rows_priced`: as of `Mapper`. UserError, naming layer, tensor or resource,
    where a layer fits nowhere, layers wait for each other, or the chunks alone exceed the board's block RAM.
    """
    lowered = lower(network)
    _check_point(network, lowered, point)
    blocks = board.bram36 - accelerator_resources(Accelerator(point.chunks))["bram36"]
    if blocks < 0:
        raise UserError(f"bram36: the chunks need {-blocks} more than the {board.bram36} of board '{board.name}'")
    wanted = Mapper(lowered.layers, point, board, choices, ports, rows_priced)
    accelerator, mapping = _placed(network, wanted, blocks, most_dropped)
    check_mapping(network, accelerator, mapping)
    return Realised(accelerator, mapping, split_shares(lowered.layers, point, mapping, board), rows_priced)


def _placed(network: Network, wanted: Mapper, blocks: int, most_dropped: int | None) -> tuple[Accelerator, Mapping]:
    """The accelerator with links, and the mapping. The fastest mappings where all tensors have room with them, else
    those that take least, and as many tensors as have room then."""
    accelerator = Accelerator(wanted.point.chunks)
    most, free = len(wanted.point.on_chip), wanted.mapping(ordered=False)
    mapping = wanted.mapping(ordered=True)
    if free != mapping:
        with suppress(UserError):
            return _linked(plan_of(network, accelerator, free), free, blocks, most)[0], free
    least = 0 if most_dropped is None else most - most_dropped
    while True:
        linked, on_chip = _linked(plan_of(network, accelerator, mapping), mapping, blocks, least)
        if on_chip == mapping.on_chip:
            return linked, mapping
        mapping = replace(wanted, point=replace(wanted.point, on_chip=on_chip)).mapping(ordered=True)


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
        if not on_chip:
            plan.check_ends(())
            return plan.accelerator, on_chip
        needs = link_needs(plan, on_chip)
        try:
            return sized(plan, on_chip, needs, blocks), on_chip
        except DoesNotEndError as stuck:
            if stuck.tensor is None:
                raise
            too_much = stuck.tensor
        except UserError:
            too_much = None
        if len(on_chip) == least:
            raise UserError(f"on_chip: there is room for fewer than {least} tensors")
        on_chip = on_chip - {too_much or _least_useful(plan, on_chip, needs)}


def _least_useful(plan: Plan, on_chip: frozenset[str], needs: dict[Pair, int]) -> str:
    """The tensor in the largest link without which most words are saved for the traffic that it adds."""
    pair = max(needs, key=lambda pair: (needs[pair], pair))
    traffic = words_by_tensor(plan)

    def worth(name: str) -> tuple[float, float, str]:
        without = link_needs(plan, on_chip - {name}).get(pair, 0)
        size = frame_words(plan, name)
        return (needs[pair] - without) / traffic[name], size / traffic[name], name

    return max(in_the_way(plan, on_chip, pair), key=worth)


def words_by_tensor(plan: Plan) -> dict[str, int]:
    """By tensor, the words that are stored and loaded in a pass."""
    words = dict.fromkeys(plan.lowered.tensors, 0)
    for traffic in plan.traffic:
        for access in (*traffic.reads, *traffic.writes):
            rows, groups, cols = access.block
            words[access.tensor] += rows.count * groups.count * cols.count
    return words
