"""predictions/, read by others as docs/inference.md says: the same rows and types by all four."""

import ast
import datetime
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow
import pyarrow.dataset
import pytest
from worlds import ROOT

PUBLISHED = "predictions/model=*/version=*/batch=*/*.parquet"
PARTITIONS = ("model", "version", "batch")


@pytest.fixture
def home(place, monkeypatch) -> Path:
    """Two versions with a batch each, one of refused files alone, and one that is being staged."""
    for version, name, file in (
        (1, "monday", 255),
        (1, "refused", b"no image"),
        (12, "tuesday", 0),
    ):
        place.model = type(place.model)("pets", version, "d" * 64, place.model.classifier)
        place.put(f"{name}/a.png", file)
        place.put(f"{name}/b.png", b"")
        place.put(f"{name}/metadata.csv", b"path,camera\na.png,north\n")
        assert len(place.classify()) == 1
    staged = place.predictions / "model=pets/.staging/half"
    staged.mkdir(parents=True)
    for part in place.predictions.glob("*/version=1/batch=monday*/*.parquet"):
        shutil.copy(part, staged)
    monkeypatch.chdir(place.home)
    return place.home


def _by_duckdb() -> pyarrow.Table:
    asked = f"SELECT * FROM read_parquet('{PUBLISHED}', hive_partitioning = true)"
    return duckdb.sql(asked).to_arrow_table()


def _by_polars() -> pyarrow.Table:
    return polars.scan_parquet(PUBLISHED, hive_partitioning=True).collect().to_arrow()


def _by_pandas() -> pyarrow.Table:
    frame = pandas.read_parquet("predictions", dtype_backend="pyarrow")
    return pyarrow.Table.from_pandas(frame, preserve_index=False)


def _by_pyarrow() -> pyarrow.Table:
    return pyarrow.dataset.dataset("predictions", partitioning="hive").to_table()


READERS: dict[str, Callable[[], pyarrow.Table]] = {
    "duckdb": _by_duckdb,
    "polars": _by_polars,
    "pandas": _by_pandas,
    "pyarrow": _by_pyarrow,
}


def _plain(kind: pyarrow.DataType) -> str:
    """What a column holds, however a library stores it."""
    if pyarrow.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pyarrow.types.is_map(kind):
        return f"map of {_plain(kind.key_type)} to {_plain(kind.item_type)}"
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        return f"list of {_plain(kind.value_type)}"
    if pyarrow.types.is_integer(kind):
        return "integer"
    return str(kind).removeprefix("large_").replace("string_view", "string")


def _rows(table: pyarrow.Table) -> list[tuple]:
    rows = []
    for row in table.to_pylist():
        for name in ("probabilities", "metadata"):
            row[name] = row[name] and tuple(map(tuple, row[name]))
        row["conformal_set"] = row["conformal_set"] and tuple(row["conformal_set"])
        rows.append(tuple(sorted(row.items())))
    return sorted(rows, key=lambda row: str(dict(row)["path"]))


def test_all_have_the_same_rows_and_the_same_types(home):
    tables = {name: read() for name, read in READERS.items()}
    by_pyarrow = _rows(tables["pyarrow"])
    seen = [dict(row) for row in by_pyarrow]
    assert [(row["version"], row["label"], row["reason"]) for row in seen] == [
        (1, "light", None),
        (1, None, "empty"),
        (1, None, "not_an_image"),
        (1, None, "empty"),
        (12, "dark", None),
        (12, None, "empty"),
    ]
    assert all(row["version"] == row["model_version"] for row in seen)
    assert {row["model"] for row in seen} == {"pets"}
    types = {
        name: {field.name: _plain(field.type) for field in table.schema}
        for name, table in tables.items()
    }
    assert types["pyarrow"]["version"] == "integer"
    assert {types["pyarrow"][name] for name in ("model", "batch")} == {"string"}
    assert types["pyarrow"]["probabilities"] == "map of string to double"
    for name, table in tables.items():
        assert types[name] == types["pyarrow"], name
        assert _rows(table) == by_pyarrow, name


@pytest.mark.parametrize("name", READERS)
def test_a_batch_of_refused_files_alone_has_its_types(home, name):
    """Else a column that is empty in it would have none, and whoever reads it first would fail."""
    for folder in home.glob("predictions/model=pets/version=*/batch=*"):
        if not folder.name.startswith("batch=refused"):
            shutil.rmtree(folder)
    table = READERS[name]()
    assert table["label"].to_pylist() == [None, None]
    assert _plain(table.schema.field("label").type) == "string"
    assert _plain(table.schema.field("probabilities").type) == "map of string to double"


def test_the_lines_of_the_docs_do_what_they_say(home):
    text = (ROOT / "docs/inference.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {"duckdb": duckdb, "polars": polars, "pandas": pandas, "pyarrow": pyarrow}
    found = []
    for line in ast.parse(code).body:
        if isinstance(line, ast.Expr):
            found.append(eval(compile(ast.Expression(line.value), "docs", "eval"), names))
        else:
            exec(compile(ast.Module([line], []), "docs", "exec"), names)
    counted, scanned, frame, dataset = found
    assert sorted(counted.fetchall(), key=str) == [
        (1, "light", 1),
        (1, None, 3),
        (12, "dark", 1),
        (12, None, 1),
    ]
    assert len(scanned.collect()) == len(frame) == dataset.count_rows() == 6


@pytest.mark.parametrize("name", ["2024", "2026-01-02", "1e5"])
def test_a_batch_is_text_whatever_its_folder_is_called(place, monkeypatch, name):
    """A name that looks like a number or a date would be one, but for the hash at its end."""
    place.put(f"{name}/a.png", 255)
    place.classify()
    monkeypatch.chdir(place.home)
    for read in READERS.values():
        (batch,) = read()["batch"].to_pylist()
        assert not isinstance(batch, int | datetime.date) and batch.startswith(f"{name}-")
