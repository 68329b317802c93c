"""The choice of images for review: what is audited is drawn blindly, and nothing is shown twice."""

import random
from typing import Any

import pytest

from pipeline.inference.review import AUDIT, LEAST_CERTAIN, STRANGE, Counts, audit, choose


def row(number: int, confidence: float = 0.9, **others: Any) -> dict[str, Any]:
    return {
        "path": f"data/inbox/{number:04d}.jpg",
        "sha256": f"{number:064x}",
        "label": "cat" if number % 2 else "dog",
        "confidence": confidence,
    } | others


REFUSED = {"label": None, "confidence": None}
ROWS = [row(number, 0.5 + number / 200) for number in range(100)]


def test_the_same_rows_in_any_order_give_the_same_choice():
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    counts = Counts(10, 10, 10)
    assert choose("b", ROWS, counts) == choose("b", shuffled, counts)


def test_another_batch_draws_another_audit_of_the_same_images():
    first, second = ({r["sha256"] for r in audit(name, ROWS, 20)} for name in "ab")
    assert first != second


def test_the_audit_does_not_look_at_what_the_model_said():
    sure = [each | {"confidence": 0.99, "label": "cat"} for each in ROWS]
    assert [r["path"] for r in audit("b", ROWS, 30)] == [r["path"] for r in audit("b", sure, 30)]


def test_the_least_certain_come_in_their_order_without_those_of_the_audit():
    chosen = choose("b", ROWS, Counts(50, 10, 0))
    audited = {item.sha256 for item in chosen if item.because == AUDIT}
    doubted = [item for item in chosen if item.because == LEAST_CERTAIN]
    others = [each["sha256"] for each in ROWS if each["sha256"] not in audited]
    assert [item.sha256 for item in doubted] == others[:10]
    assert len(audited) == 50


def test_the_strangest_are_those_that_the_model_abstained_on_as_strange():
    rows = [
        row(1, abstain_reason="out_of_distribution", ood_score=0.5),
        row(2, abstain_reason="out_of_distribution", ood_score=1.5),
        row(3, abstain_reason="ambiguous", ood_score=1.9),
        row(4, abstain_reason=None, ood_score=0.1),
    ]
    chosen = choose("b", rows, Counts(0, 0, 9))
    assert [(item.sha256, item.because) for item in chosen] == [
        (f"{2:064x}", STRANGE),
        (f"{1:064x}", STRANGE),
    ]


def test_a_batch_without_abstentions_has_nothing_strange():
    assert choose("b", ROWS, Counts(0, 0, 9)) == ()


@pytest.mark.parametrize("counts", [Counts(5, 0, 0), Counts(0, 5, 0)])
def test_a_refused_file_is_no_image_to_look_at(counts):
    unread = row(2, sha256=None, reason="gone") | REFUSED
    chosen = choose("b", [row(1, reason="damaged") | REFUSED, unread, row(3)], counts)
    assert [item.path for item in chosen] == ["data/inbox/0003.jpg"]


def test_the_same_image_at_two_paths_is_shown_once():
    twice = [row(1), row(1, path="data/inbox/0000.jpg")]
    assert [item.path for item in choose("b", twice, Counts(5, 5, 5))] == ["data/inbox/0000.jpg"]
