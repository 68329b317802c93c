"""The audit's figure counts what was judged, and names what was not."""

from pipeline.inference.live_accuracy import describe, measure

DRAWN = {f"{number:064x}": "cat" for number in range(20)}


def decided(right: int, wrong: int) -> dict[str, str]:
    labels = ["cat"] * right + ["dog"] * wrong
    return dict(zip(DRAWN, labels, strict=False))


def test_an_audit_is_told_with_its_interval():
    assert list(describe(measure(DRAWN, decided(17, 3)))) == [
        "audit: 17 of 20 right, 0.85 [0.64, 0.95] (95% interval)"
    ]


def test_what_was_skipped_is_named_as_a_bias_with_the_worst_case():
    told = list(describe(measure(DRAWN, decided(15, 1))))
    assert told[0].startswith("audit: 15 of 16 right, 0.94 ")
    assert told[1].startswith("audit: 4 of 20 skipped or open: a bias")
    assert told[1].endswith("with all of them wrong it is 0.75")


def test_images_that_were_shown_for_another_reason_do_not_count():
    others = {"f" * 64: "dog"}
    assert measure(DRAWN, decided(2, 0) | others) == measure(DRAWN, decided(2, 0))


def test_an_audit_on_which_nobody_decided_says_nothing():
    told = list(describe(measure(DRAWN, {})))
    assert told == ["audit: none of 20 images decided; it says nothing of live accuracy"]
