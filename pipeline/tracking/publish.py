"""One MLflow run for each (training, export), completed from files: twice changes nothing."""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from pipeline.errors import DarkroomError
from pipeline.tracking.record import EXPORT_KEY, TRAINING_KEY, RunRecord, read_record, with_timings
from pipeline.tracking.store import Store, connect, experiment_id, reaching, user
from pipeline.workspace import Home, Workspace

ARTEFACTS = "darkroom.artefacts"
"""Tag: name → first 16 digits of the SHA-256 of each artefact that the run holds."""
COMMIT, PATCH = "mlflow.source.git.commit", "code.patch"
"""Tag; artefact, where there was anything that was not committed."""
PATCH_SHA256 = "darkroom.patch_sha256"
"""Tag."""
UNTRACKED = "darkroom.untracked"
"""Tag: names of files under a stage's deps that neither git nor DVC keeps."""
_NAMED = 10
_DIGITS = 16


def publish(workspace: Workspace, home: Home, experiment: str, *, final: bool = True) -> str:
    """Bring the workspace's run up to date in MLflow; return its id.

    *final*: the stages are done, so that dvc.lock belongs to the run, and MLflow may be waited for.

    Raises StoreUnreachable, or what `read_record` raises.
    """
    record = with_timings(read_record(workspace, final), home.private)
    client = connect(home, os.environ, brief=not final)
    with reaching(home, os.environ), FileLock(home.private / "publish.lock", timeout=10):
        run = find_or_create_run(client, home, experiment, record)
        complete(client, run, record)
        ended = run.info.end_time if run.info.status == "FINISHED" else None
        client.set_terminated(run.info.run_id, "FINISHED", end_time=ended)
    return str(run.info.run_id)


def try_to_publish(
    workspace: Workspace, home: Home, experiment: str, say: Callable[[str], None]
) -> None:
    """Publish where the store answers: a stage's outcome never depends on it."""
    try:
        publish(workspace, home, experiment, final=False)
    except DarkroomError as error:
        say(f"not published to MLflow: {error.what}; later: darkroom publish")


def find_or_create_run(client: Store, home: Home, experiment: str, record: RunRecord) -> Run:
    """Return the run of *record*'s keys; a run that is only trained yet is taken over by the
    first export that is published."""
    experiment_of = experiment_id(client, home, experiment)
    found = client.search_runs(
        [experiment_of], f"tags.`{TRAINING_KEY}` = '{record.training_key}'", max_results=1000
    )
    runs = sorted(found, key=lambda run: run.info.start_time)
    exports = [run.data.tags.get(EXPORT_KEY) for run in runs]
    for wanted in (record.export_key, None):
        if wanted in exports:
            return runs[exports.index(wanted)]
    if record.export_key is None and runs:
        return runs[0]
    name = (
        os.environ.get("DVC_EXP_NAME")
        or f"{record.params['architecture']}-{record.training_key[:8]}"
    )
    tags = {
        TRAINING_KEY: record.training_key,
        "mlflow.user": user(),
        "mlflow.source.name": "dvc.yaml",
        "mlflow.source.type": "PROJECT",
    }
    return client.create_run(experiment_of, run_name=name, tags=tags)


def complete(client: Store, run: Run, record: RunRecord) -> None:
    """Log what *run* lacks of *record*, or holds otherwise."""
    run_id = run.info.run_id
    _log_code(client, run, record)
    params = [Param(k, v) for k, v in record.params.items() if k not in run.data.params]
    tags = dict(record.tags)
    if record.export_key is not None:
        tags[EXPORT_KEY] = record.export_key
    if "DVC_EXP_NAME" in os.environ:
        tags["darkroom.dvc_experiment"] = os.environ["DVC_EXP_NAME"]
    changed = [RunTag(k, v) for k, v in tags.items() if run.data.tags.get(k) != v]
    client.log_batch(run_id, params=params, tags=changed)
    log_metrics(client, run_id, record.metrics)
    if not (run.inputs and run.inputs.dataset_inputs):
        client.log_inputs(run_id, [_dataset_input(record)])
    _log_artefacts(client, run, record)


def log_metrics(client: Store, run_id: str, metrics: tuple[tuple[str, int, float], ...]) -> None:
    """Log the (key, step, value) that the run does not hold, as of now."""
    now = int(time.time() * 1000)
    log_missing(client, run_id, [Metric(key, value, now, step) for key, step, value in metrics])


def log_missing(client: Store, run_id: str, points: Sequence[Metric]) -> None:
    """Log the *points* that the run does not hold: MLflow would keep a metric twice."""
    held = _held(client, run_id, {point.key for point in points})
    missing = [point for point in points if held.get((point.key, point.step)) != point.value]
    log_points(client, run_id, missing)


def log_points(client: Store, run_id: str, points: Sequence[Metric]) -> None:
    """Log any number of *points*; MLflow takes a thousand at once."""
    for start in range(0, len(points), 1000):
        client.log_batch(run_id, metrics=points[start : start + 1000])


def _held(client: Store, run_id: str, keys: set[str]) -> dict[tuple[str, int], float]:
    """Return what the run shows now for each key and step: the last that was logged."""
    history = [metric for key in keys for metric in client.get_metric_history(run_id, key)]
    history.sort(key=lambda metric: metric.timestamp)
    return {(metric.key, metric.step): metric.value for metric in history}


def _log_code(client: Store, run: Run, record: RunRecord) -> None:
    """Written once: while the training runs where the store answers, else when it first does."""
    if record.code is None or COMMIT in run.data.tags:
        return
    if record.code.patch:
        with tempfile.TemporaryDirectory() as scratch:
            patch = Path(scratch) / PATCH
            patch.write_bytes(record.code.patch)
            client.log_artifact(run.info.run_id, str(patch))
        digest = hashlib.sha256(record.code.patch).hexdigest()
        client.set_tag(run.info.run_id, PATCH_SHA256, digest)
    if record.code.untracked:
        names = json.dumps(record.code.untracked[:_NAMED], ensure_ascii=False)
        client.set_tag(run.info.run_id, UNTRACKED, names)
    client.set_tag(run.info.run_id, COMMIT, record.code.commit)


def is_as_logged(run: Run, name: str, path: Path) -> bool:
    """Whether the artefact *name* of *run*, fetched to *path*, is what the run's tags say: whoever
    can write to the store of artefacts cannot write to them."""
    held = json.loads(run.data.tags.get(ARTEFACTS, "{}"))
    expected = str((run.data.tags.get(PATCH_SHA256) if name == PATCH else held.get(name)) or "")
    with path.open("rb") as file:  # of whatever size the store would have it
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return len(expected) >= _DIGITS and digest.startswith(expected)


def _log_artefacts(client: Store, run: Run, record: RunRecord) -> None:
    held = json.loads(run.data.tags.get(ARTEFACTS, "{}"))
    present = {
        name: hashlib.sha256(path.read_bytes()).hexdigest()[:_DIGITS]
        for name, path in record.artefacts.items()
    }
    for name, digest in present.items():
        if held.get(name) != digest:
            folder = Path(name).parent.as_posix()
            client.log_artifact(
                run.info.run_id, str(record.artefacts[name]), None if folder == "." else folder
            )
    if held | present != held:
        client.set_tag(run.info.run_id, ARTEFACTS, json.dumps(held | present, sort_keys=True))


def _dataset_input(record: RunRecord) -> DatasetInput:
    dataset = record.dataset
    return DatasetInput(
        dataset=Dataset(
            name=dataset.name,
            digest=dataset.digest,
            source_type="dvc",
            source=json.dumps({"source": dataset.source, "dvc": "data/dataset.dvc"}),
            profile=json.dumps(dataset.profile),
        ),
        tags=[InputTag("mlflow.data.context", "training")],
    )
