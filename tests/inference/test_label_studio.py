"""Label Studio is another pair of hands: the same images go out, the same decisions come back."""

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from pipeline.data.thumbnails import MISSING
from pipeline.errors import ReviewError
from pipeline.inference.label_studio import config, is_export, read, tasks
from pipeline.inference.review import Item
from pipeline.inference.review_page import Review

ITEMS = tuple(
    Item(f"data/inbox/{n}.png", f"{n:064x}", because, "cat", 0.75)
    for n, because in enumerate(("audit", "least_certain", "strange"))
)
REVIEW = Review("b-1", "photos", 4, 1, ("cat", "dog"), ITEMS, {})


def made() -> list[dict[str, Any]]:
    return tasks(REVIEW, {item.sha256: MISSING for item in ITEMS})


def annotated(task: dict[str, Any], label: str | None, at: str = "05", **more: Any) -> None:
    """Give *task* what Label Studio adds to it."""
    value = {"choices": [label]}
    said = {"id": "x", "from_name": "label", "to_name": "image", "type": "choices", "value": value}
    task.setdefault("annotations", []).append(
        {
            "id": 1,
            "completed_by": 1,
            "result": [said] if label else [],
            "was_cancelled": label is None,
            "created_at": "2026-01-03T00:00:00.123456Z",
            "updated_at": f"2026-01-03T00:00:{at}.123456Z",
            "lead_time": 2.5,
        }
        | more
    )


def exported(*labels: str | None) -> list[dict[str, Any]]:
    found = made()
    for task, label in zip(found, labels, strict=True):
        annotated(task, label)
    return found


def told(export: object) -> ReviewError:
    with pytest.raises(ReviewError) as caught:
        read(json.dumps(export).encode())
    assert len(str(caught.value).splitlines()) <= 5
    return caught.value


def test_no_prediction_goes_out_with_an_image_of_the_audit():
    audit, *others = made()
    assert "predictions" not in audit
    assert "cat" not in json.dumps(audit)
    (prediction,) = others[0]["predictions"]
    assert prediction["result"][0]["value"] == {"choices": ["cat"]}
    assert prediction["score"] == 0.75


def test_the_interface_names_every_class_whatever_it_is_called():
    names = ("<cat>", "d'o\"g & co", "owl")
    found = ElementTree.fromstring(config(names)).iter("Choice")
    assert tuple(each.attrib["value"] for each in found) == names


def test_an_export_comes_back_as_decisions():
    decisions = read(json.dumps(exported("cat", "dog", None)).encode())
    assert (decisions.batch, decisions.model_name, decisions.model_version) == ("b-1", "photos", 4)
    assert decisions.audit == 1
    assert {d.sha256: (d.because, d.label) for d in decisions.items} == {
        ITEMS[0].sha256: ("audit", "cat"),
        ITEMS[1].sha256: ("least_certain", "dog"),
        ITEMS[2].sha256: ("strange", None),
    }


def test_of_several_annotations_the_latest_counts():
    export = exported("cat", "cat", "cat")
    annotated(export[0], "dog", at="09")
    annotated(export[1], "dog", at="01")
    labels = {d.path: d.label for d in read(json.dumps(export).encode()).items}
    assert labels == dict(zip((i.path for i in ITEMS), ("dog", "cat", "cat"), strict=True))


def test_a_task_without_an_annotation_is_open():
    export = exported("cat", "cat", "cat")
    export[1]["annotations"] = []
    assert len(read(json.dumps(export).encode()).items) == 2


def test_two_batches_in_one_export_are_a_named_error():
    export = exported("cat", "cat", "cat")
    export[1]["data"]["batch"] = "b-2"
    assert "more than one batch" in told(export).what


@pytest.mark.parametrize(
    "export",
    [
        [],
        [{"image": "x", "choice": "cat", "id": 1}],
        [{"data": {"image": "x"}, "annotations": []}],
        [[]],
    ],
    ids=["empty", "JSON-MIN", "tasks of somebody else", "a list"],
)
def test_what_is_no_export_of_these_tasks_is_a_named_error(export):
    assert told(export).what == "the file does not hold decisions"


def test_a_list_is_known_from_a_file_of_the_page():
    assert is_export(b"\xef\xbb\xbf\r\n [")
    assert not is_export(b'{"format": "["}')
