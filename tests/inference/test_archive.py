"""What has its row is moved out of the inbox; nothing else is, and nothing is overwritten."""

import os

import pytest
from brightness import png
from disks import small_disk

from pipeline.errors import StorageError
from pipeline.inference.archive import archive
from pipeline.inference.originals import read_original
from pipeline.inference.predictions import read_known


def moved(place) -> int:
    known = read_known(place.predictions, "m")
    done = archive(place.inbox, place.home, place.home / "archive", known, limit=100_000)
    assert done.stuck == ()
    return done.moved


def lying(folder) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_has_its_row_is_moved_and_what_came_later_stays(place):
    place.put("monday/a.png", 0)
    place.put("bad.png", b"")
    before = lying(place.inbox)
    place.classify()
    later = place.put("monday/b.png", 0)
    assert moved(place) == 2
    assert lying(place.home / "archive") == before
    assert lying(place.inbox) == {"monday/b.png": later.read_bytes()}


def test_a_file_of_the_same_name_lies_beside_the_one_before(place):
    for brightness in (0, 128, 255):
        file = place.put("a.png", brightness)
        os.utime(file, ns=(brightness, brightness))
        place.classify()
        assert moved(place) == 1
    assert set(lying(place.home / "archive")) == {"a.png", "a.128.png", "a.255.png"}
    assert len(place.rows()) == 3


def test_files_of_one_name_and_one_time_are_all_kept(place):
    for brightness in (0, 128, 255):
        os.utime(place.put("a.png", brightness), ns=(7, 7))
        place.classify()
        assert moved(place) == 1
    lies = lying(place.home / "archive")
    assert set(lies) == {"a.png", "a.7.png", "a.7.1.png"}
    assert set(lies.values()) == {png(0), png(128), png(255)}


def test_the_longest_name_has_room_for_another_of_its_kind(place):
    name = f"{'ä' * 125}a.png"
    for brightness in (0, 255):
        os.utime(place.put(name, brightness), ns=(10**18 + brightness, 10**18 + brightness))
        place.classify()
        assert moved(place) == 1
    assert len(lying(place.home / "archive")) == 2


def test_what_was_only_touched_or_could_not_be_read_has_its_row_as_well(place):
    os.utime(place.put("touched.png", 0), ns=(0, 0))
    place.put("large.png", png(0) + bytes(200_000))
    place.classify()
    os.utime(place.inbox / "touched.png", ns=(1, 1))
    assert moved(place) == 2
    assert lying(place.inbox) == {}


def test_another_of_the_same_name_size_and_time_stays(place):
    first, second = (png(brightness) for brightness in (1, 2))
    assert len(first) == len(second)
    os.utime(place.put("a.png", first), ns=(7, 7))
    place.classify()
    os.utime(place.put("a.png", second), ns=(7, 7))
    assert moved(place) == 0


def test_a_file_that_would_lie_below_another_is_named_and_the_rest_is_moved(place):
    place.put("x", 0)
    place.classify()
    assert moved(place) == 1
    place.put("x/a.png", 0)
    place.put("y.png", 0)
    place.classify()
    known = read_known(place.predictions, "m")
    done = archive(place.inbox, place.home, place.home / "archive", known, limit=100_000)
    assert (done.moved, done.stuck) == (1, ("inbox/x/a.png: File exists",))
    assert lying(place.inbox).keys() == {"x/a.png"}


def test_what_was_moved_away_is_still_found_by_whoever_reviews_it(place):
    contents = [png(brightness) for brightness in (0, 128, 255)]
    for content in contents:
        os.utime(place.put("monday/ä\n.png", content), ns=(7, 7))
        place.classify()
        assert moved(place) == 1
    archived = place.home / "archive"
    found = {
        read_original(place.home, archived, row["path"], row["sha256"], 10**6)
        for row in place.rows()
    }
    assert found == set(contents)


def test_a_disk_that_fills_while_a_file_is_carried_to_it_keeps_no_part_of_it(place):
    file = place.put("a.png", png(0) + bytes(90_000))
    place.classify()
    (place.home / "archive").mkdir()
    with small_disk(place.home / "archive") as disk:
        disk.leave(pages=10)
        with pytest.raises(StorageError, match="No space left") as caught:
            moved(place)
        assert str(disk.folder / "a.png") in str(caught.value)
        assert lying(disk.folder) == {} and file.exists()
        disk.make_room()
        assert moved(place) == 1
        assert lying(disk.folder).keys() == {"a.png"} and not file.exists()


def test_a_file_that_was_changed_since_is_not_taken_away(place):
    os.utime(place.put("a.png", 0), ns=(0, 0))
    place.classify()
    os.utime(place.put("a.png", 255), ns=(1, 1))
    assert moved(place) == 0
    place.classify()
    assert moved(place) == 1
