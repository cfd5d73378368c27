"""Changes of a realised point that may make it better, kind by kind, the most promising ones first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import zip_longest

from dna.accelerator.board import Board
from dna.accelerator.chunk import LINK_WORDS, MAX_BUFFER_WORDS, Chunk
from dna.accelerator.mapping import LayerMapping
from dna.compile.lowering import lower
from dna.cost.resources import accelerator_resources
from dna.cost.schedule import Causes, Schedule
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.links import link_blocks, port_words
from dna.search.mapping_space import shape_of
from dna.search.outline import plan_of
from dna.search.point import Point
from dna.search.point_mappings import Mapper, Ports
from dna.search.realise import Realised, realise
from dna.search.shares import INTERVALS, balanced_shares, bandwidth, demands, port_widths

ALTERNATIVES = 3
"""Mappings of a layer that are tried."""
BANDED = 1.1
"""Cycles over those of the best mapping with which mappings in bands count as equal."""
QUICK = 3
"""Mappings of a layer that are scheduled on its own before it is tried in the network, which judges better."""
GROUPS = 8
"""Groups of equal layers whose mappings are tried, those that wait longest."""
SLOWEST = INTERVALS[-1]
"""Cycles per beat of a port that moves nothing."""
PARAM_WORDS = 512
"""Depth of parameter buffers once they are in block RAM."""
DROPPED = 2
"""Tensors that a change may send back to memory. Each takes a second to find, and one that sends more rarely pays."""
FRAMES = (1, 2, 4, 8)
MOST_FRAMES = 16
"""Of a pass with two groups of frames: each weight is then still read for eight frames, as with one group."""


@dataclass(frozen=True)
class Change:
    """One thing done differently. UserError from `make` where it cannot be."""

    name: str
    point: Point
    make: Callable[[], Realised]


@dataclass(frozen=True)
class Situation:
    """The point that changes are made to, and its schedule. A method is a phase: it yields changes of one kind."""

    network: Network
    board: Board
    point: Point
    realised: Realised
    times: Schedule

    @property
    def layers(self) -> tuple[Layer, ...]:
        return lower(self.network).layers

    def with_shares(self, name: str, shares: tuple[int, ...]) -> Change:
        return Change(name, self.point, partial(replace, self.realised, shares=shares))

    def at(self, name: str, point: Point, other_bands: bool = False) -> Change:
        """Another point, with mappings for the ports as they are; they are shared out anew among all chunks.
        `other_bands`: bands are chosen the other way."""
        priced = self.realised.rows_priced != other_bands
        return Change(name, point, partial(rebalanced, self.network, point, self.board, QUICK, self.ports, priced))

    @property
    def ports(self) -> Ports:
        """Cycles per beat of the chunks' ports."""
        accelerator, shares = self.realised.accelerator, self.realised.shares
        first = [accelerator.first_port(index) for index in range(len(accelerator.chunks))]
        return tuple(
            (shares[n], shares[n + chunk.ports - 1]) for n, chunk in zip(first, accelerator.chunks, strict=True)
        )

    def remaps(self) -> Iterator[Change]:
        """The best mappings for the ports as they are; where chunks hand over on chip, bands of both kinds."""
        yield self.at("mappings for these ports", self.point)
        if self._hands_over:
            yield self.at("mappings with other bands", self.point, other_bands=True)

    @property
    def _hands_over(self) -> bool:
        return any(link.writer != link.reader for link in self.realised.accelerator.links)

    def balance(self) -> Iterator[Change]:
        """All bandwidth where the closed form has the slowest chunk fastest."""
        wanted = demands(self.layers, self.point.chunks, self.realised.mapping, self.board)
        shares = balanced_shares(wanted, self.board.carried)
        if shares is not None:
            yield self.with_shares("shares balanced", shares)

    def divisions(self) -> Iterator[Change]:
        """All bandwidth, divided anew."""
        yield from self.balance()
        accelerator = self.realised.accelerator
        widths = port_widths(accelerator)
        plan = plan_of(self.network, accelerator, self.realised.mapping)
        words = port_words(plan, self.realised.mapping.on_chip)
        used = [max(port.reads, port.writes) > 0 for port in words]
        rest = self.board.carried - sum(Fraction(w, SLOWEST) for w, on in zip(widths, used, strict=True) if not on)
        total = sum(width for width, on in zip(widths, used, strict=True) if on)
        equal = max(1, math.ceil(total / rest))
        yield self.with_shares("shares equal", tuple(equal if on else SLOWEST for on in used))

    def exchanges(self) -> Iterator[Change]:
        """A port of a chunk that waits gets the next shorter interval; others give, one of them or none."""
        widths, shares = port_widths(self.realised.accelerator), self.realised.shares
        for port in self._waiting_ports():
            shorter = max(
                (s for s in range(1, shares[port]) if s <= 0.85 * shares[port] or s == shares[port] - 1), default=0
            )
            if not shorter:
                continue
            faster = tuple(shorter if index == port else share for index, share in enumerate(shares))
            if bandwidth(faster, widths) <= self.board.carried:
                yield self.with_shares(f"port {port} faster", faster)
                continue
            for giver in reversed(self._waiting_ports()):
                given = _slower(faster, widths, giver, self.board.carried) if giver != port else None
                if given is not None:
                    yield self.with_shares(f"port {port} faster, {giver} slower", given)

    def _waiting_ports(self) -> list[int]:
        """Ports by how long the arrays of their chunks wait for what they carry, longest first."""
        waits: list[tuple[int, int]] = []
        for index, chunk in enumerate(self.realised.accelerator.chunks):
            causes = self.times.chunks[index].causes
            first = self.realised.accelerator.first_port(index)
            inputs = causes.wait_input + causes.wait_residual + causes.wait_output
            if chunk.ports == 1:
                waits.append((inputs + causes.wait_weight, first))
            else:
                waits += [(inputs, first), (causes.wait_weight, first + 1)]
        return [port for _, port in sorted(waits, key=lambda entry: (-entry[0], entry[1]))]

    def links(self) -> Iterator[Change]:
        """A link twice as large, if block RAM is left."""
        accelerator = self.realised.accelerator
        left = self._blocks_left()
        for link in sorted(accelerator.links, key=lambda link: (link.words, link.writer == link.reader)):
            if 2 * link.words > LINK_WORDS[1]:
                continue
            larger = replace(link, words=2 * link.words)
            if link_blocks([larger]) - link_blocks([link]) <= left:
                others = tuple(larger if other == link else other for other in accelerator.links)
                grown = replace(self.realised, accelerator=replace(accelerator, links=others))
                yield Change(f"link {link.writer} to {link.reader} larger", self.point, partial(_same, grown))

    def _blocks_left(self) -> int:
        return self.board.bram36 - accelerator_resources(self.realised.accelerator)["bram36"]

    def boundaries(self) -> Iterator[Change]:
        """A layer from the busiest chunk to the one before or behind it, where they meet."""
        assignment = self.point.assignment
        busiest = self._busiest()
        for index in range(1, len(assignment)):
            before, behind = assignment[index - 1], assignment[index]
            if before != behind and busiest in (before, behind):
                moved = list(assignment)
                at, to = (index - 1, behind) if before == busiest else (index, before)
                moved[at] = to
                if set(moved) == set(assignment) and self._can_run(at, to):
                    name = f"layer {self.layers[at].name} on chunk {to}"
                    yield self.at(name, replace(self.point, assignment=tuple(moved)))

    def _can_run(self, layer: int, chunk: int) -> bool:
        return self.layers[layer].residual is None or self.point.chunks[chunk].residual

    def _busiest(self) -> int:
        """The chunk whose array has least to wait for."""
        done = [chunk.causes.busy + chunk.causes.wait_output for chunk in self.times.chunks]
        return done.index(max(done))

    def mappings(self) -> Iterator[Change]:
        """Other mappings of layers that wait, equal layers together."""
        layers, mapping = self.layers, self.realised.mapping
        groups: dict[object, list[int]] = {}
        for index, layer in enumerate(layers):
            chip = layer.input in mapping.on_chip, layer.name in mapping.on_chip
            key = (shape_of(layer), mapping.chunk(index), mapping.batch(index), mapping.layers[index], chip)
            groups.setdefault(key, []).append(index)
        waits = [_waiting(self.times.layers[index].causes) for index in range(len(layers))]
        order = sorted(groups.values(), key=lambda group: (-sum(waits[index] for index in group), group))
        for group in order[:GROUPS]:
            for number, other in enumerate(self._alternatives(group[0])):
                changed = list(mapping.layers)
                for index in group:
                    changed[index] = other
                new = replace(self.realised, mapping=replace(mapping, layers=tuple(changed)))
                yield Change(f"layer {layers[group[0]].name} in tiles {number}", self.point, partial(_same, new))

    def _alternatives(self, index: int) -> list[LayerMapping]:
        layer, point = self.layers[index], replace(self.point, on_chip=self.realised.mapping.on_chip)
        mapper = Mapper(self.layers, point, self.board, 2 * QUICK, self.ports)
        ranked = mapper.ranked(index, 2 * QUICK)
        if not point.on_chip.isdisjoint((layer.name, layer.input)):
            banded = mapper.on_chip(index, ALTERNATIVES, True, BANDED)
            ranked = [mapping for pair in zip_longest(ranked, banded) for mapping in pair if mapping is not None]
        now = self.realised.mapping.layers[index]
        return [mapping for mapping in dict.fromkeys(ranked) if mapping != now][:ALTERNATIVES]

    def fills(self) -> Iterator[Change]:
        """Block RAM that is left goes into many buffers at once: all that are wanted, of all chunks or of one, then the
        half of them that is wanted most."""
        wanted = self._wanted_buffers()
        parts = {"all": wanted}
        for chunk in dict.fromkeys(chunk for chunk, _ in wanted):
            parts[f"chunk {chunk}"] = [entry for entry in wanted if entry[0] == chunk]
        parts["half"] = wanted[: len(wanted) // 2]
        seen = {self.point.chunks}
        for name, part in parts.items():
            chunks = self._filled(part)
            if chunks not in seen:
                seen.add(chunks)
                yield self.at(f"deeper buffers: {name}", replace(self.point, chunks=chunks))

    def _filled(self, wanted: Sequence[tuple[int, str]]) -> tuple[Chunk, ...]:
        """The chunks with buffers of twice the depth, one after the other, those for which there is room."""
        chunks, room = self.point.chunks, self.board.bram36
        for number, name in wanted:
            deeper = _deeper(chunks[number], name)
            if deeper is not None:
                grown = tuple(deeper if index == number else chunk for index, chunk in enumerate(chunks))
                used = accelerator_resources(replace(self.realised.accelerator, chunks=grown))["bram36"]
                chunks = grown if used <= room else chunks
        return chunks

    def buffers(self) -> Iterator[Change]:
        """Block RAM that is left goes into a buffer of the busiest chunk, or of the one that waits longest for it."""
        left = self._blocks_left()
        for chunk, name in self._wanted_buffers():
            deeper = _deeper(self.point.chunks[chunk], name)
            if deeper is None:
                continue
            chunks = tuple(deeper if index == chunk else other for index, other in enumerate(self.point.chunks))
            grown = accelerator_resources(replace(self.realised.accelerator, chunks=chunks))["bram36"]
            if grown - accelerator_resources(self.realised.accelerator)["bram36"] <= left:
                yield self.at(f"chunk {chunk} with deeper {name}", replace(self.point, chunks=chunks))

    def _wanted_buffers(self) -> list[tuple[int, str]]:
        wanted: list[tuple[int, int, str]] = []
        for index, chunk in enumerate(self.times.chunks):
            causes = chunk.causes
            wanted.append((causes.wait_input, index, "input_words"))
            wanted.append((causes.wait_weight, index, "weight_words"))
            wanted.append((causes.wait_weight, index, "param_words"))
            wanted.append((causes.wait_output + causes.wait_residual, index, "output_words"))
        return [(index, name) for _, index, name in sorted(wanted, key=lambda entry: (-entry[0], entry[1], entry[2]))]

    def alternates(self) -> Iterator[Change]:
        """Two groups of frames per pass, of which one is written in memory while the other is read: twice the frames,
        or half of them per weight load."""
        point = self.point
        if len(point.chunks) > 1:
            batches = point.batches or (point.frames,) * len(point.assignment)
            if 2 * point.frames <= MOST_FRAMES:
                yield self.at("groups that alternate", replace(point, frames=2 * point.frames, batches=batches))
            if point.frames > 1 and point.frames in batches:
                halves = tuple(min(batch, point.frames // 2) for batch in batches)
                yield self.at("halves that alternate", replace(point, batches=halves))

    def batches(self) -> Iterator[Change]:
        """More or fewer frames per weight load, for all layers."""
        point = self.point
        for frames in FRAMES:
            if not point.batches and frames != point.frames:
                yield self.at(f"{frames} frames per pass", replace(point, frames=frames))
        if point.batches:
            frames = point.frames // 2
            if frames:
                batches = tuple(min(frames, batch) for batch in point.batches)
                yield self.at(f"{frames} frames per pass", replace(point, frames=frames, batches=batches))


Phase = Callable[[Situation], Iterator[Change]]
SHARING: tuple[Phase, ...] = (Situation.balance, Situation.divisions, Situation.exchanges)
"""Phases that change nothing but shares of the bandwidth."""
PHASES: tuple[Phase, ...] = (
    Situation.balance,
    Situation.remaps,
    Situation.exchanges,
    Situation.alternates,
    Situation.fills,
    Situation.buffers,
    Situation.links,
    Situation.mappings,
    Situation.boundaries,
    Situation.batches,
)


def rebalanced(
    network: Network,
    point: Point,
    board: Board,
    choices: int = QUICK,
    ports: Ports | None = None,
    rows_priced: bool = False,
) -> Realised:
    """The point realised, the board's bandwidth shared out among all its ports. `ports`, `rows_priced`: as of
    `realise`."""
    found = realise(network, point, board, choices, DROPPED, ports, rows_priced)
    wanted = demands(lower(network).layers, point.chunks, found.mapping, board)
    shares = balanced_shares(wanted, board.carried)
    return found if shares is None else replace(found, shares=shares)


def _same(realised: Realised) -> Realised:
    return realised


def _waiting(causes: Causes) -> int:
    return causes.total - causes.busy


def _slower(shares: Sequence[int], widths: Sequence[int], port: int, carried: Fraction) -> tuple[int, ...] | None:
    """The port with the shortest interval that leaves enough for the others, at most four times its own."""
    rest = bandwidth(shares, widths) - Fraction(widths[port], shares[port])
    left = carried - rest
    if left <= 0:
        return None
    interval = -(-widths[port] * left.denominator // left.numerator)
    if not shares[port] < interval <= 4 * shares[port]:
        return None
    return tuple(interval if index == port else share for index, share in enumerate(shares))


def _deeper(chunk: Chunk, name: str) -> Chunk | None:
    depth = max(2 * getattr(chunk, name), PARAM_WORDS if name == "param_words" else 0)
    return replace(chunk, **{name: depth}) if depth <= MAX_BUFFER_WORDS else None
