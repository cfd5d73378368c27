"""Runs inside the simulator: the compute engine's control against the loop nest and the timing of its header."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import cocotb

from tests.rtl.parts_bench import BENCHES, select
from tests.rtl.parts_drive import Part, draw, encode
from tests.rtl.parts_nest import CHANNEL, MAX, MIX, Cycle, Job, tile_cycles

CAUSES = ("busy", "wait_job", "wait_input", "wait_weight", "wait_residual", "wait_output")
COUNTERS = {"wait_in": "loaded_input", "wait_w": "loaded_weight", "wait_res": "loaded_residual", "wait_out": "stored"}
CAUSE_OF = {"wait_in": "wait_input", "wait_w": "wait_weight", "wait_res": "wait_residual", "wait_out": "wait_output"}
COUNTS = 1 << 12


def random_layer(rng: random.Random) -> Job:
    """Geometry with every loop at one, few and more turns."""
    kernel_w, groups, lane_cols, stride_w = rng.randint(1, 3), rng.randint(1, 4), rng.randint(1, 3), draw(rng, 1, 4)
    window_w = (lane_cols - 1) * stride_w + kernel_w
    mode = rng.choice((MIX, MIX, CHANNEL, MAX))
    return Job(
        "LAYER",
        {
            "mode": mode,
            "ones": rng.randrange(2) if mode else 0,
            "kernel_h": rng.randint(1, 3),
            "kernel_w": kernel_w,
            "stride_h": draw(rng, 1, 4, (15,)),
            "stride_w": stride_w,
            "lane_rows": rng.randint(1, 3),
            "lane_cols": lane_cols,
            "window_w": window_w,
            "row_pitch": groups * window_w,
            "pad_value": rng.randrange(256),
            "hi": 127,
        },
    )


def random_tile(rng: random.Random, layer: Job, reached: dict[str, int]) -> Job:
    """A tile whose thresholds lie up to two events after those of the tiles before it."""
    for name in reached:
        reached[name] += rng.choice((0, 0, 1, 2))
    fields = {name: rng.randrange(2) for name in ("first", "last", "free_in", "free_w", "layer_last")}
    fields |= {name: rng.randrange(1 << 14) for name in ("in_base", "w_base")}
    fields |= {name: rng.randrange(1 << 10) for name in ("row_lo", "row_hi", "col_lo", "col_hi")}
    fields |= {name: value % COUNTS for name, value in reached.items()}
    steps = draw(rng, 1, 5, (16, 17)) if layer.fields["mode"] == MIX else 1
    return Job("TILE", fields | {"steps": steps, "groups": draw(rng, 1, 4), "idle": rng.choice((0, 0, 1, 2, 7))})


class ControlRun:
    """Plays queue, counters, lane walk and post lanes for one control, and predicts it cycle by cycle."""

    def __init__(self, part: Part, rng: random.Random, sizes: dict[str, int], hurry: bool) -> None:
        self.part, self.rng, self.hurry = part, rng, hurry
        self.ic, self.cg, self.dataflow = sizes["IC"], sizes["CG"], sizes.get("DATAFLOW", 0)
        start = rng.choice((0, COUNTS - 3))  # thresholds and counters wrap in half of the runs
        self.counters = dict.fromkeys(COUNTERS, start)
        self.reached = dict.fromkeys(COUNTERS, start)
        self.seen: Counter[str] = Counter()
        self.ahead = 0
        self.layer: Job | None = None
        self.bounds: dict[str, int] = {}
        self.ended: dict[str, int] | None = None  # fields of the tile that ended in the cycle before

    def _expect(self, now: str, **expected: int) -> None:
        for name, value in expected.items():
            assert self.part.get(name) == int(value), f"{now}: {name} is {self.part.get(name)}, not {int(value)}"

    async def _cycle(self, now: str, cause: str, **expected: int) -> None:
        """One cycle whose outputs are all known; those that are not named are 0."""
        quiet = {"job_ready": 0, "walk_start": 0, "context_valid": 0, "valid_s0": 0, "last_s0": 0}
        quiet |= {"freed_input": 0, "freed_weight": 0}
        await self.part.settle()
        self._expect(now, **{name: int(name == cause) for name in CAUSES}, **(quiet | expected))
        self._expect(now, tile_end=self.ended is not None, layer_last=bool(self.ended and self.ended["layer_last"]))
        self.seen[cause] += 1
        self.ended = None
        await self.part.edge()
        self._count_up()

    def _count_up(self) -> None:
        """Counters of other engines go up at any time, some ahead of what the tile waits for, some just to it."""
        for name, port in COUNTERS.items():
            limit = self.reached[name] + (5 if self.hurry else self.ahead)
            if self.counters[name] < limit and (self.hurry or self.rng.random() < 0.1):
                self.counters[name] += 1
                self.part.set(**{port: self.counters[name]})

    async def gap(self) -> None:
        """The queue is empty for a while."""
        while not self.hurry and self.rng.random() < 0.5:
            self.part.set(job_valid=0, job=self.rng.getrandbits(256))
            await self._cycle("gap", "wait_job")

    async def run_layer(self, job: Job) -> None:
        part, rng = self.part, self.rng
        part.set(job_valid=1, job=encode("LAYER", **job.fields), drained=0)
        for _ in range(rng.choice((0, 1, 5))):
            await self._cycle("drain", "wait_job")
        part.set(drained=1)
        await self._cycle("walk", "wait_job", walk_start=1)
        for _ in range(rng.choice((1, 4))):
            await self._cycle("walk", "wait_job", layer=encode("LAYER", **job.fields))
        part.set(walk_done=1)
        await self._cycle("walked", "wait_job", job_ready=1, layer=encode("LAYER", **job.fields))
        part.set(walk_done=0, drained=rng.randrange(2), job_valid=0)
        self.layer = job

    async def run_tile(self, job: Job) -> None:
        assert self.layer is not None
        self.ahead = self.rng.choice((0, 0, 1, 5))
        self.part.set(job_valid=1, job=encode("TILE", **job.fields))
        while late := [name for name in COUNTERS if self.counters[name] < self.reached[name]]:
            await self._cycle("late", CAUSE_OF[late[0]])
        await self._cycle("start", "wait_job", job_ready=1, context_valid=job.fields["last"])
        self.part.set(job_valid=self.rng.randrange(2), job=encode("TILE", **job.fields))  # the queue's next head
        cycles = list(tile_cycles(self.layer.fields, job.fields, self.ic, self.cg, self.dataflow))
        for number, cycle in enumerate(cycles):
            await self._tile_cycle(job, cycle, f"cycle {number} of {job}", number + 1 == len(cycles))
        self.ended = job.fields
        self.part.set(job_valid=0)

    async def _tile_cycle(self, job: Job, cycle: Cycle, now: str, ends: bool) -> None:
        expected: dict[str, int] = {"valid_s0": cycle.valid, "last_s0": cycle.last}
        if ends:
            expected |= {"freed_input": job.fields["free_in"], "freed_weight": job.fields["free_w"]}
        if cycle.valid:
            expected |= {"first_s0": cycle.first, "address_s0": cycle.address, "part_s0": cycle.part}
            expected |= {"weight_address_s0": cycle.weight, "row_s0": cycle.row, "col_s0": cycle.col}
            expected |= {"read_input_s0": cycle.read_input, "read_weight_s0": cycle.read_weight}
            expected |= {"sum_address_s0": cycle.sums}
            expected |= {f"{name}_s0": job.fields[name] for name in ("row_lo", "row_hi", "col_lo", "col_hi")}
            if cycle.tap is not None:
                expected["tap_s0"] = cycle.tap
        await self._cycle(now, "busy" if cycle.valid else "wait_output", **expected)


def _jobs(run: ControlRun, tiles: int) -> Iterator[Job]:
    for number in range(tiles):
        if number % 3 == 0:
            layer = random_layer(run.rng)
            yield layer
        yield random_tile(run.rng, layer, run.reached)


async def _run(dut: Any, name: str, rng: random.Random, hurry: bool, tiles: int) -> Counter[str]:
    sizes = BENCHES["control"][name].parameters
    run = ControlRun(Part(dut, name), rng, sizes, hurry)
    start = {port: run.counters[name] for name, port in COUNTERS.items()}
    await run.part.reset(job_valid=0, job=0, drained=1, walk_done=0, **start)
    for job in _jobs(run, tiles):
        await run.gap()
        if job.opcode == "LAYER":
            await run.run_layer(job)
        else:
            await run.run_tile(job)
    await run._cycle("after the last tile", "wait_job")
    return run.seen


@cocotb.test()
async def control_walks_the_nest(dut: Any) -> None:
    """Addresses, marks, causes and ends of random tiles, with counters that come late and a queue that runs dry."""
    rng = random.Random(31)
    for name in select("control", "dna_compute_control"):
        seen = await _run(dut, name, rng, hurry=False, tiles=42)
        assert all(seen[cause] > 0 for cause in CAUSES), f"{name}: {seen}"


@cocotb.test()
async def control_loses_no_cycle(dut: Any) -> None:
    """Tiles that wait for nothing follow each other with one cycle between; layers take the walk and two cycles."""
    rng = random.Random(32)
    for name in select("control", "dna_compute_control"):
        seen = await _run(dut, name, rng, hurry=True, tiles=18)
        late = sum(seen[cause] for cause in ("wait_input", "wait_weight", "wait_residual"))
        assert seen["busy"] > 400 and late == 0, f"{name}: {seen}"


@cocotb.test()
async def control_counts_modulo(dut: Any) -> None:
    """A threshold is reached exactly if counter - threshold, as a 12-bit number with sign, is not negative."""
    rng = random.Random(33)
    part = Part(dut, select("control", "dna_compute_control")[0])
    await part.reset(job_valid=0, walk_done=0, drained=1, job=0, **dict.fromkeys(COUNTERS.values(), 0))
    part.set(rst_n=0, job_valid=1)  # the engine never starts: outputs are functions of head and counters
    for _ in range(1500):
        margins = {name: draw(rng, -2048, 2047, (0, -1, 1)) if rng.random() < 0.4 else 0 for name in COUNTERS}
        counts = {name: rng.randrange(COUNTS) for name in COUNTERS}
        part.set(job=encode("TILE", **{name: (counts[name] - margins[name]) % COUNTS for name in COUNTERS}))
        part.set(**{COUNTERS[name]: counts[name] for name in COUNTERS})
        await part.settle()
        late = [name for name in COUNTERS if margins[name] < 0]
        cause = CAUSE_OF[late[0]] if late else "wait_job"
        assert [name for name in CAUSES if part.get(name)] == [cause], f"{margins}"
        assert part.get("job_ready") == int(not late)
        await part.edge()
