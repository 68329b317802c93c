"""`darkroom data diff`: since a git revision, or since the data of an MLflow run."""

import json
import os
from pathlib import Path

import pytest
from mlflow.entities import Dataset, DatasetInput
from worlds import World, make_world, write_digits

from pipeline.errors import DarkroomError, DatasetError, ProjectError
from pipeline.graph import dataset_version
from pipeline.operations.diff import run
from pipeline.tracking.store import connect, experiment_id


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project whose first dataset is committed as `first`: since then one 0 has become a 1,
    one 0 is gone, and two 9s have come. Do not change it: fork it."""
    made = make_world(tmp_path_factory.mktemp("diff") / "project")
    source = made.root / "source"
    write_digits(source, range(120))
    made.set(**{"data.source": "source", "data.min_per_class": 2})
    made.run("darkroom", "ingest")
    made.commit()
    made.run("git", "tag", "first")
    relabelled, gone = sorted((source / "0").iterdir())[:2]
    relabelled.rename(source / "1" / relabelled.name)
    gone.unlink()
    for number in (1, 2):
        (source / f"9/new-{number}.png").write_bytes(
            next((source / "9").iterdir()).read_bytes() + bytes([number])
        )
    made.run("darkroom", "ingest")
    return made


@pytest.fixture
def world(changed: World, tmp_path: Path) -> World:
    return changed.fork(tmp_path / "project")


def told(world: World, revision: str) -> list[str]:
    lines: list[str] = []
    run(world.workspace, world.home, "source", revision, lines.append)
    return lines


def changes(lines: list[str]) -> dict[str, list[str]]:
    """Return the table's lines of classes that changed."""
    cells = [line.split() for line in lines[3:-1]]
    return {c[0]: c[3:] for c in cells if c[3:] != ["0", "0", "+0", "-0"]}


EXPECTED = {"0": ["0", "1", "+0", "-1"], "1": ["0", "0", "+1", "-0"], "9": ["2", "0", "+0", "-0"]}


def test_what_changed_since_a_git_revision_is_told_by_class_and_shown(world):
    lines = told(world, "first")
    assert changes(lines) == EXPECTED
    page = (world.root / "reports/data-diff-first.html").read_text()
    assert page.count("<img ") == 4
    assert page.count("data:image/png;base64") == 4, "the removed one comes from DVC's cache"


def test_the_last_commit_is_what_is_compared_with_by_default(world):
    assert "+1 -0" in world.run("darkroom", "data", "diff").stdout
    world.commit()
    assert "no image was added" in world.run("darkroom", "data", "diff").stdout


def test_a_persons_corrections_count(world):
    world.commit()
    row = next((world.root / "data/dataset/images").rglob("*.png")).stem
    (world.root / "data/corrections/relabel.csv").write_text(f"sha256,label,reason\n{row},owl,so\n")
    assert changes(told(world, "HEAD"))["owl"] == ["0", "0", "+1", "-0"]
    world.commit()
    assert "no image was added" in "\n".join(told(world, "HEAD"))


@pytest.fixture
def mlflow_run(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run that was trained on the first dataset."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    text = world.run("git", "show", "first:data/dataset.dvc").stdout
    digest = next(line.split()[-1] for line in text.splitlines() if "md5:" in line)
    client = connect(world.home, os.environ)
    made = client.create_run(experiment_id(client, world.home, "source"), run_name="brave-run")
    source = json.dumps({"source": "source"})
    dataset = Dataset("source", digest, "dvc", source, profile="{}")
    client.log_inputs(made.info.run_id, [DatasetInput(dataset, [])])
    return str(made.info.run_id)


def test_what_changed_since_a_run_is_found_by_its_id_and_its_name(world, mlflow_run):
    assert changes(told(world, mlflow_run)) == EXPECTED
    assert changes(told(world, "brave-run")) == EXPECTED


@pytest.mark.parametrize(
    ("revision", "error"),
    [
        ("no-such-thing", ProjectError),
        ("0" * 32, ProjectError),
        ("--output=/tmp/x", ProjectError),
        ("first~1", DatasetError),
    ],
)
def test_a_revision_without_a_dataset_is_a_named_error(world, revision, error):
    with pytest.raises(error):
        told(world, revision)
    assert not list((world.root / "reports").glob("data-diff*"))


def test_a_version_that_the_cache_does_not_hold_is_a_named_error(world):
    version = world.run("git", "show", "first:data/dataset.dvc").stdout.split("md5: ")[1][:32]
    (world.root / ".dvc/cache/files/md5" / version[:2] / f"{version[2:]}.dir").unlink()
    with pytest.raises(DarkroomError) as caught:
        told(world, "first")
    assert "dvc fetch" in caught.value.mend
    assert dataset_version(world.workspace)
