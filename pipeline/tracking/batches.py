"""One MLflow run for each published batch of predictions, and the series over all of them: made
from files alone, at any later time, once."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    Metric,
    Param,
    Run,
    ViewType,
)

from pipeline.errors import DarkroomError
from pipeline.evaluation.markdown import code, text
from pipeline.inference.beside import FILES
from pipeline.inference.live_accuracy import read_audit
from pipeline.inference.monitoring import read_figures
from pipeline.inference.predictions import batch_folders, read_batch
from pipeline.inference.published import begun_at, published_at
from pipeline.inference.summary import summarise
from pipeline.inference.timing import read_timing
from pipeline.tracking.publish import log_missing, log_points
from pipeline.tracking.registry import stored_model, tell_version
from pipeline.tracking.series import BATCH, STEP, Series, metric_name, open_series
from pipeline.tracking.store import Store, connect, experiment_id, reaching, user
from pipeline.workspace import Home

_ROWS_SHOWN = 10_000
_LOCK_SECONDS = 20
_COLUMNS = ["path", "label", "confidence", "abstain_reason", "reason", "detail", "sha256"]
_DIGEST = 32
"""Digits of a dataset's hash; MLflow takes 36 characters."""


def show_batches(home: Home, model_name: str, say: Callable[[str], None]) -> None:
    """Publish what MLflow lacks, where it answers: nobody's outcome depends on it."""
    try:
        client = connect(home, os.environ)
        with reaching(home, os.environ):
            publish_batches(client, home, model_name)
    except DarkroomError as error:
        say(f"not shown in MLflow: {error.what}; the next darkroom classify shows it")


def publish_batches(client: Store, home: Home, model_name: str) -> int:
    """Give every batch of *model_name* that has no run one, and each its place in the series; add
    what was reviewed since. Return how many runs were made."""
    experiment = experiment_id(client, home, f"{model_name}-inference")
    with FileLock(home.private / "publish-batches.lock", timeout=_LOCK_SECONDS):
        folders = {_identity(f): f for f in batch_folders(home.predictions, model_name)}
        runs = _runs(client, experiment)
        shown: dict[str, Run] = {}
        for run in (run for run in runs if BATCH in run.data.tags and _is_active(run)):
            if run.info.status == "FINISHED":
                shown[run.data.tags[BATCH]] = run
            else:  # cut off
                client.delete_run(run.info.run_id)
        missing = {batch: _end(folder) for batch, folder in folders.items() if batch not in shown}
        if not folders and not shown:
            return 0
        series = open_series(client, experiment, model_name, runs)
        series.catch_up(shown)
        for batch in sorted(missing, key=lambda batch: (missing[batch], batch)):
            shown[batch] = _publish(client, experiment, series, folders[batch], missing[batch])
        for batch, folder in folders.items():
            _show_live_accuracy(client, series, shown[batch], folder)
    return len(missing)


def _identity(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _runs(client: Store, experiment: str) -> list[Run]:
    """Return all runs, the oldest first; deleted ones too, for they know a batch's step."""
    found: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment],
            run_view_type=ViewType.ALL,
            max_results=1000,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        found += page
        token = page.token
        if not token:
            return found


def _is_active(run: Run) -> bool:
    return bool(run.info.lifecycle_stage == "active")


def _end(folder: Path) -> int:
    return _milliseconds(published_at(folder))


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _publish(client: Store, experiment: str, series: Series, folder: Path, end: int) -> Run:
    rows, batch = read_batch(folder), _identity(folder)
    name = folder.name.removeprefix("batch=")
    is_new = batch not in series.steps
    tags = {
        BATCH: batch,
        STEP: str(series.step_of(batch)),
        "mlflow.user": user(),
        "mlflow.source.name": "darkroom classify",
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": _note(rows, series.address(experiment)),
    }
    begin = min(_milliseconds(begun_at(rows)), end)
    run: Run = client.create_run(experiment, run_name=name, start_time=begin, tags=tags)
    run_id = run.info.run_id
    first = rows.slice(0, 1).to_pylist()[0]
    identity = ("model_name", "model_version", "serving_digest", "variant")
    client.log_batch(run_id, params=[Param(key, str(first[key])) for key in identity])
    classes, figures = _figures(folder, rows)
    log_points(client, run_id, _points(figures | classes, end))
    client.log_inputs(run_id, [_dataset(rows, name)])
    if model := stored_model(client, first["model_name"], first["model_version"]):
        client.log_inputs(run_id, models=[LoggedModelInput(model.model_id)])
        tell_version(client, model, first["model_name"], first["model_version"])
        series.link(model, batch, end)
    _log_files(client, run_id, folder, rows)
    version = float(first["model_version"])
    series.add(batch, figures | {"model_version": version}, end, is_new=is_new)
    client.set_terminated(run_id, "FINISHED", end_time=end)
    return run


def _figures(folder: Path, rows: pa.Table) -> tuple[dict[str, float], dict[str, float]]:
    """How many were called what, of which there may be thousands; and all else."""
    summary, timing = summarise(rows), read_timing(folder)
    figures = summary.figures() | (timing.figures if timing else {})
    figures |= read_figures(folder)
    return {f"class.{label}": float(n) for label, n in summary.classes.items()}, figures


def _log_files(client: Store, run_id: str, folder: Path, rows: pa.Table) -> None:
    for file in FILES:
        if (folder / file).exists():
            client.log_artifact(run_id, str(folder / file), "monitoring")
    table = rows.slice(0, _ROWS_SHOWN).select(_COLUMNS)
    client.log_table(run_id, data=table.to_pydict(), artifact_file="predictions.json")
    for part in sorted(folder.glob("part-*.parquet")):
        client.log_artifact(run_id, str(part), "rows")


def _note(rows: pa.Table, series: str) -> str:
    """Link to the version and to the series: MLflow's page of a run finds models of its own
    experiment alone."""
    first = rows.slice(0, 1).to_pylist()[0]
    name, version = first["model_name"], first["model_version"]
    return (
        f"Images of {code(_folder(rows))}, answered by "
        f"[{text(name)} version {version}](#/models/{quote(name)}/versions/{version}). "
        f"Over time: [all batches]({series})."
    )


def _folder(rows: pa.Table) -> str:
    return str(rows["path"][0].as_py()).rpartition("/")[0]


def _points(figures: Mapping[str, float], at: int) -> list[Metric]:
    """Two names that differ in signs which MLflow does not take are one, and count together."""
    by_name: dict[str, float] = {}
    for name, value in figures.items():
        taken = metric_name(name)
        by_name[taken] = by_name.get(taken, 0.0) + value
    return [Metric(name, value, at, 0) for name, value in by_name.items()]


def _dataset(rows: pa.Table, name: str) -> DatasetInput:
    """Named by what its images are: the same images again, by another version, are the same."""
    contents = sorted(pc.drop_null(rows["sha256"]).to_pylist())
    digest = hashlib.sha256("".join(contents).encode()).hexdigest()[:_DIGEST]
    dataset = Dataset(
        name=name.rpartition("-")[0],
        digest=digest,
        source_type="local",
        source=json.dumps({"uri": _folder(rows)}),
        profile=json.dumps({"images": len(rows), "read": len(contents)}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "inference")])


def _show_live_accuracy(client: Store, series: Series, run: Run, folder: Path) -> None:
    audit = read_audit(folder)
    figures = audit.live.figures() if audit else {}
    if audit and any(run.data.metrics.get(name) != value for name, value in figures.items()):
        at = _milliseconds(audit.changed_at)
        series.amend(_identity(folder), figures, at)
        log_missing(client, run.info.run_id, _points(figures, at))
