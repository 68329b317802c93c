"""A file is known again by its stamp, and only where that surely means: it is as it was."""

import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.folders import Entry
from pipeline.data.records import (
    RECORDS,
    columns_of,
    join,
    names,
    read_known,
    records_of,
    settled_stamp,
    stamp_of,
    tabulate,
    to_table,
    unchanged,
    write_known,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(b"pixels")
    return tmp_path / "a.png"


def entry(path: str, found: os.stat_result | None, **values: object) -> Entry:
    return replace(Entry(path, path, "cat", found), **values)


def found_in(*entries: Entry, columns: tuple[str, ...] = (), limit: int = 100) -> pa.Table:
    return tabulate(entries, columns, limit)


def known_from(found: pa.Table, stamp: tuple[int, ...]) -> pa.Table:
    """What is remembered where every file of *found* was read with *stamp*."""
    row = (*stamp, *["x", "y", 1, 1, "L", None, 0.5, 1.0, None, None])
    return join(found, to_table([row] * len(found), RECORDS))


def reasons(found: pa.Table) -> list[str | None]:
    return found["found_reason"].to_pylist()


def test_every_file_is_a_row_under_its_own_name_whatever_that_is(file):
    name = os.fsdecode(b"cat/\xff.png")
    found = found_in(entry(r"cat/\xff.png", file.stat(), relative=name))
    assert found["path"].to_pylist() == [r"cat/\xff.png"]
    assert list(names(found)) == [name]
    assert found["size"].to_pylist() == [6]


def test_more_files_than_a_batch_keep_their_order(file):
    paths = [f"cat/{number}" for number in range(10_000)]
    found = found_in(*(entry(path, file.stat()) for path in paths))
    assert found["path"].to_pylist() == list(names(found)) == paths


def test_what_its_entry_already_says_against_a_file_stays(file):
    refused = entry("a", file.stat(), label="", refusal=("listed_twice", "above"))
    assert reasons(found_in(refused)) == ["listed_twice"]


def test_what_a_stat_says_against_a_file_is_said_before_it_is_opened(file, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(file)
    found = found_in(
        entry("a", file.stat()),
        entry("b", file.stat(), label=""),
        *(entry(name, (tmp_path / name).lstat()) for name in ("pipe", "link", ".")),
        limit=6,
    )
    assert reasons(found) == [None, "no_class", *["not_a_file"] * 3]
    assert reasons(found_in(entry("a", file.stat()), limit=5)) == ["too_large"]


def test_a_lists_columns_keep_their_names_even_where_ours_have_the_same(file):
    found = found_in(entry("a", file.stat(), columns=("7", None)), columns=("size", "group"))
    assert columns_of(found).to_pylist() == [{"size": "7", "group": None}]
    assert found["size"].to_pylist() == [6]


@pytest.mark.parametrize("seconds", [15_000_000_000, -2_000_000_000])
def test_a_file_dated_in_another_century_is_a_row_like_any_other(file, seconds):
    os.utime(file, (seconds, seconds))
    if file.stat().st_mtime_ns != seconds * 10**9:
        pytest.skip("this file system cannot hold such a date")
    found = found_in(entry("a", file.stat()))
    assert unchanged(found, known_from(found, stamp_of(file.stat()))).to_pylist() == [0]


def test_an_inode_may_use_all_64_bits(file):
    parts = ("st_mode", "st_size", "st_mtime_ns", "st_ctime_ns")
    stat = SimpleNamespace(**{name: getattr(file.stat(), name) for name in parts}, st_ino=2**64 - 5)
    found = found_in(entry("a", stat))
    assert unchanged(found, known_from(found, stamp_of(stat))).to_pylist() == [0]


def test_a_file_whose_whole_stamp_is_the_same_is_unchanged(file):
    found = found_in(entry("a", file.stat()), entry("b", file.stat()))
    assert unchanged(found, known_from(found, stamp_of(file.stat()))).to_pylist() == [0, 1]


@pytest.mark.parametrize("part", range(4), ids=["size", "mtime", "ctime", "inode"])
def test_a_file_with_another_stamp_in_any_part_has_changed(file, part):
    found = found_in(entry("a", file.stat()))
    stamp = list(stamp_of(file.stat()))
    stamp[part] += 1
    assert unchanged(found, known_from(found, tuple(stamp))).to_pylist() == [None]


def test_a_file_under_another_name_is_new_and_the_others_are_found_wherever_they_stand(file):
    known = found_in(*(entry(name, file.stat()) for name in "abc"))
    now = found_in(*(entry(name, file.stat()) for name in ("c", "d", "a")))
    assert unchanged(now, known_from(known, stamp_of(file.stat()))).to_pylist() == [2, None, 0]


def test_where_nothing_is_known_everything_is_new(file, tmp_path):
    known, made = read_known(tmp_path / "none.parquet", "", ())
    assert made == ""
    assert unchanged(found_in(entry("a", file.stat())), known).to_pylist() == [None]
    assert len(unchanged(found_in(), known)) == 0


def test_a_file_that_was_not_there_is_never_known_again(file):
    found = found_in(entry("a", None, refusal=("gone", "")))
    assert unchanged(found, known_from(found, stamp_of(None))).to_pylist() == [None]


def test_a_file_written_just_now_has_no_stamp_that_lasts(file):
    """Written again within the tick of the file system's clock, it would keep its times."""
    found = found_in(entry("a", file.stat()))
    assert unchanged(found, known_from(found, settled_stamp(file.stat()))).to_pylist() == [None]


def test_a_file_that_rested_a_while_has_a_stamp_that_lasts(file, monkeypatch):
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 3 * 10**9)
    assert settled_stamp(file.stat()) == stamp_of(file.stat())


def test_an_old_date_alone_does_not_make_a_stamp_last(file):
    os.utime(file, (9, 9))
    assert settled_stamp(file.stat()) != stamp_of(file.stat())


def test_what_is_known_comes_back_as_it_was_written(file, tmp_path):
    found = found_in(entry("a", file.stat(), columns=("7",)), columns=("group",))
    known = known_from(found, stamp_of(file.stat()))
    write_known(tmp_path / "new/memory.parquet", known, "settings", "made")
    again, made = read_known(tmp_path / "new/memory.parquet", "settings", ("group",))
    assert again.equals(known)
    assert made == "made"
    assert records_of(again).schema == RECORDS
    assert again.select(found.schema.names).equals(found)


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _retype(path: Path) -> None:
    table = pq.read_table(path)
    texts = pa.array(["six"] * len(table))
    pq.write_table(table.set_column(table.schema.names.index("size"), "size", texts), path)


DAMAGES = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut off": _cut_off,
    "text": lambda path: path.write_text("path,size\n"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a column gone": lambda path: pq.write_table(pq.read_table(path).drop_columns("size"), path),
    "a column of text": _retype,
    "its settings gone": lambda path: pq.write_table(
        pq.read_table(path).replace_schema_metadata(None), path
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_memory_knows_nothing(file, tmp_path, damage):
    found = found_in(entry("a", file.stat()))
    memory = tmp_path / "memory.parquet"
    write_known(memory, known_from(found, stamp_of(file.stat())), "settings", "made")
    damage(memory)
    known, made = read_known(memory, "settings", ())
    assert (len(known), made) == (0, "")
    assert known.schema.names == known_from(found, stamp_of(None)).schema.names


@pytest.mark.parametrize(
    ("settings", "columns"),
    [
        ("other", ("group",)),
        ("settings", ()),
        ("settings", ("day",)),
        ("settings", ("group", "day")),
    ],
)
def test_a_memory_of_other_settings_or_columns_knows_nothing(file, tmp_path, settings, columns):
    found = found_in(entry("a", file.stat(), columns=("7",)), columns=("group",))
    known = known_from(found, stamp_of(file.stat()))
    write_known(tmp_path / "memory.parquet", known, "settings", "made")
    assert len(read_known(tmp_path / "memory.parquet", settings, columns)[0]) == 0
