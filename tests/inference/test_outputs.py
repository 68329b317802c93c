"""Rows for people and as files: reasons are explained, what a spreadsheet would run is text, and a
file appears whole."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from predicted import answered, refused

from pipeline.errors import ProjectError
from pipeline.inference.outputs import legend, table_line, write_rows
from pipeline.serving.abstention import AMBIGUOUS, NO_CLASS, OUT_OF_DISTRIBUTION

FORMULAS = ("=1+1", "=HYPERLINK(1)", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1+1", "＝1+1")
NAMES = ("cat", "a=b", "-", "+", "-1", "+1", "-1.5", "'quoted'", 'a "b", c', "猫")


def written(path: Path, *rows) -> Path:
    assert len(list(write_rows(path, rows))) == len(rows)
    return path


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_of_a_csv_is_a_formula(tmp_path, formula):
    rows = [answered(formula, formula, metadata={formula: formula}), refused("a", detail=formula)]
    for row in csv_rows(written(tmp_path / "rows.csv", *rows)):
        assert [name for name, cell in row.items() if cell.startswith(tuple("=+-@\t＝"))] == []
    first = csv_rows(tmp_path / "rows.csv")[0]
    assert first["path"] == first["label"] == f"'{formula}"
    assert json.loads(first["metadata"]) == {formula: formula}


@pytest.mark.parametrize("name", NAMES)
def test_other_names_are_what_they_are_signs_and_numbers_too(tmp_path, name):
    """There are data sets whose classes are called + and -1."""
    (row,) = csv_rows(written(tmp_path / "rows.csv", answered("a", name)))
    assert row["label"] == name


def test_json_lines_and_parquet_have_every_text_as_it_is(tmp_path):
    rows = [answered(formula, formula) for formula in FORMULAS]
    lines = written(tmp_path / "rows.jsonl", *rows).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["label"] for line in lines] == list(FORMULAS)
    table = pq.read_table(written(tmp_path / "rows.parquet", *rows))
    assert table["label"].to_pylist() == list(FORMULAS)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_where_rows_fail_the_file_of_before_stays(tmp_path, suffix):
    """More rows than are written at once, then a fault."""

    def rows():
        yield from (answered(str(number)) for number in range(3_000))
        raise KeyboardInterrupt

    out = written(tmp_path / f"rows{suffix}", answered("before"))
    before = out.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        list(write_rows(out, rows()))
    assert out.read_bytes() == before and list(tmp_path.iterdir()) == [out]


def test_no_label_steers_the_terminal():
    line = table_line(answered("a.png", "\x1b[2J\u202ecat"))
    assert line.isprintable() and "cat" in line


def test_every_reason_to_abstain_is_explained():
    assert list(legend([])) == []
    told = list(legend([OUT_OF_DISTRIBUTION, AMBIGUOUS, NO_CLASS]))
    assert [line.partition(":")[0] for line in told] == [
        "(ambiguous)",
        "(no_class)",
        "(out_of_distribution)",
    ]
    assert not any("docs/" in line for line in told)


@pytest.mark.parametrize("name", ["a.png/rows.csv", "x" * 252 + ".csv", "no/rows.csv"])
def test_a_place_that_cannot_be_written_is_a_named_error(tmp_path, name):
    (tmp_path / "a.png").touch()
    with pytest.raises(ProjectError, match="cannot be written"):
        written(tmp_path / name, answered("a.png", "cat"))
    assert {path.name for path in tmp_path.iterdir()} == {"a.png"}


def test_where_a_link_leads_is_written_and_the_link_stays(tmp_path):
    (tmp_path / "link.csv").symlink_to("shared/rows.csv")
    (tmp_path / "shared").mkdir()
    written(tmp_path / "link.csv", answered("a.png", "cat"))
    assert (tmp_path / "link.csv").is_symlink()
    assert [row["path"] for row in csv_rows(tmp_path / "shared/rows.csv")] == ["a.png"]
