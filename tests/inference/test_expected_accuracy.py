"""What is expected of a batch is what is measured, as often as is stated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.export.calibrate import accuracy_by_confidence
from pipeline.inference.expected_accuracy import describe, expect
from pipeline.inference.reference import Reliability


def answers(n: int, seed: int, overconfident: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and whether right: as often as said, less what the model overstates."""
    random = np.random.default_rng(seed)
    confidence = random.uniform(0.5, 1, n) ** 0.5
    return confidence, random.random(n) < confidence - overconfident


def reliability_of(n: int, seed: int, overconfident: float = 0.0) -> Reliability:
    found = accuracy_by_confidence(*answers(n, seed, overconfident))
    return Reliability(**{name: np.array(values) for name, values in found.items()})


def reliability(images: list[int], right: list[int], up_to: list[float]) -> Reliability:
    return Reliability(np.array(up_to), np.array(images), np.array(right))


@pytest.mark.parametrize("validation", [30, 300, 2000])
@pytest.mark.parametrize("n", [1, 20, 200])
@pytest.mark.parametrize("overconfident", [0.0, 0.15])
def test_the_measured_accuracy_lies_in_the_interval_in_99_of_100_batches(
    validation, n, overconfident
):
    inside = 0
    for seed in range(100):
        confidence, right = answers(n, seed, overconfident)
        known = reliability_of(validation, 10_000 + seed, overconfident)
        low, high = expect(confidence, known).interval
        inside += low <= right.mean() <= high
    assert inside >= 96  # fewer by chance: in 0.3%


def test_harder_images_are_expected_to_go_worse():
    known = reliability_of(2000, 0)
    confidence, _ = answers(400, 1)
    hard = np.sort(confidence)[:100]
    whole, worse = (expect(each, known) for each in (confidence, hard))
    assert worse.accuracy < whole.accuracy - 0.05
    assert worse.accuracy == pytest.approx(hard.mean(), abs=0.03)


def test_a_model_that_overstates_is_not_believed():
    confidence, right = answers(5000, 1, overconfident=0.2)
    expected = expect(confidence, reliability_of(5000, 0, overconfident=0.2))
    assert expected.accuracy == pytest.approx(right.mean(), abs=0.03)
    assert confidence.mean() - expected.accuracy > 0.15


def test_fewer_validation_images_make_a_wider_interval():
    confidence, _ = answers(500, 1)
    widths = [np.diff(expect(confidence, reliability_of(n, 0)).interval) for n in (50, 500, 5000)]
    assert widths[0] > widths[1] > widths[2]


def test_one_doubtful_image_may_be_right_or_wrong():
    one = expect(np.array([0.8]), reliability([100], [80], []))
    assert one.interval == (0, 1)
    assert one.accuracy == pytest.approx(0.8)


def test_a_model_that_was_never_wrong_is_expected_to_be_right():
    found = expect(np.full(50, 1.0), reliability([500], [500], []))
    assert found.accuracy == pytest.approx(1, abs=1e-4)
    assert found.interval[1] == 1
    assert found.interval[0] >= 0.96


def test_no_answer_and_no_record_are_no_expectation_and_that_is_said():
    assert expect(np.array([]), reliability([100], [80], [])) is None
    assert expect(np.array([0.9]), None) is None
    assert describe(None, drifted=False).startswith("no expected accuracy")


def test_an_answer_without_a_number_counts_as_the_least_confident():
    known = reliability([100, 100], [50, 100], [0.8])
    found = expect(np.full(40, np.nan), known)
    assert found.accuracy == pytest.approx(0.5, abs=0.02)


@given(
    confidence=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60),
    bins=st.lists(st.tuples(st.integers(1, 90), st.floats(0, 1)), min_size=1, max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_any_batch_has_an_accuracy_within_its_interval(confidence, bins):
    images = [n for n, _ in bins]
    right = [round(n * share) for n, share in bins]
    up_to = np.linspace(0.5, 0.99, len(bins))[:-1].tolist()
    values = np.array(confidence)
    found = expect(values, reliability(images, right, up_to))
    low, high = found.interval
    assert 0 <= low <= found.accuracy <= high <= 1
    assert found == expect(values[::-1], reliability(images, right, up_to))
    assert "expected accuracy" in describe(found, drifted=False)
