"""What is fitted on validation images keeps what it promises on others of the same kind."""

import io
import json
import math
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from pipeline.export.calibrate import (
    accuracy_by_confidence,
    array_bytes,
    conformal_quantile,
    drift_reference,
    fit_temperature,
    fit_thresholds,
    log_loss,
)
from pipeline.serving.abstention import Known, nonconformity, ood_scores, rely


def drawn(n: int, num_classes: int, seed: int, sharpness: float = 1.5):
    """Logits whose softmax is the truth, and labels drawn from it."""
    random = np.random.default_rng(seed)
    logits = sharpness * random.normal(size=(n, num_classes))
    labels = (softmax(logits, 1).cumsum(1) < random.random((n, 1))).sum(1)
    return logits, np.minimum(labels, num_classes - 1).astype(np.int64)


def cluster(n: int, towards: int, seed: int) -> np.ndarray:
    """Embeddings of 16 values about one direction."""
    centre = 3 * np.eye(16)[towards]
    return centre + np.random.default_rng(seed).normal(scale=0.5, size=(n, 16))


@pytest.mark.parametrize("temperature", [0.5, 2.0, 5.0])
def test_a_known_temperature_is_recovered(temperature):
    logits, labels = drawn(20_000, 5, seed=0)
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


@given(seed=st.integers(0, 999), n=st.integers(1, 40), heat=st.floats(0.01, 100))
def test_no_temperature_is_worse_than_none(seed, n, heat):
    logits, labels = drawn(n, 3, seed)
    temperature = fit_temperature(heat * logits, labels)
    assert 0.04 < temperature < 21
    fitted, before = log_loss(heat * logits / temperature, labels), log_loss(heat * logits, labels)
    assert fitted <= before + 1e-12


def test_a_few_images_of_a_calibrated_network_leave_its_answers_as_they_are():
    """Fitted all the same, each would be a little off, and the next images the worse for it."""
    fits = [fit_temperature(*drawn(150, 2, seed)) for seed in range(40)]
    assert sum(each == 1 for each in fits) >= 34


def test_where_every_image_is_right_the_answers_stay_as_they_were():
    """The likelihood alone would make every answer certain."""
    logits = np.eye(3)
    assert fit_temperature(logits, np.arange(3)) == 1


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_conformal_sets_cover_what_was_asked_on_new_images(coverage):
    """Means over 200 draws of 60 images to fit and 60 new ones; the mean must lie within two
    standard errors of the exact ⌈61 coverage⌉ / 61, and no class may be left behind."""
    overall, per_class = [], []
    for seed in range(200):
        logits, labels = drawn(120, 3, seed)
        probabilities = softmax(logits, 1)
        thresholds, _ = fit_thresholds(
            probabilities[:60], logits[:60], labels[:60], coverage=coverage, in_distribution=0.99
        )
        scores = nonconformity(probabilities)[np.arange(60, 120), labels[60:]]
        overall.append((scores <= thresholds.overall).mean())
        own = scores <= np.array(thresholds.per_class)[labels[60:]]
        per_class.append([own[labels[60:] == each].mean() for each in range(3)])
    exact = math.ceil(61 * coverage) / 61
    assert abs(np.mean(overall) - exact) < 2 * np.std(overall) / 200**0.5
    errors = np.std(per_class, axis=0) / 200**0.5
    assert (np.mean(per_class, axis=0) > coverage - 2 * errors).all()


@given(
    scores=st.lists(st.floats(0, 1), max_size=30),
    low=st.floats(0.01, 0.99),
    high=st.floats(0.01, 0.99),
)
def test_more_coverage_never_means_smaller_sets(scores, low, high):
    low, high = sorted((low, high))
    values = np.array(scores)
    assert conformal_quantile(values, low) <= conformal_quantile(values, high)


@pytest.mark.parametrize(("n", "finite"), [(0, False), (8, False), (9, True)])
def test_of_too_few_images_every_class_is_possible(n, finite):
    """90% of 8 + 1 rounds up to 9, which 8 scores do not have."""
    assert math.isfinite(conformal_quantile(np.linspace(0, 1, n), 0.9)) is finite


def test_the_threshold_is_the_score_of_that_rank():
    scores = np.arange(99) / 100
    assert conformal_quantile(scores, 0.07) == scores[6]  # 100 × 0.07 is more than 7 in floats


@given(seed=st.integers(0, 99), order=st.permutations(range(4)))
def test_classes_in_another_order_get_the_same_answers_in_that_order(seed, order):
    logits, labels = drawn(60, 4, seed)
    probabilities = softmax(logits, 1)
    place = np.argsort(order)
    plain, sample = fit_thresholds(probabilities, logits, labels, coverage=0.8, in_distribution=0.9)
    moved, _ = fit_thresholds(
        probabilities[:, order], logits, place[labels], coverage=0.8, in_distribution=0.9
    )
    assert moved.per_class == tuple(plain.per_class[each] for each in order)
    before = rely(probabilities, logits, Known(plain, sample))
    after = rely(probabilities[:, order], logits, Known(moved, sample))
    for one, other in zip(before, after, strict=True):
        assert set(one.conformal_set) == {order[each] for each in other.conformal_set}
        named = {order[each] for each in other.class_conditional_set}
        assert set(one.class_conditional_set) == named
        assert one.abstain_reason == other.abstain_reason


def test_another_cluster_lies_farther_than_almost_every_image_of_the_known_ones():
    known = np.concatenate([cluster(100, 0, seed=1), cluster(100, 1, seed=2)])
    thresholds, sample = fit_thresholds(
        np.full((200, 2), 0.5), known, np.repeat([0, 1], 100), coverage=0.9, in_distribution=0.95
    )
    new, strange = cluster(200, 0, seed=3), cluster(200, 2, seed=4)
    inside = ood_scores(new, sample, thresholds.neighbours) <= thresholds.distance
    outside = ood_scores(strange, sample, thresholds.neighbours) > thresholds.distance
    assert inside.mean() == pytest.approx(0.95, abs=0.05)
    assert outside.mean() > 0.99


@pytest.mark.parametrize("n", [0, 1, 5])
def test_of_too_few_images_nothing_is_a_stranger(n):
    """Five have four others each, and the fifth nearest is asked for."""
    thresholds, sample = fit_thresholds(
        np.full((n, 2), 0.5), cluster(n, 0, 0), np.zeros(n, np.int64), coverage=0.9,
        in_distribution=0.99,
    )  # fmt: skip
    (answer,) = rely(np.array([[1.0, 0.0]]), cluster(1, 3, 1), Known(thresholds, sample))
    assert answer.abstain_reason == "ambiguous"
    assert answer.conformal_set == (0, 1)


def test_what_is_sealed_is_bounded_and_the_same_to_the_byte():
    many = cluster(1500, 0, 0)
    arguments = (np.full((1500, 2), 0.5), many, np.zeros(1500, np.int64))
    first, again = (
        fit_thresholds(*arguments, coverage=0.9, in_distribution=0.99) for _ in range(2)
    )
    assert first[0] == again[0]
    assert array_bytes(first[1]) == array_bytes(again[1])
    assert first[1].shape == (1000, 16)
    read = np.load(io.BytesIO(array_bytes(first[1])), allow_pickle=False)
    assert zlib.crc32(read.tobytes()) == zlib.crc32(first[1].tobytes())


def test_the_drift_reference_is_plain_json_and_keeps_ties():
    reference = drift_reference(
        np.array([0, 2, 2]),
        4,
        {"confidence": np.array([0.5, 0.75, 1], np.float32), "width": np.array([8, 8, 8.0])},
    )
    assert json.loads(json.dumps(reference, allow_nan=False)) == reference
    assert reference["images"] == 3
    assert reference["predicted"] == [1, 0, 2, 0]
    assert reference["sample"] == {"confidence": [0.5, 0.75, 1], "width": [8, 8, 8]}


def test_the_drift_reference_remembers_the_first_images_and_counts_all():
    reference = drift_reference(np.arange(3000) % 2, 2, {"width": np.arange(3000.0)})
    assert reference["predicted"] == [1500, 1500]
    assert reference["sample"]["width"] == list(range(1000))


@given(
    confidence=st.lists(st.sampled_from([0.5, 0.6, 0.61, 0.9, 1.0]), min_size=1, max_size=400),
    seed=st.integers(0, 99),
)
def test_every_image_is_in_one_bin_of_confidence_and_no_bin_is_empty(confidence, seed):
    right = np.random.default_rng(seed).random(len(confidence)) < confidence
    found = accuracy_by_confidence(np.array(confidence), right)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert len(found["images"]) == len(found["right"]) == len(found["up_to"]) + 1
    assert sum(found["images"]) == len(confidence)
    assert sum(found["right"]) == right.sum()
    assert min(found["images"]) > 0


def test_bins_of_confidence_hold_as_many_images_each():
    confidence = np.random.default_rng(0).permutation(2000) / 2000
    found = accuracy_by_confidence(confidence, confidence > 0.5)
    assert found["images"] == [100] * 20
    assert found["right"][:10] == [0] * 10
    assert min(found["right"][11:]) == 100
