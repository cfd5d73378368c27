"""A Program without its weights, for a search that only wants cycles: no image, no encoding, no proof on the result.

The instructions are the compiler's own, so the schedule of an outline is that of the Program, to the cycle. What a
search ends with is compiled in full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from dna.accelerator import tile
from dna.accelerator.chunk import Accelerator, Chunk
from dna.accelerator.isa import INDEX_BITS, WORD_BYTES
from dna.accelerator.mapping import Mapping
from dna.compile import fields
from dna.compile.compiler import executed
from dna.compile.emit import Emitter, job
from dna.compile.limits import check_mapping
from dna.compile.lowering import lower
from dna.compile.memory_map import Image
from dna.compile.order import serial
from dna.compile.paging import paged
from dna.compile.plan import Plan, refuse
from dna.compile.program import ChunkProgram, Program
from dna.compile.tiling import Step
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


def plan_of(network: Network, accelerator: Accelerator, mapping: Mapping) -> Plan:
    """The mapping's plan; what does not depend on links is worked out once for all that differ in them alone."""
    return _linkless(network, accelerator.chunks, mapping).on(accelerator)


@lru_cache(maxsize=3)
def _linkless(network: Network, chunks: tuple[Chunk, ...], mapping: Mapping) -> Plan:
    plan = QuickPlan(lower(network), Accelerator(chunks), mapping)
    assert plan.of_reads is not None, "made here, for all copies"
    return plan


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
        emitter = Outline(lowered.layers, {}, chunk, mapping.layers, tensors, units, reads, writes, Sizes())
        emitter.run()
        chunks.append(ChunkProgram(chunk, paged(emitter.body, chunk), b"", tuple(emitter.ended)))
    done = serial([[job(instruction) for instruction in executed(chunk.instructions)] for chunk in chunks])
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
