"""Design to Program: what each chunk does in a pass, where tensors lie, what waits for what, and that it ends."""

from __future__ import annotations

from collections.abc import Sequence

from dna.accelerator.chunk import Accelerator
from dna.accelerator.isa import INDEX_BITS, WORD_BYTES
from dna.accelerator.mapping import Mapping
from dna.compile import deadlock
from dna.compile.emit import Emitter, job
from dna.compile.limits import check_mapping
from dna.compile.lowering import lower
from dna.compile.memory_map import ALIGNMENT_WORDS, check_region
from dna.compile.order import serial
from dna.compile.paging import paged
from dna.compile.plan import Plan, refuse
from dna.compile.program import ChunkProgram, Instruction, Program
from dna.network.network import Network, Weights
from dna.quantize.limits import check_overflow


def compile(network: Network, weights: Weights, accelerator: Accelerator, mapping: Mapping) -> Program:
    """The Program that runs `mapping.frames` frames of the network on the accelerator in each pass.

    Deterministic. UserError names the layer or tensor and the limit if anything does not fit, if chunks would wait for
    each other for ever, or if integers could overflow.
    """
    check_mapping(network, accelerator, mapping)
    check_overflow(network, weights)
    lowered = lower(network)
    plan = Plan(lowered, accelerator, mapping)
    plan.check_counts(1 << INDEX_BITS)
    tensors, regions = plan.place(mapping.on_chip)
    integers = lowered.weights(weights)
    chunks = []
    for index, chunk in enumerate(accelerator.chunks):
        reads, writes = plan.of_reads[index], plan.hazards.of_writes(index, tensors, accelerator)
        emitter = Emitter(lowered.layers, integers, chunk, mapping.layers, tensors, plan.units[index], reads, writes)
        emitter.run()
        instructions = paged(emitter.body, chunk)
        image = b"".join(instruction.encode() for instruction in instructions) + bytes(emitter.image.data)
        chunks.append(ChunkProgram(chunk, instructions, image, tuple(emitter.ended)))
    done = serial([[job(instruction) for instruction in executed(chunk.instructions)] for chunk in chunks])
    refuse(done.stuck, lowered, accelerator, tensors)
    regions["PROGRAM"] = _image_words(network, chunks)
    program = Program(
        network,
        lowered.layers,
        accelerator,
        tuple(chunks),
        mapping.frames,
        done.order,
        tensors,
        regions,
        lowered.output,
    )
    deadlock.check(program)
    return program


def executed(instructions: Sequence[Instruction]) -> Sequence[Instruction]:
    """The instructions up to the first END, that included."""
    return instructions[: 1 + next(at for at, instruction in enumerate(instructions) if instruction.op == "END")]


def _image_words(network: Network, chunks: Sequence[ChunkProgram]) -> int:
    """Words of all images, one after the other at multiples of 4096 bytes."""
    words = 0
    for chunk in chunks:
        own = len(chunk.image) // WORD_BYTES
        check_region(network, "PROGRAM", own)
        words += -words % ALIGNMENT_WORDS + own
    return words
