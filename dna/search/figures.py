"""What a batch of accelerators costs, and the figures by which people compare them: units, names, best direction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dna.accelerator.board import Board
from dna.cost.resources import Resources
from dna.errors import UserError

WEIGHTED = ("dsp", "bram36", "lut")
"""Resources that "least hardware" counts on an FPGA, each as a fraction of the board's, in equal parts."""


@dataclass(frozen=True)
class Costs:
    """What N accelerators running a network take; tensors `(N,)`, float64 wherever gradients matter.

    What is None was not priced: a goal that asks for it raises ValueError. `Goal.needs` says what a goal asks for.
    """

    interval: Tensor
    """Cycles from frame to frame in steady state."""
    latency: Tensor
    """Cycles of a frame that has the accelerator for itself."""
    resources: Resources
    """Of all chunks and links together, as an FPGA counts them."""
    unmapped: Tensor
    """Layers that fit no tile in the buffers: the accelerator cannot run the network."""
    bandwidth: Tensor | None = None
    """Bytes per cycle and direction that all memory ports may move together (sum of width / share)."""
    buffer_kb: Tensor | None = None
    """On-chip memory, all of it, in units of 1024 bytes."""
    energy_pj: Tensor | None = None
    """Of one frame."""
    area_mm2: Tensor | None = None
    chunk_cycles: Tensor | None = None
    """Cycles per frame of each chunk, float64 `(N, K)`, 0 for none: the interval is the largest. Guides searches."""


def column(value: Any, like: Tensor) -> Tensor:
    """A number or tensor as float64 `(N,)`; differentiable where it is a float tensor."""
    return torch.as_tensor(value).double().expand(like.shape)


def hardware_share(used: Resources, board: Board) -> Tensor:
    """Mean of the DSP, BRAM and LUT fractions of the board, in percent, float64 `(N,)`."""
    fractions = [torch.as_tensor(getattr(used, n)).double() / getattr(board, n) for n in WEIGHTED]
    return 100 * torch.stack(fractions).mean(dim=0)


def _given(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise ValueError(f"{name} was not priced")
    return value


def _energy_mj(costs: Costs, board: Board) -> Tensor:
    return _given(costs.energy_pj, "energy").double() * 1e-9


def _latency_ms(costs: Costs, board: Board) -> Tensor:
    return costs.latency.double() * (1e3 / board.cycles_per_second)


def _hardware(costs: Costs, board: Board) -> Tensor:
    if board.technology is None:
        return hardware_share(costs.resources, board).expand(costs.interval.shape)
    return 100 * _given(costs.area_mm2, "area").double() / board.area_mm2


def _resource(name: str) -> Callable[[Costs, Board], Tensor]:
    return lambda costs, board: column(getattr(costs.resources, name), costs.interval)


@dataclass(frozen=True)
class Figure:
    """One figure of an accelerator: how it is taken from `Costs`, what it is called, and its units."""

    label: str
    """For people."""
    unit: str
    of: Callable[[Costs, Board], Tensor]
    units: Mapping[str, float]
    """Units that a request may be written in, in lower case, and what each is worth in `unit`."""
    needs: frozenset[str] = frozenset()
    """Parts of `Costs` that must be priced for it: energy, area, bandwidth, buffer_kb."""
    highest: bool = False
    """Whether more is better."""
    only: str = ""
    """`fpga` or `asic` where only such boards have it."""


FIGURES: dict[str, Figure] = {
    "fps": Figure(
        "frame rate",
        "frames/s",
        lambda costs, board: board.cycles_per_second / costs.interval.double(),
        {"fps": 1, "frames/s": 1},
        highest=True,
    ),
    "latency": Figure("latency", "ms", _latency_ms, {"ms": 1, "us": 1e-3, "µs": 1e-3, "s": 1e3}),
    "energy": Figure(
        "energy",
        "mJ",
        _energy_mj,
        {"mj": 1, "uj": 1e-3, "µj": 1e-3, "nj": 1e-6, "j": 1e3},
        frozenset({"energy"}),
        only="asic",
    ),
    "edp": Figure(
        "energy-delay product",
        "mJ·ms",
        lambda costs, board: _energy_mj(costs, board) * _latency_ms(costs, board),
        {"mj·ms": 1, "mj*ms": 1, "mjms": 1},
        frozenset({"energy"}),
        only="asic",
    ),
    "area": Figure(
        "area",
        "mm²",
        lambda costs, board: _given(costs.area_mm2, "area").double(),
        {"mm2": 1, "mm²": 1},
        frozenset({"area"}),
        only="asic",
    ),
    "hardware": Figure("share of the board", "%", _hardware, {"%": 1}),
    "dsp": Figure("dsp", "", _resource("dsp"), {}, only="fpga"),
    "bram36": Figure("bram36", "", _resource("bram36"), {}, only="fpga"),
    "lut": Figure("lut", "", _resource("lut"), {}, only="fpga"),
    "ff": Figure("ff", "", _resource("ff"), {}, only="fpga"),
    "buffer": Figure(
        "on-chip memory",
        "kB",
        lambda costs, board: _given(costs.buffer_kb, "on-chip memory").double(),
        {"kb": 1, "kib": 1, "mb": 1024, "mib": 1024},
        frozenset({"buffer_kb"}),
    ),
    "bandwidth": Figure(
        "bandwidth",
        "GB/s",
        lambda costs, board: _given(costs.bandwidth, "bandwidth").double() * (board.cycles_per_second * 1e-9),
        {"gb/s": 1, "mb/s": 1e-3},
        frozenset({"bandwidth"}),
    ),
}
"""By the name that a request uses."""

ALIASES = {"latency_ms": "latency", "energy_mj": "energy", "area_mm2": "area", "buffer_kb": "buffer", "bram": "bram36"}


def figure_name(text: str, what: str) -> str:
    """The key of `FIGURES` that `text` means. UserError names `what` and all that there is."""
    name = ALIASES.get(text.strip().lower(), text.strip().lower())
    if name not in FIGURES:
        raise UserError(f"{what} is '{text}'; known: {', '.join(FIGURES)}")
    return name


def check_figure(name: str, what: str, board: Board) -> None:
    """UserError if a board of this kind has no such figure."""
    figure = FIGURES[name]
    if figure.only == "asic" and board.technology is None:
        raise UserError(
            f"{what}: board '{board.name}' has no {figure.label} figures, as no vendor publishes them;"
            " choose an ASIC board, for example asic-45nm"
        )
    if figure.only == "fpga" and board.technology is not None:
        raise UserError(f"{what}: board '{board.name}' is an ASIC and has no {figure.label}; limit area or buffer")


def figures(costs: Costs, board: Board) -> dict[str, Tensor]:
    """Every figure that was priced and that the board has, float64 `(N,)`, in the units of `FIGURES`."""
    priced = {
        "energy": costs.energy_pj is not None,
        "area": costs.area_mm2 is not None,
        "bandwidth": costs.bandwidth is not None,
        "buffer_kb": costs.buffer_kb is not None,
    }
    kind = "fpga" if board.technology is None else "asic"
    result = {}
    for name, figure in FIGURES.items():
        needs = figure.needs | ({"area"} if name == "hardware" and kind == "asic" else frozenset())
        if figure.only in ("", kind) and all(priced[need] for need in needs):
            result[name] = figure.of(costs, board)
    return result
