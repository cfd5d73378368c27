"""What a search is to reach on a board: the fastest accelerator, or the least hardware that is fast enough."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dna.accelerator.board import Board
from dna.cost.resources import Resources
from dna.errors import UserError
from dna.search.problem import PENALTY, Evaluation

CONSTRAINED = ("dsp", "bram36", "lut", "ff")
WEIGHTED = ("dsp", "bram36", "lut")
"""Resources that "least hardware" counts, each as a fraction of the board's, in equal parts."""


@dataclass(frozen=True)
class Fastest:
    """Fewest cycles per frame; the cost is in cycles."""

    def evaluate(self, cycles: Tensor, unmapped: Tensor, used: Resources, board: Board) -> Evaluation:
        """Price N designs: `cycles` int64 `(N,)`; `unmapped` `(N,)`: layers that fit no tile in the buffers."""
        names, ratios = _board_ratios(used, unmapped, board)
        return Evaluation(cycles.double(), ratios, names)

    def cycles_score(self, cycles: Tensor, board: Board) -> Tensor:
        """The part of an `Evaluation`'s score that depends on the cycles, float64 like them."""
        return cycles.double().log()


@dataclass(frozen=True)
class LeastHardware:
    """Smallest weighted fraction of the board that reaches a frame rate; the cost is that fraction, in percent."""

    frames_per_second: float

    def __post_init__(self) -> None:
        if not self.frames_per_second > 0:
            raise UserError(f"goal: {self.frames_per_second} frames per second; it must be above 0")

    def cycles(self, board: Board) -> float:
        """Most cycles a frame may take."""
        return board.cycles_per_second / self.frames_per_second

    def evaluate(self, cycles: Tensor, unmapped: Tensor, used: Resources, board: Board) -> Evaluation:
        """As `Fastest.evaluate`."""
        names, ratios = _board_ratios(used, unmapped, board)
        rate = (cycles.double() / self.cycles(board))[:, None]
        return Evaluation(hardware_share(used, board), torch.cat([rate, ratios], dim=1), ("frame rate", *names))

    def cycles_score(self, cycles: Tensor, board: Board) -> Tensor:
        """As `Fastest.cycles_score`."""
        return PENALTY * (cycles.double() / self.cycles(board)).clamp(min=1).log()


Goal = Fastest | LeastHardware


def hardware_share(used: Resources, board: Board) -> Tensor:
    """Mean of the DSP, BRAM and LUT fractions of the board, in percent, float64 `(N,)`."""
    fractions = [torch.as_tensor(getattr(used, n)).double() / getattr(board, n) for n in WEIGHTED]
    return 100 * torch.stack(fractions).mean(dim=0)


def _board_ratios(used: Resources, unmapped: Tensor, board: Board) -> tuple[tuple[str, ...], Tensor]:
    """Use over limit of the board's resources, and 1 + the layers that fit no tile."""
    columns = [torch.as_tensor(getattr(used, n)).double() / getattr(board, n) for n in CONSTRAINED]
    return (*CONSTRAINED, "buffers"), torch.stack([*columns, 1.0 + unmapped.double()], dim=1)
