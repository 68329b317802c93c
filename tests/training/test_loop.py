"""The loop on sixty tiny images: what it promises of seeds, steps, rates and failure."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from pipeline.data.cache import Examples
from pipeline.errors import TrainingError
from pipeline.params import TrainParams
from pipeline.training.loop import Epoch, Step, batches, fit, schedule_share
from pipeline.training.models import Architecture, Network, build


def params(**changes: object) -> TrainParams:
    values = {
        "model": "auto",
        "image_size": "auto",
        "seed": 0,
        "epochs": 2,
        "batch_size": 16,
        "learning_rate": 0.05,
        "momentum": 0.9,
        "weight_decay": 0.0005,
        "device": "cpu",
    }
    return TrainParams(**(values | changes))


def examples(count: int, seed: int = 0) -> Examples:
    """Noisy greys: below 100 is class 0, above 155 is class 1."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    noise = random.integers(0, 100, (count, 8, 8, 3))
    return Examples((noise + labels[:, None, None, None] * 155).astype(np.uint8), labels)


TRAIN, VALIDATION = examples(60), examples(20, seed=1)


def fresh(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return build(Architecture("small_cnn", 8), 2)


def train(network: Network, **changes: object) -> list[Step | Epoch]:
    return list(fit(network, TRAIN, VALIDATION, params(**changes)))


def weights(network: Network) -> bytes:
    return save(network.state_dict())


def test_the_same_seed_gives_the_same_weights_to_the_byte():
    first, second = fresh(), fresh()
    assert train(first) == train(second)
    assert weights(first) == weights(second)


def test_the_seed_orders_the_images_so_another_one_gives_other_weights():
    first, second = fresh(), fresh()
    assert weights(first) == weights(second)
    train(first, seed=0)
    train(second, seed=1)
    assert weights(first) != weights(second)


def test_the_loss_falls_until_a_separable_set_is_told_apart():
    epochs = [r for r in train(fresh(), epochs=6) if isinstance(r, Epoch)]
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1].train_loss < epochs[0].train_loss / 2
    assert epochs[-1].validation_loss < epochs[0].validation_loss
    assert epochs[-1].train_accuracy == epochs[-1].validation_accuracy == 1


def test_every_step_and_every_epoch_is_reported_as_it_comes():
    records = train(fresh(), epochs=2, batch_size=25)
    assert [(r.epoch, getattr(r, "number", None)) for r in records] == [
        *[(1, 1), (1, 2), (1, 3), (1, None)],
        *[(2, 1), (2, 2), (2, 3), (2, None)],
    ]
    assert all(record.of == 3 for record in records if isinstance(record, Step))


def test_divergence_names_epoch_step_and_rate():
    steps = []
    with pytest.raises(TrainingError) as caught:
        for record in fit(fresh(), TRAIN, VALIDATION, params(learning_rate=1e30, epochs=5)):
            steps.append(record)
    named = re.search(r"epoch (\d+), step (\d+), learning rate (\S+)", str(caught.value))
    assert named
    assert (int(named[1]), int(named[2])) == (1, len(steps) + 1)
    assert 1e29 < float(named[3]) <= 1e30
    assert "train.learning_rate" in caught.value.mend


def test_divergence_in_the_last_step_of_an_epoch_is_named_too():
    """Only the look at the validation images shows it."""
    with pytest.raises(TrainingError, match="epoch 1"):
        train(fresh(), learning_rate=1e30, batch_size=len(TRAIN.labels))


class Witness(nn.Module):
    """A backbone that remembers the images that it was trained on; its embedding is the image."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            self.seen += images[:, 0, 0, 0].tolist()
        return images.flatten(1)


def test_every_epoch_uses_every_image_once_in_an_order_of_its_own():
    witness = Witness()
    greys = np.broadcast_to(np.arange(10, dtype=np.uint8)[:, None, None, None], (10, 8, 8, 3))
    few = Examples(greys.copy(), np.arange(10) % 2)
    list(fit(Network(witness, 192, 2), few, few, params(batch_size=4, epochs=2)))
    first, second = witness.seen[:10], witness.seen[10:]
    assert len(set(first)) == 10
    assert sorted(first) == sorted(second)
    assert first != second


@pytest.mark.parametrize(("images", "steps"), [(1, 1), (10, 3), (64, 2), (65, 3)])
def test_batches_are_of_nearly_equal_size_and_leave_nothing_out(images, steps):
    cut = list(batches(images, steps, seed=0, epoch=1))
    sizes = [len(batch) for batch in cut]
    assert len(sizes) == steps
    assert max(sizes) - min(sizes) <= 1
    assert sorted(np.concatenate(cut)) == list(range(images))


@pytest.mark.parametrize("total", [10, 100, 1001])
def test_the_learning_rate_rises_to_its_peak_then_falls_to_zero(total):
    shares = [schedule_share(step, total) for step in range(total + 1)]
    peak = shares.index(1.0)
    assert peak <= total / 10
    assert shares[: peak + 1] == sorted(shares[: peak + 1])
    assert shares[peak:] == sorted(shares[peak:], reverse=True)
    assert shares[0] > 0
    assert shares[-1] == pytest.approx(0)


def test_a_training_of_one_step_makes_it_at_the_full_rate():
    assert schedule_share(0, 1) == 1


def test_the_schedule_runs_over_all_epochs_not_over_each():
    rates = [r.learning_rate for r in train(fresh(), epochs=4) if isinstance(r, Epoch)]
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.05 * 0.05


def test_every_step_descends_by_its_own_gradient_alone():
    """Against two steps of gradient descent written out."""
    fitted, by_hand = (Network(nn.Flatten(), 192, 2) for _ in range(2))
    by_hand.load_state_dict(fitted.state_dict())
    options = {"epochs": 2, "batch_size": 60, "momentum": 0.0, "weight_decay": 0.0}
    train(fitted, **options, learning_rate=0.01)
    for step in range(2):
        logits = by_hand(torch.from_numpy(TRAIN.pixels))
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(TRAIN.labels))
        gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(by_hand.parameters(), gradients, strict=True):
                weight -= 0.01 * schedule_share(step, 2) * gradient
    for weight, expected in zip(fitted.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(weight, expected)


def test_weight_decay_shrinks_weights_and_leaves_biases_and_norms_alone():
    """One step from one start with and without it: the gradients are the same."""
    start, plain, decayed = fresh(), fresh(), fresh()
    one_step = {"epochs": 1, "batch_size": 60, "momentum": 0.0, "learning_rate": 0.1}
    train(plain, **one_step, weight_decay=0.0)
    train(decayed, **one_step, weight_decay=0.5)
    for (name, before), without, with_ in zip(
        start.named_parameters(), plain.parameters(), decayed.parameters(), strict=True
    ):
        if name.endswith("bias") or before.ndim == 1:
            assert torch.equal(without, with_), name
        else:
            torch.testing.assert_close(with_, without - 0.1 * 0.5 * before, msg=name)
