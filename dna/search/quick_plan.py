"""A plan for searches: what STOREs wait for is looked up by machine code, and kept for chunks whose links stay.

It says what `dna.compile.plan.Plan` says, which stays the one that Programs are compiled with.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from dna.accelerator.chunk import Accelerator, Link
from dna.accelerator.isa import EVENTS, INDEX_BITS
from dna.accelerator.mapping import Mapping as DesignMapping
from dna.compile.lowering import Lowered
from dna.compile.plan import Plan
from dna.compile.program import Tensor
from dna.compile.units import Access, Traffic, Unit, chunk_traffic, chunk_units
from dna.compile.waits import Hazards, Needs, Wait
from dna.cost.native import library
from dna.network.layer import Layer

_PASS = 1 << INDEX_BITS
KEPT = 32
"""Chunks whose work is remembered."""
_MEMORY = -1
"""Bank of what lies in memory."""
Block = tuple[int, ...]
"""As `banks.c` has it."""


class QuickHazards(Hazards):
    """Hazards whose words are looked up by machine code, where that can be built."""

    def of_writes(self, chunk: int, tensors: Mapping[str, Tensor], accelerator: Accelerator) -> list[Needs]:
        native = library()
        if native is None:
            return super().of_writes(chunk, tensors, accelerator)
        links = [link for link in accelerator.links if link.writer == chunk]
        banks = {link.reader: number for number, link in enumerate(links)}
        blocks, readers = self._blocks(chunk, tensors, banks)
        table, depths = np.array(blocks, np.int64), np.array([link.words for link in links], np.int64)
        until = np.zeros(len(blocks), np.int64)
        failed = native.dna_overwritten(
            *(ctypes.c_int64(len(blocks)), ctypes.c_void_p(table.ctypes.data)),
            *(ctypes.c_int64(len(links)), ctypes.c_void_p(depths.ctypes.data)),
            *(ctypes.c_int64(number) for number in (_PASS, 2 * _PASS, 3 * _PASS - 1)),
            ctypes.c_void_p(until.ctypes.data),
        )
        if failed:
            return super().of_writes(chunk, tensors, accelerator)
        traffic, found = self._traffic[chunk], iter(zip(blocks, until.tolist(), strict=True))
        return [
            _needs(chunk, complete, [(reader, *next(found)) for reader in mine])
            for mine, complete in zip(readers, traffic.reads_before, strict=True)
        ]

    def _blocks(
        self, chunk: int, tensors: Mapping[str, Tensor], banks: Mapping[int, int]
    ) -> tuple[list[Block], list[tuple[int, ...]]]:
        """All blocks in order, and by STORE the readers of its blocks."""
        known: dict[tuple[str, int], tuple[int, int, int, int]] = {}
        blocks: list[Block] = []
        readers: list[tuple[int, ...]] = []
        for access in self._traffic[chunk].writes:
            tensor = tensors[access.tensor]
            on_chip = tensor.region == "CHIP"
            mine = tensor.readers if on_chip else self._other_readers(chunk, access.tensor)
            for reader in mine:
                key = (access.tensor, reader)
                if key not in known:
                    known[key] = self._reads(*key)
                blocks.append(_block(tensor, access, banks[reader] if on_chip else _MEMORY, known[key]))
            readers.append(mine)
        return blocks, readers

    def _other_readers(self, chunk: int, name: str) -> tuple[int, ...]:
        root = self._roots[name][0]
        return tuple(n for n, reads in enumerate(self._last_reads) if n != chunk and root in reads)

    def _reads(self, name: str, reader: int) -> tuple[int, int, int, int]:
        """Where the last LOADs of a tensor's words stand: address, and strides in bytes of frame, row and group."""
        root, first = self._roots[name]
        words = self._last_reads[reader][root]
        frame, row, group, _ = words.strides
        return words.ctypes.data + first * group, frame, row, group


def _block(tensor: Tensor, access: Access, bank: int, reads: tuple[int, int, int, int]) -> Block:
    start, frame, row, group = reads
    rows, groups, cols = access.block
    read = start + access.frame * frame + rows.first * row + groups.first * group + cols.first * 4
    row_words, width = tensor.row_words, tensor.width
    first = tensor.frame_addresses[access.frame] + rows.first * row_words + groups.first * width + cols.first
    return bank, read, row // 4, group // 4, first, row_words, width, rows.count, groups.count, cols.count


def _needs(chunk: int, complete: int, found: list[tuple[int, Block, int]]) -> Needs:
    """What a STORE waits for; not for its own chunk's first `complete` LOADs, nor for those of the pass before."""
    waits = []
    for reader, block, until in found:
        ago = int(block[0] == _MEMORY or until < 2 * _PASS)
        index = until % _PASS
        if until and not (reader == chunk and (ago > 0 or index <= complete)):
            waits.append(Wait(reader, EVENTS["FETCHED"], ago, index))
    return Needs(0, tuple(waits))


Work = tuple[tuple[Unit, ...], Traffic]
_works: dict[object, Work] = {}
"""What chunks do in a pass, by all that it follows from; the latest."""


def _work(layers: Sequence[Layer], mapping: DesignMapping, chunk: int) -> Work:
    """A chunk's units and traffic: the same objects as long as nothing of its own changes."""
    mine = [index for index in range(len(layers)) if mapping.chunk(index) == chunk]
    own = tuple((index, layers[index], mapping.layers[index], mapping.batch(index)) for index in mine)
    key = (own, mapping.frames)
    found = _works.pop(key, None)
    if found is None:
        units = chunk_units(layers, mapping, chunk)
        found = units, chunk_traffic(layers, units)
        if len(_works) >= KEPT:
            del _works[next(iter(_works))]
    _works[key] = found
    return found


class QuickPlan(Plan):
    """A plan that works out again only what is new: units of chunks that change, hazards of links that do."""

    def __init__(self, lowered: Lowered, accelerator: Accelerator, mapping: DesignMapping) -> None:
        self.lowered, self.accelerator, self.mapping, self.frames = lowered, accelerator, mapping, mapping.frames
        self.chunks = {layer.name: mapping.chunk(index) for index, layer in enumerate(lowered.layers)}
        work = [_work(lowered.layers, mapping, chunk) for chunk in range(len(accelerator.chunks))]
        self.units, self.traffic = [units for units, _ in work], [traffic for _, traffic in work]
        self.hazards = QuickHazards(lowered, self.chunks, mapping.frames, self.traffic)
        self._known: dict[int, tuple[object, list[Needs]]] = {}
        """By chunk, the latest `of_writes` and what it is for. Shared by all plans that `on` makes."""

    def of_writes(self, on_chip: Collection[str]) -> list[list[Needs]]:
        tensors = None
        result = []
        for chunk in range(len(self.units)):
            links: tuple[Link, ...] = tuple(link for link in self.accelerator.links if link.writer == chunk)
            key = (frozenset(on_chip), links)
            if chunk not in self._known or self._known[chunk][0] != key:
                tensors = tensors or self.place(on_chip)[0]
                self._known[chunk] = key, self.hazards.of_writes(chunk, tensors, self.accelerator)
            result.append(self._known[chunk][1])
        return result
