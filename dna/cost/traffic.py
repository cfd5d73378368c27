"""What a frame moves and computes: bytes of DRAM, of links and of each buffer, multiplications, outputs.

Two views, as for cycles: a closed form for batches of (array, mapping), and the exact count of a Program. The closed
form takes a tile at the border for as much of a window as a tile inside has lanes for; all else is counted alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from dna.accelerator import tile
from dna.accelerator.chunk import PAGE_INSTRUCTIONS
from dna.accelerator.isa import DESTINATIONS, INSTRUCTION_BYTES, MODES, REGIONS, WORD_BYTES
from dna.compile.program import ChunkProgram, Instruction, Program
from dna.cost.mapping_limits import Candidates, strides
from dna.cost.ports import job_words
from dna.network.layer import Layer

PARAM_BYTES = 8
"""Of an output channel."""
SUM_BYTES = 4
"""A partial sum."""


@dataclass(frozen=True)
class Traffic:
    """Of one layer in one frame: numbers, or float64 tensors of one shape. All but the first two are bytes.

    What a buffer is written counts like what it is read.
    """

    macs: Any = 0.0
    """Multiplications that the network asks for; idle multipliers hold still."""
    outputs: Any = 0.0
    """Bytes that the post lanes make."""
    read: Any = 0.0
    """From DRAM."""
    written: Any = 0.0
    """To DRAM."""
    link: Any = 0.0
    """Read from links and written into them."""
    input: Any = 0.0
    weight: Any = 0.0
    param: Any = 0.0
    output: Any = 0.0
    residual: Any = 0.0
    sum: Any = 0.0
    program: Any = 0.0

    def plus(self, other: Traffic) -> Traffic:
        return Traffic(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Traffic)))

    def times(self, factor: Any) -> Traffic:
        return Traffic(*(getattr(self, f.name) * factor for f in fields(Traffic)))

    @property
    def memory(self) -> Any:
        """Bytes of DRAM, both ways."""
        return self.read + self.written


FETCH = Traffic(read=float(INSTRUCTION_BYTES), program=2.0 * INSTRUCTION_BYTES)
"""Of one instruction."""


@dataclass(frozen=True)
class Feeding:
    """How a layer's operands come and go; numbers, or tensors that broadcast against the mappings. Flags are 0 or 1."""

    chip_in: Any = 0
    """The input comes from a link."""
    chip_residual: Any = 0
    chip_out: Any = 0
    """The output goes into a link."""
    batch: Any = 1
    """Frames per weight load."""
    resident: Any = 0
    """`LayerMapping.resident`"""


PLAIN = Feeding()
"""Everything in memory, weights loaded for each frame."""

BUFFERS = ("input", "weight", "param", "output", "residual", "sum", "program")


def layer_traffic(layer: Layer, c: Candidates, a: Mapping[str, Tensor], feeding: Feeding = PLAIN) -> Traffic:
    """Of C mappings: float64 tensors, `a` (parameters of the chunks, int64) broadcast against `(C,)`."""
    count = _counts(layer, c, a, feeding)
    inputs, captured = _input_bytes(layer, c, count)
    weights, params = _weight_bytes(layer, c, a, count)
    made = float(layer.out_height * layer.out_width * layer.out_channels)
    zero = torch.zeros(torch.broadcast_shapes(count.mac.shape, inputs.shape, weights.shape), dtype=torch.float64)
    outputs = WORD_BYTES * float(layer.out_height * layer.out_width * tile.channel_words(layer.out_channels)) + zero
    residual = outputs if layer.residual is not None else zero
    macs_per_lane = (count.spatial * count.groups * count.pixels * count.mac).double()
    lanes = c.lanes_y * c.lanes_x
    stays = (a["dataflow"] == 2) & (not layer.per_channel)
    once_for_all = (count.spatial * count.tiles * count.pixels * count.mac).double()
    weight_words = torch.where(a["dataflow"] == 1, macs_per_lane / count.pixels, macs_per_lane)
    sums = (count.spatial * count.groups * count.pixels * (count.mac - 1)) * (a["dataflow"] != 0)
    program = INSTRUCTION_BYTES * _instructions(layer, count) + zero
    from_link = feeding.chip_in * inputs + feeding.chip_residual * residual
    return Traffic(
        macs=zero + float(layer.macs),
        outputs=zero + made,
        read=inputs + residual - from_link + weights + params + program,
        written=(1 - feeding.chip_out) * outputs,
        link=from_link + feeding.chip_out * outputs + zero,
        input=captured + WORD_BYTES * lanes * torch.where(stays, once_for_all, macs_per_lane),
        weight=weights + (a["oc"] * a["ic"] * weight_words if layer.has_weights else zero),
        param=params + zero + PARAM_BYTES * made,
        output=2 * outputs,
        residual=2 * residual,
        sum=2.0 * SUM_BYTES * a["oc"] * lanes * sums.double(),
        program=2 * program,
    )


@dataclass(frozen=True, eq=False)
class _Counts:
    """Of a layer's tiles, int64, `(C,)` or `(A, C)`."""

    rows: Tensor
    cols: Tensor
    spatial: Tensor
    parts: Tensor
    tiles: Tensor
    slices: Tensor
    last: Tensor
    """Output channels of a group's last tile."""
    groups: Tensor
    """Groups of output channels, of all tiles in one place of the image."""
    pixels: Tensor
    mac: Tensor
    """Cycles of one output pixel and group of output channels, all slices together."""
    loads: Tensor
    """Input tiles loaded for a frame."""
    weight_loads: Tensor
    """Weight tiles loaded for a frame, float64: a part of one where frames share it."""
    weight_repeats: Tensor
    """How often all weights are loaded for a frame, float64."""


def _counts(layer: Layer, c: Candidates, a: Mapping[str, Tensor], feeding: Feeding) -> _Counts:
    per_channel = int(layer.per_channel)
    rows, cols = c.lanes_y * c.lane_rows, c.lanes_x * c.lane_cols
    spatial = tile.tiles(layer.out_height, rows) * tile.tiles(layer.out_width, cols)
    parts = tile.tiles(layer.group_outputs, c.out_channels)
    slices = tile.ceil_div(layer.kernel[0], c.kernel_rows)
    steps: Tensor = tile.steps(layer.group_inputs, a["ic"], per_channel)
    if not layer.per_channel:
        slices = slices * tile.ceil_div(layer.group_inputs, c.in_channels)
        last_inputs = (layer.group_inputs - 1) % c.in_channels + 1
        whole = (layer.group_inputs - last_inputs) // c.in_channels
        steps = tile.steps(last_inputs, a["ic"], 0) + whole * tile.steps(c.in_channels, a["ic"], 0)
    last = layer.group_outputs - (parts - 1) * c.out_channels
    groups = (parts - 1) * tile.output_groups(c.out_channels, a["oc"], per_channel)
    groups = layer.groups * (groups + tile.output_groups(last, a["oc"], per_channel))
    tiles = parts * layer.groups
    alone = torch.as_tensor(feeding.batch == 1)
    # Where a weight tile serves several frames, a single tile of pixels does not stay for all channels.
    apart = spatial + ((spatial == 1) & ~alone).long()
    loads = layer.groups * tile.input_loads(apart, parts, slices, per_channel, 1 - c.order) * spatial // apart
    resident = torch.as_tensor(feeding.resident) == 1
    weight_tiles = tiles * (slices if layer.has_weights else 1)
    weight_loads = tile.weight_loads(spatial, tiles, slices, int(layer.has_weights), 1 - c.order)
    once = (resident | (c.order == 1) | (tiles == 1)) & ((slices == 1) | (not layer.has_weights))
    shared = torch.where(once, 1.0 / torch.as_tensor(feeding.batch).double(), 1.0)
    return _Counts(
        rows=rows,
        cols=cols,
        spatial=spatial,
        parts=parts,
        tiles=tiles,
        slices=slices,
        last=last,
        groups=groups,
        pixels=c.lane_rows * c.lane_cols,
        mac=tile.mac_cycles(layer.kernel[0], layer.kernel[1], steps) + 0 * groups,
        loads=loads,
        weight_loads=shared * torch.where(resident, 1, weight_loads),
        weight_repeats=shared * torch.where(resident, 1, weight_loads // weight_tiles),
    )


def _input_bytes(layer: Layer, c: Candidates, count: _Counts) -> tuple[Tensor, Tensor]:
    """Bytes loaded, and bytes that the lanes keep of them: windows overlap."""
    stride_h, stride_w = strides(layer)
    top, left = layer.padding[:2]
    rows = tile.total_real(layer.out_height, count.rows, stride_h, layer.kernel[0], top, layer.in_height)
    cols = tile.total_real(layer.out_width, count.cols, stride_w, layer.kernel[1], left, layer.in_width)
    repeats = count.loads // (layer.groups * count.spatial * count.slices) if not layer.per_channel else 1
    loaded = WORD_BYTES * (rows * cols * tile.channel_words(layer.in_channels) * repeats).double()
    down = c.lanes_y * tile.window(c.lane_rows, stride_h, c.kernel_rows)
    across = c.lanes_x * tile.window(c.lane_cols, stride_w, layer.kernel[1])
    seen = tile.window(count.rows, stride_h, c.kernel_rows) * tile.window(count.cols, stride_w, layer.kernel[1])
    return loaded, loaded * (down * across).double() / seen


def _weight_bytes(layer: Layer, c: Candidates, a: Mapping[str, Tensor], count: _Counts) -> tuple[Tensor, Tensor]:
    """Bytes of all weight loads, and of all parameter loads."""
    per_channel = int(layer.per_channel)
    words = (count.parts - 1) * tile.param_buffer_words(c.out_channels, a["post_lanes"])
    words = words + tile.param_buffer_words(count.last, a["post_lanes"])
    params = layer.groups * tile.param_stream_words(words, a["post_lanes"])
    weights = torch.zeros_like(params)
    if layer.has_weights:
        steps = tile.steps(layer.group_inputs, a["ic"], per_channel)
        own = tile.weight_buffer_words(count.groups, *layer.kernel, steps, a["ic"], per_channel)
        weights = tile.weight_stream_words(own, a["oc"], a["ic"])
    return WORD_BYTES * weights * count.weight_repeats, WORD_BYTES * params * count.weight_repeats


def _instructions(layer: Layer, count: _Counts) -> Tensor:
    out_tiles = count.spatial * count.tiles
    total = 1 + count.loads + (1 + int(layer.has_weights)) * count.weight_loads + out_tiles.double()
    total = total + tile.compute_tiles(count.spatial, count.tiles, count.slices)
    return total + int(layer.residual is not None) * out_tiles


def program_traffic(program: Program) -> tuple[Traffic, ...]:
    """Of one frame of each executed layer, averaged over a pass, its instructions included.

    One more entry at the end has the instructions that belong to no layer, and what pages are filled up with. The
    first page of a pass is fetched without an instruction.
    """
    totals = [Traffic() for _ in range(len(program.layers) + 1)]
    for part in program.chunks:
        totals[-1] = totals[-1].plus(FETCH.times(PAGE_INSTRUCTIONS))
        heads = {job.layer: job for job in part.instructions if job.op == "LAYER"}
        for job in part.instructions:
            moved = _job_traffic(job, heads.get(job.layer), part)
            totals[job.layer] = totals[job.layer].plus(moved)
            if job.layer >= 0:
                totals[job.layer] = totals[job.layer].plus(FETCH)
                totals[-1] = totals[-1].plus(FETCH.times(-1))
    for index, layer in enumerate(program.layers):
        outputs = float(layer.out_height * layer.out_width * layer.out_channels) * program.frames
        own = Traffic(macs=float(layer.macs) * program.frames, outputs=outputs, param=PARAM_BYTES * outputs)
        totals[index] = totals[index].plus(own)
    return tuple(total.times(1 / program.frames) for total in totals)


def link_traffic(program: Program) -> dict[tuple[int, int], float]:
    """Bytes read from and written into each link, by writer and reader, in one frame."""
    moved = {(link.writer, link.reader): 0.0 for link in program.accelerator.links}
    for index, part in enumerate(program.chunks):
        for job in part.instructions:
            if job["region"] != REGIONS["CHIP"] or job.op not in ("LOAD", "STORE"):
                continue
            size = float(WORD_BYTES * job_words(job)) / program.frames
            if job.op == "LOAD":
                moved[job["peer"], index] += size
            for reader in range(len(program.chunks)):
                if job.op == "STORE" and job["readers"] >> reader & 1:
                    moved[index, reader] += size
    return moved


def _job_traffic(job: Instruction, layer: Instruction | None, part: ChunkProgram) -> Traffic:
    """Of one instruction, without its own fetch: page loads are what fetches."""
    if job.op == "LOAD" and job["dest"] == DESTINATIONS["PROGRAM"]:
        size = float(WORD_BYTES * job_words(job))
        return Traffic(read=size, program=2 * size)
    if job.op == "LOAD":
        return _load_traffic(job, layer)
    if job.op == "STORE":
        size = float(WORD_BYTES * job_words(job))
        if job["region"] == REGIONS["CHIP"]:
            return Traffic(link=size * job["readers"].bit_count(), output=2 * size)
        return Traffic(written=size, output=2 * size)
    if job.op == "TILE" and layer is not None:
        return _tile_traffic(job, layer, part)
    return Traffic()


def _load_traffic(job: Instruction, layer: Instruction | None) -> Traffic:
    size = float(WORD_BYTES * job_words(job))
    place = {"link": size} if job["region"] == REGIONS["CHIP"] else {"read": size}
    if job["dest"] == DESTINATIONS["WEIGHT"]:
        return Traffic(**place, weight=size)
    if job["dest"] == DESTINATIONS["PARAM"]:
        return Traffic(**place, param=size)
    if job["dest"] == DESTINATIONS["RESIDUAL"]:
        return Traffic(**place, residual=2 * size)
    return Traffic(**place, input=WORD_BYTES * _captured_words(job, layer) if layer is not None else size)


def _captured_words(job: Instruction, layer: Instruction) -> float:
    """Words of an input tile that lanes keep, each for itself."""
    rows = job_words(job) // (job["cols"] * job["groups"])
    down = _overlap(layer["lanes"] // layer["lanes_x"], layer["step_y"], layer["window_h"], job["row0"], rows)
    across = _overlap(layer["lanes_x"], layer["step_x"], layer["window_w"], job["col0"], job["cols"])
    return float(down * across * job["groups"])


def _overlap(lanes: int, step: int, window: int, first: int, count: int) -> int:
    """Rows (columns) from `first` on that lie in each lane's window, added up over the lanes."""
    spans = ((lane * step, lane * step + window) for lane in range(lanes))
    return sum(max(0, min(end, first + count) - max(start, first)) for start, end in spans)


def _tile_traffic(job: Instruction, layer: Instruction, part: ChunkProgram) -> Traffic:
    chunk = part.chunk
    pixels = layer["lane_rows"] * layer["lane_cols"]
    mac = tile.mac_cycles(layer["kernel_h"], layer["kernel_w"], job["steps"])
    per_channel = int(layer["mode"] != MODES["MIX"])
    inputs, weights, read, written = tile.buffer_accesses(
        job["groups"], pixels, mac, job["first"], job["last"], per_channel, chunk.dataflow_number
    )
    return Traffic(
        input=float(WORD_BYTES * layer["lanes"] * inputs),
        weight=float((1 - layer["ones"]) * chunk.weight_word_bytes * weights),
        sum=float(SUM_BYTES * chunk.oc * layer["lanes"] * (read + written)),
    )


def total(parts: Sequence[Traffic]) -> Traffic:
    """All together."""
    result = Traffic()
    for part in parts:
        result = result.plus(part)
    return result
