"""Intervals: of the very figures that are told, the same for a seed, as wide as theory says."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from pipeline.evaluation.bootstrap import draws, intervals, ranking_resamples
from pipeline.evaluation.resampled import counting, ranking
from pipeline.metrics import accuracy_interval, class_figures, figures


def answers(n: int, num_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities in steps of 0.1, so that many are equal, and labels that often agree."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(num_classes, size=n)
    weights = generator.integers(0, 4, size=(n, num_classes)).astype(float)
    weights[np.arange(n), labels] += 2
    return weights / weights.sum(1, keepdims=True), labels


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 40), num_classes=st.integers(2, 12), seed=st.integers(0, 99))
def test_an_image_counted_twice_is_as_two_images(n, num_classes, seed):
    """What the fast code says of counts is what scikit-learn says of the images repeated."""
    probabilities, labels = answers(n, num_classes, seed)
    counts = next(draws(n, 3, seed))
    for column in range(3):
        repeated = np.repeat(np.arange(n), counts[:, column].astype(int))
        p, y = probabilities[repeated], labels[repeated]
        expected = figures(p, y)
        one = counts[:, [column]]
        found = counting(probabilities, labels, one).figures
        found |= ranking(probabilities, labels, one).figures
        defined = {name: value[0] for name, value in found.items() if not np.isnan(value[0])}
        assert defined == pytest.approx(expected)


def test_figures_of_classes_are_those_of_scikit_learn():
    probabilities, labels = answers(200, 4)
    counts = next(draws(200, 2, seed=5))
    by_class = ranking(probabilities, labels, counts).classes
    for c in range(4):
        given_ = (labels == c, probabilities[:, c])
        assert by_class["roc_auc"][c, 1] == pytest.approx(
            roc_auc_score(*given_, sample_weight=counts[:, 1])
        )
        assert by_class["average_precision"][c, 1] == pytest.approx(
            average_precision_score(*given_, sample_weight=counts[:, 1])
        )


@pytest.mark.parametrize("num_classes", [2, 11])
def test_every_figure_has_an_interval_that_holds_it(num_classes):
    probabilities, labels = answers(60, num_classes)
    told = figures(probabilities, labels)
    found = intervals(probabilities, labels, seed=0)
    assert set(found.figures) == set(told)
    for name, (low, high) in found.figures.items():
        assert low <= told[name] + 1e-12
        assert told[name] - 1e-12 <= high
    for c, one in enumerate(class_figures(probabilities, labels)):
        assert set(found.classes[c]) == {
            "precision",
            "recall",
            "f1",
            "roc_auc",
            "average_precision",
        }
        for name, (low, high) in found.classes[c].items():
            assert low <= getattr(one, name) + 1e-12
            assert getattr(one, name) - 1e-12 <= high


def test_a_seed_gives_the_same_intervals():
    given_ = answers(50, 3)
    assert intervals(*given_, seed=1) == intervals(*given_, seed=1)
    assert intervals(*given_, seed=1) != intervals(*given_, seed=2)


def test_an_accuracy_s_interval_is_as_wide_as_the_binomial_says():
    right = np.arange(400) < 320
    probabilities = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    found = intervals(probabilities, np.zeros(400, int), seed=0).figures["accuracy"]
    assert found == pytest.approx(accuracy_interval(0.8, 400), abs=0.01)


def test_what_is_not_defined_has_no_interval():
    probabilities, _ = answers(10, 3)
    found = intervals(probabilities, np.zeros(10, int), seed=0)
    assert "roc_auc" not in found.figures
    assert "recall" not in found.classes[1]


def test_one_image_has_intervals_without_width():
    found = intervals(np.array([[0.8, 0.2]]), np.array([0]), seed=0)
    assert found.figures["accuracy"] == (1, 1)
    assert found.figures["calibration_error"] == pytest.approx((0.2, 0.2))


def test_a_resample_has_as_many_images_as_the_set():
    parts = list(draws(3_000, 1000, seed=0))
    assert len(parts) > 1  # some at a time
    assert sum(part.shape[1] for part in parts) == 1000
    assert all((part.sum(0) == 3_000).all() for part in parts)


def test_ten_thousand_images_take_seconds():
    probabilities, labels = answers(10_000, 10)
    started = time.process_time()
    assert intervals(probabilities, labels, seed=0).ranking_resamples == 1000
    assert time.process_time() - started < 30


def test_many_classes_have_fewer_resamples_of_the_ranking_figures():
    """A thousand classes of ten thousand images would take minutes."""
    assert ranking_resamples(10_000, 100) == 1000
    assert ranking_resamples(10_000, 200) == 500
    assert ranking_resamples(100_000, 1000) == 100
