"""Every path and address of a project, in one place.

*Workspace* is the tree that DVC runs in, perhaps a temporary copy of the project; *home* is
what outlives such a copy: MLflow's store, predictions, the inbox, checkpoints.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ProjectError


@dataclass(frozen=True)
class Workspace:
    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def dvc_yaml(self) -> Path:
        return self.root / "dvc.yaml"

    @property
    def dvc_lock(self) -> Path:
        return self.root / "dvc.lock"

    @property
    def dataset(self) -> Path:
        return self.root / "data/dataset"

    @property
    def dataset_dvc(self) -> Path:
        """The dataset's version: DVC's hash of the snapshot."""
        return self.root / "data/dataset.dvc"

    @property
    def images(self) -> Path:
        return self.dataset / "images"

    @property
    def staging(self) -> Path:
        """Where files of the snapshot are written before they are moved in; swept by ingest."""
        return self.root / "data/.staging"

    @property
    def catalogue(self) -> Path:
        return self.dataset / "catalogue.parquet"

    @property
    def quarantine(self) -> Path:
        return self.dataset / "quarantine.csv"

    @property
    def corrections(self) -> Path:
        return self.root / "data/corrections"

    @property
    def splits(self) -> Path:
        return self.root / "data/splits.parquet"

    @property
    def data_report(self) -> Path:
        return self.root / "reports/data"

    @property
    def trained(self) -> Path:
        return self.root / "models/trained"

    @property
    def serving(self) -> Path:
        return self.root / "models/serving"

    @property
    def training_report(self) -> Path:
        return self.root / "reports/training"

    @property
    def export_report(self) -> Path:
        return self.root / "reports/export"

    @property
    def evaluation(self) -> Path:
        return self.root / "reports/evaluation"


@dataclass(frozen=True)
class Home:
    root: Path

    @property
    def private(self) -> Path:
        """Locks, caches and checkpoints; may be deleted when nothing runs."""
        return self.root / ".darkroom"

    @property
    def mlflow_database(self) -> Path:
        return self.root / "mlruns/mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.root / "mlruns/artifacts"

    @property
    def predictions(self) -> Path:
        return self.root / "predictions"

    def archive(self, model_name: str) -> Path:
        """Where files of the inbox go that have their rows, if params.yaml wants it."""
        return self.root / "data/archive" / model_name

    @property
    def review(self) -> Path:
        """Pages on which a person decides about images of a batch."""
        return self.root / "review"

    @property
    def reviewed(self) -> Path:
        """Images that a person has decided on, by class: the second source of `ingest`."""
        return self.root / "data/reviewed"

    def inbox(self, model_name: str) -> Path:
        return self.root / "data/inbox" / model_name

    def resolve(self, path: str) -> Path:
        """Return *path* of params.yaml as an absolute path; a relative one starts at home."""
        return self.root / os.path.expanduser(path)  # noqa: PTH111, leaves ~nobody as it is


def fresh(folder: Path) -> Path:
    """Return *folder*, empty: its old files may share their bytes with DVC's cache."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def find_workspace(start: Path) -> Workspace:
    """Return the project that *start* lies in; raise ProjectError where there is none."""
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "pipeline").is_dir():
            return Workspace(folder)
    raise ProjectError(
        f"{start} is not in a Darkroom project",
        "a project is a folder with dvc.yaml, params.yaml and pipeline/",
        mend="cd to your project's folder",
    )


def find_home(workspace: Workspace, environ: Mapping[str, str]) -> Home:
    """Return DARKROOM_HOME, else DVC_ROOT (DVC sets it to the main repository), else the tree.

    Raises ProjectError where DARKROOM_HOME is no folder.
    """
    given = environ.get("DARKROOM_HOME")
    if given and not Path(given).expanduser().is_dir():
        raise ProjectError(
            "DARKROOM_HOME is no folder", given, mend="make that folder, or unset DARKROOM_HOME"
        )
    root = given or environ.get("DVC_ROOT")
    return Home(Path(root).expanduser().resolve() if root else workspace.root)
