"""Runs inside the simulator: random jobs on all rigs of ports_bench.v, compared with the model and with the data."""

from __future__ import annotations

import os
import random
from pathlib import Path

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge, with_timeout

from dna.accelerator.chunk import Memory
from dna.accelerator.isa import REGIONS
from tests.rtl import ports_jobs as jobs

FOLDER = Path(os.environ["PORTS_FOLDER"])
JOBS = 32
LOAD_READS, LOAD_WRITES, LOAD_MEMORY, DUMP_MEMORY, DUMP_READS, DUMP_WRITES, DUMP_STREAM = range(1, 8)
LOAD_SOURCE, LOAD_TARGET, DUMP_TARGET = 8, 10, 12
"""For the first bank of each kind; the next number is for the next one."""


async def _command(dut, rig: int, number: int, path: Path, words: int) -> None:
    dut.file_name.value = int.from_bytes(str(path).encode(), "big")
    dut.file_first.value, dut.file_last.value = 0, words - 1
    dut.select.value, dut.command.value = rig, number
    await FallingEdge(dut.clk)
    dut.command.value = 0


async def _dump(dut, rig: int, number: int, words: int) -> list[int]:
    path = FOLDER / "dump.hex"
    path.unlink(missing_ok=True)
    await _command(dut, rig, number, path, words)
    lines = (line.split("//")[0].strip() for line in path.read_text().splitlines())
    return [int(line, 16) for line in lines if line and not line.startswith("@")]


def _write_hex(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


class Round:
    """One run of all rigs: each has its own jobs, all have one memory timing."""

    def __init__(
        self, dut, seed: int, timing: Memory, stall_seed: int = 0, bad_words: range = range(0), halt: bool = False
    ) -> None:
        self.dut, self.timing, self.stall_seed, self.bad_words, self.halt = dut, timing, stall_seed, bad_words, halt
        rng = random.Random(seed)
        self.words = [rng.getrandbits(128) for _ in range(jobs.MEMORY_WORDS)]
        self.banks = [[rng.getrandbits(128) for _ in range(jobs.BANK_WORDS)] for _ in range(jobs.BANKS)]
        self.lists = [jobs.rig_jobs(rng, rig, JOBS) for rig in range(len(jobs.RIGS))]

    async def run(self) -> None:
        dut = self.dut
        dut.rst_n.value = 0
        dut.command.value = dut.clear.value = 0
        dut.reads.value = dut.writes.value = JOBS
        dut.read_latency.value = self.timing.read_latency
        dut.beat_interval.value = self.timing.beat_interval
        dut.write_latency.value = self.timing.write_latency
        dut.stall_seed.value = self.stall_seed
        dut.halt.value = int(self.halt)
        dut.error_enable.value = int(bool(self.bad_words))
        dut.error_first.value = 16 * self.bad_words.start
        dut.error_last.value = max(0, 16 * self.bad_words.stop - 1)
        memory = _write_hex(FOLDER / "memory.hex", [f"{word:032x}" for word in self.words])
        files = [
            _write_hex(FOLDER / f"bank_{number}.hex", [f"{word:032x}" for word in words])
            for number, words in enumerate(self.banks)
        ]
        for rig, (reads, writes) in enumerate(self.lists):
            for number, file in enumerate(files):
                await _command(dut, rig, LOAD_SOURCE + number, file, jobs.BANK_WORDS)
                await _command(dut, rig, LOAD_TARGET + number, file, jobs.BANK_WORDS)
            await _command(dut, rig, LOAD_MEMORY, memory, len(self.words))
            for number, listed in ((LOAD_READS, reads), (LOAD_WRITES, writes)):
                lines = [job.line() for job in listed] + ["0" * 96] * (128 - JOBS)
                await _command(dut, rig, number, _write_hex(FOLDER / "jobs.hex", lines), 128)
        await FallingEdge(dut.clk)
        dut.rst_n.value = 1
        await FallingEdge(dut.clk)
        await with_timeout(RisingEdge(dut.done), 4_000_000, "ns")
        await FallingEdge(dut.clk)

    async def check_data(self, rig: int) -> None:
        reads, writes = self.lists[rig]
        expected = jobs.expected_stream(reads, self.words, self.banks)
        seen = await _dump(self.dut, rig, DUMP_STREAM, len(expected))
        differing = [n for n, (a, b) in enumerate(zip(seen, expected, strict=True)) if a != b and not self.bad_words]
        assert not differing, (
            f"rig {rig}: stream record {differing[0]}: {seen[differing[0]]:x}, not {expected[differing[0]]:x}"
        )
        memory = await _dump(self.dut, rig, DUMP_MEMORY, len(self.words))
        expected = jobs.expected_memory(writes, self.words, self.bad_words)
        self._same_words(f"rig {rig}: memory", memory, expected)
        for bank in range(jobs.BANKS if jobs.has_links(rig) else 0):
            words = await _dump(self.dut, rig, DUMP_TARGET + bank, jobs.BANK_WORDS)
            expected = jobs.expected_memory(writes, self.banks[bank], bank=bank)
            self._same_words(f"rig {rig}: bank {bank}", words, expected)
        assert self.dut.protocol_error.value.to_unsigned() == 0

    @staticmethod
    def _same_words(what: str, words: list[int], expected: list[int]) -> None:
        differing = [n for n, (a, b) in enumerate(zip(words, expected, strict=True)) if a != b]
        assert not differing, f"{what} word {differing[0]:#x}: {words[differing[0]]:x}, not {expected[differing[0]]:x}"

    async def check_times(self, rig: int) -> None:
        reads, writes = self.lists[rig]
        seen = [(word & 0xFFFFFFFF, word >> 32) for word in await _dump(self.dut, rig, DUMP_READS, JOBS)]
        pops, ends = jobs.expected_reads(rig, self.timing, reads, self.halt)
        self._compare(rig, "read", [pop for pop, _ in seen], pops, reads)
        loads = [job for job in reads if job.instruction.op != "WAIT"]
        self._compare(rig, "end of read", [end for _, end in seen[: len(ends)]], ends, loads)
        records = await _dump(self.dut, rig, DUMP_WRITES, JOBS)
        fields = [tuple(word >> shift & 0xFFFFFFFF for shift in (0, 32, 64, 96)) for word in records]
        pops, ends = jobs.expected_writes(rig, self.timing, writes, self.halt)
        self._compare(rig, "write", [entry[0] for entry in fields], pops, writes)
        stores = [job for job in writes if job.instruction.op == "STORE"]
        self._compare(rig, "end of write", [entry[1:] for entry in fields[: len(ends)]], ends, stores)

    def _compare(self, rig: int, what: str, seen: list, expected: list, listed: list) -> None:
        assert len(seen) == len(expected) == len(listed)
        for n, (rtl, model) in enumerate(zip(seen, expected, strict=True)):
            assert rtl == model, f"rig {rig} {self.timing}: {what} job {n}: RTL {rtl}, model {model}: {listed[n]}"


def _touches(listed: list[jobs.Job], words: range) -> bool:
    moves = [job.instruction for job in listed if job.instruction.op in ("LOAD", "STORE")]
    moves = [move for move in moves if move["region"] != REGIONS["CHIP"]]
    return any(address in words for move in moves for address in jobs.job_addresses(move))


def _random_timing(rng: random.Random) -> Memory:
    return Memory(
        read_latency=rng.choice([1, 2, 3, rng.randint(1, 20), rng.randint(20, 90)]),
        beat_interval=rng.choice([1, 1, 1, 2, 3]),
        write_latency=rng.choice([1, 2, 16, rng.randint(1, 60)]),
    )


@cocotb.test()
async def cycles_equal_the_model(dut):
    """Deterministic memory: every job of every rig in exactly the model's cycles, and the right data."""
    rng = random.Random(1)
    for seed in range(int(os.environ.get("PORTS_ROUNDS", "10"))):
        timing = Memory(1, 1, 1) if seed == 0 else _random_timing(rng)
        test = Round(dut, seed, timing)
        await test.run()
        for rig in range(len(jobs.RIGS)):
            await test.check_times(rig)
            if seed < 3:
                await test.check_data(rig)
        assert dut.read_error.value.to_unsigned() == dut.write_error.value.to_unsigned() == 0


@cocotb.test()
async def halt_ends_all_waiting_for_other_chunks(dut):
    """With `halt` a WAIT is popped at once; all else is as ever."""
    test = Round(dut, 50, Memory(9, 1, 4), halt=True)
    await test.run()
    for rig in range(len(jobs.RIGS)):
        await test.check_times(rig)
        await test.check_data(rig)


@cocotb.test()
async def random_stalls_keep_the_data(dut):
    """Every channel stalls at random: nothing lost, doubled or out of place, and no rule of AXI broken."""
    for seed in range(100, 104):
        test = Round(dut, seed, _random_timing(random.Random(seed)), stall_seed=seed * 7919)
        await test.run()
        for rig in range(len(jobs.RIGS)):
            await test.check_data(rig)


@cocotb.test()
async def errors_end_in_a_bit(dut):
    """SLVERR on some words: all jobs still finish, in the model's cycles; the bits say it and can be cleared."""
    for seed, bad_words in ((200, range(0x2110, 0x2180)), (201, range(0x4010, 0x4200))):
        test = Round(dut, seed, Memory(20, 1, 9), bad_words=bad_words)
        await test.run()
        reads = writes = 0
        for rig, lists in enumerate(test.lists):
            await test.check_times(rig)
            await test.check_data(rig)
            hit = [_touches(listed, bad_words) for listed in lists]
            reads, writes = reads | hit[0] << rig, writes | hit[1] << rig
        assert (reads, writes) == ((255, 0) if seed == 200 else (0, 255))
        assert (dut.read_error.value.to_unsigned(), dut.write_error.value.to_unsigned()) == (reads, writes)
        dut.clear.value = 1
        await FallingEdge(dut.clk)
        dut.clear.value = 0
        assert (dut.read_error.value.to_unsigned(), dut.write_error.value.to_unsigned()) == (0, 0)
