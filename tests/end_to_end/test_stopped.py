"""Stopped half-way: the prompt comes back, nothing of it lives on, the same command goes on."""

import os
import signal
from pathlib import Path

import pytest
from mlflow import MlflowClient
from processes import gone_within, start, wait_until
from worlds import World

pytestmark = pytest.mark.full


@pytest.fixture
def long(world: World) -> World:
    """A project whose training takes minutes."""
    world.set(**{"train.epochs": 2000})
    return world


def wait_until_it_trains(log: Path) -> None:
    wait_until(lambda: "epoch 5/2000" in log.read_text(), log)


def test_ctrl_c_gives_the_prompt_back_and_leaves_no_trainer(long, tmp_path):
    log = tmp_path / "log"
    run = start(long, log, "pipeline.cli", "run")
    wait_until_it_trains(log)
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(20) == 130
    assert log.read_text().rstrip().splitlines()[-1].startswith("darkroom: interrupted")
    assert gone_within(long, 5)
    uri = f"sqlite:///{long.home.mlflow_database}"
    client = MlflowClient(uri, uri)
    (shown,) = client.search_runs([client.get_experiment_by_name("source").experiment_id])
    assert shown.info.status == "KILLED"
    long.set(**{"train.epochs": 2})
    long.run("dvc", "repro")


def test_a_trainer_whose_dvc_was_killed_leaves_and_spoils_nothing(long, tmp_path):
    log = tmp_path / "log"
    long.run("darkroom", "ingest")
    run = start(long, log, "dvc", "repro")
    wait_until_it_trains(log)
    run.kill()
    run.wait(10)
    assert gone_within(long, 10)
    assert not long.workspace.trained.exists()
    long.set(**{"train.epochs": 2})
    long.run("dvc", "repro")
