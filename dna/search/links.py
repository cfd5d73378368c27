"""How large the banks between chunks have to be, and what goes through each port.

A bank is a ring: it needs room for the words that are stored while others are still to be read. From the order of the
jobs alone follows what that is at least (`link_needs`); whether it is enough, `Plan.check_ends` knows, which names the
bank that is too small (`sized`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate

from dna.accelerator import tile
from dna.accelerator.chunk import LINK_WORDS, PAGE_INSTRUCTIONS, Accelerator, Link
from dna.accelerator.isa import EVENTS, INSTRUCTION_BYTES, WORD_BYTES
from dna.accelerator.mapping import Mapping as DesignMapping
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
    """By link, the words that it takes if its reader reads as early as it can, and no other chunk holds it up."""
    tensors, _ = plan.place(on_chip)
    return {pair: _need(plan, tensors, *pair, set(names)) for pair, names in link_pairs(plan, on_chip).items()}


def sized(plan: Plan, mapping: DesignMapping, needs: Mapping[Pair, int], blocks: int) -> Accelerator:
    """The plan's accelerator with links for the mapping's tensors: `needs` rounded up, doubled where the plan gets
    stuck. UserError if a tensor finds no room within the links' largest size or within `blocks` BRAM36."""
    links = {pair: rounded(words) for pair, words in needs.items()}
    while True:
        built = tuple(Link(*pair, words) for pair, words in sorted(links.items()))
        if link_blocks(built) > blocks:
            raise UserError(f"links: {link_blocks(built)} block RAMs are needed, {blocks} are left")
        accelerator = replace(plan.accelerator, links=built)
        try:
            plan.on(accelerator).check_ends(mapping.on_chip)
        except DoesNotEndError as stuck:
            if stuck.link is None or links[stuck.link] >= LINK_WORDS[1]:
                raise
            links[stuck.link] *= 2
        else:
            return accelerator


def rounded(words: int) -> int:
    """The smallest link that holds so many words. UserError if none does."""
    low, high = LINK_WORDS
    if words > high:
        raise UserError(f"link: {words} words are needed; the largest has {high}")
    return max(low, 1 << (words - 1).bit_length())


def link_blocks(links: Collection[Link]) -> int:
    """BRAM36 of the links."""
    return sum(-(-int(ram_half_blocks(link.words)) // 2) for link in links)


def _need(plan: Plan, tensors: Mapping[str, Tensor], writer: int, reader: int, names: set[str]) -> int:
    """Largest distance between a word that is stored and the oldest one that is still to be read then."""
    loads = [(n, a) for n, a in enumerate(plan.traffic[reader].reads) if a.tensor in names]
    stores = [(n, a) for n, a in enumerate(plan.traffic[writer].writes, 1) if a.tensor in names]
    spans = [_span(tensors[access.tensor], access) for _, access in loads]
    oldest = list(accumulate((first for first, _ in reversed(spans)), min))[::-1]
    # Load i can run before store j is done if neither it nor one before it reads what store j or a later one writes.
    needed = list(accumulate((_written_by(plan, reader, n, writer) for n, _ in loads), max))
    before = [n for n, _ in loads]
    largest = 0
    for n, access in stores:
        first, end = _span(tensors[access.tensor], access)
        done = bisect_left(needed, n)
        if writer == reader:
            done = min(done, bisect_left(before, plan.traffic[writer].reads_before[n - 1]))
        largest = max(largest, end - min(first, oldest[done] if done < len(oldest) else first))
    return largest


def _written_by(plan: Plan, reader: int, load: int, writer: int) -> int:
    """The last STORE of the writer that the reader's LOAD waits for, in this pass."""
    needs = plan.of_reads[reader][load]
    if writer == reader:
        return needs.commits
    committed = EVENTS["COMMITTED"]
    return max((w.index for w in needs.waits if (w.peer, w.event) == (writer, committed)), default=0)


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
