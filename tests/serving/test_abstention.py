"""An answer says how far it can be relied on, by what was sealed beside the network."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.serving.abstention import (
    EMBEDDINGS,
    THRESHOLDS,
    Known,
    Thresholds,
    ood_scores,
    read_known,
    rely,
    unit_length,
)

EAST, NORTH, WEST = np.array([[1.0, 0]]), np.array([[0, 1.0]]), np.array([[-1.0, 0]])


def known(overall: float = 0.5, distance: float = 0.1, neighbours: int = 1) -> Known:
    """One image is known, in the east."""
    thresholds = Thresholds(0.9, overall, (0.2, math.inf, 0.2), neighbours, distance)
    return Known(thresholds, EAST)


@pytest.mark.parametrize(
    ("probabilities", "overall", "classes", "reason"),
    [
        ([0.8, 0.1, 0.1], 0.5, (0,), None),
        ([0.5, 0.5, 0.0], 0.5, (0, 1), "ambiguous"),
        ([0.4, 0.3, 0.3], 0.5, (), "no_class"),
        ([1.0, 0.0, 0.0], math.inf, (0, 1, 2), "ambiguous"),
    ],
)
def test_an_answer_of_one_class_can_be_relied_on(probabilities, overall, classes, reason):
    (answer,) = rely(np.array([probabilities]), EAST, known(overall))
    assert answer.conformal_set == classes
    assert answer.abstain_reason == reason


def test_each_class_has_a_threshold_of_its_own_in_the_other_set():
    (answer,) = rely(np.array([[0.75, 0.0, 0.25]]), EAST, known())
    assert answer.class_conditional_set == (1,)  # of which too few images were seen


def test_a_strange_image_is_not_answered_however_sure_the_network_is():
    sure = np.array([[1.0, 0, 0]] * 2)
    near, far = rely(sure, np.concatenate([7 * EAST, NORTH]), known())
    assert (near.ood_score, near.abstain_reason) == (0, None)
    assert far.ood_score == pytest.approx(2**0.5)
    assert far.abstain_reason == "out_of_distribution"


def test_an_embedding_that_is_no_number_is_strange():
    (answer,) = rely(np.array([[1.0, 0, 0]]), np.array([[np.nan, 0]]), known())
    assert (answer.ood_score, answer.abstain_reason) == (None, "out_of_distribution")


def test_where_too_few_images_are_known_there_is_no_score():
    (answer,) = rely(np.array([[1.0, 0, 0]]), WEST, known(distance=math.inf, neighbours=2))
    assert (answer.ood_score, answer.abstain_reason) == (None, None)


def test_the_distance_is_that_of_the_kth_nearest_and_nobody_is_their_own_neighbour():
    images = np.concatenate([EAST, NORTH, WEST])
    assert ood_scores(EAST, images, 2) == pytest.approx([2**0.5])
    assert ood_scores(images, images, 1, themselves=True) == pytest.approx([2**0.5] * 3)
    assert np.isinf(ood_scores(images, images, 3, themselves=True)).all()


@given(low=st.floats(0, 1), high=st.floats(0, 1), seed=st.integers(0, 99))
def test_sets_grow_with_the_threshold(low, high, seed):
    low, high = sorted((low, high))
    probabilities = np.random.default_rng(seed).dirichlet([1, 1, 1], 5)
    small, large = (rely(probabilities, EAST.repeat(5, 0), known(each)) for each in (low, high))
    for inner, outer in zip(small, large, strict=True):
        assert set(inner.conformal_set) <= set(outer.conformal_set)


def test_a_zero_embedding_stays_finite():
    assert (unit_length(np.zeros((1, 3))) == 0).all()


def test_what_was_sealed_is_read_back_as_it_was(tmp_path):
    sealed = known(overall=math.inf)
    text = json.dumps(sealed.thresholds.as_json(), allow_nan=False)
    (tmp_path / THRESHOLDS).write_text(text)
    np.save(tmp_path / EMBEDDINGS, sealed.embeddings.astype(np.float16))
    read = read_known(tmp_path)
    assert read is not None
    assert read.thresholds == sealed.thresholds
    assert (read.embeddings == sealed.embeddings).all()


def test_pickled_embeddings_are_refused(tmp_path):
    (tmp_path / THRESHOLDS).write_text(json.dumps(known().thresholds.as_json()))
    np.save(tmp_path / EMBEDDINGS, np.array([object()]), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        read_known(tmp_path)
