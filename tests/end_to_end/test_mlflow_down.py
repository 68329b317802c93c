"""Files are the truth: a store that is down costs nothing that `darkroom publish` cannot give."""

import hashlib
import re
import shutil
from pathlib import Path

import mlflow
import reviews
from mlflow import MlflowClient

from pipeline.inference.published import find
from pipeline.tracking.machine import MACHINE

TIMES = re.compile("latency|images_per_second|peak_memory")
NOBODY = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}


def test_publishing_later_gives_the_same_run_as_a_store_that_was_up(demo, tmp_path):
    down = demo.fork(tmp_path / "down")
    shutil.rmtree(down.home.mlflow_artifacts)
    down.home.mlflow_database.unlink()
    printed = down.run("dvc", "repro", "--force", env=NOBODY).stdout
    assert printed.count("later: darkroom publish") == 2  # train says so, and evaluate
    assert not (down.root / "mlruns/mlflow.db").exists()
    down.run("darkroom", "publish")
    assert published(down.root, tmp_path / "b") == published(demo.root, tmp_path / "a")


def test_publishing_twice_changes_nothing(demo, tmp_path):
    again = demo.fork(tmp_path / "again")
    before = published(again.root, tmp_path / "before")
    again.run("darkroom", "publish")
    assert published(again.root, tmp_path / "after") == before


def test_a_live_accuracy_measured_while_the_store_is_down_is_shown_later(demo, tmp_path):
    down = demo.fork(tmp_path / "down")
    batch = find(down.home.predictions, "source", None)
    labels = {Path(row["path"]).name: row["label"] for row in batch.rows}
    decisions = reviews.decisions_on(batch, labels, 20, model_name="source")
    file = reviews.write(tmp_path / "decisions.json", decisions)
    done = down.run("darkroom", "review", "apply", str(file), env=NOBODY)
    assert "audit: 20 of 20 right" in done.stdout
    assert "the next darkroom classify shows it" in done.stdout
    down.run("darkroom", "classify")
    uri = f"sqlite:///{down.root}/mlruns/mlflow.db"
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("source-inference").experiment_id
    for run in client.search_runs([experiment]):
        assert run.data.metrics["live_accuracy"] == 1
        assert run.data.metrics["live_accuracy_images"] == 20


def published(root: Path, scratch: Path) -> dict[str, object]:
    """Everything that the one run holds, but for times, run id, what was seen of the machine, and
    the registry's part."""
    uri = f"sqlite:///{root}/mlruns/mlflow.db"
    client = MlflowClient(uri, uri)
    (run,) = client.search_runs([client.get_experiment_by_name("source").experiment_id])
    metrics = {
        key: sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, key))
        for key in run.data.metrics
        if not key.startswith(("timing.", "test.", "system/")) and not TIMES.search(key)
    }
    mlflow.set_tracking_uri(uri)
    folder = Path(client.download_artifacts(run.info.run_id, "", str(_made(scratch))))
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "params": run.data.params,
        "metrics": metrics,
        "tags": {key: value for key, value in run.data.tags.items() if key != MACHINE},
        "inputs": [
            (i.dataset.to_dictionary(), [(tag.key, tag.value) for tag in i.tags])
            for i in run.inputs.dataset_inputs
        ],
        "artefacts": {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
            if path.parent.name != "test"
        },
    }


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
