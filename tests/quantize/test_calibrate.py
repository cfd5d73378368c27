"""Histograms, ranges and shared scales, by hand; post-training quantisation of small networks; reading images."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from dna.errors import UserError
from dna.network.importer.imported import ImportedNetwork, InputFormat
from dna.network.layer import Layer
from dna.network.network import Network, TensorShape
from dna.network.random import random_input, random_network
from dna.network.zoo.builder import Builder, Request
from dna.quantize.calibrate import histograms, scale_groups, set_scales
from dna.quantize.export import export
from dna.quantize.fake import QuantisedNetwork
from dna.quantize.float_network import FloatNetwork
from dna.quantize.histogram import BINS, Histogram
from dna.quantize.images import load_frames, load_images
from dna.quantize.ptq import QuantiseOptions, quantise
from dna.quantize.reference import run, run_batch


def histogram(*batches: list[float]) -> Histogram:
    made = Histogram()
    for batch in batches:
        made.add(torch.tensor(batch))
    return made


def test_bins_by_hand_and_growth() -> None:
    found = histogram([0.0, 1.0, -0.25], [3.5])
    assert (found.reach, found.largest) == (4.0, 3.5)
    # A value of 1 fell into the last bin of reach 1; doubled twice, that bin is the one just below 1.
    assert np.flatnonzero(found.counts).tolist() == [BINS // 16, BINS // 4 - 1, BINS * 7 // 8]
    assert found.counts.sum() == 3  # zeros are left out


def test_order_and_batches_do_not_matter() -> None:
    values = torch.randn(4000, generator=torch.Generator().manual_seed(0)).tolist()
    whole, reverse, parts = histogram(values), histogram(values[3000:], values[:3000]), histogram()
    for part in (values[:10], values[10:]):
        parts.merge(histogram(part))
    for other in (reverse, parts):
        assert (other.reach, other.largest) == (whole.reach, whole.largest)
        assert np.array_equal(other.counts, whole.counts)


def test_percentile_by_hand() -> None:
    """Of hundred values 1/128 to 100/128, 95 are at most 95/128; the bin of that one ends a bin width above it."""
    found = histogram([i / 128 for i in range(1, 101)])
    assert found.range("percentile", 255, 95) == 95 / 128 + 1 / BINS
    assert found.range("percentile", 255, 100) == found.range("max", 255) == 100 / 128


def test_mse_weighs_an_outlier_against_the_rounding_of_the_rest() -> None:
    """Of a million values below 1, one of 8 is cut; of a hundred, it is kept."""
    body = torch.rand(1_000_000, generator=torch.Generator().manual_seed(1))
    values = torch.cat([body, torch.tensor([8.0])])
    chosen = histogram(values.tolist()).range("mse", 127)

    def true_error(top: float) -> float:
        return float(((values / top * 127).round().clamp(max=127) * top / 127 - values).double().square().sum())

    assert chosen < 4 and true_error(chosen) < 1.02 * min(true_error(top) for top in np.linspace(1, 8, 50).tolist())
    assert histogram([*body[:100].tolist(), 8.0]).range("mse", 127) > 7.9


def test_entropy_keeps_a_uniform_distribution_and_cuts_a_long_tail() -> None:
    uniform = torch.linspace(0.001, 1, 20_000).tolist()
    assert histogram(uniform).range("entropy", 127) > 0.95
    tailed = (torch.randn(50_000, generator=torch.Generator().manual_seed(2)) * 0.1).tolist() + [6.0, 7.0, 8.0]
    assert 0.3 < histogram(tailed).range("entropy", 127) < 2


@pytest.mark.parametrize("method", ["max", "percentile", "mse", "entropy"])
def test_ranges_are_within_the_data(method: str) -> None:
    assert Histogram().range(method, 255) == 0  # type: ignore[arg-type]
    for value in (1e-6, 1.0, 3e5):
        assert 0 < histogram([value, value / 3]).range(method, 255) <= value * (1 + 1e-6)  # type: ignore[arg-type]


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(UserError, match="not finite"):
        histogram([float("inf")])


def concat_network() -> Network:
    net = Builder("n", Request((8, 8, 3), classes=4))
    x = net.conv("stem", "input", 8, 3)
    x = net.maxpool("pool", x, 2, 2)
    a, b = net.conv("a", x, 8, activation="relu6"), net.conv("b", x, 4)
    x = net.concat("ab", [a, b, x])
    net.fc("fc", net.global_avgpool("mean", x), 4)
    return net.blueprint().network


def test_scale_groups_by_hand() -> None:
    groups = {frozenset(group) for group in scale_groups(concat_network())}
    assert groups == {
        frozenset({"input"}), frozenset({"stem", "pool", "a", "b", "ab"}), frozenset({"mean"}), frozenset({"fc"}),
    }  # fmt: skip


def test_parts_of_a_concat_share_a_scale_and_relu6_keeps_its_bound() -> None:
    net = Builder("n", Request((4, 4, 3)))
    a, b = net.conv("a", "input", 8, activation="relu6"), net.conv("b", "input", 4)
    net.concat("ab", [a, b])
    model = FloatNetwork(net.blueprint(), 1 / 16, torch.Generator().manual_seed(0)).eval()
    images = torch.randint(0, 256, (8, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    done = quantise(model, images, QuantiseOptions(method="max", correct_bias=False))
    largest = float(model.tensors(images.float())["b"].detach().max())
    assert largest > 12  # so that the shared step is larger than 6 / 255
    assert done.scales["a"] == done.scales["b"] == done.scales["ab"] == pytest.approx(largest / 255)
    assert done.network.layer("a").hi == round(6 / done.scales["a"]) < 255
    assert done.network.layer("b").hi == 255
    ours = run(done.network, done.weights, images[0].permute(1, 2, 0).numpy())["ab"]
    real = model(images[:1].float()).view(12, 4, 4).permute(1, 2, 0).detach().numpy()
    assert np.abs(ours * done.scales["ab"] - real).max() < 2 * done.scales["ab"]


def test_a_concat_with_the_input_takes_the_inputs_scale() -> None:
    net = Builder("n", Request((4, 4, 3)))
    net.concat("all", ["input", net.conv("a", "input", 4)])
    model = FloatNetwork(net.blueprint(), 1 / 32, torch.Generator().manual_seed(0)).eval()
    done = quantise(model, torch.full((2, 3, 4, 4), 9, dtype=torch.uint8))
    assert set(done.scales.values()) == {1 / 32}


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_become_integers_bit_for_bit(seed: int) -> None:
    """Every operator and residual: the model and the reference agree, and both follow the float network."""
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    frames = np.stack([random_input(network, rng) for _ in range(4)])
    model = FloatNetwork(network, 1 / 16, torch.Generator().manual_seed(seed)).eval()
    images = torch.from_numpy(frames).permute(0, 3, 1, 2)
    done = quantise(model, images)
    twin = done.model.double()
    with torch.no_grad():
        fake = twin.tensors(images.double())[network.output].permute(0, 2, 3, 1).numpy()
    assert np.array_equal(run_batch(done.network, done.weights, frames), fake)


def test_every_range_method_is_close_to_float() -> None:
    network = concat_network()
    model = FloatNetwork(network, 1 / 64, torch.Generator().manual_seed(1)).eval()
    images = torch.randint(0, 256, (32, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.no_grad():
        real = model(images.float())
        for method in ("max", "percentile", "mse", "entropy"):
            done = quantise(model, images, QuantiseOptions(method=method))  # type: ignore[arg-type]
            error = (done.model(images.float()) - real).square().mean().sqrt() / real.std()
            assert error < 0.1, method


def test_one_scale_for_all_channels_is_coarser() -> None:
    layer = Layer("a", "fc", "input", 2, 1, 1, 2, in_signed=False)
    model = FloatNetwork(Network("n", (layer,)), 1.0, torch.Generator().manual_seed(0)).eval()
    model.units["a"].weight.data[:] = torch.tensor([[1.0, 1.0], [0.001, 0.001]]).view(2, 2, 1, 1)
    image = torch.full((1, 2, 1, 1), 100, dtype=torch.uint8)
    fine = quantise(model, image).weights["a"].weight
    coarse = quantise(model, image, QuantiseOptions(per_channel=False)).weights["a"].weight
    assert fine is not None and np.abs(fine).ravel().tolist() == [127] * 4
    assert coarse is not None and coarse.ravel().tolist() == [127, 127, 0, 0]


def test_a_silent_network_is_quantised() -> None:
    network = concat_network()
    model = FloatNetwork(network, 1 / 64, torch.Generator().manual_seed(1)).eval()
    twin = QuantisedNetwork(model)
    black = torch.zeros((2, 3, 8, 8), dtype=torch.uint8)
    set_scales(twin, histograms(twin, black), "mse")
    assert run_batch(*export(twin), black.permute(0, 2, 3, 1).numpy()).shape == (2, 1, 1, 4)


def test_wrong_options_and_images_are_refused() -> None:
    model = FloatNetwork(concat_network(), 1 / 64, torch.Generator()).eval()
    with pytest.raises(UserError, match="images are \\(2, 1, 8, 8\\)"):
        quantise(model, torch.zeros((2, 1, 8, 8), dtype=torch.uint8))
    with pytest.raises(UserError, match="whole numbers"):
        quantise(model, torch.full((2, 3, 8, 8), 0.5))
    with pytest.raises(UserError, match="unknown method 'best'"):
        QuantiseOptions(method="best")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="percentile"):
        QuantiseOptions(percentile=0)


def test_images_from_numpy_files(tmp_path: Path) -> None:
    shape = TensorShape(2, 3, 1, False)
    frames = np.arange(24).reshape(4, 2, 3, 1)
    np.save(tmp_path / "a.npy", frames)
    np.savez(tmp_path / "a.npz", images=frames.transpose(0, 3, 1, 2), other=np.zeros(1))
    for name in ("a.npy", "a.npz"):
        assert np.array_equal(load_images(tmp_path / name, shape).numpy(), frames.transpose(0, 3, 1, 2))
    assert load_images(tmp_path / "a.npy", shape, limit=2)[:, 0, 0, 0].tolist() == [0, 18]
    np.save(tmp_path / "b.npy", frames / 2)
    with pytest.raises(UserError, match="b.npy must hold whole numbers"):
        load_images(tmp_path / "b.npy", shape)
    with pytest.raises(UserError, match="the network takes"):
        load_images(tmp_path / "a.npy", TensorShape(3, 3, 1, False))
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(UserError, match="c.npz cannot be read"):
        load_images(tmp_path / "c.npz", shape)
    with pytest.raises(UserError, match="neither"):
        load_images(tmp_path / "none", shape)


def test_images_with_an_alpha_channel(tmp_path: Path) -> None:
    """An import that folded a mean takes a fourth channel of 255."""
    net = Builder("n", Request((2, 3, 4)))
    net.conv("a", "input", 2)
    np.save(tmp_path / "a.npy", np.arange(18).reshape(1, 2, 3, 3))
    plain = ImportedNetwork(net.blueprint(), {}, InputFormat(1 / 255))
    alpha = ImportedNetwork(net.blueprint(), {}, InputFormat(1 / 255, alpha=True))
    frames = load_frames(tmp_path / "a.npy", alpha)
    assert frames.shape == (1, 4, 2, 3) and frames.dtype == torch.uint8
    assert frames[0, :, 1, 2].tolist() == [15, 16, 17, 255]
    with pytest.raises(UserError, match="the network takes"):
        load_frames(tmp_path / "a.npy", plain)


def test_images_from_a_folder(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    (tmp_path / "sub").mkdir()
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = [10, 20, 30]
    image.fromarray(pixels).save(tmp_path / "sub" / "wide.png")
    image.fromarray(np.full((2, 2), 77, np.uint8)).save(tmp_path / "grey.PNG")
    (tmp_path / "note.txt").write_text("no picture")
    found = load_images(tmp_path, TensorShape(4, 4, 3, False)).numpy()
    assert found.dtype == np.uint8 and found.shape == (2, 3, 4, 4)
    assert (found[0] == 77).all()
    assert (found[1] == np.array([10, 20, 30]).reshape(3, 1, 1)).all()  # the middle is cut out
    (tmp_path / "bad.png").write_bytes(b"\x89PNG cut")
    with pytest.raises(UserError, match="bad.png cannot be read"):
        load_images(tmp_path, TensorShape(4, 4, 3, False))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no picture"):
        load_images(tmp_path / "empty", TensorShape(4, 4, 3, False))


def test_worked_example_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "quantisation.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    found: dict[str, object] = {}
    exec(compile(block, "docs/quantisation.md", "exec"), found)
    real, model, images = found["real"], found["model"], found["images"]
    assert isinstance(real, np.ndarray) and isinstance(model, FloatNetwork) and isinstance(images, torch.Tensor)
    expected = model(images.float()).detach().numpy()
    assert np.abs(real.reshape(expected.shape) - expected).max() < 0.1 * np.abs(expected).max()
