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
from pipeline.errors import DatasetError

SHA = "0" * 64
ROW = catalogues.image("a")
ROWS = [
    ROW,
    catalogues.image("b", None, path="猫/\\xff", copies=("cat/b.png", "dog/b.png")),
    replace(catalogues.image("c", phash=0x0123456789ABCDEF), brightness=1 / 3),
]


def test_a_catalogue_comes_back_as_it_was_written(tmp_path):
    catalogues.write(tmp_path / "catalogue.parquet", ROWS, "photos")
    assert read_catalogue(tmp_path / "catalogue.parquet") == Catalogue("photos", tuple(ROWS))
    assert read_source(tmp_path / "catalogue.parquet") == "photos"


def test_what_a_list_says_comes_back_with_its_rows(tmp_path):
    rows = [replace(ROW, columns=values) for values in ({"day": "1"}, {"day": None})]
    catalogues.write(tmp_path / "catalogue.parquet", rows)
    assert read_catalogue(tmp_path / "catalogue.parquet").rows == tuple(rows)


def test_a_catalogue_without_a_row_comes_back(tmp_path):
    catalogues.write(tmp_path / "catalogue.parquet", [])
    assert read_catalogue(tmp_path / "catalogue.parquet").rows == ()


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


@pytest.mark.parametrize("read", [read_catalogue, read_source])
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
def test_a_catalogue_that_cannot_be_used_is_a_named_error(tmp_path, read, damage):
    path = tmp_path / "catalogue.parquet"
    catalogues.write(path, ROWS)
    damage(path)
    with pytest.raises(DatasetError) as caught:
        read(path)
    assert caught.value.what.startswith("catalogue.parquet")


def test_a_quarantine_holds_any_name(tmp_path):
    refusals = [
        Refusal("cat/a,b.png", "damaged", 'it said "no"'),
        Refusal("cat/line\nbreak.png", "empty", ""),
        Refusal("猫/é", "not_a_file", "a\tb"),
    ]
    write_quarantine(tmp_path / "quarantine.csv", refusals)
    assert read_quarantine(tmp_path / "quarantine.csv") == refusals
