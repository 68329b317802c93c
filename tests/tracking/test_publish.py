"""What the files say is what MLflow shows, however often and in whatever order it is published."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from pipeline.cards import read_card, write_card
from pipeline.errors import ProjectError
from pipeline.evaluation.timing import Timing, write_timings
from pipeline.tracking.live import open_live_run
from pipeline.tracking.publish import find_or_create_run, publish, try_to_publish
from pipeline.tracking.record import EXPORT_KEY, read_record
from pipeline.tracking.store import experiment_id
from pipeline.training.loop import Epoch

CURVES = {
    "learning_rate": [0.05, 0.0],
    "train_loss": [0.6931471805599453, 0.1],
    "train_accuracy": [0.5, 0.9666666666666667],
    "validation_loss": [0.7, 0.30000000000000004],
    "validation_accuracy": [0.5, 0.9],
}
"""Of conftest's epochs.csv."""


@pytest.fixture
def show(files, home, name):
    """Publish the files as they are now; return the run's id."""
    return lambda: publish(files.workspace, home, name)


@pytest.fixture
def runs(client, home, name):
    """Return the ids of this test's runs, in no order."""
    return lambda: {r.info.run_id for r in client.search_runs([experiment_id(client, home, name)])}


@pytest.fixture
def history(client):
    """Return every (step, value) that a run holds of a metric, in the order of the steps."""
    return lambda run_id, key: sorted(
        (metric.step, metric.value) for metric in client.get_metric_history(run_id, key)
    )


@pytest.fixture
def everything(client, history):
    """Return all that MLflow holds of a run, its artefacts' content included."""

    def look(run_id: str) -> dict[str, Any]:
        run = client.get_run(run_id)
        root = Path(run.info.artifact_uri.removeprefix("file://"))
        return {
            "info": dict(run.info),
            "params": run.data.params,
            "tags": run.data.tags,
            "metrics": {
                key: [dict(m) for m in client.get_metric_history(run_id, key)]
                for key in run.data.metrics
            },
            "inputs": run.inputs.to_dictionary(),
            "artefacts": {
                path.relative_to(root).as_posix(): path.read_bytes()
                for path in root.rglob("*")
                if path.is_file()
            },
        }

    return look


def test_a_figure_that_no_number_holds_is_a_damaged_file(files, home, name):
    files.export("export-1")
    files.evaluate(10**400)
    with pytest.raises(ProjectError, match="damaged"):
        publish(files.workspace, home, name)


def test_a_run_shows_what_the_files_say(files, show, everything, history, client):
    files.export("export-1")
    files.evaluate(0.75)
    run_id = show()
    seen = everything(run_id)
    for key, values in CURVES.items():
        assert history(run_id, key) == list(enumerate(values, 1))
    assert history(run_id, "validation.accuracy") == [(0, 0.75)]
    assert history(run_id, "best_epoch") == [(0, 2)]
    assert (
        seen["params"].items()
        >= {
            "train.epochs": "2",
            "architecture": "small_cnn",
            "data.source": "photos/mine",
            "split.seed": "0",
            "export.parity_images": "4",
        }.items()
    )
    (dataset,) = client.get_run(run_id).inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("mine", "0123456789abcdef.dir")
    assert json.loads(dataset.dataset.profile)["train"] == {"dark": 2, "light": 2}
    workspace = files.workspace
    assert seen["artefacts"] == {
        "params.yaml": workspace.params.read_bytes(),
        "dvc.lock": workspace.dvc_lock.read_bytes(),
        "data/dataset.dvc": workspace.dataset_dvc.read_bytes(),
        "data/splits.parquet": workspace.splits.read_bytes(),
        "training/model.safetensors": (workspace.trained / "model.safetensors").read_bytes(),
        "training/card.json": (workspace.trained / "card.json").read_bytes(),
        "training/epochs.csv": (workspace.trained / "epochs.csv").read_bytes(),
        "evaluation/card.json": (workspace.evaluation / "card.json").read_bytes(),
        "evaluation/metrics.json": (workspace.evaluation / "metrics.json").read_bytes(),
    }
    assert seen["info"]["status"] == "FINISHED"


def test_the_table_of_variants_and_what_pruning_cost_are_shown(files, show, everything, history):
    files.export("export-1")
    report = files.workspace.export_report
    table = {"int8": {"name": "int8", "bytes": 1234, "accuracy": None, "admissible": False}}
    card = read_card(report / "card.json") | {"variants": table, "pruning": {"flops_after": 5.0}}
    write_card(report / "card.json", card)
    write_card(report / "variants.json", table)
    run_id = show()
    assert history(run_id, "export.int8.bytes") == [(0, 1234)]
    assert history(run_id, "export.int8.admissible") == [(0, 0)]
    assert history(run_id, "export.pruning.flops_after") == [(0, 5)]
    seen = everything(run_id)
    assert {key for key in seen["metrics"] if key.startswith("export.")} == {
        *("export.int8.bytes", "export.int8.admissible", "export.pruning.flops_after")
    }
    shown = seen["artefacts"]["export/variants.json"]
    assert shown == (report / "variants.json").read_bytes()


def test_publishing_twice_changes_nothing(files, show, runs, everything):
    files.export("export-1")
    files.evaluate(0.75)
    run_id = show()
    before = everything(run_id)
    assert show() == run_id
    assert everything(run_id) == before
    assert runs() == {run_id}


def test_what_was_shown_live_is_not_logged_again(files, home, name, show, history):
    workspace = files.workspace
    card, origin = (
        json.loads((folder / "card.json").read_text())
        for folder in (workspace.trained, workspace.training_report)
    )
    said: list[str] = []
    live = open_live_run(workspace, home, name, card, origin, said.append)
    for step in (1, 2):
        values = {key: values[step - 1] for key, values in CURVES.items()}
        live.epoch(Epoch(epoch=step, **values), images_per_second=100.0)
    assert show() == live.run_id
    for key, values in CURVES.items():
        assert history(live.run_id, key) == list(enumerate(values, 1))
    assert len(history(live.run_id, "timing.images_per_second")) == 2
    assert said == []


def test_a_run_that_was_cut_off_is_completed(files, home, client, name, show, runs, history):
    record = read_record(files.workspace, final=True)
    begun = find_or_create_run(client, home, name, record).info.run_id
    client.log_metric(begun, "train_loss", CURVES["train_loss"][0], step=1)
    assert show() == begun
    assert history(begun, "train_loss") == list(enumerate(CURVES["train_loss"], 1))
    assert runs() == {begun}


def test_a_training_is_taken_over_by_its_first_export(files, show, runs, client):
    trained = show()
    assert EXPORT_KEY not in client.get_run(trained).data.tags
    files.export("export-1")
    assert show() == trained
    assert client.get_run(trained).data.tags[EXPORT_KEY] == "export-1"
    assert runs() == {trained}


def test_another_export_has_a_run_of_its_own_whose_curves_come_from_files(
    files, show, runs, client, history
):
    files.export("export-1")
    first = show()
    files.export("export-2")
    second = show()
    assert runs() == {first, second}
    assert client.get_run(first).data.tags[EXPORT_KEY] == "export-1"
    assert client.get_run(second).data.tags[EXPORT_KEY] == "export-2"
    for key, values in CURVES.items():
        assert history(second, key) == list(enumerate(values, 1))


def test_going_back_finds_the_run_that_was_there(files, show, runs):
    files.export("export-1")
    first = show()
    files.export("export-2")
    second = show()
    files.export("export-1")
    assert show() == first
    assert runs() == {first, second}


def test_a_training_that_was_exported_before_needs_no_new_run(files, show, runs, client):
    files.export("export-1")
    exported = show()
    files.drop_export()
    assert show() == exported
    assert runs() == {exported}
    assert client.get_run(exported).data.tags[EXPORT_KEY] == "export-1"


def test_another_training_has_a_run_of_its_own(files, show, runs):
    first = show()
    files.train("training-2")
    assert show() != first
    assert len(runs()) == 2


def test_an_export_of_other_weights_is_not_shown_as_this_trainings(files, show, client):
    files.export("export-1")
    files.train("training-2")
    assert EXPORT_KEY not in client.get_run(show()).data.tags


def test_an_evaluation_of_another_model_is_not_shown(files, show, client):
    files.export("export-1")
    files.evaluate(0.75)
    files.export("export-2")
    assert "validation.accuracy" not in client.get_run(show()).data.metrics


def test_what_was_evaluated_anew_is_shown_anew(files, show, client, everything):
    files.export("export-1")
    files.evaluate(0.5)
    show()
    files.evaluate(0.75)
    run_id = show()
    assert client.get_run(run_id).data.metrics["validation.accuracy"] == 0.75
    shown = everything(run_id)["artefacts"]["evaluation/metrics.json"]
    assert json.loads(shown) == {"validation": {"accuracy": 0.75}}


def test_figures_of_variants_have_the_names_that_dvc_gives_them(files, show, client):
    files.export("export-1")
    files.evaluate(0.5)
    figures = {"accuracy": 0.5, "int8": {"accuracy": 0.5}}
    write_card(files.workspace.evaluation / "metrics.json", {"validation": figures})
    metrics = client.get_run(show()).data.metrics
    assert metrics["validation.accuracy"] == metrics["validation.int8.accuracy"] == 0.5


def test_times_are_shown_though_no_output_of_a_stage_holds_them(files, show, client, home):
    files.export("export-1")
    files.evaluate(0.5)
    digest = read_card(files.workspace.export_report / "card.json")["serving_digest"]
    took = Timing(1.0, 2.5, 20.0, 25.0, 1600.0, 1.2, 3.4, None)
    write_timings(home.private, digest, {"fp32": took})
    metrics = client.get_run(show()).data.metrics
    assert metrics["validation.latency_p99_ms"] == 2.5
    assert metrics["validation.fp32.images_per_second"] == 1600.0
    assert "validation.peak_memory_megabytes" not in metrics
    files.export("export-2")
    files.evaluate(0.5)
    assert "validation.latency_p99_ms" not in client.get_run(show()).data.metrics


def test_a_figure_that_goes_back_to_what_it_was_is_shown_as_the_files_say(files, show, client):
    files.export("export-1")
    for accuracy in (0.5, 0.75, 0.5):
        files.evaluate(accuracy)
        run_id = show()
    assert client.get_run(run_id).data.metrics["validation.accuracy"] == 0.5


def test_without_a_training_there_is_nothing_to_publish(files, show):
    (files.workspace.trained / "card.json").unlink()
    with pytest.raises(ProjectError, match=r"card\.json"):
        show()


def test_a_store_that_is_down_is_said_and_stops_no_stage(files, home, name, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    said: list[str] = []
    try_to_publish(files.workspace, home, name, said.append)
    assert len(said) == 1
    assert "darkroom publish" in said[0]
