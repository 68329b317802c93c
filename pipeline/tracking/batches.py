"""One MLflow run for each published batch of predictions, made from its files."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from mlflow.entities import Metric, Param

from pipeline.inference.predictions import batch_folders, read_batch
from pipeline.tracking.store import Store, experiment_id
from pipeline.workspace import Home

_BATCH = "darkroom.batch"
_ROWS_SHOWN = 10_000


def publish_batches(client: Store, home: Home, model_name: str) -> int:
    """Give every batch of *model_name* that has no run one; return how many there were."""
    experiment = experiment_id(client, home, f"{model_name}-inference")
    shown = _shown(client, experiment)
    missing = [
        folder
        for folder in batch_folders(home.predictions, model_name)
        if _identity(folder) not in shown
    ]
    for folder in missing:
        _publish(client, experiment, folder)
    return len(missing)


def _identity(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


def _shown(client: Store, experiment: str) -> set[str]:
    """Return the batches with a finished run; a run that was cut off is made anew."""
    shown: set[str] = set()
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment], "attributes.status = 'FINISHED'", max_results=1000, page_token=token
        )
        shown |= {run.data.tags.get(_BATCH, "") for run in page}
        token = page.token
        if not token:
            return shown


def _publish(client: Store, experiment: str, folder: Path) -> None:
    rows = read_batch(folder)
    first = rows.slice(0, 1).to_pylist()[0]
    name = folder.name.removeprefix("batch=")
    run = client.create_run(experiment, run_name=name, tags={_BATCH: _identity(folder)})
    run_id = run.info.run_id
    stamp = int(run.info.start_time)
    client.log_batch(
        run_id,
        metrics=[Metric(key, value, stamp, 0) for key, value in _figures(rows).items()],
        params=[
            Param(key, str(first[key]))
            for key in ("model_name", "model_version", "serving_digest", "variant")
        ],
    )
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
    labels = Counter(predicted["label"].to_pylist())
    reasons = Counter(reason for reason in rows["reason"].to_pylist() if reason)
    figures = {"images": float(len(rows)), "refused": float(len(rows) - len(predicted))}
    figures |= {f"class.{label}": float(count) for label, count in labels.items()}
    figures |= {f"refused.{reason}": float(count) for reason, count in reasons.items()}
    if len(predicted):
        figures["mean_confidence"] = float(pc.mean(predicted["confidence"]).as_py())
    return figures
