"""All that a registered version's run has recorded of how it was made, to make it again."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run

from pipeline.errors import ArtefactError, RegistryError
from pipeline.tracking.machine import MACHINE
from pipeline.tracking.publish import COMMIT, PATCH, UNTRACKED, is_as_logged
from pipeline.tracking.record import COMPILED, PRECISION
from pipeline.tracking.registry import Version, download_training
from pipeline.tracking.store import Store

_NEEDED = ("params.yaml", "data/dataset.dvc", "training/epochs.csv", "evaluation/metrics.json")


@dataclass(frozen=True)
class Recording:
    version: Version
    commit: str
    untracked: tuple[str, ...]
    """Files under a stage's deps that no commit and no patch holds."""
    folder: Path
    """Artefacts of the run, under their names there; the weights are those of the version's tag."""
    start: str
    """SHA-256 of the file of weights that training started from; empty where it had none."""
    device: str
    chosen: Mapping[str, str]
    """`precision` and `compile` of params.yaml as `auto` came out; empty in older runs."""
    machine: Mapping[str, str]
    """Of `machine.facts`; empty where MLflow was down while it was trained."""
    metrics: Mapping[str, float]
    """As MLflow shows them."""

    @property
    def patch(self) -> Path | None:
        path = self.folder / PATCH
        return path if path.is_file() else None

    @property
    def dvc_lock(self) -> Path | None:
        path = self.folder / "dvc.lock"
        return path if path.is_file() else None


def fetch_recording(client: Store, version: Version, folder: Path) -> Recording:
    """Copy what the run of *version* holds into *folder*, pictures apart.

    Raises RegistryError where something that is needed was not recorded, ArtefactError where the
    weights are not what the version's tag says, or another file not what the run's tags say.
    """
    download_training(client, version, folder)
    run = client.get_run(str(client.get_model_version(version.name, str(version.number)).run_id))
    for name in _held(client, run) & {*_NEEDED, PATCH, "dvc.lock"}:
        (folder / name).parent.mkdir(exist_ok=True)
        Path(client.download_artifacts(run.info.run_id, name, str(folder))).replace(folder / name)
    _refuse_changed(version, run, folder)
    tags = run.data.tags
    lacking = [name for name in _NEEDED if not (folder / name).is_file()]
    commit = tags.get(COMMIT, "")
    if not re.fullmatch("[0-9a-f]{40,64}", commit):
        lacking.append("a git commit (it was trained outside of git)")
    if lacking:
        raise RegistryError(
            f"{version.name} version {version.number} cannot be made again: too little is on "
            "record",
            f"run {run.info.run_id} lacks {', '.join(lacking)}",
            mend="choose another version; or dvc repro makes a new one of what is here",
        )
    chosen = {"precision": tags.get(PRECISION), "compile": _ON_OR_OFF.get(tags.get(COMPILED, ""))}
    return Recording(
        version,
        commit,
        tuple(json.loads(tags.get(UNTRACKED, "[]"))),
        folder,
        start=run.data.params.get("start.sha256", ""),
        device=run.data.params.get("device", ""),
        chosen={name: value for name, value in chosen.items() if value},
        machine=json.loads(tags.get(MACHINE, "{}")),
        metrics=dict(run.data.metrics),
    )


def _refuse_changed(version: Version, run: Run, folder: Path) -> None:
    """The patch is code that will run, and the parameters steer it."""
    fetched = [name for name in (*_NEEDED, PATCH, "dvc.lock") if (folder / name).is_file()]
    changed = [name for name in fetched if not is_as_logged(run, name, folder / name)]
    if changed:
        raise ArtefactError(
            f"what {version.name} version {version.number} was made of is not what was recorded",
            f"run {run.info.run_id}: {', '.join(changed)}",
            mend="put these artefacts of the run back, or choose another version",
        )


_ON_OR_OFF = {"true": "on", "false": "off"}


def _held(client: Store, run: Run) -> set[str]:
    return {
        file.path
        for folder in (None, "data", "training", "evaluation")
        for file in client.list_artifacts(run.info.run_id, folder)
    }
