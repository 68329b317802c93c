"""Decisions are applied whole or not at all, once; and believed in nothing that can be checked."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
import reviews

from pipeline.data import reviewed as store
from pipeline.data.reviewed import PROVENANCE, read_reviewed
from pipeline.errors import DarkroomError, ReviewError
from pipeline.inference.live_accuracy import read_audit
from pipeline.inference.review import Counts
from pipeline.operations import apply_review
from pipeline.operations.apply_review import Applied
from pipeline.operations.review import export_label_studio
from pipeline.params import Params
from pipeline.workspace import Home

IMAGES = {f"{number}.png": 20 * number + 8 for number in range(12)}
LABELS = {name: "dark" if grey < 128 else "light" for name, grey in IMAGES.items()}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return reviews.publish(tmp_path / "home", IMAGES)


@pytest.fixture
def apply(home: Home, params: Params, tmp_path: Path):
    def run(decisions: object) -> Applied:
        file = reviews.write(tmp_path / "decisions.json", decisions)
        return apply_review.run(home, params, file, lambda line: None)

    return run


def made(home: Home, labels: dict[str, str | None], audited: int = 0, **others: Any) -> Any:
    return reviews.decisions_on(reviews.batch_of(home), labels, audited, **others)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file's inode and time of writing."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): (p.stat().st_ino, p.stat().st_mtime_ns) for p in found}


def test_decided_images_are_copied_by_class_and_their_origin_is_kept(home, apply):
    apply(made(home, {"0.png": "dark", "1.png": "light", "2.png": None}))
    first, second = read_reviewed(home.reviewed)
    for each, name in ((first, "0.png"), (second, "1.png")):
        copy = home.reviewed / each.path
        assert copy.read_bytes() == (home.inbox("digits") / name).read_bytes()
        assert each.path == f"{each.label}/{each.sha256[:16]}.png"
    assert (second.predicted, second.label, second.because) == ("dark", "light", "least_certain")
    assert (second.batch, second.model_version) == (reviews.batch_of(home).name, "1")
    assert second.decided_at == "2026-01-03T00:00:00.000+00:00"
    assert second.found_at == "data/inbox/digits/1.png"


def test_applied_twice_the_second_changes_nothing(home, apply):
    decisions = made(home, LABELS, 4)
    first = apply(decisions)
    before, predictions = tree(home.reviewed), tree(home.predictions)
    second = apply(decisions)
    assert (first.copied, second.copied) == (12, 0)
    assert second.live == first.live
    assert tree(home.reviewed) == before
    assert tree(home.predictions) == predictions


def test_the_audit_measures_and_the_others_do_not(home, apply):
    wrong = dict.fromkeys(LABELS, "owl")
    batch = reviews.batch_of(home)
    drawn = {item["path"] for item in made(home, LABELS, 5)["items"] if item["because"] == "audit"}
    labels = {n: LABELS[n] if f"data/inbox/digits/{n}" in drawn else wrong[n] for n in LABELS}
    live = apply(reviews.decisions_on(batch, labels, 5)).live
    assert (live.right, live.judged, live.drawn) == (5, 5, 5)


def test_without_an_audit_nothing_is_said_of_live_accuracy(home, apply):
    apply(made(home, {"0.png": "dark"}))
    assert read_audit(reviews.batch_of(home).folder) is None


def test_what_several_files_say_of_the_audit_adds_up(home, apply):
    drawn = [i for i in made(home, LABELS, 4)["items"] if i["because"] == "audit"]
    names = [Path(item["path"]).name for item in drawn]
    apply(made(home, {names[0]: LABELS[names[0]]}, 4))
    live = apply(made(home, {names[1]: "owl", names[2]: None}, 4)).live
    assert (live.right, live.judged, live.drawn) == (1, 2, 4)
    assert read_audit(reviews.batch_of(home).folder).live == live


def test_a_later_decision_takes_the_place_of_an_earlier_one_in_any_order_of_files(home, apply):
    early = made(home, {"0.png": "dark"})
    late = made(home, {"0.png": "light"})
    late["items"][0]["decided_at"] = "2026-01-04T12:00:00.000+02:00"
    for decisions in (early, late, early):
        apply(decisions)
        kept = read_reviewed(home.reviewed)
    assert [each.label for each in kept] == ["light"]
    assert sorted(tree(home.reviewed)) == [kept[0].path, PROVENANCE]


def test_a_copy_that_was_lost_is_laid_down_again(home, apply):
    decisions = made(home, {"0.png": "dark"})
    apply(decisions)
    (copy,) = home.reviewed.glob("dark/*")
    copy.unlink()
    assert apply(decisions).copied == 1
    assert copy.exists()


def test_an_image_that_has_changed_since_is_left_out_and_the_others_are_taken(home, apply):
    decisions = made(home, {"0.png": "dark", "1.png": "dark", "2.png": "dark"})
    (home.inbox("digits") / "0.png").write_bytes((home.inbox("digits") / "5.png").read_bytes())
    (home.inbox("digits") / "1.png").unlink()
    applied = apply(decisions)
    assert (applied.copied, applied.lost) == (1, 2)
    assert [each.found_at for each in read_reviewed(home.reviewed)] == ["data/inbox/digits/2.png"]


def test_an_image_that_a_link_has_taken_the_place_of_is_not_followed(home, apply, tmp_path):
    decisions = made(home, {"0.png": "dark"})
    file = home.inbox("digits") / "0.png"
    file.rename(tmp_path / "elsewhere.png")
    file.symlink_to(tmp_path / "elsewhere.png")
    assert apply(decisions).lost == 1


def test_a_run_killed_between_any_two_renames_is_completed_by_the_next(home, apply, monkeypatch):
    decisions = made(home, {"0.png": "dark", "1.png": "light", "2.png": "dark"}, 12)
    for survived in (0, 1, 1, 1, 1):
        renames = iter(range(survived))

        def replace(self: Path, target: Path, renames=renames) -> Path:
            if next(renames, None) is None:
                raise KeyboardInterrupt
            os.rename(self, target)  # noqa: PTH104
            return target

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            with pytest.raises(KeyboardInterrupt):
                apply(decisions)
        for path in home.reviewed.rglob("[!.]*.png"):
            assert path.read_bytes().startswith(b"\x89PNG")
            assert path.stat().st_size > 50
    assert read_audit(reviews.batch_of(home).folder) is None
    assert apply(decisions).live.judged == 3
    assert read_audit(reviews.batch_of(home).folder).live.right == 2
    assert sorted(tree(home.reviewed)) == sorted(
        [PROVENANCE, *(each.path for each in read_reviewed(home.reviewed))]
    )
    assert len(read_reviewed(home.reviewed)) == 3


def test_label_studios_export_is_applied_like_the_pages_file(home, params, tmp_path):
    file = export_label_studio(home, params, None, Counts(4, 2, 0), lambda line: None)
    assert file.with_suffix(".xml").exists()
    tasks = json.loads(file.read_text())
    for task in tasks:
        label = LABELS[Path(task["data"]["path"]).name]
        said = {"type": "choices", "value": {"choices": [label]}}
        at = "2026-01-03T00:00:00Z"
        task["annotations"] = [{"result": [said], "was_cancelled": False, "created_at": at}]
    export = reviews.write(tmp_path / "export.json", tasks)
    applied = apply_review.run(home, params, export, lambda line: None)
    assert (applied.decided, applied.copied, applied.live.right, applied.live.drawn) == (6, 6, 4, 4)


def test_a_class_that_names_no_folder_has_one_all_the_same():
    place = store.place_of("../a/b", "0" * 64, ".png")
    folder, _, name = place.partition("/")
    assert folder.startswith("a-b-")
    assert name == "0" * 16 + ".png"


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "a\\b", " a", "a\n", "x" * 101, "\u202e", "Thumbs.db"]
)
def test_what_is_no_name_for_a_class_is_refused(home, apply, name):
    with pytest.raises(ReviewError):
        apply(made(home, {"0.png": name}))
    assert not home.reviewed.exists()


def _set(**values: Any):
    def change(decisions: dict[str, Any]) -> None:
        decisions |= values

    return change


def _item(**values: Any):
    def change(decisions: dict[str, Any]) -> None:
        decisions["items"][1] |= values

    return change


def _twice(decisions: dict[str, Any]) -> None:
    decisions["items"].append(decisions["items"][0])


def _many(decisions: dict[str, Any]) -> None:
    decisions["items"] *= 100


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_set(format="darkroom decisions 2"), "does not hold decisions"),
        (_set(extra=1), "does not hold decisions"),
        (_set(audit=-1), "does not hold decisions"),
        (_set(items={}), "does not hold decisions"),
        (_many, "does not hold decisions"),
        (_set(model_name="../digits"), "another model's batch"),
        (_set(model_version=2), "another batch, or version"),
        (_set(batch="none"), "has no batch none"),
        (_set(batch="../../\x1b[31m"), "has no batch \\u001b[31m"),
        (_set(audit=12), "the audit drew otherwise"),
        (_item(because="audit"), "the audit drew otherwise"),
        (_twice, "decided on twice"),
        (_item(path="/etc/passwd"), "is not one of the batch's"),
        (_item(path="data/inbox/digits/0.png"), "is not one of the batch's"),
        (_item(sha256="0" * 64), "is not one of the batch's"),
        (_item(sha256="../../etc"), "does not hold decisions"),
        (_item(predicted="light"), "has another prediction"),
        (_item(decision="correct"), "it says correct and is accept"),
        (_item(decision="skip"), "it says skip and is accept"),
        (_item(label=None), "it says accept and is skip"),
        (_item(label="light"), "it says accept and is correct"),
        (_item(decided_at="2999-01-01T00:00:00Z"), "dated in the future"),
        (_item(decided_at="0001-01-01T00:00:00+14:00"), "does not hold decisions"),
        (_item(decision="correct", label="Provenance.csv"), "no name for a class"),
        (_item(decided_at="2026-01-01T00:00:00"), "does not hold decisions"),
        (_item(decided_at=None), "does not hold decisions"),
    ],
)
def test_a_file_that_does_not_fit_is_a_named_error_and_nothing_of_it_is_taken(
    home, apply, change, what
):
    decisions = made(home, {"0.png": "dark", "1.png": "dark", "2.png": "dark"})
    change(decisions)
    with pytest.raises(ReviewError) as caught:
        apply(decisions)
    assert what in caught.value.what
    assert len(str(caught.value).splitlines()) <= 5
    assert str(caught.value).replace("\n", "").isprintable()
    assert not home.reviewed.exists()
    assert read_audit(reviews.batch_of(home).folder) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"[", b"null", b"\xff\xfe", b"[" * 200_000, b'{"a":' * 100_000, b'{"format": "\\ud800"}'],
    ids=["empty", "cut off", "null", "not UTF-8", "deep", "deeper", "half a character"],
)
def test_what_is_no_file_of_decisions_is_a_named_error(home, params, tmp_path, data):
    file = tmp_path / "decisions.json"
    file.write_bytes(data)
    with pytest.raises(ReviewError) as caught:
        apply_review.run(home, params, file, print)
    assert len(str(caught.value)) < 1000


def test_a_file_that_is_too_large_or_none_is_a_named_error(home, params, tmp_path):
    with (tmp_path / "large").open("wb") as out:
        out.truncate(2**40)
    os.mkfifo(tmp_path / "pipe")
    for name in ("large", "pipe", "."):
        with pytest.raises(ReviewError, match="cannot be read"):
            apply_review.run(home, params, tmp_path / name, print)


def test_a_file_that_is_not_there_is_looked_for_where_browsers_save(home, params, tmp_path):
    for name in ("x.decisions.json", "none/x.decisions.json"):
        with pytest.raises(ReviewError, match="no such file") as caught:
            apply_review.run(home, params, tmp_path / name, print)
        assert "~/Downloads/x.decisions.json" in caught.value.mend


def test_of_a_new_class_it_is_said_that_ingest_sets_it_aside(home, params, tmp_path):
    file = reviews.write(tmp_path / "decisions.json", made(home, {"0.png": "owl"}))
    said: list[str] = []
    apply_review.run(home, params, file, said.append)
    (line,) = (line for line in said if line.startswith("new class: owl (1 image)"))
    assert "set aside by ingest until the source has images of owl" in line


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "/etc/passwd", "..", "../0123456789abcdef.png"]
)
def test_a_provenance_that_leads_elsewhere_is_a_named_error(home, apply, path):
    apply(made(home, {"0.png": "dark"}))
    provenance = home.reviewed / PROVENANCE
    with provenance.open(newline="") as lines:
        (line,) = csv.DictReader(lines)
    with provenance.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(line))
        writer.writeheader()
        writer.writerow(line | {"path": path})
    with pytest.raises(DarkroomError, match="is damaged"):
        apply(made(home, {"1.png": "dark"}))
