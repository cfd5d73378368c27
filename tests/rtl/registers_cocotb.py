"""Runs inside the simulator: the register map over AXI4-Lite, with every channel stalling at random."""

from __future__ import annotations

import itertools
import logging
import random
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from dna.accelerator.registers import Bits, Register, registers

CHUNKS = 2
"""Of the accelerator whose registers are tested."""
MAP = registers(CHUNKS)
KNOWN = {entry.offset for entry in MAP}


def fields(access: str) -> list[tuple[Register, Bits]]:
    return [(entry, field) for entry in MAP for field in entry.fields if field.access == access]


async def master(dut: Any, stalls: float) -> AxiLiteMaster:
    logging.getLogger("cocotb").setLevel(logging.WARNING)
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    for entry, field in fields("ro"):
        getattr(dut, entry.port(field)).value = 0
    bus = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst_n, reset_active_level=False)
    rng = random.Random(cocotb.RANDOM_SEED)

    def pauses() -> Any:
        return (rng.random() < stalls for _ in itertools.count())

    for channel in (bus.write_if.aw_channel, bus.write_if.w_channel, bus.write_if.b_channel):
        channel.set_pause_generator(pauses())
    for channel in (bus.read_if.ar_channel, bus.read_if.r_channel):
        channel.set_pause_generator(pauses())
    dut.rst_n.value = 0
    await ClockCycles(dut.clk, 4)
    dut.rst_n.value = 1
    await ClockCycles(dut.clk, 2)
    return bus


async def read(bus: AxiLiteMaster, offset: int) -> tuple[int, AxiResp]:
    answer = await bus.read(offset, 4)
    return int.from_bytes(answer.data, "little"), answer.resp


@cocotb.test()
async def read_only_registers_show_their_inputs(dut: Any) -> None:
    bus, rng = await master(dut, 0.3), random.Random(1)
    for _ in range(3):
        expected = dict.fromkeys(KNOWN, 0)
        for entry, field in fields("ro"):
            value = rng.getrandbits(field.bits)
            getattr(dut, entry.port(field)).value = value
            expected[entry.offset] |= value << field.low
        for entry in MAP:
            if entry.fields[0].access == "ro":
                # A write to a read-only register is accepted and ignored.
                assert (await bus.write(entry.offset, b"\xff\xff\xff\xff")).resp == AxiResp.OKAY
                assert await read(bus, entry.offset) == (expected[entry.offset], AxiResp.OKAY), entry.name


@cocotb.test()
async def writable_registers_keep_each_byte(dut: Any) -> None:
    bus, rng = await master(dut, 0.5), random.Random(2)
    held = {entry.offset: field.reset << field.low for entry, field in fields("rw")}
    for _ in range(150):
        entry, field = rng.choice(fields("rw"))
        first = rng.randrange(4)
        data = rng.randbytes(rng.randint(1, 4 - first))
        await bus.write(entry.offset + first, data)
        old = bytearray(held[entry.offset].to_bytes(4, "little"))
        old[first : first + len(data)] = data
        held[entry.offset] = int.from_bytes(old, "little") & ((1 << field.bits) - 1) << field.low
        for other, part in fields("rw"):
            assert int(getattr(dut, other.port(part)).value) == held[other.offset] >> part.low
        probe = rng.choice(sorted(held))
        assert await read(bus, probe) == (held[probe], AxiResp.OKAY)


@cocotb.test()
async def commands_are_pulses_of_one_cycle(dut: Any) -> None:
    bus, rng = await master(dut, 0.3), random.Random(3)
    counts = {entry.port(field): 0 for entry, field in fields("w1")}

    async def count() -> None:
        while True:
            await FallingEdge(dut.clk)
            for name in counts:
                counts[name] += int(getattr(dut, name).value)

    cocotb.start_soon(count())
    for entry in {entry.name: entry for entry, _ in fields("w1")}.values():
        for _ in range(10):
            value = rng.getrandbits(32)
            before = dict(counts)
            await bus.write(entry.offset, value.to_bytes(4, "little"))
            await ClockCycles(dut.clk, 4)
            for other, field in fields("w1"):
                risen = counts[other.port(field)] - before[other.port(field)]
                assert risen == (value >> field.low & 1 if other is entry else 0), other.port(field)
            assert await read(bus, entry.offset) == (0, AxiResp.OKAY)
    assert all(counts.values())


@cocotb.test()
async def unknown_addresses_are_errors(dut: Any) -> None:
    bus, rng = await master(dut, 0.3), random.Random(4)
    for offset in rng.sample([4 * n for n in range(1024) if 4 * n not in KNOWN], 40):
        assert await read(bus, offset) == (0, AxiResp.SLVERR)
        assert (await bus.write(offset, rng.randbytes(4))).resp == AxiResp.SLVERR
    for entry, field in fields("rw"):
        assert int(getattr(dut, entry.port(field)).value) == field.reset
