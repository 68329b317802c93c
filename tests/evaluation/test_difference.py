"""What a margin is held against: with room for what the test images have not shown."""

import numpy as np
import pytest

from pipeline.evaluation.difference import Difference, Pair, by_bootstrap, with_one_more


def alike(*images: int) -> Pair:
    """Two models that are right, and alike, on so many images of each class."""
    labels = np.repeat(range(len(images)), images)
    sure = np.eye(len(images))[labels] * 0.6 + 0.4 / len(images)
    return sure, sure.copy(), labels


def difference(pair: Pair, metric: str, margin: float = 0.05) -> Difference:
    found = by_bootstrap(pair, metric, alpha=0.05, margin=margin, seed=0)
    assert found is not None
    return found


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1", "average_precision"])
def test_a_class_of_two_images_vouches_for_little(metric):
    """Two models that never differed: a bootstrap by itself says that they never will."""
    found = difference(alike(60, 38, 2), metric, margin=0.1)
    assert found.low == found.value == 0
    assert found.least < -0.1
    assert -0.05 < difference(alike(40, 30, 30), metric).least < -0.02


def test_without_disagreements_it_is_about_tangos_bound_for_accuracy():
    """-z² / (n + z²) = -0.0263 of 100 images of equal classes."""
    assert difference(alike(50, 50), "balanced_accuracy").least == pytest.approx(-0.0263, abs=0.003)
    assert difference(alike(500, 500), "weighted_f1").least == pytest.approx(-0.0027, abs=0.0005)


def test_log_loss_gets_another_image_like_its_worst():
    ours, theirs, labels = alike(40, 40)
    ours[7] = ours[7][::-1]
    pair = ours, theirs, labels
    more = with_one_more(pair, "log_loss")
    assert [len(part) for part in more] == [81, 81, 81]
    assert np.array_equal(more[0][-1], ours[7]) and np.array_equal(more[1][-1], theirs[7])
    found = difference(pair, "log_loss", margin=0.1)
    assert found.least < found.low < 0


def test_one_more_is_of_the_smallest_class_that_has_images_and_wrong():
    ours, theirs, labels = with_one_more(alike(5, 0, 2, 9), "macro_f1")
    assert (labels[-1], ours[-1].argmax(), theirs[-1].argmax()) == (2, 3, 2)
    ours, theirs, labels = with_one_more(alike(0, 4), "macro_f1")
    assert (labels[-1], ours[-1].argmax(), theirs[-1].argmax()) == (1, 0, 1)


def test_the_input_is_left_as_it_was():
    pair = alike(5, 3)
    before = [part.copy() for part in pair]
    with_one_more(pair, "macro_f1")
    assert all(np.array_equal(*parts) for parts in zip(pair, before, strict=True))
