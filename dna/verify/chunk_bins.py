"""What a random design covers of chunks, links, frames, passes and memories: the bins beside those of single layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dna.accelerator import tile
from dna.accelerator.chunk import Accelerator, Memories, port_memory
from dna.accelerator.isa import EVENTS, REGIONS
from dna.accelerator.mapping import Mapping
from dna.compile.program import Instruction, Program, Tensor
from dna.cost.schedule import Schedule, schedule

_TOTALS = ("inputs", "weights", "params", "residuals", "outputs")
_ACCELERATOR_BINS = (
    "1 chunk", "2 chunks", "3 chunks", "4 chunks", "chunks of different shape", "chunks with ports of different width",
    "ports with memories of different timing", "memories of different rates", "memory at full width",
    "memory slower than the port",
)  # fmt: skip
_MAPPING_BINS = (
    "1 frame", "2 frames", "3 frames", "4 frames", "batch of 1 of several frames", "batch between 1 and all frames",
    "batches differ", "order weights over frames", "order inputs over frames", "layers back to an earlier chunk",
    "resident, one part", "resident, several parts",
)  # fmt: skip
_CHIP_BINS = (
    "on chip to the own chunk", "on chip to another chunk", "on chip, 1 reader", "on chip, 2 readers",
    "on chip, read by its own and another chunk", "in memory, read by its own and another chunk",
    "residual of another chunk, from memory", "residual of another chunk, on chip",
    "residual of the own chunk, on chip",
    "frame of a tensor larger than its link", "tensors of a pass larger than their link", "several tensors in a link",
    "reads of chip and memory in turn at one port", "writes to chip and memory in turn at one port",
)  # fmt: skip
_PASS_BINS = (
    "1 pass", "2 passes", "3 passes", *(f"odd number of {name}, several passes" for name in _TOTALS),
    "WAIT for STOREs of another chunk", "WAIT for LOADs of this pass", "WAIT for LOADs of the pass before",
    "data is waited for", "back-pressure",
)  # fmt: skip
CHUNK_BINS: tuple[str, ...] = (*_ACCELERATOR_BINS, *_MAPPING_BINS, *_CHIP_BINS, *_PASS_BINS)


def chunk_bins(program: Program, mapping: Mapping, memories: Memories, passes: int) -> Iterator[str]:
    """The bins of `CHUNK_BINS` that a design run for so many passes falls into, each once."""
    yield from _accelerator_bins(program.accelerator, memories)
    yield from _mapping_bins(program, mapping)
    yield from _chip_bins(program, mapping)
    yield from _pass_bins(program, memories, passes)


def _named(found: dict[str, bool]) -> Iterator[str]:
    return (name for name, holds in found.items() if holds)


def _accelerator_bins(accelerator: Accelerator, memories: Memories) -> Iterator[str]:
    chunks = accelerator.chunks
    behind = {port_memory(memories, port) for port in range(accelerator.ports)}
    yield f"{len(chunks)} chunk{'s' if len(chunks) > 1 else ''}"
    found = {
        "chunks of different shape": len({(chunk.oc, chunk.ic, chunk.px) for chunk in chunks}) > 1,
        "chunks with ports of different width": len({chunk.port_bytes for chunk in chunks}) > 1,
        "ports with memories of different timing": len(behind) > 1,
        "memories of different rates": len({memory.beat_interval for memory in behind}) > 1,
        "memory at full width": any(memory.beat_interval == 1 for memory in behind),
        "memory slower than the port": any(memory.beat_interval > 1 for memory in behind),
    }
    yield from _named(found)


def _mapping_bins(program: Program, mapping: Mapping) -> Iterator[str]:
    frames, layers = mapping.frames, range(len(program.layers))
    batches = [mapping.batch(index) for index in layers]
    homes = [mapping.chunk(index) for index in layers]
    over = {
        mapping.layers[index].order for index in layers if batches[index] > 1 and _has_parts(program, mapping, index)
    }
    parts = {_has_parts(program, mapping, index) for index in layers if mapping.layers[index].resident}
    yield f"{frames} frame{'s' if frames > 1 else ''}"
    found = {
        "batch of 1 of several frames": frames > 1 and 1 in batches,
        "batch between 1 and all frames": any(1 < batch < frames for batch in batches),
        "batches differ": len(set(batches)) > 1,
        "order weights over frames": "weights" in over,
        "order inputs over frames": "inputs" in over,
        "layers back to an earlier chunk": homes != sorted(homes),
        "resident, one part": False in parts,
        "resident, several parts": True in parts,
    }
    yield from _named(found)


def _has_parts(program: Program, mapping: Mapping, index: int) -> bool:
    """Whether the layer has several tiles of output channels."""
    layer = program.layers[index]
    return bool(layer.groups * tile.tiles(layer.group_outputs, mapping.layers[index].out_channels) > 1)


def _chip_bins(program: Program, mapping: Mapping) -> Iterator[str]:
    home = {layer.name: mapping.chunk(index) for index, layer in enumerate(program.layers)}
    readers: dict[str, set[int]] = {}
    residuals = set()
    for layer in program.layers:
        for name in (layer.input, layer.residual):
            if name is not None:
                readers.setdefault(name, set()).add(home[layer.name])
        if layer.residual in home:
            residuals.add((home[layer.residual] == home[layer.name], program.tensors[layer.residual].region == "CHIP"))
    chip = [tensor for tensor in program.tensors.values() if tensor.region == "CHIP"]
    memory = [t.name for t in program.tensors.values() if t.region != "CHIP" and t.name in home]
    shared = any(home[name] in readers.get(name, ()) and len(readers[name]) > 1 for name in memory)
    found = {
        "on chip to the own chunk": any(tensor.writer in tensor.readers for tensor in chip),
        "on chip to another chunk": any(set(tensor.readers) - {tensor.writer} for tensor in chip),
        "on chip, 1 reader": any(len(tensor.readers) == 1 for tensor in chip),
        "on chip, 2 readers": any(len(tensor.readers) == 2 for tensor in chip),
        "on chip, read by its own and another chunk": any(
            tensor.writer in tensor.readers and len(tensor.readers) > 1 for tensor in chip
        ),
        "in memory, read by its own and another chunk": shared,
        "residual of another chunk, from memory": (False, False) in residuals,
        "residual of another chunk, on chip": (False, True) in residuals,
        "residual of the own chunk, on chip": (True, True) in residuals,
        "reads of chip and memory in turn at one port": _in_turn(program, "LOAD"),
        "writes to chip and memory in turn at one port": _in_turn(program, "STORE"),
    }
    yield from _named(found)
    yield from _link_bins(program.accelerator, chip)


def _link_bins(accelerator: Accelerator, chip: list[Tensor]) -> Iterator[str]:
    words: dict[tuple[int, int], list[int]] = {}
    for tensor in chip:
        for reader in tensor.readers:
            words.setdefault((tensor.writer, reader), []).extend([tensor.words] * len(tensor.frame_addresses))
    depths = {(link.writer, link.reader): link.words for link in accelerator.links}
    found = {
        "frame of a tensor larger than its link": any(max(used) > depths[ends] for ends, used in words.items()),
        "tensors of a pass larger than their link": any(sum(used) > depths[ends] for ends, used in words.items()),
        "several tensors in a link": any(
            sum((tensor.writer, reader) == ends for tensor in chip for reader in tensor.readers) > 1
            for ends in words
        ),
    }  # fmt: skip
    yield from _named(found)


def _in_turn(program: Program, op: str) -> bool:
    """Whether a port's jobs turn from chip to memory or back."""
    for chunk in program.chunks:
        jobs = [job for job in chunk.instructions if job.op == op and not job["port"]]
        if len({job["region"] == REGIONS["CHIP"] for job in jobs}) > 1:
            return True
    return False


def _pass_bins(program: Program, memories: Memories, passes: int) -> Iterator[str]:
    jobs = [job for chunk in program.chunks for job in chunk.instructions]
    ends = [next(job for job in chunk.instructions if job.op == "END") for chunk in program.chunks]
    waits = {(job["event"], job["ago"]) for job in jobs if job.op == "WAIT"}
    committed, fetched = EVENTS["COMMITTED"], EVENTS["FETCHED"]
    yield f"{passes} pass{'es' if passes > 1 else ''}"
    found = {
        **{f"odd number of {n}, several passes": passes > 1 and any(end[n] % 2 for end in ends) for n in _TOTALS},
        "WAIT for STOREs of another chunk": any(event == committed for event, _ in waits),
        "WAIT for LOADs of this pass": (fetched, 0) in waits,
        "WAIT for LOADs of the pass before": passes > 1 and (fetched, 1) in waits,
    }
    yield from _named(found)
    if waits:
        times = schedule(program, memories, passes)
        yield from ["data is waited for"] if _differs(times, program, committed, memories, passes) else []
        yield from ["back-pressure"] if _differs(times, program, fetched, memories, passes) else []


def _differs(times: Schedule, program: Program, event: int, memories: Memories, passes: int) -> bool:
    """Whether WAITs for the event make a difference to when things happen."""

    def without(job: Instruction) -> Instruction:
        if job.op != "WAIT" or job["event"] != event:
            return job
        return replace(job, values={**job.values, "index": 0, "ago": 3})  # no more than three passes: before the start

    chunks = tuple(
        replace(chunk, instructions=tuple(without(job) for job in chunk.instructions)) for chunk in program.chunks
    )
    return schedule(replace(program, chunks=chunks), memories, passes) != times
