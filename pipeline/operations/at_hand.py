"""The model at hand, copied: what `register` measures and judges by, and nobody changes meanwhile.

`dvc repro` may run beside it, and somebody may edit params.yaml. So everything is copied first, and
the copy, code and all, must fit together: its model was trained by that very split.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.cards import read_card
from pipeline.errors import ArtefactError, ProjectError
from pipeline.graph import folder_version, read_stages, recorded_version, stage_key, training_key
from pipeline.params import Params
from pipeline.workspace import Home, Workspace

_STAGES = ("train", "export")
"""Between the split and the model that serves."""


def copy_at_hand(workspace: Workspace, folder: Path) -> Workspace:
    """Copy into *folder* what registering reads of *workspace*; its images are linked: each is
    named by its content.

    Raises ProjectError where there is no model, or something is no file.
    """
    _refuse_untrained(workspace)
    copy = Workspace(folder)
    shutil.copytree(workspace.serving, copy.serving)
    for path in _read(workspace):
        _copy(path, folder / path.relative_to(workspace.root))
    copy.images.symlink_to(workspace.images)
    return copy


def refuse_stale(copy: Workspace, home: Home, params: Params) -> None:
    """Raise ProjectError where the model in *copy* was not made of the files there: the test images
    of one split may be the training images of another. Raise ArtefactError where it is not the one
    that dvc.lock names."""
    training = read_card(copy.training_report / "card.json").get("training_key")
    export = read_card(copy.export_report / "card.json").get("export_key")
    for stage, recorded, key in (
        ("train", training, training_key(copy, home, params.train)),
        ("export", export, stage_key(copy, "export")),
    ):
        if recorded != key:
            raise ProjectError(
                "the model at hand was not made of the files and parameters at hand",
                f"since stage {stage} ran, something that it depends on was changed",
                mend="dvc repro, then darkroom register",
            )
    stored = recorded_version(copy, "export", "models/serving")
    if stored not in (None, folder_version(copy.serving)):
        raise ArtefactError(
            "the model at hand is not the one that DVC knows",
            "models/serving was changed since stage export ran (dvc.lock names other content)",
            mend="dvc checkout models/serving, or dvc repro --force export; then darkroom register",
        )


def _refuse_untrained(workspace: Workspace) -> None:
    reports = (workspace.training_report, workspace.export_report)
    needed = (workspace.serving, *(report / "card.json" for report in reports))
    missing = [path for path in needed if not path.exists()]
    if missing:
        raise ProjectError(
            f"there is no trained and exported model here yet: {missing[0]} is missing",
            "nothing was trained, or `dvc repro` is still at work or was cut off",
            mend="dvc repro, to its end; then darkroom register",
        )


def _read(workspace: Workspace) -> Iterator[Path]:
    yield from (workspace.dvc_yaml, workspace.dvc_lock, workspace.params, workspace.dataset_dvc)
    yield from (workspace.splits, workspace.catalogue, workspace.trained)
    yield from (workspace.training_report / "card.json", workspace.export_report / "card.json")
    for stage in read_stages(workspace.dvc_yaml):
        if stage.name in _STAGES:
            yield from (workspace.root / dep for dep in stage.deps)


def _copy(path: Path, target: Path) -> None:
    """What is missing, those who read it will say."""
    if target.exists() or not path.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target)
    elif path.is_file():
        shutil.copyfile(path, target)
    else:
        raise ProjectError(
            "something stands where a file of the project should be",
            f"{path} is no file and no folder",
            mend="take it away, then: dvc checkout",
        )
