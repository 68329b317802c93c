"""What stands out is said, and chance alone seldom is."""

import numpy as np
import pytest

from pipeline.evaluation.assess import Assessment, Column, assess
from pipeline.evaluation.concerns import concerns_of
from pipeline.evaluation.measure import Measured

CLASSES = ("cat", "dog")


def assessed(labels: np.ndarray, right: np.ndarray, **columns: Column) -> Assessment:
    """Assess answers, rather sure ones, that are right where *right* says so."""
    called = np.where(right, labels, 1 - labels)
    probabilities = np.where(np.arange(2) == called[:, None], 0.9, 0.1)
    return assess(Measured(probabilities, labels), CLASSES, columns)


def said(found: Assessment, suspects: int = 0) -> list[str]:
    return [concern.says for concern in concerns_of({"fp32": found}, suspects)]


LABELS = np.arange(200) % 2
RIGHT = np.arange(200) % 10 > 1  # eight in ten, of both classes alike


def test_of_a_model_that_is_equally_good_everywhere_nothing_is_said():
    assert said(assessed(LABELS, RIGHT, width=list(np.arange(200.0)))) == []


def test_a_class_that_is_surely_recognised_less_is_named():
    right = np.where(LABELS == 1, np.arange(200) % 3 > 0, True)
    (line,) = said(assessed(LABELS, right))
    assert line.startswith("Only 67% of the 100 images of dog are recognised; of all images 84%")


def test_a_slice_that_is_surely_worse_is_named_with_its_images():
    right = RIGHT & (np.arange(200) >= 20)
    day = ["first"] * 40 + ["second"] * 160
    lines = said(assessed(LABELS, right, day_of_week=day))
    assert lines == ["Where day of week is first, 40% of 40 images are right; of all images 72%"]


def test_of_many_classes_chance_alone_names_hardly_any():
    """A hundred classes of twenty images, each right in eight of ten cases."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(100), 20)
    classes = [f"class {c}" for c in range(100)]
    named = 0
    for _ in range(5):
        right = random.random(2000) < 0.8
        figures = {"accuracy": float(right.mean())}
        by_class = {
            name: {"support": 20, "recall": float(right[labels == c].mean())}
            for c, name in enumerate(classes)
        }
        found = Assessment(2000, figures, {"accuracy": (0.7, 0.9)}, by_class, ())
        named += len(said(found))
    assert named <= 1


def test_a_model_that_guesses_the_commonest_class_is_told_so_for_each_variant():
    labels = (np.arange(100) < 10).astype(int)
    guessing = assessed(labels, labels == 0)
    found = concerns_of({"fp32": guessing, "int8": guessing}, 0)
    told = [concern.says for concern in found if concern.section == "figures"]
    assert [line.split()[0] for line in told] == ["fp32", "int8"]
    assert told[0].endswith("always answering cat, which is right 90% of the time")


@pytest.mark.parametrize(("count", "words"), [(1, "1 label,"), (1200, "1,200 labels,")])
def test_suspects_are_counted(count, words):
    (line,) = said(assessed(LABELS, np.arange(200) > 3), count)
    assert line.startswith(f"The model contradicts {words} which may be wrong")


def test_what_a_weak_model_contradicts_is_no_reason_for_alarm():
    assert said(assessed(LABELS, RIGHT), 19) == []


def test_too_few_images_are_said_to_be_too_few():
    lines = said(assessed(LABELS[:12], np.ones(12, bool)))
    assert "2 of 2 classes have fewer than 10 images here: cat, dog" in lines
    assert "12 images are too few to measure by" in lines
