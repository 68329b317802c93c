"""The tables come back as they were written; a damaged one is a named error."""

import os
from dataclasses import replace

import catalogues
import pyarrow.parquet as pq
import pytest

from pipeline.data.catalogue import (
    Catalogue,
    Refusal,
    read_catalogue,
    read_quarantine,
    read_source,
    write_quarantine,
)
from pipeline.data.corrections import read_lines as read_corrections
from pipeline.data.splits import SplitRow, Splits, read_splits, write_splits
from pipeline.errors import DatasetError

SHA = "0" * 64
ROW = catalogues.row("a")
ROWS = [
    ROW,
    catalogues.row("b", None, path="猫/\\xff", copies=("cat/b.png", "dog/b.png")),
    catalogues.row("c", phash="0123456789abcdef", brightness=1 / 3),
]
SPLIT_ROW = SplitRow(SHA, ROW.file, "cat", 8, 6, "train", None, None)
SPLITS = Splits(
    (SPLIT_ROW, replace(SPLIT_ROW, label=None, split="left_out", reason="label_conflict")),
    seed=-3,
    validation=0.1,
    test=1 / 3,
)
RELABEL = ("sha256", "label", "reason")


def test_a_catalogue_comes_back_as_it_was_written(tmp_path):
    catalogues.write(tmp_path / "catalogue.parquet", ROWS, "photos")
    assert read_catalogue(tmp_path / "catalogue.parquet") == Catalogue("photos", tuple(ROWS))
    assert read_source(tmp_path / "catalogue.parquet") == "photos"


def test_what_a_list_says_comes_back_with_its_rows(tmp_path):
    rows = [replace(ROW, columns=values) for values in ({"day": "1"}, {"day": None})]
    catalogues.write(tmp_path / "catalogue.parquet", rows)
    assert read_catalogue(tmp_path / "catalogue.parquet").rows == tuple(rows)


def test_splits_come_back_with_what_they_were_made_from(tmp_path):
    write_splits(tmp_path / "splits.parquet", SPLITS)
    assert read_splits(tmp_path / "splits.parquet") == SPLITS


def test_tables_without_a_row_come_back(tmp_path):
    catalogues.write(tmp_path / "catalogue.parquet", [])
    write_splits(tmp_path / "splits.parquet", replace(SPLITS, rows=()))
    assert read_catalogue(tmp_path / "catalogue.parquet").rows == ()
    assert read_splits(tmp_path / "splits.parquet").rows == ()


def test_equal_catalogues_are_equal_files(tmp_path):
    catalogues.write(tmp_path / "one.parquet", ROWS)
    catalogues.write(tmp_path / "other.parquet", list(ROWS))
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()


def test_writing_again_leaves_a_hard_link_of_the_old_table_whole(tmp_path):
    """DVC's cache holds such links: a table written in place would change an older version."""
    table, quarantine = tmp_path / "catalogue.parquet", tmp_path / "quarantine.csv"
    catalogues.write(table, ROWS)
    write_quarantine(quarantine, [])
    kept = {}
    for path in (table, quarantine):
        os.link(path, tmp_path / f"{path.name}.link")
        kept[path] = path.read_bytes()
    catalogues.write(table, [], "other")
    write_quarantine(quarantine, [Refusal("cat/a", "empty", "no bytes")])
    for path, before in kept.items():
        assert (tmp_path / f"{path.name}.link").read_bytes() == before != path.read_bytes()
    assert len(list(tmp_path.iterdir())) == 4, "a scratch file was left"


def _write_both(folder):
    catalogues.write(folder / "catalogue.parquet", ROWS)
    write_splits(folder / "splits.parquet", SPLITS)


READERS = [
    ("catalogue.parquet", read_catalogue),
    ("catalogue.parquet", read_source),
    ("splits.parquet", read_splits),
]


@pytest.mark.parametrize(("name", "read"), READERS)
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.unlink(), id="missing"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-9]), id="cut off"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[9:]), id="headless"),
        pytest.param(lambda path: path.write_text("sha256,file\n"), id="CSV"),
        pytest.param(
            lambda path: pq.write_table(pq.read_table(path).drop_columns(["label"]), path),
            id="a column gone",
        ),
        pytest.param(
            lambda path: pq.write_table(pq.read_table(path).replace_schema_metadata(None), path),
            id="its source gone",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_a_named_error(tmp_path, name, read, damage):
    _write_both(tmp_path)
    damage(tmp_path / name)
    with pytest.raises(DatasetError) as caught:
        read(tmp_path / name)
    assert caught.value.what.startswith(name)


def test_classes_are_sorted_and_those_left_out_do_not_count():
    rows = [
        replace(SPLIT_ROW, label="dog"),
        replace(SPLIT_ROW, label="cat", split="test"),
        replace(SPLIT_ROW, label="ape", split="left_out"),
        replace(SPLIT_ROW, label=None, split="left_out"),
    ]
    assert replace(SPLITS, rows=tuple(rows)).classes == ("cat", "dog")


def test_the_rows_of_a_split_are_its_own():
    rows = tuple(replace(SPLIT_ROW, split=name) for name in ("train", "test", "train", "left_out"))
    assert len(replace(SPLITS, rows=rows).of("train")) == 2
    assert replace(SPLITS, rows=rows).of("validation") == ()


def test_a_quarantine_holds_any_name(tmp_path):
    refusals = [
        Refusal("cat/a,b.png", "damaged", 'it said "no"'),
        Refusal("cat/line\nbreak.png", "empty", ""),
        Refusal("猫/é", "not_a_file", "a\tb"),
    ]
    write_quarantine(tmp_path / "quarantine.csv", refusals)
    assert read_quarantine(tmp_path / "quarantine.csv") == refusals


@pytest.mark.parametrize(
    "text",
    [
        f"sha256,label,reason\n{SHA},cat,a cat\n",
        f"\ufeffsha256,label,reason\r\n{SHA},cat,a cat\r\n",
        f"sha256, label, reason\n{SHA}, cat, a cat\n",
        f'sha256,label,reason\n\n{SHA},cat,"a cat"',
    ],
    ids=["plain", "from a spreadsheet", "with spaces", "with a blank line"],
)
def test_corrections_are_read_however_an_editor_writes_them(tmp_path, text):
    (tmp_path / "relabel.csv").write_text(text, newline="")
    rows = read_corrections(tmp_path / "relabel.csv", RELABEL)
    assert rows == [{"sha256": SHA, "label": "cat", "reason": "a cat"}]


@pytest.mark.parametrize(
    "text",
    ["", "sha256,label\n", "sha256;label;reason\n", f"{SHA},cat,a cat\n"],
    ids=["empty", "a column short", "semicolons", "no first line"],
)
def test_corrections_with_other_columns_are_told_the_first_line_to_write(tmp_path, text):
    (tmp_path / "relabel.csv").write_text(text)
    with pytest.raises(DatasetError) as caught:
        read_corrections(tmp_path / "relabel.csv", RELABEL)
    assert caught.value.mend == "make its first line sha256,label,reason"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("0123,cat,a cat", id="short hash"),
        pytest.param(f"{SHA}", id="hash alone"),
        pytest.param(f"{SHA},cat", id="a column short"),
        pytest.param(f"{SHA},cat,a cat,more", id="a column more"),
        pytest.param(f"{SHA},,not a dog", id="no label"),
    ],
)
@pytest.mark.parametrize("above", ["", f"{SHA},cat,a cat\n"], ids=["first", "second"])
def test_a_wrong_correction_is_named_by_its_line(tmp_path, above, line):
    (tmp_path / "relabel.csv").write_text(f"sha256,label,reason\n{above}{line}\n")
    with pytest.raises(DatasetError) as caught:
        read_corrections(tmp_path / "relabel.csv", RELABEL)
    assert f"relabel.csv, line {3 if above else 2} " in caught.value.what


def test_a_blank_line_above_does_not_shift_the_line_that_is_named(tmp_path):
    (tmp_path / "relabel.csv").write_text("sha256,label,reason\n\n\n0123,cat,a cat\n")
    with pytest.raises(DatasetError) as caught:
        read_corrections(tmp_path / "relabel.csv", RELABEL)
    assert "line 4 " in caught.value.what


def test_missing_corrections_are_a_named_error(tmp_path):
    with pytest.raises(DatasetError) as caught:
        read_corrections(tmp_path / "relabel.csv", RELABEL)
    assert "relabel.csv" in caught.value.what


def test_corrections_that_are_not_utf_8_are_a_named_error(tmp_path):
    text = f"sha256,label,reason\n{SHA},Kätzchen,so\n"
    (tmp_path / "relabel.csv").write_text(text, encoding="latin-1")
    with pytest.raises(DatasetError) as caught:
        read_corrections(tmp_path / "relabel.csv", RELABEL)
    assert "relabel.csv" in caught.value.what
