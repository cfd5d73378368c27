"""The folder `program/` of a Project: memory images, the references, and what the simulation is to find."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.chunk import Memories, port_memory
from dna.accelerator.isa import WORD_BYTES
from dna.accelerator.registers import BUFFERS, all_capabilities, registers
from dna.compile.layout import pack_values
from dna.compile.program import Program, Tensor
from dna.cost.schedule import CAUSES, LayerSchedule, Schedule, schedule
from dna.record import to_plain

FORMAT = 2
ALIGNMENT = 4096
"""Regions and images begin at multiples of this many bytes."""

Reference = Mapping[str, NDArray[Any]]
"""By tensor name, its integers (height, width, channels) in one frame: the input and what each layer must give."""
References = Reference | Sequence[Reference]
"""One for all frames, or those of the first pass's frames, then the second's, ...: see `Frames`."""


@dataclass(frozen=True)
class Frames:
    """Which reference each frame of each pass has.

    Passes take turns with `buffers` pairs of input and output; pass p is computed from the input in buffer
    p mod buffers. `references` may be fewer than there are frames in all buffers: they are used in turn, whole passes
    at a time (one for all frames if there is but one).
    """

    references: tuple[Reference, ...]
    frames: int
    passes: int

    def __post_init__(self) -> None:
        given = len(self.references)
        if given != 1 and (given % self.frames or not 1 <= given // self.frames <= self.used):
            raise ValueError(
                f"{given} references; there must be 1, or a multiple of {self.frames} up to {self.used * self.frames}"
            )

    @property
    def buffers(self) -> int:
        """1, 2 or 4: enough for as many passes as can be told apart."""
        return next(count for count in (1, 2, BUFFERS) if count >= min(self.passes, BUFFERS))

    @property
    def used(self) -> int:
        """Buffers that any pass uses."""
        return min(self.passes, self.buffers)

    @property
    def last(self) -> int:
        """The buffer of the last pass."""
        return (self.passes - 1) % self.buffers

    def index(self, buffer: int, frame: int) -> int:
        """Number of the reference of a frame of the passes that use the buffer."""
        return (buffer * self.frames + frame) % len(self.references)


def frames_of(program: Program, references: References, passes: int) -> Frames:
    """`references` for so many passes of `program`. ValueError if their number is wrong."""
    given = (references,) if isinstance(references, Mapping) else tuple(references)
    return Frames(given, program.frames, passes)


def write_program(
    program: Program, folder: Path, *, reference: References, memory: Memories, passes: int = 1
) -> Schedule:
    """Write `program/` into an empty `folder`; the schedule on `memory`, whose cycles are the expected ones.

    program.bin and program.hex: the images of all chunks, each at a multiple of 4096 bytes. program.json: where
    everything is and what to expect of `passes` passes. reference/: each tensor that is in memory at the end as it must
    stand there, NNN_NAME.bin, with several references in a folder per reference. input.npy and output.npy: the
    network's input and output as integers (H, W, C), with several references (reference, H, W, C).
    """
    frames = frames_of(program, reference, passes)
    (folder / "reference").mkdir(parents=True)
    image, images = images_of(program)
    (folder / "program.bin").write_bytes(image)
    (folder / "program.hex").write_text(_hex_words(image))
    files = _write_references(program, folder, frames)
    for name, tensor in (("input", "input"), ("output", program.network.output)):
        values = [np.asarray(one[tensor], np.int16) for one in frames.references]
        np.save(folder / f"{name}.npy", values[0] if len(values) == 1 else np.stack(values))
    times = schedule(program, memory, passes)
    content = _content(program, memory, times, frames)
    regions, words = _regions(program, len(image), images, frames.buffers)
    content |= {"regions": regions, "memory_words": words}
    content["tensors"] = {name: _tensor(tensor, files.get(name, [])) for name, tensor in program.tensors.items()}
    (folder / "program.json").write_text(json.dumps(content, indent=1) + "\n")
    return times


def images_of(program: Program) -> tuple[bytes, list[int]]:
    """The images of all chunks one after the other, and the byte at which each begins."""
    data, starts = bytearray(), []
    for chunk in program.chunks:
        data += bytes(-len(data) % ALIGNMENT)
        starts.append(len(data))
        data += chunk.image
    return bytes(data), starts


def _write_references(program: Program, folder: Path, frames: Frames) -> dict[str, list[list[str]]]:
    """Per tensor that is in memory at the end, the files of each buffer's frames.

    Inputs and outputs stand in all buffers; of all other tensors only those of the last pass are there.
    """
    several = len(frames.references) > 1
    files: dict[str, list[list[str]]] = {}
    for number, (name, tensor) in enumerate(program.tensors.items()):
        plain = f"{number:03d}_{re.sub(r'[^A-Za-z0-9_.-]', '_', name)[:60]}.bin"
        if tensor.region == "CHIP":
            _check(tensor, frames.references)
            continue
        buffers = range(frames.used) if tensor.region in ("INPUT", "OUTPUT") else (frames.last,)
        files[name] = []
        for buffer in buffers:
            indices = [frames.index(buffer, frame) for frame in range(frames.frames)]
            names = [f"reference/{index:03d}/{plain}" if several else f"reference/{plain}" for index in indices]
            files[name].append(names)
            for path, index in dict(zip(names, indices, strict=True)).items():
                (folder / path).parent.mkdir(exist_ok=True)
                if not (folder / path).exists():
                    (folder / path).write_bytes(_memory_of(tensor, frames.references[index]))
    return files


def _check(tensor: Tensor, references: Sequence[Reference]) -> None:
    for reference in references:
        if tensor.source not in reference:
            raise ValueError(f"the reference lacks tensor '{tensor.source}'")
        given = reference[tensor.source].shape
        if given != tensor.shape:
            raise ValueError(f"reference of tensor '{tensor.source}' has shape {given}, the program has {tensor}")


def _memory_of(tensor: Tensor, reference: Reference) -> bytes:
    _check(tensor, (reference,))
    return pack_values(tensor, reference[tensor.source])


def _hex_words(data: bytes) -> str:
    words = (data[start : start + WORD_BYTES] for start in range(0, len(data), WORD_BYTES))
    return "".join(f"{word[::-1].hex()}\n" for word in words)


def _regions(
    program: Program, image_bytes: int, images: Sequence[int], buffers: int
) -> tuple[dict[str, dict[str, Any]], int]:
    """Where each region is in the simulated memory, and the words of it all; what is written comes last.

    `addresses` are bytes: PROGRAM per chunk, INPUT and OUTPUT per buffer; `words` are those of one of them, of PROGRAM
    those of all.
    """
    regions: dict[str, dict[str, Any]] = {}
    address = 0
    for name in ("PROGRAM", "INPUT", "OUTPUT", "WORK"):
        words = image_bytes // WORD_BYTES if name == "PROGRAM" else program.region_words.get(name, 0)
        addresses = []
        for _ in range(buffers if name in ("INPUT", "OUTPUT") else 1):
            # No region at address 0, none empty: a base register that is not used would not be noticed.
            address += ALIGNMENT
            addresses.append(address)
            address += -(-words * WORD_BYTES // ALIGNMENT) * ALIGNMENT
        if name == "PROGRAM":
            addresses = [addresses[0] + start for start in images]
        regions[name] = {"addresses": addresses, "words": words}
    return regions, address // WORD_BYTES + ALIGNMENT // WORD_BYTES


def _tensor(tensor: Tensor, files: list[list[str]]) -> dict[str, Any]:
    """`files`: per buffer, per frame; none of a tensor that is not in memory."""
    return {**asdict(tensor), "groups": tensor.groups, "words": tensor.words, "files": files}


def _layers(program: Program, chunk: int, times: Sequence[LayerSchedule]) -> list[dict[str, Any]]:
    """A chunk's layers as its counters show them."""
    counts = dict.fromkeys(CAUSES, 0)
    # The network's own: merged groups multiply by zeros as well, and inserted copies compute nothing.
    macs = {layer.name: layer.macs for layer in program.network.layers}
    result = []
    for index, expected in zip(program.chunks[chunk].layers, times, strict=True):
        layer = program.layers[index]
        for cause in CAUSES:
            counts[cause] += getattr(expected.causes, cause)
        # The registers count from the start of the Program, the schedule from the layer before.
        cycles = {"cycle": expected.computed, **counts, "commit": expected.committed}
        entry = {"name": layer.name, "op": layer.op, "tensor": layer.name, "macs": macs.get(layer.name, 0)}
        result.append({**entry, "chunk": chunk, "cycles": cycles})
    return result


def _content(program: Program, memory: Memories, times: Schedule, frames: Frames) -> dict[str, Any]:
    accelerator = program.accelerator
    layers = [_layers(program, index, chunk.layers) for index, chunk in enumerate(times.chunks)]
    return {
        "format": FORMAT,
        "name": program.network.name,
        "accelerator": to_plain(accelerator),
        "memory": [asdict(port_memory(memory, port)) for port in range(accelerator.ports)],
        "frames": program.frames,
        "passes": frames.passes,
        "buffers": frames.buffers,
        "cycles": times.cycles,
        "pass_ends": list(times.pass_ends),
        "output": program.output,
        "layers": [layer for chunk in layers for layer in chunk],
        "registers": {entry.name: entry.offset for entry in registers(len(accelerator.chunks))},
        "capabilities": all_capabilities(accelerator),
    }
