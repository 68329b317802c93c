"""A study of hyperparameters on eighty digits: what it tries, ranks, survives and writes."""

import errno
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
import torch
from mlflow import MlflowClient
from optuna.trial import TrialState
from ruamel.yaml import YAML
from worlds import World, environment, make_world, write_digits

from pipeline.errors import Busy, DatasetError, ParamsError, ProjectError, TrainingError
from pipeline.operations import tune
from pipeline.operations.study import Study
from pipeline.params import load_params
from pipeline.project import open_project
from pipeline.training.loop import Epoch

RATES = {"learning_rate": {"low": 0.005, "high": 0.2, "log": True}}


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project whose images are split; do not change it: fork it."""
    made = make_world(tmp_path_factory.mktemp("tune") / "project")
    write_digits(made.root / "source", range(150))
    made.set(
        **{
            "data.source": "source",
            "data.min_per_class": 3,
            "train.image_size": 8,
            "train.scale": 0.0,
            "train.epochs": 2,
            "train.optimizer": "sgd",
            "train.learning_rate": 0.05,
            "train.weight_decay": 0.0005,
            "train.schedule": "cosine",
            "tune.trials": 3,
            "tune.ranges": RATES,
        }
    )
    made.commit()
    made.run("darkroom", "ingest")
    made.run("dvc", "repro", "split")
    return made


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads for eight pixels wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def project(split: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Its splits are up to date, and no MLflow answers: neither is waited for."""
    monkeypatch.setattr(tune, "dvc", lambda *arguments: "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    return split.fork(tmp_path / "project")


def run(world: World, say: Callable[[str], None] = print, apply: bool = False) -> tune.Tuned:
    here = open_project(world.root, {})
    return tune.run(here.workspace, here.home, here.params, say, apply=apply)


def study_of(world: World) -> optuna.Study:
    (path,) = (world.home.private / "tune").glob("*.db")
    return optuna.load_study(study_name=path.stem, storage=f"sqlite:///{path}")


def told(world: World) -> list[tuple[object, ...]]:
    """What each trial that has ended tried and found."""
    return [
        (trial.state, trial.user_attrs["values"], trial.intermediate_values, trial.values)
        for trial in study_of(world).trials
        if "values" in trial.user_attrs
    ]


def test_the_first_trial_is_what_params_yaml_says_and_the_others_lie_in_the_ranges(project):
    project.set(**{"tune.trials": 5})
    run(project)
    rates = [json.loads(values)["learning_rate"] for _, values, _, _ in told(project)]
    assert rates[0] == 0.05
    assert len(set(rates)) == 5
    assert all(0.005 <= rate <= 0.2 for rate in rates)


@pytest.mark.parametrize("keep", ["validation_accuracy", "validation_loss"])
def test_trials_are_ranked_as_epochs_are(project, keep):
    project.set(**{"train.keep": keep})
    ranking = run(project).ranking
    keys = {
        "validation_accuracy": [(-t.accuracy, t.loss) for t in ranking],
        "validation_loss": [(t.loss, -t.accuracy) for t in ranking],
    }
    assert len(ranking) == 3
    assert keys[keep] == sorted(keys[keep])


def test_the_same_seed_tries_the_same_and_another_one_something_else(project, tmp_path):
    again, other = project.fork(tmp_path / "again"), project.fork(tmp_path / "other")
    other.set(**{"tune.seed": 1})
    for world in (project, again, other):
        run(world)
    assert told(again) == told(project)
    assert told(other)[1:] != told(project)[1:]


def test_a_finished_study_is_told_again_and_grows_with_its_trials(project):
    first = run(project)
    assert run(project).ranking == first.ranking
    assert len(study_of(project).trials) == 3
    project.set(**{"tune.trials": 4})
    run(project)
    assert len(study_of(project).trials) == 4


def test_other_ranges_or_another_fixed_parameter_are_another_study(project):
    names = [run(project).name]
    for change in ({"train.momentum": 0.8}, {"tune.ranges": {"learning_rate": [0.01, 0.02]}}):
        project.set(**change)
        names.append(run(project).name)
    assert len(set(names)) == 3


@pytest.mark.full
def test_a_study_of_which_a_trial_was_killed_ends_as_if_it_had_not(project, tmp_path):
    """Killed with -9 in the middle of its second trial."""
    whole = project.fork(tmp_path / "whole")
    for world in (whole, project):
        world.set(**{"tune.trials": 8, "train.epochs": 3})
    run(whole)
    log = tmp_path / "log"
    with log.open("w") as out:
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED_IN_THE_SECOND_TRIAL],
            cwd=project.root,
            env=environment(project.root) | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    assert child.wait(120) == -signal.SIGKILL, log.read_text()
    assert [t.state for t in study_of(project).trials][1:] == [TrialState.RUNNING]
    run(project)
    states = [trial.state for trial in study_of(project).trials]
    assert len(states) == 9
    assert states[1] == TrialState.FAIL
    assert told(project) == told(whole)


KILLED_IN_THE_SECOND_TRIAL = """
import os, signal
from pathlib import Path
from pipeline.operations import tune
from pipeline.project import open_project

tune.dvc = lambda *arguments: ""
here = open_project(Path.cwd(), {})

def watch(done, of):
    if done == 3 + 2:
        os.kill(os.getpid(), signal.SIGKILL)

tune.run(here.workspace, here.home, here.params, print, watch)
"""


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException, int], None]:
    """Let the training at one rate, the first that is tried, raise so many times."""
    train = tune.fit

    def install(error: BaseException, times: int) -> None:
        left = iter(range(times))

        def fit(training, *validation):
            for record in train(training, *validation):
                is_late = isinstance(record, Epoch) and training.params.learning_rate == 0.05
                if is_late and next(left, None) is not None:
                    raise error
                yield record

        monkeypatch.setattr(tune, "fit", fit)

    return install


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (ZeroDivisionError("of a bug"), 2),
        (OSError(errno.ENOSPC, "the disk is full"), 4),
        (DatasetError("an image is damaged", mend="ingest it again"), 4),
        (KeyboardInterrupt(), 4),
    ],
)
def test_a_study_that_something_ended_goes_on_to_what_it_would_have_found(
    project, tmp_path, failing, error, times
):
    whole = project.fork(tmp_path / "whole")
    run(whole)
    failing(error, times)
    for _ in range(times):
        with pytest.raises(type(error)):
            run(project)
    run(project)
    assert told(project) == told(whole)


def test_a_trial_that_raises_a_third_time_is_a_failed_one_and_not_tried_again(project, failing):
    failing(ZeroDivisionError("of a bug"), 1000)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            run(project)
    lines: list[str] = []
    tuned = run(project, lines.append)
    assert (len(tuned.ranking), tuned.failed) == (2, 1)
    assert any("failed (ZeroDivisionError: of a bug)" in line for line in lines)
    before = len(study_of(project).trials)
    run(project)
    assert len(study_of(project).trials) == before


def test_two_processes_are_not_at_one_study(project):
    caught = []

    def watch(done: int, of: int) -> None:
        if not caught:
            with pytest.raises(Busy) as error:
                run(project)
            caught.append(error.value)

    here = open_project(project.root, {})
    tune.run(here.workspace, here.home, here.params, print, watch)
    assert caught


def test_a_poor_trial_is_cut_short(project):
    """Trials that learn, then one whose rate is all but nothing."""
    good, poor = 0.05, 1e-6
    project.set(
        **{
            "train.epochs": 4,
            "tune.trials": 10,
            "tune.ranges": {"learning_rate": [good, poor]},
        }
    )
    tuned = run(project)
    assert tuned.cut_short
    for state, values, epochs, _ in told(project):
        if state == TrialState.PRUNED:
            assert json.loads(values)["learning_rate"] == poor
            assert 1 < len(epochs) < 4
    assert all(trial.values["learning_rate"] == good for trial in tuned.ranking[:4])


def test_a_trial_that_diverges_is_a_failed_one_and_not_the_end(project):
    project.set(**{"tune.trials": 8, "tune.ranges": {"learning_rate": [0.05, 1e30]}})
    lines: list[str] = []
    tuned = run(project, lines.append)
    assert tuned.failed
    assert {trial.values["learning_rate"] for trial in tuned.ranking} == {0.05}
    assert any("failed (training diverged" in line for line in lines)
    run(project)
    assert len(study_of(project).trials) == 8, "a failed trial is not tried again"


def test_a_study_without_any_result_says_why(project):
    project.set(**{"tune.trials": 2, "tune.ranges": {"learning_rate": [1e30]}})
    with pytest.raises(TrainingError, match="diverged") as caught:
        run(project)
    assert "tune.ranges" in caught.value.mend


def test_no_trial_is_begun_after_its_minutes(project):
    project.set(**{"tune.minutes": 1e-6})
    lines: list[str] = []
    run(project, lines.append)
    assert len(study_of(project).trials) == 1
    assert any("tune.minutes" in line for line in lines)


def test_trials_have_epochs_of_their_own(project):
    project.set(**{"train.epochs": 5, "tune.epochs": 1, "tune.trials": 2})
    run(project)
    assert [list(epochs) for _, _, epochs, _ in told(project)] == [[1], [1]]


def test_apply_writes_the_best_and_keeps_every_comment(project):
    before = project.workspace.params.read_text().splitlines()
    project.set(**{"train.learning_rate": 1e-6})  # out of the range: any trial is better
    tuned = run(project, apply=True)
    after = project.workspace.params.read_text().splitlines()
    best = tuned.ranking[0].values["learning_rate"]
    assert load_params(project.workspace.params).train.learning_rate == best
    assert comments(after) == comments(before)
    assert run(project).name == tuned.name, "what is applied belongs to no other study"


def comments(lines: list[str]) -> list[str]:
    return [line.partition("#")[2] for line in lines if "#" in line]


def test_what_is_printed_sets_the_best_parameters(project):
    project.set(
        **{
            "train.learning_rate": 1e-6,
            "tune.ranges": RATES | {"optimizer": ["sgd"], "trivial": [True], "batch_size": [16]},
        }
    )
    lines: list[str] = []
    best = run(project, lines.append).ranking[0].values
    shown = YAML(typ="safe").load("\n".join(lines[lines.index("  train:") :]))["train"]
    assert shown == {k: v for k, v in best.items() if k != "optimizer"}, "sgd is what it was"
    (command,) = [line for line in lines if "dvc exp run" in line]
    assert f"-S train.learning_rate={best['learning_rate']}" in command
    assert "-S train.trivial=true" in command


def test_other_bytes_to_start_from_are_another_study(project):
    start = project.home.root / "start.safetensors"
    project.set(**{"train.weights": start.name})
    here = open_project(project.root, {})
    study = Study(here.workspace, here.home, here.params, None)
    start.write_bytes(b"one")
    key = study.key
    assert study.key == key
    start.write_bytes(b"another")
    assert study.key != key


def test_the_test_images_are_never_looked_at(project):
    rows = tune.read_splits(project.workspace.splits).of("test")
    assert rows
    for row in rows:
        (project.workspace.images / row.file).unlink()
    assert len(run(project).ranking) == 3


def test_without_mlflow_the_study_goes_on_and_says_so_once(project):
    lines: list[str] = []
    run(project, lines.append)
    assert sum("MLflow" in line for line in lines) == 1


def test_a_damaged_study_is_named(project):
    run(project)
    (path,) = (project.home.private / "tune").glob("*.db")
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(ProjectError, match="study") as caught:
        run(project)
    assert str(path) in str(caught.value)


@pytest.mark.full
def test_each_trial_is_a_child_of_the_studys_run_in_mlflow(project, tmp_path, monkeypatch):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    project.set(**{"tune.ranges": {"learning_rate": [0.05, 1e30]}, "tune.trials": 6})
    tuned = run(project)
    project.set(**{"tune.trials": 7})
    run(project)
    client = MlflowClient(uri, uri)
    place = client.get_experiment_by_name("source").experiment_id
    runs = client.search_runs([place], order_by=["attributes.start_time ASC"])
    (parent,) = [run for run in runs if "darkroom.study" in run.data.tags]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(children) == 7
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert parent.info.status == "FINISHED"
    assert float(parent.data.tags["best.train.learning_rate"]) == 0.05
    assert {child.info.status for child in children} == {"FINISHED", "FAILED"}
    first = children[0]
    assert first.data.params == {"train.learning_rate": "0.05"}
    accuracies = [
        m.value for m in client.get_metric_history(first.info.run_id, "validation_accuracy")
    ]
    assert len(accuracies) == 2
    assert max(accuracies) == tuned.ranking[0].accuracy


@pytest.mark.parametrize(
    ("ranges", "told"),
    [
        ({"lerning_rate": [0.1]}, "lerning_rate: train has no such parameter"),
        ({"dropout": {"low": 0.5, "high": 0.1}}, "dropout: low must be below high"),
        ({"dropout": [0.1, 1.5]}, "dropout: must be less than 1, not 1.5"),
        ({"dropout": []}, "dropout: has no choices"),
        ({"weight_decay": {"low": 0, "high": 1, "log": True}}, "low must be above 0"),
        ({"batch_size": {"low": 0.5, "high": 8}}, "batch_size: must be a valid integer"),
        ({"optimizer": {"low": 1, "high": 2}}, "optimizer: must be 'sgd' or 'adamw'"),
        ({"epochs": [1, 2]}, "epochs: is the same for all trials"),
        ({"dropout": {"low": 0.1, "hihg": 0.5}}, "hihg: no such parameter"),
    ],
)
def test_a_range_that_cannot_be_tried_is_named(project, ranges, told):
    project.set(**{"tune.ranges": ranges})
    with pytest.raises(ParamsError) as caught:
        load_params(project.workspace.params)
    assert "tune.ranges." in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.full
def test_darkroom_tune_finds_what_dvc_then_trains(split, tmp_path):
    """The same figures, to the last digit, of the same parameters."""
    world = split.fork(tmp_path / "project")
    world.set(**{"tune.trials": 2, "train.learning_rate": 1e-6})
    out = world.run("darkroom", "tune", "--apply").stdout
    assert "dvc exp run -S train.learning_rate=" in out
    world.run("dvc", "repro", "train")
    (trial,) = [t for t in study_of(world).trials if t.number == study_of(world).best_trial.number]
    last = world.workspace.trained.joinpath("epochs.csv").read_text().splitlines()[-1].split(",")
    assert float(last[-1]) == trial.intermediate_values[2]
