"""Runs inside the simulator: the ports on cocotbext-axi's memory, a slave that is not ours and checks the protocol."""

from __future__ import annotations

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiBus, AxiRam

from dna.compile.program import Instruction
from tests.rtl import ports_jobs as jobs

JOBS = 10


async def _feed(dut, name: str, instructions: list[Instruction]) -> None:
    data, valid, ready = (getattr(dut, name + suffix) for suffix in ("", "_valid", "_ready"))
    for instruction in instructions:
        data.value = int.from_bytes(instruction.encode(), "little")
        valid.value = 1
        await RisingEdge(dut.clk)
        while not ready.value:
            await RisingEdge(dut.clk)
    valid.value = 0


async def _collect(dut, count: int) -> list[int]:
    words = []
    while len(words) < count:
        await RisingEdge(dut.clk)
        if dut.word_valid.value:
            words.append(dut.word_data.value.to_unsigned())
    return words


async def _commits(dut, count: int) -> None:
    while count:
        await RisingEdge(dut.clk)
        count -= int(dut.committed_pulse.value)


def _pauses(seed: int):
    rng = random.Random(seed)
    while True:
        yield rng.random() < 0.3


@cocotb.test()
async def ports_on_a_foreign_memory(dut):
    dut.load_valid.value = dut.store_valid.value = 0
    dut.rst.value = 1
    cocotb.start_soon(Clock(dut.clk, 2, "ns").start())
    ram = AxiRam(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=16 * jobs.MEMORY_WORDS)
    channels = [ram.write_if.aw_channel, ram.write_if.w_channel, ram.write_if.b_channel]
    for seed, channel in enumerate([*channels, ram.read_if.ar_channel, ram.read_if.r_channel]):
        channel.set_pause_generator(_pauses(seed))
    rng = random.Random(11)
    words = [rng.getrandbits(128) for _ in range(jobs.MEMORY_WORDS)]
    ram.write(0, b"".join(word.to_bytes(16, "little") for word in words))
    await ClockCycles(dut.clk, 5)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 5)

    reads, writes = jobs.random_jobs(rng, JOBS)
    loads = [job.instruction for job in reads if job.instruction.op == "LOAD"]
    expected = [words[address] for job in loads for address in jobs.job_addresses(job)]
    tasks = [
        cocotb.start_soon(_collect(dut, len(expected))),
        cocotb.start_soon(_commits(dut, JOBS)),
        cocotb.start_soon(_feed(dut, "load", loads)),
        cocotb.start_soon(_feed(dut, "store", [job.instruction for job in writes])),
    ]
    for task in tasks:
        await with_timeout(task, 400, "us")
    assert tasks[0].result() == expected
    memory = ram.read(0, 16 * jobs.MEMORY_WORDS)
    seen = [int.from_bytes(memory[n : n + 16], "little") for n in range(0, len(memory), 16)]
    assert seen == jobs.expected_memory(writes, words)
    assert not dut.read_error.value and not dut.write_error.value
