"""A variant serves when it is as good as what was trained, within stated bounds."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.export.variants import Bounds, judge, not_made, self_test_bound
from pipeline.serving.choice import SelfTest

LABELS = np.arange(100) % 2
BOUNDS = Bounds(accuracy_loss=0.02, log_loss=0.05)


def certain(labels, confidence: float = 0.9):
    """Answers that give *confidence* to *labels*, the rest to the other class."""
    answers = np.full((len(labels), 2), 1 - confidence)
    answers[np.arange(len(labels)), labels] = confidence
    return answers


TRAINED = certain(LABELS)


def wrong(count: int):
    """What was trained, but with *count* images on the wrong side by a hair."""
    answers = TRAINED.copy()
    answers[:count] = np.where(np.eye(2)[LABELS[:count]] == 1, 0.499, 0.501)
    return answers


def verdict(answers, bounds=BOUNDS, labels=LABELS, trained=TRAINED):
    return judge("int8", b"1234", answers, trained, TRAINED[: len(labels)], labels, bounds)


@pytest.mark.parametrize(("count", "admissible"), [(0, True), (2, True), (3, False)])
def test_it_may_lose_a_stated_share_of_the_images(count, admissible):
    judged = verdict(wrong(count))
    assert judged.admissible == admissible
    assert judged.accuracy == 1 - count / 100
    assert judged.agreement == 1 - count / 100
    assert admissible or "3 more of 100 images are wrong" in str(judged.fault)


@pytest.mark.parametrize(("count", "admissible"), [(1, True), (2, False)])
def test_one_image_is_always_allowed(count, admissible):
    assert verdict(wrong(count), Bounds(0.0, 0.05)).admissible == admissible


@given(st.integers(1, 99))
def test_a_share_is_of_whole_images_whatever_its_rounding(percent):
    bounds = Bounds(percent / 100, 10.0)
    assert verdict(wrong(percent), bounds).admissible
    assert not verdict(wrong(percent + 1), bounds).admissible


def test_right_answers_with_too_little_confidence_are_a_fault():
    judged = verdict(certain(LABELS, 0.8))
    assert judged.accuracy == 1
    assert "log loss rises by 0.1178" in str(judged.fault)


def test_being_better_than_what_was_trained_is_no_fault():
    assert verdict(certain(LABELS, 0.99), trained=wrong(30)).admissible


def test_an_answer_that_is_no_number_is_a_fault():
    answers = TRAINED.copy()
    answers[3] = np.nan
    assert not verdict(answers).admissible


def test_a_variant_that_could_not_be_made_has_a_row_that_says_why():
    row = not_made("int8", "no layer of it has an 8-bit form").row()
    assert row["fault"] == "no layer of it has an 8-bit form"
    assert not row["admissible"]


def test_a_row_holds_no_timing_and_is_json():
    row = verdict(TRAINED).row()
    assert json.loads(json.dumps(row)) == row
    assert set(row) == {
        *("name", "bytes", "accuracy", "log_loss", "agreement", "disagreement"),
        *("fault", "admissible"),
    }


def test_the_self_tests_bound_lets_pass_what_was_judged_and_no_more_than_twice_as_much():
    expected = certain(LABELS).astype(np.float32)
    answers = certain(LABELS, 0.87).astype(np.float32)
    bound = self_test_bound(answers, expected)
    test = SelfTest(np.zeros((100, 1, 1, 3), np.uint8), expected, {"int8": bound})
    assert test.allows("int8", answers)
    assert test.allows("int8", certain(LABELS, 0.84).astype(np.float32))
    assert not test.allows("int8", certain(LABELS, 0.8).astype(np.float32))
