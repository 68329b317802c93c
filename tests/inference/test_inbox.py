"""Which folders are taken: settled ones, or those that say that they are complete."""

import os
import shutil
import time

import pytest

from pipeline.errors import SourceError
from pipeline.inference.inbox import NewFolder, find_new
from pipeline.inference.metadata import metadata_of
from pipeline.inference.predictions import known_of

NOTHING = known_of([]).describes


def found(place) -> dict[str, NewFolder]:
    return {folder.name: folder for folder in find_new(place.inbox, place.home, NOTHING)}


def test_a_folder_is_settled_when_its_last_file_has_been_left_alone_so_long(place):
    place.put("monday/a.png", 0)
    changed = place.put("monday/b.png", 0).stat().st_ctime_ns
    folder = found(place)["monday"]
    assert not folder.is_settled(changed + 4 * 10**9, 5)
    assert folder.is_settled(changed + 5 * 10**9, 5)


def test_a_copy_that_keeps_the_times_of_its_files_is_still_a_new_one(place):
    os.utime(place.put("monday/a.png", 0), (0, 0))
    assert not found(place)["monday"].is_settled(time.time_ns(), 5)


def test_a_time_of_change_that_lies_ahead_keeps_nothing_waiting(place):
    ahead = time.time_ns() + 10**15
    changed = place.put("monday/a.png", 0)
    os.utime(changed, ns=(ahead, ahead))
    assert found(place)["monday"].is_settled(changed.stat().st_ctime_ns + 5 * 10**9, 5)


@pytest.mark.parametrize("ready", ["_READY", "monday/_READY"])
def test_a_folder_that_says_it_is_complete_is_taken_with_all_below_it_and_its_word_is_no_image(
    place, ready
):
    place.put("monday/late/a.png", 0)
    place.put("tuesday/a.png", 0)
    place.put(ready, b"")
    folders = found(place)
    assert set(folders) == {"monday/late", "tuesday"}
    assert folders["monday/late"].is_settled(0, 1e9)
    assert folders["tuesday"].is_settled(0, 1e9) == (ready == "_READY")


def test_what_is_said_of_an_image_travels_into_its_row(place):
    place.put("monday/a.png", 0)
    place.put("monday/late/b.png", 255)
    place.put("monday/c.png", 0)
    lines = "path,camera,patient\na.png,north,7\nlate/b.png,süd,\nnone.png,x,y\n"
    place.put("monday/metadata.csv", lines.encode("utf-8-sig"))
    place.classify()
    said = {row["path"]: row["metadata"] and dict(row["metadata"]) for row in place.rows()}
    assert said == {
        "inbox/monday/a.png": {"camera": "north", "patient": "7"},
        "inbox/monday/late/b.png": {"camera": "süd", "patient": ""},
        "inbox/monday/c.png": None,
    }


def test_the_nearest_metadata_counts(place):
    place.put("monday/late/a.png", 0)
    place.put("monday/metadata.csv", b"path,day\nlate/a.png,1\n")
    place.put("monday/late/metadata.csv", b"path,day\na.png,2\n")
    place.classify()
    assert [dict(row["metadata"]) for row in place.rows()] == [{"day": "2"}]


def test_how_many_files_it_does_not_name_is_told(place):
    for name in ("a.png", "b.png", "late/c.png"):
        place.put(f"monday/{name}", 0)
    place.put("monday/metadata.csv", b"path,day\na.png,1\nB.png,1\nlate/c.png,1\n")
    batches = {batch.images: batch.unlisted for batch in place.classify()}
    assert batches == {
        2: f"{place.inbox}/monday/metadata.csv has no line for 1 of 2 files",
        1: "",
    }


def test_a_folder_too_long_for_any_metadata_has_none(tmp_path):
    assert metadata_of(tmp_path, "/".join(["x" * 250] * 20), []).columns == {}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"\xff\xfe\x00", "UTF-8"),
        (b"", "no column path"),
        (b"name,day\na.png,1\n", "no column path"),
        (b"path;day\na.png;1\n", "but path;day"),
        (b"path,day\na.png\n", "row 2"),
        (b"path,day\na.png,1,2\n", "row 2"),
        (b"path\na.png\na.png\n", "row 3"),
        (b'path,day\n"a.png,1\n', "metadata.csv"),
    ],
)
def test_metadata_that_cannot_be_read_is_named_and_nothing_of_its_folder_is_classified(
    place, content, word
):
    place.put("a.png", 0)
    place.put("metadata.csv", content)
    with pytest.raises(SourceError, match=word):
        place.classify()
    assert place.rows() == []


def test_a_folder_that_lies_too_deep_has_one_row_in_the_place_of_its_files(place):
    deepest = "/".join(["deep"] * 64)
    place.put(f"{deepest}/a.png", 0)
    place.put(f"{deepest}/b.png", 0)
    place.put(f"{deepest.removesuffix('/deep')}/c.png", 255)
    place.classify()
    rows = {row["path"].rpartition("deep/")[2]: row for row in place.rows()}
    assert {name: row["label"] or row["reason"] for name, row in rows.items()} == {
        "deep": "too_deep",
        "c.png": "light",
    }
    assert "64 folders" in rows["deep"]["detail"]
    assert place.classify() == []


@pytest.mark.parametrize("whole", ["tuesday", "."])
def test_a_folder_that_is_taken_away_before_it_is_read_leaves_rows_that_say_so(place, whole):
    """Somebody tidies up while a run is at work."""
    place.put("tuesday/a.png", 0)
    (folder,) = find_new(place.inbox, place.home, NOTHING)
    shutil.rmtree(place.inbox / whole)
    place.classify_these([folder])
    assert place.labels() == {"tuesday/a.png": "gone"}
