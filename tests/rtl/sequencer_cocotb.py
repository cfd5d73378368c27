"""Runs inside the simulator: random Programs through the sequencer, every cycle of it compared with the model."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import cocotb
from cocotb.triggers import Timer

from dna.accelerator import isa
from dna.accelerator.chunk import PAGE_INSTRUCTIONS
from dna.accelerator.isa import COUNTER_BITS, DESTINATIONS, ENGINES, FIELDS, INDEX_BITS, PASS_BITS
from dna.compile.program import Instruction
from dna.cost.dispatch import Sequencer

PROGRAM = DESTINATIONS["PROGRAM"]
LIMIT = 60_000
OPCODES = ("LOAD", "LAYER", "TILE", "WAIT", "STORE")
RAISED = {
    "TILE": {"wait_in": "inputs", "wait_w": "weights", "wait_res": "residuals", "wait_out": "outputs"},
    "STORE": {"wait_ready": "outputs"},
}
"""Which total of END each threshold goes up by from pass to pass; those of LOADs depend on the destination."""
FREED = {"INPUT": "inputs", "WEIGHT": "weights", "PARAM": "params", "RESIDUAL": "residuals"}


def _random_values(rng: random.Random, op: str) -> dict[str, int]:
    return {entry.name: rng.getrandbits(entry.bits - entry.signed) for entry in FIELDS[op][1:]}


def random_program(rng: random.Random, ports: int, pages: int) -> list[Instruction]:
    """Whole pages of random instructions, page loads first, END last."""
    result = []
    for page in range(pages):
        if page + 1 < pages:
            base = PAGE_INSTRUCTIONS * ((page + 1) % 2)
            values = {
                "port": ports - 1,
                "dest": PROGRAM,
                "run": 128,
                "n_inner": 1,
                "n_outer": 1,
                "base": base,
                "signal": 1,
            }
            result.append(Instruction("LOAD", values))
        while len(result) < PAGE_INSTRUCTIONS * (page + 1):
            # No STORE in a last page: the pass may be committed before its END comes.
            op = rng.choice(OPCODES[: 4 if page and page + 1 == pages else 5])
            values = _random_values(rng, op)
            if op == "LOAD":
                values |= {"port": rng.randrange(ports), "dest": rng.randrange(PROGRAM)}
                values["wait_commit"] *= rng.randrange(2)
            if op == "WAIT":
                values["engine"] = rng.choice([ENGINES["READ0"], ENGINES[f"READ{ports - 1}"], ENGINES["WRITE"]])
            result.append(Instruction(op, values))
    filled = rng.randrange(1, PAGE_INSTRUCTIONS - 1)
    result[-filled:] = [Instruction("END", _random_values(rng, "END")) for _ in range(filled)]
    result[1] = Instruction("STORE", _random_values(rng, "STORE"))
    return result


def handed_out(job: Instruction, number: int, totals: Instruction, buffer_mask: int) -> int:
    """What becomes of an instruction in pass `number`, encoded; `totals` is the END of the pass."""
    values, limit = dict(job.values), 1 << COUNTER_BITS

    def raised(name: str, total: str) -> int:
        return (job[name] + number * totals[total]) % limit

    values |= {name: raised(name, total) for name, total in RAISED.get(job.op, {}).items()}
    if job.op in ("LOAD", "STORE"):
        values["buffer"] = number & buffer_mask
    if job.op == "LOAD":
        (dest,) = (name for name, code in DESTINATIONS.items() if code == job["dest"])
        if dest in FREED:
            values["wait_free"] = raised("wait_free", FREED[dest])
        index = job["wait_commit"] % (1 << INDEX_BITS)
        values["wait_commit"] = (number if index else number - 1) % (1 << PASS_BITS) << INDEX_BITS | index
    if job.op == "WAIT":
        values["pass"] = (number - job["ago"]) % (1 << PASS_BITS)
    return int.from_bytes(Instruction(job.op, values).encode(), "little")


@dataclass
class Rig:
    """The sequencer's surroundings: queues that stall, a read port that brings pages, engines that commit STOREs."""

    dut: Any
    rng: random.Random
    ports: int
    program: list[Instruction]
    passes: int = 1
    buffer_mask: int = 0
    commit_rate: float = 0.1
    now: int = 0
    trace: list[dict[str, int]] = field(default_factory=list)
    jobs: list[tuple[int, tuple[str, ...], int]] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    done: int = -1
    stores: int = 0
    requested: int = 0
    committed: int = 0
    words: deque[tuple[int, int, int]] = field(default_factory=deque)
    """(place in the job, data, base) of the words of pages still to come."""

    def queues(self, job: Instruction) -> tuple[str, ...]:
        if job.op == "LOAD":
            return (f"read{job['port']}",)
        if job.op == "WAIT":
            return ({ENGINES["READ0"]: "read0", ENGINES["READ1"]: "read1", ENGINES["WRITE"]: "write"}[job["engine"]],)
        return {"STORE": ("write",), "TILE": ("compute",), "LAYER": ("compute", "read0")}[job.op]

    @property
    def passes_committed(self) -> int:
        return self.committed // sum(job.op == "STORE" for job in self.program)

    def drive(self, busy: float, halt: bool) -> dict[str, int]:
        """Inputs of one cycle; what was ready."""
        dut, rng = self.dut, self.rng
        ready = {f"read{port}": int(rng.random() > busy) for port in range(self.ports)}
        ready |= {name: int(rng.random() > busy) for name in ("write", "compute")}
        dut.read_ready.value = sum(ready[f"read{port}"] << port for port in range(self.ports))
        dut.write_ready.value, dut.compute_ready.value = ready["write"], ready["compute"]
        if self.committed < self.stores and rng.random() < self.commit_rate:
            self.committed += 1
        idle = int(rng.random() < 0.5 and self.committed == self.stores)
        dut.passes.value, dut.buffer_mask.value = self.passes, self.buffer_mask
        dut.idle.value, dut.halt.value = idle, int(halt)
        dut.committed_pass.value = self.passes_committed % (1 << PASS_BITS)
        self._drive_word()
        return ready | {"idle": idle, "passes": self.passes_committed}

    def _drive_word(self) -> None:
        dut, rng = self.dut, self.rng
        dut.word_valid.value = dut.word_last.value = 0
        dut.word_data.value = rng.getrandbits(128)
        if self.words and rng.random() < 0.7:
            place, data, base = self.words.popleft()
            dut.word_valid.value, dut.word_dest.value, dut.word_data.value = 1, PROGRAM, data
            dut.word_base.value = base
            dut.word_first.value, dut.word_last.value = int(place == 0), int(place == 127)
            if place == 127:
                self.pages.append(self.now)
        elif not self.words and rng.random() < 0.5:
            # Words of other destinations pass between pages; they are not the sequencer's.
            dut.word_valid.value, dut.word_dest.value = 1, rng.randrange(PROGRAM)
            dut.word_first.value, dut.word_last.value = rng.getrandbits(1), rng.getrandbits(1)

    def watch(self, ready: dict[str, int]) -> None:
        """What the sequencer does in this cycle."""
        dut = self.dut
        valid = {f"read{port}": int(dut.read_valid.value) >> port & 1 for port in range(self.ports)}
        valid |= {"write": int(dut.write_valid.value), "compute": int(dut.compute_valid.value)}
        taken = tuple(sorted(name for name, high in valid.items() if high and ready[name]))
        if taken:
            word = int(dut.job.value)
            self.jobs.append((self.now, taken, word))
            self.stores += word & 0xF == isa.OPCODES["STORE"]
            self._request(word)
        if int(dut.done.value):
            assert self.done < 0, "done twice"
            self.done = self.now
        self.trace.append(ready)

    def _request(self, word: int) -> None:
        if word & 0xF == 1 and word >> 5 & 7 == PROGRAM:
            page = self.requested % (len(self.program) // PAGE_INSTRUCTIONS)
            self.requested += 1
            code = b"".join(job.encode() for job in self.program[64 * page : 64 * page + 64])
            words = [int.from_bytes(code[16 * n : 16 * n + 16], "little") for n in range(128)]
            self.words += [(n, data, 64 * (page % 2)) for n, data in enumerate(words)]

    async def cycle(self, start: int, busy: float, halt: bool = False) -> None:
        self.dut.clk.value = 0
        self.dut.start.value = start
        ready = self.drive(busy, halt)
        await Timer(1, "ns")
        self.watch(ready)
        self.dut.clk.value = 1
        await Timer(1, "ns")
        self.now += 1

    async def run(self, busy: float, halt_at: int = LIMIT) -> None:
        await self.cycle(1, busy)
        while self.done < 0 and self.now < LIMIT:
            await self.cycle(0, busy, halt=self.now >= halt_at)
        assert self.done >= 0, "never done"
        for _ in range(20):
            await self.cycle(0, busy)


def first(rig: Rig, start: int, **levels: int) -> int:
    """First cycle from `start` on in which these inputs had at least these values."""
    cycle = start
    while any(rig.trace[cycle][name] < level for name, level in levels.items()):
        cycle += 1
    return cycle


def check(rig: Rig) -> None:
    """The jobs are the Program's, pass after pass, and each was dispatched in the model's cycle."""
    model = Sequencer(start=0)
    bootstrap = Instruction(
        "LOAD", {"port": rig.ports - 1, "dest": PROGRAM, "run": 128, "n_inner": 1, "n_outer": 1, "signal": 1}
    )
    pages, jobs = iter(rig.pages), iter(rig.jobs)
    count = next(n for n, job in enumerate(rig.program) if job.op == "END")
    for number in range(rig.passes):
        for place, job in enumerate([bootstrap, *rig.program[:count]]):
            if place and (place - 1) % PAGE_INSTRUCTIONS == 0:
                model.page_loaded(next(pages))
            cycle, taken, word = next(jobs)
            names = tuple(sorted(rig.queues(job)))
            expected = handed_out(job, number, rig.program[count], rig.buffer_mask)
            assert (taken, word) == (names, expected), f"pass {number}, job {place}, {job.op}"
            wanted = model.dispatch(first(rig, model.earliest, **dict.fromkeys(names, 1)))
            assert cycle == wanted, f"pass {number}, job {place}, {job.op}"
        if count % PAGE_INSTRUCTIONS == 0:
            model.page_loaded(next(pages))
        if number + 1 < rig.passes:
            model.next_pass(first(rig, model.earliest, passes=number))
    assert next(jobs, None) is None
    assert rig.done == model.finish(first(rig, model.earliest, idle=1))


async def reset(dut: Any) -> None:
    dut.start.value = dut.halt.value = dut.word_valid.value = 0
    for level in (0, 0, 1):
        dut.rst_n.value = level
        for clock in (0, 1):
            dut.clk.value = clock
            await Timer(1, "ns")


@cocotb.test()
async def model_equals_rtl(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    ports = len(dut.read_valid)
    await reset(dut)
    # One after the other without a reset: a Program leaves nothing behind.
    for pages, busy in ((1, 0.0), (2, 0.0), (3, 0.5), (5, 0.2), (2, 0.9)):
        rig = Rig(dut, rng, ports, random_program(rng, ports, pages))
        await rig.run(busy)
        check(rig)


@cocotb.test()
async def passes_follow_each_other(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    ports = len(dut.read_valid)
    await reset(dut)
    cases = [
        (1, 2, 0.0, 0, 1.0),
        (3, 4, 0.0, 3, 0.02),
        (2, 3, 0.7, 1, 0.1),
        (1, 35, 0.1, 3, 0.2),
        (1, 18, 0.0, 1, 0.02),
    ]
    for pages, passes, busy, mask, rate in cases:
        rig = Rig(dut, rng, ports, random_program(rng, ports, pages), passes, mask, rate)
        await rig.run(busy)
        check(rig)


@cocotb.test()
async def halt_ends_a_program(dut: Any) -> None:
    rng = random.Random(cocotb.RANDOM_SEED)
    ports = len(dut.read_valid)
    await reset(dut)
    for passes in range(1, 11):
        rig = Rig(dut, rng, ports, random_program(rng, ports, 3), passes)
        halt_at = rng.randrange(100, 380)  # before the third page is there
        await rig.run(0.3, halt_at)
        # Pages under way still come, nothing is dispatched any more.
        assert rig.done > halt_at
        assert all(cycle < halt_at for cycle, _, _ in rig.jobs)
    rig = Rig(dut, rng, ports, random_program(rng, ports, 2))
    await rig.run(0.3)
    check(rig)
