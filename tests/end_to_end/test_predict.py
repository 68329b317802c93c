"""`darkroom predict`: any files, no flow, no server, none of the heavy libraries."""

import csv
import json
import shutil
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

HEAVY = ("torch", "mlflow", "prefect", "pandas", "sklearn", "matplotlib")
SEALED = ("--model", "models/serving")


@pytest.fixture(scope="module")
def project(demo, tmp_path_factory):
    """The demo's project, with the sealed model and some images in photos/; predict only reads."""
    world = demo.fork(tmp_path_factory.mktemp("predict") / "project")
    photos = world.root / "photos"
    shutil.copytree(world.root / "data/inbox/source", photos)
    (photos / "broken.png").write_text("no image")
    return world


def lines(project, *arguments: str, **options) -> list[dict]:
    said = project.run("darkroom", "predict", *SEALED, "--json", *arguments, **options).stdout
    return [json.loads(line) for line in said.splitlines()]


def test_a_photo_is_answered_without_a_heavy_import(project):
    photo = min((project.root / "photos").glob("*.png"))
    done = project.run(
        "python", "-X", "importtime", "-m", "pipeline.cli", "predict", *SEALED, str(photo)
    )
    assert str(photo) in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "onnxruntime" in imported
    assert [name for name in HEAVY if name in imported] == []


def test_every_file_of_a_folder_has_a_row_the_unreadable_one_its_reason(project):
    rows = lines(project, "photos")
    assert [row["path"] for row in rows] == sorted(
        f"photos/{path.name}" for path in (project.root / "photos").iterdir()
    )
    refused = [(row["path"], row["reason"]) for row in rows if row["label"] is None]
    assert refused == [("photos/broken.png", "not_an_image")]


def test_a_row_is_the_one_that_the_batch_has_but_for_who_asked(project):
    (batch,) = (project.root / "predictions").glob("model=*/version=1/batch=*")
    published = {Path(row["path"]).name: row for row in pq.read_table(batch).to_pylist()}
    rows = lines(project, "photos/*.png")
    assert len(rows) == len(published) + 1
    for row in rows:
        if row["label"] is not None:
            other = published[Path(row["path"]).name]
            assert row["probabilities"] == dict(other["probabilities"])
            same = ("label", "confidence", "sha256", "serving_digest", "abstain_reason")
            assert [row[name] for name in same] == [other[name] for name in same]


def test_the_table_has_a_header_and_explains_each_reason_once(project):
    abstained = {row["abstain_reason"] for row in lines(project, "photos")} - {None}
    said = project.run("darkroom", "predict", *SEALED, "photos").stdout.splitlines()
    assert said[0].split() == ["label", "confidence", "path"]
    assert said[0].index("path") == said[1].index("photos/")
    legend = [line.partition(")")[0].lstrip("(") for line in said if line.startswith("(")]
    assert legend == sorted(abstained)


def test_files_come_as_they_are_named_listed_or_matched(project):
    first, second, *_ = sorted(path.name for path in (project.root / "photos").glob("*.png"))
    named = [f"photos/{second}", f"photos/{first}", f"photos/{second}"]
    assert [row["path"] for row in lines(project, *named)] == named
    assert [row["path"] for row in lines(project, "-", stdin="\n".join(named) + "\n\n")] == named


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_file_of_rows_appears_whole(project, tmp_path, suffix):
    out = tmp_path / f"rows{suffix}"
    project.run("darkroom", "predict", *SEALED, "photos", "--output", str(out))
    read = {
        ".parquet": lambda: pq.read_table(out).to_pylist(),
        ".csv": lambda: list(csv.DictReader(out.open())),
        ".jsonl": lambda: [json.loads(line) for line in out.read_text().splitlines()],
    }[suffix]()
    assert [row["path"] for row in read] == [row["path"] for row in lines(project, "photos")]
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("nowhere.png",), "nowhere.png"),
        (("photos", "--output", "rows.xml"), ".parquet"),
        (("photos", "--output", "no/such/folder/rows.csv"), "cannot be written"),
        (("photos", "--model", "photos"), "sealed"),
    ],
)
def test_what_cannot_be_is_told_in_a_few_lines(project, arguments, word):
    done = project.run("darkroom", "predict", *SEALED, *arguments, ok=False)
    assert done.returncode == 1
    assert word in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 5


def test_where_nothing_could_be_answered_the_exit_says_so(project):
    done = project.run("darkroom", "predict", *SEALED, "photos/broken.png", ok=False)
    assert done.returncode == 1 and "not_an_image" in done.stdout


def test_nothing_is_told_to_anybody_and_nothing_is_left_in_the_users_home(project, tmp_path):
    """ONNX Runtime, where it may, keeps a store there of what it sends to its makers."""
    predict = (sys.executable, "-m", "pipeline.cli", "predict", *SEALED, "photos")
    project.run("env", "-u", "CI", f"HOME={tmp_path}", *predict)
    assert list(tmp_path.iterdir()) == []
