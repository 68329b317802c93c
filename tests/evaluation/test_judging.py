"""Every variant of a challenger stands before the gates, and before the champion's like."""

import json
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.comparison import Verdict
from pipeline.evaluation.judging import Judgement, judge, verdict
from pipeline.evaluation.measure import Measured
from pipeline.params import GateParams

CLASSES = ("cat", "dog")
N = 200
LABELS = np.arange(N) % 2


def answers(wrong: range, confidence: float = 0.9) -> Measured:
    """Right with *confidence* but for the images of *wrong*."""
    right = np.full(N, confidence)
    right[list(wrong)] = 1 - confidence
    probabilities = np.where(LABELS[:, None] == [0, 1], right[:, None], 1 - right[:, None])
    return Measured(probabilities, LABELS)


GOOD, POOR, HALF = answers(range(5)), answers(range(60)), answers(range(0, N, 2))


def judged(
    challenger: dict[str, Measured],
    champion: dict[str, Measured] | None,
    known: range = range(0),
    use: int = 1,
    latency: float | None = None,
    margin: float = 0.0,
    **gates: Any,
) -> Judgement:
    rule = {"metric": "accuracy", "alpha": 0.05, "margin": margin, "promote_if": "not_worse"}
    gate = GateParams.model_validate({"champion": rule | gates.pop("champion", {})} | gates)
    mask = np.isin(np.arange(N), list(known))
    return judge(gate, challenger, champion, mask, CLASSES, {}, use=use, latency_p99_ms=latency)


def test_the_first_model_serves_where_its_gates_pass():
    told = judged({"fp32": POOR}, None)
    assert told.promoted and verdict(told) == "promoted; there was no champion"
    told = judged({"fp32": POOR}, None, accuracy={"min": 0.9})
    assert not told.promoted
    assert verdict(told).startswith("not promoted; accuracy 0.7000, at least 0.9000: failed;")


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (GOOD, POOR, Verdict.BETTER),
        (POOR, POOR, Verdict.NOT_WORSE),
        (POOR, GOOD, Verdict.WORSE),
        (answers(range(4)), GOOD, Verdict.CANNOT_TELL),
        (answers(range(5), 0.95), GOOD, Verdict.CANNOT_TELL),
    ],
)
def test_a_challenger_is_promoted_where_it_is_better_or_answers_alike(ours, theirs, expected):
    told = judged({"fp32": ours}, {"fp32": theirs})
    assert told.comparison.verdict is expected
    assert told.promoted is (expected in (Verdict.BETTER, Verdict.NOT_WORSE))
    assert f"promoted; {expected}: " in verdict(told)


def test_a_verdict_that_cannot_tell_says_in_words_what_is_likely():
    much, little = answers(range(12)), answers(range(6))
    told = verdict(judged({"fp32": much}, {"fp32": GOOD}, use=3))
    assert told.startswith(
        "not promoted; cannot tell: probably worse, but these 200 images, judged on for the 3rd "
        "time, cannot prove it; accuracy lower by 0.0350"
    )
    told = verdict(judged({"fp32": little}, {"fp32": GOOD}))
    assert "cannot tell: worse on these 200 images but that may be chance; accuracy" in told


def test_what_passes_by_a_margin_is_said_to_pass_by_it_and_a_wide_one_is_remarked():
    for margin, said in ((0.1, "0.1: accuracy lower"), (0.5, "0.5 (a wide margin: much worse")):
        told = judged({"fp32": answers(range(9))}, {"fp32": GOOD}, margin=margin)
        assert f"promoted; not worse by more than {said}" in verdict(told)


def test_one_variant_that_is_worse_keeps_the_other_from_serving():
    told = judged({"fp32": GOOD, "int8": POOR}, {"fp32": answers(range(20))})
    assert told.comparisons["fp32"].verdict is Verdict.BETTER
    assert told.comparison.verdict is Verdict.WORSE and not told.promoted


def test_each_variant_stands_against_the_champions_of_its_name():
    """The same model again, its int8 a little off: both answer as the champion's do."""
    same = {"fp32": GOOD, "int8": answers(range(7))}
    told = judged(same, same)
    assert [each.same for each in told.comparisons.values()] == [True, True] and told.promoted


def test_a_champion_without_that_variant_is_met_by_its_fp32():
    told = judged({"fp32": GOOD, "int8": GOOD}, {"fp32": POOR})
    assert told.comparisons["int8"].difference.value == pytest.approx(55 / N)


def test_the_headline_is_the_worst_of_each_figure_with_that_variants_interval():
    told = judged({"fp32": GOOD, "int8": POOR}, None)
    assert told.figures["accuracy"] == 0.7
    assert told.intervals["accuracy"] == told.assessed["int8"].intervals["accuracy"]
    equal = judged({"fp32": GOOD, "int8": GOOD}, None)
    assert equal.intervals.keys() == told.intervals.keys()


def test_a_gate_sees_the_worst_variant():
    told = judged({"fp32": GOOD, "int8": POOR}, None, accuracy={"min": 0.9})
    assert not told.promoted


def test_what_the_champion_knows_is_left_out():
    told = judged({"fp32": GOOD}, {"fp32": POOR}, known=range(150))
    assert (told.comparison.images, told.comparison.left_out) == (50, 150)
    assert not told.comparison.same, "the others alone are answered alike"
    assert told.comparison.verdict is Verdict.CANNOT_TELL


def test_alpha_is_spent_over_the_uses():
    ours, theirs = answers(range(0)), answers(range(7))
    assert judged({"fp32": ours}, {"fp32": theirs}, use=1).comparison.verdict is Verdict.BETTER
    told = judged({"fp32": ours}, {"fp32": theirs}, use=3).comparison
    assert told.alpha == pytest.approx(0.05 / 12) and told.verdict is Verdict.CANNOT_TELL


@pytest.mark.parametrize(("latency", "passed"), [(None, False), (9.0, True), (11.0, False)])
def test_a_latency_gate_needs_a_latency(latency, passed):
    assert judged({"fp32": GOOD}, None, latency=latency, latency_p99_ms={"max": 10}).promoted is (
        passed
    )


def test_a_model_that_is_no_better_than_the_commonest_class_carries_a_warning():
    warned = verdict(judged({"fp32": HALF}, None))
    assert warned.startswith("BEWARE: not surely better") and "promoted; there was no" in warned
    assert "BEWARE" not in verdict(judged({"fp32": POOR}, None))


def test_a_judgement_is_plain_json():
    told = judged({"fp32": GOOD}, {"fp32": POOR}).as_json()
    assert json.loads(json.dumps(told))["champion"]["fp32"]["verdict"] == "better"
