"""One assessment says the same of a model whoever asks: figures, intervals, classes, sets."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.assess import Assessment, assess
from pipeline.evaluation.measure import Measured, Reliance
from pipeline.metrics import LOWER_IS_BETTER, accuracy_interval, figures

CLASSES = ("cat", "dog", "owl")


def answers(labels: list[int], called: list[int], sure: float = 0.8) -> Measured:
    """Answers that call image i *called*[i], *sure* of it."""
    probabilities = np.full((len(labels), len(CLASSES)), (1 - sure) / (len(CLASSES) - 1))
    probabilities[np.arange(len(labels)), called] = sure
    return Measured(probabilities, np.array(labels, np.int64))


def relying(measured: Measured, sets: list[list[int]], abstained: list[bool]) -> Measured:
    members = np.array([[c in chosen for c in range(len(CLASSES))] for chosen in sets])
    scores = np.zeros(len(sets))
    reliance = Reliance(members, members, scores, np.array(abstained))
    return Measured(measured.probabilities, measured.labels, reliance)


def test_its_figures_are_those_of_metrics_and_each_class_has_its_own():
    measured = answers([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 1, 0])
    found = assess(measured, CLASSES, {})
    assert found.images == 6
    assert found.figures == figures(measured.probabilities, measured.labels)
    assert [found.classes[name]["support"] for name in CLASSES] == [3, 2, 1]
    assert [found.classes[name]["recall"] for name in CLASSES] == [2 / 3, 1, 0]
    assert found.classes["dog"]["precision"] == 2 / 3
    assert found.classes["owl"]["precision"] is None


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_every_interval_holds_its_figure(pairs):
    labels, called = map(list, zip(*pairs, strict=True))
    found = assess(answers(labels, called), CLASSES, {})
    for name, (low, high) in found.intervals.items():
        assert low <= found.figures[name] <= high, name
    for label, known in found.classes.items():
        for name, (low, high) in known["intervals"].items():
            assert low - 1e-12 <= known[name] <= high + 1e-12, (label, name)


def test_without_a_mistake_the_shares_still_have_an_interval():
    """A resample has no mistake to draw: the bootstrap alone would say 1.0 to 1.0."""
    found = assess(answers([0] * 20 + [1] * 20, [0] * 20 + [1] * 20), CLASSES, {})
    assert found.intervals["accuracy"] == accuracy_interval(1.0, 40)
    assert found.classes["cat"]["intervals"]["recall"] == accuracy_interval(1.0, 20)
    assert found.classes["cat"]["intervals"]["precision"][0] < 0.9


def test_equal_answers_have_equal_intervals():
    measured = answers([0, 1, 2, 0, 1], [0, 1, 1, 2, 1])
    assert assess(measured, CLASSES, {}) == assess(measured, CLASSES, {})


def test_conformal_sets_are_counted_over_all_and_by_class():
    measured = relying(
        answers([0, 0, 1, 1], [0, 1, 1, 1]),
        sets=[[0], [0, 1], [1], []],
        abstained=[False, True, False, True],
    )
    found = assess(measured, CLASSES, {})
    assert found.figures["coverage"] == 0.75
    assert found.figures["worst_class_coverage"] == 0.5
    assert found.figures["mean_set_size"] == 1.0
    assert found.figures["abstained"] == 0.5
    assert [found.classes[name]["coverage"] for name in CLASSES] == [1.0, 0.5, None]


def test_a_model_without_thresholds_has_no_coverage():
    found = assess(answers([0, 1], [0, 1]), CLASSES, {})
    assert "coverage" not in found.figures
    assert "coverage" not in found.classes["cat"]


def test_slices_by_numbers_and_by_words_stand_in_the_order_of_the_columns():
    measured = answers([0, 1, 0, 1], [0, 1, 1, 1])
    columns = {"width": [10.0, 10.0, 90.0, 90.0], "camera": ["a", None, "a", "a"]}
    found = assess(measured, CLASSES, columns)
    assert [(each.column, each.value, each.images) for each in found.slices] == [
        ("width", "10", 2),
        ("width", "90", 2),
        ("camera", "a", 3),
        ("camera", "missing", 1),
    ]
    assert [each.figures["accuracy"] for each in found.slices[:2]] == [1.0, 0.5]


def test_it_can_be_written_as_json_and_read_back():
    measured = relying(answers([0, 1], [0, 0]), [[0], [0]], [False, False])
    found = assess(measured, CLASSES, {"width": [1.0, 2.0]})
    read = json.loads(json.dumps(found.as_json()))
    assert set(read) == set(Assessment.__dataclass_fields__)
    assert read["figures"] == found.figures
    assert read["slices"][0]["column"] == "width"
    assert read["classes"]["owl"]["recall"] is None


@pytest.mark.parametrize("name", sorted(LOWER_IS_BETTER))
def test_what_is_lower_the_better_has_an_interval_too(name):
    assert name in assess(answers([0, 1, 2], [0, 1, 1]), CLASSES, {}).intervals
