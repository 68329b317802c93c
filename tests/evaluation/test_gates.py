"""Declared gates: each judged by itself, and nothing that was not measured passes."""

from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.evaluation.assess import worst
from pipeline.evaluation.comparison import Comparison, Difference, Verdict
from pipeline.evaluation.gate import GateRow, judge_gates, promoted
from pipeline.metrics import figures
from pipeline.params import ChampionGate, GateParams

CHAMPION = {"metric": "accuracy", "alpha": 0.05, "margin": 0.01, "promote_if": "not_worse"}
FIGURES = {
    "accuracy": 0.9,
    "worst_class_recall": 0.7,
    "calibration_error": 0.05,
    "latency_p99_ms": 20.0,
}


def gates(**declared: object) -> GateParams:
    return GateParams.model_validate({"champion": CHAMPION} | declared)


def compared(verdict: Verdict) -> Comparison:
    difference = Difference(0.01, (-0.01, 0.03), -0.005, 0.025, -0.005, 0.02)
    return Comparison("accuracy", 100, 0, 3, 2, 1.0, None, 0.05, 0.01, False, difference, verdict)


@pytest.mark.parametrize(
    ("declared", "passed"),
    [
        ({"accuracy": {"min": 0.9}}, True),
        ({"accuracy": {"min": 0.91}}, False),
        ({"worst_class_recall": {"min": 0.7}}, True),
        ({"worst_class_recall": {"min": 0.8}}, False),
        ({"calibration_error": {"max": 0.05}}, True),
        ({"calibration_error": {"max": 0.04}}, False),
        ({"latency_p99_ms": {"max": 20.0}}, True),
        ({"latency_p99_ms": {"max": 19.9}}, False),
    ],
)
def test_a_gate_passes_at_its_bound_and_not_beyond(declared, passed):
    rows = judge_gates(gates(**declared), FIGURES, None)
    assert [row.passed for row in rows] == [passed, True]
    assert promoted(rows) is passed


def test_each_declared_gate_is_a_row_and_the_others_are_not():
    declared = gates(accuracy={"min": 0.8}, latency_p99_ms={"max": 10.0})
    assert judge_gates(declared, FIGURES, None) == (
        GateRow("accuracy", 0.9, 0.8, True, "passed"),
        GateRow("latency_p99_ms", 20.0, 10.0, False, "failed"),
        GateRow("champion", None, None, True, "no champion"),
    )


@pytest.mark.parametrize("measured", [{}, {"accuracy": float("nan")}])
def test_what_was_not_measured_or_is_no_number_never_passes(measured):
    assert not promoted(judge_gates(gates(accuracy={"min": 0.0}), measured, None))


@pytest.mark.parametrize(
    ("verdict", "under_not_worse", "under_better"),
    [
        (Verdict.BETTER, True, True),
        (Verdict.NOT_WORSE, True, False),
        (Verdict.WORSE, False, False),
        (Verdict.CANNOT_TELL, False, False),
    ],
)
def test_the_champion_yields_to_what_was_asked_for(verdict, under_not_worse, under_better):
    for promote_if, expected in (("not_worse", under_not_worse), ("better", under_better)):
        declared = gates(champion=CHAMPION | {"promote_if": promote_if})
        (row,) = judge_gates(declared, FIGURES, compared(verdict))
        assert (row.passed, row.verdict, row.value) == (expected, str(verdict), 0.01)
        assert row.bound == (-0.01 if promote_if == "not_worse" else 0)


def test_a_better_model_that_breaks_a_class_is_not_promoted():
    declared = gates(worst_class_recall={"min": 0.8})
    assert not promoted(judge_gates(declared, FIGURES, compared(Verdict.BETTER)))


def test_the_worst_variant_counts_by_each_figure():
    fp32 = {"accuracy": 0.9, "log_loss": 0.3, "latency_p99_ms": 9.0, "roc_auc": 0.99}
    int8 = {"accuracy": 0.8, "log_loss": 0.2, "latency_p99_ms": 4.0}
    assert worst([fp32, int8]) == {"accuracy": 0.8, "log_loss": 0.3, "latency_p99_ms": 9.0}


def test_every_gate_and_every_metric_is_a_figure_that_is_measured():
    told = figures(np.array([[0.8, 0.2], [0.3, 0.7]]), np.array([0, 1]))
    assert set(GateParams.model_fields) - {"champion", "latency_p99_ms"} <= set(told)
    assert set(get_args(ChampionGate.model_fields["metric"].annotation)) <= set(told)


@pytest.mark.parametrize(
    "declared",
    [
        {"accuracy": {"max": 0.9}},
        {"accuracy": {"min": 1.1}},
        {"calibration_error": {"min": 0.1}},
        {"recall": {"min": 0.1}},
        {"champion": CHAMPION | {"promote_if": "newer"}},
        {"champion": CHAMPION | {"alpha": 0.0}},
        {"champion": CHAMPION | {"metric": "worst_class_recall"}},
    ],
)
def test_a_gate_that_means_nothing_is_refused(declared):
    with pytest.raises(ValidationError):
        gates(**declared)
