"""Where everything lives: tensors in their regions, weights and parameters in the image, runs of words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dna.accelerator import tile
from dna.accelerator.isa import REGIONS, WORD_BYTES, field_limit
from dna.compile.lowering import Lowered
from dna.compile.program import Tensor
from dna.errors import UserError
from dna.network.network import Network

ALIGNMENT_WORDS = 4096 // WORD_BYTES


def place_tensors(lowered: Lowered) -> tuple[dict[str, Tensor], dict[str, int]]:
    """Each tensor's place, and the words of the regions INPUT, OUTPUT and WORK. Parts of a concat lie in it."""
    used = {name: 0 for name in REGIONS if name != "PROGRAM"}
    placed: dict[str, Tensor] = {}
    for name in lowered.tensors:
        if name not in lowered.places:
            region = "INPUT" if name == "input" else "OUTPUT" if name == lowered.output else "WORK"
            shape = lowered.shape(name)
            row_words = int(tile.channel_words(shape.channels)) * shape.width
            tensor = _tensor(lowered, name, region, used[region], row_words)
            used[region] += tile.ceil_div(tensor.words, ALIGNMENT_WORDS) * ALIGNMENT_WORDS
            placed[name] = tensor
    for name in reversed(lowered.tensors):  # a concat stands behind what lies in it
        if name in lowered.places:
            concat, group = lowered.places[name]
            whole = placed[concat]
            address = whole.address + group * whole.width
            placed[name] = _tensor(lowered, name, whole.region, address, whole.row_words)
    for region, words in used.items():
        check_region(lowered.network, region, words)
    return {name: placed[name] for name in lowered.tensors}, used


def _tensor(lowered: Lowered, name: str, region: str, address: int, row_words: int) -> Tensor:
    shape, order = lowered.shape(name), lowered.orders[name]
    if row_words > field_limit("LOAD", "stride_outer"):
        raise UserError(
            f"tensor '{name}': a row has {row_words} words; the limit is {field_limit('LOAD', 'stride_outer')};"
            " use a narrower or thinner tensor"
        )
    return Tensor(
        name,
        region,
        (address,),
        shape.height,
        shape.width,
        shape.channels,
        shape.signed,
        row_words,
        lowered.source(name),
        None if order == tuple(range(len(order))) else order,
    )


def check_region(network: Network, region: str, words: int) -> None:
    """UserError if addresses of the region exceed their field."""
    limit = field_limit("LOAD", "address") + 1
    if words > limit:
        raise UserError(f"network '{network.name}': region {region} needs {words} words; the limit is {limit}")


def block_runs(tensor: Tensor, row: int, rows: int, group: int, groups: int, col: int, cols: int) -> dict[str, int]:
    """DMA fields for the block [rows][groups][cols] of a tensor, contiguous runs merged where the fields allow it."""
    row_words = tensor.row_words
    address = tensor.address + row * row_words + group * tensor.width + col
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


@dataclass
class CommitLog:
    """Which STORE job completes each row of each tensor."""

    tensors: Mapping[str, Tensor]
    writers: Mapping[str, Sequence[str]]
    """By tensor, those that together fill it: itself, or what lies in a concat."""
    rows: dict[str, list[int]] = field(default_factory=dict)
    stores: int = 0

    def __post_init__(self) -> None:
        self.rows = {name: [0] * tensor.height for name, tensor in self.tensors.items()}

    def store(self, name: str, first: int, count: int) -> None:
        """The next STORE job writes these rows of the tensor."""
        self.stores += 1
        self.rows[name][first : first + count] = [self.stores] * count

    def needed(self, name: str, first: int, count: int) -> int:
        """STORE jobs that must be committed before these rows may be read; 0 for the network's input."""
        return max(max(self.rows[writer][first : first + count]) for writer in self.writers[name])
