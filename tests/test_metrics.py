"""Figures against hand-made ones: small enough to be worked out on paper."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from pipeline.metrics import (
    LOWER_IS_BETTER,
    accuracy,
    accuracy_interval,
    calibration_error,
    class_figures,
    class_indices,
    confusion_matrix,
    figures,
    log_loss,
    macro_f1,
    summary,
    top_k_accuracy,
    top_ks,
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
    assert macro_f1(always_first, np.array([0, 0, 1, 1])) == pytest.approx((2 / 3 + 0) / 2)


def test_a_class_that_no_image_has_takes_nothing_from_the_macro_figures():
    """Else a slice without some class would look bad whatever the model does."""
    found = figures(PROBABILITIES[:2], LABELS[:2])
    assert found["macro_f1"] == found["balanced_accuracy"] == found["worst_class_recall"] == 1


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


def test_all_figures_have_the_names_that_others_expect():
    assert list(figures(PROBABILITIES, LABELS)) == [
        "accuracy",
        "balanced_accuracy",
        "worst_class_recall",
        "macro_f1",
        "weighted_f1",
        "log_loss",
        "roc_auc",
        "average_precision",
        "calibration_error",
    ]


def test_the_summary_is_part_of_all_figures():
    assert summary(PROBABILITIES, LABELS).items() <= figures(PROBABILITIES, LABELS).items()


def test_all_figures_are_as_worked_out_on_paper():
    found = figures(PROBABILITIES, LABELS)
    assert found["balanced_accuracy"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert found["worst_class_recall"] == 1 / 2
    assert found["weighted_f1"] == pytest.approx((2 * 4 / 5 + 2 * 2 / 3 + 1) / 5)
    assert found["roc_auc"] == 1  # each class's images come first by its own probability
    assert found["average_precision"] == 1


def test_figures_of_a_class_are_of_it_against_all_others():
    first, second, third = class_figures(PROBABILITIES, LABELS)
    assert (first.support, first.precision, first.recall) == (2, 2 / 3, 1)
    assert (second.support, second.precision, second.recall) == (2, 1, 1 / 2)
    assert (third.support, third.f1, third.roc_auc, third.average_precision) == (1, 1, 1, 1)


def test_one_image_alone_has_every_figure_but_roc_auc():
    found = figures(PROBABILITIES[:1], LABELS[:1])
    assert "roc_auc" not in found
    assert found["accuracy"] == found["weighted_f1"] == found["average_precision"] == 1
    assert found["calibration_error"] == pytest.approx(0.2)
    assert all(math.isfinite(value) for value in found.values())


def test_figures_of_a_class_without_images_are_none_not_zero():
    _, second, third = class_figures(PROBABILITIES[[0, 1, 3]], LABELS[[0, 1, 0]])
    assert (second.support, second.precision, second.recall, second.f1) == (0, 0, None, 0)
    assert (third.support, third.precision, third.recall, third.f1) == (0, None, None, None)
    assert (third.roc_auc, third.average_precision) == (None, None)


def test_roc_auc_counts_a_tie_as_half():
    undecided = np.full((4, 2), 0.5)
    assert figures(undecided, np.array([0, 0, 1, 1]))["roc_auc"] == 0.5


@pytest.mark.parametrize(
    ("num_classes", "told"), [(2, ()), (6, ()), (7, (3,)), (10, (3,)), (11, (3, 5)), (1000, (3, 5))]
)
def test_top_k_is_told_where_guessing_would_be_wrong_more_often_than_right(num_classes, told):
    assert top_ks(num_classes) == told
    uniform = np.full((1, num_classes), 1 / num_classes)
    names = {f"top_{k}_accuracy" for k in told}
    assert {n for n in figures(uniform, np.array([0])) if n.startswith("top_")} == names


def test_top_k_is_right_when_the_right_class_is_among_the_k_likeliest():
    assert [top_k_accuracy(PROBABILITIES, LABELS, k) for k in (1, 2, 3)] == [4 / 5, 1, 1]


def test_top_1_is_accuracy_also_among_equals():
    tied = np.full((3, 3), 1 / 3)
    labels = np.array([0, 1, 2])
    assert top_k_accuracy(tied, labels, 1) == accuracy(tied, labels) == 1 / 3


def test_calibration_error_is_confidence_minus_accuracy_bin_by_bin():
    # confidences 0.8, 0.6, 0.5, 0.7, 0.6: all right but the third. 0.6 is the upper edge of a bin,
    # so that both lie in (0.533, 0.6]; the others are alone
    expected = (0.2 + 2 * 0.4 + 0.5 + 0.3) / 5
    assert calibration_error(PROBABILITIES, LABELS) == pytest.approx(expected)


def test_confidence_that_is_met_on_the_whole_is_no_calibration_error():
    ten = np.tile([0.9, 0.1], (10, 1))
    assert calibration_error(ten, np.array([0] * 9 + [1])) == pytest.approx(0)
    assert calibration_error(ten, np.zeros(10, int)) == pytest.approx(0.1)


def test_certainty_lies_in_the_last_bin():
    assert calibration_error(np.array([[1.0, 0.0]]), np.array([1])) == 1


def test_the_names_of_which_less_is_better_are_figures():
    assert set(figures(PROBABILITIES, LABELS)) >= LOWER_IS_BETTER


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
