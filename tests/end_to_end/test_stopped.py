"""Stopped half-way: the prompt comes back, nothing of it lives on, the same command goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from worlds import World, environment

pytestmark = [pytest.mark.xdist_group("stopped"), pytest.mark.full]


@pytest.fixture
def long(world: World) -> World:
    """A project whose training takes minutes."""
    world.set(**{"train.epochs": 2000})
    return world


def start(world: World, log: Path, *command: str) -> subprocess.Popen:
    with log.open("w") as out:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=world.root,
            env=environment(world.root),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_until_it_trains(log: Path) -> None:
    deadline = time.monotonic() + 120
    while "epoch 5/2000" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.2)


def trainers(world: World) -> list[int]:
    """Every process of a training whose folder is *world*."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
            at_work = (process / "cwd").readlink() == world.root
        except OSError:
            continue
        if b"pipeline.cli\0train" in command and at_work:
            found.append(int(process.name))
    return found


def gone_within(world: World, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while trainers(world) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not trainers(world)


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
