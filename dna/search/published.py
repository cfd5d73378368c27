"""Published accelerators: their own cycle models, and the figures that their papers print.

The models count compute cycles as the papers do, for any sizes, also those that no `Chunk` can have. Where each figure
comes from is said by `Figure.origin` and, at length, in docs/published.md. The nearest designs of our own space are in
`dna.search.published_points`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

from dna.errors import UserError

Origin = Literal["paper", "tool", "recomputed", "assumed"]
"""`paper`: printed there; `tool`: put out by the authors' released program; `recomputed`: by the model here;
`assumed`: our reading where the source is silent."""


@dataclass(frozen=True)
class Convolution:
    """One group of a convolution: `out_channels` maps of `rows x cols` from `in_channels`, a square kernel."""

    name: str
    in_channels: int
    out_channels: int
    rows: int
    cols: int
    kernel: int

    @property
    def macs(self) -> int:
        return self.in_channels * self.out_channels * self.rows * self.cols * self.kernel**2


@dataclass(frozen=True)
class Figure:
    """A number of a publication."""

    what: str
    value: float
    unit: str
    origin: Origin


ALEXNET_HALF = (
    Convolution("conv1", 3, 48, 55, 55, 11),
    Convolution("conv2", 48, 128, 27, 27, 5),
    Convolution("conv3", 256, 192, 13, 13, 3),
    Convolution("conv4", 192, 192, 13, 13, 3),
    Convolution("conv5", 192, 128, 13, 13, 3),
)
"""The five convolutions of AlexNet in two towers, one half each: what FPGA'15 and ISCA'17 compute twice per image."""
HALVES = 2
JOINED = ("conv1", "conv3")
"""Convolutions whose halves read the same inputs: on one engine they can be one layer with all outputs."""


# ---------------------------------------------------------------- engines of Tm x Tn multipliers (FPGA'15, ISCA'17)


@dataclass(frozen=True)
class Engine:
    """`tm` output channels by `tn` input channels at once, pixels one after the other."""

    tm: int
    tn: int

    def __post_init__(self) -> None:
        if min(self.tm, self.tn) < 1:
            raise UserError(f"engine: {self.tm} x {self.tn} multipliers; both sizes must be at least 1")

    @property
    def multipliers(self) -> int:
        return self.tm * self.tn

    def cycles(self, layer: Convolution, fill: int = 0) -> int:
        """Compute cycles of a layer; `fill`: cycles of the pipeline's depth, paid once per tile of channels."""
        tiles = ceil(layer.out_channels / self.tm) * ceil(layer.in_channels / self.tn)
        return tiles * (layer.rows * layer.cols * layer.kernel**2 + fill)


@dataclass(frozen=True)
class Partition:
    """Engines that work at the same time on different images, and the halves of layers on each."""

    name: str
    engines: tuple[Engine, ...]
    layers: tuple[tuple[str, ...], ...]
    """Names of `ALEXNET_HALF` per engine; a name stands once per half."""
    kilocycles: tuple[int, ...]
    """Of each engine per image, as the paper prints them: rounded to thousands."""

    @property
    def multipliers(self) -> int:
        return sum(engine.multipliers for engine in self.engines)

    @property
    def engine_cycles(self) -> tuple[int, ...]:
        """Cycles of each engine per image, recomputed."""
        shapes = {layer.name: layer for layer in ALEXNET_HALF}
        pairs = zip(self.engines, self.layers, strict=True)
        return tuple(sum(engine.cycles(shapes[name]) for name in names) for engine, names in pairs)

    @property
    def interval(self) -> int:
        """Cycles between images: those of the slowest engine."""
        return max(self.engine_cycles)

    @property
    def utilisation(self) -> float:
        """Share of multipliers times cycles that multiply."""
        return HALVES * sum(layer.macs for layer in ALEXNET_HALF) / (self.multipliers * self.interval)


def _both(*names: str) -> tuple[str, ...]:
    return tuple(name for name in names for _ in range(HALVES))


FPGA15 = Engine(64, 7)
"""Zhang et al., FPGA'15: the one engine for all layers of AlexNet on a Virtex-7 485T."""
FPGA15_FILL = 20
"""Depth of the pipeline that reproduces the paper's total exactly; inferred. conv1, a single tile, has none in it."""
FPGA15_FIGURES = (
    Figure("cycles of one half, all five layers", 1_008_246, "cycle", "paper"),
    Figure("both halves, measured at 100 MHz", 21.61, "ms", "paper"),
    Figure("throughput, measured", 61.62, "GFLOPS", "paper"),
    Figure("depth of the pipeline", FPGA15_FILL, "cycle", "assumed"),
)

_ALL = _both("conv1", "conv2", "conv3", "conv4", "conv5")
ISCA17 = (
    Partition("Single-CLP 485T", (Engine(64, 7),), (_ALL,), (2006,)),
    Partition("Single-CLP 690T", (Engine(64, 9),), (_ALL,), (1769,)),
    Partition(
        "Multi-CLP 485T",
        (Engine(64, 2), Engine(96, 1), Engine(24, 3), Engine(19, 8)),
        (_both("conv5", "conv4"), _both("conv3"), _both("conv1"), _both("conv2")),
        (1460, 1558, 1464, 1531),
    ),
    Partition(
        "Multi-CLP 690T",
        (Engine(64, 1), Engine(96, 1), Engine(64, 2), Engine(48, 1), Engine(48, 1), Engine(64, 3)),
        (_both("conv5"), _both("conv4"), _both("conv3"), ("conv1",), ("conv1",), _both("conv2")),
        (1168, 1168, 1168, 1098, 1098, 1166),
    ),
)
"""Shen, Ferdman, Milder, ISCA'17: AlexNet in single precision on two Virtex-7, one engine and several."""


def best_partition(multipliers: int) -> Partition:
    """The paper's partition for so many multipliers with the fewest cycles. UserError if it has none."""
    fitting = [partition for partition in ISCA17 if partition.multipliers == multipliers]
    if not fitting:
        known = ", ".join(str(n) for n in sorted({partition.multipliers for partition in ISCA17}))
        raise UserError(f"no published partition has {multipliers} multipliers; known: {known}")
    return min(fitting, key=lambda partition: partition.interval)


# ---------------------------------------------------------------- a pipeline with a stage per layer (DNNBuilder)


@dataclass(frozen=True)
class Stage:
    """A layer's own engine: `cpf` input channels by `kpf` output channels at once."""

    layer: Convolution
    groups: int
    cpf: int
    kpf: int

    @property
    def multipliers(self) -> int:
        return self.cpf * self.kpf

    @property
    def cycles(self) -> int:
        """Per image; the groups of a layer follow each other."""
        return self.groups * Engine(self.kpf, self.cpf).cycles(self.layer)


def _fully_connected(name: str, inputs: int, outputs: int, kernel: int = 1) -> tuple[Convolution, int]:
    return Convolution(name, inputs, outputs, 1, 1, kernel), 1


def _vgg() -> tuple[tuple[Convolution, int], ...]:
    layers, before, size = [], 3, 224
    for stage, (channels, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for index in range(1, count + 1):
            layers.append((Convolution(f"conv{stage}_{index}", before, channels, size, size, 3), 1))
            before = channels
        size //= 2
    classifier = _fully_connected("fc6", 512, 4096, 7), _fully_connected("fc7", 4096, 4096)
    return (*layers, *classifier, _fully_connected("fc8", 4096, 1000))


DNNBUILDER_NETWORKS: dict[str, tuple[tuple[Convolution, int], ...]] = {
    "AlexNet": (
        (Convolution("conv1", 3, 96, 55, 55, 11), 1),
        (Convolution("conv2", 48, 128, 27, 27, 5), 2),
        (Convolution("conv3", 256, 384, 13, 13, 3), 1),
        (Convolution("conv4", 192, 192, 13, 13, 3), 2),
        (Convolution("conv5", 192, 128, 13, 13, 3), 2),
        _fully_connected("fc6", 256, 4096, 6),
        _fully_connected("fc7", 4096, 4096),
        _fully_connected("fc8", 4096, 1000),
    ),
    "VGG-16": _vgg(),
}
"""Layers with their groups."""
DNNBUILDER_MULTIPLIERS = {"AlexNet": 808, "VGG-16": 680}
DNNBUILDER_MHZ = 200
DNNBUILDER_FIGURES = (
    Figure("AlexNet on ZC706, 16 bit, 808 DSP", 247, "GOPS", "paper"),
    Figure("VGG-16 on ZC706, 16 bit, 680 DSP", 262, "GOPS", "paper"),
)


def stages(
    network: Sequence[tuple[Convolution, int]], multipliers: int, powers_of_two: bool = False
) -> tuple[Stage, ...]:
    """The allocation of parallelism with the fewest cycles per image, and of these with the fewest multipliers.

    Exact: each stage takes its cheapest sizes that meet an interval, and the least interval that fits is found among
    all that any stage can have. The paper does not print its allocations; this one is ours in its space. UserError if
    there are fewer multipliers than layers.
    """
    options = [_stage_options(layer, groups, multipliers, powers_of_two) for layer, groups in network]
    intervals = sorted({stage.cycles for row in options for stage in row})
    low, high = 0, len(intervals)
    while low < high:
        middle = (low + high) // 2
        if _allocated(options, intervals[middle], multipliers) is None:
            low = middle + 1
        else:
            high = middle
    found = _allocated(options, intervals[low], multipliers) if low < len(intervals) else None
    if found is None:
        raise UserError(f"{multipliers} multipliers are too few for {len(network)} stages")
    return found


def _stage_options(layer: Convolution, groups: int, most: int, powers_of_two: bool) -> list[Stage]:
    """Stages of a layer that are not worse than a smaller one, fewest multipliers first.

    Of a size only its smallest value per number of passes counts; the image's channels go at once if any of them do.
    """
    if powers_of_two:
        cpfs = _powers(layer.in_channels) if layer.in_channels % 2 == 0 else [1, layer.in_channels]
        kpfs = _powers(layer.out_channels)
    else:
        cpfs = sorted({ceil(layer.in_channels / n) for n in range(1, layer.in_channels + 1)})
        kpfs = sorted({ceil(layer.out_channels / n) for n in range(1, layer.out_channels + 1)})
    every = [Stage(layer, groups, cpf, kpf) for cpf in cpfs for kpf in kpfs if cpf * kpf <= most]
    kept: list[Stage] = []
    for stage in sorted(every, key=lambda each: (each.multipliers, each.cycles)):
        if not kept or stage.cycles < kept[-1].cycles:
            kept.append(stage)
    return kept


def _powers(limit: int) -> list[int]:
    return [1 << n for n in range(limit.bit_length()) if 1 << n <= limit]


def _allocated(options: Sequence[Sequence[Stage]], interval: int, multipliers: int) -> tuple[Stage, ...] | None:
    """Each layer's smallest stage that meets the interval; None if one has none or all together are too large."""
    chosen = [next((stage for stage in row if stage.cycles <= interval), None) for row in options]
    taken = tuple(stage for stage in chosen if stage is not None)
    fits = len(taken) == len(chosen) and sum(stage.multipliers for stage in taken) <= multipliers
    return taken if fits else None


def gops(chosen: Sequence[Stage], mhz: float = DNNBUILDER_MHZ) -> float:
    """Billions of operations per second of a pipeline of stages, a multiplication and an addition being two."""
    macs = sum(stage.groups * stage.layer.macs for stage in chosen)
    return 2 * macs * mhz * 1e6 / max(stage.cycles for stage in chosen) / 1e9


# ---------------------------------------------------------------- systolic arrays (SCALE-Sim, TPU)


@dataclass(frozen=True)
class Systolic:
    """`rows x cols` cells that hand operands to their neighbours; a convolution is one product of matrices."""

    rows: int
    cols: int
    stationary: Literal["output", "weight"]

    @property
    def multipliers(self) -> int:
        return self.rows * self.cols

    def cycles(self, layer: Convolution, drained: bool = True) -> int:
        """The equation of SCALE-Sim (ISPASS'20): folds of the array times its fill, its stream, its drain.

        `drained=False`: the outputs of an output-stationary fold leave while the next one fills, as the released
        program counts them.
        """
        pixels, reduced = layer.rows * layer.cols, layer.in_channels * layer.kernel**2
        if self.stationary == "output":
            folds = ceil(pixels / self.rows) * ceil(layer.out_channels / self.cols)
            return folds * ((2 if drained else 1) * self.rows + self.cols + reduced - 2)
        folds = ceil(reduced / self.rows) * ceil(layer.out_channels / self.cols)
        return folds * (2 * self.rows + self.cols + pixels - 2)


TPU = Systolic(256, 256, "weight")
"""Jouppi et al., ISCA'17: the matrix unit of the first TPU."""
TPU_MHZ = 700
SYSTOLIC_FIGURES = (Figure("peak of the TPU, 8 bit", 92, "TOPS", "paper"),)


# ---------------------------------------------------------------- row-stationary (Eyeriss)


@dataclass(frozen=True)
class RowStationary:
    """One line of Eyeriss' table of mappings (JSSC'17), for one layer with all its groups.

    An ifmap row, a filter row and a row of partial sums meet in each of `kernel * e * r * t` cells. A pass runs `p`
    filters and `q` channels in each cell, one after the other; `r` channels and `t` sets of filters side by side.
    """

    layer: Convolution
    groups: int
    e: int
    p: int
    q: int
    r: int
    t: int
    latency_ms: float
    """Printed: processing latency of a batch of `EYERISS_BATCH` at `EYERISS_MHZ`."""
    active: int
    """Printed: cells that work."""

    @property
    def cells(self) -> int:
        return self.layer.kernel * self.e * self.r * self.t

    @property
    def cycles(self) -> int:
        """Cycles of an image in which cells multiply: passes times p * q * kernel * columns.

        Strips of `e` rows that are not full count as full. What the chip takes more is the start of each pass.
        """
        filters = ceil(self.groups * self.layer.out_channels / (self.p * self.t))
        passes = filters * ceil(self.layer.rows / self.e) * ceil(self.layer.in_channels / (self.q * self.r))
        return passes * self.p * self.q * self.layer.kernel * self.layer.cols

    @property
    def printed_cycles(self) -> float:
        """Cycles of an image by the printed latency."""
        return self.latency_ms * EYERISS_MHZ * 1e3 / EYERISS_BATCH


EYERISS_CELLS = 168
EYERISS_MHZ = 200
EYERISS_BATCH = 4
EYERISS = (
    RowStationary(Convolution("conv1", 3, 96, 55, 55, 11), 1, 7, 16, 1, 1, 2, 16.5, 154),
    RowStationary(ALEXNET_HALF[1], 2, 27, 16, 2, 1, 1, 39.2, 135),
    RowStationary(Convolution("conv3", 256, 384, 13, 13, 3), 1, 13, 16, 4, 1, 4, 21.8, 156),
    RowStationary(ALEXNET_HALF[3], 2, 13, 16, 3, 2, 2, 16.0, 156),
    RowStationary(ALEXNET_HALF[4], 2, 13, 16, 3, 2, 2, 10.0, 156),
)
"""Chen et al., JSSC'17: the convolutions of AlexNet on 168 cells."""
EYERISS_FIGURES = (
    Figure("processing latency of all layers, batch of 4", 103.5, "ms", "paper"),
    Figure("total latency, batch of 4", 115.3, "ms", "paper"),
)
