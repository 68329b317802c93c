"""Which epoch is kept, and when it is enough."""

import pytest
from safetensors.torch import load
from trainings import make_training, weights

from pipeline.training.loop import Epoch
from pipeline.training.results import Results


def epoch(number: int, loss: float, accuracy: float) -> Epoch:
    return Epoch(number, 0.1, 1.0, 0.5, loss, accuracy)


def shown(keep: str, *figures: tuple[float, float]) -> Results:
    results = Results(keep)
    results.epochs = [epoch(n, *pair) for n, pair in enumerate(figures, start=1)]
    return results


@pytest.mark.parametrize(("keep", "best"), [("validation_loss", 3), ("validation_accuracy", 2)])
def test_the_epoch_is_kept_that_does_best_by_what_was_asked(keep, best):
    results = shown(keep, (0.9, 0.5), (0.6, 0.9), (0.3, 0.8), (0.7, 0.7))
    assert results.best_epoch.epoch == best


def test_of_equally_accurate_epochs_the_one_of_the_lowest_loss_is_kept_then_the_first():
    results = shown("validation_accuracy", (0.9, 0.8), (0.5, 0.8), (0.5, 0.8), (0.6, 0.8))
    assert results.best_epoch.epoch == 2


def test_of_epochs_of_equal_loss_the_most_accurate_is_kept_as_of_the_trials_of_a_study():
    results = shown("validation_loss", (0.5, 0.7), (0.5, 0.9), (0.5, 0.8), (0.6, 1.0))
    assert results.best_epoch.epoch == 2


def test_the_best_weights_are_those_of_their_moment():
    training, results = make_training(), Results("validation_loss")
    results.add(epoch(1, 0.5, 0.5), training.network)
    then = weights(training.network)
    training.network.head.weight.data.zero_()
    results.add(epoch(2, 0.6, 0.9), training.network)
    assert results.best == then
    results.add(epoch(3, 0.4, 0.5), training.network)
    assert load(results.best)["head.weight"].count_nonzero() == 0


@pytest.mark.parametrize(
    ("losses", "over"),
    [
        ([], False),
        ([0.5], False),
        ([0.5, 0.6], False),
        ([0.5, 0.6, 0.7], True),
        ([0.5, 0.6, 0.4], False),
        ([0.5, 0.5, 0.5], True),
    ],
)
def test_it_is_over_after_so_many_epochs_without_a_better_one(losses, over):
    results = shown("validation_loss", *((loss, 0.5) for loss in losses))
    assert results.is_over(2) is over


def test_without_patience_it_is_never_over():
    assert not shown("validation_loss", *((float(n), 0.5) for n in range(100))).is_over(0)


def test_what_was_restored_goes_on_as_if_nothing_had_happened():
    training, results = make_training(), Results("validation_loss")
    results.add(epoch(1, 0.5, 0.5), training.network)
    again = Results("validation_loss")
    again.restore(results.state())
    assert again == results
    again.add(epoch(2, 0.6, 0.5), training.network)
    assert again.best_epoch.epoch == 1 and again.best == results.best
