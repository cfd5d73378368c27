"""Design to Program: tiles in mapping order, loads that run ahead of them, and the counters that keep them apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby

from dna.accelerator import tile
from dna.accelerator.chunk import PAGE_INSTRUCTIONS, Accelerator, Chunk
from dna.accelerator.isa import (
    COUNTER_BITS,
    DESTINATIONS,
    INDEX_BITS,
    INSTRUCTION_BYTES,
    REGIONS,
    WORD_BYTES,
    field_limit,
)
from dna.accelerator.mapping import LayerMapping, Mapping
from dna.compile import deadlock, fields, limits
from dna.compile.lowering import lower
from dna.compile.memory_map import CommitLog, Image, check_region, place_tensors, stream_runs
from dna.compile.program import ChunkProgram, Instruction, Program
from dna.compile.tiling import Step, steps
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network, Weights
from dna.quantize.limits import check_overflow

_COUNTER_MASK = (1 << COUNTER_BITS) - 1
_INSTRUCTION_WORDS = INSTRUCTION_BYTES // WORD_BYTES
_PAGE_WORDS = PAGE_INSTRUCTIONS * _INSTRUCTION_WORDS


def compile(network: Network, weights: Weights, accelerator: Accelerator, mapping: Mapping) -> Program:
    """The Program that runs one frame of the network on the accelerator.

    Deterministic. UserError names the layer and the limit if anything does not fit, or if integers could overflow.
    """
    chunk = accelerator.chunks[0]
    lowered = lower(network)
    limits.check_mapping(network, chunk, mapping)
    check_overflow(network, weights)
    tensors, regions = place_tensors(lowered)
    commits = CommitLog(tensors, {name: lowered.writers(name) for name in tensors})
    emitter = _Emitter(lowered.layers, lowered.weights(weights), chunk, mapping, commits)
    emitter.run()
    if emitter.commits.stores > (1 << INDEX_BITS) - 1:
        raise UserError(
            f"network '{network.name}': {emitter.commits.stores} output tiles; the limit is"
            f" {field_limit('LOAD', 'wait_commit')}; use larger tiles"
        )
    instructions = _paged(emitter.body, chunk)
    image = b"".join(instruction.encode() for instruction in instructions) + bytes(emitter.image.data)
    regions["PROGRAM"] = len(image) // WORD_BYTES
    check_region(network, "PROGRAM", regions["PROGRAM"])
    end = next(index for index, instruction in enumerate(instructions) if instruction.op == "END")
    only = ChunkProgram(chunk, instructions, image, tuple(range(len(lowered.layers))))
    order = (0,) * (end + 1)
    program = Program(network, lowered.layers, accelerator, (only,), 1, order, tensors, regions, lowered.output)
    deadlock.check(program)
    return program


@dataclass(frozen=True)
class _Unit:
    """One step of the whole program, with the tiles it uses."""

    layer: int
    step: Step
    weight_tile: int
    """Index of its weight tile, counted over the program."""
    new_input: bool
    free_input: bool
    free_weight: bool
    use: int
    """How many steps used its weight tile before."""
    layer_last: bool


def _units(layers: Sequence[Layer], mapping: Mapping) -> list[_Unit]:
    """All steps in program order; neighbours with equal keys share a tile."""
    result: list[_Unit] = []
    weight_tile = -1
    for index, (layer, layer_mapping) in enumerate(zip(layers, mapping.layers, strict=True)):
        todo = list(steps(layer, layer_mapping))
        position = 0
        for _, group in groupby(todo, key=lambda step: step.weight_key):
            weight_tile += 1
            sharing = list(group)
            for use, step in enumerate(sharing):
                before = todo[position - 1].input_key if position else None
                after = todo[position + 1].input_key if position + 1 < len(todo) else None
                result.append(
                    _Unit(
                        layer=index,
                        step=step,
                        weight_tile=weight_tile,
                        new_input=step.input_key != before,
                        free_input=step.input_key != after,
                        free_weight=use == len(sharing) - 1,
                        use=use,
                        layer_last=position == len(todo) - 1,
                    )
                )
                position += 1
    return result


@dataclass
class _Emitter:
    """Writes the instructions one after the other and counts what the engines will count."""

    layers: Sequence[Layer]
    """The executed ones."""
    weights: Weights
    chunk: Chunk
    mapping: Mapping
    commits: CommitLog
    image: Image = field(default_factory=Image)
    body: list[Instruction] = field(default_factory=list)
    inputs: int = 0
    """Input tiles loaded so far; the others alike."""
    weight_tiles: int = 0
    params: int = 0
    outputs: int = 0
    residuals: int = 0
    residual_in_slot: list[int] = field(default_factory=lambda: [-1, -1])
    """Latest residual tile in each slot: a residual lies where its output will lie."""
    param_base: dict[int, int] = field(default_factory=dict)
    """Place of the parameters of a weight tile in their buffer."""

    def run(self) -> None:
        """Order of a step: its LAYER if it changes, its loads, the next weight tile, TILE, STORE.

        Loads run ahead of the array by themselves, for the sequencer hands jobs out as long as queues have room.
        Weights are the exception: the next weight tile, the next layer's included, is asked for as soon as its slot is
        about to become free. On a shared port it comes after the second input tile, which is needed earlier.
        """
        units = _units(self.layers, self.mapping)
        first_use = {unit.weight_tile: unit for unit in reversed(units)}
        prefetch_use = 1 if self.chunk.ports == 1 else 0
        current: tuple[int, int] | None = None
        for unit in units:
            if current != (unit.layer, unit.step.kernel.count):
                current = (unit.layer, unit.step.kernel.count)
                self._layer(unit)
            if unit.weight_tile == self.weight_tiles:
                self._load_weights(first_use[unit.weight_tile])
            if unit.new_input:
                self._load_input(unit)
            if unit.step.last and self.layers[unit.layer].residual is not None:
                self._load_residual(unit)
            ahead = unit.weight_tile + 1
            due = unit.use == prefetch_use or unit.free_weight
            if due and ahead == self.weight_tiles and ahead in first_use:
                self._load_weights(first_use[ahead])
            self._tile(unit)
            if unit.step.last:
                self._store(unit)
        self.body.append(Instruction("END"))

    def _add(self, op: str, values: dict[str, int], unit: _Unit) -> None:
        self.body.append(Instruction(op, values, unit.layer))

    def _layer_mapping(self, unit: _Unit) -> LayerMapping:
        return self.mapping.layers[unit.layer]

    def _slot(self, depth: int, count: int) -> int:
        return count % 2 * int(tile.slot_words(depth))

    def _layer(self, unit: _Unit) -> None:
        layer = self.layers[unit.layer]
        multiplier = self.weights[layer.name].residual_multiplier
        values = fields.layer_fields(layer, self.chunk, self._layer_mapping(unit), unit.step.kernel.count, multiplier)
        self._add("LAYER", values, unit)

    def _load_weights(self, unit: _Unit) -> None:
        """WEIGHT, then PARAM; the last of them signals."""
        layer, step = self.layers[unit.layer], unit.step
        index = self.weight_tiles
        if layer.has_weights:
            make = partial(fields.weight_stream, layer, self.weights[layer.name], self.chunk, step)
            address, words = self.image.place((layer.name, step.weight_key), make)
            unit_words = self.chunk.weight_word_bytes // WORD_BYTES
            values = stream_runs(address, words // unit_words, unit_words)
            values |= {"dest": DESTINATIONS["WEIGHT"], "base": self._slot(self.chunk.weight_words, index)}
            values |= {"wait_free": _recent(index), "signal": int(not step.needs_params)}
            self._add("LOAD", values | {"port": self.chunk.weight_port}, unit)
        if step.needs_params:
            make = partial(fields.param_stream, self.weights[layer.name], self.chunk, step)
            address, words = self.image.place((layer.name, "parameters", step.channels, step.params), make)
            unit_words = self.chunk.post_lanes // 2
            self.param_base[index] = self._slot(self.chunk.param_words, self.params)
            values = stream_runs(address, words // unit_words, unit_words)
            values |= {"dest": DESTINATIONS["PARAM"], "base": self.param_base[index]}
            values |= {"wait_free": _recent(self.params), "signal": 1}
            self._add("LOAD", values | {"port": self.chunk.weight_port}, unit)
            self.params += 1
        self.weight_tiles += 1

    def _load_input(self, unit: _Unit) -> None:
        layer = self.layers[unit.layer]
        values = fields.input_fields(layer, self._layer_mapping(unit), unit.step, self.commits)
        origin = self._slot(self.chunk.input_words, self.inputs)
        pitch = fields.row_pitch(layer, self._layer_mapping(unit))
        base = (origin + values["row0"] * pitch + values["col0"]) & field_limit("LOAD", "base")
        values |= {"dest": DESTINATIONS["INPUT"], "base": base, "signal": 1, "wait_free": _recent(self.inputs)}
        self._add("LOAD", values, unit)
        self.inputs += 1

    def _load_residual(self, unit: _Unit) -> None:
        layer = self.layers[unit.layer]
        assert layer.residual is not None
        values = fields.output_block(self.commits.tensors[layer.residual], unit.step)
        rows = unit.step.rows
        slot = self.outputs % 2
        free = max(self.residual_in_slot[slot] + 1, self.residuals - 1, 0)
        values |= {"dest": DESTINATIONS["RESIDUAL"], "base": self._slot(self.chunk.output_words, slot), "signal": 1}
        values |= {"wait_commit": self.commits.needed(layer.residual, rows.first, rows.count)}
        self._add("LOAD", values | {"wait_free": free & _COUNTER_MASK}, unit)
        self.residual_in_slot[slot] = self.residuals
        self.residuals += 1

    def _tile(self, unit: _Unit) -> None:
        layer, step = self.layers[unit.layer], unit.step
        values = fields.tile_fields(layer, self.chunk, self._layer_mapping(unit), step)
        values |= {
            "in_base": self._slot(self.chunk.input_words, self.inputs - 1),
            "w_base": self._slot(self.chunk.weight_words, unit.weight_tile) if layer.has_weights else 0,
            "p_base": self.param_base[unit.weight_tile] if step.last else 0,
            "out_base": self._slot(self.chunk.output_words, self.outputs),
            "wait_in": self.inputs & _COUNTER_MASK,
            "wait_w": (unit.weight_tile + 1) & _COUNTER_MASK,
            "wait_res": self.residuals & _COUNTER_MASK,
            # Sums of a slice that is not the last need no place yet: wait only for what was waited for before.
            "wait_out": _recent(self.outputs if step.last else max(self.outputs - 1, 0)),
            "free_in": int(unit.free_input),
            "free_w": int(unit.free_weight),
            "layer_last": int(unit.layer_last),
        }
        self._add("TILE", values, unit)

    def _store(self, unit: _Unit) -> None:
        layer = self.layers[unit.layer]
        values = fields.output_block(self.commits.tensors[layer.name], unit.step)
        values |= {"base": self._slot(self.chunk.output_words, self.outputs), "layer_last": int(unit.layer_last)}
        self.outputs += 1
        self._add("STORE", values | {"wait_ready": self.outputs & _COUNTER_MASK}, unit)
        self.commits.store(layer.name, unit.step.rows.first, unit.step.rows.count)


def _recent(count: int) -> int:
    """Threshold for tile `count` of a buffer with two slots: all but the latest earlier one are free."""
    return max(count - 1, 0) & _COUNTER_MASK


def _paged(body: list[Instruction], chunk: Chunk) -> tuple[Instruction, ...]:
    """The body cut into pages, each but the last headed by the LOAD of the next; addresses of streams made absolute."""
    pages = 1
    while len(body) > (PAGE_INSTRUCTIONS - 1) * (pages - 1) + PAGE_INSTRUCTIONS:
        pages += 1
    moved = iter([_moved(instruction, pages * _PAGE_WORDS) for instruction in body])
    result: list[Instruction] = []
    for page in range(pages):
        if page < pages - 1:
            result.append(_page_load(page + 1, chunk))
        result += _take(moved, PAGE_INSTRUCTIONS * (page + 1) - len(result))
    result += [Instruction("END")] * (pages * PAGE_INSTRUCTIONS - len(result))
    return tuple(result)


def _take(items: Iterator[Instruction], count: int) -> list[Instruction]:
    return [item for _, item in zip(range(count), items, strict=False)]


def _moved(instruction: Instruction, offset: int) -> Instruction:
    """Streams lie behind the instructions, whose number is known only now."""
    if instruction.op != "LOAD" or instruction["region"] != REGIONS["PROGRAM"]:
        return instruction
    return replace(instruction, values={**instruction.values, "address": instruction["address"] + offset})


def _page_load(page: int, chunk: Chunk) -> Instruction:
    values = stream_runs(page * _PAGE_WORDS, 1, _PAGE_WORDS)
    values |= {"dest": DESTINATIONS["PROGRAM"], "base": PAGE_INSTRUCTIONS * (page % 2), "signal": 1}
    return Instruction("LOAD", values | {"port": chunk.weight_port})
