"""The same image is in a dataset once, and every file is accounted for."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.catalogue import CATALOGUE, DISAGREE, Refusal
from pipeline.data.folders import Entry
from pipeline.data.records import RECORDS, join, tabulate
from pipeline.data.resolve import resolve
from pipeline.data.tables import to_table

COLUMNS = ("group", "split")
STAT = Path(__file__).stat()
LIMIT = 10**9


def known(*files: tuple[str, str], columns: Sequence[tuple[str | None, ...]] = ()) -> pa.Table:
    """Lay files down as ingest knows them: path and content; "!" before a content refuses it."""
    entries, records = [], []
    for number, (path, content) in enumerate(files):
        own = columns[number] if columns else ()
        refusal = ("gone", "so it is") if content == "!gone" else None
        entries.append(Entry(path, path, path.partition("/")[0], STAT, refusal, own))
        stamp = (100 + len(content), 0, 0, 0)
        if content.startswith("!"):
            reason = (None, None) if refusal else (content[1:], "as read")
            records.append((*stamp, *[None] * 8, *reason))
        else:
            copy = f"{content}.png"
            records.append((*stamp, content, copy, 8, 6, "L", None, 0.5, 1.5, None, None))
    names = COLUMNS if columns else ()
    found = tabulate(entries, names, LIMIT)
    return join(found, to_table(records, RECORDS))


def rows_of(catalogue: pa.Table) -> dict[str, dict[str, object]]:
    return {row["path"]: row for row in catalogue.to_pylist()}


def test_an_image_is_a_row_with_all_that_is_known_of_it():
    catalogue, refusals = resolve(known(("cat/a.png", "aa")))
    assert catalogue.to_pylist() == [
        {
            "sha256": "aa",
            "file": "aa.png",
            "path": "cat/a.png",
            "copies": None,
            "label": "cat",
            "bytes": 102,
            "width": 8,
            "height": 6,
            "mode": "L",
            "phash": None,
            "brightness": 0.5,
            "sharpness": 1.5,
        }
    ]
    assert catalogue.schema == CATALOGUE
    assert refusals == []


def test_the_same_image_twice_in_one_class_is_kept_once_and_names_its_copies():
    catalogue, refusals = resolve(
        known(("cat/b.png", "1"), ("cat/c.png", "2"), ("cat/a.png", "1"), ("cat/d.png", "1"))
    )
    rows = rows_of(catalogue)
    assert set(rows) == {"cat/b.png", "cat/c.png"}
    assert (rows["cat/b.png"]["label"], rows["cat/b.png"]["copies"]) == (
        "cat",
        ["cat/a.png", "cat/d.png"],
    )
    assert rows["cat/c.png"]["copies"] is None
    detail = "same content as cat/b.png"
    assert refusals == [Refusal(f"cat/{name}.png", "duplicate", detail) for name in "ad"]


def test_the_same_image_in_two_classes_is_kept_without_a_class_and_each_names_another():
    catalogue, refusals = resolve(
        known(("cat/a", "1"), ("cat/b", "1"), ("dog/a", "1"), ("dog/b", "2"), ("cat/c", "3"))
    )
    labels = {path: row["label"] for path, row in rows_of(catalogue).items()}
    assert labels == {"cat/a": None, "dog/b": "dog", "cat/c": "cat"}
    assert rows_of(catalogue)["cat/a"]["copies"] == ["cat/b", "dog/a"]
    assert refusals == [
        Refusal("cat/a", "label_conflict", "same content as dog/a, of class dog"),
        Refusal("cat/b", "label_conflict", "same content as dog/a, of class dog"),
        Refusal("dog/a", "label_conflict", "same content as cat/a, of class cat"),
    ]


def test_a_refused_file_is_named_with_its_reason_and_is_no_row():
    catalogue, refusals = resolve(known(("cat/b", "!damaged"), ("cat/a", "!gone"), ("cat/c", "1")))
    assert list(rows_of(catalogue)) == ["cat/c"]
    assert refusals == [
        Refusal("cat/a", "gone", "so it is"),
        Refusal("cat/b", "damaged", "as read"),
    ]


def test_a_lists_columns_come_along_as_they_are():
    catalogue, _ = resolve(
        known(("cat/a", "1"), ("cat/b", "2"), columns=[("7", None), (None, "test")])
    )
    assert catalogue.schema.names == [*CATALOGUE.names, *COLUMNS]
    assert [(row["group"], row["split"]) for row in catalogue.to_pylist()] == [
        ("7", None),
        (None, "test"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "kept"),
    [
        (("7", "test"), ("7", "test"), ("7", "test")),
        (("7", "test"), ("8", "test"), (DISAGREE, "test")),
        (("7", "test"), ("7", "train"), ("7", DISAGREE)),
        (("7", None), (None, None), (DISAGREE, None)),
        ((None, None), (None, None), (None, None)),
    ],
)
def test_copies_of_which_a_list_says_different_things_disagree(one, other, kept):
    catalogue, _ = resolve(known(("cat/a", "1"), ("cat/b", "1"), columns=[one, other]))
    (row,) = catalogue.to_pylist()
    assert (row["group"], row["split"], row["label"]) == (*kept, "cat")


def test_copies_that_disagree_leave_the_rows_around_them_alone():
    columns = [("1", None), ("2", None), ("3", None), ("4", None)]
    catalogue, _ = resolve(
        known(("a/1", "x"), ("a/2", "y"), ("a/3", "y"), ("a/4", "z"), columns=columns)
    )
    assert catalogue["group"].to_pylist() == ["1", DISAGREE, "4"]


def test_no_file_is_no_row_and_neither_are_refused_files_alone():
    for table in (known(), known(("cat/a", "!damaged"))):
        catalogue, _ = resolve(table)
        assert (len(catalogue), catalogue.schema) == (0, CATALOGUE)


contents = st.sampled_from(["1", "2", "3", "4", "!damaged", "!gone"])
sources = st.lists(st.tuples(st.sampled_from(["cat", "dog"]), contents), max_size=20).map(
    lambda files: [(f"{label}/{n:02d}", content) for n, (label, content) in enumerate(files)]
)


@settings(deadline=None, max_examples=50)
@given(sources)
def test_every_file_is_a_row_or_a_refusal_and_every_image_is_one_row(files):
    catalogue, refusals = resolve(known(*files))
    rows = rows_of(catalogue)
    assert sorted(row["sha256"] for row in rows.values()) == catalogue["sha256"].to_pylist()
    assert catalogue["sha256"].to_pylist() == sorted({c for _, c in files if c[0] != "!"})
    assert [refusal.path for refusal in refusals] == sorted({each.path for each in refusals})
    conflicts = {each.path for each in refusals if each.reason == "label_conflict"}
    assert {path for path, row in rows.items() if row["label"] is None} == conflicts & set(rows)
    assert {path for path, _ in files} == set(rows) | {each.path for each in refusals}
    assert set(rows) & {each.path for each in refusals} <= conflicts
    told = [path for row in rows.values() for path in (row["path"], *(row["copies"] or ()))]
    assert sorted(told) == sorted(path for path, content in files if content[0] != "!")


@settings(deadline=None, max_examples=50)
@given(sources)
def test_equal_content_is_equal_bytes_in_however_many_pieces_it_is_known(files):
    whole = known(*files)
    pieces = [whole.slice(place, 1) for place in range(len(whole))]
    pieced = pa.concat_tables(pieces) if pieces else whole
    assert resolve(pieced)[0].equals(resolve(whole)[0])
    assert resolve(pieced)[1] == resolve(whole)[1]
