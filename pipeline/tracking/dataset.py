"""Which dataset an MLflow run was trained on."""

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.data.splits import Splits, read_splits
from pipeline.errors import DatasetError
from pipeline.tracking.publish import is_as_logged
from pipeline.tracking.store import Store, connect, experiment_id, reaching
from pipeline.workspace import Home

_SPLITS = "data/splits.parquet"


@dataclass(frozen=True)
class RunDataset:
    run_name: str
    digest: str
    """DVC's hash of the dataset."""
    labels: Mapping[str, str]
    """By sha256, as the run was trained on them: a person's corrections applied."""


def dataset_of_run(home: Home, experiment: str, run: str) -> RunDataset | None:
    """Return the dataset of *run*, an id or a name (of the latest so named); None where there is
    no such run, or it names no dataset. Raises StoreUnreachable."""
    client = connect(home, os.environ)
    with reaching(home, os.environ):
        found = _by_id(client, run) or _by_name(client, home, experiment, run)
        if found is None or not (found.inputs and found.inputs.dataset_inputs):
            return None
        digest = found.inputs.dataset_inputs[0].dataset.digest
        return RunDataset(str(found.info.run_name), str(digest), _labels(client, found))


def known_images(client: Store, run_id: str) -> frozenset[str] | None:
    """Return the sha256 of the images that the model of this run knows: those of its train split,
    and of its validation split, on which its epoch was chosen and its thresholds were fitted.

    None where the run does not say.
    """
    splits = _splits(client, run_id)
    if splits is None:
        return None
    return frozenset(r.sha256 for r in splits.rows if r.split in ("train", "validation"))


def _by_id(client: Store, run: str) -> Run | None:
    if re.fullmatch("[0-9a-f]{32}", run) is None:
        return None
    try:
        return client.get_run(run)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _by_name(client: Store, home: Home, experiment: str, name: str) -> Run | None:
    runs = client.search_runs(
        [experiment_id(client, home, experiment)], order_by=["attributes.start_time DESC"]
    )
    return next((run for run in runs if run.info.run_name == name), None)


def _labels(client: Store, run: Run) -> dict[str, str]:
    splits = _splits(client, run.info.run_id)
    rows = splits.rows if splits else ()
    return {row.sha256: row.label for row in rows if row.label is not None}


def _splits(client: Store, run_id: str) -> Splits | None:
    folder = Path(_SPLITS).parent.as_posix()
    if not any(file.path == _SPLITS for file in client.list_artifacts(run_id, folder)):
        return None
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(client.download_artifacts(run_id, _SPLITS, scratch))
        if not is_as_logged(client.get_run(run_id), _SPLITS, path):
            raise DatasetError(
                f"{_SPLITS} of run {run_id} is not the one that was logged",
                mend="put that artefact of the run back; or choose another run",
            )
        return read_splits(path)
