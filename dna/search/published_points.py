"""Published accelerators in our own space: the nearest designs that compile, as baselines beside a search's design.

A size that a chunk cannot have goes to the nearest one by ratio. What a paper does not say (buffers, ports) is as large
as the board allows. Pooling runs on the engine of the convolution before it. docs/published.md says for each how near
it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import log

from dna.accelerator.board import Board
from dna.accelerator.chunk import INPUT_CHANNELS, MAX_BUFFER_WORDS, MAX_CHUNKS, Accelerator, Chunk
from dna.accelerator.isa import WORD_BYTES
from dna.compile.lowering import lower
from dna.cost.resources import accelerator_resources
from dna.errors import UserError
from dna.network.layer import Layer
from dna.network.network import Network
from dna.search.engine_sets import OUTPUT_CHANNELS, array_cycles
from dna.search.point import Point
from dna.search.published import ALEXNET_HALF, FPGA15, HALVES, ISCA17, Engine, Partition
from dna.search.realise import Realised, Settled, realise, settled

FRAMES = 4
"""Of a pass: weights that are loaded once per pass serve so many frames."""
CHOICES = 3
"""Mappings of a layer that are scheduled."""
BUFFERS = ((4096, 2), (4096, 1), (2048, 1), (1024, 1), (512, 1), (256, 1))
"""Words of the input buffer, and what the weight buffer holds in units of what the largest layer needs; the first that
the board has room for is taken."""
MIN_WEIGHT_WORDS = 128
MIN_PARAM_WORDS, MAX_PARAM_WORDS = 64, 512
SUM_WORDS = 1024
"""Sums that an array holds whose weights stay. The TPU has 4096."""
MIN_OUTPUT_WORDS = 512


@dataclass(frozen=True)
class Kind:
    """A published accelerator as chunks and an assignment of executed layers."""

    name: str
    source: str
    design: Callable[[Sequence[Layer], Board], tuple[tuple[Chunk, ...], tuple[int, ...]] | None]
    """None where the network is not of the kind that the accelerator is for."""
    on_chip: bool = False
    """Whether tensors between chunks stay on chip, where they fit."""


@dataclass(frozen=True)
class Baseline:
    """A row of a table: a published accelerator's nearest design on a network and a board."""

    name: str
    source: str
    point: Point
    realised: Realised
    settled: Settled
    macs: int
    """Multiplications of a frame."""

    @property
    def multipliers(self) -> int:
        return sum(chunk.multipliers for chunk in self.point.chunks)

    @property
    def cycles(self) -> float:
        """Per frame, in steady state, by the exact schedule."""
        return self.settled.cycles

    @property
    def utilisation(self) -> float:
        """Share of multipliers times cycles that multiply."""
        return self.macs / (self.cycles * self.multipliers)


def baselines(network: Network, board: Board, kinds: Sequence[Kind] | None = None) -> list[Baseline]:
    """Every published kind that suits the network and fits the board, scheduled; in the order of `KINDS`.

    Deterministic. Those that do not suit, or fit with no size of buffers, are left out.
    """
    found = (baseline(network, board, kind) for kind in (KINDS if kinds is None else kinds))
    return [each for each in found if each is not None]


def baseline(network: Network, board: Board, kind: Kind) -> Baseline | None:
    """The kind with the largest buffers that the board has room for; None if it is not for such a network or board."""
    layers = lower(network).layers
    for point in points(layers, board, kind):
        if any(
            count > getattr(board, name) for name, count in accelerator_resources(Accelerator(point.chunks)).items()
        ):
            continue
        try:
            realised = realise(network, point, board, choices=CHOICES)
            result = settled(network, realised, board)
        except UserError:
            continue
        if not result.excess(board):
            return Baseline(kind.name, kind.source, point, realised, result, network.macs)
    return None


def points(layers: Sequence[Layer], board: Board, kind: Kind) -> Iterator[Point]:
    """The kind's designs, from large buffers to small ones."""
    designed = kind.design(layers, board)
    if designed is None:
        return
    chunks, assignment = designed
    # Shares are divided anew once mappings are known; until then all chunks have equal ones.
    share = max(1, -(-sum(chunk.port_bytes * chunk.ports for chunk in chunks) // int(board.carried)))
    read = {source for layer in layers for source in layer.sources}
    inner = {layer.name for layer in layers if layer.name in read} if kind.on_chip else set()
    for words, times in BUFFERS:
        yield Point(
            tuple(_with_buffers(chunk, _on(layers, assignment, n), words, times) for n, chunk in enumerate(chunks)),
            (share,) * len(chunks),
            assignment,
            FRAMES,
            on_chip=frozenset(inner),
        )


def _on(layers: Sequence[Layer], assignment: Sequence[int], chunk: int) -> list[Layer]:
    return [layer for layer, home in zip(layers, assignment, strict=True) if home == chunk]


def _with_buffers(chunk: Chunk, layers: Sequence[Layer], words: int, times: int) -> Chunk:
    """The chunk with buffers for its layers."""
    outputs = max(layer.group_outputs for layer in layers)
    needed = max([MIN_WEIGHT_WORDS, *(_weight_words(layer, chunk.oc, chunk.ic) for layer in layers if _slides(layer))])
    return replace(
        chunk,
        input_words=words,
        output_words=max(MIN_OUTPUT_WORDS, words // 2),
        weight_words=min(MAX_BUFFER_WORDS, times * needed),
        param_words=max(MIN_PARAM_WORDS, min(MAX_PARAM_WORDS, 2 * -(-outputs // chunk.post_lanes))),
        residual=any(layer.residual is not None for layer in layers),
    )


def _weight_words(layer: Layer, oc: int, ic: int) -> int:
    """Words for two tiles of the fewest output channels, each with all inputs: else pixels go one by one."""
    groups = -(-min(WORD_BYTES, layer.group_outputs) // oc)
    return 2 * groups * layer.kernel[0] * layer.kernel[1] * -(-layer.group_inputs // ic)


def _slides(layer: Layer) -> bool:
    return layer.op == "conv" and layer.out_height * layer.out_width > 1


# ---------------------------------------------------------------- sizes


def nearest(value: int, values: Sequence[int]) -> int:
    """The one of smallest ratio to `value`; of two equally near the larger."""
    return min(values, key=lambda each: (abs(log(each / value)), -each))


def chunk_of(oc: int, ic: int, px: int = 1, **others: object) -> Chunk:
    """A chunk with the widest post lanes, made of LUTs, so that all DSPs multiply; not packed, as published."""
    post_lanes = max(lanes for lanes in (2, 4, 8, 16) if oc % lanes == 0)
    plain = Chunk(oc, ic, px, post_lanes=post_lanes, post_in_lut=True, burst_beats=64, ports=1)
    return replace(plain, **others)  # type: ignore[arg-type]


def nearest_chunk(engine: Engine) -> Chunk:
    """The chunk nearest to a `tm x tn` engine."""
    ic = nearest(engine.tn, INPUT_CHANNELS)
    return chunk_of(nearest(engine.tm, [oc for oc in OUTPUT_CHANNELS if oc * ic % WORD_BYTES == 0]), ic)


def _cycles(layer: Layer, oc: int, ic: int, px: int = 1) -> int:
    """Array cycles of all groups of a convolution or fully connected layer."""
    mac = layer.kernel[0] * layer.kernel[1] * -(-layer.group_inputs // ic)
    return layer.groups * array_cycles(layer.group_outputs, layer.out_height, layer.out_width, mac, oc, px)


def _multiplying(layers: Sequence[Layer]) -> list[int]:
    return [index for index, layer in enumerate(layers) if layer.op in ("conv", "fc")]


def _sizes(multipliers: int) -> list[tuple[int, int]]:
    """oc and ic, fewest multipliers first; of equals those near 8 outputs: fewer make pooling slow, more take LUTs."""
    pairs = [(oc, ic) for oc in OUTPUT_CHANNELS for ic in INPUT_CHANNELS if oc * ic % WORD_BYTES == 0]
    fitting = [pair for pair in pairs if pair[0] * pair[1] <= multipliers]
    return sorted(fitting, key=lambda pair: (pair[0] * pair[1], abs(pair[0] - 8)))


def following(layers: Sequence[Layer], homes: dict[int, int]) -> tuple[int, ...]:
    """The chunk of every layer: of those not in `homes` (by number), that of the last one before that is."""
    assignment, home = [], homes[min(homes)]
    for index in range(len(layers)):
        home = homes.get(index, home)
        assignment.append(home)
    return tuple(assignment)


# ---------------------------------------------------------------- kinds

Designed = tuple[tuple[Chunk, ...], tuple[int, ...]]


def _one(chunk: Chunk) -> Callable[[Sequence[Layer], Board], Designed]:
    return lambda layers, board: ((chunk,), (0,) * len(layers))


def _largest_engine(layers: Sequence[Layer], board: Board) -> Designed:
    """The engine of FPGA'15's kind, one pixel at a time, that suits network and board best."""
    chosen = _multiplying(layers)
    sizes = min(_sizes(board.dsp), key=lambda pair: sum(_cycles(layers[index], *pair) for index in chosen))
    return (chunk_of(*sizes),), (0,) * len(layers)


def _engines(partition: Partition) -> Callable[[Sequence[Layer], Board], Designed | None]:
    """A partition for AlexNet. Engines of the same sizes with a half of a layer each are one of twice the outputs: a
    layer is executed on one chunk."""
    by_layers: dict[tuple[str, ...], Engine] = {}
    for engine, names in zip(partition.engines, partition.layers, strict=True):
        key = tuple(sorted(set(names)))
        known = by_layers.get(key)
        by_layers[key] = Engine(engine.tm + known.tm, engine.tn) if known else engine
    chunks = tuple(nearest_chunk(engine) for engine in by_layers.values())

    def design(layers: Sequence[Layer], board: Board) -> Designed | None:
        convolutions = [index for index, layer in enumerate(layers) if layer.op == "conv"]
        if len(convolutions) != len(ALEXNET_HALF):
            return None
        names = [next(n for n, key in enumerate(by_layers) if layer.name in key) for layer in ALEXNET_HALF]
        return chunks, following(layers, dict(zip(convolutions, names, strict=True)))

    return design


def _pipeline(layers: Sequence[Layer], board: Board) -> Designed | None:
    """A chunk per layer that multiplies, one pixel at a time; the least interval for the board's DSPs.

    Few outputs at once need less room for weights, and fewer LUTs: where any number does not fit, at most 16, or 4.
    """
    stages = _multiplying(layers)
    if not 1 <= len(stages) <= MAX_CHUNKS:
        return None
    homes = following(layers, {index: stage for stage, index in enumerate(stages)})
    for most_outputs in (max(OUTPUT_CHANNELS), 16, 4):
        sizes = _stage_sizes([layers[index] for index in stages], board.dsp, most_outputs)
        chunks = tuple(chunk_of(*pair) for pair in sizes)
        least = [_with_buffers(chunk, _on(layers, homes, n), *BUFFERS[-1]) for n, chunk in enumerate(chunks)]
        if chunks and _fits(least, board):
            return chunks, homes
    return None


def _stage_sizes(stages: Sequence[Layer], multipliers: int, most_outputs: int) -> list[tuple[int, int]]:
    """oc and ic of each stage with the least interval; empty if there is none."""
    sizes = [pair for pair in _sizes(multipliers) if pair[0] <= most_outputs]
    options = [[(pair, _cycles(layer, *pair)) for pair in sizes if _holds(layer, *pair)] for layer in stages]
    best: list[tuple[int, int]] = []
    for interval in sorted({cycles for row in options for _, cycles in row}, reverse=True):
        firsts = [next((pair for pair, cycles in row if cycles <= interval), None) for row in options]
        chosen = [pair for pair in firsts if pair is not None]
        if len(chosen) < len(stages) or sum(oc * ic for oc, ic in chosen) > multipliers:
            break
        best = chosen
    return best


def _fits(chunks: Sequence[Chunk], board: Board) -> bool:
    used = accelerator_resources(Accelerator(tuple(chunks)))
    return all(count <= getattr(board, name) for name, count in used.items())


def _holds(layer: Layer, oc: int, ic: int) -> bool:
    """Whether a weight buffer can be deep enough for the layer."""
    return not _slides(layer) or _weight_words(layer, oc, ic) <= MAX_BUFFER_WORDS


def _weights_stay(layers: Sequence[Layer], board: Board) -> Designed:
    """A matrix unit as the TPU's, 16 rows high, as wide as the board allows."""
    oc = max(oc for oc in OUTPUT_CHANNELS if oc * WORD_BYTES <= board.dsp)
    return (chunk_of(oc, WORD_BYTES, dataflow="weight", sum_words=SUM_WORDS),), (0,) * len(layers)


def _outputs_stay(layers: Sequence[Layer], board: Board) -> Designed:
    """SCALE-Sim's output-stationary array: pixels down, output channels across, a product at a time in each cell."""
    oc = 32 if board.dsp >= 2 * 32 else 16
    return (chunk_of(oc, 1, max(1, min(28, board.dsp // oc))),), (0,) * len(layers)


KINDS = (
    Kind("single engine, 64 x 7", "FPGA'15", _one(nearest_chunk(FPGA15))),
    Kind("single engine, board's size", "FPGA'15", _largest_engine),
    Kind("engines, 485T", "ISCA'17", _engines(ISCA17[2])),
    Kind("engines, 690T", "ISCA'17", _engines(ISCA17[3])),
    Kind("a stage per layer", "DNNBuilder", _pipeline, on_chip=True),
    Kind("systolic, weights stay", "TPU", _weights_stay),
    Kind("systolic, outputs stay", "SCALE-Sim", _outputs_stay),
    Kind("row-stationary, 168 cells", "Eyeriss", _one(chunk_of(16, 1, 10, dataflow="weight", sum_words=256))),
)


def two_towers() -> Network:
    """The convolutions and pooling of AlexNet in two towers, as FPGA'15, ISCA'17 and Eyeriss compute them."""
    layers: list[Layer] = []
    source, channels, size = "input", 3, 227
    strides, pads, grouped = {"conv1": 4}, {"conv1": 0, "conv2": 2}, {"conv2", "conv4", "conv5"}
    for half in ALEXNET_HALF:
        pad = pads.get(half.name, 1)
        step = strides.get(half.name, 1)
        layers.append(
            Layer(
                half.name,
                "conv",
                source,
                channels,
                size,
                size,
                HALVES * half.out_channels,
                kernel=(half.kernel,) * 2,
                stride=(step,) * 2,
                padding=(pad,) * 4,
                groups=HALVES if half.name in grouped else 1,
                lo=0,
            )
        )
        source, channels, size = half.name, HALVES * half.out_channels, half.rows
        if half.name in ("conv1", "conv2", "conv5"):
            name = half.name.replace("conv", "pool")
            layers.append(Layer(name, "maxpool", source, channels, size, size, channels, kernel=(3, 3), stride=(2, 2)))
            source, size = name, (size - 3) // 2 + 1
    return Network("alexnet_two_towers", tuple(layers))
