"""The main job, whole: what `darkroom run` leaves behind."""

import json
import sys

import pyarrow.dataset as ds
import pytest
from mlflow import MlflowClient
from sklearn.datasets import load_digits

from pipeline.tracking.record import flat

PLAIN_SCRIPT = """
import sys
from pathlib import Path
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
asked = {"variant": sys.argv[3]}
model = mlflow.pyfunc.load_model("models:/source@champion", model_config=asked)
images = [path.read_bytes() for path in sorted(Path(sys.argv[2]).iterdir())]
answers = model.predict(pd.DataFrame({"image": images}))
print(answers.to_json(orient="records"))
print([name for name in ("torch", "torchvision", "pipeline") if name in sys.modules])
try:
    model.predict(pd.DataFrame({"image": [images[0], b"no image"]}))
except mlflow.MlflowException as error:
    print(error.message.splitlines()[-1])
"""


def store_uri(world) -> str:
    return f"sqlite:///{world.home.mlflow_database}"


@pytest.fixture
def client(demo) -> MlflowClient:
    return MlflowClient(store_uri(demo), store_uri(demo))


@pytest.fixture
def rows(demo) -> list[dict]:
    return ds.dataset(demo.home.predictions, partitioning="hive").to_table().to_pylist()


def test_every_new_image_has_exactly_one_row_and_nearly_all_are_right(demo, rows):
    inbox = sorted(path.name for path in demo.home.inbox("source").iterdir())
    assert sorted(row["path"].removeprefix("data/inbox/source/") for row in rows) == inbox
    truth = load_digits().target
    right = [row["label"] == str(truth[int(row["path"][-8:-4])]) for row in rows]
    assert sum(right) / len(right) >= 0.9


def test_a_row_says_which_model_answered_and_how_sure_it_was(rows, client):
    version = client.get_model_version_by_alias("source", "champion")
    for row in rows:
        probabilities = dict(row["probabilities"])
        assert row["reason"] is None and row["row"] is None
        assert row["variant"] == rows[0]["variant"] and row["variant"] in ("fp32", "int8")
        assert (row["model_name"], row["model_version"]) == ("source", int(version.version))
        assert row["serving_digest"] == version.tags["darkroom.serving_digest"]
        assert row["confidence"] == max(probabilities.values())
        assert probabilities[row["label"]] == row["confidence"]
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_the_registry_holds_one_version_that_is_challenger_and_champion(demo, client):
    (version,) = client.search_model_versions("name = 'source'")
    assert sorted(client.get_registered_model("source").aliases) == ["challenger", "champion"]
    assert float(version.tags["test.accuracy"]) >= 0.9
    assert version.tags["test_use"] == "1"
    assert version.tags["darkroom.verdict"] == "promoted; there was no champion"
    assert "## Figures on the test images" in version.description
    assert float(version.tags["test.accuracy_low"]) < float(version.tags["test.accuracy"])
    run = client.get_run(version.run_id)
    assert run.data.metrics["test.accuracy"] == float(version.tags["test.accuracy"])


def test_one_run_shows_the_training_and_what_came_of_it(demo, client):
    experiment = client.get_experiment_by_name("source")
    (run,) = client.search_runs([experiment.experiment_id])
    stated = json.loads((demo.workspace.evaluation / "metrics.json").read_text())["validation"]
    assert stated["fp32"]["accuracy"] >= stated["accuracy"]
    figures = dict(flat(stated))
    assert {key: run.data.metrics[f"validation.{key}"] for key in figures} == figures
    assert run.data.metrics["validation.latency_p99_ms"] > 0
    epochs = client.get_metric_history(run.info.run_id, "validation_accuracy")
    assert [metric.step for metric in epochs] == list(range(1, 9))
    assert run.data.params["train.learning_rate"] == "0.001"
    (dataset,) = run.inputs.dataset_inputs
    assert dataset.dataset.digest in demo.workspace.dataset_dvc.read_text()
    names = {item.path for item in client.list_artifacts(run.info.run_id)}
    stages = {"data", "training", "export", "evaluation", "test"}
    assert names == stages | {"params.yaml", "dvc.lock"}
    pictures = {item.path for item in client.list_artifacts(run.info.run_id, "evaluation")}
    assert {"evaluation/index.html", "evaluation/roc.png"} <= pictures
    shown = {item.path for item in client.list_artifacts(run.info.run_id, "data")}
    assert shown == {"data/dataset.dvc", "data/splits.parquet", "data/index.html"}
    assert (
        run.data.tags["mlflow.source.git.commit"]
        == demo.run("git", "rev-parse", "HEAD").stdout.strip()
    )


def test_the_batch_has_a_run_with_counts_and_its_table(rows, client):
    experiment = client.get_experiment_by_name("source-inference").experiment_id
    found = client.search_runs([experiment], order_by=["attributes.run_name ASC"])
    series, run = found
    assert series.info.run_name == "all-batches"
    counts = {k: v for k, v in run.data.metrics.items() if k.startswith("class.")}
    assert sum(counts.values()) == run.data.metrics["images"] == len(rows)
    assert {item.path for item in client.list_artifacts(run.info.run_id)} == {
        *("monitoring", "predictions.json", "rows"),
    }
    pictures = {item.path for item in client.list_artifacts(run.info.run_id, "monitoring")}
    assert {f"monitoring/_{n}" for n in ("least_certain.jpg", "answers.png", "drift.png")} <= (
        pictures
    )
    point = client.get_metric_history(series.info.run_id, "drift.alarm")[0]
    assert (point.step, point.value) == (1, run.data.metrics["drift.alarm"])
    assert 0.9 < run.data.metrics["expected_accuracy"] <= 1
    assert run.data.metrics["drift.alarm"] in (0, 1)


def test_only_the_users_own_files_are_left_changed_in_the_tree(demo):
    status = demo.run("git", "status", "--porcelain").stdout.splitlines()
    assert sorted(status) == [" M params.yaml", "A  data/dataset.dvc", "A  dvc.lock"]


def test_the_run_ends_with_what_a_person_wants_next(demo):
    printed = (demo.root / ".prefect-test/demo-output.txt").read_text()
    assert "params.yaml: data.source: digits -> source" in printed
    assert "source version 1" in printed and "95% interval" in printed
    assert "100 new images" in printed and "make ui" in printed
    assert "Traceback" not in printed


def test_a_plain_script_loads_the_champion_without_torch_or_darkroom(demo, tmp_path, rows):
    script = tmp_path / "plain.py"
    script.write_text(PLAIN_SCRIPT)
    asked = (store_uri(demo), str(demo.home.inbox("source")), rows[0]["variant"])
    done = demo.run(sys.executable, "-I", str(script), *asked)
    answers, loaded, refusal = done.stdout.splitlines()
    answers = json.loads(answers)
    by_path = {row["path"]: row for row in rows}
    files = sorted(demo.home.inbox("source").iterdir())
    for path, answer in zip(files, answers, strict=True):
        row = by_path[f"data/inbox/source/{path.name}"]
        assert answer["label"] == row["label"]
        assert answer["confidence"] == pytest.approx(row["confidence"], abs=1e-6)
    assert loaded == "[]"
    assert refusal.startswith("row 1: not_an_image")


def test_a_second_run_with_nothing_new_changes_nothing(demo, tmp_path):
    again = demo.fork(tmp_path / "again")
    before = again.workspace.dvc_lock.read_bytes()
    done = again.run("darkroom", "run")
    assert done.stderr.count("didn't change, skipping") == 4
    assert "0 new images" in done.stdout
    assert again.workspace.dvc_lock.read_bytes() == before
