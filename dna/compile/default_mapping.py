"""Mappings without a search: a simple good one, random legal ones, and random chunks to try them on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

from numpy.random import Generator

from dna.accelerator import tile
from dna.accelerator.chunk import DATAFLOWS, INPUT_CHANNELS, POST_LANES, Accelerator, Chunk
from dna.accelerator.mapping import LayerMapping, Mapping, Order
from dna.compile.limits import check, fits, slices
from dna.compile.lowering import lower
from dna.compile.tiling import col_spans, row_spans, strides
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network

_TRIES = 200


def default_mapping(network: Network, chunk: Chunk) -> Mapping:
    """`default_layer_mapping` for every executed layer."""
    return Mapping(tuple(default_layer_mapping(layer, chunk) for layer in lower(network).layers))


def default_pipeline(network: Network, accelerator: Accelerator, frames: int = 1) -> Mapping:
    """A mapping onto all chunks: consecutive layers on consecutive chunks, the slowest with the fewest array cycles.

    Each layer has its `default_layer_mapping`, all tensors lie in memory. UserError if there are more chunks than
    executed layers, or if a layer fits no chunk that it could be on.
    """
    layers, chunks = lower(network).layers, accelerator.chunks
    if len(chunks) > len(layers):
        raise UserError(f"network '{network.name}' has {len(layers)} layers to be executed, for {len(chunks)} chunks")
    by_kind = {chunk: _options(layers, chunk) for chunk in dict.fromkeys(chunks)}
    options = [by_kind[chunk] for chunk in chunks]
    ends = _balanced([[math.inf if option is None else option[0] for option in row] for row in options])
    if ends is None:
        raise UserError(f"network '{network.name}': no cut into {len(chunks)} runs of layers fits the chunks")
    of_layer = tuple(sum(index >= end for end in ends) for index in range(len(layers)))
    chosen = [options[chunk][index] for index, chunk in enumerate(of_layer)]
    return Mapping(tuple(option[1] for option in chosen if option is not None), of_layer, frames)


def _options(layers: Sequence[Layer], chunk: Chunk) -> list[tuple[int, LayerMapping] | None]:
    """`_option` of each layer; those that differ in their tensors alone have the same."""
    plain = [replace(layer, name="layer", input="input", residual=layer.residual and "input") for layer in layers]
    found = {layer: _option(layer, chunk) for layer in dict.fromkeys(plain)}
    return [found[layer] for layer in plain]


def _option(layer: Layer, chunk: Chunk) -> tuple[int, LayerMapping] | None:
    """Array cycles and default mapping of a layer on a chunk, if it fits."""
    try:
        mapping = default_layer_mapping(layer, chunk)
    except UserError:
        return None
    return _array_cycles(layer, chunk, mapping), mapping


def _balanced(cycles: Sequence[Sequence[float]]) -> list[int] | None:
    """Where runs of layers end, one run per row of `cycles` [chunks][layers]; the largest sum of a run is smallest."""
    count = len(cycles[0])
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
    for chunk, row in enumerate(cycles):
        sums = [0.0, *accumulate(row)]
        left = len(cycles) - chunk - 1
        following: dict[int, tuple[float, list[int]]] = {}
        for start, (slowest, ends) in best.items():
            for end in range(start + 1, count - left + 1) if left else [count]:
                cost = max(slowest, sum(row[start:end]) if math.isinf(sums[end]) else sums[end] - sums[start])
                if end not in following or cost < following[end][0]:
                    following[end] = cost, [*ends, end]
        best = following
    slowest, ends = best[count]
    return None if math.isinf(slowest) else ends


def default_layer_mapping(layer: Layer, chunk: Chunk) -> LayerMapping:
    """A legal mapping of an executed layer (`dna.compile.lowering`) that needs few array cycles and little traffic.

    UserError naming the limit if there is none.
    """
    best: tuple[int, int, LayerMapping] | None = None
    for mapping in _candidates(layer, chunk):
        if fits(layer, chunk, mapping):
            cost = _array_cycles(layer, chunk, mapping)
            traffic = _traffic_words(layer, chunk, mapping)
            key = max(cost, traffic), cost + traffic
            if best is None or key < best[:2]:
                best = *key, mapping
    if best is None:
        check(layer, chunk, smallest_mapping(layer, chunk))
        raise UserError(f"layer '{layer.name}': no mapping fits; use a chunk with larger buffers")
    return best[2]


def smallest_mapping(layer: Layer, chunk: Chunk) -> LayerMapping:
    """One output pixel, fewest channels, smallest slices: what it exceeds, no mapping meets."""
    out_channels = min(16, layer.group_outputs)
    sliced = out_channels <= _group_size(layer, chunk)
    whole_rows = not sliced or bool(layer.padding[0] or layer.padding[2])
    whole_inputs = not sliced or layer.per_channel
    return LayerMapping(
        lanes_y=1,
        lanes_x=1,
        lane_rows=1,
        lane_cols=1,
        out_channels=out_channels,
        in_channels=layer.group_inputs if whole_inputs else min(16, layer.group_inputs),
        kernel_rows=layer.kernel[0] if whole_rows else 1,
        order="inputs",
    )


def _group_size(layer: Layer, chunk: Chunk) -> int:
    return int(tile.group_channels(chunk.oc, int(layer.per_channel)))


def _candidates(layer: Layer, chunk: Chunk) -> Iterator[LayerMapping]:
    for lanes_y, lanes_x in _lane_splits(layer, chunk):
        for lane_rows in _parts(tile.ceil_div(layer.out_height, lanes_y)):
            for lane_cols in _parts(tile.ceil_div(layer.out_width, lanes_x)):
                for out_channels in _channel_parts(layer.group_outputs):
                    for in_channels, kernel_rows in _slices(layer, chunk, lane_rows * lane_cols):
                        for order in ("inputs", "weights"):
                            yield LayerMapping(
                                lanes_y, lanes_x, lane_rows, lane_cols, out_channels, in_channels, kernel_rows, order
                            )


def _lane_splits(layer: Layer, chunk: Chunk) -> list[tuple[int, int]]:
    """Row-wise as far as it goes, and for each number of lane rows as many columns as are left and useful."""
    splits = set()
    for lanes_y in _parts(min(chunk.px, layer.out_height)):
        lanes_x = min(chunk.px // lanes_y, layer.out_width)
        splits.add((lanes_y, lanes_x))
        splits.add((lanes_y, 1))
    return sorted(splits)


def _parts(size: int) -> list[int]:
    """The size cut into 1, 2, 3, 4, 6, 8, 12, ... parts, without repetition, largest first."""
    counts = [1, *(base << shift for shift in range(size.bit_length()) for base in (2, 3))]
    return sorted({int(tile.ceil_div(size, min(n, size))) for n in counts}, reverse=True)


def _channel_parts(channels: int) -> list[int]:
    """All channels, or multiples of 16."""
    words = int(tile.channel_words(channels))
    return [channels, *(16 * n for n in _parts(words) if 16 * n < channels)]


def _slices(layer: Layer, chunk: Chunk, pixels: int) -> Iterator[tuple[int, int]]:
    """Input channels and kernel rows of a slice; whole where there is no place for the sums of `pixels` per lane."""
    yield layer.group_inputs, layer.kernel[0]
    if pixels > max(1, chunk.sum_words):
        return
    inputs = [layer.in_channels] if layer.per_channel else _channel_parts(layer.group_inputs)
    rows = [layer.kernel[0]] if layer.padding[0] or layer.padding[2] else _parts(layer.kernel[0])
    for kernel_rows in rows:
        for in_channels in inputs:
            if (in_channels, kernel_rows) != (layer.group_inputs, layer.kernel[0]):
                yield in_channels, kernel_rows


def _tile_counts(layer: Layer, mapping: LayerMapping) -> tuple[int, int, int]:
    """Spatial tiles, tiles of output channels in one group, slices."""
    spatial = len(row_spans(layer, mapping)) * len(col_spans(layer, mapping))
    return spatial, int(tile.tiles(layer.group_outputs, mapping.out_channels)), slices(layer, mapping)


def _array_cycles(layer: Layer, chunk: Chunk, mapping: LayerMapping) -> int:
    """Array cycles of the layer, a few start-up cycles per tile included."""
    per_channel = int(layer.per_channel)
    mac = tile.mac_cycles(mapping.kernel_rows, layer.kernel[1], tile.steps(mapping.in_channels, chunk.ic, per_channel))
    post = tile.post_cycles(mapping.lanes, tile.post_slices(chunk.oc, chunk.post_lanes, per_channel))
    groups = tile.output_groups(mapping.out_channels, chunk.oc, per_channel)
    idle = tile.idle_cycles(post, mac, chunk.dataflow_number)
    cycles = tile.compute_cycles(groups, mapping.lane_rows, mapping.lane_cols, mac, idle)
    return int(layer.groups * tile.compute_tiles(*_tile_counts(layer, mapping)) * (cycles + 10))


def _traffic_words(layer: Layer, chunk: Chunk, mapping: LayerMapping) -> int:
    """Words loaded, full tiles assumed, and a few words' time per job."""
    per_channel, inputs_outer = int(layer.per_channel), int(mapping.order == "inputs")
    spatial, channels, count = _tile_counts(layer, mapping)
    stride_h, stride_w = strides(layer)
    rows = min(tile.tile_window(mapping.lanes_y, mapping.lane_rows, stride_h, mapping.kernel_rows), layer.in_height)
    cols = min(tile.tile_window(mapping.lanes_x, mapping.lane_cols, stride_w, layer.kernel[1]), layer.in_width)
    depth = mapping.out_channels if layer.per_channel else mapping.in_channels
    words = tile.input_loads(spatial, channels, count, per_channel, inputs_outer) * (
        tile.input_words(rows, cols, depth) + 20
    )
    if layer.has_weights:
        groups = tile.output_groups(mapping.out_channels, chunk.oc, per_channel)
        steps = tile.steps(depth, chunk.ic, per_channel)
        stream = tile.weight_stream_words(
            tile.weight_buffer_words(groups, mapping.kernel_rows, layer.kernel[1], steps, chunk.ic, per_channel),
            chunk.oc,
            chunk.ic,
        )
        words += tile.weight_loads(spatial, channels, count, 1, inputs_outer) * (stream + 20)
    return int(layer.groups * words)


def resident(layer: Layer, chunk: Chunk, mapping: LayerMapping) -> LayerMapping:
    """The mapping with resident weights, where that is legal; else as it is."""
    kept = replace(mapping, resident=True)
    return kept if fits(layer, chunk, kept) else mapping


def random_mapping(layer: Layer, chunk: Chunk, rng: Generator) -> LayerMapping:
    """Any legal mapping of an executed layer: lane splits, ragged tiles, channel tiles, slices and orders all occur.

    Draws until one fits; after many failures the default mapping. UserError if no mapping exists.
    """
    for _ in range(_TRIES):
        mapping = _draw(layer, chunk, rng)
        if fits(layer, chunk, mapping):
            return mapping
    return default_layer_mapping(layer, chunk)


def _draw(layer: Layer, chunk: Chunk, rng: Generator) -> LayerMapping:
    lanes_y = int(rng.integers(1, chunk.px + 1))
    lanes_x = int(rng.integers(1, chunk.px // lanes_y + 1))
    lane_rows = _draw_size(rng, tile.ceil_div(layer.out_height, lanes_y))
    lane_cols = _draw_size(rng, tile.ceil_div(layer.out_width, lanes_x))
    out_channels = _draw_channels(rng, layer.group_outputs)
    in_channels, kernel_rows = layer.group_inputs, layer.kernel[0]
    if rng.random() < 0.3 and (chunk.sum_words or out_channels <= _group_size(layer, chunk)):
        if not chunk.sum_words:
            lane_rows = lane_cols = 1
        if not layer.per_channel:
            in_channels = _draw_channels(rng, layer.group_inputs)
        if not (layer.padding[0] or layer.padding[2]):
            kernel_rows = int(rng.integers(1, layer.kernel[0] + 1))
    order: Order = "inputs" if rng.random() < 0.5 else "weights"
    return LayerMapping(lanes_y, lanes_x, lane_rows, lane_cols, out_channels, in_channels, kernel_rows, order)


def _draw_size(rng: Generator, size: int) -> int:
    """1 .. size, with the ends more likely."""
    kind = rng.integers(4)
    return 1 if kind == 0 else int(size) if kind == 1 else int(rng.integers(1, size + 1))


def _draw_channels(rng: Generator, channels: int) -> int:
    words = int(tile.channel_words(channels))
    return channels if words == 1 or rng.random() < 0.4 else min(channels, 16 * int(rng.integers(1, words + 1)))


def random_chunk(rng: Generator) -> Chunk:
    """A small chunk, any array shape, dataflow, post lanes, ports and bursts; always with a residual buffer."""
    while True:
        oc, ic = int(rng.choice([2, 4, 8, 16, 32, 48])), int(rng.choice(INPUT_CHANNELS))
        if oc * ic % 16 == 0 and oc * ic <= 256:
            break
    port_bytes = int(rng.choice([8, 16]))
    dataflow = DATAFLOWS[int(rng.choice([0, 0, 1, 2]))]
    px, packed = int(rng.integers(1, 9)), bool(rng.integers(2))
    return Chunk(
        oc=oc,
        ic=ic,
        px=px,
        post_lanes=int(rng.choice([lanes for lanes in POST_LANES if oc % lanes == 0])),
        input_words=int(rng.choice([512, 600, 1024, 2048])),
        weight_words=int(rng.choice([1024, 2000, 4096, 8192])),
        param_words=int(rng.choice([128, 200, 256])),
        output_words=int(rng.choice([128, 300, 512, 1024])),
        residual=True,
        ports=int(rng.integers(1, 3)),
        port_bytes=port_bytes,
        burst_beats=int(rng.choice([2, 4, 8, 16, 32, 64, 128, 256])),
        outstanding=int(rng.choice([1, 2, 4, 8, 16])),
        packed=packed,
        mac_in_lut=not packed and oc * ic * px <= 256 and bool(rng.integers(2)),
        post_in_lut=bool(rng.integers(2)),
        dataflow=dataflow,
        sum_words=0 if dataflow == "output" else int(rng.choice([16, 48, 100, 512])),
    )
