"""The cocotb bench: runs Programs on the accelerator and compares memory and counters with what is expected.

What to run stands in the JSON file named by DNA_TASKS: a list of {"program": folder, "mode": mode, "seed": n,
"bytes": n}; what came out goes to the file named by DNA_RESULTS, rewritten after each task. The test fails on a
difference. Modes:

fixed    memory of fixed timing: bits and cycles are compared
stalls   memory that stalls at random: bits are compared
shared   all ports together get `bytes` bytes per cycle: bits are compared
faults   memory that answers with errors, region by region: the accelerator must end, and say so in STATUS
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import cocotb
import compare
from cocotb.triggers import FallingEdge, RisingEdge, SimTimeoutError, with_timeout
from memory_image import WORD_BYTES, read_hex, write_hex
from program_folder import ProgramFolder

PERIOD_NS = 10
FILE = "memory.hex"
PATIENCE = {"fixed": 4, "stalls": 40, "shared": 40, "faults": 4}
"""A run that takes this many times the model's cycles counts as hung."""
PASS_CYCLES = 8
"""Passes whose end the accelerator keeps."""
SLACK_CYCLES = 20_000
REGISTER_CYCLES = 1000
"""Cycles in which a register access must be answered."""
GOOD_STATUS = 0b100010
"""done and interrupt"""
FAULTS = {"PROGRAM": 0b100, "INPUT": 0b100, "OUTPUT": 0b1000}
"""The bit of STATUS that an error in each region must set: reads and writes."""


class Bench:
    """Drives the test bench's signals between rising edges, so that no value changes at one."""

    def __init__(self, dut: Any, registers: dict[str, int]) -> None:
        self.dut = dut
        self.registers = registers

    async def cycle(self) -> None:
        await FallingEdge(self.dut.clk)

    async def reset(self) -> None:
        """All inputs to their idle value, ten cycles of reset."""
        await self.cycle()
        for name in (
            "rst_n", "s_axi_awvalid", "s_axi_wvalid", "s_axi_bready", "s_axi_arvalid", "s_axi_rready", "load", "dump",
            "s_axi_awaddr", "s_axi_araddr", "s_axi_wdata", "stall_seed", "error_enable", "error_first", "error_last",
            "file_name", "file_first", "file_last", "shared_bytes",
        ):  # fmt: skip
            getattr(self.dut, name).value = 0
        self.set_memory([], 0)
        for _ in range(10):
            await self.cycle()
        self.dut.rst_n.value = 1
        await self.cycle()

    def set_memory(self, timing: list[dict[str, int]], stall_seed: int, shared_bytes: int = 0) -> None:
        """`timing` of each port; 1 for all that is not given."""
        for name in ("read_latency", "beat_interval", "write_latency"):
            signal = getattr(self.dut, name)
            values = [port[name] for port in timing] + [1] * (len(signal) // 16 - len(timing))
            signal.value = sum(value << 16 * port for port, value in enumerate(values))
        self.dut.stall_seed.value = stall_seed
        self.dut.shared_bytes.value = shared_bytes

    async def _until(self, signal: Any) -> None:
        for _ in range(REGISTER_CYCLES):
            if int(signal.value):
                return
            await self.cycle()
        raise AssertionError(f"{signal._name} stays low")

    async def _taken(self, valid: Any, ready: Any) -> None:
        valid.value = 1
        await self._until(ready)
        await self.cycle()
        valid.value = 0

    async def write(self, name: str, value: int) -> None:
        """Write a register over AXI4-Lite."""
        dut = self.dut
        dut.s_axi_awaddr.value = self.registers[name]
        dut.s_axi_wdata.value = value
        await self._taken(dut.s_axi_awvalid, dut.s_axi_awready)
        await self._taken(dut.s_axi_wvalid, dut.s_axi_wready)
        await self._until(dut.s_axi_bvalid)
        assert int(dut.s_axi_bresp.value) == 0, f"write of {name} was answered with {int(dut.s_axi_bresp.value)}"
        await self._taken(dut.s_axi_bready, dut.s_axi_bvalid)

    async def read(self, name: str) -> int:
        """Read a register over AXI4-Lite."""
        dut = self.dut
        dut.s_axi_araddr.value = self.registers[name]
        await self._taken(dut.s_axi_arvalid, dut.s_axi_arready)
        await self._until(dut.s_axi_rvalid)
        assert int(dut.s_axi_rresp.value) == 0, f"read of {name} was answered with {int(dut.s_axi_rresp.value)}"
        value = int(dut.s_axi_rdata.value)
        await self._taken(dut.s_axi_rready, dut.s_axi_rvalid)
        return value

    async def transfer(self, signal: str, first: int, count: int) -> None:
        """Load or dump `count` words from word `first` on, through the file."""
        self.dut.file_name.value = int.from_bytes(FILE.encode(), "big")
        self.dut.file_first.value = first
        self.dut.file_last.value = first + count - 1
        getattr(self.dut, signal).value = 1
        await self.cycle()
        getattr(self.dut, signal).value = 0
        await self.cycle()


async def wrong_accelerator(bench: Bench, program: ProgramFolder) -> str | None:
    """The accelerator must be the one the Program was compiled for; what is wrong, if it is not."""
    for chunk, capabilities in enumerate(program.capabilities):
        await bench.write("CHUNK_SELECT", chunk)
        for name, expected in capabilities.items():
            got = await bench.read(name)
            if got != expected:
                where = f" of chunk {chunk}" if program.chunks > 1 else ""
                return f"register {name}{where} is 0x{got:08X}, the program was compiled for 0x{expected:08X}"
    return None


async def execute(bench: Bench, program: ProgramFolder, mode: str, expected_status: int = GOOD_STATUS) -> str | None:
    """Run the Program; what went wrong, if it did not end as expected."""
    for name, address in program.base_registers.items():
        await bench.write(f"{name}_LOW", address & 0xFFFFFFFF)
        await bench.write(f"{name}_HIGH", address >> 32)
    await bench.write("PASSES", program.passes)
    await bench.write("BUFFERS", program.buffers - 1)
    await bench.write("IRQ_ENABLE", 1)
    limit = SLACK_CYCLES + program.expected_cycles * PATIENCE[mode]
    # The watch stands before the start: a Program may be over before the write is answered.
    ended = cocotb.start_soon(_interrupt(bench.dut, limit))
    await bench.write("CONTROL", 1)
    if not await ended:
        status = await bench.read("STATUS")
        return f"no interrupt within {limit} cycles: hung (STATUS 0x{status:X})"
    status = await bench.read("STATUS")
    await bench.write("IRQ_CLEAR", 1)
    if status != expected_status:
        return f"STATUS is 0x{status:X} after the interrupt, expected 0x{expected_status:X}"
    if int(bench.dut.irq.value):
        return "irq stays high after IRQ_CLEAR"
    broken = int(bench.dut.protocol_error.value)
    if broken:
        return f"AXI rule {broken} was broken at port {int(bench.dut.protocol_port.value)} (list in dna_memory.v)"
    return None


async def _interrupt(dut: Any, cycles: int) -> bool:
    try:
        await with_timeout(RisingEdge(dut.irq), cycles * PERIOD_NS, "ns")
        risen = True
    except SimTimeoutError:
        risen = False
    # Back to between the rising edges: the time limit may end just before a falling one.
    await FallingEdge(dut.clk)
    return risen


async def layer_counters(bench: Bench, chunk: int, layers: int) -> list[dict[str, int]]:
    """Per layer of a chunk, in order of execution, what the LAYER registers say, by lower-case name without LAYER_."""
    await bench.write("CHUNK_SELECT", chunk)
    count = await bench.read("LAYER_COUNT")
    text = f"LAYER_COUNT is 0x{count:08X} for {layers} layers of chunk {chunk}"
    assert count & 0xFFFF == count >> 16 == min(layers, 256), text
    names = [name for name in bench.registers if name.startswith("LAYER_")]
    result = []
    for layer in range(min(layers, 256)):
        await bench.write("LAYER_SELECT", layer)
        values = {}
        for name in names:
            if name not in ("LAYER_SELECT", "LAYER_COUNT"):
                values[name.removeprefix("LAYER_").lower()] = await bench.read(name)
        result.append(values)
    return result


async def pass_ends(bench: Bench, passes: int) -> list[int | None]:
    """By pass, the cycle in which it was done; None for those that the accelerator has forgotten."""
    done = await bench.read("PASSES_DONE")
    assert done == passes, f"PASSES_DONE is {done} after {passes} passes"
    kept = range(max(0, passes - PASS_CYCLES), passes)
    ends = {number: await bench.read(f"PASS_CYCLES_{number % PASS_CYCLES}") for number in kept}
    return [ends.get(number) for number in range(passes)]


async def execute_with_faults(bench: Bench, program: ProgramFolder) -> str | None:
    """The Program on a memory with a faulty region, one region after the other; what went wrong."""
    for region, bit in FAULTS.items():
        first = program.addresses(region)[0]
        bench.dut.error_enable.value = 1
        bench.dut.error_first.value = first
        bench.dut.error_last.value = first + program.region_bytes(region) - 1
        error = await execute(bench, program, "faults", GOOD_STATUS | bit)
        bench.dut.error_enable.value = 0
        if error is not None:
            return f"with faults in region {region}: {error}"
    return None


async def run_task(bench: Bench, program: ProgramFolder, mode: str, seed: int, shared_bytes: int) -> dict[str, Any]:
    """One Program, once; its entry in the results."""
    started = time.monotonic()
    result: dict[str, Any] = {"program": str(program.path), "name": program.name, "mode": mode, "seed": seed}
    write_hex(Path(FILE), program.memory_image())
    await bench.transfer("load", 0, program.memory_words)
    bench.set_memory(program.memory_timing, seed if mode == "stalls" else 0, shared_bytes if mode == "shared" else 0)
    error = await wrong_accelerator(bench, program)
    if error is None and mode == "faults":
        error = await execute_with_faults(bench, program)
    elif error is None:
        error = await execute(bench, program, mode)
    result |= {"error": error, "layers": [], "cycles_model": program.model_cycles, "cycles_rtl": None}
    result |= {"pass_ends_model": program.pass_ends, "pass_ends_rtl": [], "passes_different": []}
    if error is None and mode != "faults":
        result["cycles_rtl"] = await bench.read("CYCLES")
        ends = await pass_ends(bench, program.passes)
        result["pass_ends_rtl"] = ends
        result["passes_different"] = compare.passes_different(program.pass_ends if mode == "fixed" else None, ends)
        chunks = range(program.chunks)
        counters = [await layer_counters(bench, chunk, len(program.layers_of(chunk))) for chunk in chunks]
        first = program.first_written
        await bench.transfer("dump", first, program.memory_words - first)
        memory = read_hex(Path(FILE), program.memory_words - first)
        result["layers"] = compare.layers(program, memory, first * WORD_BYTES, counters, with_cycles=mode == "fixed")
    result["ok"] = compare.is_good(result)
    result["seconds"] = round(time.monotonic() - started, 3)
    return result


@cocotb.test()
async def programs(dut: Any) -> None:
    """Every task; all must agree."""
    tasks = json.loads(Path(os.environ["DNA_TASKS"]).read_text())
    output = Path(os.environ["DNA_RESULTS"])
    results: list[dict[str, Any]] = []
    bench: Bench | None = None
    for task in tasks:
        program = ProgramFolder(Path(task["program"]))
        # One reset for all tasks, for a Program must leave nothing behind; after a failure, anything goes.
        if bench is None or results[-1]["error"]:
            bench = Bench(dut, program.registers)
            await bench.reset()
        results.append(await run_task(bench, program, task["mode"], task["seed"], task["bytes"]))
        output.write_text(json.dumps(results))
    bad = [result for result in results if not result["ok"]]
    assert not bad, f"{len(bad)} of {len(results)} runs differ"
