"""The audit's figure counts what was judged blindly, over all files, and names what was not."""

from datetime import UTC, datetime
from itertools import permutations

from pipeline.inference.decisions import Decided
from pipeline.inference.live_accuracy import (
    LIVE,
    Audit,
    add,
    describe,
    read_audit,
    write_audit,
)

DRAWN = {f"{number:064x}": "cat" for number in range(20)}


def decided(right: int, wrong: int, because: str = "audit", on: int = 1) -> list[Decided]:
    """Decisions on the first images of the audit, of January *on*."""
    labels = ["cat"] * right + ["dog"] * wrong
    at = datetime(2026, 1, on, tzinfo=UTC)
    named = zip(DRAWN, labels, strict=False)
    return [Decided({"sha256": sha256}, label, because, at) for sha256, label in named]


def audit(*files: list[Decided], before: Audit | None = None) -> Audit:
    for file in files:
        before = add(before, DRAWN, file)
    assert before is not None
    return before


def test_an_audit_is_told_with_its_interval():
    assert list(describe(audit(decided(17, 3)).live)) == [
        "audit: 17 of 20 right, 0.85 [0.64, 0.95] (95% interval)"
    ]


def test_what_was_skipped_is_named_as_a_bias_with_the_worst_case():
    told = list(describe(audit(decided(15, 1)).live))
    assert told[0].startswith("audit: 15 of 16 right, 0.94 ")
    assert told[1].startswith("audit: 4 of 20 skipped or open: a bias")
    assert told[1].endswith("with all of them wrong it is 0.75")


def test_images_that_were_shown_for_another_reason_do_not_count():
    others = decided(0, 20, because="least_certain", on=9)
    assert audit(decided(2, 0), others).live == audit(decided(2, 0)).live


def test_an_audit_on_which_nobody_decided_says_nothing():
    live = audit([]).live
    assert list(describe(live)) == [
        "audit: none of 20 images decided; it says nothing of live accuracy"
    ]
    assert live.figures() == {}


def test_files_add_up_in_any_order_and_of_two_decisions_the_later_counts():
    few, more, changed = decided(3, 0), decided(6, 4, on=2), decided(0, 2, on=3)
    for order in permutations((few, more, changed)):
        live = audit(*order).live
        assert (live.right, live.judged, live.drawn) == (4, 10, 20)


def test_what_adds_nothing_changes_nothing():
    before = audit(decided(3, 1, on=2))
    assert audit(decided(3, 0), decided(3, 1, on=2), before=before) is before


def test_a_larger_sample_counts_and_a_smaller_one_takes_nothing_back():
    small = dict(list(DRAWN.items())[:5])
    before = add(None, small, decided(5, 0))
    assert add(before, DRAWN, []).live.drawn == 20
    assert add(audit([]), small, decided(5, 0)).live.drawn == 20


def test_what_was_written_is_read_again_and_a_damaged_file_says_nothing(tmp_path):
    assert read_audit(tmp_path) is None
    written = audit(decided(3, 1))
    write_audit(tmp_path, written)
    assert read_audit(tmp_path) == written
    assert [path.name for path in tmp_path.iterdir()] == [LIVE]
    (tmp_path / LIVE).write_text("{")
    assert read_audit(tmp_path) is None
