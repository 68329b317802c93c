"""What a person is shown first is what is most surely wrong."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.splits import SplitRow
from pipeline.evaluation.gallery import doubted, most_confused_pairs, surest_mistakes
from pipeline.evaluation.suspects import Suspect

CLASSES = ("cat", "dog", "owl")
PROBABILITIES = np.array(
    [
        [0.9, 0.1, 0.0],
        [0.6, 0.3, 0.1],
        [0.1, 0.8, 0.1],
        [0.7, 0.2, 0.1],
        [0.0, 0.0, 1.0],
    ]
)
LABELS = np.array([0, 1, 0, 1, 0])
ROWS = [SplitRow(f"{n}" * 64, f"{n}.png", "", 1, 1, "validation", None, None) for n in range(5)]
PATHS = {row.sha256: f"mine/{row.file}" for row in ROWS}


def test_mistakes_come_surest_first_with_what_was_right():
    found = surest_mistakes(PROBABILITIES, LABELS, ROWS, CLASSES, PATHS, 3)
    assert [(each.path, each.label, each.answer) for each in found] == [
        ("mine/4.png", "cat", "owl"),
        ("mine/2.png", "cat", "dog"),
        ("mine/3.png", "dog", "cat"),
    ]
    assert [(each.confidence, each.of_label) for each in found] == [(1, 0), (0.8, 0.1), (0.7, 0.2)]


def test_a_perfect_model_has_none():
    labels = PROBABILITIES.argmax(1)
    assert surest_mistakes(PROBABILITIES, labels, ROWS, CLASSES, PATHS, 9) == ()
    assert most_confused_pairs(PROBABILITIES, labels, CLASSES, 9) == ()


def test_pairs_are_counted_with_their_share_of_the_class():
    first, *others = most_confused_pairs(PROBABILITIES, LABELS, CLASSES, 9)
    assert (first.label, first.answer, first.images, first.share) == ("dog", "cat", 2, 1.0)
    assert {(each.label, each.answer, each.share) for each in others} == {
        ("cat", "dog", 1 / 3),
        ("cat", "owl", 1 / 3),
    }
    assert len(most_confused_pairs(PROBABILITIES, LABELS, CLASSES, 1)) == 1


def test_suspects_keep_their_order_and_find_their_pictures():
    suspects = [Suspect(ROWS[n].sha256, "cat", "dog", 0.5) for n in (3, 0)]
    found = doubted(suspects, ROWS, PATHS)
    assert [(each.file, each.path) for each in found] == [
        ("3.png", "mine/3.png"),
        ("0.png", "mine/0.png"),
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_every_mistake_is_in_exactly_one_pair(pairs):
    labels, called = (np.array(each) for each in zip(*pairs, strict=True))
    found = most_confused_pairs(np.eye(3)[called], labels, CLASSES, 9)
    assert sum(each.images for each in found) == (labels != called).sum()
