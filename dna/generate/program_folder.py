"""The folder `program/` of a Project: memory images, the reference, and what the simulation is to find."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dna.accelerator.chunk import Memory
from dna.accelerator.isa import WORD_BYTES
from dna.accelerator.registers import REGISTERS, capabilities
from dna.compile.layout import pack_values
from dna.compile.program import Program, Tensor
from dna.cost.schedule import CAUSES, Schedule, schedule

FORMAT = 1
ALIGNMENT = 4096
"""Regions begin at multiples of this many bytes."""

Reference = Mapping[str, NDArray[Any]]
"""By tensor name, its integers (height, width, channels): the input and what each layer must give."""


def write_program(program: Program, folder: Path, *, reference: Reference, memory: Memory) -> Schedule:
    """Write `program/` into an empty `folder`; the schedule on `memory`, whose cycles are the expected ones.

    program.bin and program.hex: region PROGRAM. program.json: where everything is and what to expect.
    reference/NN_NAME.bin: each tensor as it must stand in memory. input.npy and output.npy: both as integers (H, W, C).
    """
    files = _tensor_files(program)
    (folder / "reference").mkdir(parents=True)
    (folder / "program.bin").write_bytes(program.image)
    (folder / "program.hex").write_text(_hex_words(program.image))
    for name, tensor in program.tensors.items():
        (folder / files[name]).write_bytes(_memory_of(tensor, reference))
    np.save(folder / "input.npy", np.asarray(reference["input"], np.int16))
    np.save(folder / "output.npy", np.asarray(reference[program.network.output], np.int16))
    times = schedule(program, memory)
    content = _content(program, files, memory, times)
    (folder / "program.json").write_text(json.dumps(content, indent=1) + "\n")
    return times


def _memory_of(tensor: Tensor, reference: Reference) -> bytes:
    if tensor.source not in reference:
        raise ValueError(f"the reference lacks tensor '{tensor.source}'")
    given = reference[tensor.source].shape
    if given != tensor.shape:
        raise ValueError(f"reference of tensor '{tensor.source}' has shape {given}, the program has {tensor}")
    return pack_values(tensor, reference[tensor.source])


def _tensor_files(program: Program) -> dict[str, str]:
    names = {}
    for index, name in enumerate(program.tensors):
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:60]
        names[name] = f"reference/{index:03d}_{plain}.bin"
    return names


def _hex_words(data: bytes) -> str:
    words = (data[start : start + WORD_BYTES] for start in range(0, len(data), WORD_BYTES))
    return "".join(f"{word[::-1].hex()}\n" for word in words)


def _regions(program: Program) -> tuple[dict[str, dict[str, int]], int]:
    """Each region's byte address and words in the simulated memory, and the words of it all; written ones come last."""
    regions, address = {}, 0
    for name in ("PROGRAM", "INPUT", "OUTPUT", "WORK"):
        # No region at address 0, none empty: a base register that is not used would not be noticed.
        address += ALIGNMENT
        words = program.region_words.get(name, 0)
        regions[name] = {"address": address, "words": words}
        address += -(-words * WORD_BYTES // ALIGNMENT) * ALIGNMENT
    return regions, address // WORD_BYTES + ALIGNMENT // WORD_BYTES


def _content(program: Program, files: Mapping[str, str], memory: Memory, times: Schedule) -> dict[str, Any]:
    regions, words = _regions(program)
    layers = []
    counts = dict.fromkeys(CAUSES, 0)
    # The network's own: merged groups multiply by zeros as well, and inserted copies compute nothing.
    macs = {layer.name: layer.macs for layer in program.network.layers}
    for layer, expected in zip(program.layers, times.layers, strict=True):
        for cause in CAUSES:
            counts[cause] += getattr(expected.causes, cause)
        # The registers count from the start of the Program, the schedule from the layer before.
        cycles = {"cycle": expected.computed, **counts, "commit": expected.committed}
        entry = {"name": layer.name, "op": layer.op, "tensor": layer.name, "macs": macs.get(layer.name, 0)}
        layers.append({**entry, "cycles": cycles})
    return {
        "format": FORMAT,
        "name": program.network.name,
        "chunk": asdict(program.chunk),
        "memory": asdict(memory),
        "cycles": times.cycles,
        "regions": regions,
        "memory_words": words,
        "output": program.output,
        "tensors": {
            name: {**asdict(tensor), "groups": tensor.groups, "words": tensor.words, "file": files[name]}
            for name, tensor in program.tensors.items()
        },
        "layers": layers,
        "registers": {entry.name: entry.offset for entry in REGISTERS},
        "capabilities": capabilities(program.chunk),
    }
