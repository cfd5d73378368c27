"""What the walk over tiles (`dna.cost.walk`) knows of a layer: its loop nest and the sizes of its tiles, by design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from dna.accelerator import tile
from dna.accelerator.isa import WORD_BYTES
from dna.cost.cycles import cuts
from dna.cost.mapping_limits import Candidates, last_idle, strides
from dna.errors import UserError
from dna.network.layer import Layer

LEVELS = 5
"""Loops of a layer, outermost first. Order inputs: frame, row, column, part, slice; weights: part first."""
RADIX = tuple(f"radix{level}" for level in range(LEVELS))
FIELDS = (
    *RADIX,
    *("order", "parts", "part_of_group", "slices", "slices_in", "share", "each", "down"),
    *("in_height", "in_width", "out_height", "out_width", "top", "left", "stride_h", "stride_w", "kernel_w"),
    *("tile_rows", "tile_cols", "per_channel", "residual", "has_weights", "in_words", "out_words"),
    *("kernel_rows", "kernel_last", "steps", "steps_last", "groups", "groups_last", "in_part", "in_last"),
    *("out_part", "out_last", "params", "params_last", "post", "post_last", "idle", "pixels", "word", "pairs"),
    *("source", "source_rows", "source_down", "added", "added_rows", "added_down"),
    *("next_weights", "next_params", "has_next", "part_words", "last_words", "address", "next_address"),
    *(
        "resident",
        "all_weights",
        "all_params",
        "in_row",
        "in_first",
        "out_row",
        "out_first",
        "added_row",
        "added_first",
    ),
    *("instructions", "inputs", "weights", "param_tiles", "outputs"),
)
"""`part`: a tile of output channels. `_last`: of the last part, kernel slice or input slice. `share`: parts of a group
use one input tile; `each`: every step has weights of its own; `resident`: all parts have one weight tile, of
`all_weights` and `all_params` stream words. `word`: stream words per weight buffer word. `source`: number of the layer
that the input waits for; `added`: the same for the residual. `address`: of the layer's streams in the image. `_row`:
words from row to row of a tensor, `_first` words of its first row in front of it: it may lie in a concat. `inputs` and
the names behind it: tiles that are loaded or stored in a pass."""
PLACE = {name: row for row, name in enumerate(FIELDS)}


def table(
    layers: Sequence[Layer],
    mappings: Sequence[Candidates],
    a: Mapping[str, Tensor],
    frames: int,
    written: Mapping[str, int],
    places: Mapping[str, tuple[int, int]] | None = None,
    resident: Tensor | None = None,
) -> Tensor:
    """All fields, int64 `(layers, fields, designs)`. `mappings`: one row per design each. `places`: `walk.places`.
    `resident`: `(layers, designs)`, 1 where it is so in `LayerMapping`; None: nowhere. UserError for a mean that leaves
    padding out, whose tiles end where windows count differently."""
    for layer in layers:
        if len(layer.window_sizes) > 1:
            raise UserError(f"layer '{layer.name}': the walk over tiles knows no mean that leaves padding out")
    if resident is None:
        resident = torch.zeros(len(layers), len(a["px"]), dtype=torch.int64)
    rows = [
        {**_fields(layer, c, a, frames, kept), **_tensor_places(layer, places or {})}
        for layer, c, kept in zip(layers, mappings, resident, strict=True)
    ]
    nothing = len(layers)
    address = torch.tensor(0)
    for row in rows:
        row["part_words"], row["last_words"] = _part_words(row, ""), _part_words(row, "_last")
        row["address"] = address
        several = row["part_of_group"] - 1
        address = address + row["parts"] // row["part_of_group"] * (several * row["part_words"] + row["last_words"])
    for index, layer in enumerate(layers):
        row = rows[index]
        for name, tensor in (("source", layer.input), ("added", layer.residual)):
            writer = written.get(tensor or "", nothing)
            row[name] = torch.tensor(writer)
            known = rows[writer] if writer < nothing else row
            row[f"{name}_rows"], row[f"{name}_down"] = known["tile_rows"], known["down"]
        follower = rows[(index + 1) % nothing]
        row["next_weights"], row["next_params"] = _first_weights(follower)
        row["next_address"] = follower["address"]
        row["has_next"] = torch.tensor(int(index + 1 < nothing))
    shape = a["px"].shape
    return torch.stack([torch.stack([row[name].expand(shape) for name in FIELDS]) for row in rows])


def _part_words(row: Mapping[str, Tensor], which: str) -> Tensor:
    """Stream words of the weights and parameters of all slices of a part."""
    return _part_weights(row, which) + _part_params(row, which)


def _part_weights(row: Mapping[str, Tensor], which: str) -> Tensor:
    rows = (row["slices"] // row["slices_in"] - 1) * row["kernel_rows"] + row["kernel_last"]
    steps = (row["slices_in"] - 1) * row["steps"] + row["steps_last"]
    return weight_words(row, row[f"groups{which}"], rows, steps)


def _part_params(row: Mapping[str, Tensor], which: str) -> Tensor:
    return row[f"params{which}"]


def _first_weights(row: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Stream words of a layer's first weight tile: weights, parameters."""
    one = row["parts"] == 1
    ends = row["slices"] == 1
    last_part = one | (row["part_of_group"] == 1)
    weights = weight_words(
        row,
        torch.where(last_part, row["groups_last"], row["groups"]),
        torch.where(row["slices"] <= row["slices_in"], row["kernel_last"], row["kernel_rows"]),
        torch.where(row["slices_in"] == 1, row["steps_last"], row["steps"]),
    )
    params = torch.where(last_part, row["params_last"], row["params"])
    params = torch.where(ends | (row["has_weights"] == 0), params, 0)
    kept = row["resident"] == 1
    return torch.where(kept, row["all_weights"], weights), torch.where(kept, row["all_params"], params)


def weight_words(row: Mapping[str, Tensor], groups: Tensor, kernel_rows: Tensor, steps: Tensor) -> Tensor:
    """Stream words of a weight tile; 0 without weights."""
    taps = kernel_rows * row["kernel_w"]
    depth = torch.where(row["per_channel"] == 1, -(-taps // row["pairs"]), taps * steps)
    return row["has_weights"] * groups * depth * row["word"]


def _tensor_places(layer: Layer, places: Mapping[str, tuple[int, int]]) -> dict[str, Tensor]:
    """Words from row to row of the tensors, and where in its row each begins."""
    words_in = int(tile.channel_words(layer.in_channels)) * layer.in_width
    words_out = int(tile.channel_words(layer.out_channels)) * layer.out_width
    found: dict[str, Tensor] = {}
    for what, name, words in (
        ("in", layer.input, words_in),
        ("out", layer.name, words_out),
        ("added", layer.residual or "", words_out),
    ):
        row, first = places.get(name, (words, 0))
        found |= {f"{what}_row": torch.tensor(row), f"{what}_first": torch.tensor(first)}
    return found


def _fields(layer: Layer, c: Candidates, a: Mapping[str, Tensor], frames: int, resident: Tensor) -> dict[str, Tensor]:
    per_channel = int(layer.per_channel)
    stride_h, stride_w = strides(layer)
    tile_rows, tile_cols = c.lanes_y * c.lane_rows, c.lanes_x * c.lane_cols
    down, _ = cuts(layer, layer.counted_rows, tile_rows)
    across, _ = cuts(layer, layer.counted_cols, tile_cols)
    of_group = tile.tiles(layer.group_outputs, c.out_channels)
    parts = of_group * layer.groups
    kernels = tile.ceil_div(layer.kernel[0], c.kernel_rows)
    slices_in = torch.ones_like(kernels) if layer.per_channel else tile.ceil_div(layer.group_inputs, c.in_channels)
    slices = kernels * slices_in
    last = layer.group_outputs - (of_group - 1) * c.out_channels
    last_in = layer.group_inputs - (slices_in - 1) * c.in_channels
    many = torch.full_like(down, frames)
    inputs = (many, down, across, parts, slices)
    weights = (parts, many, down, across, slices)
    turned = c.order == 1
    share = (slices == 1) & ~(turned & (frames * down * across > 1)) & (not layer.per_channel)
    lanes = c.lanes_y * c.lanes_x
    found: dict[str, Tensor | int] = {
        **{name: torch.where(turned, w, i) for name, w, i in zip(RADIX, weights, inputs, strict=True)},
        "order": c.order,
        "parts": parts,
        "part_of_group": of_group,
        "slices": slices,
        "slices_in": slices_in,
        "share": share.long(),
        "resident": resident.long(),
        "each": ((slices > 1) & layer.has_weights).long(),
        "down": down,
        "in_height": layer.in_height,
        "in_width": layer.in_width,
        "out_height": layer.out_height,
        "out_width": layer.out_width,
        "top": layer.padding[0],
        "left": layer.padding[1],
        "stride_h": stride_h,
        "stride_w": stride_w,
        "kernel_w": layer.kernel[1],
        "tile_rows": tile_rows,
        "tile_cols": tile_cols,
        "per_channel": per_channel,
        "residual": int(layer.residual is not None),
        "has_weights": int(layer.has_weights),
        "in_words": tile.channel_words(layer.in_channels),
        "out_words": tile.channel_words(layer.out_channels),
        "kernel_rows": c.kernel_rows,
        "kernel_last": layer.kernel[0] - (kernels - 1) * c.kernel_rows,
        "steps": tile.steps(c.in_channels, a["ic"], per_channel),
        "steps_last": tile.steps(last_in, a["ic"], per_channel),
        "groups": tile.output_groups(c.out_channels, a["oc"], per_channel),
        "groups_last": tile.output_groups(last, a["oc"], per_channel),
        "in_part": tile.channel_words(c.out_channels if layer.per_channel else c.in_channels),
        "in_last": tile.channel_words(last if layer.per_channel else last_in),
        "out_part": tile.channel_words(c.out_channels),
        "out_last": tile.channel_words(last),
        "params": tile.param_stream_words(tile.param_buffer_words(c.out_channels, a["post_lanes"]), a["post_lanes"]),
        "params_last": tile.param_stream_words(tile.param_buffer_words(last, a["post_lanes"]), a["post_lanes"]),
        "post": lanes * tile.post_slices_last(c.out_channels, a["oc"], a["post_lanes"], per_channel),
        "post_last": lanes * tile.post_slices_last(last, a["oc"], a["post_lanes"], per_channel),
        "idle": last_idle(layer, c, a),
        "pixels": c.lane_rows * c.lane_cols,
        "word": a["oc"] * a["ic"] // WORD_BYTES,
        "pairs": a["ic"],
    }
    row = {name: torch.as_tensor(value) for name, value in found.items()}
    for what, size in (("weights", _part_weights), ("params", _part_params)):
        several = (of_group - 1) * size(row, "") + size(row, "_last")
        row[f"all_{what}"] = layer.groups * several
    return {**row, **_counts(row, many * down * across * parts)}


def _counts(row: Mapping[str, Tensor], outputs: Tensor) -> dict[str, Tensor]:
    """Instructions of a layer that has so many output tiles, and what is loaded and stored."""
    tiles = outputs * row["slices"]
    layers = torch.where(row["kernel_last"] == row["kernel_rows"], 1, 2 * outputs)
    inputs = torch.where(row["share"] == 1, outputs // row["part_of_group"], tiles)
    turned = (row["order"] == 1) | (row["parts"] == 1)
    weights = torch.where(row["each"] == 1, tiles, torch.where(turned, row["parts"], outputs))
    weights = torch.where(row["resident"] == 1, 1, weights)
    params = torch.where(row["each"] == 1, outputs, weights)
    loads = inputs + weights * row["has_weights"] + params + outputs * row["residual"]
    return {
        "instructions": layers + loads + tiles + outputs,
        "inputs": inputs,
        "weights": weights,
        "param_tiles": params,
        "outputs": outputs,
    }
