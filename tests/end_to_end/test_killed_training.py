"""A training that is killed at any moment goes on by itself, to the same weights to the byte."""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from processes import gone_within, kill, start, trainers, wait_until
from worlds import World, can_trace, make_world, write_digits

from pipeline.training import checkpoint

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")

EPOCHS = 24
"""Of a few steps each: a checkpoint comes with every epoch."""
TRAINER = [sys.executable, "-m", "pipeline.cli", "train"]
REPRO = ("repro", "--single-item", "train")


@dataclass(frozen=True)
class Prepared:
    world: World
    """Split, and not trained yet. To be forked."""
    weights: str
    """SHA-256 of what an undisturbed training ends with."""
    epochs: str
    """Its curves."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("killed-training")
    world = make_world(folder / "project")
    write_digits(world.root / "source", range(300))
    world.set(**{
        **{"data.source": "source", "train.model": "small_cnn", "train.epochs": EPOCHS},
        **{"train.flip": 0.5, "train.rotation": 15.0, "train.dropout": 0.3, "train.ema": 0.9},
        **{"train.mixup": 0.2, "train.precision": "fp32", "train.compile": "off"},
    })  # fmt: skip
    world.run("darkroom", "ingest")
    world.run("dvc", "repro", "split")
    world.commit()
    whole = world.fork(folder / "whole")
    whole.run("dvc", *REPRO)
    return Prepared(world, weights(whole), (whole.workspace.trained / "epochs.csv").read_text())


@pytest.fixture
def fork(prepared, tmp_path) -> World:
    return prepared.world.fork(tmp_path / "project")


def weights(world: World) -> str:
    content = (world.workspace.trained / "model.safetensors").read_bytes()
    return hashlib.sha256(content).hexdigest()


def checkpoints(world: World) -> list[Path]:
    return list((world.home.private / "checkpoints").glob("*/*.ckpt"))


def start_and_wait_for_epoch(world: World, log: Path, epoch: int) -> subprocess.Popen:
    repro = start(world, log, "dvc", *REPRO)
    wait_until(lambda: f"epoch {epoch}/{EPOCHS}" in log.read_text(), log)
    return repro


def goes_on_to_the_same(world: World, prepared: Prepared, going_on: bool | None = True) -> str:
    """`dvc repro` needs no help; *going_on* None: whether it began anew is left open."""
    assert gone_within(world, 10), "an orphan trains on"
    said = world.run("dvc", *REPRO).stdout
    if going_on is not None:
        assert ("going on in epoch" in said) is going_on, said
    assert weights(world) == prepared.weights
    assert (world.workspace.trained / "epochs.csv").read_text() == prepared.epochs
    assert not trainers(world)
    return said


def checkpoint_folders(world: World) -> list[Path]:
    return [path for path in (world.home.private / "checkpoints").iterdir() if path.is_dir()]


def trained_epochs(said: str) -> int:
    return len(re.findall(rf"^epoch \d+/{EPOCHS} ", said, re.MULTILINE))


def test_what_dvc_did_not_come_to_store_is_written_again_without_any_training(prepared, fork):
    fork.run(*TRAINER)  # as if DVC had been killed, or its disk had been full, right after it
    said = goes_on_to_the_same(fork, prepared)
    assert trained_epochs(said) == 0


@pytest.mark.full
def test_what_dvc_has_stored_is_trained_anew_by_force_and_its_checkpoint_goes(prepared, fork):
    fork.run("dvc", *REPRO)
    forced = fork.run("dvc", *REPRO, "--force").stdout
    assert trained_epochs(forced) == EPOCHS and "going on" not in forced
    assert weights(fork) == prepared.weights
    fork.run("dvc", "repro", "--single-item", "export")
    assert checkpoint_folders(fork) == []


@pytest.mark.full
def test_a_checkpoint_of_another_torch_is_left_alone(prepared, fork, tmp_path):
    repro = start_and_wait_for_epoch(fork, tmp_path / "log", 3)
    kill(*trainers(fork))
    repro.wait(60)
    newest = max(checkpoints(fork))
    state = checkpoint.load(newest.parent)
    state["made_with"]["torch"] = "1.0"
    checkpoint.save(newest.parent, int(newest.stem), state)
    said = goes_on_to_the_same(fork, prepared, going_on=False)
    assert "begun with another torch" in said
    assert trained_epochs(said) == EPOCHS


@pytest.mark.full
@pytest.mark.parametrize("moment", range(20))
def test_killed_at_any_moment_it_goes_on_to_the_same_weights(prepared, fork, tmp_path, moment):
    """The trainer, DVC, or both; every fourth before the first checkpoint."""
    dice, log = random.Random(moment), tmp_path / "log"
    victim = ("trainer", "dvc", "both")[moment % 3]
    if moment % 4 == 3:
        repro = start(fork, log, "dvc", *REPRO)
        wait_until(lambda: trainers(fork), log)
        time.sleep(dice.uniform(0, 6))  # it imports, decodes, builds, or trains already
    else:
        repro = start_and_wait_for_epoch(fork, log, dice.randint(2, EPOCHS - 10))
        time.sleep(dice.uniform(0, 0.2))  # anywhere in its steps
    found = trainers(fork)
    kill(*{"dvc": [], "trainer": found, "both": found}[victim])
    if victim != "trainer":
        repro.kill()
    repro.wait(60)
    goes_on_to_the_same(fork, prepared, None if moment % 4 == 3 else True)


def calls(world: World, trace: Path, name: str, path: str) -> list[int]:
    """Which of a training's calls of *name*, counted from 1, name *path* (a pattern)."""
    world.run("strace", "-y", "-s", "300", "-e", f"trace={name}", "-o", str(trace), *TRAINER)
    lines = [line for line in trace.read_text().splitlines() if line.startswith(f"{name}(")]
    return [number for number, line in enumerate(lines, start=1) if re.search(path, line)]


@pytest.mark.full
@pytest.mark.skipif(not can_trace(), reason="needs strace, and the right to use it")
@pytest.mark.parametrize(
    ("call", "path"),
    [
        pytest.param("fsync", r"checkpoints/.*\.scratch", id="before it is on the disk"),
        pytest.param("rename", r"\.scratch.*\.ckpt", id="before it has its name"),
        pytest.param("unlink", r"\.ckpt", id="before an old one goes"),
    ],
)
def test_killed_within_the_writing_of_a_checkpoint_it_goes_on(prepared, fork, tmp_path, call, path):
    """Moments of less than a millisecond: strace kills instead of the so-manieth call."""
    traced = prepared.world.fork(tmp_path / "traced")
    places = calls(traced, tmp_path / "trace", call, path)
    at = f"inject={call}:signal=KILL:when={places[len(places) // 2]}"
    killed = fork.run("strace", "-o", os.devnull, "-e", at, *TRAINER, ok=False)
    assert killed.returncode == -signal.SIGKILL
    assert checkpoints(fork)
    if call != "unlink":
        assert list((fork.home.private / "checkpoints").glob("*/.scratch"))
    goes_on_to_the_same(fork, prepared)


@pytest.mark.full
def test_killed_again_and_again_it_arrives(prepared, fork, tmp_path):
    for epoch in (3, 8, 14):
        repro = start_and_wait_for_epoch(fork, tmp_path / f"log-{epoch}", epoch)
        kill(*trainers(fork))
        repro.wait(60)
    said = goes_on_to_the_same(fork, prepared)
    first = int(re.search(r"going on in epoch (\d+)", said)[1])
    assert first >= 13


def test_told_to_end_it_saves_and_is_gone_within_10_seconds(prepared, fork, tmp_path):
    log = tmp_path / "log"
    repro = start_and_wait_for_epoch(fork, log, 3)
    (trainer,) = trainers(fork)
    os.kill(trainer, signal.SIGTERM)
    assert gone_within(fork, 10)
    assert repro.wait(60) != 0
    said = log.read_text()
    assert "training stopped: it was told to" in said and "Traceback" not in said
    epoch, step = re.search(r"in epoch (\d+), after step (\d+)", said).groups()
    assert checkpoints(fork)
    said = goes_on_to_the_same(fork, prepared)
    assert f"going on in epoch {epoch}, after step {step}" in said


@pytest.mark.full
def test_a_second_trainer_of_the_same_leaves_by_a_named_error(fork, tmp_path):
    fork.set(**{"train.epochs": 2000})
    repro = start(fork, tmp_path / "log", "dvc", *REPRO)
    wait_until(lambda: checkpoints(fork), tmp_path / "log")
    report = tmp_path / "error.json"
    second = fork.run(*TRAINER, ok=False, env={"DARKROOM_ERROR_FILE": str(report)})
    assert repro.poll() is None, "the first goes on"
    assert second.returncode == 1 and "Traceback" not in second.stderr
    error = json.loads(report.read_text())
    assert (error["code"], error["retryable"]) == ("busy", True)
    kill(*trainers(fork), repro.pid)


@pytest.mark.full
@pytest.mark.parametrize("changed", ["a parameter", "the code"])
def test_what_has_changed_is_trained_from_its_beginning(fork, tmp_path, changed):
    repro = start_and_wait_for_epoch(fork, tmp_path / "log", 3)
    kill(*trainers(fork))
    repro.wait(60)
    assert checkpoints(fork)
    if changed == "a parameter":
        fork.set(**{"train.learning_rate": 0.04})
    else:
        loop = fork.root / "pipeline/training/loop.py"
        loop.write_text(loop.read_text() + "\n# another loop\n")
    said = fork.run("dvc", *REPRO).stdout
    assert "going on" not in said
    assert trained_epochs(said) == EPOCHS
