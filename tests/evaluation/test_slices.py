"""Slices: every image in exactly one, equal values together, small ones marked."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.slices import SMALL, by_quantile, by_value, slices_of
from pipeline.metrics import figures


def answers(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Every third image is wrong."""
    labels = np.arange(n) % 2
    said = np.where(np.arange(n) % 3 == 0, 1 - labels, labels)
    return np.where(said[:, None] == np.arange(2), 0.75, 0.25), labels


def test_quarters_of_a_numeric_column_go_from_the_lowest_to_the_highest():
    slices = by_quantile("width", np.arange(8.0), *answers(8))
    assert [(s.value, s.images) for s in slices] == [
        ("0 to 1", 2),
        ("2 to 3", 2),
        ("4 to 5", 2),
        ("6 to 7", 2),
    ]


def test_a_slice_has_the_figures_of_its_images_alone():
    probabilities, labels = answers(8)
    last = by_quantile("width", np.arange(8.0), probabilities, labels)[-1]
    assert last.figures == figures(probabilities[6:], labels[6:])
    assert last.accuracy_interval[0] < last.figures["accuracy"] < last.accuracy_interval[1]


def test_equal_values_stay_together():
    widths = np.array([28.0] * 7 + [64.0])
    slices = by_quantile("width", widths, *answers(8))
    assert [(s.value, s.images) for s in slices] == [("28", 7), ("64", 1)]


def test_missing_values_are_a_slice_of_their_own():
    numeric = by_quantile("age", np.array([1.0, np.nan, 2.0]), *answers(3))
    assert [(s.value, s.images) for s in numeric] == [("1", 1), ("2", 1), ("missing", 1)]
    named = by_value("camera", ["a", None, "a"], *answers(3))
    assert [(s.value, s.images) for s in named] == [("a", 2), ("missing", 1)]
    assert [s.value for s in by_quantile("age", np.full(3, np.nan), *answers(3))] == ["missing"]


def test_the_commonest_value_comes_first_and_the_rare_ones_are_one_slice():
    cameras = ["a", "b", "b", *(f"rare{i:02}" for i in range(30))]
    slices = by_value("camera", cameras, *answers(33))
    assert [s.value for s in slices[:2]] == ["b", "a"]
    assert (slices[-1].value, slices[-1].images, len(slices)) == ("others", 12, 21)


@pytest.mark.parametrize(("images", "small"), [(SMALL - 1, True), (SMALL, False)])
def test_a_small_slice_is_marked(images, small):
    (only,) = by_value("camera", ["a"] * images, *answers(images))
    assert only.small is small


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.just(float("nan")), st.floats(-9, 9)), min_size=1, max_size=30))
def test_every_image_is_in_exactly_one_slice(values):
    slices = by_quantile("width", np.array(values), *answers(len(values)))
    assert sum(s.images for s in slices) == len(values)
    assert len({s.value for s in slices}) <= 5


@pytest.mark.parametrize(
    ("values", "named"),
    [
        pytest.param([1.0, 2.0, None, 2.0], ["1", "2", "missing"], id="numbers"),
        pytest.param(["b", "a", None, "b"], ["b", "a", "missing"], id="words"),
        pytest.param([1, 1, 1, 1], ["1"], id="whole numbers"),
        pytest.param([None] * 4, ["missing"], id="nothing is known"),
        pytest.param(["7", "a", "7", "7"], ["7", "a"], id="words that look like numbers"),
    ],
)
def test_numbers_are_sliced_by_size_and_words_by_value(values, named):
    assert [s.value for s in slices_of("camera", values, *answers(4))] == named
