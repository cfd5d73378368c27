"""The C driver, compiled for this machine (libdna.so), behind the same methods as the Python one."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import (
    CFUNCTYPE,
    Structure,
    byref,
    c_char_p,
    c_int,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Any

import numpy as np
from dna_driver import COUNTERS, DnaError, Hardware, Timing
from numpy.typing import NDArray

READ = CFUNCTYPE(c_uint32, c_void_p, c_uint32)
WRITE = CFUNCTYPE(None, c_void_p, c_uint32, c_uint32)
RANGE = CFUNCTYPE(None, c_void_p, c_void_p, c_size_t)
IDLE = CFUNCTYPE(None, c_void_p)


class Platform(Structure):
    _fields_ = [
        ("context", c_void_p), ("read", READ), ("write", WRITE), ("flush", RANGE), ("invalidate", RANGE),
        ("idle", IDLE),
    ]  # fmt: skip


class Memory(Structure):
    _fields_ = [("processor", c_void_p), ("bus", c_uint64), ("bytes", c_size_t)]


class Device(Structure):
    _fields_ = [
        ("platform", Platform), ("program", c_void_p), ("memory", Memory), ("slots", c_uint32), ("passes", c_uint32),
        ("timeout_cycles", c_uint64), ("use_interrupt", c_int), ("interrupted", c_uint32),
    ]  # fmt: skip


class Counters(Structure):
    _fields_ = [(name, c_uint32) for name in COUNTERS]


INTERRUPT_ERROR = -13
TIMES = ("read_latency", "beat_interval", "write_latency")


class MemoryTiming(Structure):
    _fields_ = [*((name, c_uint32) for name in TIMES), *((f"{name}_milli", c_uint64) for name in TIMES)]


class CAccelerator:
    """As `dna_driver.Accelerator`. `interrupt`: the driver waits for its interrupt handler, which `pending` is asked
    whether to call, instead of looking at STATUS.
    """

    def __init__(
        self,
        library: Path,
        hardware: Hardware,
        content: dict[str, Any],
        slots: int = 2,
        pending: Callable[[], bool] | None = None,
    ) -> None:
        self.library, self.hardware, self.content, self.slots = ctypes.CDLL(str(library)), hardware, content, slots
        self.library.dna_message.restype = c_char_p
        self.library.dna_layer_name.restype = c_char_p
        self.library.dna_layer_name.argtypes = [c_void_p, c_uint32, c_uint32]
        self.library.dna_memory_bytes.restype = c_size_t
        self.frames = int(content["frames"])
        self._start = hardware.memory.ctypes.data
        self._pending, self._raised = pending, []  # type: tuple[Any, list[BaseException]]
        self._platform = self._callbacks()
        self.device = Device()
        self._program = c_uint8.in_dll(self.library, "dna_compiled_program")
        memory = Memory(self._start, hardware.bus, len(hardware.memory))
        self._call("dna_init", byref(self._platform), byref(self._program), memory, c_uint32(slots))
        self.device.use_interrupt = int(pending is not None)
        first, end = (c_uint8.in_dll(self.library, f"dna_program_image{part}") for part in ("", "_end"))
        self._call("dna_load", byref(first), c_size_t(ctypes.addressof(end) - ctypes.addressof(first)))

    def _callbacks(self) -> Platform:
        hardware = self.hardware

        def kept(work: Callable[..., Any]) -> Callable[..., Any]:
            def safe(_: object, *arguments: int) -> Any:
                try:
                    return work(*arguments)
                except BaseException as error:  # ctypes would print and forget it
                    self._raised.append(error)
                    return 0

            return safe

        def idle() -> None:
            hardware.wait(0.001)
            if self._pending is not None and self._pending():
                self.library.dna_interrupt(byref(self.device))

        return Platform(
            None,
            READ(kept(hardware.read)),
            WRITE(kept(hardware.write)),
            RANGE(kept(lambda first, count: hardware.flush(first - self._start, count))),
            RANGE(kept(lambda first, count: hardware.invalidate(first - self._start, count))),
            IDLE(kept(idle)),
        )

    def connect(self, hardware: Hardware) -> None:
        """Another way to the same accelerator."""
        self.hardware = hardware
        self.device.platform = self._platform = self._callbacks()

    def example(self, image_HWC: NDArray[Any]) -> NDArray[np.int64]:
        """dna_example.c: the output of an image. It prints what it finds."""
        data, output = np.ascontiguousarray(image_HWC.astype(np.int64) & 0xFF, np.uint8), self._outputs(1)
        code = self.library.dna_example(byref(self.device), c_void_p(data.ctypes.data), c_void_p(output.ctypes.data))
        if self._raised or code:
            raise DnaError(code, str(self._raised))
        return output[0].astype(np.int64)

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self.library, name)(byref(self.device), *arguments)
        if self._raised:
            raise self._raised.pop(0)
        if code:
            raise DnaError(code, self.library.dna_message(code).decode())

    def put(self, slot: int, frame: int, image_HWC: NDArray[Any]) -> None:
        data = np.ascontiguousarray(image_HWC.astype(np.int64) & 0xFF, np.uint8)
        self._call("dna_put", c_uint32(slot), c_uint32(frame), c_void_p(data.ctypes.data))

    def get(self, slot: int, frame: int) -> NDArray[np.int64]:
        data = self._outputs(1)
        self._call("dna_get", c_uint32(slot), c_uint32(frame), c_void_p(data.ctypes.data))
        return data[0].astype(np.int64)

    def _outputs(self, count: int) -> NDArray[Any]:
        output = self.content["output"]
        shape = (count, output["height"], output["width"], output["channels"])
        return np.zeros(shape, np.int8 if output["signed"] else np.uint8)

    def start(self, first: int = 0, passes: int = 1) -> None:
        self._call("dna_start", c_uint32(first), c_uint32(passes))

    def wait(self) -> None:
        self._call("dna_wait")

    def run(self, first: int = 0, passes: int = 1) -> None:
        self._call("dna_run", c_uint32(first), c_uint32(passes))

    def infer(self, images_NHWC: NDArray[Any]) -> NDArray[np.int64]:
        data = np.ascontiguousarray(np.asarray(images_NHWC).astype(np.int64) & 0xFF, np.uint8)
        outputs = self._outputs(len(data))
        self._call("dna_infer", c_void_p(data.ctypes.data), c_void_p(outputs.ctypes.data), c_uint32(len(data)))
        return outputs.astype(np.int64)

    def set_patience(self, cycles: int) -> None:
        """For a run that was started: how long `wait` waits."""
        self.device.timeout_cycles = cycles

    @property
    def cycles(self) -> int:
        return int(self.library.dna_cycles(byref(self.device)))

    def pass_cycles(self) -> dict[int, int]:
        done, result = int(self.library.dna_passes_done(byref(self.device))), {}
        for number in range(max(0, done - 8), done):
            cycle = c_uint32()
            self._call("dna_pass_cycle", c_uint32(number), byref(cycle))
            result[number] = cycle.value
        return result

    def layers(self) -> list[dict[str, Any]]:
        result = []
        for chunk, names in enumerate(self.content["layers"]):
            for number in range(len(names)):
                counters = Counters()
                self._call("dna_layer", c_uint32(chunk), c_uint32(number), byref(counters))
                name = self.library.dna_layer_name(ctypes.addressof(self._program), chunk, number).decode()
                values = {counter: getattr(counters, counter) for counter in COUNTERS}
                result.append({"name": name, "chunk": chunk, **values})
        return result

    def probe(self, repeats: int = 100) -> Timing:
        timing = MemoryTiming()
        known = c_uint8.in_dll(self.library, "dna_compiled_probe")
        image = c_uint8.in_dll(self.library, "dna_probe_image")
        self._call("dna_probe", byref(known), byref(image), c_uint32(repeats), byref(timing))
        text = ctypes.create_string_buffer(512)
        self.library.dna_probe_text(byref(timing), text, c_size_t(len(text)))
        self.probe_text = text.value.decode()
        return Timing(*(getattr(timing, f"{name}_milli") / 1000 for name in TIMES))

    def argmax(self, values: NDArray[Any], signed: bool) -> int:
        data = np.ascontiguousarray(values.astype(np.int64).ravel() & 0xFF, np.uint8)
        return int(self.library.dna_argmax(c_void_p(data.ctypes.data), c_uint32(len(data)), int(signed)))
