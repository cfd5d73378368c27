"""The exported integers compute what the fake-quantised model computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dna.network.layer import Layer
from dna.network.network import LayerWeights, Network
from dna.network.random import random_input, random_network
from dna.quantize.export import export
from dna.quantize.fake import QuantisedNetwork, round_straight_through
from dna.quantize.float_network import FloatNetwork, Unit
from dna.quantize.limits import accumulator_bounds
from dna.quantize.reference import ACC_MAX, ACC_MIN, requantise, run, run_layer


def lively_float_network(network: Network, seed: int) -> FloatNetwork:
    """Random weights and normalisations, as training would leave them."""
    generator = torch.Generator().manual_seed(seed)
    model = FloatNetwork(network, 1 / 16, generator)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.3)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) * 4 + 0.2)
            module.weight.data.copy_(torch.rand(module.num_features, generator=generator) * 2)
            module.bias.data.copy_(torch.randn(module.num_features, generator=generator))
    return model.eval()


def quantised(network: Network, frames: torch.Tensor, seed: int) -> QuantisedNetwork:
    model = QuantisedNetwork(lively_float_network(network, seed))
    model.calibrate(frames)
    return model.double().eval()


def nchw(frames_NHWC: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames_NHWC).permute(0, 3, 1, 2)


@pytest.mark.parametrize("seed", range(40))
def test_reference_equals_the_model_bit_for_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    frames = np.stack([random_input(network, rng) for _ in range(4)])
    model = quantised(network, nchw(frames).float(), seed)
    network, weights = export(model)
    with torch.no_grad():
        fake = model.tensors(nchw(frames).double())
    for index, frame in enumerate(frames):
        for name, tensor in run(network, weights, frame).items():
            assert np.array_equal(fake[name][index].permute(1, 2, 0).numpy(), tensor), name


@pytest.mark.parametrize("seed", range(12))
def test_in_single_precision_layers_differ_next_to_a_half_only(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    frames = np.stack([random_input(network, rng) for _ in range(4)])
    model = quantised(network, nchw(frames).float(), seed).float()
    network, weights = export(model)
    tensors = {"input": frames}
    different = total = 0
    for layer in network.layers:
        tensors[layer.name] = run_layer(layer, weights[layer.name], tensors)
        residual = (nchw(tensors[layer.residual]).float(), model.scale(layer.residual)) if layer.residual else None
        with torch.no_grad():
            fake = model.unit(layer.name)(nchw(tensors[layer.input]).float(), model.scale(layer.input), residual)
        error = np.abs(fake.permute(0, 2, 3, 1).numpy() - tensors[layer.name])
        assert error.max() <= 1, layer.name
        different, total = different + int((error > 0).sum()), total + error.size
    assert different <= max(2, 0.001 * total)


@pytest.mark.parametrize("seed", range(40))
def test_no_exported_accumulator_saturates(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    network = random_network(rng)
    frames = np.stack([random_input(network, rng) for _ in range(2)])
    network, weights = export(quantised(network, nchw(frames).float(), seed))
    for layer in network.layers:
        low, high = accumulator_bounds(layer, weights[layer.name])
        assert low.min() >= ACC_MIN and high.max() <= ACC_MAX


def test_quantised_output_is_close_to_float() -> None:
    layers = (
        Layer("a", "conv", "input", 3, 8, 8, 12, kernel=(3, 3), padding=(1, 1, 1, 1), in_signed=False,
              out_signed=False, lo=0, hi=255),
        Layer("b", "depthwise", "a", 12, 8, 8, 12, kernel=(3, 3), padding=(1, 1, 1, 1), in_signed=False,
              out_signed=False, lo=0, hi=255),
        Layer("c", "conv", "b", 12, 8, 8, 12, in_signed=False, residual="a", residual_signed=False),
        Layer("d", "maxpool", "c", 12, 8, 8, 12, kernel=(2, 2), stride=(2, 2), pad_value=-128),
        Layer("e", "avgpool", "d", 12, 4, 4, 12, kernel=(4, 4)),
        Layer("f", "fc", "e", 12, 1, 1, 5),
    )  # fmt: skip
    network = Network("n", layers)
    frames = torch.randint(0, 256, (16, 3, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    model = lively_float_network(network, 3)
    twin = QuantisedNetwork(model)
    twin.calibrate(frames)
    with torch.no_grad():
        expected, real = model.tensors(frames), twin.tensors(frames)
        for layer in layers:
            difference = (real[layer.name] * twin.scale(layer.name) - expected[layer.name]).abs().mean()
            assert difference < 0.02 * expected[layer.name].abs().max(), layer.name
    assert float(twin.scale("d")) == float(twin.scale("c"))  # a maximum changes no value


def test_batch_normalisation_folds_exactly() -> None:
    layer = Layer("a", "conv", "input", 3, 5, 5, 4, kernel=(3, 3), padding=(1, 0, 1, 2), stride=(2, 1))
    model = lively_float_network(Network("n", (layer,)), 1).double()
    unit = model.units["a"]
    assert isinstance(unit, Unit)
    x = torch.randn(2, 3, 5, 5, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    weight, bias = unit.folded()
    padded = nn.functional.pad(x, (0, 2, 1, 1))
    assert torch.allclose(unit(x), nn.functional.conv2d(padded, weight, bias, stride=(2, 1)), atol=1e-12)


def test_export_by_hand() -> None:
    """Input step 1/16, weights 1 and -1/4, bias 1/4; outputs reach 127 / 64, so one output step is 1/64."""
    network = Network("n", (Layer("a", "fc", "input", 2, 1, 1, 1, in_signed=False),))
    model = FloatNetwork(network, 1 / 16, torch.Generator())
    unit = model.units["a"]
    assert isinstance(unit, Unit) and unit.bias is not None
    unit.weight.data = torch.tensor([1.0, -0.25]).view(1, 2, 1, 1)
    unit.bias.data = torch.tensor([0.25])
    twin = QuantisedNetwork(model)
    twin.unit("a").out_scale.fill_(1 / 64)
    _, weights = export(twin)
    integers = weights["a"]
    # The finest weight step is 1/127, in output steps 4 / 127 per accumulator step: 1.0079 * 2^-5, in 17 bits 66052.
    assert (integers.multiplier.tolist(), integers.shift.tolist()) == ([66052], [21])
    assert integers.weight is not None and integers.weight.ravel().tolist() == [127, -32]  # -31.75
    assert integers.bias.tolist() == [508]  # 1/4 in steps of 1 / 127 / 16
    # 16 * 127 - 8 * 32 + 508 accumulator steps of 4 / 127 are 71.9 output steps.
    assert run(network, weights, np.array([[[16, 8]]]))["a"].tolist() == [[[72]]]


def test_residual_multiplier_is_exact_where_few_bits_are_left() -> None:
    """A residual step 1000 times the weight's: the multiplier has few bits, so the weight's scale follows it."""
    layer = Layer("a", "conv", "input", 1, 1, 1, 1, residual="input")
    twin = QuantisedNetwork(FloatNetwork(Network("n", (layer,)), 1.0, torch.Generator().manual_seed(0)).eval())
    unit = twin.unit("a")
    unit.weight.data.fill_(0.0123)
    unit.bias.data.zero_()
    twin.double()
    _, weights = export(twin)
    integers = weights["a"]
    assert integers.residual_multiplier == 1 << 16 and integers.shift.tolist() == [16]
    assert integers.multiplier.tolist() == [7]  # 0.0123 / 127 * 2^16 is 6.35
    assert integers.weight is not None and integers.weight.item() == 115  # 0.0123 * 2^16 / 7 is 115.2


def test_rounding_passes_gradients_straight_through() -> None:
    x = torch.tensor([0.5, -0.5, 1.49, -1.51], requires_grad=True)
    y = round_straight_through(x)
    y.sum().backward()
    assert y.tolist() == [1.0, 0.0, 1.0, -2.0] and x.grad is not None and x.grad.tolist() == [1.0] * 4
    same = requantise(np.array([1, -1]), np.array([1 << 16]), np.array([17]), -9, 9)
    assert same.tolist() == y[:2].tolist()


def test_clipped_outputs_have_no_gradient() -> None:
    network = Network("n", (Layer("a", "fc", "input", 1, 1, 1, 1, lo=0, hi=10),))
    twin = QuantisedNetwork(FloatNetwork(network, 1.0, torch.Generator().manual_seed(0)))
    twin.unit("a").weight.data.fill_(1.0)
    for value, expected in ((3.0, 3.0), (20.0, 0.0)):
        twin.zero_grad()
        twin(torch.full((1, 1, 1, 1), value)).sum().backward()
        gradient = twin.unit("a").weight.grad
        assert gradient is not None and gradient.item() == pytest.approx(expected)


def test_training_the_twin_lowers_its_loss() -> None:
    rng = np.random.default_rng(0)
    network = Network("n", (Layer("a", "conv", "input", 2, 1, 1, 8, lo=0, in_signed=False, out_signed=False, hi=255),
                            Layer("b", "fc", "a", 8, 1, 1, 2, in_signed=False)))  # fmt: skip
    x = torch.from_numpy(rng.integers(0, 256, (256, 2, 1, 1))).float()
    labels = (x[:, 0, 0, 0] > x[:, 1, 0, 0]).long()
    model = QuantisedNetwork(lively_float_network(network, 0))
    model.calibrate(x)
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(model(x), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
    exported: dict[str, LayerWeights] = export(model)[1]
    assert set(exported) == {"a", "b"}


def test_grouped_convolutions_are_exported_bit_for_bit() -> None:
    layers = (
        Layer("a", "conv", "input", 6, 5, 5, 9, kernel=(3, 3), padding=(1, 1, 1, 1), groups=3, in_signed=False),
        Layer("b", "conv", "a", 9, 5, 5, 4),
    )
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (3, 5, 5, 6))
    model = quantised(Network("n", layers), nchw(frames).float(), 0)
    network, weights = export(model)
    with torch.no_grad():
        fake = model.tensors(nchw(frames).double())
    for name, tensor in run(network, weights, frames[1]).items():
        assert np.array_equal(fake[name][1].permute(1, 2, 0).numpy(), tensor), name


def test_float_average_leaves_padding_out() -> None:
    pool = Layer("p", "avgpool", "input", 2, 5, 4, 2, kernel=(3, 3), padding=(1, 1, 1, 1), count_padding=False)
    x = torch.randn(2, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False).flatten(1)
    torch.testing.assert_close(FloatNetwork(Network("n", (pool,)), 1.0, torch.Generator())(x), expected)
