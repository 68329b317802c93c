"""Reproducible experiments: `dvc repro` and `dvc exp` on a dataset version at hand."""

import json
import re
import shutil

import pytest
from mlflow import MlflowClient

from pipeline.data.splits import read_splits
from pipeline.tracking.record import flat


def reran(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


@pytest.fixture
def finished(demo, tmp_path):
    return demo.fork(tmp_path / "project")


def test_repro_with_nothing_changed_runs_nothing(finished):
    for pycache in list(finished.root.rglob("__pycache__")):
        shutil.rmtree(pycache)
    assert reran(finished.run("dvc", "repro").stdout) == []


def test_an_edit_in_training_reruns_train_and_only_what_its_outputs_change(finished, full):
    sheet = finished.root / "pipeline/training/sheet.py"
    sheet.write_text(sheet.read_text() + "\n# no other weights come of this line\n")
    assert reran(finished.run("dvc", "repro").stdout) == ["train"]
    if full:
        loop = finished.root / "pipeline/training/loop.py"
        code = loop.read_text()
        slower = code.replace("schedule_share(progress", "0.5 * schedule_share(progress")
        assert slower != code
        loop.write_text(slower)
        assert reran(finished.run("dvc", "repro").stdout) == ["train", "export", "evaluate"]


def test_an_edited_message_reruns_nothing(finished):
    shown = finished.root / "pipeline/cli/progress.py"
    shown.write_text(shown.read_text() + "\n# another word\n")
    assert reran(finished.run("dvc", "repro").stdout) == []


@pytest.mark.full
def test_forced_stages_train_every_epoch_anew_to_the_same_lock_and_need_no_test_image(finished):
    before = finished.workspace.dvc_lock.read_bytes()
    finished.run("dvc", "repro", "--force", "--single-item", "split")
    for row in read_splits(finished.workspace.splits).of("test"):
        (finished.workspace.images / row.file).unlink()
    stages = ["train", "export", "evaluate"]
    for _ in range(2):
        forced = finished.run("dvc", "repro", "--force", "--single-item", *stages).stdout
        assert reran(forced) == stages
        assert len(re.findall(r"^epoch \d+/8 ", forced, re.MULTILINE)) == 8
        assert finished.workspace.dvc_lock.read_bytes() == before


def test_a_temporary_experiment_right_after_the_demo_lands_in_the_one_store(finished):
    done = finished.run("dvc", "exp", "run", "--temp", "-n", "faster", "-S", "train.epochs=3")
    assert "faster" in done.stdout
    client = client_of(finished)
    experiment = client.get_experiment_by_name("source")
    (run,) = client.search_runs([experiment.experiment_id], "attributes.run_name = 'faster'")
    shown = json.loads(finished.run("dvc", "exp", "show", "--json").stdout)
    (metrics,) = [
        experiment["revs"][0]["data"]["metrics"]["reports/evaluation/metrics.json"]["data"]
        for rev in shown
        for experiment in rev["experiments"] or ()
    ]
    for key, value in flat(metrics["validation"]):
        assert run.data.metrics[f"validation.{key}"] == value
    assert run.info.status == "FINISHED" and run.data.params["train.epochs"] == "3"
    assert finished.run("git", "status", "--porcelain").stdout.count("\n") == 3


@pytest.mark.full
@pytest.mark.timeout(600)
def test_a_grid_over_pruning_is_three_runs_in_mlflow_that_agree_with_dvc_on_every_metric(finished):
    names = {f"cut-{share}": share for share in (0.2, 0.4, 0.6)}
    for name, share in names.items():
        done = finished.run("dvc", "exp", "run", "-n", name, "-S", f"export.prune={share}")
        assert reran(done.stdout) == ["export", "evaluate"]
    shown = json.loads(finished.run("dvc", "exp", "show", "--json").stdout)
    revisions = [rev for each in shown for exp in each["experiments"] or () for rev in exp["revs"]]
    by_dvc = {rev["name"]: rev["data"]["metrics"] for rev in revisions}
    client = client_of(finished)
    experiment = client.get_experiment_by_name("source")
    runs = client.search_runs([experiment.experiment_id], "attributes.run_name LIKE 'cut-%'")
    assert {run.info.run_name: float(run.data.params["export.prune"]) for run in runs} == names
    flops = set()
    for run in runs:
        expected = metrics_of(by_dvc[run.info.run_name])
        assert len(expected) > 8 and expected.items() <= run.data.metrics.items()
        flops.add(run.data.metrics["export.pruning.flops_after"])
    assert len(flops) == 3


def metrics_of(files: dict) -> dict[str, float]:
    """Return every number that DVC shows of an experiment, by the name that MLflow has for it."""
    found = {}

    def add(prefix: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{prefix}{key}.", inner)
        elif isinstance(value, int | float):
            found[prefix[:-1]] = float(value)

    add("export.", files["reports/export/variants.json"]["data"])
    add("", files["reports/evaluation/metrics.json"]["data"])
    return found


@pytest.mark.full
def test_a_queued_experiment_runs_the_code_that_was_queued(finished):
    finished.run("dvc", "exp", "run", "--queue", "-n", "queued", "-S", "train.epochs=2")
    loop = finished.root / "pipeline/training/loop.py"
    loop.write_text("raise SystemExit('this code was not queued')\n" + loop.read_text())
    finished.run("dvc", "exp", "run", "--run-all")
    references = finished.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout
    (queued,) = [name for name in references.split() if name.endswith("/queued")]
    ran = finished.run("git", "show", f"{queued}:pipeline/training/loop.py").stdout
    assert "def fit(" in ran and "not queued" not in ran
    metrics = finished.run("git", "show", f"{queued}:dvc.lock").stdout
    assert "train.epochs: 2" in metrics or "epochs: 2" in metrics


def test_metrics_plots_and_params_are_shown_by_dvc(finished):
    metrics = json.loads(finished.run("dvc", "metrics", "show", "--json").stdout)
    figures = metrics[""]["data"]["reports/evaluation/metrics.json"]["data"]["validation"]
    assert {"accuracy", "macro_f1", "log_loss", "fp32"} <= set(figures)
    assert figures["accuracy"] <= figures["fp32"]["accuracy"]
    finished.run("dvc", "plots", "show")
    page = (finished.root / "dvc_plots/index.html").read_text()
    for title in ("Loss", "Accuracy", "Validation, counts", "confusion.png", "roc.png"):
        assert title in page
    difference = json.loads(finished.run("dvc", "params", "diff", "--json").stdout)
    assert difference["params.yaml"]["data.source"] == {"old": "digits", "new": "source"}


def test_a_clone_that_pulls_has_nothing_to_do(finished, tmp_path):
    remote = tmp_path / "remote"
    finished.run("dvc", "remote", "add", "--default", "shelf", str(remote))
    finished.run("dvc", "push")
    finished.commit()
    clone = type(finished)(tmp_path / "clone")
    finished.run("git", "clone", "-q", str(finished.root), str(clone.root))
    clone.run("dvc", "pull")
    assert reran(clone.run("dvc", "repro").stdout) == []
    assert [path.name for path in (clone.root / "mlruns").iterdir()] == [".gitkeep"]
    clone.run("darkroom", "publish")
    (run,) = client_of(clone).search_runs(
        [client_of(clone).get_experiment_by_name("source").experiment_id]
    )
    assert run.data.metrics["validation.accuracy"] > 0.8


def client_of(world) -> MlflowClient:
    uri = f"sqlite:///{world.home.mlflow_database}"
    return MlflowClient(uri, uri)
