"""Instructions of one chunk: tiles in mapping order, loads that run ahead of them, the counters that keep them apart.

Thresholds of buffer counters are those of the steady state: the first tiles of a pass follow the last ones of the
pass before, in the same slots. In the first pass what they wait for has happened from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from dna.accelerator import tile
from dna.accelerator.chunk import Chunk
from dna.accelerator.isa import COUNTER_BITS, DESTINATIONS, ENGINES, EVENTS, WORD_BYTES, field_limit
from dna.accelerator.mapping import LayerMapping
from dna.compile import fields
from dna.compile.memory_map import Block, Image, block_runs, stream_runs
from dna.compile.order import Job
from dna.compile.program import Instruction, Tensor
from dna.compile.tiling import Span, Step
from dna.compile.units import Unit
from dna.compile.waits import Needs, Wait
from dna.network.layer import Layer
from dna.network.network import Weights

_COUNTER_MASK = (1 << COUNTER_BITS) - 1


@dataclass
class Emitter:
    """Writes the instructions of one pass one after the other and counts what the engines will count."""

    layers: Sequence[Layer]
    """The executed ones of the whole network."""
    weights: Weights
    chunk: Chunk
    mappings: Sequence[LayerMapping]
    tensors: Mapping[str, Tensor]
    units: Sequence[Unit]
    read_needs: Sequence[Needs]
    """By LOAD of INPUT and RESIDUAL, in order."""
    write_needs: Sequence[Needs]
    """By STORE."""
    image: Image = field(default_factory=Image)
    body: list[Instruction] = field(default_factory=list)
    inputs: int = 0
    """Input tiles loaded so far; the others alike."""
    weight_tiles: int = 0
    params: int = 0
    outputs: int = 0
    residuals: int = 0
    ended: list[int] = field(default_factory=list)
    """Layers in the order in which they end."""

    def __post_init__(self) -> None:
        first_use = {unit.weight_tile: unit for unit in reversed(self.units)}
        stored = [unit for unit in self.units if unit.step.last]
        added = [number for number, unit in enumerate(stored) if self.layers[unit.layer].residual is not None]
        self._first_use = first_use
        self._totals = {
            "inputs": sum(unit.new_input for unit in self.units),
            "weights": len(first_use),
            "params": sum(unit.step.needs_params for unit in first_use.values()),
            "residuals": len(added),
            "outputs": len(stored),
        }
        # A residual lies where its output will lie. Latest residual tile in each slot, at first of the pass before:
        self._residual_in_slot = [
            max((n for n, output in enumerate(added) if output % 2 == slot), default=-1) - len(added)
            for slot in range(2)
        ]
        self._param_base: dict[int, int] = {}
        self._resident: dict[int, dict[Span, Step]] = {}
        """By layer whose weights are one tile: the first step of each of its parts."""
        for unit in self.units:
            if unit.step.resident:
                self._resident.setdefault(unit.layer, {}).setdefault(unit.step.channels, unit.step)
        self._waited: dict[tuple[str, int, int], Wait] = {}
        self._of_step: dict[int, tuple[dict[str, int], int, int]] = {}
        """By step, what its TILEs of all frames share."""

    def run(self) -> None:
        """Order of a step: its LAYER if it changes, its loads, the next weight tile, TILE, STORE.

        Loads run ahead of the array by themselves, for the sequencer hands jobs out as long as queues have room.
        Weights are the exception: the next weight tile, the next layer's included, is asked for as soon as its slot is
        about to become free. On a shared port it comes after the second input tile, which is needed earlier.
        """
        prefetch_use = 1 if self.chunk.ports == 1 else 0
        current: tuple[int, int] | None = None
        for unit in self.units:
            if current != (unit.layer, unit.step.kernel.count):
                current = (unit.layer, unit.step.kernel.count)
                self._layer(unit)
            if unit.weight_tile == self.weight_tiles:
                self._load_weights(self._first_use[unit.weight_tile])
            if unit.new_input:
                self._load_input(unit)
            if unit.step.last and self.layers[unit.layer].residual is not None:
                self._load_residual(unit)
            ahead = unit.weight_tile + 1
            due = unit.use == prefetch_use or unit.free_weight
            if due and ahead == self.weight_tiles and ahead in self._first_use:
                self._load_weights(self._first_use[ahead])
            self._tile(unit)
            if unit.step.last:
                self._store(unit)
            if unit.layer_last:
                self.ended.append(unit.layer)
        self._mark_last()
        self.body.append(Instruction("END", {name: count & _COUNTER_MASK for name, count in self._totals.items()}))

    def _mark_last(self) -> None:
        """`pass_last` on the last LOAD of INPUT or RESIDUAL, the last TILE and the last STORE."""
        fetching = DESTINATIONS["INPUT"], DESTINATIONS["RESIDUAL"]
        todo = {"LOAD", "TILE", "STORE"}
        for at in range(len(self.body) - 1, -1, -1):
            job = self.body[at]
            if job.op in todo and (job.op != "LOAD" or job["dest"] in fetching):
                todo.remove(job.op)
                self.body[at] = replace(job, values={**job.values, "pass_last": 1})
            if not todo:
                return

    def _add(self, op: str, values: dict[str, int], unit: Unit) -> None:
        self.body.append(Instruction(op, values, unit.layer, unit.frame))

    def _waits(self, engine: str, needs: Needs, unit: Unit) -> None:
        """A WAIT for what no earlier WAIT of the engine in this pass implies."""
        for wait in needs.waits:
            key = (engine, wait.peer, wait.event)
            if key not in self._waited or not self._waited[key].implies(wait):
                self._waited[key] = wait
                values = {"engine": ENGINES[engine], "peer": wait.peer, "event": wait.event}
                self._add("WAIT", values | {"ago": wait.ago, "index": wait.index}, unit)

    def _slot(self, depth: int, count: int) -> int:
        return count % 2 * int(tile.slot_words(depth))

    def _freed(self, what: str, count: int) -> int:
        """Threshold for tile `count` of a buffer with two slots: those up to the latest one in its slot are free.

        That is the last but one, or the last if a pass has an odd number of tiles: it ends in the slot in which the
        next one begins.
        """
        return (0 if count == 0 and self._totals[what] % 2 else count - 1) & _COUNTER_MASK

    def _layer(self, unit: Unit) -> None:
        layer = self.layers[unit.layer]
        multiplier, mapping = self.residual_multiplier(layer), self.mappings[unit.layer]
        self._add("LAYER", fields.layer_fields(layer, self.chunk, mapping, unit.step.kernel.count, multiplier), unit)

    def _load_weights(self, unit: Unit) -> None:
        """WEIGHT, then PARAM; the last of them signals."""
        layer, step = self.layers[unit.layer], unit.step
        index = self.weight_tiles
        parts = list(self._resident[unit.layer].values()) if step.resident else [step]
        if layer.has_weights:
            address, words = self.image.place((layer.name, step.weight_key), self.stream_of_weights(layer, parts))
            unit_words = self.chunk.weight_word_bytes // WORD_BYTES
            values = stream_runs(address, words // unit_words, unit_words)
            values |= {"dest": DESTINATIONS["WEIGHT"], "base": self._slot(self.chunk.weight_words, index)}
            values |= {"wait_free": self._freed("weights", index), "signal": int(not step.needs_params)}
            self._add("LOAD", values | {"port": self.chunk.weight_port}, unit)
        if step.needs_params:
            key = step.weight_key if step.resident else (step.channels, step.params)
            stream = self.stream_of_parameters(layer, parts)
            address, words = self.image.place((layer.name, "parameters", key), stream)
            unit_words = self.chunk.post_lanes // 2
            self._param_base[index] = self._slot(self.chunk.param_words, self.params)
            values = stream_runs(address, words // unit_words, unit_words)
            values |= {"dest": DESTINATIONS["PARAM"], "base": self._param_base[index]}
            values |= {"wait_free": self._freed("params", self.params), "signal": 1}
            self._add("LOAD", values | {"port": self.chunk.weight_port}, unit)
            self.params += 1
        self.weight_tiles += 1

    def stream_of_weights(self, layer: Layer, parts: Sequence[Step]) -> Callable[[], bytes]:
        """What makes the bytes of the steps' weights."""
        return partial(_joined, partial(fields.weight_stream, layer, self.weights[layer.name], self.chunk), parts)

    def stream_of_parameters(self, layer: Layer, parts: Sequence[Step]) -> Callable[[], bytes]:
        """What makes the bytes of the steps' parameters."""
        return partial(_joined, partial(fields.param_stream, self.weights[layer.name], self.chunk), parts)

    def residual_multiplier(self, layer: Layer) -> int:
        return self.weights[layer.name].residual_multiplier

    def _fetch(self, name: str, block: Block, values: dict[str, int], unit: Unit) -> None:
        """A LOAD of a block of a tensor, when that is there."""
        tensor = self.tensors[name]
        needs = self.read_needs[self.inputs + self.residuals]
        self._waits("READ0", needs, unit)
        values |= block_runs(tensor, unit.frame, block) | {"signal": 1, "wait_commit": needs.commits}
        if tensor.region == "CHIP":
            values |= {"peer": tensor.writer}
        self._add("LOAD", values, unit)

    def _load_input(self, unit: Unit) -> None:
        layer = self.layers[unit.layer]
        values = fields.input_fields(unit.step)
        origin = self._slot(self.chunk.input_words, self.inputs)
        pitch = fields.row_pitch(layer, self.mappings[unit.layer])
        base = (origin + values["row0"] * pitch + values["col0"]) & field_limit("LOAD", "base")
        values |= {"dest": DESTINATIONS["INPUT"], "base": base, "wait_free": self._freed("inputs", self.inputs)}
        self._fetch(layer.input, fields.input_block(unit.step), values, unit)
        self.inputs += 1

    def _load_residual(self, unit: Unit) -> None:
        layer = self.layers[unit.layer]
        assert layer.residual is not None
        slot = self.outputs % 2
        free = max(self._residual_in_slot[slot] + 1, self.residuals - 1)
        values = {"dest": DESTINATIONS["RESIDUAL"], "base": self._slot(self.chunk.output_words, slot)}
        values |= {"wait_free": free & _COUNTER_MASK}
        self._fetch(layer.residual, fields.output_block(unit.step), values, unit)
        self._residual_in_slot[slot] = self.residuals
        self.residuals += 1

    def _tile(self, unit: Unit) -> None:
        layer, step = self.layers[unit.layer], unit.step
        if id(step) not in self._of_step:
            own = fields.tile_fields(layer, self.chunk, self.mappings[unit.layer], step)
            self._of_step[id(step)] = own, *self._part(unit)
        shared, w_part, p_part = self._of_step[id(step)]
        values = shared | {
            "in_base": self._slot(self.chunk.input_words, self.inputs - 1),
            "w_base": self._slot(self.chunk.weight_words, unit.weight_tile) + w_part if layer.has_weights else 0,
            "p_base": self._param_base[unit.weight_tile] + p_part if step.last else 0,
            "out_base": self._slot(self.chunk.output_words, self.outputs),
            "wait_in": self.inputs & _COUNTER_MASK,
            "wait_w": (unit.weight_tile + 1) & _COUNTER_MASK,
            "wait_res": self.residuals & _COUNTER_MASK,
            # Sums of a slice that is not the last need no place yet: wait only for what was waited for before.
            "wait_out": self._freed("outputs", self.outputs if step.last else self.outputs - 1),
            "free_in": int(unit.free_input),
            "free_w": int(unit.free_weight),
            "layer_last": int(unit.layer_last),
        }
        self._add("TILE", values, unit)

    def _part(self, unit: Unit) -> tuple[int, int]:
        """First words of the step's weights and parameters in its weight tile."""
        weights = params = 0
        if unit.step.resident:
            for channels, step in self._resident[unit.layer].items():
                if channels == unit.step.channels:
                    break
                weights += fields.weight_words(self.layers[unit.layer], self.chunk, step)
                params += int(tile.param_buffer_words(channels.count, self.chunk.post_lanes))
        return weights, params

    def _store(self, unit: Unit) -> None:
        tensor = self.tensors[self.layers[unit.layer].name]
        self._waits("WRITE", self.write_needs[self.outputs], unit)
        values = block_runs(tensor, unit.frame, fields.output_block(unit.step))
        values |= {"base": self._slot(self.chunk.output_words, self.outputs), "layer_last": int(unit.layer_last)}
        if tensor.region == "CHIP":
            values |= {"readers": sum(1 << reader for reader in tensor.readers)}
        self.outputs += 1
        self._add("STORE", values | {"wait_ready": self.outputs & _COUNTER_MASK}, unit)


def _joined(make: Callable[[Step], bytes], parts: Sequence[Step]) -> bytes:
    return b"".join(make(part) for part in parts)


def job(instruction: Instruction) -> Job:
    """What the instruction means to other chunks."""
    if instruction.op == "WAIT":
        peer, event, ago, index = (instruction[name] for name in ("peer", "event", "ago", "index"))
        return Job((Wait(peer, event, ago, index),), layer=instruction.layer)
    if instruction.op == "STORE":
        return Job(event=EVENTS["COMMITTED"], layer=instruction.layer)
    if instruction.op == "LOAD" and instruction["dest"] in (DESTINATIONS["INPUT"], DESTINATIONS["RESIDUAL"]):
        return Job(event=EVENTS["FETCHED"], layer=instruction.layer)
    return Job(layer=instruction.layer)
