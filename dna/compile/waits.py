"""What each LOAD and STORE has to wait for: who wrote the words it reads, who still reads the words it overwrites.

Both are looked up word by word, in arrays [frames][rows][groups][columns] per tensor with a place of its own (parts of
a concat are in those of the concat). Reading after writing within a chunk is counted by rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dna.accelerator import tile
from dna.accelerator.chunk import Accelerator
from dna.accelerator.isa import EVENTS, INDEX_BITS
from dna.compile.lowering import Lowered
from dna.compile.program import Tensor
from dna.compile.units import Access, Traffic

Array = NDArray[np.int32]
_PASS = 1 << INDEX_BITS
_PASS_BEFORE, _SAME_PASS = _PASS, 2 * _PASS
"""What is added to an index in a bank's notes; 0 stands for nothing."""
_NEVER = _SAME_PASS + _PASS - 1
"""Of a STORE that overwrites words of its own: no pass has so many LOADs, so it is found that this never comes."""


@dataclass(frozen=True)
class Wait:
    """Until a chunk's counter has reached an index of the pass `ago` passes before."""

    peer: int
    event: int
    ago: int
    index: int

    def implies(self, other: Wait) -> bool:
        """Whether the other needs no waiting after this one."""
        same = (self.peer, self.event) == (other.peer, other.event)
        return same and (-self.ago, self.index) >= (-other.ago, other.index)


class Needs(NamedTuple):
    """What one job waits for. `commits` is the index of its own chunk's STOREs, for a LOAD."""

    commits: int = 0
    waits: tuple[Wait, ...] = ()


class Hazards:
    """Reads and writes of all chunks in one pass, and what follows from them."""

    def __init__(self, lowered: Lowered, chunks: Mapping[str, int], frames: int, traffic: Sequence[Traffic]) -> None:
        """`chunks`: by tensor that a layer writes, its chunk; `traffic`: by chunk."""
        self._lowered = lowered
        self._chunks = chunks
        self._frames = frames
        self._traffic = traffic
        self._roots = {name: self._root(name) for name in lowered.tensors}
        self._owners = self._group_owners()

    def _root(self, name: str) -> tuple[str, int]:
        """The tensor in whose place it lies, and its first channel group there."""
        group = 0
        while name in self._lowered.places:
            name, first = self._lowered.places[name]
            group += first
        return name, group

    def _group_owners(self) -> dict[str, Array]:
        """By tensor with a place of its own: the chunk that writes each channel group, -1 for none."""
        owners: dict[str, Array] = {}
        for name, (root, _) in self._roots.items():
            if name == root:
                owners[name] = np.full(tile.channel_words(self._lowered.shape(name).channels), -1, np.int32)
        for name, chunk in self._chunks.items():
            root, first = self._roots[name]
            groups = tile.channel_words(self._lowered.shape(name).channels)
            owners[root][first : first + groups] = chunk
        return owners

    def _words(self, name: str) -> Array:
        """A number for every word of a tensor with a place of its own."""
        shape = self._lowered.shape(name)
        return np.zeros((self._frames, shape.height, tile.channel_words(shape.channels), shape.width), np.int32)

    def _view(self, words: Mapping[str, Array], access: Access) -> Array:
        root, first = self._roots[access.tensor]
        rows, groups, cols = access.block
        first += groups.first
        return words[root][access.frame, rows.first : rows.end, first : first + groups.count, cols.first : cols.end]

    @cached_property
    def _written(self) -> dict[str, Array]:
        """By place: the index of the STORE that writes each word, counted in its own chunk."""
        result = {root: self._words(root) for root in {root for root, _ in self._roots.values()} - {"input"}}
        for traffic in self._traffic:
            for index, access in enumerate(traffic.writes, 1):
                self._view(result, access)[:] = index
        return result

    @cached_property
    def _written_rows(self) -> dict[str, Array]:
        """By tensor that a layer writes: the last STORE of each row, [frames][rows]."""
        result = {name: np.zeros((self._frames, self._lowered.shape(name).height), np.int32) for name in self._chunks}
        for traffic in self._traffic:
            for index, (name, frame, block) in enumerate(traffic.writes, 1):
                result[name][frame, block.rows.first : block.rows.end] = index
        return result

    @cached_property
    def _last_reads(self) -> list[dict[str, Array]]:
        """By chunk and place: the index of the last LOAD that reads each word, 0 for none."""
        result = []
        for traffic in self._traffic:
            mine: dict[str, Array] = {}
            for index, access in enumerate(traffic.reads, 1):
                root = self._roots[access.tensor][0]
                if root != "input":
                    if root not in mine:
                        mine[root] = self._words(root)
                    self._view(mine, access)[:] = index
            result.append(mine)
        return result

    def of_reads(self, chunk: int) -> list[Needs]:
        """By LOAD of INPUT and RESIDUAL: the STOREs of the same pass that write what it reads."""
        writers = {name: self._lowered.writers(name) for name in self._roots}
        return [self._of_read(chunk, access, writers[access.tensor]) for access in self._traffic[chunk].reads]

    def _of_read(self, chunk: int, access: Access, writers: Sequence[str]) -> Needs:
        if access.tensor == "input":
            return Needs()
        rows = access.block.rows
        own = [name for name in writers if self._chunks[name] == chunk]
        commits = max((int(self._written_rows[n][access.frame, rows.first : rows.end].max()) for n in own), default=0)
        if len(own) == len(writers):
            return Needs(commits)
        root, first = self._roots[access.tensor]
        first += access.block.groups.first
        owners = self._owners[root][first : first + access.block.groups.count]
        written = self._view(self._written, access)
        waits = [
            Wait(peer, EVENTS["COMMITTED"], 0, int(written[:, owners == peer].max()))
            for peer in sorted({int(owner) for owner in owners} - {chunk, -1})
        ]
        return Needs(commits, tuple(waits))

    def of_writes(self, chunk: int, tensors: Mapping[str, Tensor], accelerator: Accelerator) -> list[Needs]:
        """By STORE: the LOADs that read what it overwrites.

        LOADs of its own chunk that its TILE waits for anyway are left out.
        """
        banks = {link.reader: _Bank(link.reader, link.words) for link in accelerator.links if link.writer == chunk}
        traffic = self._traffic[chunk]
        for access in traffic.writes:
            self._overwrite(banks, tensors[access.tensor], access, _PASS_BEFORE)
        result = []
        for access, complete in zip(traffic.writes, traffic.reads_before, strict=True):
            tensor = tensors[access.tensor]
            if tensor.region == "CHIP":
                waits = self._overwrite(banks, tensor, access, _SAME_PASS)
            else:
                waits = self._of_stored_again(chunk, access)
            result.append(Needs(0, tuple(wait for wait in waits if not _is_over(chunk, wait, complete))))
        return result

    def _of_stored_again(self, chunk: int, access: Access) -> list[Wait]:
        """Words in memory: the pass before was read from the same place. The own chunk has read it long ago."""
        if len(self._traffic) == 1:
            return []
        root = self._roots[access.tensor][0]
        waits = []
        for reader, reads in enumerate(self._last_reads):
            if reader != chunk and root in reads:
                index = int(self._view(reads, access).max())
                if index:
                    waits.append(Wait(reader, EVENTS["FETCHED"], 1, index))
        return waits

    def _overwrite(self, banks: Mapping[int, _Bank], tensor: Tensor, access: Access, in_pass: int) -> list[Wait]:
        """A STORE to banks: what must be read before; the banks take note of who reads the new words."""
        if tensor.region != "CHIP":
            return []
        words = _one_run(tensor, access)
        addresses = None if words else _block_addresses(tensor, access)
        waits = []
        for reader in tensor.readers:
            reads = self._view(self._last_reads[reader], access)
            if addresses is None:
                waits += banks[reader].store_run(words, reads, in_pass)
            else:
                waits += banks[reader].store(addresses, reads, in_pass)
        return waits


class _Bank:
    """A link's memory: for each word, the pass and index of the last LOAD that reads what lies there."""

    def __init__(self, reader: int, words: int) -> None:
        self._reader = reader
        self._read_until = np.zeros(words, np.int32)

    def store(self, addresses: NDArray[np.int64], reads: Array, in_pass: int) -> list[Wait]:
        """New words come, read by the given LOADs; what must be read before."""
        depth = len(self._read_until)
        place = addresses % depth
        until = int(self._read_until[place].max())
        if addresses.max() - addresses.min() >= depth and np.unique(place).size < place.size:
            until = _NEVER
        self._read_until[place] = np.where(reads > 0, reads + np.int32(in_pass), 0)
        return self._waits(until)

    def store_run(self, words: range, reads: Array, in_pass: int) -> list[Wait]:
        """`store` of virtual addresses without a gap."""
        depth = len(self._read_until)
        if len(words) > depth:
            return self.store(np.array(words).reshape(reads.shape), reads, in_pass)
        first = words.start % depth
        parts = [slice(first, min(first + len(words), depth)), slice(0, max(0, first + len(words) - depth))]
        until = max(int(self._read_until[part].max(initial=0)) for part in parts)
        new = np.where(reads > 0, reads + np.int32(in_pass), 0).ravel()
        head = parts[0].stop - first
        self._read_until[parts[0]], self._read_until[parts[1]] = new[:head], new[head:]
        return self._waits(until)

    def _waits(self, until: int) -> list[Wait]:
        if until == 0:
            return []
        ago = 0 if until >= _SAME_PASS else 1
        return [Wait(self._reader, EVENTS["FETCHED"], ago, until % _PASS)]


def _one_run(tensor: Tensor, access: Access) -> range:
    """Virtual addresses of a block of an on-chip tensor, if they have no gap; else an empty range."""
    rows, groups, cols = access.block
    if cols.count != tensor.width or (groups.count != tensor.groups and rows.count > 1):
        return range(0)
    first = tensor.frame_addresses[access.frame] + rows.first * tensor.row_words + groups.first * tensor.width
    return range(first, first + rows.count * groups.count * cols.count)


def _block_addresses(tensor: Tensor, access: Access) -> NDArray[np.int64]:
    """Virtual addresses [rows][groups][cols] of a block of an on-chip tensor."""
    rows, groups, cols = (np.arange(span.first, span.end, dtype=np.int64) for span in access.block)
    start = tensor.frame_addresses[access.frame]
    return np.asarray(start + rows[:, None, None] * tensor.row_words + groups[:, None] * tensor.width + cols)


def _is_over(chunk: int, wait: Wait, reads: int) -> bool:
    """Whether the wait is for the own chunk's first `reads` LOADs of the pass, or for those of the pass before."""
    return wait.peer == chunk and (wait.ago > 0 or wait.index <= reads)
