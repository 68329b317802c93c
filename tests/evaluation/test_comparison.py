"""Better, not worse, worse or cannot tell: never promoted by chance, never on known images."""

import math
from functools import cache

import numpy as np
import pytest
from scipy.stats import norm

from pipeline.evaluation.comparison import (
    Comparison,
    Verdict,
    accuracy_difference,
    compare,
    describe,
    judge_accuracy,
    mcnemar,
)


def models(both: int, gained: int, lost: int, neither: int) -> tuple[np.ndarray, ...]:
    """A challenger and a champion of two classes that are right on so many images, and labels."""
    challenger = np.repeat([True, True, False, False], [both, gained, lost, neither])
    champion = np.repeat([True, False, True, False], [both, gained, lost, neither])
    labels = np.arange(len(challenger)) % 2
    sure = np.eye(2)[labels] * 0.6 + 0.2  # 0.8 on the right class
    return (
        np.where(challenger[:, None], sure, 1 - sure),
        np.where(champion[:, None], sure, 1 - sure),
        labels,
    )


def compared(*counts: int, known: int = 0, **changes: object) -> Comparison:
    """The first *known* images are those that the champion was trained on."""
    challenger, champion, labels = models(*counts)
    left_out = np.arange(len(labels)) < known
    terms = {"metric": "accuracy", "alpha": 0.05, "margin": 0.0, "seed": 0} | changes
    return compare(challenger, champion, labels, left_out, **terms)


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "log_loss", "roc_auc"])
def test_a_much_better_model_is_better_and_the_other_way_round_worse(metric):
    better = compared(60, 30, 5, 5, metric=metric)
    worse = compared(60, 5, 30, 5, metric=metric)
    assert (better.verdict, worse.verdict) == (Verdict.BETTER, Verdict.WORSE)
    assert better.difference.value == pytest.approx(-worse.difference.value)
    assert better.difference.value > 0  # also of log_loss, where less is better


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "log_loss"])
def test_a_difference_that_chance_would_make_tells_nothing(metric):
    assert compared(80, 8, 6, 6, metric=metric).verdict is Verdict.CANNOT_TELL


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "average_precision"])
def test_the_champion_itself_is_not_worse_at_no_margin_and_never_better(metric):
    same = compared(80, 0, 0, 20, metric=metric)
    assert same.same
    assert same.verdict is Verdict.NOT_WORSE


def test_equal_answers_of_other_probabilities_are_not_the_same_model():
    """A hundred images without a disagreement leave room for a few in a hundred."""
    challenger, champion, labels = models(80, 0, 0, 20)
    known = np.zeros(100, bool)
    told = compare(
        challenger * 0.9 + 0.05,
        champion,
        labels,
        known,
        metric="accuracy",
        alpha=0.05,
        margin=0.02,
        seed=0,
    )
    assert not told.same
    assert told.verdict is Verdict.CANNOT_TELL


def test_not_worse_is_within_the_margin_surely():
    assert compared(9000, 300, 300, 400, margin=0.01).verdict is Verdict.NOT_WORSE
    assert compared(900, 30, 30, 40, margin=0.01).verdict is Verdict.CANNOT_TELL
    assert compared(9000, 250, 350, 400, margin=0.02).verdict is Verdict.NOT_WORSE
    assert compared(9000, 250, 350, 400, margin=0.0).verdict is Verdict.WORSE


def test_better_needs_the_exact_test_beside_the_bootstrap():
    """Four of four discordant images: every bound is above zero, and p is 1 / 16."""
    told = compared(90, 4, 0, 6)
    assert told.difference.low > 0
    assert told.verdict is Verdict.CANNOT_TELL
    assert compared(90, 5, 0, 5).verdict is Verdict.BETTER


@pytest.mark.parametrize("metric", ["macro_f1", "balanced_accuracy", "weighted_f1", "log_loss"])
def test_by_any_metric_better_and_worse_need_the_randomisation_test_beside_the_bootstrap(metric):
    """Four of four again: 1 of 16 swaps makes as much of a difference."""
    better, worse = compared(90, 4, 0, 6, metric=metric), compared(90, 0, 4, 6, metric=metric)
    assert better.difference.low > 0 and worse.difference.high < 0
    assert better.verdict is worse.verdict is Verdict.CANNOT_TELL
    assert better.randomised_p_value == pytest.approx(1 / 16, abs=0.01)
    assert worse.randomised_p_value == pytest.approx(1 / 16, abs=0.01)
    assert compared(90, 5, 0, 5, metric=metric).verdict is Verdict.BETTER
    assert compared(90, 0, 5, 5, metric=metric).verdict is Verdict.WORSE
    assert "McNemar p 0.125, randomisation p 0.0" in describe(better)


def test_the_randomisation_test_is_spared_where_the_bounds_find_nothing():
    told = compared(80, 8, 6, 6, metric="macro_f1")
    assert told.randomised_p_value is None and "randomisation" not in describe(told)
    assert compared(80, 20, 0, 0).randomised_p_value is None, "accuracy has McNemar's"


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_a_later_use_of_the_test_set_asks_for_more(metric):
    assert compared(80, 12, 3, 5, alpha=0.05, metric=metric).verdict is Verdict.BETTER
    assert compared(80, 12, 3, 5, alpha=0.0001, metric=metric).verdict is Verdict.CANNOT_TELL
    assert compared(50, 40, 0, 10, alpha=0.0001, metric=metric).verdict is Verdict.BETTER


def test_images_that_the_champion_was_trained_on_are_left_out_and_counted():
    challenger, champion, labels = models(60, 0, 40, 0)
    known = np.arange(100) >= 60  # the champion's advantage is that it had seen them
    told = compare(
        challenger, champion, labels, known, metric="accuracy", alpha=0.05, margin=0, seed=0
    )
    assert (told.images, told.left_out, told.only_champion) == (60, 40, 0)
    assert told.verdict is Verdict.CANNOT_TELL  # not all answers are equal
    assert "40 that the champion knows are left out" in describe(told)


def test_a_champion_that_knows_every_image_cannot_be_compared():
    told = compared(5, 5, 0, 0, known=10)
    assert (told.verdict, told.difference, told.images) == (Verdict.CANNOT_TELL, None, 0)
    assert describe(told).startswith("cannot tell: 0 images")


def test_a_metric_that_the_images_do_not_define_tells_nothing():
    one_class = np.array([[0.8, 0.2], [0.7, 0.3]])
    told = compare(
        one_class,
        one_class[::-1],
        np.zeros(2, int),
        np.zeros(2, bool),
        metric="roc_auc",
        alpha=0.05,
        margin=0.1,
        seed=0,
    )
    assert (told.verdict, told.difference) == (Verdict.CANNOT_TELL, None)


def test_one_image_tells_nothing_and_is_no_error():
    told = compared(0, 1, 0, 0)
    assert (told.verdict, told.difference.smallest) == (Verdict.CANNOT_TELL, None)
    assert "shows no difference" in describe(told)


def test_mcnemar_is_the_sign_test_of_the_discordant_images():
    assert mcnemar(6, 0) == pytest.approx(2 / 64)
    assert mcnemar(6, 0, "greater") == pytest.approx(1 / 64)
    assert mcnemar(3, 1) == pytest.approx(2 * 5 / 16)
    assert mcnemar(0, 0) == 1


def test_the_bound_without_any_disagreement_is_tangos():
    """Worked out by hand: z² / (n + z²)."""
    z = norm.isf(0.05)
    found = accuracy_difference(0, 0, 100, 0.05, seed=0)
    assert found.low == pytest.approx(-(z**2) / (100 + z**2), abs=1e-6)
    assert found.high == pytest.approx(z**2 / (100 + z**2), abs=1e-6)


@pytest.mark.parametrize(("gained", "lost"), [(12, 5), (0, 9), (100, 0), (0, 100), (1, 99)])
def test_the_bounds_of_swapped_models_are_mirrored(gained, lost):
    one = accuracy_difference(gained, lost, 100, 0.01, seed=0)
    other = accuracy_difference(lost, gained, 100, 0.01, seed=0)
    assert -1 <= one.low <= one.value <= one.high <= 1
    assert one.low == pytest.approx(-other.high, abs=0.01)


def test_a_model_worse_by_the_whole_margin_seldom_passes_as_not_worse():
    """The bootstrap's bound alone would let 12% pass where 5% was asked."""
    images, margin, alpha = 100, 0.02, 0.05

    @cache
    def passes(gained: int, lost: int) -> bool:
        difference = accuracy_difference(gained, lost, images, alpha, seed=0)
        verdict = judge_accuracy(difference, gained, lost, alpha, margin)
        return verdict in (Verdict.BETTER, Verdict.NOT_WORSE)

    drawn = np.random.default_rng(0).multinomial(images, [0.015, 0.035, 0.95], 2000)
    share = np.mean([passes(int(b), int(c)) for b, c, _ in drawn])
    assert share <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / 2000)


def test_what_is_lost_in_a_class_of_three_images_seldom_passes_as_not_worse():
    """It loses three images of ten of a class with three, which is the whole margin. Of three that
    it did not lose, 34 times of 100, the bootstrap alone would say that it never does."""
    labels = np.repeat([0, 1, 2], [60, 37, 3])
    right = np.eye(3)[labels] * 0.7 + 0.1
    generator, passed = np.random.default_rng(0), []
    for _ in range(100):
        lost = (labels == 2) & (generator.random(100) < 0.3)
        ours = np.where(lost[:, None], right[:, [2, 1, 0]], right)
        ours = 0.99 * ours + 0.01 / 3  # not the same model
        told = compare(
            ours,
            right,
            labels,
            np.zeros(100, bool),
            metric="balanced_accuracy",
            alpha=0.05,
            margin=0.1,
            seed=0,
        )
        passed.append(told.verdict in (Verdict.BETTER, Verdict.NOT_WORSE))
    assert np.mean(passed) <= 0.05


def test_the_line_for_the_card_says_what_was_found_and_what_could_have_been():
    told = describe(compared(800, 60, 30, 110))
    assert told.startswith("better: accuracy higher by 0.0300 (95% +0.0")
    assert "on 1000 images; right alone: challenger 60, champion 30" in told
    assert "at alpha 0.05 this test set shows 0.0" in told
