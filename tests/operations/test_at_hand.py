"""What `register` measures is one model with the split that it was trained by, whatever happens to
the project meanwhile."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from registrations import MEDIOCRE, RIGHT, Project, make_project
from ruamel.yaml import YAML

from pipeline.data.splits import Splits, read_splits, write_splits
from pipeline.errors import ArtefactError, DarkroomError, ProjectError
from pipeline.graph import folder_version
from pipeline.operations import register
from pipeline.workspace import Home


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A model that nobody registered yet."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_EXP_NAME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    home = Home(tmp_path / "home")
    home.root.mkdir()
    made = make_project(tmp_path / "project", home, "beside")
    made.make(RIGHT)
    return made


def split_anew(project: Project) -> None:
    """As `dvc repro split` does after a change of split.seed: test images become training's."""
    whole, other = read_splits(project.workspace.splits), {"train": "test", "test": "train"}
    rows = tuple(replace(row, split=other.get(row.split, row.split)) for row in whole.rows)
    write_splits(project.workspace.splits, Splits(rows, 1, 0.15, 0.15))


def test_a_split_made_anew_beside_register_is_not_what_the_model_is_measured_on(
    project, monkeypatch
):
    def publish(*arguments):
        run_id = real(*arguments)
        split_anew(project)
        return run_id

    real = register.publish
    monkeypatch.setattr(register, "publish", publish)
    assert project.register().images == 300
    uri = f"sqlite:///{project.home.mlflow_database}"
    tags = MlflowClient(uri, uri).get_registered_model("beside").tags
    assert tags["darkroom.test_uses.seed-0"] and "darkroom.test_uses.seed-1" not in tags


def test_a_split_made_anew_before_the_run_is_published_stops_register_and_opens_nothing(
    project, monkeypatch
):
    """That run would say of another model's training images that they are this one's."""

    def publish(*arguments):
        split_anew(project)
        return real(*arguments)

    real = register.publish
    monkeypatch.setattr(register, "publish", publish)
    with pytest.raises(ProjectError, match="changed while the model was registered"):
        project.register()
    uri = f"sqlite:///{project.home.mlflow_database}"
    assert not MlflowClient(uri, uri).search_registered_models()


def test_a_model_that_was_sealed_again_past_dvc_is_not_registered(project):
    """Whoever changes it may change the cards that state its digest, too."""
    known = {"outs": [{"path": "models/serving", "md5": folder_version(project.workspace.serving)}]}
    lock = YAML(typ="safe")
    lock.dump({"schema": "2.0", "stages": {"export": known}}, project.workspace.dvc_lock)
    project.register()
    project.make(MEDIOCRE)
    with pytest.raises(ArtefactError, match="not the one that DVC knows"):
        project.register()


def test_a_pipe_in_place_of_a_card_or_of_the_split_is_named_and_not_waited_for(project):
    for file in (project.workspace.export_report / "card.json", project.workspace.splits):
        content = file.read_bytes()
        file.unlink()
        os.mkfifo(file)
        with pytest.raises(ProjectError, match=file.name):
            project.register()
        file.unlink()
        file.write_bytes(content)


@pytest.mark.parametrize("name", ["reports/export/card.json", "models/serving/digests.json"])
def test_json_that_nests_too_deeply_is_a_damaged_file(project, name):
    (project.workspace.root / name).write_text("[" * 100_000)
    with pytest.raises(DarkroomError, match=r"damaged|not what it was"):
        project.register()


def test_what_a_killed_register_left_behind_is_swept(project):
    left = project.home.private / "registering/models/serving/fp32.onnx"
    left.parent.mkdir(parents=True)
    left.touch()
    project.register()
    assert not (project.home.private / "registering").exists()
