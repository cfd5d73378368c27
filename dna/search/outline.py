"""A Program without its weights, for a search that only wants cycles: no image, no encoding, no proof on the result.

The instructions are the compiler's own, so the schedule of an outline is that of the Program, to the cycle. What a
search ends with is compiled in full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass
from functools import lru_cache, partial

from dna.accelerator import tile
from dna.accelerator.chunk import Accelerator, Chunk
from dna.accelerator.isa import INDEX_BITS, WORD_BYTES
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile import fields
from dna.compile.compiler import executed
from dna.compile.emit import Emitter, job
from dna.compile.limits import check_mapping
from dna.compile.lowering import lower
from dna.compile.memory_map import Image
from dna.compile.order import Job, serial
from dna.compile.paging import paged
from dna.compile.plan import Plan, refuse
from dna.compile.program import ChunkProgram, Program, Tensor
from dna.compile.tiling import Step
from dna.compile.units import Unit
from dna.compile.waits import Needs
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.quick_plan import QuickPlan


@dataclass
class Sizes(Image):
    """An image that knows how long its streams are, and not what is in them."""

    used: int = 0

    def place(self, key: object, make: Callable[[], bytes]) -> tuple[int, int]:
        if key not in self.places:
            words = len(make()) // WORD_BYTES
            self.places[key] = self.used, words
            self.used += words
        return self.places[key]


class Outline(Emitter):
    """An emitter whose streams of weights and parameters are as long as the real ones, and empty."""

    def residual_multiplier(self, layer: Layer) -> int:
        return 0

    def stream_of_weights(self, layer: Layer, parts: Sequence[Step]) -> Callable[[], bytes]:
        words = sum(fields.weight_words(layer, self.chunk, part) for part in parts)
        return partial(bytes, words * self.chunk.weight_word_bytes)

    def stream_of_parameters(self, layer: Layer, parts: Sequence[Step]) -> Callable[[], bytes]:
        words = sum(int(tile.param_buffer_words(part.channels.count, self.chunk.post_lanes)) for part in parts)
        return partial(bytes, words * self.chunk.post_lanes * PARAMETER_BYTES)


PARAMETER_BYTES = 8
"""Of one channel."""
KEPT = 12
"""Chunks whose instructions are remembered."""


def plan_of(network: Network, accelerator: Accelerator, mapping: Mapping) -> Plan:
    """The mapping's plan; what does not depend on links is worked out once for all that differ in them alone."""
    return _linkless(network, accelerator.chunks, mapping).on(accelerator)


@lru_cache(maxsize=3)
def _linkless(network: Network, chunks: tuple[Chunk, ...], mapping: Mapping) -> Plan:
    plan = QuickPlan(lower(network), Accelerator(chunks), mapping)
    assert plan.of_reads is not None, "made here, for all copies"
    return plan


@dataclass(frozen=True, eq=False)
class _Emitted:
    """All that the instructions of a chunk follow from."""

    layers: Sequence[Layer]
    chunk: Chunk
    units: Sequence[Unit]
    reads: Sequence[Needs]
    writes: Sequence[Needs]
    tensors: Sequence[Tensor]

    def same(self, other: _Emitted) -> bool:
        """Units are the same objects as long as a chunk's layers and mappings are (`dna.search.quick_plan`)."""
        if self.units is not other.units or self.layers is not other.layers or self.chunk != other.chunk:
            return False
        return self.tensors == other.tensors and self.reads == other.reads and self.writes == other.writes


_latest: list[tuple[_Emitted, ChunkProgram, list[Job]]] = []
"""What was emitted last, the newest at the end: a change leaves most chunks as they are."""


def _emitted(given: _Emitted, mappings: Sequence[LayerMapping], tensors: Table[str, Tensor]) -> ChunkProgram:
    for at, (known, program, _) in enumerate(_latest):
        if known.same(given):
            _latest.append(_latest.pop(at))
            return program
    emitter = Outline(given.layers, {}, given.chunk, mappings, tensors, given.units, given.reads, given.writes, Sizes())
    emitter.run()
    program = ChunkProgram(given.chunk, paged(emitter.body, given.chunk), b"", tuple(emitter.ended))
    _latest.append((given, program, [job(instruction) for instruction in executed(program.instructions)]))
    del _latest[:-KEPT]
    return program


def _jobs(program: ChunkProgram) -> list[Job]:
    return next(jobs for _, known, jobs in _latest if known is program)


def _used(layers: Sequence[Layer], units: Sequence[Unit], tensors: Table[str, Tensor]) -> list[Tensor]:
    """The tensors that the units read and write."""
    used = [layers[index] for index in dict.fromkeys(unit.layer for unit in units)]
    names = dict.fromkeys(name for layer in used for name in (layer.input, layer.residual, layer.name) if name)
    return [tensors[name] for name in names]


def outline(network: Network, accelerator: Accelerator, mapping: Mapping) -> Program:
    """What `dna.compile.compiler.compile` gives, but for images.

    UserError as the compiler's, but for integers that could overflow.
    """
    check_mapping(network, accelerator, mapping)
    lowered, plan = lower(network), plan_of(network, accelerator, mapping)
    plan.check_counts(1 << INDEX_BITS)
    tensors, regions = plan.place(mapping.on_chip)
    chunks = []
    for index, chunk in enumerate(accelerator.chunks):
        reads, writes = plan.of_reads[index], plan.of_writes(mapping.on_chip)[index]
        units = plan.units[index]
        key = _Emitted(lowered.layers, chunk, units, reads, writes, _used(lowered.layers, units, tensors))
        chunks.append(_emitted(key, mapping.layers, tensors))
    done = serial([_jobs(chunk) for chunk in chunks])
    refuse(done.stuck, lowered, accelerator, tensors)
    return Program(
        network,
        lowered.layers,
        accelerator,
        tuple(chunks),
        mapping.frames,
        done.order,
        tensors,
        regions,
        lowered.output,
    )
