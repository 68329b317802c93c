"""What a test set can show, held against simulation and against sums done by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.comparison import mcnemar
from pipeline.evaluation.power import POWER, power, smallest_difference, spent


def test_all_uses_of_a_test_set_together_spend_alpha_and_no_more():
    total = sum(spent(0.05, use) for use in range(1, 100_000))
    assert 0.0499 < total < 0.05


def test_each_further_use_is_judged_more_strictly():
    levels = [spent(0.05, use) for use in range(1, 30)]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] == 0.025


def test_power_without_a_difference_stays_under_alpha():
    for images, discordance in ((20, 0.5), (100, 0.05), (1000, 0.25)):
        assert power(images, discordance, 0.0, 0.05) <= 0.05


def test_five_images_show_a_difference_when_the_challenger_alone_is_right_on_all():
    assert power(5, 1.0, 1.0, 0.05) == pytest.approx(1)  # 1 / 32 is under 0.05
    assert power(4, 1.0, 1.0, 0.05) == 0  # 1 / 16 is not


def test_power_is_how_often_the_exact_test_shows_the_difference():
    images, discordance, difference, alpha = 200, 0.15, 0.08, 0.05
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    drawn = np.random.default_rng(0).multinomial(images, shares, 2000)
    shown = np.mean([mcnemar(int(b), int(c), "greater") <= alpha for b, c, _ in drawn])
    assert shown == pytest.approx(power(images, discordance, difference, alpha), abs=0.03)


@settings(max_examples=50, deadline=None)
@given(images=st.integers(10, 2000), discordance=st.floats(0, 1), use=st.integers(1, 20))
def test_the_smallest_difference_is_shown_with_power_and_a_smaller_one_is_not(
    images, discordance, use
):
    alpha = spent(0.05, use)
    found = smallest_difference(images, discordance, alpha)
    if found is None:
        assert power(images, discordance, 1.0, alpha) < POWER
    else:
        assert power(images, discordance, found, alpha) == pytest.approx(POWER, abs=1e-3)
        assert power(images, discordance, found * 0.9, alpha) < POWER


def test_a_handful_of_images_shows_nothing():
    assert smallest_difference(4, 0.5, 0.05) is None
    assert smallest_difference(0, 0.0, 0.05) is None


def test_models_that_never_disagreed_leave_the_smallest_difference_that_could_have_been_shown():
    found = smallest_difference(100, 0.0, 0.025)
    assert 0.05 < found < 0.1  # six images of the challenger's alone, four times in five
