"""The loop on sixty tiny images: what it promises of seeds, steps, rates and failure."""

import re

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from trainings import SIZE, VALIDATION, greys, make_training, predict, run, weights

from pipeline.errors import TrainingError
from pipeline.metrics import accuracy, log_loss
from pipeline.training import checkpoint
from pipeline.training.loop import Epoch, Look, Step, fit
from pipeline.training.models import Network
from pipeline.training.optimization import schedule_share


def flat(dropout: float = 0.0) -> Network:
    """A linear model of the pixels: what it does to them can be written out."""
    torch.manual_seed(3)
    return Network(nn.Flatten(), SIZE * SIZE * 3, 2, dropout=dropout)


ALL_IN_ONE = {"epochs": 1, "batch_size": 60, "momentum": 0.0, "weight_decay": 0.0}
"""One step on all images, by the plain gradient, at the full rate (there is no warm-up in one)."""


def test_the_same_seed_gives_the_same_weights_to_the_byte():
    first = make_training(dropout=0.5, rotation=10.0)
    records = run(first)
    second = make_training(dropout=0.5, rotation=10.0)
    assert run(second) == records
    assert weights(first.network) == weights(second.network)


def test_the_seed_orders_the_images_so_another_one_gives_other_weights():
    first, second = flat(), flat()
    assert weights(first) == weights(second)
    run(make_training(first, seed=0))
    run(make_training(second, seed=1))
    assert weights(first) != weights(second)


def test_the_loss_falls_until_a_separable_set_is_told_apart():
    epochs = [r for r in run(make_training(epochs=6)) if isinstance(r, Epoch)]
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3, 4, 5, 6]
    assert epochs[-1].train_loss < epochs[0].train_loss / 2
    assert epochs[-1].validation_loss < epochs[0].validation_loss
    assert epochs[-1].train_accuracy == epochs[-1].validation_accuracy == 1


def test_every_step_and_every_epoch_is_reported_as_it_comes():
    records = run(make_training())
    assert [(r.epoch, getattr(r, "number", None)) for r in records] == [
        *[(1, 1), (1, 2), (1, 3), (1, None)],
        *[(2, 1), (2, 2), (2, 3), (2, None)],
    ]
    assert all(record.of == 3 for record in records if isinstance(record, Step))


def test_validation_is_reported_as_it_goes_so_that_it_can_be_left_half_way():
    validation = greys(600, seed=1)
    changes = {"epochs": 1, "batch_size": 250}
    whole = make_training(**changes)
    records = list(fit(whole, *validation))
    looks = [record for record in records if isinstance(record, Look)]
    assert [(look.images, look.of) for look in looks] == [(250, 600), (500, 600), (600, 600)]
    stopped, going_on = make_training(**changes), make_training(**changes)
    for record in fit(stopped, *validation):
        if record == looks[1]:
            break
    going_on.restore(stopped.state())
    assert run(going_on, validation=validation) == records[-1:]
    assert weights(going_on.network) == weights(whole.network)


def test_the_epoch_is_the_mean_over_its_own_steps():
    records = run(make_training())
    for epoch, last in ((records[3], records[2]), (records[7], records[6])):
        assert (epoch.train_loss, epoch.train_accuracy) == (last.loss, last.accuracy)


def test_divergence_names_epoch_step_and_rate():
    training, steps = make_training(learning_rate=1e30, epochs=5, warm_up=0.2), []
    with pytest.raises(TrainingError) as caught:
        for record in fit(training, *VALIDATION):
            steps.append(record)
    named = re.search(r"epoch (\d+), step (\d+), learning rate (\S+)", str(caught.value))
    assert named
    assert (int(named[1]), int(named[2])) == (1, len(steps) + 1)
    assert 1e29 < float(named[3]) <= 1e30
    assert "train.learning_rate" in caught.value.mend


def test_divergence_in_the_last_step_of_an_epoch_is_named_too():
    """Only the look at the validation images shows it."""
    with pytest.raises(TrainingError, match="epoch 1, step 1,"):
        run(make_training(learning_rate=1e30, batch_size=60))


def test_a_loss_that_is_no_number_moves_no_weight_and_spoils_no_checkpoint(tmp_path):
    training, passes = make_training(flat()), []
    good = training.network.forward

    def bad_once_more(inputs: Tensor) -> Tensor:
        passes.append(inputs)
        return good(inputs) * (float("nan") if len(passes) == 3 else 1)

    training.network.forward = bad_once_more
    with pytest.raises(TrainingError, match="step 3, learning rate 0"):
        run(training, after=lambda: save(tmp_path, training))
    saved = checkpoint.load(tmp_path)
    assert saved["progress"]["steps"] == 2
    for name, weight in training.network.state_dict().items():
        assert torch.equal(saved["network"][name], weight)
        assert torch.isfinite(weight).all()


def save(folder, training) -> None:
    checkpoint.save(folder, training.progress.steps, training.state())


class Witness(nn.Module):
    """A backbone that remembers the images that it was trained on; its embedding is the image."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[float]] = []
        """The grey of each image, a list for each pass."""

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            scaled = images[:, 0, 0, 0] * 0.229 + 0.485
            self.seen.append([round(float(grey) * 255, 3) for grey in scaled])
        return images.flatten(1)


def witnessed(shades: list[int], **changes: object) -> list[list[float]]:
    """Train on plain images of these shades; return those of each pass."""
    witness = Witness()
    pixels = np.empty((len(shades), SIZE, SIZE, 3), np.uint8)
    pixels[:] = np.array(shades)[:, None, None, None]
    labels = np.arange(len(shades)) % 2
    run(make_training(Network(witness, SIZE * SIZE * 3, 2), (pixels, labels), **changes))
    return witness.seen


def test_every_epoch_uses_every_image_once_in_an_order_of_its_own():
    passes = witnessed(list(range(10)), batch_size=4, epochs=2)
    seen = [shade for shades in passes for shade in shades]
    first, second = seen[:10], seen[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second


def test_mixup_shows_two_images_in_one_and_another_mixture_each_time():
    """A pair of one black and one white image, mixed: their shades still add up to white."""
    passes = witnessed([0, 255], mixup=1.0, batch_size=2, epochs=20)
    assert all(sum(shades) == pytest.approx(255, abs=0.01) for shades in passes)
    mixed = {shades[0] for shades in passes} - {0, 255}
    assert len(mixed) > 5


def test_mixup_mixes_the_losses_as_it_mixes_the_images():
    """Of a black and a white image: as much of the loss is white's as of the picture is."""
    pixels = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    pixels[1] = 255
    training = make_training(flat(), (pixels, np.array([0, 1])), mixup=1.0, batch_size=2)
    passes: list[tuple[Tensor, Tensor]] = []
    training.network.register_forward_hook(
        lambda _, inputs, logits: passes.append((inputs[0][:, 0, 0, 0] / 255, logits.detach()))
    )
    step = next(fit(training, *VALIDATION))
    ((white, logits),) = passes
    losses = -torch.log_softmax(logits, 1)
    assert 0 < white[0] < 1
    expected = ((1 - white) * losses[:, 0] + white * losses[:, 1]).mean()
    assert step.loss == pytest.approx(float(expected), rel=1e-5)


def test_every_step_descends_by_its_own_gradient_alone():
    """Against two steps of gradient descent written out."""
    fitted, by_hand = flat(), flat()
    pixels, labels = map(torch.from_numpy, greys(60))
    training = make_training(fitted, **(ALL_IN_ONE | {"epochs": 2}), learning_rate=0.01)
    run(training)
    for step in range(2):
        loss = nn.functional.cross_entropy(by_hand(pixels), labels)
        gradients = torch.autograd.grad(loss, list(by_hand.parameters()))
        with torch.no_grad():
            for weight, gradient in zip(by_hand.parameters(), gradients, strict=True):
                weight -= 0.01 * schedule_share(step, 2, training.params) * gradient
    for weight, expected in zip(fitted.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(weight, expected)


def moved(**changes: object) -> dict[str, Tensor]:
    """One step of the linear model at the rate 0.01: what its weights moved by, over the rate."""
    network, start = flat(), flat()
    run(make_training(network, **(ALL_IN_ONE | {"learning_rate": 0.01} | changes)))
    return {
        name: (before - after).detach() / 0.01
        for (name, before), after in zip(
            start.named_parameters(), network.parameters(), strict=True
        )
    }


def test_clipping_bounds_the_norm_of_the_whole_gradient():
    plain = moved()
    clipped = moved(clip=0.125)
    norm = torch.cat([g.flatten() for g in plain.values()]).norm()
    assert norm > 0.125
    for name in plain:
        torch.testing.assert_close(clipped[name], plain[name] * 0.125 / norm, rtol=1e-3, atol=1e-5)


def test_clipping_leaves_a_short_gradient_alone():
    plain, clipped = moved(), moved(clip=1e6)
    assert all(torch.equal(plain[name], clipped[name]) for name in plain)


def test_l1_pulls_every_weight_towards_zero_by_the_same_and_biases_not():
    start, plain, pulled = flat(), moved(), moved(l1=0.01)
    difference = pulled["head.weight"] - plain["head.weight"]
    expected = 0.01 * start.head.weight.detach().sign()
    torch.testing.assert_close(difference, expected, rtol=1e-2, atol=1e-4)
    assert torch.equal(pulled["head.bias"], plain["head.bias"])


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"label_smoothing": 0.2}, {"label_smoothing": 0.2}),
        ({"balance": "loss"}, {"weight": torch.tensor([20 / 30, 2.0])}),
    ],
)
def test_the_loss_is_torchs_own_with(changes, options):
    """On 45 images of one class and 15 of the other; the mean is over images, not weights."""
    pixels, _ = greys(60)
    labels = (np.arange(60) % 4 == 3).astype(np.int64)
    data = torch.from_numpy(pixels), torch.from_numpy(labels)
    losses = nn.functional.cross_entropy(flat()(data[0]), data[1], **options, reduction="none")
    training = make_training(flat(), (pixels, labels), **ALL_IN_ONE, **changes)
    step = next(fit(training, *VALIDATION))
    assert step.loss == pytest.approx(float(losses.mean().detach()), rel=1e-5)


@pytest.mark.parametrize("parts", [2, 3, 60, 1000])
def test_a_batch_in_parts_gives_the_same_mean_gradient(parts):
    whole, in_parts = moved(l1=0.001), moved(l1=0.001, accumulate=parts)
    for name, gradient in whole.items():
        torch.testing.assert_close(in_parts[name], gradient, rtol=1e-3, atol=1e-5)


def short_of_memory(training, times: int, error: Exception) -> None:
    """Let the network fail on its first so many passes, after dropout has drawn."""
    failures = iter([error] * times)

    def fail(*_: object) -> None:
        if (failure := next(failures, None)) is not None:
            raise failure

    training.network.head.register_forward_hook(fail)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: Error code 12"),
    ],
)
def test_where_memory_is_short_the_batch_goes_through_in_parts_as_if_they_had_been_asked_for(error):
    training = make_training(flat(dropout=0.5))
    expected = make_training(flat(dropout=0.5), accumulate=4)
    short_of_memory(training, 2, error)
    torch.manual_seed(5)
    steps = [r for r in run(training) if isinstance(r, Step)]
    torch.manual_seed(5)
    run(expected)
    assert [step.parts for step in steps] == [4] * 6
    assert weights(training.network) == weights(expected.network)


def test_a_pass_that_failed_for_want_of_memory_leaves_no_trace_in_batch_norms():
    training, expected = make_training(batch_size=60), make_training(batch_size=60, accumulate=2)
    short_of_memory(training, 1, torch.OutOfMemoryError("CUDA out of memory"))
    run(training)
    run(expected)
    assert weights(training.network) == weights(expected.network)


def test_where_memory_is_short_validation_says_the_same_in_the_same_parts():
    """Processes that train together talk between two parts: each must see as many of them."""
    training = make_training(flat(), **ALL_IN_ONE)
    records = list(fit(training, *greys(120, seed=1)))
    short = make_training(flat(), **ALL_IN_ONE)
    fails_above(20, short)
    told = list(fit(short, *greys(120, seed=1)))
    assert [r for r in told if isinstance(r, Look)] == [r for r in records if isinstance(r, Look)]
    assert told[-1].validation_loss == pytest.approx(records[-1].validation_loss, rel=1e-6)


def fails_above(images: int, training) -> None:
    """Let the network have no memory for more than so many images at once."""

    def fail(module: nn.Module, inputs: tuple[Tensor]) -> None:
        if len(inputs[0]) > images:
            raise torch.OutOfMemoryError("CUDA out of memory")

    training.network.head.register_forward_pre_hook(fail)


def test_what_torch_says_when_the_processor_has_no_memory_left_is_understood():
    training = make_training(flat())
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**16, dtype=torch.uint8)
    short_of_memory(training, 1, caught.value)
    assert next(fit(training, *VALIDATION)).parts == 2


def test_a_single_image_that_batch_norms_cannot_take_is_a_named_error():
    torch.manual_seed(3)
    whole = nn.Conv2d(3, 4, SIZE)  # one value a channel is left of an image
    network = Network(nn.Sequential(whole, nn.BatchNorm2d(4), nn.Flatten()), 4, 2, dropout=0.0)
    with pytest.raises(TrainingError, match="no batch statistics") as told:
        run(make_training(network, batch_size=4, accumulate=4))
    assert "train.accumulate" in told.value.mend


def test_a_single_image_that_does_not_fit_ends_it():
    training = make_training(flat(), batch_size=4)
    short_of_memory(training, 1000, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(TrainingError, match="single image"):
        run(training)
    assert training.parts == 4


def test_another_failure_is_not_taken_for_want_of_memory():
    training = make_training(flat())
    short_of_memory(training, 1, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        run(training)
    assert training.parts == 1


def states(training) -> list[dict[str, Tensor]]:
    """Train; return the backbone's weights and statistics at the start and after each epoch."""
    found = [training.network.backbone.state_dict()]
    found = [{k: v.clone() for k, v in found[0].items()}]
    for record in fit(training, *VALIDATION):
        if isinstance(record, Epoch):
            state = training.network.backbone.state_dict()
            found.append({k: v.clone() for k, v in state.items()})
    return found


def differ(a: dict[str, Tensor], b: dict[str, Tensor]) -> set[str]:
    return {name for name in a if not torch.equal(a[name], b[name])}


def test_a_frozen_backbone_keeps_its_weights_and_its_statistics():
    training = make_training(freeze="backbone", weight_decay=0.1, ema=0.5)
    head = training.network.head.weight.clone()
    start, *later = states(training)
    assert [differ(start, state) for state in later] == [set(), set()]
    assert not torch.equal(training.network.head.weight, head)


def test_a_backbone_is_still_until_its_epoch_then_moves_as_a_whole():
    start, one, two, three = states(make_training(freeze=3, epochs=3, weight_decay=0.1))
    assert differ(start, one) == differ(start, two) == set()
    assert differ(start, three) == set(start)


def test_the_running_mean_of_the_weights_is_what_is_validated_and_kept():
    training = make_training(ema=0.9)
    records = run(training)
    assert training.judged is training.mean
    probabilities = predict(training.mean, VALIDATION[0])
    assert records[-1].validation_loss == log_loss(probabilities, VALIDATION[1])
    assert records[-1].validation_accuracy == accuracy(probabilities, VALIDATION[1])
    assert weights(training.mean) != weights(training.network)
    assert weights(training.network) == weights(run_of().network), "the descent itself is the same"


def run_of(**changes: object):
    training = make_training(**changes)
    run(training)
    return training


def test_without_a_running_mean_the_network_itself_is_judged():
    training = make_training()
    assert training.judged is training.network


def test_the_schedule_runs_over_all_epochs_not_over_each():
    rates = [r.learning_rate for r in run(make_training(epochs=4)) if isinstance(r, Epoch)]
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 0.05 * 0.05


def test_predictions_are_probabilities_whatever_the_batch():
    training = make_training(dropout=0.9)
    whole = predict(training.network.train(), VALIDATION[0])
    np.testing.assert_allclose(whole.sum(axis=1), 1)
    in_parts = predict(training.network.train(), VALIDATION[0], batch_size=3)
    np.testing.assert_allclose(whole, in_parts, atol=1e-6)
