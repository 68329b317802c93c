"""Two processes train one network on the CPU: as one would, and no less unkillable.

SqueezeNet has no batch norms: each process has the statistics of its own part of a batch.
"""

import csv
import os
import signal
import subprocess
from pathlib import Path

import pytest
from processes import gone_within, start, wait_until
from worlds import World, make_world, write_digits

pytestmark = [pytest.mark.timeout(600), pytest.mark.full]
ALONE = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
"""No MLflow: it has tests of its own, and takes seconds."""


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project whose images are split; do not change it: fork it."""
    made = make_world(tmp_path_factory.mktemp("distributed") / "project")
    write_digits(made.root / "source", range(200))
    made.set(
        **{
            "data.source": "source",
            "train.model": "squeezenet1_1",
            "train.image_size": 32,
            "train.dropout": 0.0,
            "train.batch_size": 15,  # so that its parts are unequal
            "train.epochs": 3,
            "train.processes": 2,
        }
    )
    made.commit()
    made.run("darkroom", "ingest")
    made.run("dvc", "repro", "split")
    return made


@pytest.fixture
def project(split: World, tmp_path: Path) -> World:
    return split.fork(tmp_path / "project")


@pytest.fixture(scope="module")
def whole(split: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Trained by two processes that nobody disturbed."""
    made = split.fork(tmp_path_factory.mktemp("whole") / "project")
    made.run("darkroom", "train", env=ALONE)
    return made


def curve(world: World) -> list[dict[str, float]]:
    with (world.workspace.trained / "epochs.csv").open() as lines:
        return [{k: float(v) for k, v in line.items()} for line in csv.DictReader(lines)]


def start_training(world: World, log: Path) -> subprocess.Popen:
    return start(world, log, "pipeline.cli", "train", env=ALONE)


def wait_for(log: Path, text: str) -> None:
    wait_until(lambda: text in log.read_text(), log)


def workers(world: World) -> dict[str, int]:
    """The process of each rank."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() != world.root:
                continue
            lines = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        facts = dict(line.split(b"=", 1) for line in lines if b"=" in line)
        if b"RANK" in facts:
            found[facts[b"RANK"].decode()] = int(process.name)
    return found


def test_two_processes_have_the_loss_curve_of_one(whole, project):
    project.set(**{"train.processes": 1})
    project.run("darkroom", "train", env=ALONE)
    alone, together = curve(project), curve(whole)
    assert len(alone) == len(together) == 3
    for one, two in zip(alone, together, strict=True):
        assert two == pytest.approx(one, rel=1e-5, abs=1e-5)
    assert alone[-1]["train_loss"] < alone[0]["train_loss"]


def test_only_the_first_process_speaks(whole, project):
    project.set(**{"train.epochs": 1})
    out = project.run("darkroom", "train", env=ALONE).stdout
    assert out.count("epoch 1/1") == 1
    assert out.count("kept epoch") == 1


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_killed_worker_is_started_again_from_the_last_checkpoint(whole, project, tmp_path, rank):
    log = tmp_path / "log"
    trainer = start_training(project, log)
    wait_for(log, "epoch 2/3")  # the first one is saved
    os.kill(workers(project)[rank], signal.SIGKILL)
    assert trainer.wait(200) == 0, log.read_text()[-3000:]
    assert "going on in epoch" in log.read_text()
    assert log.read_text().count("model squeezenet1_1") == 2, "one restart is enough"
    assert log.read_text().count("Gloo connectFullMesh failed") == 0
    assert curve(project) == curve(whole)
    weights = [w.workspace.trained / "model.safetensors" for w in (project, whole)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_told_to_stop_they_stop_together_and_the_same_command_goes_on(whole, project, tmp_path):
    log = tmp_path / "log"
    trainer = start_training(project, log)
    wait_for(log, "epoch 1/3")
    trainer.terminate()
    assert trainer.wait(20) == 1
    assert "darkroom: training stopped: it was told to" in log.read_text()
    assert gone_within(project, 1)
    out = project.run("darkroom", "train", env=ALONE).stdout
    assert "going on in epoch" in out
    assert curve(project) == curve(whole)


def test_no_worker_outlives_the_program_that_started_it(project, tmp_path):
    project.set(**{"train.epochs": 2000})
    log = tmp_path / "log"
    trainer = start_training(project, log)
    wait_for(log, "epoch 1/2000")
    trainer.kill()
    trainer.wait(10)
    assert gone_within(project, 15)
    assert not project.workspace.trained.exists()


def test_what_would_go_wrong_again_is_told_by_name_and_not_tried_again(project):
    project.set(**{"train.learning_rate": 1e30})
    failed = project.run("darkroom", "train", env=ALONE, ok=False)
    assert failed.returncode == 1
    assert "darkroom: training diverged" in failed.stderr
    assert failed.stdout.count("model squeezenet1_1") == 1


def test_a_batch_is_at_least_an_image_for_each_process(project):
    project.set(**{"train.batch_size": 1})
    failed = project.run("darkroom", "train", env=ALONE, ok=False)
    assert "darkroom: train.batch_size: 1 is too few for 2 processes" in failed.stderr
