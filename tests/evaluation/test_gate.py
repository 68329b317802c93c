"""Who may serve: accuracy first, log loss among equals, and never by default."""

import math

import pytest

from pipeline.evaluation.gate import judge

CHAMPION = {"accuracy": 0.9, "log_loss": 0.3}


def test_the_first_model_serves():
    assert judge({"accuracy": 0.1, "log_loss": 9.0}, None).promoted


@pytest.mark.parametrize(
    ("accuracy", "log_loss", "promoted"),
    [
        (0.91, 0.3, True),
        (0.91, 9.0, True),  # accuracy counts first
        (0.89, 0.3, False),
        (0.89, 0.0, False),
        (0.9, 0.29, True),
        (0.9, 0.31, False),
        (0.9, 0.3, False),  # no better: the champion stays
    ],
)
def test_a_challenger_must_be_better(accuracy, log_loss, promoted):
    assert judge({"accuracy": accuracy, "log_loss": log_loss}, CHAMPION).promoted is promoted


@pytest.mark.parametrize("challenger", [(math.nan, 0.0), (0.9, math.nan)])
def test_a_figure_that_is_no_number_never_promotes(challenger):
    assert not judge(dict(zip(CHAMPION, challenger, strict=True)), CHAMPION).promoted


def test_the_reason_has_both_figures():
    assert judge({"accuracy": 0.95, "log_loss": 0.2}, CHAMPION).reason == (
        "accuracy 0.9500, above the champion's 0.9000"
    )
    assert judge({"accuracy": 0.9, "log_loss": 0.4}, CHAMPION).reason == (
        "equal accuracy; log loss 0.4000, not below the champion's 0.3000"
    )
