"""The cocotb bench of the drivers: they run against the simulated accelerator, and what they find is compared.

The processor's memory is an array of its own, as behind a cache: only what the driver flushes reaches the simulated
memory, only what it invalidates comes back. Each test runs with the C and with the Python driver.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from c_driver import INTERRUPT_ERROR, CAccelerator
from cocotb.task import bridge, resume
from cocotb.triggers import First, RisingEdge, Timer
from dna_driver import Accelerator, DnaError, Timing
from memory_image import WORD_BYTES, read_hex, write_hex
from program_folder import ProgramFolder
from regression import FILE, PERIOD_NS, Bench

HOST = Path(__file__).resolve().parent
LIBRARY = HOST / "libdna.so"
BUS = 1 << 16
"""Where the processor's memory begins for the accelerator."""
IDLE_CYCLES = 100
DRIVERS = ("c", "c_interrupt", "python")
READ_ERROR, WRITE_ERROR, CAPABILITIES_ERROR, ARGUMENT_ERROR, MEMORY_ERROR, TIMEOUT_ERROR = -7, -8, -3, -4, -5, -10
SLOTS = 4


class SimulatedHardware:
    """The simulation as a driver's `Hardware`; its methods are called from a driver's own thread."""

    def __init__(self, bench: Bench, size: int) -> None:
        self.bench, self.bus = bench, BUS
        self.names = {address: name for name, address in bench.registers.items()}
        self.memory = np.full(size, 0x5A, np.uint8)
        self.read = resume(self._read)
        self.write = resume(self._write)
        self.wait = resume(self._wait)
        self.flush = resume(self._flush)
        self.invalidate = resume(self._invalidate)

    async def _read(self, address: int) -> int:
        return await self.bench.read(self.names[address])

    async def _write(self, address: int, value: int) -> None:
        await self.bench.write(self.names[address], value)

    async def _wait(self, seconds: float) -> None:
        await First(RisingEdge(self.bench.dut.irq), Timer(IDLE_CYCLES * PERIOD_NS, "ns"))
        await self.bench.cycle()

    async def _flush(self, first: int, count: int) -> None:
        assert first % WORD_BYTES == 0, f"flush from byte {first}"
        words = -(-count // WORD_BYTES)
        write_hex(Path(FILE), self.memory[first : first + words * WORD_BYTES].tobytes())
        await self.bench.transfer("load", (BUS + first) // WORD_BYTES, words)

    async def _invalidate(self, first: int, count: int) -> None:
        assert first % WORD_BYTES == 0, f"invalidate from byte {first}"
        words = -(-count // WORD_BYTES)
        await self.bench.transfer("dump", (BUS + first) // WORD_BYTES, words)
        data = np.frombuffer(read_hex(Path(FILE), words), np.uint8)
        self.memory[first : first + len(data)] = data

    def interrupt_waits(self) -> bool:
        return bool(int(self.bench.dut.irq.value))


class Setup:
    """A reset accelerator with memory of the program's timing."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.program = ProgramFolder(HOST.parent / "program")
        self.content = json.loads((HOST / "dna_program.json").read_text())
        self.bench = Bench(dut, self.program.registers)
        self.hardware = SimulatedHardware(self.bench, int(os.environ["DNA_MEMORY_BYTES"]))

    async def begin(self) -> None:
        await self.bench.reset()
        self.bench.set_memory(self.program.memory_timing, 0)

    async def accelerator(self, driver: str, slots: int = SLOTS, hardware: Any = None) -> Any:
        hardware = hardware or self.hardware
        if driver == "python":
            return await bridge(Accelerator)(hardware, slots)
        pending = self.hardware.interrupt_waits if driver == "c_interrupt" else None
        return await bridge(CAccelerator)(LIBRARY, hardware, self.content, slots, pending)

    def frames(self) -> tuple[np.ndarray, np.ndarray]:
        """Reference inputs and outputs, (N, H, W, C)."""
        x, y = (np.load(HOST.parent / "program" / f"{name}.npy") for name in ("input", "output"))
        return (x, y) if x.ndim == 4 else (x[None], y[None])

    def clean(self) -> None:
        """No AXI rule was broken."""
        assert int(self.dut.protocol_error.value) == 0, f"AXI rule {int(self.dut.protocol_error.value)} was broken"


async def code_of(call: Any, *arguments: Any) -> int:
    """The error code that a call of the driver ends with; 0 if it ends well."""
    try:
        await bridge(call)(*arguments)
    except DnaError as error:
        assert str(error), "an error without a message"
        return error.code
    return 0


@cocotb.test()
@cocotb.parametrize(driver=DRIVERS, slots=(1, 4, 9))
async def inference(dut: Any, driver: str, slots: int) -> None:
    """Any number of images, in any number of slots: every output is the reference's."""
    setup = Setup(dut)
    await setup.begin()
    accelerator = await setup.accelerator(driver, slots)
    x, y = setup.frames()
    order = [number % len(x) for number in range(2 * setup.content["frames"] * min(slots, 4) + 1)]
    got = await bridge(accelerator.infer)(x[order])
    different = [number for number, which in enumerate(order) if not np.array_equal(got[number], y[which])]
    assert not different, f"outputs {different} of {len(order)} differ"
    setup.clean()


@cocotb.test()
@cocotb.parametrize(driver=DRIVERS)
async def counters(dut: Any, driver: str) -> None:
    """Cycles in all, per pass and per layer are those of the model."""
    setup = Setup(dut)
    await setup.begin()
    accelerator, program = await setup.accelerator(driver), setup.program
    x, _ = setup.frames()
    for slot in range(SLOTS):
        for frame in range(program.frames):
            await bridge(accelerator.put)(slot, frame, x[(slot * program.frames + frame) % len(x)])
    await bridge(accelerator.run)(0, program.passes)
    assert await bridge(lambda: accelerator.cycles)() == program.model_cycles
    ends = await bridge(accelerator.pass_cycles)()
    assert all(program.pass_ends[number] == cycle for number, cycle in ends.items()) and ends
    layers = await bridge(accelerator.layers)()
    assert [layer["name"] for layer in layers] == [layer["name"] for layer in program.layers]
    for got, expected in zip(layers, program.layers, strict=True):
        assert {name: got[name] for name in expected["cycles"]} == expected["cycles"], got["name"]


@cocotb.test()
@cocotb.parametrize(driver=DRIVERS)
async def faults(dut: Any, driver: str) -> None:
    """A faulty memory is reported as what it is, and the next run is a good one."""
    setup = Setup(dut)
    await setup.begin()
    accelerator = await setup.accelerator(driver)
    x, y = setup.frames()
    images = x[[0] * setup.content["frames"]]
    places = {"input": READ_ERROR, "output": WRITE_ERROR}
    for kind, expected in places.items():
        first, count = setup_region(setup.content, kind)
        dut.error_first.value, dut.error_last.value = BUS + first, BUS + first + count - 1
        dut.error_enable.value = 1
        assert await code_of(accelerator.infer, images) == expected, kind
        dut.error_enable.value = 0
        got = await bridge(accelerator.infer)(images)
        assert np.array_equal(got[0], y[0]), f"the run after a fault in the {kind}"
    setup.clean()


def setup_region(content: dict[str, Any], kind: str) -> tuple[int, int]:
    """First byte and size of slot 0 in the drivers' memory."""

    def whole(size: int) -> int:
        return -(-size // 4096) * 4096

    first = whole(content["image_bytes"]) + whole(content["probe"]["image_bytes"])
    size = content["bytes"][kind.upper()]
    return first + (SLOTS * whole(content["bytes"]["INPUT"]) if kind == "output" else 0), size


@cocotb.test()
@cocotb.parametrize(driver=DRIVERS)
async def mistakes(dut: Any, driver: str) -> None:
    """The wrong accelerator, too little memory, things that do not exist, and a run that takes too long."""
    setup = Setup(dut)
    await setup.begin()
    accelerator = await setup.accelerator(driver)
    x, _ = setup.frames()
    assert await code_of(accelerator.run, SLOTS, 1) == ARGUMENT_ERROR
    assert await code_of(accelerator.run, 0, 0) == ARGUMENT_ERROR
    assert await code_of(accelerator.put, 0, setup.content["frames"], x[0]) == ARGUMENT_ERROR
    small = SimulatedHardware(setup.bench, len(setup.hardware.memory))
    small.memory = small.memory[:4096]
    assert await create_code(setup, driver, small) == MEMORY_ERROR
    other = SimulatedHardware(setup.bench, len(setup.hardware.memory))
    real = other.read
    other.read = lambda address: real(address) ^ (address == setup.program.registers["BUFFERS_IN"])
    assert await create_code(setup, driver, other) == CAPABILITIES_ERROR
    await bridge(accelerator.start)(0, 1)
    if driver == "python":
        accelerator._patience = 10
    else:
        accelerator.set_patience(10)
    # The program is too short to be waited for longer than that, unless its memory is slow.
    setup.bench.set_memory([{"read_latency": 4000, "beat_interval": 1, "write_latency": 4000}] * dut_ports(dut), 0)
    assert await code_of(accelerator.wait) == TIMEOUT_ERROR


def dut_ports(dut: Any) -> int:
    return len(dut.read_latency) // 16


async def create_code(setup: Setup, driver: str, hardware: Any) -> int:
    try:
        await setup.accelerator(driver, SLOTS, hardware)
    except DnaError as error:
        return error.code
    return 0


@cocotb.test()
@cocotb.parametrize(driver=DRIVERS)
async def probe(dut: Any, driver: str) -> None:
    """The probe finds the simulated memory's timing exactly, and leaves the accelerator as it was."""
    setup = Setup(dut)
    await setup.begin()
    accelerator = await setup.accelerator(driver)
    for text in os.environ["DNA_PROBE_TIMINGS"].split(";"):
        timing = Timing(*(int(value) for value in text.split(",")))
        setup.bench.set_memory([timing.rounded()] * dut_ports(dut), 0)
        found = await bridge(accelerator.probe)(1)
        assert found == timing, f"{found} for {timing}"
        text = found.text() if driver == "python" else accelerator.probe_text
        for name, value in timing.rounded().items():
            assert f"  {name}: {value} " in text, text
    x, y = setup.frames()
    got = await bridge(accelerator.infer)(x[:1])
    assert np.array_equal(got[0], y[0]), "a run after the probe"


@cocotb.test()
async def example(dut: Any) -> None:
    """The C application, as it stands: one frame, the counters, the probe."""
    setup = Setup(dut)
    await setup.begin()
    accelerator = await setup.accelerator("c")
    x, y = setup.frames()
    got = await bridge(accelerator.example)(x[0])
    assert np.array_equal(got, y[0])


@cocotb.test()
async def no_interrupt(dut: Any) -> None:
    """An interrupt line that is not connected is reported, and not waited for in vain."""
    setup = Setup(dut)
    await setup.begin()
    setup.hardware.interrupt_waits = lambda: False
    # What the driver asks for takes no time: ten thousand looks are many.
    accelerator = await setup.accelerator("c_interrupt")
    await bridge(accelerator.start)(0, 1)
    await RisingEdge(dut.irq)
    await setup.bench.cycle()
    status = setup.program.registers["STATUS"]
    answers = {status: await setup.bench.read("STATUS")}
    setup.hardware.read, setup.hardware.wait = lambda address: answers.get(address, 7), lambda seconds: None
    accelerator.connect(setup.hardware)
    assert await code_of(accelerator.wait) == INTERRUPT_ERROR
