"""How large the banks between chunks have to be, and what goes through each port.

A bank is a ring: it needs room for the words that are stored while others are still to be read. From the order of the
jobs alone follows what that is at least (`link_needs`); whether it is enough, `Plan.check_ends` knows, which names the
bank that is too small (`sized`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from dna.accelerator import tile
from dna.accelerator.chunk import LINK_WORDS, PAGE_INSTRUCTIONS, Accelerator, Link
from dna.accelerator.isa import EVENTS, INSTRUCTION_BYTES, WORD_BYTES
from dna.compile import fields
from dna.compile.plan import DoesNotEndError, Plan
from dna.compile.program import Tensor
from dna.compile.units import Access, Unit
from dna.cost.resources import ram_half_blocks
from dna.errors import UserError

Pair = tuple[int, int]
"""Writer and reader of a link."""


def link_pairs(plan: Plan, on_chip: Collection[str]) -> dict[Pair, tuple[str, ...]]:
    """The links that the tensors need, and the tensors in each."""
    found: dict[Pair, list[str]] = {}
    for name in plan.chunks:
        if name in on_chip:
            for reader in plan.readers(name):
                found.setdefault((plan.chunks[name], reader), []).append(name)
    return {pair: tuple(names) for pair, names in found.items()}


def link_needs(plan: Plan, on_chip: Collection[str]) -> dict[Pair, int]:
    """By link, the words that it takes if links hold up no chunk and what is read is read as early as it can be."""
    return {pair: bank.largest for pair, bank in _filled(plan, on_chip).items()}


def in_the_way(plan: Plan, on_chip: Collection[str], pair: Pair) -> list[str]:
    """The tensors that lie in a link when it takes most words: without any other, it takes as many."""
    first, end = _filled(plan, on_chip)[pair].peak
    tensors, _ = plan.place(on_chip)
    starts = {name: tensors[name].frame_addresses for name in link_pairs(plan, on_chip)[pair]}
    return [
        name
        for name, frames in starts.items()
        if any(first < start + frame_words(plan, name) and start < end for start in frames)
    ]


def _filled(plan: Plan, on_chip: Collection[str]) -> dict[Pair, _Unread]:
    """Links after a pass without limits."""
    pairs = link_pairs(plan, on_chip)
    tensors, _ = plan.place(on_chip)
    unread = {pair: _Unread(plan, tensors, *pair, set(names)) for pair, names in pairs.items()}
    of_chunk = [[bank for pair, bank in unread.items() if pair[0] == chunk] for chunk in range(len(plan.units))]
    fetched = [0] * len(plan.units)
    for chunk, access in _readers_first(plan):
        if access is None:
            fetched[chunk] += 1
        else:
            for bank in of_chunk[chunk]:
                bank.store(access, fetched)
    return unread


def _readers_first(plan: Plan) -> Iterator[tuple[int, Access | None]]:
    """A pass without limits of links, in an order that leaves little unread: chunk, and what it stores or None for a
    LOAD. LOADs go first, then the oldest frame, then the last layer."""
    jobs = [_jobs(plan, chunk) for chunk in range(len(plan.units))]
    at, stored = [0] * len(jobs), [0] * len(jobs)
    while True:
        best: tuple[int, int, int, int] | None = None
        for chunk, mine in enumerate(jobs):
            if at[chunk] < len(mine):
                access, waits, key = mine[at[chunk]]
                if all(stored[peer] >= index for peer, index in waits):
                    best = min(best or (9, 0, 0, 0), (int(access is not None), *key, chunk))
                    if access is None:
                        break
        if best is None:
            return
        chunk = best[-1]
        access = jobs[chunk][at[chunk]][0]
        at[chunk] += 1
        stored[chunk] += access is not None
        yield chunk, access


def _jobs(plan: Plan, chunk: int) -> list[tuple[Access | None, tuple[tuple[int, int], ...], tuple[int, int]]]:
    """A chunk's LOADs and STOREs in order: what is stored, the STOREs waited for as (chunk, index), (frame, -layer)."""
    jobs: list[tuple[Access | None, tuple[tuple[int, int], ...], tuple[int, int]]] = []
    reads, writes = iter(plan.of_reads[chunk]), iter(plan.traffic[chunk].writes)
    committed = EVENTS["COMMITTED"]
    for unit in plan.units[chunk]:
        key = (unit.frame, -unit.layer)
        residual = plan.lowered.layers[unit.layer].residual is not None
        for _ in range(unit.new_input + (unit.step.last and residual)):
            waits = next(reads).waits
            jobs.append((None, tuple((w.peer, w.index) for w in waits if w.event == committed), key))
        if unit.step.last:
            jobs.append((next(writes), (), key))
    return jobs


def sized(plan: Plan, on_chip: Collection[str], needs: Mapping[Pair, int], blocks: int) -> Accelerator:
    """The plan's accelerator with links for the tensors: `needs` rounded up, doubled where the plan gets stuck, and
    roomier where block RAM is left. UserError if a tensor finds no room within the links' largest size or `blocks`
    BRAM36."""
    links = {pair: rounded(words) for pair, words in needs.items()}
    while True:
        built = tuple(Link(*pair, words) for pair, words in sorted(links.items()))
        if link_blocks(built) > blocks:
            raise UserError(f"links: {link_blocks(built)} block RAMs are needed, {blocks} are left")
        accelerator = roomy(plan, replace(plan.accelerator, links=built), on_chip, needs, blocks)
        try:
            plan.on(accelerator).check_ends(on_chip)
        except DoesNotEndError as stuck:
            links |= {(link.writer, link.reader): link.words for link in accelerator.links}
            full = [pair for pair in stuck.links if links[pair] < LINK_WORDS[1]]
            if not full:
                raise
            links[min(full, key=lambda pair: (links[pair], pair))] *= 2
        else:
            return accelerator


def roomy(
    plan: Plan, accelerator: Accelerator, on_chip: Collection[str], needs: Mapping[Pair, int], blocks: int
) -> Accelerator:
    """Links between different chunks made larger while block RAM is left, the small ones first: to twice what is
    needed, so that bands are written while others are read; then to whole tensors, so that chunks which work on
    different frames wait for each other only between frames."""
    held = link_pairs(plan, on_chip)
    links = {(link.writer, link.reader): link for link in accelerator.links}
    frames = {layer.name: plan.mapping.batch(index) for index, layer in enumerate(plan.lowered.layers)}
    doubled = {pair: 2 * needs[pair] for pair in held}
    whole = {pair: max(frames[name] * frame_words(plan, name) for name in held[pair]) for pair in held}
    for wanted in (doubled, whole):
        for pair in sorted(held, key=lambda pair: (wanted[pair], pair)):
            if pair[0] == pair[1] or wanted[pair] > LINK_WORDS[1]:
                continue
            larger = replace(links[pair], words=max(links[pair].words, rounded(wanted[pair])))
            if link_blocks((links | {pair: larger}).values()) <= blocks:
                links[pair] = larger
    return replace(accelerator, links=tuple(links[pair] for pair in sorted(links)))


def frame_words(plan: Plan, tensor: str) -> int:
    """Words of one frame of a tensor."""
    shape = plan.lowered.shape(tensor)
    return shape.height * shape.width * int(tile.channel_words(shape.channels))


def rounded(words: int) -> int:
    """The smallest link that holds so many words. UserError if none does."""
    low, high = LINK_WORDS
    if words > high:
        raise UserError(f"link: {words} words are needed; the largest has {high}")
    return max(low, 1 << (words - 1).bit_length())


def link_blocks(links: Collection[Link]) -> int:
    """BRAM36 of the links."""
    return sum(-(-int(ram_half_blocks(link.words)) // 2) for link in links)


class _Unread:
    """A link without limits: how far apart the newest word and the oldest one still to be read come to lie."""

    def __init__(self, plan: Plan, tensors: Mapping[str, Tensor], writer: int, reader: int, names: set[str]) -> None:
        self._tensors, self._reader, self._names = tensors, reader, names
        loads = [(n, access) for n, access in enumerate(plan.traffic[reader].reads) if access.tensor in names]
        self._before = [n for n, _ in loads]
        firsts = [_span(tensors[access.tensor], access)[0] for _, access in loads]
        self._oldest = list(accumulate(reversed(firsts), min))[::-1]
        self.peak = 0, 1
        """First word and the one behind the last when it takes most."""

    @property
    def largest(self) -> int:
        return self.peak[1] - self.peak[0]

    def store(self, access: Access, fetched: Sequence[int]) -> None:
        """`fetched`: LOADs that each chunk has done."""
        if access.tensor in self._names:
            first, end = _span(self._tensors[access.tensor], access)
            done = bisect_left(self._before, fetched[self._reader])
            if done < len(self._oldest):
                first = min(first, self._oldest[done])
            if end - first > self.largest:
                self.peak = first, end


def _span(tensor: Tensor, access: Access) -> tuple[int, int]:
    """First word of a block of a tensor in links, and the one behind its last."""
    rows, groups, cols = access.block
    start = tensor.frame_addresses[access.frame]
    first = start + rows.first * tensor.row_words + groups.first * tensor.width + cols.first
    last = start + (rows.end - 1) * tensor.row_words + (groups.end - 1) * tensor.width + cols.end - 1
    return first, last + 1


@dataclass(frozen=True)
class PortWords:
    """Words of 16 bytes that pass one port in a pass, in each direction."""

    reads: int
    writes: int

    @property
    def busiest(self) -> int:
        return max(self.reads, self.writes)


def port_words(plan: Plan, on_chip: Collection[str]) -> list[PortWords]:
    """By port of the accelerator: what it moves to and from memory in a pass, program pages included."""
    found: list[PortWords] = []
    for index, chunk in enumerate(plan.accelerator.chunks):
        traffic = plan.traffic[index]
        reads = sum(_words(a) for a in traffic.reads if a.tensor not in on_chip)
        writes = sum(_words(a) for a in traffic.writes if a.tensor not in on_chip)
        weights = _weight_words(plan, index) + _page_words(plan, index)
        if chunk.ports == 1:
            found.append(PortWords(reads + weights, writes))
        else:
            found += [PortWords(reads, writes), PortWords(weights, 0)]
    return found


def _words(access: Access) -> int:
    rows, groups, cols = access.block
    return rows.count * groups.count * cols.count


def _weight_words(plan: Plan, index: int) -> int:
    """Weights and parameters that a chunk loads in a pass."""
    chunk, layers = plan.accelerator.chunks[index], plan.lowered.layers
    parts: dict[object, Unit] = {}
    for unit in plan.units[index]:
        channels = unit.step.channels if unit.step.resident else None
        parts.setdefault((unit.weight_tile, channels), unit)
    total = 0
    for unit in parts.values():
        layer, step = layers[unit.layer], unit.step
        total += fields.weight_words(layer, chunk, step) * chunk.weight_word_bytes // WORD_BYTES
        if step.needs_params:
            count = int(tile.param_buffer_words(step.channels.count, chunk.post_lanes))
            total += count * chunk.post_lanes // 2
    return total


def _page_words(plan: Plan, index: int) -> int:
    """Words of the program's pages, about: WAITs depend on what other chunks do."""
    units, traffic = plan.units[index], plan.traffic[index]
    weights = 2 * len({unit.weight_tile for unit in units})
    jobs = len(units) + len(traffic.reads) + len(traffic.writes) + weights
    if len(plan.units) > 1:
        jobs += len(traffic.reads) + len(traffic.writes)
    return -(-jobs // PAGE_INSTRUCTIONS) * PAGE_INSTRUCTIONS * INSTRUCTION_BYTES // WORD_BYTES
