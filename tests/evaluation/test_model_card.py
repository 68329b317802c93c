"""The card says on one page why a model serves, or does not, and where its limits are."""

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from markdown_it import MarkdownIt

from pipeline.evaluation.judging import Judgement, judge
from pipeline.evaluation.measure import Measured, Reliance
from pipeline.evaluation.model_card import (
    DESCRIPTION,
    Origin,
    model_card,
    shortened,
)
from pipeline.evaluation.start import Contamination
from pipeline.params import GateParams

CLASSES = ("cat", "dog", "<script>alert(1)</script> | `x` [y](javascript:z)")
LABELS = np.repeat([0, 1, 2], [60, 50, 10])
ORIGIN = Origin(
    name="photos",
    source="photos",
    dataset="0123456789abcdef.dir",
    counts={
        split: dict(zip(CLASSES, counts, strict=True))
        for split, counts in (
            ("train", (300, 250, 50)),
            ("validation", (60, 50, 10)),
            ("test", (60, 50, 10)),
        )
    },
    left_out=7,
    architecture="resnet18",
    image_size=128,
    num_parameters=11_178_051,
    best_epoch=9,
    params={"epochs": 15, "learning_rate": 0.001, "seed": 0},
    start="torchvision ResNet18_Weights.IMAGENET1K_V1",
    contamination=Contamination(first="torchvision ResNet18_Weights.IMAGENET1K_V1"),
    temperature=1.25,
    coverage=0.9,
    test_use=3,
    champion=2,
    set_aside={"int8": "it disagrees by 0.4000, at most 0.0200"},
    hashes={"serving_digest": "ab" * 32, "dataset": "0123456789abcdef.dir"},
)


def measured(wrong: int) -> Measured:
    """Right with 0.8, but for the first *wrong* images."""
    right = np.full(len(LABELS), 0.8)
    right[:wrong] = 0.1
    probabilities = np.repeat((1 - right)[:, None] / 2, 3, axis=1)
    probabilities[np.arange(len(LABELS)), LABELS] = right
    sets = probabilities > 0.3
    return Measured(
        probabilities,
        LABELS,
        Reliance(sets, sets, np.zeros(len(LABELS)), np.arange(len(LABELS)) < 12),
    )


def judged(challenger: dict[str, Measured], champion: dict[str, Measured] | None) -> Judgement:
    rule = {"metric": "accuracy", "alpha": 0.05, "margin": 0.0, "promote_if": "not_worse"}
    gate = {"champion": rule, "worst_class_recall": {"min": 0.8}}
    known = np.arange(len(LABELS)) >= 100
    columns = {"camera": ["a"] * 100 + ["b"] * 20}
    return judge(
        GateParams.model_validate(gate), challenger, champion, known, CLASSES, columns, use=3
    )


@pytest.fixture(scope="module")
def card() -> str:
    both = {"fp32": measured(6), "int8": measured(8)}
    return model_card(ORIGIN, judged(both, {"fp32": measured(40)}))


@pytest.mark.parametrize(
    "said",
    [
        "**promoted; better: accuracy higher by",
        "tells 3 classes of photos apart, from 128 × 128 pixels; variants: fp32, int8.",
        "| worst_class_recall | 0.8667 | at least 0.8000 | passed | yes |",
        "Version 2, run again on the same test images",
        "- the champion's int8 is set aside on this processor: it disagrees by 0.4000, at most",
        "20 that the champion knows are left out",
        "The smallest true difference that these test images show",
        "at level 0.0042",
        "120 images that its own training did not look at (its starting weights may have); "
        "these were opened for the 3rd time",
        "| accuracy | 0.9333 |",
        "at temperature 1.250",
        "0.90 of them should hold the right class, 0.9333 did",
        "It abstained on 0.1000 of these images.",
        "train 600, validation 120, test 120; left out 7. Dataset `0123456789abcdef.dir`",
        "resnet18, 11,178,051 parameters; epoch 9 was kept",
        "epochs 15, seed 0, learning_rate 0.001",
        "torchvision states no licence",
        "Fewer than 30 test images each",
        "other cameras, places and times were not seen",
        "| camera | b | 20 (small) | 1.0000 |",
        "| cat | 300 | 60 | 60 |",
        f"serving_digest: `{'ab' * 32}`",
    ],
)
def test_the_card_says(card, said):
    assert said in card


def test_the_smallest_difference_is_of_the_comparison_that_decides():
    both = {"fp32": measured(6), "int8": measured(8)}
    told = judged(both, {"fp32": measured(40)})
    assert f"show, 8 times of 10, is {told.comparison.difference.smallest:.4f}" in model_card(
        ORIGIN, told
    )


def test_each_gate_that_failed_is_named_in_the_first_line():
    told = judged({"fp32": measured(30)}, {"fp32": measured(6)})
    lines = model_card(ORIGIN, told).splitlines()
    assert lines[2].startswith(
        "**not promoted; worst_class_recall 0.5000, at least 0.8000: failed; worse: accuracy lower"
    )
    assert "| champion | -0.2400 | at least 0.0000 | worse | NO |" in lines


def test_a_hostile_class_is_no_markup_anywhere(card):
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(card)
    tags = []
    reader = HTMLParser()
    reader.handle_starttag = lambda tag, attrs: tags.append((tag, tuple(attrs)))
    reader.feed(html)
    assert {tag for tag, _ in tags} == {
        *("h1", "h2", "p", "strong", "em", "ul", "li", "code"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    } - {"em"}
    assert not any(attributes for _, attributes in tags)


def test_the_first_model_of_all_has_nothing_to_stand_against():
    origin = replace(
        ORIGIN, champion=None, set_aside={}, temperature=None, coverage=None, test_use=1
    )
    card = model_card(origin, judged({"fp32": measured(6)}, None))
    assert "**promoted; there was no champion**" in card
    assert "There was none to compare with." in card
    assert "it never abstains" in card and "1st time" in card


def test_equal_facts_are_equal_cards(card):
    both = {"fp32": measured(6), "int8": measured(8)}
    assert card == model_card(ORIGIN, judged(both, {"fp32": measured(40)}))


def test_a_card_of_many_classes_is_cut_after_a_whole_line_and_says_so(card):
    long = card + "".join(f"| class {n} | 1 |\n" for n in range(1000))
    cut = shortened(long)
    assert len(cut) <= DESCRIPTION and long.startswith(cut[: cut.index("\n\n*Cut here")])
    assert "test/model_card.md" in cut
    assert shortened(card[:DESCRIPTION]) == card[:DESCRIPTION]
