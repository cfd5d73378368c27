"""The supernet: every network of a space in one module, and the parameters that choose among them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dna.network.layer import Layer
from dna.network.network import Network
from dna.quantize.float_network import FloatNetwork, Unit
from dna.supernet.space import Space, block_layers, space_network, stem_layer, tail_layers


class Candidate(nn.Module):
    """One operator of one block: its units in order; the last adds the block's input where the layer says so."""

    def __init__(self, layers: Sequence[Layer], generator: torch.Generator) -> None:
        super().__init__()
        self.units = nn.ModuleList(Unit(layer, generator, track=False) for layer in layers)
        self.adds_input = bool(layers) and layers[-1].residual is not None

    def forward(self, x_NCHW: Tensor) -> Tensor:
        y = x_NCHW
        for index, unit in enumerate(self.units):
            last = index == len(self.units) - 1
            y = unit(y, x_NCHW if last and self.adds_input else None)
        return y


class Supernet(nn.Module):
    """All candidate operators with shared stem and tail. `alpha` [blocks][operators] are the logits of the choice.

    Impossible operators (skip where the shape changes) have logit minus infinity and are never drawn.
    """

    mask: Tensor

    def __init__(self, space: Space, input_scale: float, generator: torch.Generator) -> None:
        super().__init__()
        self.space, self.input_scale = space, input_scale
        operators = space.operators
        stem = stem_layer(space)
        self.stem = Unit(stem, generator, track=False)
        self.blocks = nn.ModuleList()
        shape, possible = stem, torch.ones(len(space.blocks), len(operators), dtype=torch.bool)
        for index, block in enumerate(space.blocks):
            candidates = [block_layers(index, block, operator, shape) for operator in operators]
            possible[index, -1] = space.can_skip(index)
            self.blocks.append(_aligned([Candidate(layers, generator) for layers in candidates]))
            shape = candidates[0][-1]
        self.tail = nn.ModuleList(Unit(layer, generator, track=False) for layer in tail_layers(space, shape))
        self.alpha = nn.Parameter(torch.zeros(len(space.blocks), len(operators)))
        self.register_buffer("mask", possible)

    @property
    def logits(self) -> Tensor:
        """`alpha` with impossible operators at minus infinity."""
        return self.alpha.masked_fill(~self.mask, -torch.inf)

    @property
    def probabilities(self) -> Tensor:
        """[blocks][operators], rows sum to 1."""
        return torch.softmax(self.logits, dim=1)

    def weight_parameters(self) -> list[nn.Parameter]:
        """All parameters but `alpha`."""
        return [parameter for name, parameter in self.named_parameters() if name != "alpha"]

    def sample(self, generator: torch.Generator, tau: float) -> Tensor:
        """Straight-through Gumbel-softmax gates [blocks][operators]: one-hot, with the gradient of the soft sample."""
        noise = -torch.log(-torch.log(torch.rand(self.alpha.shape, generator=generator).clamp(1e-20, 1 - 1e-7)))
        return straight_through(self.logits + noise, tau)

    def sample_uniform(self, generator: torch.Generator) -> Tensor:
        """One-hot gates drawn evenly among the possible operators, without gradient: fair training of all weights."""
        index = torch.multinomial(self.mask.float(), 1, generator=generator)
        return torch.zeros_like(self.alpha).scatter(1, index, 1.0).detach()

    def gates(self, choice: Sequence[int]) -> Tensor:
        """One-hot gates of a choice."""
        index = torch.tensor(self.space.checked(choice))
        return nn.functional.one_hot(index, self.alpha.shape[1]).float()

    def best_choice(self) -> tuple[int, ...]:
        """The most probable operator of every block."""
        return tuple(self.logits.argmax(1).tolist())

    def forward(self, bytes_NCHW: Tensor, gates: Tensor, all_paths: bool = False) -> Tensor:
        """Logits [frames][classes] of the sampled network.

        Only the sampled path is computed with gradients for its weights. With `all_paths` the other operators are
        evaluated too, without gradients for weights, so that every gate receives its gradient (multi-path
        backward); without it, only the sampled gates receive one.
        """
        x = self.stem(bytes_NCHW * self.input_scale)
        for block, gate, possible in zip(self.blocks, gates, self.mask, strict=True):
            assert isinstance(block, nn.ModuleList)
            x = _gated(block, x, gate, possible if all_paths else torch.zeros_like(possible))
        for unit in self.tail:
            x = unit(x)
        return x.flatten(1)

    def network(self, choice: Sequence[int], name: str = "network") -> Network:
        """The integer layers of the chosen network, as the accelerator will run them."""
        return space_network(self.space, choice, name)

    @torch.no_grad()
    def derive(self, choice: Sequence[int], generator: torch.Generator, name: str = "network") -> FloatNetwork:
        """The chosen network as a float model of its own that starts from the supernet's weights.

        Its running statistics are new: train it, or let it see some batches, before evaluating it.
        """
        model = FloatNetwork(self.network(choice, name), self.input_scale, generator)
        trained: list[Unit] = [self.stem]
        for block, index in zip(self.blocks, choice, strict=True):
            trained += block[index].units  # type: ignore[index,union-attr]
        for unit in (*trained, *self.tail):
            assert isinstance(unit, Unit)
            model.units[unit.layer.name].load_state_dict(unit.state_dict(), strict=False)
        return model


_VARIATION = 0.3
"""Share of each candidate's own random weights beside the function that all of them start from."""
_RESIDUAL_GAIN = 0.1


@torch.no_grad()
def _aligned(candidates: list[Candidate]) -> nn.ModuleList:
    """Candidates that start as nearly one function, so that what follows need not care which of them is drawn.

    Expansion copies its input channels, depthwise passes the centre, and all projections are repetitions of one
    matrix; where a block adds its input, it starts close to the identity. Without this, single-path
    training of a few hundred steps does not get away from chance; with it, it needs a tenth of the steps.
    """
    first, last = candidates[0].units[0], candidates[0].units[-1]
    assert isinstance(first, Unit) and isinstance(last, Unit)
    projection = last.weight[:, : first.layer.in_channels].clone()
    for candidate in candidates:
        units = [unit for unit in candidate.units if isinstance(unit, Unit)]
        for unit in units:
            start = torch.zeros_like(unit.weight)
            if unit.layer.op == "depthwise":
                start[:, :, unit.layer.kernel[0] // 2, unit.layer.kernel[1] // 2] = 1.0
            elif unit is units[-1]:
                copies = unit.layer.in_channels // projection.shape[1]
                start = projection.repeat(1, copies, 1, 1) / copies
            else:
                outputs = torch.arange(unit.layer.out_channels)
                start[outputs, outputs % unit.layer.in_channels] = 1.0
            unit.weight.mul_(_VARIATION).add_(start)
        if candidate.adds_input and units[-1].norm is not None:
            units[-1].norm.weight.fill_(_RESIDUAL_GAIN)
    return nn.ModuleList(candidates)


def straight_through(noisy_logits: Tensor, tau: float) -> Tensor:
    """One-hot rows at the largest logit, with the gradient of softmax(logits / tau)."""
    soft = torch.softmax(noisy_logits / tau, dim=1)
    hard = torch.zeros_like(soft).scatter(1, noisy_logits.argmax(1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())  # the bracket is exactly 0


def _gated(candidates: nn.ModuleList, x_NCHW: Tensor, gate: Tensor, others: Tensor) -> Tensor:
    """The sampled candidate's output; `others` also contribute, with value 0 and a gradient for their gate."""
    chosen = int(gate.detach().argmax())
    y = gate[chosen] * candidates[chosen](x_NCHW)
    for index in torch.nonzero(others).flatten().tolist():
        if index != chosen:
            with torch.no_grad():
                other = candidates[index](x_NCHW)
            y = y + (gate[index] - gate[index].detach()) * other
    return y
