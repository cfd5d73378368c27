"""The schedule's recurrence over tiles, for batches of designs at once.

`dna.cost.schedule` walks the instructions of one Program. Here all designs of a batch walk the tiles of their layers
side by side, without a Program: what a tile loads, computes and stores follows from layer and mapping.

All times are maxima of earlier times plus constants, so what is left out can only make them earlier: most bursts of
very long jobs (`dna.cost.walk_bursts`), and that a residual's slot may be that of the one before it. Hence no cycle
here is later than there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dna.accelerator.chunk import PAGE_INSTRUCTIONS, Memory
from dna.accelerator.isa import field_limit
from dna.cost.mapping_limits import Candidates
from dna.cost.walk_bursts import Job
from dna.cost.walk_engines import PAGE_BODY, PAGE_WORDS, Engines, Ports, T
from dna.cost.walk_fields import LEVELS, PLACE, RADIX, table, weight_words
from dna.cost.walk_groups import Group
from dna.network.layer import Layer

LONGEST = field_limit("LOAD", "run")
"""Words of a run."""
COUNTED = ("inputs", "weights", "param_tiles", "outputs")
"""Buffers whose slots take turns, by the field that counts their tiles."""
Fields = Mapping[str, Tensor]


@dataclass(frozen=True)
class Walked:
    """Cycles of designs, int64."""

    cycles: Tensor
    """From the start pulse to done, `(designs,)`."""
    ends: Tensor
    """End of each pass: the first cycle in which its last commit is seen, `(passes, designs)`."""
    layers: Tensor
    """Last commit of each layer in the last pass, `(layers, designs)`."""

    @property
    def interval(self) -> Tensor:
        """Cycles between the ends of the last two passes; of a single pass, all."""
        return self.ends[-1] - self.ends[-2] if len(self.ends) > 1 else self.cycles


def network_cycles(
    layers: Sequence[Layer],
    mappings: Sequence[Candidates],
    values: Mapping[str, Tensor],
    memories: Memory | Sequence[Memory],
    written: Mapping[str, int],
    *,
    frames: int = 1,
    passes: int = 1,
    places: Mapping[str, tuple[int, int]] | None = None,
    resident: Tensor | None = None,
) -> Walked:
    """Cycles of designs of one chunk each that run the executed layers, all tensors in memory.

    `mappings`: by layer, a row per design. `values`: the chunks' parameters, int64 `(designs,)` each. `memories`: one
    for all designs, or one each. `written` and `places`: see `dna.cost.walk_groups`; without `places` no tensor lies in
    another. Each of `passes` passes takes `frames` frames, which share weight loads where the order is "weights".
    `resident`: `(layers, designs)`, 1 where it is so in `LayerMapping`; None: nowhere. Mappings have to be legal
    (`mapping_limits.legal`). UserError for a mean that leaves padding out.
    """
    each = [memories] * len(values["px"]) if isinstance(memories, Memory) else list(memories)
    group = Group(tuple(layers), tuple(mappings), values, tuple(each), written, places or {}, resident)
    return groups_cycles([group], frames=frames, passes=passes)


def groups_cycles(groups: Sequence[Group], *, frames: int = 1, passes: int = 1) -> Walked:
    """Cycles of designs of several networks side by side, one group after the other.

    As `network_cycles`, and with the same results; `Walked.layers` has 0 behind the last layer of a shorter network.
    """
    depth = max(len(group.layers) for group in groups)
    tables = [table(g.layers, g.mappings, g.values, frames, g.written, g.places, g.resident) for g in groups]
    fields = torch.cat([F.pad(t, (0, 0, 0, 0, 0, depth - len(t))) for t in tables], 2)
    lengths = torch.cat([torch.full((t.shape[2],), len(t)) for t in tables])
    values = {name: torch.cat([g.values[name] for g in groups]) for name in groups[0].values}
    memories = [memory for group in groups for memory in group.memories]
    found = [torch.zeros(rows, len(lengths), dtype=torch.int64) for rows in (1, passes, depth)]
    for outstanding in torch.unique(values["outstanding"]).tolist():
        ids = torch.nonzero(values["outstanding"] == outstanding)[:, 0]
        a = {name: value[ids] for name, value in values.items()}
        ports = Ports.of(a, [memories[i] for i in ids.tolist()])
        walk = _Walk(fields[:, :, ids], lengths[ids], a, ports, int(outstanding), frames, passes)
        for whole, part in zip(found, walk.run(), strict=True):
            whole[:, ids] = part
    return Walked(found[0][0], found[1], found[2])


@dataclass(frozen=True, eq=False)
class _Place:
    """Where in its layer each design is, and which kinds of part and slice that is."""

    frame: Tensor
    row: Tensor
    col: Tensor
    part: Tensor
    cut: Tensor
    part_last: Tensor
    kernel_at: Tensor
    input_at: Tensor
    kernel_rows: Tensor
    last: Tensor


def _place(f: Fields, digits: Tensor) -> _Place:
    turned = f["order"] == 1
    frame, row = torch.where(turned, digits[1], digits[0]), torch.where(turned, digits[2], digits[1])
    col, part = torch.where(turned, digits[3], digits[2]), torch.where(turned, digits[0], digits[3])
    cut = digits[4]
    kernel_at, input_at = cut // f["slices_in"], cut % f["slices_in"]
    kernel_rows = torch.where((kernel_at + 1) * f["slices_in"] >= f["slices"], f["kernel_last"], f["kernel_rows"])
    part_last = part % f["part_of_group"] == f["part_of_group"] - 1
    last = cut == f["slices"] - 1
    return _Place(frame, row, col, part, cut, part_last, kernel_at, input_at, kernel_rows, last)


class _Walk:
    def __init__(
        self,
        fields: Tensor,
        lengths: Tensor,
        a: Mapping[str, Tensor],
        ports: Ports,
        outstanding: int,
        frames: int,
        passes: int,
    ) -> None:
        """`fields`: as `walk_fields.table` gives them; `lengths`: layers of each design."""
        self.layers, _, count = fields.shape
        self.lengths = lengths
        self.fields, self.passes = fields, passes
        body = 1 + fields[:, PLACE["instructions"]].sum(0)
        pages = ((body - PAGE_INSTRUCTIONS - 1) // PAGE_BODY + 2).clamp(min=1)
        self.base = pages * PAGE_WORDS
        """First word of the streams of weights and parameters."""
        odd = [fields[:, PLACE[name]].sum(0) % 2 == 1 for name in COUNTED]
        self.odd = torch.stack(odd)
        """By buffer: a pass has an odd number of tiles, so its last one and the next pass' first share a slot."""
        self.same_slot = torch.zeros_like(self.odd)
        """By buffer: the next tile is that first one."""
        self.engines = Engines(ports, a["px"] + 1, outstanding, (pages - 1) * PAGE_BODY)
        self.rows = int(fields[:, PLACE["down"]].max())
        none, no = torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.bool)
        self.design = torch.arange(count)
        """Columns of the batch that are still under way."""
        self.commits = torch.zeros(count, self.layers + 1, frames * self.rows, dtype=torch.int64)
        """By layer and row of tiles: when its last STORE is seen. One more stands for the network's input."""
        self.layer, self.number, self.use, self.kernel, self.params = (none.clone() for _ in range(5))
        """Layer, pass, tiles that used the weight tile before, kernel rows of LAYER, parameter tiles not yet free."""
        self.active, self.new_input, self.new_layer, self.ahead = ~no, ~no, ~no, no.clone()
        """`ahead`: the next weight tile was asked for."""
        self.digits = torch.zeros(LEVELS, count, dtype=torch.int64)
        self.current = fields[0].clone()
        self.cycles = none[None].clone()
        self.ends, self.of_layers = (torch.zeros(n, count, dtype=torch.int64) for n in (passes, self.layers))
        self.engines.start(self.design)

    def run(self) -> tuple[Tensor, Tensor, Tensor]:
        """Cycles, ends of passes and of layers, designs in the last dimension."""
        while len(self.design):
            self._step()
            left = int(self.active.sum())
            if 2 * left <= len(self.design):
                self._keep(torch.nonzero(self.active)[:, 0])
        return self.cycles, self.ends, self.of_layers

    def _keep(self, ids: Tensor) -> None:
        """Go on with these designs alone."""
        self.engines.select(ids)
        for name in ("design", "base", "commits", "layer", "number", "use", "kernel", "params"):
            setattr(self, name, getattr(self, name)[ids])
        for name in ("active", "new_input", "new_layer", "ahead"):
            setattr(self, name, getattr(self, name)[ids])
        for name in ("digits", "current", "odd", "same_slot"):
            setattr(self, name, getattr(self, name)[..., ids])

    # ------------------------------------------------------------ one tile

    def _step(self) -> None:
        """The next tile of every design, in the order of `dna.compile.emit`."""
        e, f, on = self.engines, dict(zip(PLACE, self.current, strict=True)), self.active
        p = _place(f, self.digits)
        after, ends = self._after(f)
        follows = _place(f, after)
        new_input = ends | ~((f["share"] == 1) & (follows.part % f["part_of_group"] != 0))
        new_weight = ends | (f["each"] == 1) | ((follows.part != p.part) & (f["resident"] == 0))
        e.layer(on & (self.new_layer | (p.kernel_rows != self.kernel)))
        self.kernel = p.kernel_rows
        first = on & self.new_layer & (self.layer == 0)
        if bool(first.any()):
            self._load_weights(
                first, *_weight_tile(f, p), f["address"], self._free("weights", "w_free", first), "weight"
            )
        self._load_input(on & self.new_input, f, p)
        adds = on & p.last & (f["residual"] == 1)
        if bool(adds.any()):
            job, end = _output(f, p, "added")
            e.load(adds, "added", e.row("r_free2").maximum(self._written("added", f, p.frame, end)), job)
        self._load_ahead(on & ((self.use == e.ports.single) | new_weight) & ~self.ahead, f, p, follows, ends)
        self._tile(on, f, p, new_input, new_weight)
        self._store(on & p.last, f, p)
        moved = on & new_weight
        e.put(moved & self.ahead, "weight", e.row("next_weight"))
        self.ahead = self.ahead & ~moved
        self.use = (self.use + 1) * ~moved
        self.digits, self.new_input, self.new_layer = after, new_input, ends
        over = torch.nonzero(on & ends)[:, 0]
        if len(over):
            self._next_layer(over)

    def _after(self, f: Fields) -> tuple[Tensor, Tensor]:
        """The next tile's digits, and whether the layer ends."""
        after = self.digits.clone()
        carry = torch.ones_like(self.active)
        for place in range(LEVELS - 1, -1, -1):
            value = after[place] + carry
            wraps = value >= f[RADIX[place]]
            after[place] = value * ~wraps
            carry = carry & wraps
        return after, carry

    def _free(self, what: str, name: str, mask: Tensor) -> Tensor:
        """When the slot of the next tile of a buffer was seen to be free; the tiles of `mask` are taken."""
        same = self.same_slot[COUNTED.index(what)]
        found = torch.where(same, self.engines.row(f"{name}1"), self.engines.row(f"{name}2"))
        same &= ~mask
        return found

    def _load_weights(
        self, mask: Tensor, words: Tensor, params: Tensor, place: Tensor, free: Tensor, into: str
    ) -> None:
        """WEIGHT, then PARAM, of those that have them."""
        e = self.engines
        place = place + self.base
        e.stream(mask & (words > 0), into, free, words, place)
        has = mask & (params > 0)
        waits = torch.where(self.params > 0, e.row("p_free1"), self._free("param_tiles", "p_free", has))
        e.stream(has, into, waits, params, place + words)
        self.params = self.params + has

    def _load_ahead(self, due: Tensor, f: Fields, p: _Place, follows: _Place, ends: Tensor) -> None:
        """The next weight tile, the next layer's included."""
        each = f["each"] == 1
        once = (f["order"] == 1) | (f["parts"] == 1)
        leaves = torch.where(each, ends, (p.part == f["parts"] - 1) & (once | ends)) | (f["resident"] == 1)
        part = torch.where(each, follows.part, (p.part + 1) % f["parts"])
        cut = follows.cut * each
        kernel_at, input_at = cut // f["slices_in"], cut % f["slices_in"]
        rows = torch.where((kernel_at + 1) * f["slices_in"] >= f["slices"], f["kernel_last"], f["kernel_rows"])
        part_last = part % f["part_of_group"] == f["part_of_group"] - 1
        last = (cut == f["slices"] - 1) | ~each
        tile = _Place(p.frame, p.row, p.col, part, cut, part_last, kernel_at, input_at, rows, last)
        words, params = _weight_tile(f, tile)
        self._load_weights(
            due & ~(leaves & (f["has_next"] == 0)),
            torch.where(leaves, f["next_weights"], words),
            torch.where(leaves, f["next_params"], params),
            torch.where(leaves, f["next_address"], _stream_place(f, tile)),
            self.engines.row("w_free1"),
            "next_weight",
        )
        self.ahead = self.ahead | due

    def _load_input(self, mask: Tensor, f: Fields, p: _Place) -> None:
        origin = p.row * f["tile_rows"] * f["stride_h"] + p.kernel_at * f["kernel_rows"] - f["top"]
        outputs = f["tile_rows"].minimum(f["out_height"] - p.row * f["tile_rows"]).clamp(min=1)
        first = origin.clamp(min=0)
        end = f["in_height"].minimum(origin + (outputs - 1) * f["stride_h"] + p.kernel_rows)
        left = p.col * f["tile_cols"] * f["stride_w"] - f["left"]
        outputs = f["tile_cols"].minimum(f["out_width"] - p.col * f["tile_cols"]).clamp(min=1)
        right = f["in_width"].minimum(left + (outputs - 1) * f["stride_w"] + f["kernel_w"])
        left = left.clamp(min=0)
        apart = f["per_channel"] == 1
        whole = torch.where(apart, p.part_last, p.input_at == f["slices_in"] - 1)
        groups = torch.where(whole, f["in_last"], f["in_part"])
        at = first * f["in_row"] + torch.where(apart, p.part, p.input_at) * f["in_part"] * f["in_width"] + left
        rows, cols = (end - first).clamp(min=1), (right - left).clamp(min=1)
        job = _block(at + f["in_first"], rows, groups, cols, f["in_width"], f["in_row"])
        waits = self._free("inputs", "in_free", mask).maximum(self._written("source", f, p.frame, end))
        self.engines.load(mask, "input", waits, job)

    def _written(self, name: str, f: Fields, frame: Tensor, end: Tensor) -> Tensor:
        """When all rows above `end` of the tensor were seen to be committed."""
        at = ((end - 1) // f[f"{name}_rows"]).minimum(f[f"{name}_down"] - 1) + frame * self.rows
        return self.commits[torch.arange(len(at)), f[name], at]

    def _tile(self, on: Tensor, f: Fields, p: _Place, free_input: Tensor, free_weight: Tensor) -> None:
        e = self.engines
        groups = torch.where(p.part_last, f["groups_last"], f["groups"])
        steps = torch.where(p.input_at == f["slices_in"] - 1, f["steps_last"], f["steps"])
        idle, post = f["idle"] * p.last, torch.where(p.part_last, f["post_last"], f["post"])
        cycles = groups * f["pixels"] * (p.kernel_rows * f["kernel_w"] * steps + idle)
        last, adds = on & p.last, on & p.last & (f["residual"] == 1)
        stored = self._free("outputs", "stored", last) * p.last
        freed, ready = e.tile(on, last, stored, adds, cycles, idle, post)
        e.event(on & free_input, "in_free", freed)
        e.event(on & free_weight, "w_free", freed)
        e.event(last & free_weight, "p_free", ready)
        e.event(adds, "r_free", ready)
        self.params = self.params - (last & free_weight).long()

    def _store(self, mask: Tensor, f: Fields, p: _Place) -> None:
        seen = self.engines.store(mask, _output(f, p, "out")[0])
        ids = torch.nonzero(mask)[:, 0]
        self.commits[ids, self.layer[ids], (p.frame * self.rows + p.row)[ids]] = seen[ids]

    # ------------------------------------------------------------ layers, passes

    def _next_layer(self, ids: Tensor) -> None:
        self.of_layers[self.layer[ids], self.design[ids]] = self.engines.times[T["committed"], ids] - 1
        self.layer[ids] += 1
        over = ids[self.layer[ids] == self.lengths[self.design[ids]]]
        if len(over):
            self._next_pass(over)
        self.current[:, ids] = self.fields[self.layer[ids], :, self.design[ids]].T

    def _next_pass(self, ids: Tensor) -> None:
        e, number, design = self.engines, self.number[ids], self.design[ids]
        self.ends[number, design] = e.times[T["committed"], ids]
        before = self.ends[(number - 1).clamp(min=0), design] * (number > 0)
        self.number[ids] += 1
        self.layer[ids] = 0
        final = self.number[ids] == self.passes
        self.cycles[0, design[final]] = e.done(ids[final])
        self.active[ids[final]] = False
        if not bool(final.all()):
            e.end(ids[~final], before[~final])
            e.start(ids[~final])
            self.same_slot[:, ids] = self.odd[:, ids]


def _block(at: Tensor, rows: Tensor, groups: Tensor, cols: Tensor, width: Tensor, row_words: Tensor) -> Job:
    """Part of a tensor that begins at word `at`, runs merged as `dna.compile.memory_map.block_runs` merges them."""
    wide = (cols == width) & (groups * cols <= LONGEST)
    whole = wide & (groups * cols == row_words) & (rows * groups * cols <= LONGEST)
    one = torch.ones_like(rows)
    run = torch.where(whole, rows * groups * cols, torch.where(wide, groups * cols, cols))
    inner = torch.where(whole, one, torch.where(wide, rows, groups))
    return Job(at, run, inner, torch.where(wide, row_words, width), torch.where(wide, one, rows), row_words)


def _output(f: Fields, p: _Place, name: str) -> tuple[Job, Tensor]:
    """An output tile in the layer's tensor ("out") or in its residual's ("added"), and the row below it."""
    top, left = p.row * f["tile_rows"], p.col * f["tile_cols"]
    end = f["out_height"].minimum(top + f["tile_rows"])
    cols = f["tile_cols"].minimum(f["out_width"] - left).clamp(min=1)
    groups = torch.where(p.part_last, f["out_last"], f["out_part"])
    at = top * f[f"{name}_row"] + p.part * f["out_part"] * f["out_width"] + left + f[f"{name}_first"]
    return _block(at, (end - top).clamp(min=1), groups, cols, f["out_width"], f[f"{name}_row"]), end


def _weight_tile(f: Fields, p: _Place) -> tuple[Tensor, Tensor]:
    """Stream words of a step's weights and parameters."""
    groups = torch.where(p.part_last, f["groups_last"], f["groups"])
    steps = torch.where(p.input_at == f["slices_in"] - 1, f["steps_last"], f["steps"])
    params = torch.where(p.part_last, f["params_last"], f["params"])
    params = params * (p.last | (f["has_weights"] == 0))
    kept = f["resident"] == 1
    words = weight_words(f, groups, p.kernel_rows, steps)
    return torch.where(kept, f["all_weights"], words), torch.where(kept, f["all_params"], params)


def _stream_place(f: Fields, p: _Place) -> Tensor:
    """First word of a weight tile in the image: part after part, slice after slice."""
    group = p.part // f["part_of_group"]
    place = f["address"] + p.part * f["part_words"] - group * (f["part_words"] - f["last_words"])
    groups = torch.where(p.part_last, f["groups_last"], f["groups"])
    row = (f["slices_in"] - 1) * f["steps"] + f["steps_last"]
    before = p.kernel_at * weight_words(f, groups, f["kernel_rows"], row)
    return place + before + p.input_at * weight_words(f, groups, p.kernel_rows, f["steps"])
