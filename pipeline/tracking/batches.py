"""One MLflow run for each published batch of predictions, made from its files."""

import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock
from mlflow.entities import Param

from pipeline.inference.monitoring import MONITORING, PICTURE, read_monitoring
from pipeline.inference.predictions import batch_folders, read_batch
from pipeline.tracking.publish import log_metrics
from pipeline.tracking.store import Store, experiment_id
from pipeline.workspace import Home

_BATCH = "darkroom.batch"
_ROWS_SHOWN = 10_000
_LOCK_SECONDS = 20


def publish_batches(client: Store, home: Home, model_name: str) -> int:
    """Give every batch of *model_name* that has no run one; return how many there were."""
    experiment = experiment_id(client, home, f"{model_name}-inference")
    with FileLock(home.private / "publish-batches.lock", timeout=_LOCK_SECONDS):
        shown, cut_off = _runs(client, experiment)
        for run_id in cut_off:
            client.delete_run(run_id)
        folders = batch_folders(home.predictions, model_name)
        missing = [folder for folder in folders if _identity(folder) not in shown]
        for folder in missing:
            _publish(client, experiment, folder)
    return len(missing)


def _identity(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _runs(client: Store, experiment: str) -> tuple[set[str], list[str]]:
    """Return the batches with a finished run, and the runs that were cut off."""
    shown: set[str] = set()
    cut_off: list[str] = []
    token: str | None = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        for run in page:
            if run.info.status == "FINISHED":
                shown.add(run.data.tags.get(_BATCH, ""))
            elif _BATCH in run.data.tags:
                cut_off.append(run.info.run_id)
        token = page.token
        if not token:
            return shown, cut_off


def _publish(client: Store, experiment: str, folder: Path) -> None:
    rows = read_batch(folder)
    first = rows.slice(0, 1).to_pylist()[0]
    name = folder.name.removeprefix("batch=")
    run = client.create_run(experiment, run_name=name, tags={_BATCH: _identity(folder)})
    run_id = run.info.run_id
    identity = ("model_name", "model_version", "serving_digest", "variant")
    client.log_batch(run_id, params=[Param(key, str(first[key])) for key in identity])
    said = read_monitoring(folder).get("figures", {})
    figures = _figures(rows) | {_metric_name(name): value for name, value in said.items()}
    log_metrics(client, run_id, tuple((key, 0, value) for key, value in figures.items()))
    for name in (MONITORING, PICTURE):
        if (folder / name).exists():
            client.log_artifact(run_id, str(folder / name), "monitoring")
    table = rows.slice(0, _ROWS_SHOWN).select(
        ["path", "label", "confidence", "reason", "detail", "sha256"]
    )
    client.log_table(run_id, data=table.to_pydict(), artifact_file="predictions.json")
    for part in sorted(folder.glob("part-*.parquet")):
        client.log_artifact(run_id, str(part), "rows")
    client.set_terminated(run_id, "FINISHED")


def _figures(rows: pa.Table) -> dict[str, float]:
    """Counts, the class distribution, refusals by reason, the mean confidence."""
    predicted = rows.filter(pc.is_valid(rows["label"]))
    labels = Counter(_metric_name(label) for label in predicted["label"].to_pylist())
    reasons = Counter(reason for reason in rows["reason"].to_pylist() if reason)
    figures = {"images": float(len(rows)), "refused": float(len(rows) - len(predicted))}
    figures |= {f"class.{label}": float(count) for label, count in labels.items()}
    figures |= {f"refused.{reason}": float(count) for reason, count in reasons.items()}
    if len(predicted):
        figures["mean_confidence"] = float(pc.mean(predicted["confidence"]).as_py())
    return figures


def _metric_name(label: str) -> str:
    """MLflow's metrics have no signs in their names."""
    return re.sub(r"[^\w.\- ]", "_", label)
