"""Random designs for the proof of the whole chain, and what they cover.

A draw is a random small network, a random legal mapping, random memories and random frames. Half of the draws on one
chunk are directed: one layer, with the window (operator, kernel, stride, padding) that was drawn least so far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.random import Generator

from dna.accelerator import tile
from dna.accelerator.chunk import Accelerator, Chunk, Memory
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile.limits import slices
from dna.compile.lowering import HOLE, lower
from dna.compile.program import ChunkProgram
from dna.cost.schedule import schedule
from dna.errors import UserError
from dna.network.layer import MAX_KERNEL, MAX_STRIDE, Layer, Op
from dna.network.network import Network
from dna.network.random import RandomLimits, random_input, random_network
from dna.quantize.random import random_weights
from dna.quantize.reference import run
from dna.verify.chunk_bins import CHUNK_BINS, chunk_bins
from dna.verify.random_accelerators import FRAMES, compile_with_room, random_memories, random_pipeline
from dna.verify.simulation import Case

LIMITS = RandomLimits(everything=True)
PASSES = (1, 2, 2, 3)
LEAST_MACS = 4000
"""Window reads of a frame, however many frames there are."""
WINDOWED: tuple[Op, ...] = ("conv", "depthwise", "maxpool", "avgpool")
Window = tuple[Op, int, int, bool]
"""Operator, kernel, stride and whether there is padding."""
WINDOWS: tuple[Window, ...] = tuple(
    (op, kernel, stride, padded)
    for op, kernel, stride, padded in product(
        WINDOWED, range(1, MAX_KERNEL + 1), range(1, MAX_STRIDE + 1), (False, True)
    )
    if kernel > 1 or not padded
)


@dataclass(frozen=True)
class Draw:
    network: Network
    mapping: Mapping
    accelerator: Accelerator
    case: Case


class Drawer:
    """Draws designs and counts what they cover."""

    def __init__(self, rng: Generator) -> None:
        self._rng = rng
        self.bins: Counter[str] = Counter(dict.fromkeys(all_bins(), 0))
        self.refused = 0
        """Draws that no mapping or memory of the chunk could hold, or whose integers could overflow."""

    def draw(self, chunk: Chunk) -> Draw:
        """The next design on `chunk`: one frame, all ports with the same memory."""
        return self._draw(lambda: self._design(self._network(LIMITS), Accelerator((chunk,)), 1, 1, None))

    def draw_passes(self, accelerator: Accelerator, macs: int = LIMITS.macs, cycles: int = 10**9) -> Draw:
        """The next design on `accelerator`: any number of frames and passes, `macs` window reads in all or a few times
        that, at most so many `cycles`.

        Each frame of each pass has values of its own, each port a memory of its own, and tensors are on chip.
        """
        return self._draw(lambda: self._several(accelerator, macs, cycles))

    def _draw(self, attempt: Callable[[], Draw]) -> Draw:
        while True:
            try:
                drawn = attempt()
            except UserError:
                self.refused += 1
                continue
            self.bins.update(bins_of(drawn))
            return drawn

    def _several(self, accelerator: Accelerator, macs: int, cycles: int) -> Draw:
        rng, count = self._rng, len(accelerator.chunks)
        frames, passes = int(rng.choice(FRAMES)), int(rng.choice(PASSES))
        limits = replace(LIMITS, macs=max(LEAST_MACS, macs // (frames * passes)))
        while True:
            network = self._network(limits) if count == 1 else random_network(rng, limits)
            if len(lower(network).layers) < count or network.macs > 4 * limits.macs:
                continue
            drawn = self._design(network, accelerator, frames, passes, random_memories(rng, accelerator.ports))
            if schedule(drawn.case.program, drawn.case.memory, passes).cycles <= cycles:
                return drawn

    def _network(self, limits: RandomLimits) -> Network:
        return self._directed() if self._rng.random() < 0.5 else random_network(self._rng, limits)

    def _design(
        self,
        network: Network,
        accelerator: Accelerator,
        frames: int,
        passes: int,
        memories: tuple[Memory, ...] | None,
    ) -> Draw:
        """`memories`: None for the same behind all ports."""
        rng = self._rng
        weights = random_weights(network, rng)
        mapping, program = compile_with_room(
            network, weights, accelerator, random_pipeline(network, accelerator, rng, frames)
        )
        references = [run(network, weights, random_input(network, rng)) for _ in range(frames * passes)]
        case = Case(program, references, memories or random_memories(rng, 1)[0], passes)
        return Draw(network, mapping, accelerator, case)

    def _directed(self) -> Network:
        """A network of one layer with the window least drawn."""
        rng = self._rng
        counts = np.array([self.bins[_window_bin(window)] for window in WINDOWS])
        op, kernel, stride, padded = WINDOWS[int(rng.choice(np.flatnonzero(counts == counts.min())))]
        kernels = _with_maximum(rng, kernel, 1)
        strides = _with_maximum(rng, stride, 1)
        padding = (0, 0, 0, 0)
        while padded and not any(padding):
            top, bottom = (int(n) for n in rng.integers(0, kernels[0], 2))
            left, right = (int(n) for n in rng.integers(0, kernels[1], 2))
            padding = (top, left, bottom, right)
        # One output position has no stride, so there are two at least.
        height, width = (int(k + s + rng.integers(0, 8)) for k, s in zip(kernels, strides, strict=True))
        channels = int(rng.integers(1, 40))
        in_signed, out_signed = bool(rng.integers(2)), bool(rng.integers(2))
        layer = Layer(
            name="window",
            op=op,
            input="input",
            in_channels=channels,
            in_height=height,
            in_width=width,
            out_channels=int(rng.integers(1, 40)) if op == "conv" else channels,
            kernel=kernels,
            stride=strides,
            padding=padding,
            pad_value=-128 if op == "maxpool" and in_signed else 0,
            in_signed=in_signed,
            out_signed=out_signed,
            lo=-128 if out_signed else 0,
            hi=127 if out_signed else 255,
        )
        return Network("directed", (layer,))


def _with_maximum(rng: Generator, largest: int, least: int) -> tuple[int, int]:
    """Two numbers from `least` on, the larger of them `largest`."""
    other = largest if rng.random() < 0.5 else int(rng.integers(least, largest + 1))
    return (largest, other) if rng.random() < 0.5 else (other, largest)


def _window_bin(window: Window) -> str:
    op, kernel, stride, padded = window
    return f"{op}, kernel {kernel}, stride {stride}, {'padded' if padded else 'unpadded'}"


_LAYER_BINS = (
    "fc", "add", "global pooling", "mean without padding", "residual signed", "residual unsigned", "input signed",
    "input unsigned", "output signed", "output unsigned", "pad value other than 0", "clip inside the range",
)  # fmt: skip
_LAYOUT_BINS = (
    "groups apart", "groups merged", "concat", "concat of a concat", "holes between parts", "copied part",
    "repacked channels", "channels apart, with holes", "channels mixed, with holes",
)  # fmt: skip
_MAPPING_BINS = (
    "lanes split rows", "lanes split columns", "lanes split both", "one lane", "ragged rows", "ragged columns",
    "ragged lane rows", "ragged lane columns", "ragged output channels of a tile", "ragged output channels of a group",
    "ragged input channels of a step", "ragged word of input channels", "ragged word of output channels",
    "one spatial tile", "many spatial tiles", "one channel tile", "many channel tiles", "one slice",
    "slices of input channels", "slices of kernel rows", "order inputs", "order weights", "post lanes too few",
)  # fmt: skip
_ENGINE_BINS = (
    "port of 8 bytes", "port of 16 bytes", "1 port", "2 ports", "1 burst in flight", "many bursts in flight",
    "a pass of many pages", "one page",
    "a product per DSP", "two products per DSP", "two products per DSP, odd lane", "products of LUTs",
    "post lanes with DSPs", "post lanes of LUTs", "output-stationary", "weight-stationary", "input-stationary",
    "slices of many pixels", "slices of many groups", "output-stationary, slices", "weight-stationary, slices",
    "input-stationary, slices",
)  # fmt: skip


def all_bins() -> Iterator[str]:
    """Every bin that the draws must fill."""
    yield from (_window_bin(window) for window in WINDOWS)
    yield from _LAYER_BINS
    yield from _LAYOUT_BINS
    yield from _MAPPING_BINS
    yield from _ENGINE_BINS
    yield from CHUNK_BINS


def bins_of(draw: Draw) -> Iterator[str]:
    """The bins a draw falls into, once per layer."""
    for part in draw.case.program.chunks:
        yield from _engine_bins(part)
    yield from chunk_bins(draw.case.program, draw.mapping, draw.case.memory, draw.case.passes)
    yield from _layout_bins(draw.network)
    for index, layer in enumerate(lower(draw.network).layers):
        yield from _layer_bins(layer)
        yield from _mapping_bins(layer, draw.mapping.layers[index], draw.accelerator.chunks[draw.mapping.chunk(index)])


def _layout_bins(network: Network) -> Iterator[str]:
    """The bins of groups, concats and what lies in them."""
    lowered = lower(network)
    holes = {name for name, order in lowered.orders.items() if HOLE in order}
    for layer in network.layers:
        if layer.op == "concat":
            yield "concat"
            nested = any(network.layer(part).op == "concat" for part in layer.parts if part != "input")
            yield from ["concat of a concat"] if nested else []
            yield from ["holes between parts"] if layer.name in holes else []
    for layer in lowered.layers:
        if layer.name in lowered.sources:
            yield "copied part" if layer.op == "maxpool" else "repacked channels"
            continue
        if network.layer(layer.name).groups > 1:
            yield "groups apart" if layer.groups > 1 else "groups merged"
        if layer.input in holes:
            yield "channels apart, with holes" if layer.per_channel else "channels mixed, with holes"


def _layer_bins(layer: Layer) -> Iterator[str]:
    if layer.op in WINDOWED and (layer.out_height > 1 or layer.out_width > 1):
        window: Window = (layer.op, max(layer.kernel), max(layer.stride), any(layer.padding))
        if window in WINDOWS:
            yield _window_bin(window)
    found = {
        "fc": layer.op == "fc",
        "add": layer.op == "add",
        "mean without padding": len(layer.window_sizes) > 1,
        "global pooling": layer.op in ("avgpool", "maxpool") and layer.is_global,
        "residual signed": layer.residual is not None and layer.residual_signed,
        "residual unsigned": layer.residual is not None and not layer.residual_signed,
        "input signed": layer.in_signed,
        "input unsigned": not layer.in_signed,
        "output signed": layer.out_signed,
        "output unsigned": not layer.out_signed,
        "pad value other than 0": any(layer.padding) and layer.pad_value != 0,
        "clip inside the range": (layer.lo, layer.hi) not in ((-128, 127), (0, 255)),
    }
    yield from (name for name, holds in found.items() if holds)


def _mapping_bins(layer: Layer, mapping: LayerMapping, chunk: Chunk) -> Iterator[str]:
    per_channel = int(layer.per_channel)
    group = tile.group_channels(chunk.oc, per_channel)
    rows, cols = layer.out_height, layer.out_width
    spatial = tile.tiles(rows, mapping.tile_rows) * tile.tiles(cols, mapping.tile_cols)
    steps = tile.steps(mapping.in_channels, chunk.ic, per_channel)
    mac = tile.mac_cycles(mapping.kernel_rows, layer.kernel[1], steps)
    post = tile.post_cycles(mapping.lanes, tile.post_slices(chunk.oc, chunk.post_lanes, per_channel))
    found = {
        "lanes split rows": mapping.lanes_y > 1,
        "lanes split columns": mapping.lanes_x > 1,
        "lanes split both": mapping.lanes_y > 1 and mapping.lanes_x > 1,
        "one lane": mapping.lanes == 1,
        "ragged rows": rows % mapping.tile_rows != 0,
        "ragged columns": cols % mapping.tile_cols != 0,
        "ragged lane rows": rows % mapping.tile_rows % mapping.lane_rows != 0,
        "ragged lane columns": cols % mapping.tile_cols % mapping.lane_cols != 0,
        "ragged output channels of a tile": layer.out_channels % mapping.out_channels != 0,
        "ragged output channels of a group": layer.out_channels % group != 0,
        "ragged input channels of a step": not per_channel and layer.in_channels % chunk.ic != 0,
        "ragged word of input channels": layer.in_channels % 16 != 0,
        "ragged word of output channels": layer.out_channels % 16 != 0,
        "one spatial tile": spatial == 1,
        "many spatial tiles": spatial > 1,
        "one channel tile": mapping.out_channels >= layer.out_channels,
        "many channel tiles": mapping.out_channels < layer.out_channels,
        "one slice": mapping.in_channels >= layer.in_channels and mapping.kernel_rows == layer.kernel[0],
        "slices of input channels": mapping.in_channels < layer.in_channels,
        "slices of kernel rows": mapping.kernel_rows < layer.kernel[0],
        "order inputs": mapping.order == "inputs",
        "order weights": mapping.order == "weights",
        "slices of many pixels": slices(layer, mapping) > 1 and mapping.lane_rows * mapping.lane_cols > 1,
        "slices of many groups": slices(layer, mapping) > 1 and mapping.out_channels > group,
        f"{chunk.dataflow}-stationary, slices": slices(layer, mapping) > 1,
        "post lanes too few": tile.idle_cycles(post, mac, chunk.dataflow_number) > 0,
    }
    yield from (name for name, holds in found.items() if holds)


def _engine_bins(program: ChunkProgram) -> Iterator[str]:
    chunk = program.chunk
    yield f"port of {chunk.port_bytes} bytes"
    yield "1 port" if chunk.ports == 1 else "2 ports"
    yield "1 burst in flight" if chunk.outstanding == 1 else "many bursts in flight"
    yield "two products per DSP" if chunk.packed else "products of LUTs" if chunk.mac_in_lut else "a product per DSP"
    yield from ["two products per DSP, odd lane"] if chunk.packed and chunk.px % 2 else []
    yield "post lanes of LUTs" if chunk.post_in_lut else "post lanes with DSPs"
    yield "one page" if len(program.instructions) <= 64 else "a pass of many pages"
    yield f"{chunk.dataflow}-stationary"
