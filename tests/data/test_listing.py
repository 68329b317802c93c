"""A list is untrusted too: each of its lines is a file inside its folder, or refused by a word."""

import datetime
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.data.catalogue import CATALOGUE
from pipeline.data.folders import Entry
from pipeline.data.listing import columns, entries
from pipeline.errors import SourceError


def write_csv(source: Path, text: str) -> Path:
    (source / "list.csv").write_text(text, encoding="utf-8", newline="")
    return source / "list.csv"


def write_parquet(source: Path, **values: Any) -> Path:
    pq.write_table(pa.table(values), source / "list.parquet")
    return source / "list.parquet"


def listed(path: Path) -> list[Entry]:
    return list(entries(path, columns(path)))


def one(path: Path) -> Entry:
    (entry,) = listed(path)
    return entry


def told(path: Path) -> SourceError:
    with pytest.raises(SourceError) as caught:
        listed(path)
    assert len(str(caught.value).splitlines()) <= 5
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na/1.png,cat\nb.png,dog\n",
        "\ufeffpath,label\r\na/1.png,cat\r\nb.png,dog\r\n",
        "path, label\na/1.png, cat\nb.png, dog \n",
        'path,label\n\n"a/1.png","cat"\n\n\nb.png,dog',
        "label,path\ncat,a/1.png\ndog,b.png\n",
        "path,label\n./a//1.png,cat\n./b.png,dog\n",
    ],
    ids=["plain", "from a spreadsheet", "spaces", "blank lines", "other order", "long-winded"],
)
def test_a_list_is_read_however_an_editor_writes_it(lay, text):
    source = lay("a/1.png", "b.png")
    found = listed(write_csv(source, text))
    assert [(entry.path, entry.label, entry.refusal) for entry in found] == [
        ("a/1.png", "cat", None),
        ("b.png", "dog", None),
    ]
    assert found[0].stat.st_ino == (source / "a/1.png").stat().st_ino


def test_a_name_with_a_comma_or_a_quote_is_quoted(lay):
    source = lay('a, "b".png')
    assert one(write_csv(source, 'path,label\n"a, ""b"".png",cat\n')).path == 'a, "b".png'


def test_further_columns_come_along_and_an_empty_cell_is_none(lay):
    path = write_csv(lay("a.png", "b.png"), "group,path,label,camera\n7,a.png,cat,\n,b.png,cat,x\n")
    assert columns(path) == ("group", "camera")
    assert [entry.columns for entry in listed(path)] == [("7", None), (None, "x")]


def test_a_parquet_list_may_hold_what_is_no_text(lay):
    path = write_parquet(
        lay("a.png", "b.png"),
        path=["a.png", "b.png"],
        label=pa.array([3, 10], pa.int8()),
        patient=pa.array([12, None], pa.int64()),
        weight=[0.5, 2.0],
        day=[datetime.date(2026, 1, 2), None],
        site=pa.array(["north", None]).dictionary_encode(),
        nothing=pa.nulls(2),
    )
    assert columns(path) == ("patient", "weight", "day", "site", "nothing")
    assert [(entry.label, entry.columns) for entry in listed(path)] == [
        ("3", ("12", "0.5", "2026-01-02", "north", None)),
        ("10", (None, "2", None, None, None)),
    ]


def test_a_parquet_list_of_any_length_is_read_whole(lay):
    source = lay(*(f"{number}.png" for number in range(50)))
    names = [f"{number % 50}.png" for number in range(150_000)]
    path = write_parquet(source, path=names, label=["cat"] * len(names))
    found = listed(path)
    assert len(found) == 150_000
    assert sum(entry.refusal is None for entry in found) == 50


@pytest.mark.parametrize("suffix", [".CSV", ".Parquet"])
def test_a_suffix_is_known_in_any_case(lay, suffix):
    source = lay("a.png")
    path = source / f"list{suffix}"
    if suffix == ".CSV":
        path.write_text("path,label\na.png,cat\n")
    else:
        write_parquet(source, path=["a.png"], label=["cat"]).rename(path)
    assert one(path).label == "cat"


def test_an_absolute_path_inside_the_lists_folder_is_the_same_as_a_relative_one(lay):
    source = lay("cat/a.png")
    path = write_csv(source, f"path,label\n{source}/cat/a.png,cat\n")
    assert (one(path).path, one(path).relative) == ("cat/a.png", "cat/a.png")


@pytest.mark.parametrize(
    "named",
    ["../secret.png", "cat/../../secret.png", "cat/..", "/etc/passwd", "{source}x/a.png", ".", "/"],
)
def test_a_path_that_leads_out_of_the_lists_folder_is_refused_and_not_looked_at(
    lay, source, named, monkeypatch
):
    path = write_csv(lay("cat/a.png"), f"path,label\n{named.format(source=source)},cat\n")

    def looked(*arguments: object, **options: object) -> None:
        raise AssertionError(arguments)

    monkeypatch.setattr(os, "lstat", looked)
    assert one(path).refusal == ("outside", "not a path that stays in the list's folder")


def test_a_line_without_a_path_is_shown_by_its_number(lay):
    assert one(write_csv(lay("a.png"), "path,label\n\n,cat\n")).path == "line 3"


def test_a_line_that_says_the_same_again_is_refused_however_it_says_so(lay):
    source = lay("a.png")
    path = write_csv(source, f"path,label\na.png,cat\n./a.png,cat\n{source}/a.png,cat\n")
    first, *others = listed(path)
    assert (first.label, first.refusal) == ("cat", None)
    assert [entry.refusal[0] for entry in others] == ["listed_twice"] * 2


def test_a_line_that_says_otherwise_of_a_file_is_a_copy_that_disagrees(lay):
    path = write_csv(lay("a.png"), "path,label\na.png,cat\na.png,dog\n")
    assert [(entry.label, entry.refusal) for entry in listed(path)] == [
        ("cat", None),
        ("dog", None),
    ]


def test_a_file_that_is_not_there_is_gone_and_the_others_are_listed(lay):
    path = write_csv(lay("b.png"), "path,label\na.png,cat\nb.png/c.png,cat\nb.png,dog\n")
    assert [entry.refusal and entry.refusal[0] for entry in listed(path)] == ["gone", "gone", None]


def test_a_name_that_no_file_can_have_is_gone(lay):
    names = ["a\0b.png", "n" * 300 + ".png"]
    found = listed(write_parquet(lay("a.png"), path=names, label=["cat", "cat"]))
    assert [entry.refusal[0] for entry in found] == ["gone", "gone"]
    assert all(entry.path.isprintable() for entry in found)


def test_a_link_is_listed_as_itself(tmp_path, lay):
    source = lay("b.png")
    (source / "a.png").symlink_to(tmp_path / "elsewhere")
    found = one(write_csv(source, "path,label\na.png,cat\n"))
    assert found.stat.st_ino == (source / "a.png").lstat().st_ino


def test_a_line_without_a_label_is_an_entry_without_a_class(lay):
    path = write_csv(lay("a.png", "b.png"), "path,label\na.png,\nb.png,  \n")
    assert [(entry.label, entry.refusal) for entry in listed(path)] == [("", None)] * 2


def test_a_label_is_text_that_any_table_can_hold(lay):
    path = write_parquet(lay("a.png"), path=["a.png"], label=[" two\nlines "])
    assert one(path).label == "two\\u000alines"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("a.png", "1 cells for 3 columns"),
        ("a.png,cat", "2 cells for 3 columns"),
        ("a.png,cat,train,more", "4 cells for 3 columns"),
        ("a.png,cat,Train", "split is 'Train', not one of train, validation, test"),
        ("a.png,cat,left_out", "split is 'left_out', not one of train, validation, test"),
    ],
)
@pytest.mark.parametrize(
    ("above", "number"), [("", 2), ("b.png,cat,test\n", 3), ("\n\nb.png,cat,\n\n", 6)]
)
def test_a_wrong_line_is_named_by_its_number(lay, above, number, line, fault):
    error = told(write_csv(lay("a.png", "b.png"), f"path,label,split\n{above}{line}\n"))
    assert error.what == f"line {number} of the list list.csv cannot be used"
    assert error.where == (fault,)


def test_a_wrong_row_of_a_parquet_list_is_named_as_if_it_were_csv(lay):
    many = 70_000  # more than one batch
    splits = ["test"] * (many - 1) + ["none"]
    path = write_parquet(lay("a.png"), path=["a.png"] * many, label=["cat"] * many, split=splits)
    assert told(path).what == f"line {many + 1} of the list list.parquet cannot be used"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "has no column path and no column label"),
        ("path,class\na.png,cat\n", "has no column label"),
        ("a.png,cat\n", "has no column path and no column label"),
        ("path;label\na.png;cat\n", "is separated by semicolons"),
        ("path,label,sha256\na.png,cat,0\n", "has a column that cannot be kept: sha256"),
        ("path,label,copies\na.png,cat,0\n", "has a column that cannot be kept: copies"),
        ("path,label,\na.png,cat,0\n", "has a column that cannot be kept: one without a name"),
        ("path,label,a\x1bb\na.png,cat,0\n", "has a column that cannot be kept: a\\u001bb"),
        ("path,label,day,day\na.png,cat,0,0\n", "has a column that cannot be kept: a name used"),
        ("path,label,label\na.png,cat,dog\n", "has a column that cannot be kept: a name used"),
    ],
)
def test_a_list_with_other_columns_than_it_may_have_is_a_named_error(lay, text, what):
    error = told(write_csv(lay("a.png"), text))
    assert error.what.startswith(f"the list list.csv {what}")


@pytest.mark.parametrize("name", sorted(set(CATALOGUE.names) - {"path", "label"}))
def test_no_column_of_a_list_may_have_the_name_of_one_of_the_catalogue(lay, name):
    error = told(write_parquet(lay("a.png"), path=["a.png"], label=["cat"], **{name: ["x"]}))
    assert error.what.endswith(f"cannot be kept: {name}")


def test_a_column_of_a_parquet_list_that_is_there_twice_is_a_named_error(lay):
    table = pa.table([["a.png"], ["cat"], ["1"], ["2"]], names=["path", "label", "day", "day"])
    pq.write_table(table, lay("a.png") / "list.parquet")
    assert "a name used twice" in told(lay() / "list.parquet").what


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("list.csv", "path,label\nKätzchen.png,cat\n".encode("latin-1")),
        ("list.csv", b"path,label\n" + b"x" * 200_000 + b",cat\n"),
        ("list.parquet", b""),
        ("list.parquet", b"path,label\na.png,cat\n"),
    ],
    ids=["not UTF-8", "an endless cell", "empty", "not Parquet"],
)
def test_what_is_no_table_is_a_named_error(lay, name, data):
    assert told(lay({name: data}) / name).what == f"the list {name} cannot be read as a table"


def test_a_parquet_list_that_is_cut_off_is_a_named_error(lay):
    path = write_parquet(lay("a.png"), path=["a.png"], label=["cat"])
    path.write_bytes(path.read_bytes()[:-9])
    assert "cannot be read as a table" in told(path).what


def test_a_column_that_cannot_be_text_is_a_named_error(lay):
    path = write_parquet(lay("a.png"), path=["a.png"], label=["cat"], box=[{"x": 1}])
    assert "cannot be read as a table" in told(path).what
