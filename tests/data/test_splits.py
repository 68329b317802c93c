"""splits.parquet comes back as it was written; a damaged one is a named error."""

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from pipeline.data.splits import USED, SplitRow, Splits, read_splits, write_splits
from pipeline.errors import DatasetError

SHA = "0" * 64
ROW = SplitRow(SHA, f"00/{SHA}.png", "cat", 64, 48, "train", None, None)
SPLITS = Splits(
    (ROW, replace(ROW, label=None, split="left_out", reason="excluded", detail="猫, blurred")),
    seed=-3,
    validation=0.1,
    test=1 / 3,
)


@pytest.mark.parametrize("rows", [SPLITS.rows, ()], ids=["rows", "no row"])
def test_splits_come_back_with_what_they_were_made_from(tmp_path, rows):
    write_splits(tmp_path / "splits.parquet", replace(SPLITS, rows=rows))
    assert read_splits(tmp_path / "splits.parquet") == replace(SPLITS, rows=rows)


def test_equal_splits_are_equal_files(tmp_path):
    for name in ("one", "other"):
        write_splits(tmp_path / name, replace(SPLITS, rows=tuple(map(replace, SPLITS.rows))))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.unlink(), id="missing"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-9]), id="cut off"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[9:]), id="headless"),
        pytest.param(lambda path: path.write_text("sha256,file\n"), id="CSV"),
        pytest.param(
            lambda path: pq.write_table(pq.read_table(path).drop_columns(["split"]), path),
            id="a column gone",
        ),
        pytest.param(
            lambda path: pq.write_table(pq.read_table(path).replace_schema_metadata(None), path),
            id="its seed gone",
        ),
    ],
)
def test_splits_that_cannot_be_used_are_a_named_error(tmp_path, damage):
    path = tmp_path / "splits.parquet"
    write_splits(path, SPLITS)
    damage(path)
    with pytest.raises(DatasetError) as caught:
        read_splits(path)
    assert caught.value.what.startswith("splits.parquet")
    assert caught.value.mend == "dvc repro split"


def test_classes_are_sorted_and_those_left_out_do_not_count():
    rows = [
        replace(ROW, label="dog"),
        replace(ROW, label="cat", split="test"),
        replace(ROW, label="ape", split="left_out"),
        replace(ROW, label=None, split="left_out"),
    ]
    assert replace(SPLITS, rows=tuple(rows)).classes == ("cat", "dog")


def test_the_rows_of_a_split_are_its_own():
    train, test, left_out = (replace(ROW, split=name) for name in ("train", "test", "left_out"))
    splits = replace(SPLITS, rows=(train, test, train, left_out))
    assert {name: splits.of(name) for name in (*USED, "left_out")} == {
        "train": (train, train),
        "validation": (),
        "test": (test,),
        "left_out": (left_out,),
    }
