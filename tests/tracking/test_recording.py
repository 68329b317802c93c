"""A version's run holds all that it takes to make it again, or it is said what it lacks."""

import hashlib
import subprocess
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from worlds import environment

from pipeline.cards import read_card, write_card
from pipeline.errors import ArtefactError, DatasetError, RegistryError
from pipeline.tracking import registry
from pipeline.tracking.dataset import known_images
from pipeline.tracking.live import open_live_run
from pipeline.tracking.publish import publish
from pipeline.tracking.record import WEIGHTS
from pipeline.tracking.recording import fetch_recording

DVC_YAML = """\
stages:
  train:
    cmd: python -m pipeline.cli train
    deps: [data/corrections, pipeline/code.py]
"""


@pytest.fixture
def in_git(files):
    """The files in a repository: code that was edited since, and a correction that is not kept."""
    root = files.workspace.root

    def git(*arguments: str) -> None:
        env = environment(root)
        subprocess.run(["git", "-C", str(root), *arguments], env=env, check=True)

    for name, text in {"dvc.yaml": DVC_YAML, "pipeline/code.py": "first\n"}.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    git("init", "-q")
    git("add", "dvc.yaml", "pipeline")
    git("commit", "-q", "-m", "code")
    (root / "pipeline/code.py").write_text("second\n")
    (root / "data/corrections").mkdir()
    (root / "data/corrections/mine.csv").write_text("")
    return files


@pytest.fixture
def version(client, name):
    """Register the run *run_id* of these files, without a model in it."""

    def make(files, run_id: str) -> registry.Version:
        weights = (files.workspace.trained / "model.safetensors").read_bytes()
        client.create_registered_model(name)
        tags = {WEIGHTS: hashlib.sha256(weights).hexdigest()}
        client.create_model_version(name, source="nowhere:/", run_id=run_id, tags=tags)
        return registry.named(client, f"models:/{name}/1")

    return make


def test_commit_patch_files_choices_and_machine_are_had_back(
    in_git, home, client, name, version, tmp_path
):
    workspace = in_git.workspace
    card = read_card(workspace.trained / "card.json")
    origin = read_card(workspace.training_report / "card.json")
    origin |= {"precision": "bf16", "compiled": False, "start": {"sha256": "abc"}}
    write_card(workspace.training_report / "card.json", origin)
    open_live_run(workspace, home, name, card, origin, pytest.fail)
    (workspace.root / "pipeline/code.py").write_text("third\n")  # while it was being trained
    in_git.export("export-1")
    in_git.evaluate(0.75)
    run_id = publish(workspace, home, name)

    folder = tmp_path / "record"
    folder.mkdir()
    found = fetch_recording(client, version(in_git, run_id), folder)
    assert found.untracked == ("data/corrections/mine.csv",)
    assert found.patch is not None and b"+second" in found.patch.read_bytes()
    assert found.chosen == {"precision": "bf16", "compile": "off"}
    assert (found.device, found.start) == ("cpu", "abc")
    assert {"torch", "numpy", "python", "processor", "threads"} <= set(found.machine)
    assert found.metrics["validation.accuracy"] == 0.75
    for artefact, path in {
        "params.yaml": workspace.params,
        "data/dataset.dvc": workspace.dataset_dvc,
        "dvc.lock": workspace.dvc_lock,
        "training/model.safetensors": workspace.trained / "model.safetensors",
        "evaluation/metrics.json": workspace.evaluation / "metrics.json",
    }.items():
        assert (folder / artefact).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("artefact", ["code.patch", "params.yaml", "dvc.lock"])
def test_what_was_changed_in_the_store_of_artefacts_is_not_followed(
    in_git, home, client, name, version, tmp_path, artefact
):
    in_git.export("export-1")
    in_git.evaluate(0.75)
    run_id = publish(in_git.workspace, home, name)
    folder = Path(url2pathname(urlsplit(client.get_run(run_id).info.artifact_uri).path))
    with (folder / artefact).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(ArtefactError, match="not what was recorded") as told:
        fetch_recording(client, version(in_git, run_id), tmp_path)
    assert artefact in str(told.value)


def test_splits_that_were_changed_there_decide_nothing(files, home, client, name):
    run_id = publish(files.workspace, home, name)
    assert known_images(client, run_id)
    folder = Path(url2pathname(urlsplit(client.get_run(run_id).info.artifact_uri).path))
    (folder / "data/splits.parquet").write_bytes(b"")
    with pytest.raises(DatasetError, match="is not the one that was logged"):
        known_images(client, run_id)


def test_a_run_without_a_commit_says_what_it_lacks(files, home, client, name, version, tmp_path):
    run_id = publish(files.workspace, home, name)
    with pytest.raises(RegistryError) as told:
        fetch_recording(client, version(files, run_id), tmp_path)
    assert "evaluation/metrics.json, a git commit" in str(told.value)
    assert told.value.mend
