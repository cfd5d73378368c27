"""What came out against what was expected: bits of every tensor, cycles of every layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from memory_image import WORD_BYTES
from program_folder import ProgramFolder


def first_difference(
    tensor: dict[str, Any], place: int, expected: int, got: int, start: int | None = None
) -> dict[str, Any]:
    """Where byte `place` of a tensor's own words is, and both values as the numbers they mean.

    `start`: first word of the frame's tensor in its region (default: the first frame's).

    `channel` is the network's; -1 is a byte that no channel has.
    """
    word, byte = divmod(place, WORD_BYTES)
    row, in_row = divmod(word, tensor["groups"] * tensor["width"])
    group, col = divmod(in_row, tensor["width"])
    channel = WORD_BYTES * group + byte
    if tensor["order"] is not None and channel < len(tensor["order"]):
        channel = tensor["order"][channel]
    sign = 256 if tensor["signed"] else 0
    return {
        "row": row,
        "col": col,
        "channel": channel,
        "group": group,
        "word": (tensor["frame_addresses"][0] if start is None else start) + row * tensor["row_words"] + in_row,
        "expected": expected - sign if expected > 127 else expected,
        "got": got - sign if got > 127 else got,
    }


def tensor_difference(tensor: dict[str, Any], expected: bytes, got: bytes, start: int | None = None) -> dict[str, Any]:
    """How many bits and elements of a tensor differ, and the first of them; `expected` and `got` are its memory."""
    want = np.frombuffer(expected, np.uint8)
    have = np.frombuffer(got, np.uint8)
    places = np.flatnonzero(want != have)
    result: dict[str, Any] = {
        "bits_different": int(np.unpackbits(want ^ have).sum()),
        "elements_different": len(places),
        "first_difference": None,
    }
    if len(places):
        place = int(places[0])
        result["first_difference"] = first_difference(tensor, place, int(want[place]), int(have[place]), start)
    return result


def own_words(tensor: dict[str, Any], memory: bytes, place: int) -> bytes:
    """The tensor's own words, row by row; `place` is where its first one is in `memory`.

    Between its rows, a tensor that lies in a concat has the words of its neighbours.
    """
    own, pitch = (WORD_BYTES * words for words in (tensor["groups"] * tensor["width"], tensor["row_words"]))
    rows = (place + row * pitch for row in range(tensor["height"]))
    return b"".join(memory[first : first + own] for first in rows)


def all_copies(program: ProgramFolder, name: str, memory: bytes, start: int) -> dict[str, Any]:
    """As `tensor_difference`, over all frames of all passes that are kept; the first difference has its `frame` and
    `pass` as well. A tensor that is handed over on the chip has no copy to compare: what is computed from it proves it.
    """
    tensor = program.tensor(name)
    total: dict[str, Any] = {"bits_different": 0, "elements_different": 0, "first_difference": None}
    for copy in program.copies(name):
        got = own_words(tensor, memory, copy["address"] - start)
        found = tensor_difference(tensor, program.expected(copy["file"]), got, copy["word"])
        total["bits_different"] += found["bits_different"]
        total["elements_different"] += found["elements_different"]
        if found["first_difference"] and not total["first_difference"]:
            total["first_difference"] = found["first_difference"] | {"frame": copy["frame"], "pass": copy["pass"]}
    return total


def layers(
    program: ProgramFolder, memory: bytes, start: int, counters: list[list[dict[str, int]]], *, with_cycles: bool
) -> list[dict[str, Any]]:
    """One entry per layer. `memory` begins at byte address `start`; `counters` are each chunk's layer registers."""
    result = []
    places = [0] * program.chunks
    for layer in program.layers:
        chunk = layer["chunk"]
        own, index = counters[chunk], places[chunk]
        places[chunk] += 1
        entry = {"name": layer["name"], "op": layer["op"], "chunk": chunk}
        entry["compared"] = bool(program.copies(layer["tensor"]))
        entry |= all_copies(program, layer["tensor"], memory, start)
        entry["cycles_rtl"] = own[index] if index < len(own) else None
        entry["cycles_model"] = layer["cycles"] if with_cycles else None
        entry["causes_different"] = causes_different(entry["cycles_model"], entry["cycles_rtl"])
        result.append(entry)
    return result


def causes_different(model: dict[str, int] | None, rtl: dict[str, int] | None) -> list[str]:
    """Names of the counters that differ; none where there is no model or no counter."""
    if model is None or rtl is None:
        return []
    return [name for name, value in rtl.items() if model[name] != value]


def passes_different(model: list[int] | None, rtl: list[int | None]) -> list[int]:
    """The passes whose end differs; the accelerator keeps only the last ones, `rtl` has None for the others."""
    if model is None:
        return []
    pairs = enumerate(zip(model, rtl, strict=True))
    return [number for number, (expected, got) in pairs if got is not None and expected != got]


def is_good(result: dict[str, Any]) -> bool:
    """Whether a run agrees in all that it was compared in."""
    cycles = result["mode"] != "fixed" or result["cycles_model"] in (None, result["cycles_rtl"])
    same = all(not layer["bits_different"] and not layer["causes_different"] for layer in result["layers"])
    return result["error"] is None and cycles and same and not result["passes_different"]
