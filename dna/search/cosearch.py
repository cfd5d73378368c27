"""The joint search: supernet weights, network choice and accelerator take turns, each at the others' present state.

    weights      one step of a sampled path on the weight half of the training images
    accelerator  one counterfactual step of its logits at the cost of a sampled network
    choice       one step of alpha on the other half: task loss, plus the price of every operator with the
                 accelerator solved again in its place

Everything random comes from one generator: same seed and thread count, same result.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from dna.accelerator.board import Board
from dna.accelerator.chunk import Chunk
from dna.quantize.float_network import FloatNetwork
from dna.search import counterfactual
from dna.search.accelerator import AcceleratorProblem, LayerTables
from dna.search.exchange import improve
from dna.search.goal import Goal
from dna.search.pricing import OperatorPrices, operator_prices
from dna.search.problem import Budget, Ledger
from dna.search.space import Space
from dna.supernet.checkpoint import Stateful, load_checkpoint, save_checkpoint
from dna.supernet.dataset import Dataset, Images, as_float_bytes
from dna.supernet.space import Space as NetworkSpace
from dna.supernet.supernet import Supernet
from dna.supernet.training import Estimator, alpha_step, anneal, batches, weight_step


@dataclass(frozen=True)
class CosearchSettings:
    """How long and how hard; the defaults suit small images and take about a minute on two cores."""

    warmup_epochs: int = 20
    """Epochs of weights alone, operators drawn evenly."""
    search_epochs: int = 20
    batch_size: int = 64
    alpha_steps: int = 3
    """Steps of accelerator and choice per epoch of the search."""
    weight_rate: float = 6e-3
    weight_decay: float = 2e-2
    alpha_rate: float = 0.1
    cost_weight: float = 0.15
    """Loss that one unit of log-cost is worth."""
    entropy_weight: float = 0.02
    """Falls to 0 over the search."""
    tau: tuple[float, float] = (3.0, 0.5)
    """Temperature of the Gumbel-softmax, at the start and at the end."""
    accelerator_rate: float = 0.7
    accelerator_temperature: float = 0.3
    """Weight of the accelerator's entropy; falls to 0 over the search."""
    estimator: Estimator = "counterfactual"
    checkpoint_epochs: int = 10

    @property
    def epochs(self) -> int:
        return self.warmup_epochs + self.search_epochs

    def scaled(self, factor: float) -> CosearchSettings:
        """The same search with `factor` times the epochs, at least 2 of each kind."""
        warmup, search = (max(2, round(factor * n)) for n in (self.warmup_epochs, self.search_epochs))
        return replace(self, warmup_epochs=warmup, search_epochs=search)


@dataclass(frozen=True)
class CosearchProgress:
    """One finished epoch."""

    stage: str
    """`warmup` or `search`."""
    epoch: int
    epochs: int
    loss: float
    """Mean training loss of the sampled paths."""
    price: float
    """Cost of the last sampled network on its solved accelerator, in the goal's unit; 0 in the warm-up."""
    entropy: float
    """Of the network's choice, in nats per block."""


@dataclass(frozen=True, eq=False)
class Cosearched:
    """The chosen network, its float model with the supernet's weights, and the accelerator found along with it."""

    choice: tuple[int, ...]
    names: tuple[str, ...]
    model: FloatNetwork
    chunk: Chunk
    cost: float
    """Of `chunk` for this network, in the goal's unit, by the closed form."""
    feasible: bool
    probabilities: Tensor
    """Of the operators, `(blocks, operators)`."""
    history: tuple[CosearchProgress, ...]
    evaluations: int
    """Accelerators priced, every alternative and every pooled accelerator counted."""
    seconds: float


def cosearch(
    data: Dataset,
    space: NetworkSpace,
    board: Board,
    goal: Goal,
    seed: int = 0,
    settings: CosearchSettings | None = None,
    progress: Callable[[CosearchProgress], None] | None = None,
    checkpoint: Path | None = None,
) -> Cosearched:
    """Search network and accelerator together. With `checkpoint`, saves itself there and goes on from there."""
    loop = _Loop(data, space, board, goal, seed, settings or CosearchSettings(), checkpoint)
    loop.run(progress)
    return loop.result()


class _Loop:
    """The state of one co-search."""

    def __init__(
        self,
        data: Dataset,
        space: NetworkSpace,
        board: Board,
        goal: Goal,
        seed: int,
        settings: CosearchSettings,
        checkpoint: Path | None,
    ) -> None:
        self.started = time.perf_counter()
        self.data, self.settings, self.checkpoint = data, settings, checkpoint
        self.generator = torch.Generator().manual_seed(seed)
        self.net = Supernet(space, data.input_scale, self.generator)
        self.weights_half, self.choice_half = data.halves(self.generator)
        rate, decay = settings.weight_rate, settings.weight_decay
        self.weight_optimiser = torch.optim.AdamW(self.net.weight_parameters(), lr=rate, weight_decay=decay)
        self.alpha_optimiser = torch.optim.Adam([self.net.alpha], lr=settings.alpha_rate, betas=(0.5, 0.999))
        self.pricer: OperatorPrices = operator_prices(space, board, goal, seed)
        self.accelerators = _narrowed(self.pricer)
        self.tables = LayerTables(self.accelerators, board.memory)
        self.logits = [torch.zeros(1, width, dtype=torch.float64) for width in self.accelerators.widths]
        self.evaluations = 0
        self.epoch = 0
        self.history: list[CosearchProgress] = []
        if checkpoint is not None and checkpoint.exists():
            self._resume(checkpoint)

    def run(self, progress: Callable[[CosearchProgress], None] | None) -> None:
        while self.epoch < self.settings.epochs:
            loss, price = self._epoch()
            self.epoch += 1
            done = self._progress(loss, price)
            self.history.append(done)
            if progress is not None:
                progress(done)
            if self.checkpoint is not None and self.epoch % self.settings.checkpoint_epochs == 0:
                self._save(self.checkpoint)

    def result(self) -> Cosearched:
        choice = self.net.best_choice()
        found = self._problem(choice)
        ledger = Ledger(found, Budget())
        design = counterfactual.mode(found.space, self.logits, 0, self.generator)
        improve(ledger, design, counterfactual.Settings().pairs, self.generator)
        result = ledger.result("counterfactual")
        return Cosearched(
            choice=choice,
            names=self.net.space.names(choice),
            model=self.net.derive(choice, self.generator),
            chunk=found.space.chunk(result.design),
            cost=result.cost,
            feasible=result.feasible,
            probabilities=self.net.probabilities.detach().clone(),
            history=tuple(self.history),
            evaluations=self.evaluations + result.evaluations,
            seconds=time.perf_counter() - self.started,
        )

    @property
    def _searched(self) -> float:
        """How far the search is, 0 to 1; 0 in the warm-up."""
        return max(0, self.epoch - self.settings.warmup_epochs) / max(1, self.settings.search_epochs)

    def _epoch(self) -> tuple[float, float]:
        """One epoch of weights, with the other steps spread over it; mean loss and last price."""
        settings = self.settings
        warmup = self.epoch < settings.warmup_epochs
        tau = anneal(*settings.tau, self._searched)
        for group in self.weight_optimiser.param_groups:
            group["lr"] = settings.weight_rate * 0.5 * (1 + math.cos(math.pi * self.epoch / settings.epochs))
        turns = list(batches(len(self.weights_half), settings.batch_size, self.generator))
        due = {len(turns) * (n + 1) // settings.alpha_steps - 1 for n in range(settings.alpha_steps)}
        losses, price = [], 0.0
        self.net.train()
        for number, indices in enumerate(turns):
            images = self.weights_half.subset(indices)
            x = self.data.augmented(images, self.generator)
            step = weight_step(self.net, self.weight_optimiser, x, images.labels, self.generator, tau, warmup)
            losses.append(step)
            if not warmup and number in due:
                price = self._architecture_step(tau)
        return sum(losses) / len(losses), price

    def _architecture_step(self, tau: float) -> float:
        """The accelerator's step, then the choice's; returns the sampled network's price."""
        sampled = tuple(self.net.sample(self.generator, tau).detach().argmax(1).tolist())
        ledger = Ledger(self._problem(sampled), Budget())
        temperature = self.settings.accelerator_temperature * (1 - self._searched)
        counterfactual.step(ledger, self.logits, self.settings.accelerator_rate, temperature, self.generator)
        images = self._choice_batch()
        taken = alpha_step(
            self.net,
            self.alpha_optimiser,
            as_float_bytes(images),
            images.labels,
            self.generator,
            tau,
            cost=self.pricer.prices,
            cost_weight=self.settings.cost_weight,
            estimator=self.settings.estimator,
            entropy_weight=self.settings.entropy_weight * (1 - self._searched),
        )
        self.evaluations += ledger.evaluations + self.pricer.operators.numel()
        return taken.cost

    def _choice_batch(self) -> Images:
        indices = torch.randperm(len(self.choice_half), generator=self.generator)[: self.settings.batch_size]
        return self.choice_half.subset(indices)

    def _problem(self, choice: tuple[int, ...]) -> AcceleratorProblem:
        """The accelerator problem of a network over the narrowed space, with its own tables."""
        return replace(
            self.pricer.problem,
            layers=self.net.network(choice).layers,
            space=self.accelerators,
            tables=self.tables,
        )

    def _progress(self, loss: float, price: float) -> CosearchProgress:
        probabilities = self.net.probabilities.detach()
        entropy = -(probabilities * probabilities.clamp(min=1e-12).log()).sum(1).mean()
        stage = "warmup" if self.epoch <= self.settings.warmup_epochs else "search"
        return CosearchProgress(stage, self.epoch, self.settings.epochs, loss, price, float(entropy))

    def _parts(self) -> dict[str, Stateful]:
        return {"net": self.net, "weights": self.weight_optimiser, "alpha": self.alpha_optimiser}

    def _save(self, path: Path) -> None:
        history = [[p.stage, p.epoch, p.epochs, p.loss, p.price, p.entropy] for p in self.history]
        extra = {"logits": self.logits, "history": history, "evaluations": self.evaluations}
        save_checkpoint(path, self._parts(), self.generator, self.epoch, extra)

    def _resume(self, path: Path) -> None:
        self.epoch, extra = load_checkpoint(path, self._parts(), self.generator)
        self.logits, self.evaluations = extra["logits"], extra["evaluations"]
        self.history = [CosearchProgress(*row) for row in extra["history"]]


def _narrowed(pricer: OperatorPrices) -> Space:
    """The accelerator space cut to the values that occur in the pool."""
    values = pricer.problem.space.values(pricer.designs)
    return pricer.problem.space.limit(**{name: tuple(v.unique().tolist()) for name, v in values.items()})
