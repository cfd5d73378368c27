"""Driver of a DNA accelerator from Linux: `/dev/mem`, UIO or PYNQ behind one small class (`dna_hardware.py`).

    from dna_driver import Accelerator, DevMem

    with DevMem(registers=0x43C00000, memory=0x10000000, size=1 << 27) as hardware:
        accelerator = Accelerator(hardware)
        outputs = accelerator.infer(images)          # (N, H, W, C), integers
        print(accelerator.layers())                  # cycles of each layer
        print(accelerator.probe().text())            # the memory, in the form of a board file

Needs NumPy, and the files beside this one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dna_hardware import DevMem, Hardware, Pynq, Uio
from dna_registers import IDENTITY, KEPT_PASS_CYCLES, MAP_VERSION, Registers
from numpy.typing import NDArray

__all__ = ["Accelerator", "DevMem", "DnaError", "Hardware", "Pynq", "Timing", "Uio", "fold", "pack", "unpack"]

HERE = Path(__file__).resolve().parent
ALIGNMENT = 4096
WORD = 16
PATIENCE, SLACK_CYCLES = 64, 200_000
COUNTERS = ("cycle", "busy", "wait_input", "wait_weight", "wait_residual", "wait_output", "wait_job", "commit")
PROBE_RUNS = 5


class DnaError(Exception):
    """What went wrong; `code` is that of the C driver."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


IDENTITY_ERROR, VERSION_ERROR, CAPABILITIES_ERROR, ARGUMENT_ERROR, MEMORY_ERROR, BUSY_ERROR = -1, -2, -3, -4, -5, -6
READ_ERROR, WRITE_ERROR, OVERRUN_ERROR, TIMEOUT_ERROR, STOPPED_ERROR, PROBE_ERROR = -7, -8, -9, -10, -11, -12
ENDS = (
    ("READ_ERROR", READ_ERROR, "a read of the accelerator was answered with a bus error: it was given up"),
    ("WRITE_ERROR", WRITE_ERROR, "a write of the accelerator was answered with a bus error"),
    ("OVERRUN", OVERRUN_ERROR, "the post lanes were given work too fast: the program is damaged"),
)
"""Bits of STATUS that say that it was no good end."""


@dataclass(frozen=True)
class Timing:
    """A board file's `memory:` in cycles, as measured, before rounding."""

    read_latency: float
    beat_interval: float
    write_latency: float

    def rounded(self) -> dict[str, int]:
        """The values for the board file."""
        return {name: max(1, int(value + 0.5)) for name, value in self.__dict__.items()}

    def text(self) -> str:
        """The lines of the board file."""
        values = self.rounded()
        lines = [f"  {name}: {values[name]}        # measured: {value:.3f}" for name, value in self.__dict__.items()]
        return "\n".join(["memory:", *lines, ""])


def pack(x_HWC: NDArray[Any], row_words: int | None = None) -> NDArray[np.uint8]:
    """An image as it lies in memory, [H][C / 16][W][16] bytes, rows `row_words` apart."""
    height, width, channels = x_HWC.shape
    groups = -(-channels // WORD)
    pitch = row_words or groups * width
    result = np.zeros((height, pitch, WORD), np.uint8)
    padded = np.zeros((height, width, groups * WORD), np.uint8)
    padded[..., :channels] = x_HWC.astype(np.int64) & 0xFF
    result[:, : groups * width] = (
        padded.reshape(height, width, groups, WORD).transpose(0, 2, 1, 3).reshape(height, groups * width, WORD)
    )
    return result.ravel()[: ((height - 1) * pitch + groups * width) * WORD]


def unpack(data: NDArray[np.uint8], tensor: dict[str, Any]) -> NDArray[np.int64]:
    """The image [H][W][C] of memory laid out as `pack` does."""
    height, width, channels, pitch = (tensor[name] for name in ("height", "width", "channels", "row_words"))
    groups = -(-channels // WORD)
    result = np.empty((height, width, groups * WORD), np.int64)
    for row in range(height):
        words = data[row * pitch * WORD : (row * pitch + groups * width) * WORD]
        values = words.view(np.int8 if tensor["signed"] else np.uint8).reshape(groups, width, WORD)
        result[row] = values.transpose(1, 0, 2).reshape(width, groups * WORD)
    return result[..., :channels]


def fold(x_HWC: NDArray[Any], factor: int, pad_value: int) -> NDArray[Any]:
    """Squares of factor x factor pixels as one pixel of factor^2 times the channels; beyond the image: `pad_value`."""
    height, width, channels = x_HWC.shape
    x = np.pad(x_HWC, ((0, -height % factor), (0, -width % factor), (0, 0)), constant_values=pad_value)
    x = x.reshape(x.shape[0] // factor, factor, x.shape[1] // factor, factor, channels)
    return x.transpose(0, 2, 1, 3, 4).reshape(x.shape[0], x.shape[2], factor**2 * channels)


class Accelerator:
    """The accelerator with its program loaded. A pass is one run of the program, `frames` frames; passes of a start
    take turns with up to four of the `slots`.
    """

    def __init__(self, hardware: Hardware, slots: int = 2, folder: Path = HERE) -> None:
        """DnaError if the accelerator is not the one the program was compiled for, or `memory` is too small."""
        self.hardware, self.slots = hardware, slots
        self.content: dict[str, Any] = json.loads((folder / "dna_program.json").read_text())
        self.frames = int(self.content["frames"])
        self._image = (folder / self.content["image"]).read_bytes()
        self._probe_image = (folder / "dna_probe.bin").read_bytes()
        self._place()
        if hardware.bus % ALIGNMENT or len(hardware.memory) < self.bytes_needed:
            raise DnaError(
                MEMORY_ERROR,
                f"{len(hardware.memory)} bytes at 0x{hardware.bus:X}; {self.bytes_needed} are needed, aligned to 4096",
            )
        self._check()
        if self._busy():
            raise DnaError(BUSY_ERROR, "the accelerator is busy")
        self._store(0, np.frombuffer(self._image, np.uint8))

    def _place(self) -> None:
        def after(start: int, count: int, size: int) -> int:
            return start + count * (-(-size // ALIGNMENT) * ALIGNMENT)

        sizes = self.content["bytes"]
        self._probe_place = after(0, 1, len(self._image))
        self._input_place = after(self._probe_place, 1, len(self._probe_image))
        self._output_place = after(self._input_place, self.slots, sizes["INPUT"])
        self._work_place = after(self._output_place, self.slots, sizes["OUTPUT"])
        self.bytes_needed = after(self._work_place, 1, sizes["WORK"])

    # ---- Registers.

    def read(self, name: str) -> int:
        """A register, by name."""
        return self.hardware.read(Registers.address(name))

    def write(self, name: str, value: int) -> None:
        """Set a register, by name."""
        self.hardware.write(Registers.address(name), value)

    def _busy(self) -> bool:
        return bool(Registers.field("STATUS", "BUSY", self.read("STATUS")))

    def _check(self) -> None:
        if self.read("ID") != IDENTITY:
            raise DnaError(IDENTITY_ERROR, "no DNA accelerator answers at this address: is the bitstream loaded?")
        if self.read("VERSION") != MAP_VERSION:
            raise DnaError(VERSION_ERROR, f"register map {self.read('VERSION')}; this driver knows {MAP_VERSION}")
        for chunk, expected in enumerate(self.content["capabilities"]):
            self.write("CHUNK_SELECT", chunk)
            for name, value in expected.items():
                got = self.read(name)
                if got != value:
                    what = f"chunk {chunk}: register {name} is 0x{got:08X}, the program was compiled for 0x{value:08X}"
                    raise DnaError(CAPABILITIES_ERROR, what)

    def _set_base(self, region: str, index: int, place: int) -> None:
        address = self.hardware.bus + place
        name = Registers.base(region, index)
        self.write(f"{name}_LOW", address & 0xFFFFFFFF)
        self.write(f"{name}_HIGH", address >> 32)

    def _store(self, place: int, data: NDArray[np.uint8]) -> None:
        self.hardware.memory[place : place + len(data)] = data
        self.hardware.flush(place, len(data))

    # ---- Frames.

    def _frame(self, kind: str, slot: int, frame: int) -> tuple[int, dict[str, Any]]:
        tensor = self.content[kind]
        if not (0 <= slot < self.slots and 0 <= frame < self.frames):
            raise DnaError(ARGUMENT_ERROR, f"slot {slot}, frame {frame}: there are {self.slots} and {self.frames}")
        start = self._input_place if kind == "input" else self._output_place
        size = self.content["bytes"][kind.upper()]
        return start + slot * (-(-size // ALIGNMENT) * ALIGNMENT) + tensor["frame_words"][frame] * WORD, tensor

    def put(self, slot: int, frame: int, image_HWC: NDArray[Any]) -> None:
        """An image into a frame of an input slot; the original one if the network's input was folded."""
        place, tensor = self._frame("input", slot, frame)
        folding = self.content["fold"]
        wanted = tuple((folding if folding["factor"] > 1 else tensor)[name] for name in ("height", "width", "channels"))
        if image_HWC.shape != wanted:
            raise DnaError(ARGUMENT_ERROR, f"the image has shape {image_HWC.shape}; the network takes {wanted}")
        if folding["factor"] > 1:
            image_HWC = fold(image_HWC, folding["factor"], folding["pad_value"])
        self._store(place, pack(image_HWC, tensor["row_words"]))

    def get(self, slot: int, frame: int) -> NDArray[np.int64]:
        """The output of a frame, [H][W][C]."""
        place, tensor = self._frame("output", slot, frame)
        groups = -(-tensor["channels"] // WORD)
        size = ((tensor["height"] - 1) * tensor["row_words"] + groups * tensor["width"]) * WORD
        self.hardware.invalidate(place, size)
        return unpack(self.hardware.memory[place : place + size].copy(), tensor)

    # ---- Runs.

    def start(self, first: int = 0, passes: int = 1) -> None:
        """So many passes, the first on slot `first`; returns at once."""
        if not (0 <= first < self.slots and passes >= 1):
            raise DnaError(ARGUMENT_ERROR, f"slot {first}, {passes} passes; there are {self.slots} slots")
        if self._busy():
            raise DnaError(BUSY_ERROR, "the accelerator is busy")
        for chunk, begin in enumerate(self.content["image_starts"]):
            self._set_base("PROGRAM", chunk, begin)
        self._start(first, passes)

    def _start(self, first: int, passes: int) -> None:
        turns = 4 if passes > 2 and self.slots >= 4 else 2 if passes > 1 and self.slots >= 2 else 1
        for pair in range(turns):
            slot = (first + pair) % self.slots
            for kind in ("input", "output"):
                place, tensor = self._frame(kind, slot, 0)
                self._set_base(kind.upper(), pair, place - tensor["frame_words"][0] * WORD)
        self._set_base("WORK", 0, self._work_place)
        self.write("PASSES", passes)
        self.write("BUFFERS", turns - 1)
        self.write("IRQ_CLEAR", 1)
        self.write("IRQ_ENABLE", 1)
        self._patience = SLACK_CYCLES + PATIENCE * passes * self.content["pass_cycles"]
        self.write("CONTROL", 1)

    def wait(self) -> None:
        """Until the end. DnaError if it was no good one, or does not come."""
        waited, before, still = 0, self.read("CYCLES"), 0
        while True:
            status = self.read("STATUS")
            if Registers.field("STATUS", "DONE", status):
                break
            cycles = self.read("CYCLES")
            waited += (cycles - before) & 0xFFFFFFFF
            still = still + 1 if cycles == before else 0
            before = cycles
            if still > 4 and not self._busy() and not Registers.field("STATUS", "DONE", self.read("STATUS")):
                raise DnaError(STOPPED_ERROR, "the accelerator does not run and has not ended: was it reset?")
            if waited > self._patience:
                raise DnaError(TIMEOUT_ERROR, f"the accelerator did not end within {self._patience} cycles")
            self.hardware.wait(0.001)
        self.write("IRQ_CLEAR", 1)
        for name, code, message in ENDS:
            if Registers.field("STATUS", name, status):
                raise DnaError(code, message)

    def run(self, first: int = 0, passes: int = 1) -> None:
        """`start` and `wait`."""
        self.start(first, passes)
        self.wait()

    def infer(self, images_NHWC: Sequence[NDArray[Any]] | NDArray[Any]) -> NDArray[np.int64]:
        """Outputs (N, H, W, C) of any number of images. With two slots or more, one half of them is filled while the
        accelerator works on the other.
        """
        sets = 2 if self.slots >= 2 else 1
        each = next(n for n in (4, 2, 1) if n <= max(1, self.slots // sets))
        step = each * self.frames
        batches = [images_NHWC[at : at + step] for at in range(0, len(images_NHWC), step)]
        outputs: list[NDArray[np.int64]] = []
        for number, batch in enumerate(batches):
            if number == 0 or sets == 1:
                self._fill(number % sets * each, batch)
            self.start(number % sets * each, -(-len(batch) // self.frames))
            if sets == 2 and number + 1 < len(batches):
                self._fill((number + 1) % sets * each, batches[number + 1])
            self.wait()
            first = number % sets * each
            outputs += [self.get(first + at // self.frames, at % self.frames) for at in range(len(batch))]
        return np.stack(outputs)

    def _fill(self, first: int, images: Sequence[NDArray[Any]] | NDArray[Any]) -> None:
        for at, image in enumerate(images):
            self.put(first + at // self.frames, at % self.frames, image)

    # ---- Counters.

    @property
    def cycles(self) -> int:
        """Cycles of the last start."""
        return self.read("CYCLES")

    def pass_cycles(self) -> dict[int, int]:
        """By pass of the last start, the cycle in which it was done; only the last ones are kept."""
        done = self.read("PASSES_DONE")
        kept = range(max(0, done - KEPT_PASS_CYCLES), done)
        return {number: self.read(f"PASS_CYCLES_{number % KEPT_PASS_CYCLES}") for number in kept}

    def layers(self) -> list[dict[str, Any]]:
        """Counters of each layer in the first pass: `name`, `chunk`, and those of `COUNTERS` since the start."""
        result = []
        for chunk, names in enumerate(self.content["layers"]):
            self.write("CHUNK_SELECT", chunk)
            count = Registers.field("LAYER_COUNT", "COMMITTED", self.read("LAYER_COUNT"))
            for number, name in enumerate(names[:count]):
                self.write("LAYER_SELECT", number)
                counters = {counter: self.read(f"LAYER_{counter.upper()}") for counter in COUNTERS}
                result.append({"name": name, "chunk": chunk, **counters})
        return result

    # ---- The memory probe.

    def probe(self, repeats: int = 100) -> Timing:
        """Measures the memory behind the first port, in the mean of `repeats` runs. Overwrites output slot 0."""
        known = self.content["probe"]
        beats = known["burst_beats"] - known["first_beats"]
        if beats == 0:
            raise DnaError(PROBE_ERROR, "bursts of one word: this accelerator cannot probe")
        if self._busy():
            raise DnaError(BUSY_ERROR, "the accelerator is busy")
        self._store(self._probe_place, np.frombuffer(self._probe_image, np.uint8))
        sums = [0] * PROBE_RUNS
        for _ in range(repeats):
            for page in range(PROBE_RUNS):
                for chunk in range(len(self.content["capabilities"])):
                    used = page if chunk == 0 else PROBE_RUNS
                    self._set_base("PROGRAM", chunk, self._probe_place + used * known["page_bytes"])
                self._start(0, 1)
                self.wait()
                sums[page] += self.cycles
        jobs = known["jobs"] * repeats
        interval = (sums[2] - sums[1]) / (jobs * beats)
        more = interval * (known["first_beats"] - 1)
        read = (sums[1] - sums[0]) / jobs - known["read_cycles"] - more
        write = (sums[4] - sums[3]) / jobs - known["write_cycles"] - more
        if min(interval, read, write) < 0:
            raise DnaError(PROBE_ERROR, f"the probe's cycles make no sense: {sums}")
        return Timing(read, interval, write)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line, on the board: `run` the reference input and compare, or `probe` the memory."""

    def number(text: str) -> int:
        return int(text, 0)

    content = json.loads((HERE / "dna_program.json").read_text())
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("command", choices=("run", "probe"))
    parser.add_argument(
        "--registers", type=number, default=content["registers_address"], help="address of the registers"
    )
    parser.add_argument("--memory", type=number, required=True, help="address of memory that nothing else uses")
    parser.add_argument("--bytes", type=number, required=True, help="its size")
    parser.add_argument("--device", default="/dev/mem", help="what is mapped")
    given = parser.parse_args(arguments)
    try:
        with DevMem(given.registers, given.memory, given.bytes, given.device) as hardware:
            return _command(Accelerator(hardware), given.command)
    except (DnaError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


def _command(accelerator: Accelerator, command: str) -> int:
    if command == "probe":
        print(accelerator.probe().text(), end="")
        return 0
    x, expected = (np.load(HERE.parent / "program" / f"{name}.npy") for name in ("input", "output"))
    if x.ndim == 3:
        x, expected = x[None], expected[None]
    different = int((accelerator.infer(x) != expected).sum())
    print(f"{different} of {expected.size} values differ; {accelerator.cycles} cycles in the last start")
    for layer in accelerator.layers():
        print(f"  {layer['name']:<30} ends in cycle {layer['commit']}")
    return int(different != 0)


if __name__ == "__main__":
    sys.exit(main())
