"""`darkroom predictions`: what a person sees of them, and what of a name reaches the terminal."""

import csv
import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from predicted import answered, publish, refused
from worlds import ROOT

from pipeline.cli.predictions import predictions
from pipeline.errors import CommandError, ProjectError

HOSTILE = "\x1b[2J\x1b]0;title\x07[red]:boom:[/red]\u202e/\r\n猫"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project in which two versions have predicted, of 22 classes; do not change it."""
    root = tmp_path_factory.mktemp("project")
    (root / "pipeline").mkdir()
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, root)
    many = [answered(f"many/{n}", f"class {n:02}", 0.9) for n in range(20)]
    publish(root / "predictions", "many-1", *many)
    publish(
        root / "predictions",
        "few-1",
        answered(f"few/{HOSTILE}", HOSTILE, 0.3, abstain_reason="ambiguous"),
        answered("few/" + "long/" * 100 + "a.png", "=cat", 0.2),
        *(refused(f"few/{n}", "empty") for n in range(3)),
        version=2,
        day="2026-03-02",
    )
    return root


@pytest.fixture(autouse=True)
def _within(project, monkeypatch) -> None:
    monkeypatch.chdir(project)
    for name in ("DARKROOM_HOME", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)


def ask(*arguments: str) -> str:
    return CliRunner().invoke(predictions, arguments, catch_exceptions=False).output


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]


def test_counts_by_version_day_and_class_and_why_there_is_no_answer():
    said = ask()
    assert said.startswith("digits: 25 rows: 21 answered, 1 abstained, 3 refused\n")
    rows = [cells(line) for line in said.splitlines() if line.startswith("│")]
    assert ["2", "1", "1", "3"] in rows and ["1", "20", "0", "0"] in rows
    assert ["2026-03-02", "1", "1", "3"] in rows
    assert ["class 00", "1", "0"] in rows
    assert ["empty", "0", "3"] in rows and ["ambiguous", "1", "0"] in rows
    assert "and 2 more: --by class" in said


def test_one_table_is_shown_to_its_end():
    said = ask("--by", "class", "--version", "1")
    rows = [cells(line)[0] for line in said.splitlines() if line.startswith("│")]
    assert rows == [f"class {n:02}" for n in range(20)]
    assert "more" not in said and "day" not in said


def test_the_least_confident_are_named_whole_and_nothing_of_a_name_reaches_the_terminal():
    said = ask("--least-confident", "2")
    assert said.replace("\n", "").isprintable()
    rows = [cells(line) for line in said.splitlines() if line.startswith("│")]
    whole = "".join(row[-1] for row in rows)
    assert "long/" * 100 + "a.png" in whole
    assert "\\x1b[2J\\x1b]0;title\\x07[red]:boom:[/red]\\u202e/\\r\\n猫" in whole
    assert [row[0] for row in rows if row[0]] == ["0.2000", "0.3000"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_an_export_has_all_rows_that_are_chosen(tmp_path, suffix):
    out = tmp_path / f"rows{suffix}"
    said = ask("--since", "2026-03-02", "--output", str(out))
    assert said == f"5 rows: {out}\n"
    with out.open(encoding="utf-8", newline="", errors="replace") as file:
        read = {
            ".parquet": lambda: pq.read_table(out).to_pylist(),
            ".csv": lambda: list(csv.DictReader(file)),
            ".jsonl": lambda: [json.loads(line) for line in file.read().split("\n")[:-1]],
        }[suffix]()
    assert len(read) == 5 and read[0]["path"] == f"few/{HOSTILE}"
    assert read[1]["label"] == ("'=cat" if suffix == ".csv" else "=cat")
    assert list(tmp_path.iterdir()) == [out]


def test_the_least_confident_can_be_exported_too(tmp_path):
    ask("--least-confident", "1", "--output", str(tmp_path / "rows.jsonl"))
    (line,) = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert json.loads(line)["confidence"] == 0.2


def test_where_nothing_fits_there_is_nothing_and_that_is_no_error():
    nothing = ("--since", "2999-01-01")
    assert "digits: 0 rows: 0 answered" in ask(*nothing)
    assert "no prediction" in ask(*nothing, "--least-confident", "3")
    assert "none of these was refused" in ask(*nothing, "--refused", "3")


@pytest.mark.parametrize(
    ("choice", "what", "there"),
    [
        (("--class", "nobody"), "class nobody", "class 00, class 01"),
        (("--version", "7"), "version 7", "there are 1, 2"),
    ],
)
@pytest.mark.parametrize("asked", [(), ("--least-confident", "3"), ("--output", "rows.csv")])
def test_a_mistyped_choice_is_named_beside_those_that_there_are(choice, what, there, asked):
    with pytest.raises(CommandError, match=f"no prediction has the {what}") as caught:
        ask(*choice, *asked)
    assert there in str(caught.value)


def test_which_files_were_refused_and_why():
    said = ask("--refused", "2")
    rows = [cells(line) for line in said.splitlines() if line.startswith("│")]
    assert [row[0] for row in rows if row[0]] == ["empty", "empty"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--by", "day", "--output", "rows.csv"), "--by is about tables"),
        (("--by", "day", "--least-confident", "2"), "--by is about tables"),
        (("--refused", "2", "--least-confident", "2"), "--refused lists"),
        (("--since", "yesterday"), "yesterday"),
        (("--least-confident", "0"), "0"),
    ],
)
def test_what_does_not_go_together_is_refused_as_usage(arguments, word):
    done = CliRunner().invoke(predictions, arguments)
    assert done.exit_code == 2 and word in done.output


@pytest.mark.parametrize(
    ("output", "word"), [("rows.xml", ".parquet"), ("no/such/folder/rows.csv", "cannot be written")]
)
def test_a_file_that_cannot_be_is_refused(output, word):
    with pytest.raises(ProjectError, match=word):
        ask("--output", output)
