"""Training a derived network: it learns, repeats itself, resumes, and its integers are as good."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dna.errors import UserError
from dna.quantize.export import export
from dna.supernet.dataset import Dataset, Images
from dna.supernet.digits import load_digits
from dna.supernet.retrain import Progress, Trained, TrainSettings, evaluate, evaluate_int8, train_qat
from dna.supernet.supernet import Supernet

FAST = TrainSettings(float_epochs=3, int8_epochs=2, checkpoint_epochs=1, average=0.9)


@pytest.fixture(scope="module")
def stripes() -> Dataset:
    """Three classes that differ in the column that is bright."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (256,), generator=generator)
    pixels = torch.randint(0, 8, (256, 1, 6, 6), generator=generator)
    pixels[torch.arange(256), 0, :, 2 * labels] += 8
    images = Images(pixels.to(torch.uint8), labels)
    return Dataset("stripes", images.subset(torch.arange(192)), images.subset(torch.arange(192, 256)), 3, 1 / 16, 16)


LONGER = replace(FAST, float_epochs=20, batch_size=16)


def train(net: Supernet, data: Dataset, seed: int = 1, settings: TrainSettings = FAST, **options: object) -> Trained:
    model = net.derive(net.space.choice(["k3e1", "k3e2", "skip"]), torch.Generator().manual_seed(0))
    return train_qat(model, data, seed, settings, **options)  # type: ignore[arg-type]


def same(one: Trained, other: Trained) -> bool:
    states = zip(one.quantised.state_dict().values(), other.quantised.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in states)


def test_it_learns_and_the_integers_agree(net: Supernet, stripes: Dataset) -> None:
    trained = train(net, stripes, settings=LONGER)
    network, weights = export(trained.quantised)
    float_accuracy = evaluate(trained.float_model, stripes.test)
    int8_accuracy = evaluate_int8(network, weights, stripes.test)
    assert float_accuracy >= 0.95 and int8_accuracy >= 0.95
    assert abs(evaluate(trained.quantised, stripes.test) - int8_accuracy) <= 1 / 64


def test_progress_is_told_per_epoch(net: Supernet, stripes: Dataset) -> None:
    seen: list[Progress] = []
    train(net, stripes, progress=seen.append)
    assert [(p.stage, p.epoch, p.epochs) for p in seen] == [
        ("float", 1, 3), ("float", 2, 3), ("float", 3, 3), ("int8", 1, 2), ("int8", 2, 2),
    ]  # fmt: skip
    assert all(p.loss > 0 for p in seen)


def test_same_seed_same_result(net: Supernet, stripes: Dataset) -> None:
    one = train(net, stripes)
    assert same(one, train(net, stripes)) and not same(one, train(net, stripes, seed=2))


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("stop", [("float", 2), ("int8", 1)])
def test_an_interrupted_run_goes_on_as_if_nothing_happened(
    net: Supernet, stripes: Dataset, tmp_path: Path, stop: tuple[str, int]
) -> None:
    def interrupt(progress: Progress) -> None:
        if (progress.stage, progress.epoch) == stop:
            raise Interrupted

    path = tmp_path / "retrain"
    with pytest.raises(Interrupted):
        train(net, stripes, progress=interrupt, checkpoint=path)
    seen: list[Progress] = []
    resumed = train(net, stripes, checkpoint=path, progress=seen.append)
    assert len(seen) < 5 and same(resumed, train(net, stripes))


def test_a_checkpoint_of_another_model_is_refused(net: Supernet, stripes: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "retrain"
    train(net, stripes, checkpoint=path)
    other = net.derive(net.space.choice(["skip", "k3e1", "k3e1"]), torch.Generator().manual_seed(0))
    with pytest.raises(UserError, match="does not fit this run"):
        train_qat(other, stripes, 1, FAST, checkpoint=path)


def test_evaluate_int8_counts(net: Supernet, stripes: Dataset) -> None:
    """All biases of the classifier but one at the lower end: the same class is named each time."""
    network, weights = export(train(net, stripes).quantised)
    weights["fc"] = replace(
        weights["fc"],
        weight=np.zeros_like(weights["fc"].weight),
        bias=np.array([-(2**20), 2**20, -(2**20)], np.int32),
    )
    share = float((stripes.test.labels == 1).double().mean())
    assert evaluate_int8(network, weights, stripes.test) == pytest.approx(share)


def test_bytes_of_the_digits_fit_the_network() -> None:
    data = load_digits()
    assert data.train.bytes_NHWC.shape[1:] == data.image_shape
