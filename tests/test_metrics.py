"""Figures against hand-made ones: small enough to be worked out on paper."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from pipeline.metrics import (
    accuracy,
    accuracy_interval,
    class_indices,
    confusion_matrix,
    log_loss,
    macro_f1,
    summary,
)

PROBABILITIES = np.array(
    [
        [0.8, 0.1, 0.1],
        [0.6, 0.3, 0.1],
        [0.5, 0.4, 0.1],
        [0.1, 0.7, 0.2],
        [0.2, 0.2, 0.6],
    ]
)
LABELS = np.array([0, 0, 1, 1, 2])
"""Predicted are 0, 0, 0, 1, 2: the third image is wrong."""


def test_accuracy_is_the_share_of_right_answers():
    assert accuracy(PROBABILITIES, LABELS) == 4 / 5


def test_macro_f1_counts_a_rare_class_as_much_as_a_common_one():
    # by class: 2·2/(3+2), 2·1/(1+2), 2·1/(1+1)
    assert macro_f1(PROBABILITIES, LABELS) == pytest.approx((4 / 5 + 2 / 3 + 1) / 3)


def test_macro_f1_of_a_class_that_is_never_hit_is_zero_not_an_error():
    always_first = np.tile([0.8, 0.1, 0.1], (4, 1))
    assert macro_f1(always_first, np.array([0, 0, 1, 1])) == pytest.approx((2 / 3 + 0 + 0) / 3)


def test_log_loss_is_in_nats():
    expected = -sum(math.log(p) for p in (0.8, 0.6, 0.4, 0.7, 0.6)) / 5
    assert log_loss(PROBABILITIES, LABELS) == pytest.approx(expected)


def test_log_loss_of_one_class_alone_still_knows_the_others():
    assert log_loss(PROBABILITIES[:2], LABELS[:2]) == pytest.approx(
        -(math.log(0.8) + math.log(0.6)) / 2
    )


def test_a_certain_and_wrong_answer_costs_much_but_not_infinity():
    loss = log_loss(np.array([[1.0, 0.0]]), np.array([1]))
    assert 10 < loss < math.inf


def test_the_summary_has_the_names_that_others_expect():
    assert summary(PROBABILITIES, LABELS) == {
        "accuracy": accuracy(PROBABILITIES, LABELS),
        "macro_f1": macro_f1(PROBABILITIES, LABELS),
        "log_loss": log_loss(PROBABILITIES, LABELS),
    }


def test_rows_of_the_confusion_matrix_are_the_right_classes():
    counts = confusion_matrix(PROBABILITIES, LABELS)
    assert counts.tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 1]]


def test_a_class_without_images_keeps_its_row_and_column():
    counts = confusion_matrix(PROBABILITIES[:2], LABELS[:2])
    assert counts.tolist() == [[2, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_the_interval_is_wilsons():
    z, p, n = NormalDist().inv_cdf(0.975), 0.9, 100
    centre, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    expected = ((centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n))
    assert accuracy_interval(p, n) == pytest.approx(expected)


@pytest.mark.parametrize(("share", "end"), [(0.0, 0), (1.0, 1)])
def test_the_interval_of_a_perfect_score_has_a_width_and_stays_within_0_and_1(share, end):
    interval = accuracy_interval(share, 10)
    assert interval[end] == share
    assert 0.2 < interval[1] - interval[0] < 0.3


def test_the_interval_narrows_as_images_are_added():
    widths = [high - low for low, high in (accuracy_interval(0.5, n) for n in (10, 100, 1000))]
    assert widths == sorted(widths, reverse=True)


def test_labels_become_positions_among_the_classes():
    assert class_indices(["dog", "cat", "dog"], ["cat", "dog"]).tolist() == [1, 0, 1]
