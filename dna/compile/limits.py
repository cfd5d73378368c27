"""What an accelerator can run: every limit of fields and buffers, checked before anything is compiled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dna.accelerator import tile
from dna.accelerator.chunk import Accelerator, Chunk
from dna.accelerator.isa import field_limit
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile.lowering import lower
from dna.compile.tiling import channel_spans, strides
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network

MAX_FRAMES = 64
"""Frames of a pass."""


class Limit(NamedTuple):
    """One quantity that must lie in [low, high]."""

    what: str
    value: int
    low: int
    high: int
    help: str


def check(layer: Layer, chunk: Chunk, mapping: LayerMapping) -> None:
    """UserError, naming the layer, the limit and what would help, unless the layer can run so on the chunk."""
    problem = next(_problems(layer, chunk, mapping), None)
    if problem is not None:
        raise UserError(f"layer '{layer.name}': {problem}")


def fits(layer: Layer, chunk: Chunk, mapping: LayerMapping) -> bool:
    """Whether `check` accepts the mapping."""
    return next(_problems(layer, chunk, mapping), None) is None


def check_mapping(network: Network, accelerator: Accelerator, mapping: Mapping) -> None:
    """`check` for every executed layer on its chunk; UserError, too, for wrong chunks, frames or on-chip tensors."""
    layers = lower(network).layers
    for what, given in (("layers", mapping.layers), ("chunks", mapping.chunks), ("batches", mapping.batches)):
        if len(given) != len(layers) and (given or what == "layers"):
            wanted = f"{len(layers)} to be executed" if what == "layers" else f"{len(layers)} layers to be executed"
            raise UserError(f"the mapping has {len(given)} {what}, network '{network.name}' {wanted}")
    if not 1 <= mapping.frames <= MAX_FRAMES:
        raise UserError(f"the mapping has {mapping.frames} frames in a pass; it must be 1 to {MAX_FRAMES}")
    _check_chunks(layers, accelerator, mapping)
    for index, (layer, layer_mapping) in enumerate(zip(layers, mapping.layers, strict=True)):
        batch = mapping.batch(index)
        if batch < 1 or mapping.frames % batch:
            raise UserError(
                f"layer '{layer.name}': batch is {batch}; it must divide the {mapping.frames} frames of a pass"
            )
        check(layer, accelerator.chunks[mapping.chunk(index)], layer_mapping)
    for name in sorted(mapping.on_chip):
        problem = on_chip_problem(network, accelerator, mapping.chunks, name)
        if problem is not None:
            raise UserError(f"tensor '{name}' cannot be on chip: {problem}")


def _check_chunks(layers: Sequence[Layer], accelerator: Accelerator, mapping: Mapping) -> None:
    count = len(accelerator.chunks)
    used = set()
    for index, layer in enumerate(layers):
        chunk = mapping.chunk(index)
        if not 0 <= chunk < count:
            raise UserError(f"layer '{layer.name}': chunk is {chunk}; the accelerator has {count} chunk(s), from 0")
        used.add(chunk)
    for chunk in range(count):
        if chunk not in used:
            raise UserError(f"chunk {chunk} has no layer; give it one, or leave the chunk out")


def on_chip_problem(network: Network, accelerator: Accelerator, chunks: Sequence[int], tensor: str) -> str | None:
    """Why a tensor cannot be handed over in links at all; None if it can, if there is room.

    `chunks`: as in `Mapping`, the chunk of each executed layer, or nothing for chunk 0.
    """
    lowered = lower(network)
    if tensor not in lowered.orders:
        return "there is no such tensor"
    if tensor == "input" or tensor == lowered.output:
        return "it is the network's input or output"
    if tensor in lowered.places or lowered.writers(tensor) != (tensor,):
        return "it is a concat or lies in one"
    places = zip(lowered.layers, chunks or [0] * len(lowered.layers), strict=True)
    chunk_of = {layer.name: chunk for layer, chunk in places}
    readers = sorted({chunk_of[layer.name] for layer in lowered.layers if tensor in (layer.input, layer.residual)})
    if not readers:
        return "nothing reads it"
    for reader in readers:
        if accelerator.link(chunk_of[tensor], reader) is None:
            return f"there is no link from chunk {chunk_of[tensor]}, which writes it, to chunk {reader}"
    return None


def _problems(layer: Layer, chunk: Chunk, mapping: LayerMapping) -> Iterator[str]:
    """Messages for what does not fit; later rules rely on earlier ones."""
    yield from _shape_problems(layer, chunk, mapping)
    for limits in (_buffer_limits(layer, chunk, mapping), _field_limits(layer, chunk, mapping)):
        for what, value, low, high, advice in limits:
            if not low <= value <= high:
                yield f"{what} is {value}; the limit is {high if value > high else low}; {advice}"


def _shape_problems(layer: Layer, chunk: Chunk, mapping: LayerMapping) -> Iterator[str]:
    for name in ("lanes_y", "lanes_x", "lane_rows", "lane_cols"):
        if getattr(mapping, name) < 1:
            yield f"{name} is {getattr(mapping, name)}; it must be at least 1"
    if mapping.lanes > chunk.px:
        yield f"{mapping.lanes_y} x {mapping.lanes_x} lanes; the chunk has {chunk.px}; use fewer lanes"
    yield from _part_problems("out_channels", mapping.out_channels, layer.group_outputs)
    yield from _part_problems("in_channels", mapping.in_channels, layer.group_inputs)
    if not 1 <= mapping.kernel_rows <= layer.kernel[0]:
        yield f"kernel_rows is {mapping.kernel_rows}; it must be 1 to {layer.kernel[0]}"
    if mapping.order not in ("inputs", "weights"):
        yield f"order is '{mapping.order}'; it must be 'inputs' or 'weights'"
    if layer.per_channel and mapping.in_channels != layer.in_channels:
        yield f"{layer.op} does not mix channels: in_channels must be all {layer.in_channels}"
    if mapping.kernel_rows < layer.kernel[0] and (layer.padding[0] or layer.padding[2]):
        yield "slices of kernel rows need a layer without padding above and below; use all kernel rows"
    if layer.residual is not None and not chunk.residual:
        yield "it adds a residual, but the chunk has no residual buffer; use a chunk with residual"
    if mapping.resident and (slices(layer, mapping) > 1 or len(layer.window_sizes) > 1):
        yield "resident weights need a layer without slices and with one size of windows"
    if slices(layer, mapping) > 1 and not chunk.sum_words:
        groups = tile.output_groups(mapping.out_channels, chunk.oc, int(layer.per_channel))
        if mapping.lane_rows * mapping.lane_cols * groups > 1:
            yield "slices need one pixel per lane and one group of output channels; use smaller tiles or no slices"


def _part_problems(name: str, part: int, whole: int) -> Iterator[str]:
    if part != whole and (not 1 <= part < whole or part % tile.WORD):
        yield f"{name} of a tile is {part}; it must be all {whole} or a smaller multiple of 16"


def slices(layer: Layer, mapping: LayerMapping) -> int:
    """Slices of one output tile: parts of the kernel rows times parts of the input channels."""
    rows = tile.ceil_div(layer.kernel[0], mapping.kernel_rows)
    return rows * (1 if layer.per_channel else tile.ceil_div(layer.group_inputs, mapping.in_channels))


def _buffer_limits(layer: Layer, chunk: Chunk, mapping: LayerMapping) -> Iterator[Limit]:
    """Each buffer is two slots: a tile may fill half of the depth."""
    per_channel = int(layer.per_channel)
    window_h, window_w = _lane_window(layer, mapping)
    in_channels = mapping.out_channels if layer.per_channel else mapping.in_channels
    words = tile.lane_words(window_h, window_w, in_channels)
    half = tile.slot_words(chunk.input_words)
    yield Limit("a lane's input tile in words", words, 1, half, "use smaller tiles, slices or more input_words")
    if mapping.resident:
        yield from _resident_limits(layer, chunk, mapping)
    groups = tile.output_groups(mapping.out_channels, chunk.oc, per_channel)
    if layer.has_weights:
        steps = tile.steps(in_channels, chunk.ic, per_channel)
        words = tile.weight_buffer_words(groups, mapping.kernel_rows, layer.kernel[1], steps, chunk.ic, per_channel)
        half = tile.slot_words(chunk.weight_words)
        yield Limit("a weight tile in words", words, 1, half, "use fewer out_channels, slices or more weight_words")
    words = tile.param_buffer_words(mapping.out_channels, chunk.post_lanes)
    half = tile.slot_words(chunk.param_words)
    yield Limit("a tile's parameters in words", words, 1, half, "use fewer out_channels or more param_words")
    rows, cols = min(mapping.tile_rows, layer.out_height), min(mapping.tile_cols, layer.out_width)
    words = tile.output_words(rows, cols, mapping.out_channels)
    half = tile.slot_words(chunk.output_words)
    yield Limit("an output tile in words", words, 1, half, "use smaller tiles or more output_words")
    pixels, sliced = mapping.lane_rows * mapping.lane_cols, int(slices(layer, mapping) > 1)
    words = tile.sum_places(pixels, groups, sliced, chunk.dataflow_number)
    yield Limit(
        "a tile's partial sums in words", words, 1, max(1, chunk.sum_words), "use smaller tiles or more sum_words"
    )


def _resident_limits(layer: Layer, chunk: Chunk, mapping: LayerMapping) -> Iterator[Limit]:
    """All parts of a layer's weights and parameters stand in one slot, one after the other."""
    per_channel = int(layer.per_channel)
    weights = params = 0
    for channels in channel_spans(layer, mapping):
        if layer.has_weights:
            groups = tile.output_groups(channels.count, chunk.oc, per_channel)
            steps = tile.steps(mapping.in_channels, chunk.ic, per_channel)
            weights += tile.weight_buffer_words(groups, layer.kernel[0], layer.kernel[1], steps, chunk.ic, per_channel)
        params += tile.param_buffer_words(channels.count, chunk.post_lanes)
    help_resident = "let the weights not be resident, or use a larger buffer"
    yield Limit("resident weights in words", weights, 0, tile.slot_words(chunk.weight_words), help_resident)
    yield Limit("resident parameters in words", params, 1, tile.slot_words(chunk.param_words), help_resident)


def _field_limits(layer: Layer, chunk: Chunk, mapping: LayerMapping) -> Iterator[Limit]:
    per_channel = int(layer.per_channel)
    stride_h, stride_w = strides(layer)
    size = field_limit("TILE", "row_hi")
    help_tile = "use smaller tiles"
    rows = tile.tile_window(mapping.lanes_y, mapping.lane_rows, stride_h, mapping.kernel_rows)
    cols = tile.tile_window(mapping.lanes_x, mapping.lane_cols, stride_w, layer.kernel[1])
    yield Limit("a tile's input window in rows", rows, 1, size, help_tile)
    yield Limit("a tile's input window in columns", cols, 1, size, help_tile)
    yield Limit("step_y of the lanes", mapping.lane_rows * stride_h, 1, field_limit("LAYER", "step_y"), help_tile)
    yield Limit("step_x of the lanes", mapping.lane_cols * stride_w, 1, field_limit("LAYER", "step_x"), help_tile)
    yield Limit("kernel rows", mapping.kernel_rows, 1, field_limit("LAYER", "kernel_h"), "use slices of kernel rows")
    yield Limit("kernel columns", layer.kernel[1], 1, field_limit("LAYER", "kernel_w"), "use a smaller kernel")
    yield Limit("stride", max(stride_h, stride_w), 1, field_limit("LAYER", "stride_h"), "use a smaller stride")
    steps = tile.steps(mapping.in_channels, chunk.ic, per_channel)
    yield Limit("steps over input channels", steps, 1, field_limit("TILE", "steps"), "use slices of the input channels")
    groups = tile.output_groups(mapping.out_channels, chunk.oc, per_channel)
    yield Limit("groups of output channels", groups, 1, field_limit("TILE", "groups"), "use fewer out_channels")
    words = tile.channel_words(layer.in_channels)
    yield Limit("input channel groups", words, 1, field_limit("LOAD", "groups"), "use fewer channels")
    pitch = mapping.lane_rows * tile.channel_words(mapping.out_channels) * min(mapping.tile_cols, layer.out_width)
    yield Limit("output words per lane row", pitch, 1, field_limit("TILE", "lane_pitch"), "use fewer lane_rows")
    slices_ = tile.post_slices(chunk.oc, chunk.post_lanes, per_channel)
    mac = tile.mac_cycles(_last_kernel_rows(layer, mapping), layer.kernel[1], _last_steps(layer, chunk, mapping))
    idle = tile.idle_cycles(tile.post_cycles(mapping.lanes, slices_), mac, chunk.dataflow_number)
    yield Limit("idle cycles per pixel", idle, 0, field_limit("TILE", "idle"), "use fewer lanes or more post_lanes")
    stride = field_limit("LOAD", "stride_inner")
    row = tile.channel_words(layer.in_channels) * layer.in_width
    yield Limit("words of an input row", row, 1, stride, "use a narrower or thinner tensor")
    row = tile.channel_words(layer.out_channels) * layer.out_width
    yield Limit("words of an output row", row, 1, stride, "use a narrower or thinner tensor")


def _lane_window(layer: Layer, mapping: LayerMapping) -> tuple[int, int]:
    stride_h, stride_w = strides(layer)
    return (
        tile.window(mapping.lane_rows, stride_h, mapping.kernel_rows),
        tile.window(mapping.lane_cols, stride_w, layer.kernel[1]),
    )


def _last_kernel_rows(layer: Layer, mapping: LayerMapping) -> int:
    return (layer.kernel[0] - 1) % mapping.kernel_rows + 1


def _last_steps(layer: Layer, chunk: Chunk, mapping: LayerMapping) -> int:
    last = (layer.group_inputs - 1) % mapping.in_channels + 1
    return int(tile.steps(last, chunk.ic, int(layer.per_channel)))
