"""One alarm over all that is compared, rarely false; and what was not compared is said."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inference.drift import NO_REFERENCE, Drift, Observed, describe, holm, measure
from pipeline.inference.reference import Reference

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=9)


def observed(n: int, seed: int, classes: int = 2, **changed: np.ndarray) -> Observed:
    """Answers of one source; *changed* are other values of some features."""
    random = np.random.default_rng(seed)
    measured = {
        "confidence": random.uniform(0.5, 1, n),
        "brightness": random.normal(0.5, 0.1, n),
        "width": np.full(n, 32.0),
    }
    return Observed(
        predicted=random.integers(0, classes, n),
        measured=measured | changed,
        embeddings=random.normal(size=(n, 5)),
    )


def reference(classes: int = 2, n: int = 300) -> Reference:
    seen = observed(n, seed=1_000_000, classes=classes)
    return Reference(
        images=n,
        predicted=np.bincount(seen.predicted, minlength=classes),
        sample=seen.measured,
        embeddings=np.asarray(seen.embeddings, np.float32),
        reliability=None,
    )


def test_batches_of_the_same_source_alarm_in_one_of_twenty_at_most():
    alarms = [
        measure(_fresh(seed), observed(60, seed), alpha=0.05).alarm for seed in range(0, 200, 2)
    ]
    assert sum(alarms) <= 10  # 5 are expected; more than 10 by chance: in 1%


def _fresh(seed: int) -> Reference:
    seen = observed(200, seed + 1)
    counts = np.bincount(seen.predicted, minlength=2)
    return Reference(200, counts, seen.measured, np.float32(seen.embeddings), None)


def test_what_has_drifted_is_named_the_surest_first():
    dark = np.random.default_rng(0).normal(0.42, 0.1, 200)
    batch = observed(200, 0, brightness=dark, width=np.full(200, 16.0))
    drift = measure(reference(), batch, alpha=0.05)
    assert drift.alarm
    assert drift.drifted == ("width", "brightness")
    assert describe(drift).startswith("DRIFT in width by 1.000 (p ")


@pytest.mark.parametrize("classes", [2, 3, 40])
def test_another_mix_of_classes_alarms(classes):
    batch = Observed(np.arange(120) % 2, observed(120, 0).measured, observed(120, 0).embeddings)
    skewed = Observed(np.zeros(120, np.int64), batch.measured, batch.embeddings)
    drift = measure(reference(classes), skewed, alpha=0.05)
    assert drift.drifted == ("classes",)
    assert next(f for f in drift.features if f.name == "classes").psi > 0.25


@pytest.mark.parametrize("seed", range(5))
def test_one_image_has_all_figures(seed):
    drift = measure(reference(), observed(1, seed), alpha=0.05)
    assert [f.name for f in drift.features] == [
        *("classes", "confidence", "brightness", "width", "embedding")
    ]
    assert all(0 < f.p_value <= f.adjusted <= 1 for f in drift.features)
    assert all(np.isfinite(list(drift.figures().values())))


def test_a_batch_without_an_answer_neither_alarms_nor_has_figures():
    drift = measure(reference(), observed(0, 0), alpha=0.05)
    assert drift == Drift(0, 0.05, (), ())
    assert not drift.alarm
    assert drift.figures() == {}
    assert describe(drift) == "no drift figures: no image has a label"


def test_a_model_without_a_reference_says_so():
    assert describe(None) == NO_REFERENCE


def test_what_only_one_side_has_is_left_out_and_named():
    whole = reference()
    poor = Reference(whole.images, None, {"width": whole.sample["width"]}, None, None)
    drift = measure(poor, observed(30, 0), alpha=0.05)
    assert [f.name for f in drift.features] == ["width"]
    assert drift.not_compared == ("brightness", "classes", "confidence", "embedding")
    assert "no drift in width: 30 images" in describe(drift)


def test_answers_that_are_no_numbers_alarm():
    broken = np.full(50, np.nan)
    batch = observed(50, 0, confidence=broken)
    nowhere = Observed(batch.predicted, batch.measured, np.full((50, 5), np.nan))
    assert {"confidence", "embedding"} <= set(measure(reference(), nowhere, alpha=0.05).drifted)


def test_the_figures_make_a_series_of_each_feature():
    figures = measure(reference(), observed(50, 0), alpha=0.05).figures()
    assert figures["drift.alarm"] == 0
    assert {"drift.classes.psi", "drift.width.p_value", "drift.embedding.distance"} <= set(figures)
    assert "drift.embedding.psi" not in figures


@given(P_VALUES)
def test_holm_lies_between_none_and_bonferroni_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    for p, a in zip(p_values, adjusted, strict=True):
        assert p <= a <= min(1, p * len(p_values))
    assert [adjusted[i] for i in np.argsort(p_values, kind="stable")] == sorted(adjusted)
    assert min(adjusted) == min(1, min(p_values) * len(p_values))  # the joint alarm is Bonferroni's


def test_holm_is_that_of_the_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
