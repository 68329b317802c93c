"""Bad input: a few lines that say what, where and what to do; nothing half-written."""

import os
import socket
import subprocess
import sys

import pytest
from disks import small_disk
from refusals import refused
from worlds import write_digits


def nothing_was_taken_in(world) -> None:
    assert not world.workspace.dataset.exists() and not world.workspace.dataset_dvc.exists()
    assert not (world.root / "data/.staging").exists()


def test_a_missing_source(world):
    world.set(**{"data.source": "no/such/folder"})
    refused(world.run("darkroom", "ingest", ok=False), "no/such/folder is missing", "data.source")
    nothing_was_taken_in(world)


def test_an_empty_source(world):
    (world.root / "empty").mkdir()
    world.set(**{"data.source": "empty"})
    refused(world.run("darkroom", "ingest", ok=False), "no class folder")
    nothing_was_taken_in(world)


def test_a_class_with_one_image(world):
    write_digits(world.root / "few", range(100))
    for image in sorted((world.root / "few/7").iterdir())[1:]:
        image.unlink()
    world.set(**{"data.source": "few"})
    refused(world.run("darkroom", "ingest", ok=False), "class 7", "1 readable", "a class needs 8")
    nothing_was_taken_in(world)


def test_a_text_file_named_jpg_is_set_aside_and_named(world):
    (world.root / "source/3/notes.jpg").write_text("not a picture")
    done = world.run("darkroom", "ingest")
    assert "1 not_an_image" in done.stdout
    assert "3/notes.jpg,not_an_image," in world.workspace.quarantine.read_text()


def test_only_text_files_named_jpg(world):
    for label in "ab":
        (world.root / "texts" / label).mkdir(parents=True)
        (world.root / "texts" / label / "x.jpg").write_text("not a picture")
    world.set(**{"data.source": "texts"})
    refused(world.run("darkroom", "ingest", ok=False), "no readable image", "a/x.jpg")
    nothing_was_taken_in(world)


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ("epochs: 2", "epochs: two", "train.epochs"),
        ("epochs: 2", "epoch: 2", "train.epoch: no such parameter"),
        ("epochs: 2", "epochs: [2", "not YAML"),
    ],
)
def test_a_wrong_params_yaml(world, before, after, word):
    path = world.workspace.params
    path.write_text(path.read_text().replace(before, after))
    refused(world.run("darkroom", "ingest", ok=False), word, "params.yaml")
    nothing_was_taken_in(world)


def test_another_source_without_taking_it_in(world):
    world.run("darkroom", "ingest")
    world.set(**{"data.source": "digits"})
    done = world.run("dvc", "repro", ok=False)
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "the dataset was taken from source, but data.source is digits" in done.stderr
    assert "mend: darkroom ingest" in done.stderr
    assert not world.workspace.splits.exists()


def test_no_champion_yet(world):
    refused(world.run("darkroom", "classify", ok=False), "no champion yet", "darkroom run")
    assert not world.home.predictions.exists()


@pytest.mark.full
def test_a_stage_that_fails_in_a_flow_has_the_last_word(world):
    """Through Prefect, its own lines are the last that the person sees."""
    world.set(**{"train.model": "resnet17"})
    done = world.run("darkroom", "run", ok=False)
    refused(done, "no model 'resnet17'", "train.model")
    assert done.stderr.rstrip().splitlines()[-1].startswith("  mend: ")
    assert not world.workspace.trained.exists()


@pytest.mark.parametrize("kind", ["refuses", "hangs"])
def test_a_store_that_does_not_answer(demo, tmp_path, kind):
    world = demo.fork(tmp_path / "project")
    write_digits(world.home.inbox("source"), range(600, 605), by_class=False)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if kind == "hangs":
            listener.listen()  # and never accepts
        env = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{listener.getsockname()[1]}"}
        for verb in ("register", "classify"):
            done = world.run("darkroom", verb, ok=False, env=env, timeout=60)
            refused(done, "MLflow does not answer at http://127.0.0.1", "MLFLOW_TRACKING_URI")
    assert batches(world) == batches(demo)


def test_a_disk_that_is_full_during_classify(demo, tmp_path):
    world = demo.fork(tmp_path / "project")
    write_digits(world.home.inbox("source"), range(600, 900), by_class=False)
    (world.home.inbox("source") / "_READY").touch()
    before = batches(world)
    disk = world.home.predictions / "model=source"
    kept = tmp_path / "kept"
    disk.rename(kept)
    disk.mkdir()
    held = sum(path.stat().st_size // 4096 + 1 for path in kept.rglob("*"))  # pages
    with small_disk(disk, f"{4 * (held + 2)}k"):
        subprocess.run(["cp", "-r", f"{kept}/.", str(disk)], check=True)
        done = world.run("darkroom", "classify", ok=False)
        refused(done, "predictions cannot be written: No space left on device")
        assert batches(world) == before
        assert not list(disk.glob(".staging*"))
    disk.rmdir()
    kept.rename(disk)
    assert "300 images" in world.run("darkroom", "classify").stdout


def test_a_folder_that_somebody_is_writing_to_is_left_and_it_is_said_until_when(demo, tmp_path):
    world = demo.fork(tmp_path / "project")
    world.set(**{"inference.settle_seconds": 600})
    before = batches(world)
    write_digits(world.home.inbox("source") / "monday", range(600, 603), by_class=False)
    said = world.run("darkroom", "classify").stdout
    assert f"left for the next run: {world.home.inbox('source') / 'monday'}, written to" in said
    assert "after 600, or at once with a file _READY in it" in said
    assert batches(world) == before


def batches(world) -> list[str]:
    return sorted(
        str(path.relative_to(world.root)) for path in world.home.predictions.rglob("*.parquet")
    )


def test_a_folder_that_is_no_project(tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DVC", "DARKROOM"))}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "ingest"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    refused(done, "not in a Darkroom project")
