"""Who may touch a place when: the tiles in a chunk's buffers, and the words of memory and links.

What a job **knows** is an int64 vector of twice as many entries as there are chunks: by chunk, the STOREs that are
committed and the LOADs that are fetched for certain when the job starts, counted over all passes. A job knows what its
engine's earlier jobs knew, and all that the events it waits for imply. Orders that follow from nothing else are luck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.isa import REGIONS
from dna.compile.program import Instruction, Program

Known = NDArray[np.int64]
Addresses = NDArray[np.int64]
Fail = Callable[[str], None]

REGION_NAMES = {code: name for name, code in REGIONS.items()}
_CHUNK_SHIFT = 40
_NOTHING = -1


def run_addresses(job: Instruction) -> Addresses:
    """Word addresses in the region that a LOAD or STORE visits, in stream order."""
    outer = np.arange(job["n_outer"], dtype=np.int64)[:, None, None] * job["stride_outer"]
    inner = np.arange(job["n_inner"], dtype=np.int64)[None, :, None] * job["stride_inner"]
    return np.asarray(job["address"] + outer + inner + np.arange(job["run"], dtype=np.int64)).ravel()


@dataclass
class _Tile:
    """A tile in a buffer: its addresses [first, end) and its number among the counted ones."""

    first: int
    end: int
    index: int


@dataclass
class Buffer:
    """Tiles of one buffer, in order; the n-th free event frees tile n."""

    name: str
    tiles: list[_Tile] = field(default_factory=list)
    freed: int = 0

    def put(self, first: int, count: int, wait_free: int, fail: Fail) -> None:
        """A new tile, written once `wait_free` earlier ones are free."""
        new = _Tile(first, first + count, len(self.tiles))
        for other in self.tiles[max(0, wait_free) :]:
            if other.first < new.end and new.first < other.end:
                fail(f"overwrites {self.name} tile {other.index} before it is free")
        self.tiles.append(new)

    def skip(self, count: int) -> None:
        """There are `count` tiles; those that were not put have no place."""
        while len(self.tiles) < count:
            self.tiles.append(_Tile(0, 0, len(self.tiles)))

    def read(self, first: int, count: int, waited: int, fail: Fail) -> None:
        """The oldest tile that is not free is read at these addresses, `waited` tiles being there."""
        if self.freed >= len(self.tiles):
            fail(f"reads {self.name}, but no tile is loaded")
            return
        current = self.tiles[self.freed]
        if waited <= current.index:
            fail(f"does not wait for {self.name} tile {current.index}")
        if first < current.first or first + count > current.end:
            fail(f"reads {self.name} [{first}, {first + count}), tile is at [{current.first}, {current.end})")


@dataclass(frozen=True)
class Event:
    """A LOAD or STORE that touches words: its chunk, its number counted over all passes, and what it knows."""

    chunk: int
    number: int
    known: Known
    since: tuple[int, ...]
    """By chunk, its STOREs of all earlier passes: words of a pass are read in that pass."""


class _Space:
    """A region or the bank of a link."""

    def __init__(self, name: str, words: int, chunks: int, bank: bool) -> None:
        self.name, self.words, self.bank = name, words, bank
        self.writer = np.full(words, _NOTHING, np.int64)
        """Chunk and number of the STORE that wrote each word last."""
        self.address = np.full(words, _NOTHING, np.int64)
        """Bank: the address under which it was written; addresses of one pass never repeat, so it tells what it is."""
        self.readers: dict[int, NDArray[np.int64]] = {}
        """By chunk: the latest LOAD that read each word."""
        self.chunks = chunks

    def places(self, addresses: Addresses, what: str, fail: Fail) -> Addresses:
        if not self.bank:
            if addresses.max() >= self.words:
                fail(f"{what} beyond region {self.name}")
            return addresses
        if len(addresses) > self.words:
            fail(f"{what} {len(addresses)} words, {self.name} has {self.words}")
        return addresses % self.words

    def read(self, addresses: Addresses, event: Event, fail: Fail) -> None:
        at = self.places(addresses, "reads", fail)
        self._check_written(at, event, fail)
        if self.bank and (self.address[at] != addresses).any():
            fail(f"reads words of {self.name} that were overwritten")
        if event.chunk not in self.readers:
            self.readers[event.chunk] = np.zeros(self.words, np.int64)
        self.readers[event.chunk][at] = event.number

    def _check_written(self, at: Addresses, event: Event, fail: Fail) -> None:
        """This pass wrote the words, and the LOAD knows that these STOREs are committed."""
        written = self.writer[at]
        low, high = int(written.min()), int(written.max())
        if low == _NOTHING:
            fail(f"reads words of {self.name} that nothing stored")
            return
        one = low >> _CHUNK_SHIFT == high >> _CHUNK_SHIFT
        for first, last in [(low, high)] if one else _by_chunk(written):
            chunk = first >> _CHUNK_SHIFT
            first, last = first - (chunk << _CHUNK_SHIFT), last - (chunk << _CHUNK_SHIFT)
            if first <= event.since[chunk]:
                fail(f"reads words of {self.name} that nothing stored in this pass")
            if last > event.known[chunk]:
                number = last - event.since[chunk]
                fail(f"reads words of STORE {number} of chunk {chunk} without waiting for it")

    def write(self, addresses: Addresses, event: Event, fail: Fail) -> None:
        at = self.places(addresses, "writes", fail)
        for chunk, latest in self.readers.items():
            number = int(latest[at].max())
            if number > event.known[self.chunks + chunk]:
                fail(f"overwrites words of {self.name} that LOAD {number} of chunk {chunk} may still read")
        value = event.chunk << _CHUNK_SHIFT | event.number
        if self.bank:
            self.address[at] = addresses
        else:
            before = self.writer[at]
            same = before >> _CHUNK_SHIFT == event.chunk
            if (~same & (before != _NOTHING)).any():
                fail(f"writes words of {self.name} that another chunk writes")
            if before.max() > event.chunk << _CHUNK_SHIFT | event.since[event.chunk]:
                fail("writes a word for the second time")
        self.writer[at] = value


def _by_chunk(written: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Lowest and highest entry of each chunk."""
    chunks = written >> _CHUNK_SHIFT
    for chunk in np.unique(chunks):
        mine = written[chunks == chunk]
        yield int(mine.min()), int(mine.max())


class Words:
    """All words that STOREs write and LOADs read: regions OUTPUT and WORK, and links."""

    def __init__(self, program: Program) -> None:
        count = len(program.chunks)
        self.regions = {
            name: _Space(name, words, count, False) for name, words in program.region_words.items() if name != "PROGRAM"
        }
        self.banks = {
            (link.writer, link.reader): _Space(f"link {link.writer} to {link.reader}", link.words, count, True)
            for link in program.accelerator.links
        }
        self.image_words = [len(chunk.image) // 16 for chunk in program.chunks]

    def load(self, job: Instruction, event: Event, fail: Fail) -> None:
        """A LOAD's words are there, and known to be."""
        region, addresses = REGION_NAMES[job["region"]], run_addresses(job)
        if region == "CHIP":
            bank = self.banks.get((job["peer"], event.chunk))
            if bank is None:
                fail(f"reads link {job['peer']} to {event.chunk}, which there is not")
            else:
                bank.read(addresses, event, fail)
        elif region == "PROGRAM":
            if addresses[-1] >= self.image_words[event.chunk]:
                fail(f"reads beyond region {region}")
        elif region == "INPUT":
            self.regions[region].places(addresses, "reads", fail)
        else:
            self.regions[region].read(addresses, event, fail)

    def store(self, job: Instruction, event: Event, fail: Fail) -> None:
        """Nobody still has to read what a STORE overwrites."""
        region, addresses = REGION_NAMES[job["region"]], run_addresses(job)
        if region in ("OUTPUT", "WORK"):
            self.regions[region].write(addresses, event, fail)
            return
        readers = [chunk for chunk in range(16) if job["readers"] >> chunk & 1]
        if region != "CHIP" or not readers:
            fail(f"writes to region {region}, readers {readers}")
        for reader in readers:
            bank = self.banks.get((event.chunk, reader))
            if bank is None:
                fail(f"writes link {event.chunk} to {reader}, which there is not")
            else:
                bank.write(addresses, event, fail)
