"""What `classify` says of a batch: the labels, and above all those not to be relied on."""

import pyarrow as pa

from pipeline.inference.predictions import SCHEMA
from pipeline.inference.summary import SUMMARISED, describe, summarise

COLUMNS = pa.schema([SCHEMA.field(name) for name in SUMMARISED])


def row(label: str | None, abstain: str | None = None) -> dict[str, object]:
    reason, confidence = (None, 0.9) if label else ("damaged", None)
    return {
        "label": label,
        "confidence": confidence,
        "reason": reason,
        "abstain_reason": abstain,
    }


def said(rows: list[dict[str, object]]) -> list[str]:
    return list(describe(summarise(pa.Table.from_pylist(rows, COLUMNS))))


def test_labels_not_to_be_relied_on_are_counted_with_the_reason():
    rows = [
        row("dog"),
        *[row("cat")] * 2,
        *[row("cat", "ambiguous")] * 2,
        row("dog", "out_of_distribution"),
        row(None),
    ]
    assert said(rows) == [
        "7 images: 4 cat, 2 dog, 1 refused",
        "do not rely on 3 of 6 labels: 2 ambiguous (several classes are possible), "
        "1 out_of_distribution (unlike the images that the model knows)",
    ]


def test_where_every_label_is_relied_on_nothing_more_is_said():
    assert said([row("cat")]) == ["1 image: 1 cat, 0 refused"]


def test_no_class_steers_the_terminal():
    (line,) = said([row("\x1b[2Jcat")])
    assert line.isprintable()


def test_many_classes_are_only_counted():
    rows = [row(f"class {number}") for number in range(6)]
    assert said(rows) == ["6 images: 6 labels of 6 classes, 0 refused"]


def test_a_batch_of_refused_files_has_no_labels():
    assert said([row(None)] * 2) == ["2 images: 2 refused"]
