"""Mappings chosen by the exact schedule: each layer alone first, then one change after the other in the whole network.

The closed form adds up layers and leaves out most waiting: of a load behind another one on the same port, of a slot
that is not free in time. So its best few mappings of a layer are scheduled, and the fewest cycles count.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from dna.accelerator import tile
from dna.accelerator.chunk import Accelerator, Chunk, Memories, Memory, port_memory
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile.compiler import compile as compile_design
from dna.compile.lowering import lower
from dna.cost.packed import packed, schedule_packed
from dna.cost.schedule import Schedule, schedule
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import LayerWeights, Network, Weights
from dna.quantize.scale import MIN_NORMALISED
from dna.search.mapping_space import shape_of
from dna.search.outline import outline
from dna.search.problem import Budget
from dna.search.stage_prices import Key, ranked
from dna.search.steady import steady

CHOICES = 12
"""Mappings of a layer that are scheduled, the best ones by the closed form."""
ALTERNATIVES = 3
"""Mappings of a layer that are tried in the network, the best ones by their own schedule."""
MOST_STEPS = 20_000
"""TILEs of a group of frames up to which a layer is scheduled alone: half a second. The price ranks what has more."""
UNKNOWN = 0
"""Cycles of what is not scheduled."""
PASSES = 3
"""Passes of a schedule: the last one is taken as steady state."""


@dataclass(frozen=True)
class Choice:
    """A mapping and its cycles per group of frames, the layer being alone on its chunk."""

    cycles: int
    """`UNKNOWN` for the only choice of a layer with very many tiles."""
    mapping: LayerMapping


def pass_cycles(
    network: Network, weights: Weights, accelerator: Accelerator, mapping: Mapping, memories: Memories
) -> int:
    """Cycles from pass to pass in steady state, by the exact schedule: `mapping.frames` frames."""
    return schedule(compile_design(network, weights, accelerator, mapping), memories, PASSES).interval


def starting_mapping(
    network: Network,
    accelerator: Accelerator,
    memories: Memories,
    *,
    chunks: Sequence[int] = (),
    frames: int = 1,
    batches: Sequence[int] = (),
    on_chip: frozenset[str] = frozenset(),
    choices: int = CHOICES,
) -> Mapping:
    """Each executed layer's best mapping of `choices`, by its own schedule on its chunk; the rest is as in `Mapping`.

    UserError, naming the layer, if it has none.
    """
    layers = lower(network).layers
    frame = Mapping((), tuple(chunks), frames, tuple(batches), on_chip)
    found = []
    for index, layer in enumerate(layers):
        ranked = layer_choices(layer, *_place(accelerator, memories, frame, index), frame.batch(index), choices)
        if not ranked:
            raise UserError(f"layer '{layer.name}': fits no tile on chunk {frame.chunk(index)}")
        found.append(ranked[0].mapping)
    return replace(frame, layers=tuple(found))


def refine(
    network: Network,
    weights: Weights,
    accelerator: Accelerator,
    mapping: Mapping,
    memories: Memories,
    budget: Budget,
) -> Mapping:
    """Local improvement by the exact schedule of the whole network in steady state; never worse than `mapping`.

    One layer after the other, the one that waits longest first, takes the best of its alternatives; layers of equal
    shape and mapping change together, then each on its own. Ends when nothing improves or the budget is used up: each
    schedule of the network is an evaluation. Deterministic where evaluations alone are limited.
    """
    return _Descent(network, weights, accelerator, memories, budget).run(mapping)


def layer_choices(layer: Layer, chunk: Chunk, memory: Memory, frames: int, count: int = CHOICES) -> tuple[Choice, ...]:
    """The layer's best `count` mappings by the closed form, ordered by their schedule, fewest cycles first."""
    return _choices(shape_of(layer), chunk, memory, frames, count)


@lru_cache(maxsize=4096)
def _choices(shape: Layer, chunk: Chunk, memory: Memory, frames: int, count: int) -> tuple[Choice, ...]:
    mappings = best_priced(shape, chunk, memory, frames, count)
    if mappings and steps(shape, mappings[0]) * frames > MOST_STEPS:
        return (Choice(UNKNOWN, mappings[0]),)
    mappings = [mapping for mapping in mappings if steps(shape, mapping) * frames <= MOST_STEPS]
    scheduled = [Choice(alone(shape, mapping, chunk, memory, frames), mapping) for mapping in mappings]
    return tuple(sorted(scheduled, key=lambda choice: choice.cycles))


def steps(layer: Layer, mapping: LayerMapping) -> int:
    """TILEs of a frame, about: where windows count differently there are a few more."""
    down, across = tile.tiles(layer.out_height, mapping.tile_rows), tile.tiles(layer.out_width, mapping.tile_cols)
    parts = layer.groups * tile.tiles(layer.group_outputs, mapping.out_channels)
    slices = tile.tiles(layer.kernel[0], mapping.kernel_rows)
    if not layer.per_channel:
        slices *= tile.tiles(layer.group_inputs, mapping.in_channels)
    return tile.compute_tiles(down * across, parts, slices)


def best_priced(layer: Layer, chunk: Chunk, memory: Memory, frames: int, count: int) -> list[LayerMapping]:
    """The layer's best mappings by the price that searches go by, best first, with all its tensors in memory."""
    shape, interval = shape_of(layer), memory.beat_interval
    key = Key(shape, interval, frames, chip_in=False, chip_out=False, banded=None, chained=True)
    return ranked(key, chunk, memory, count)


def alone(layer: Layer, mapping: LayerMapping, chunk: Chunk, memory: Memory, frames: int) -> int:
    """Cycles of a group of frames of a layer that follows itself, by the exact schedule.

    A layer with a residual follows one that makes it, whose own cycles are part of the result.
    """
    only = shape_of(layer).renamed(name="layer", input="input", parts=())
    layers, mappings = [only], [mapping]
    if layer.residual is not None:
        source = only.renamed(name="source", op="conv", residual=None, groups=1, kernel=(1, 1), padding=(0,) * 4)
        source = replace(source, in_height=layer.in_height, in_width=layer.in_width)
        if (source.out_height, source.out_width) != (layer.out_height, layer.out_width):
            source = only.renamed(name="source", op="conv", residual=None, groups=1)
        first = steady(source, chunk, memory, frames).best(1)[0]
        layers, mappings = [source, only.renamed(residual="source")], [first, mapping]
    network = Network("alone", tuple(layers))
    whole = Mapping(tuple(mappings), frames=frames)
    return schedule_packed(packed(outline(network, Accelerator((chunk,)), whole)), memory, PASSES).interval


def blank_weights(network: Network) -> Weights:
    """Integers without meaning, for schedules: cycles do not depend on values."""
    return {
        layer.name: LayerWeights(
            weight=np.zeros(layer.weight_shape, np.int8) if layer.weight_shape else None,
            bias=np.zeros(layer.param_shape, np.int32),
            multiplier=np.full(layer.param_shape, MIN_NORMALISED, np.int32),
            shift=np.full(layer.param_shape, 16, np.int32),
        )
        for layer in network.layers
        if layer.computes
    }


def _place(accelerator: Accelerator, memories: Memories, mapping: Mapping, layer: int) -> tuple[Chunk, Memory]:
    """The layer's chunk, and the memory behind the port that it reads its input through."""
    chunk = mapping.chunk(layer)
    return accelerator.chunks[chunk], port_memory(memories, accelerator.first_port(chunk))


@dataclass
class _Descent:
    """The state of one refinement."""

    network: Network
    weights: Weights
    accelerator: Accelerator
    memories: Memories
    budget: Budget
    evaluations: int = 0
    started: float = field(default_factory=time.perf_counter)

    def run(self, mapping: Mapping) -> Mapping:
        best, times = mapping, self._schedule(mapping)
        if times is None:
            raise UserError(f"network '{self.network.name}': the mapping to refine cannot be compiled")
        for together in (True, False):
            improved = True
            while improved and self._left():
                improved = False
                for group in self._groups(best, times, together):
                    for changed in self._changes(best, group):
                        tried = self._schedule(changed) if self._left() else None
                        if tried is not None and tried.interval < times.interval:
                            best, times, improved = changed, tried, True
        return best

    def _left(self) -> bool:
        used = self.evaluations >= self.budget.evaluations
        return not used and time.perf_counter() - self.started < self.budget.seconds

    def _schedule(self, mapping: Mapping) -> Schedule | None:
        """None where the mapping does not compile, as with a link that is too small for it."""
        self.evaluations += 1
        try:
            program = outline(self.network, self.accelerator, mapping)
        except UserError:
            return None
        return schedule_packed(packed(program), self.memories, PASSES)

    def _groups(self, mapping: Mapping, times: Schedule, together: bool) -> list[tuple[int, ...]]:
        """Layers that change together, those that wait longest first."""
        groups: dict[object, list[int]] = {}
        layers = lower(self.network).layers
        for index, layer in enumerate(layers):
            key = (shape_of(layer), mapping.chunk(index), mapping.batch(index), mapping.layers[index])
            groups.setdefault(key if together else index, []).append(index)
        waits = [times.layers[index].causes.total - times.layers[index].causes.busy for index in range(len(layers))]
        found = [tuple(group) for group in groups.values()]
        return sorted(found, key=lambda group: -sum(waits[index] for index in group))

    def _changes(self, mapping: Mapping, group: tuple[int, ...]) -> list[Mapping]:
        layer = lower(self.network).layers[group[0]]
        place = _place(self.accelerator, self.memories, mapping, group[0])
        result = []
        for choice in layer_choices(layer, *place, mapping.batch(group[0]))[:ALTERNATIVES]:
            if choice.mapping != mapping.layers[group[0]]:
                layers = list(mapping.layers)
                for index in group:
                    layers[index] = choice.mapping
                result.append(replace(mapping, layers=tuple(layers)))
        return result
