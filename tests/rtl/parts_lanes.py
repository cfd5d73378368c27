"""Runs inside the simulator: pixel lanes capture their windows and read operands, against docs/program.md."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Any

import cocotb

from tests.rtl.parts_bench import BENCHES, select
from tests.rtl.parts_drive import Part, pack

ADDRESS = 1 << 14


@dataclass(frozen=True)
class Scene:
    """A layer's lanes, and one tile of input for them."""

    index: int
    lanes_x: int
    lane_rows: int
    lane_cols: int
    stride: int
    kernel: int
    groups: int
    origin: int
    real: tuple[int, int, int, int]
    """Rows and columns of the tile that are inside the image: row_lo, row_hi, col_lo, col_hi."""

    @property
    def window(self) -> tuple[int, int]:
        height, width = ((n - 1) * self.stride + self.kernel for n in (self.lane_rows, self.lane_cols))
        return height, width

    @property
    def row_pitch(self) -> int:
        return self.groups * self.window[1]

    @property
    def place(self) -> tuple[int, int]:
        """Tile row and column of this lane's window."""
        i, j = divmod(self.index, self.lanes_x)
        return i * self.lane_rows * self.stride, j * self.lane_cols * self.stride

    @property
    def offset(self) -> int:
        i, j = divmod(self.index, self.lanes_x)
        step = self.lane_rows * self.stride
        return (i * step * self.row_pitch + j * self.lane_cols * self.stride) % ADDRESS

    def broadcast(self) -> list[tuple[int, int, int, int]]:
        """(row, group, col, running address of lane (0, 0)) of each word of the stream."""
        row_lo, row_hi, col_lo, col_hi = self.real
        return [
            (row, group, col, (self.origin + row * self.row_pitch + group * self.window[1] + col) % ADDRESS)
            for row in range(row_lo, row_hi)
            for group in range(self.groups)
            for col in range(col_lo, col_hi)
        ]


def _scene(rng: random.Random, index: int, depth: int) -> Scene:
    """A scene whose window fits behind a random origin, at times just."""
    while True:
        stride, kernel, groups = rng.randint(1, 3), rng.randint(1, 4), rng.randint(1, 3)
        lane_rows, lane_cols = rng.randint(1, 4), rng.randint(1, 4)
        words = ((lane_rows - 1) * stride + kernel) * ((lane_cols - 1) * stride + kernel) * groups
        if words <= depth:
            break
    lanes_x, room = rng.randint(1, index + 1), depth - words
    height = (index // lanes_x + 1) * lane_rows * stride + kernel
    width = lanes_x * lane_cols * stride + kernel
    rows = sorted(rng.sample(range(height + 1), 2)) if rng.random() < 0.5 else [0, height]
    cols = sorted(rng.sample(range(width + 1), 2)) if rng.random() < 0.5 else [0, width]
    origin = rng.choice((0, room, rng.randint(0, room)))
    return Scene(
        index, lanes_x, lane_rows, lane_cols, stride, kernel, groups, origin, (rows[0], rows[1], cols[0], cols[1])
    )


class LaneRun:
    """One lane of the bench: broadcasts and reads side by side; operands are compared in every cycle."""

    def __init__(self, part: Part, rng: random.Random, oc: int, ic: int) -> None:
        self.part, self.rng, self.ic, self.cg = part, rng, ic, min(oc, 16)
        self.words: dict[
            tuple[int, int, int], tuple[list[int], int]
        ] = {}  # (row, group, col): bytes, first cycle to read
        self.memory: dict[int, tuple[list[int], int]] = {}  # the same by address, kept from tile to tile
        self.due: deque[tuple[int, int | None] | None] = deque()
        self.now = self.checked = 0
        self.held: list[int] = []  # the word of the last read, empty if not known
        self.mode, self.signed, self.pad = 0, 0, 0

    def layer(self) -> None:
        """Draw what the compute side keeps over a layer."""
        self.mode, self.signed, self.pad = (
            self.rng.randrange(2),
            self.rng.randrange(2),
            self.rng.choice((0, 128, 255, 7)),
        )
        self.part.set(channel_mode=self.mode, in_signed=self.signed, pad_value=self.pad)

    def _extend(self, byte: int) -> int:
        return byte - 256 if self.signed and byte >= 128 else byte

    def _operands(self, values: list[int], part: int) -> tuple[int, int | None]:
        """Expected (xc, x) of 16 bytes; in channel modes only xc has a meaning."""
        values = [self._extend(value) for value in values]
        if self.mode:
            return pack(values[part * self.cg : (part + 1) * self.cg], 9), None
        x = values[part * self.ic : (part + 1) * self.ic]
        return pack([x[0]] * self.cg, 9), pack(x, 9)

    def read(self, scene: Scene) -> None:
        """Ask for a random position of the window; remember what must come."""
        rng, (height, width) = self.rng, scene.window
        row, col, group = rng.randrange(height), rng.randrange(width), rng.randrange(scene.groups)
        fresh = [key for key, (_, when) in list(self.words.items())[-3:] if when <= self.now]
        if fresh and rng.random() < 0.5:
            row, group, col = rng.choice(fresh)
        part = rng.randrange(16 // (self.cg if self.mode else self.ic))
        address = scene.origin + row * scene.row_pitch + group * width + col
        values, ready = self.words.get((row, group, col), ([], ADDRESS))
        if self.memory and rng.random() < 0.3:
            # Anywhere in the memory, so that a word captured beside the window is seen.
            address, (values, ready) = rng.choice(list(self.memory.items()))
        reads = rng.random() < 0.8
        if reads:
            self.held = values if ready <= self.now else []
        self.part.set(address_s1=address, part_s1=part, row_s1=row, col_s1=col, read_s1=int(reads))
        dy, dx = scene.place
        row_lo, row_hi, col_lo, col_hi = scene.real
        if not (row_lo <= row + dy < row_hi and col_lo <= col + dx < col_hi):
            self.due.append(self._operands([self.pad] * 16, 0))
        else:
            self.due.append(self._operands(self.held, part) if self.held else None)

    async def cycle(self, scene: Scene, word: tuple[int, int, int, int] | None) -> None:
        part, rng = self.part, self.rng
        part.set(cap_valid=int(word is not None), cap_data=rng.getrandbits(128), cap_row=rng.randrange(9), cap_col=0)
        if word:
            row, group, col, address = word
            values = [rng.choice((0, 127, 128, 255, rng.randrange(256))) for _ in range(16)]
            part.set(cap_data=pack(values, 8), cap_row=row, cap_col=col, cap_address=address)
            local = row - scene.place[0], col - scene.place[1]
            if 0 <= local[0] < scene.window[0] and 0 <= local[1] < scene.window[1]:
                self.words[local[0], group, local[1]] = values, self.now + 2
                place = scene.origin + local[0] * scene.row_pitch + group * scene.window[1] + local[1]
                self.memory[place] = values, self.now + 2
        self.read(scene)
        await part.settle()
        if len(self.due) > 2 and (expected := self.due.popleft()):
            xc, x = expected
            assert part.get("xc_s3") == xc, f"{scene}, mode {self.mode}"
            assert x is None or part.get("x_s3") == x, f"{scene}, mode {self.mode}"
            self.checked += 1
        await part.edge()
        self.now += 1

    async def place(self, side: str, index: int, scene: Scene, active: int = 1) -> None:
        """Announce one lane's place, as the lane walk does, to the capture or the compute side."""
        dy, dx = scene.place
        values = {"set": 1, "index": index, "dy": dy, "dx": dx}
        if side == "capture":
            values |= {"active": active, "offset": scene.offset}
        self.part.set(**{f"{side}_{name}": value for name, value in values.items()})
        await self.part.cycle()
        self.part.set(**{f"{side}_set": 0})
        self.due.clear()


async def _run_scene(run: LaneRun, scene: Scene, wrong: Scene) -> None:
    part, rng = run.part, run.rng
    row_lo, row_hi, col_lo, col_hi = scene.real
    part.set(window_h=scene.window[0], window_w=scene.window[1], cap_valid=0)
    part.set(row_lo=row_lo, row_hi=row_hi, col_lo=col_lo, col_hi=col_hi)
    run.words.clear()
    run.layer()
    for side in ("capture", "compute"):
        await run.place(side, scene.index, scene)
        await run.place(side, scene.index ^ 1, wrong)  # another lane's place must not be taken
    for word in scene.broadcast():
        while rng.random() < 0.2:
            await run.cycle(scene, None)
        await run.cycle(scene, word)
    for _ in range(40):
        await run.cycle(scene, None)


@cocotb.test()
async def lane_captures_window_and_pads(dut: Any) -> None:
    """Each position of the window gives its bytes, or the pad value outside the image, two cycles after its address.

    Lanes below and right of the first subtract more than the address holds: sums wrap modulo 2^14. A word is read
    as early as two cycles after its broadcast.
    """
    rng = random.Random(21)
    for name in select("lanes", "dna_lane"):
        sizes = BENCHES["lanes"][name].parameters
        run = LaneRun(Part(dut, name), rng, sizes["OC"], sizes["IC"])
        await run.part.reset(cap_valid=0, capture_set=0, compute_set=0)
        for _ in range(14):
            scene = _scene(rng, sizes["INDEX"], sizes["DEPTH"])
            await _run_scene(run, scene, _scene(rng, sizes["INDEX"] ^ 1, sizes["DEPTH"]))
        assert run.checked > 300, name


@cocotb.test()
async def inactive_lane_captures_nothing(dut: Any) -> None:
    """A lane that a layer does not use keeps its memory."""
    rng = random.Random(22)
    for name in select("lanes", "dna_lane"):
        sizes = BENCHES["lanes"][name].parameters
        run = LaneRun(Part(dut, name), rng, sizes["OC"], sizes["IC"])
        await run.part.reset(cap_valid=0, capture_set=0, compute_set=0)
        scene = _scene(rng, sizes["INDEX"], sizes["DEPTH"])
        while not any(0 <= row - scene.place[0] < scene.window[0] for row, *_ in scene.broadcast()):
            scene = _scene(rng, sizes["INDEX"], sizes["DEPTH"])
        await _run_scene(run, scene, scene)
        kept, kept_memory = dict(run.words), dict(run.memory)
        await run.place("capture", scene.index, scene, active=0)
        for word in scene.broadcast():
            await run.cycle(scene, word)
            run.words, run.memory = dict(kept), dict(kept_memory)
        for _ in range(60):
            await run.cycle(scene, None)
