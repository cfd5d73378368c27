"""Runs inside the simulator: the post lanes' drain against docs/program.md, write by write and cycle by cycle."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import cocotb

from tests.rtl.parts_arithmetic import post_formula
from tests.rtl.parts_bench import BENCHES, select
from tests.rtl.parts_drive import Part, draw, encode, pack

ADDRESS = 1 << 14
LATENCY = 7


@dataclass(frozen=True)
class Sizes:
    """The part's parameters."""

    oc: int
    px: int
    post_lanes: int
    residual: bool
    groups_first: bool


@dataclass(frozen=True)
class Drain:
    """One drain cycle of one pixel: a slice of one lane's channels."""

    lane: int
    slice: int
    param_address: int
    write_address: int | None
    """None: outside the tile, not kept."""
    part: int


def drains(sizes: Sizes, layer: dict[str, int], tile: dict[str, int]) -> Iterator[list[Drain]]:
    """Drain cycles of each pixel of a tile, in order."""
    group_channels = layer["slices"] * sizes.post_lanes
    pixels = list(product(range(layer["lane_rows"]), range(layer["lane_cols"])))
    order = [(group, y, x) for group in range(tile["groups"]) for y, x in pixels]
    if sizes.groups_first:
        order = [(group, y, x) for y, x in pixels for group in range(tile["groups"])]
    for group, y, x in order:
        slices = tile["slices_last"] if group + 1 == tile["groups"] else layer["slices"]
        pixel = []
        for lane in range(layer["lanes"]):
            i, j = divmod(lane, layer["lanes_x"])
            row, col = i * layer["lane_rows"] + y, j * layer["lane_cols"] + x
            kept = row < tile["out_rows"] and col < tile["out_cols"]
            for number in range(slices):
                channel = group * group_channels + number * sizes.post_lanes
                word = row * tile["out_pitch"] + channel // 16 * tile["out_cols"] + col
                address = (tile["out_base"] + word) % ADDRESS
                param = (tile["p_base"] + group * layer["slices"] + number) % ADDRESS
                part = channel % 16 // sizes.post_lanes
                pixel.append(Drain(lane, number, param, address if kept else None, part))
        yield pixel


def random_layer(rng: random.Random, sizes: Sizes) -> dict[str, int]:
    lanes_x = rng.randint(1, sizes.px)
    lanes = lanes_x * rng.randint(1, sizes.px // lanes_x)
    channels = rng.choice((sizes.oc, min(sizes.oc, 16)))  # mixed, or each channel its own
    return {
        "lane_rows": rng.randint(1, 3),
        "lane_cols": rng.randint(1, 3),
        "lanes_x": lanes_x,
        "lanes": lanes,
        "slices": channels // sizes.post_lanes,
        "lo": rng.choice((0, -128)),
        "hi": rng.choice((127, 255, 100)),
        "residual": rng.randrange(2) if sizes.residual else 0,
        "res_signed": rng.randrange(2),
        "res_multiplier": draw(rng, 0, (1 << 17) - 1),
    }


def random_tile(rng: random.Random, sizes: Sizes, layer: dict[str, int]) -> dict[str, int]:
    rows = layer["lanes"] // layer["lanes_x"] * layer["lane_rows"]
    cols = layer["lanes_x"] * layer["lane_cols"]
    out_cols, groups = draw(rng, 1, cols), rng.randint(1, 4)
    words = -(-groups * layer["slices"] * sizes.post_lanes // 16)
    return {
        "p_base": rng.randrange(ADDRESS),
        "out_base": rng.randrange(ADDRESS),
        "groups": groups,
        "out_rows": draw(rng, 1, rows),
        "out_cols": out_cols,
        "out_pitch": words * out_cols,
        "lane_pitch": layer["lane_rows"] * words * out_cols,
        "slices_last": rng.randint(1, layer["slices"]),
        "free_w": rng.randrange(2),
    }


@dataclass
class Forecast:
    """What the outputs must be, by cycle."""

    writes: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """Address, enabled bytes, data."""
    params: dict[int, int] = field(default_factory=dict)
    residuals: dict[int, int] = field(default_factory=dict)
    ready: dict[int, bool] = field(default_factory=dict)
    """Whether parameters are freed with it."""


class PostRun:
    """Plays control, array and buffers for one post part."""

    def __init__(self, part: Part, rng: random.Random, sizes: Sizes) -> None:
        self.part, self.rng, self.sizes = part, rng, sizes
        self.layer: dict[str, int] = {}
        self.forecast = Forecast()
        self.now, self.in_flight, self.kept = 0, 0, 0
        self.contents: dict[tuple[str, int], int] = {}

    def _memory(self, kind: str, address: int, bits: int) -> int:
        """A buffer's word, drawn when it is first needed."""
        if (kind, address) not in self.contents:
            word = self.rng.getrandbits(bits)
            if kind == "param":
                word = pack((self._param_word() for _ in range(self.sizes.post_lanes)), 64)
            self.contents[kind, address] = word
        return self.contents[kind, address]

    def _param_word(self) -> int:
        bias, m, s = self.rng.randint(-20000, 20000), draw(self.rng, 1 << 16, (1 << 17) - 1), draw(self.rng, 16, 30)
        return (bias & 0xFFFFFFFF) | m << 32 | s << 49

    def _bytes(self, drain: Drain, sums: list[int]) -> list[int]:
        """Result bytes of one drain cycle."""
        params = self._memory("param", drain.param_address, 0)
        residual = self._memory("residual", drain.write_address or 0, 128) if self.layer["residual"] else 0
        first, result = drain.slice * self.sizes.post_lanes, []
        for lane in range(self.sizes.post_lanes):
            word = (params >> (64 * lane)) & ((1 << 64) - 1)
            bias = (word & 0xFFFFFFFF) - ((word >> 31 & 1) << 32)
            r = residual >> (8 * (drain.part * self.sizes.post_lanes + lane)) & 255
            r -= 256 if self.layer["res_signed"] and r >= 128 else 0
            m, s = word >> 32 & 0x1FFFF, word >> 49 & 63
            sum_ = sums[drain.lane * self.sizes.oc + first + lane]
            layer = self.layer
            result.append(post_formula(sum_, bias, m, s, r, layer["res_multiplier"], layer["lo"], layer["hi"]))
        return result

    def _plan(self, pixel: list[Drain], sums: list[int]) -> None:
        """The pixel is captured in this cycle."""
        for number, drain in enumerate(pixel):
            cycle = self.now + 1 + number
            self.forecast.params[cycle + 1] = drain.param_address
            if drain.write_address is not None:
                self.forecast.residuals[cycle + 1] = drain.write_address
                shift = drain.part * self.sizes.post_lanes
                data = pack(self._bytes(drain, sums), 8) << (8 * shift)
                self.forecast.writes[cycle + LATENCY] = drain.write_address, 0xFFFF >> shift << shift, data
                self.kept += 1

    async def cycle(self, **inputs: int) -> None:
        """One cycle: drive, compare every output, answer the addresses."""
        part, forecast, now = self.part, self.forecast, self.now
        part.set(**({"capture": 0, "context_valid": 0} | inputs))
        await part.settle()
        assert part.get("empty") == int(self.in_flight == 0), f"cycle {now}: {self.in_flight} tiles are inside"
        write = forecast.writes.pop(now, None)
        assert part.get("out_write_d7") == int(write is not None), f"cycle {now}: {write}"
        if write:
            seen = part.get("out_address_d7"), part.get("out_enable_d7"), part.get("out_data_d7")
            assert seen == write, f"cycle {now}: {seen} is not {write} in {self.layer}"
        ready = now in forecast.ready
        frees = forecast.ready.pop(now, False)
        assert (part.get("tile_ready"), part.get("freed_param")) == (int(ready), int(frees)), f"cycle {now}"
        self.in_flight += inputs.get("context_valid", 0) - int(ready)
        param, residual = part.get("param_address_d1"), part.get("residual_address_d1")
        assert param == forecast.params.pop(now, param), f"cycle {now}: parameters"
        assert residual == forecast.residuals.pop(now, residual), f"cycle {now}: residual"
        await part.edge()
        part.set(param_d2=self._memory("param", param, 0), residual_word_d2=self._memory("residual", residual, 128))
        self.now += 1

    def set_layer(self, layer: dict[str, int]) -> None:
        self.layer = layer
        self.part.set(layer=encode("LAYER", **layer))

    async def tile(self, tile: dict[str, int], slack: int) -> int:
        """Hand over a tile and capture its pixels; up to `slack` cycles more than the drain takes lie between them.

        The last pixel is left draining. Cycles that it still needs.
        """
        await self.cycle(context_valid=1, context_job=encode("TILE", **tile))
        pixels = list(drains(self.sizes, self.layer, tile))
        left = 0
        for number, pixel in enumerate(pixels):
            for _ in range(self.rng.randint(0, slack)):
                await self.cycle()
            sums = [draw(self.rng, -(1 << 20), 1 << 20, (0, 1)) for _ in range(self.sizes.px * self.sizes.oc)]
            self._plan(pixel, sums)
            if number + 1 == len(pixels):
                self.forecast.ready[self.now + len(pixel) + LATENCY] = bool(tile["free_w"])
            await self.cycle(capture=1, sums=pack(sums, 32))
            self.part.set(sums=0)
            left = len(pixel) - 1
            if number + 1 < len(pixels):
                for _ in range(left):
                    await self.cycle()
        return left

    async def wait(self, cycles: int) -> None:
        for _ in range(cycles):
            await self.cycle()


def _sizes(name: str) -> Sizes:
    values = BENCHES["post"][name].parameters
    groups_first = values.get("DATAFLOW") == 2
    return Sizes(values["OC"], values["PX"], values["POST_LANES"], bool(values["RESIDUAL"]), groups_first)


async def _start(dut: Any, name: str, rng: random.Random) -> PostRun:
    run = PostRun(Part(dut, name), rng, _sizes(name))
    await run.part.reset(capture=0, context_valid=0, clear=0, layer=0)
    return run


@cocotb.test()
async def post_writes_tiles(dut: Any) -> None:
    """Addresses, kept pixels, bytes, parameter and residual places, readiness: pixels at the drain's pace and slower.

    Two tiles of a layer may be inside at once: the second is handed over while the last pixel of the first drains.
    """
    rng = random.Random(41)
    for name in select("post", "dna_post"):
        run = await _start(dut, name, rng)
        for _ in range(20):
            run.set_layer(random_layer(rng, run.sizes))
            left = 0
            for _ in range(rng.randint(1, 3)):
                while left > 1:  # one cycle of the drain may be the next tile's hand-over
                    await run.cycle()
                    left -= 1
                left = await run.tile(random_tile(rng, run.sizes, run.layer), slack=rng.choice((0, 0, 3)))
                if not left:
                    await run.cycle()  # no room to hand over before the next capture is possible
            await run.wait(left + LATENCY + 2)
            assert run.part.get("overrun") == 0 and run.in_flight == 0
        assert run.kept > 60, name
        assert not (run.forecast.writes or run.forecast.ready), "everything that was foreseen must have come"


@cocotb.test()
async def post_tells_overrun(dut: Any) -> None:
    """Sums that come before the last drain cycle set `overrun`, in it they do not; `clear` ends it."""
    rng = random.Random(42)
    for name in select("post", "dna_post"):
        sizes = _sizes(name)
        drain = sizes.px * sizes.oc // sizes.post_lanes
        for early in range(4):
            run = await _start(dut, name, rng)
            layer = random_layer(rng, sizes)
            layer |= {"lanes": sizes.px, "lanes_x": sizes.px, "slices": sizes.oc // sizes.post_lanes}
            layer |= {"lane_cols": 3, "lane_rows": 1}
            run.part.set(layer=encode("LAYER", **layer))
            tile = random_tile(rng, sizes, layer) | {"groups": 2}
            run.part.set(context_valid=1, context_job=encode("TILE", **tile))
            await run.part.cycle()
            run.part.set(context_valid=0, capture=1)
            await run.part.cycle()
            distance = drain - early
            if distance < 1:
                continue
            for _ in range(distance - 1):
                run.part.set(capture=0)
                await run.part.cycle()
            run.part.set(capture=1)
            await run.part.settle()
            assert run.part.get("overrun") == 0, f"{name}: not yet seen"
            await run.part.edge()
            run.part.set(capture=0)
            for clear in (0, 0, 1, 0):
                run.part.set(clear=clear)
                await run.part.settle()
                assert run.part.get("overrun") == int(early > 0), f"{name}: {early} cycles early"
                await run.part.edge()
                if clear:
                    early = 0
