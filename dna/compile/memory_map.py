"""Where everything lives: tensors in their regions, weights and parameters in the image, runs of words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from dna.accelerator import tile
from dna.accelerator.isa import REGIONS, WORD_BYTES, field_limit
from dna.compile.lowering import Lowered
from dna.compile.program import Tensor
from dna.compile.tiling import Span
from dna.errors import UserError
from dna.network.network import Network

ALIGNMENT_WORDS = 4096 // WORD_BYTES


class Block(NamedTuple):
    """Rows, channel groups and columns of a tensor that one job moves, as [rows][groups][cols]."""

    rows: Span
    groups: Span
    cols: Span


@dataclass(frozen=True)
class OnChip:
    """Where a tensor lies that is handed over in links."""

    addresses: tuple[int, ...]
    """First word of each frame."""
    writer: int
    readers: tuple[int, ...]


def place_tensors(
    lowered: Lowered, frames: int = 1, on_chip: Mapping[str, OnChip] | None = None
) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Each tensor's places, one per frame, and the words of the regions INPUT, OUTPUT and WORK.

    Parts of a concat lie in it; what is in `on_chip` takes no word of a region.
    """
    used = {name: 0 for name in REGIONS if name not in ("PROGRAM", "CHIP")}
    placed: dict[str, Tensor] = {}
    for name in lowered.tensors:
        if name not in lowered.places:
            shape = lowered.shape(name)
            row_words = int(tile.channel_words(shape.channels)) * shape.width
            if on_chip and name in on_chip:
                place = on_chip[name]
                tensor = _tensor(lowered, name, "CHIP", place.addresses, row_words)
                placed[name] = replace(tensor, writer=place.writer, readers=place.readers)
                continue
            region = "INPUT" if name == "input" else "OUTPUT" if name == lowered.output else "WORK"
            size = _aligned(shape.height * row_words, ALIGNMENT_WORDS)
            addresses = tuple(used[region] + frame * size for frame in range(frames))
            used[region] += frames * size
            placed[name] = _tensor(lowered, name, region, addresses, row_words)
    for name in reversed(lowered.tensors):  # a concat stands behind what lies in it
        if name in lowered.places:
            concat, group = lowered.places[name]
            whole = placed[concat]
            addresses = tuple(address + group * whole.width for address in whole.frame_addresses)
            placed[name] = _tensor(lowered, name, whole.region, addresses, whole.row_words)
    for region, words in used.items():
        check_region(lowered.network, region, words)
    return {name: placed[name] for name in lowered.tensors}, used


def _aligned(words: int, alignment: int) -> int:
    return int(tile.ceil_div(words, alignment)) * alignment


def _tensor(lowered: Lowered, name: str, region: str, addresses: tuple[int, ...], row_words: int) -> Tensor:
    shape, order = lowered.shape(name), lowered.orders[name]
    if row_words > field_limit("LOAD", "stride_outer"):
        raise UserError(
            f"tensor '{name}': a row has {row_words} words; the limit is {field_limit('LOAD', 'stride_outer')};"
            " use a narrower or thinner tensor"
        )
    return Tensor(
        name,
        region,
        addresses,
        shape.height,
        shape.width,
        shape.channels,
        shape.signed,
        row_words,
        lowered.source(name),
        None if order == tuple(range(len(order))) else order,
    )


def chip_addresses(
    lowered: Lowered,
    stored: Sequence[tuple[str, int]],
    readers: Mapping[str, tuple[int, ...]],
    alignments: Mapping[str, int],
) -> dict[str, tuple[int, ...]]:
    """First words of the on-chip tensors of one writer, by name and frame: in each bank one after the other as stored.

    A tensor has the same address in the banks of all its readers. `stored`: tensor and frame in order of their first
    STORE; `alignments`: by tensor, in words.
    """
    found: dict[tuple[str, int], int] = {}
    used = {reader: 0 for name, _ in stored for reader in readers[name]}
    for name, frame in stored:
        shape = lowered.shape(name)
        first = _aligned(max(used[reader] for reader in readers[name]), alignments[name])
        end = first + shape.height * int(tile.channel_words(shape.channels)) * shape.width
        found[name, frame] = first
        used |= dict.fromkeys(readers[name], end)
    check_region(lowered.network, "CHIP", max(used.values(), default=0))
    frames = 1 + max((frame for _, frame in found), default=0)
    return {name: tuple(found[name, frame] for frame in range(frames)) for name, _ in stored}


def check_region(network: Network, region: str, words: int) -> None:
    """UserError if addresses of the region exceed their field."""
    limit = field_limit("LOAD", "address") + 1
    if words > limit:
        raise UserError(f"network '{network.name}': region {region} needs {words} words; the limit is {limit}")


def block_runs(tensor: Tensor, frame: int, block: Block) -> dict[str, int]:
    """DMA fields for a block of one frame of a tensor, contiguous runs merged where the fields allow it."""
    row_words = tensor.row_words
    rows, groups, cols = block.rows.count, block.groups.count, block.cols.count
    address = tensor.frame_addresses[frame]
    address += block.rows.first * row_words + block.groups.first * tensor.width + block.cols.first
    fields = {"region": REGIONS[tensor.region], "address": address, "n_inner": groups, "n_outer": rows}
    fields |= {"run": cols, "stride_inner": tensor.width, "stride_outer": row_words}
    longest = field_limit("LOAD", "run")
    if cols == tensor.width and groups * cols <= longest:
        fields |= {"run": groups * cols, "n_inner": rows, "stride_inner": row_words, "n_outer": 1}
        if groups * cols == row_words and rows * groups * cols <= longest:
            fields |= {"run": rows * groups * cols, "n_inner": 1}
    return fields


def stream_runs(address: int, units: int, unit_words: int) -> dict[str, int]:
    """DMA fields for units * unit_words consecutive words of region PROGRAM."""
    longest = field_limit("LOAD", "run")
    parts = next(n for n in range(1, units + 1) if units % n == 0 and units // n * unit_words <= longest)
    run = units // parts * unit_words
    fields = {"region": REGIONS["PROGRAM"], "address": address, "run": run, "n_inner": parts, "stride_inner": run}
    return fields | {"n_outer": 1, "stride_outer": 0}


@dataclass
class Image:
    """Streams of weights and parameters, each stored once; addresses count words from the image's first stream."""

    data: bytearray = field(default_factory=bytearray)
    places: dict[object, tuple[int, int]] = field(default_factory=dict)

    def place(self, key: object, make: Callable[[], bytes]) -> tuple[int, int]:
        """First word and length in words of the stream `key`; if it is new, it is made and appended."""
        if key not in self.places:
            stream = make()
            assert len(stream) % WORD_BYTES == 0, "streams are whole words"
            self.places[key] = len(self.data) // WORD_BYTES, len(stream) // WORD_BYTES
            self.data += stream
        return self.places[key]
