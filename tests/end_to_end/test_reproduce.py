"""`darkroom reproduce`: a registered version is trained anew from its record, to the same bytes."""

import os
import re
import signal
import subprocess
from pathlib import Path

import processes
import pytest
from mlflow import MlflowClient
from worlds import World, make_world, write_digits

LOOP = "pipeline/training/loop.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A version of two epochs, of code that was never committed and is gone; fork it."""
    made = make_world(tmp_path_factory.mktemp("reproduce") / "project")
    write_digits(made.root / "source", range(300))
    made.set(**{"data.source": "source", "train.epochs": 2})
    made.commit()
    loop = made.root / LOOP
    slower = loop.read_text().replace("schedule_share(progress", "0.5 * schedule_share(progress")
    assert slower != loop.read_text()
    loop.write_text(slower)
    made.run("darkroom", "ingest")
    made.run("dvc", "repro")
    made.run("darkroom", "register")
    made.run("git", "checkout", "--", LOOP)
    return made


def left(world: World) -> dict[str, object]:
    """All that a reproduction could leave behind, but for the time of MLflow's own locks."""
    git, dvc = world.root / ".git", world.root / ".dvc"
    folders = [git, dvc, world.root / "models", world.root / "reports", world.root / "data"]
    files = [p for folder in folders for p in folder.rglob("*") if p.is_file()]
    return {
        "status": world.run("git", "status", "--porcelain", "--ignored").stdout,
        "worktrees": world.run("git", "worktree", "list").stdout,
        "lock": world.workspace.dvc_lock.read_bytes(),
        "files": {p: p.stat().st_mtime_ns for p in files if p != git / "index"},
    }


def leftovers(temporary: Path) -> list[str]:
    return [path.name for path in temporary.glob("darkroom-reproduce-*")]


def again(
    world: World, temporary: Path, version: str = "1", *, ok: bool = True
) -> subprocess.CompletedProcess[str]:
    temporary.mkdir(exist_ok=True)
    return world.run("darkroom", "reproduce", version, ok=ok, env={"TMPDIR": str(temporary)})


def test_the_demos_version_comes_out_the_same_to_the_byte_with_every_epoch_anew(demo, tmp_path):
    finished = demo.fork(tmp_path / "project")
    before = left(finished)
    printed = again(finished, tmp_path / "temporary").stdout
    assert re.findall(r"Running stage '(\w+)'", printed) == ["split", "train", "export", "evaluate"]
    assert re.findall(r"^epoch (\d+)/8 ", printed, re.MULTILINE) == list("12345678")
    assert re.search(r"^weights +(\w{12}) +\1 +same to the byte$", printed, re.MULTILINE)
    assert "going on" not in printed and "is cached" not in printed
    assert printed.endswith("models:/source/1, 8 epochs trained anew: same\n")
    assert left(finished) == before
    assert leftovers(tmp_path / "temporary") == []


@pytest.mark.full
def test_uncommitted_code_takes_part_and_a_changed_record_is_noticed(trained, tmp_path):
    finished = trained.fork(tmp_path / "project")
    printed = again(finished, tmp_path / "temporary").stdout
    assert printed.endswith("models:/source/1, 2 epochs trained anew: same\n")

    uri = f"sqlite:///{finished.home.mlflow_database}"
    client = MlflowClient(uri, uri)
    run_id = client.get_model_version("source", "1").run_id
    client.log_metric(run_id, "validation.accuracy", 0.123)
    done = again(finished, tmp_path / "temporary", ok=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "came out different: 1 of " in done.stderr and "validation.accuracy" in done.stderr
    assert leftovers(tmp_path / "temporary") == []


@pytest.mark.full
def test_an_untracked_module_that_took_part_is_refused_by_name_before_any_work(trained, tmp_path):
    finished = trained.fork(tmp_path / "project")
    module = finished.root / "pipeline/training/extra.py"
    module.write_text("SHARE = 0.5\n")
    loop = finished.root / LOOP
    loop.write_text(loop.read_text() + "\nfrom pipeline.training.extra import SHARE\n")
    graph = finished.workspace.dvc_yaml
    deps = graph.read_text()
    before = "      - pipeline/training/feed.py\n"
    graph.write_text(deps.replace(before, f"      - pipeline/training/extra.py\n{before}", 1))
    finished.set(**{"train.epochs": 1})
    finished.run("dvc", "repro")
    finished.run("darkroom", "register")
    finished.commit()  # too late for the record

    done = again(finished, tmp_path / "temporary", version="2", ok=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "pipeline/training/extra.py" in done.stderr and "mend: git add" in done.stderr
    assert "Running stage" not in done.stdout


@pytest.mark.full
def test_ctrl_c_in_the_middle_of_training_leaves_nothing(trained, tmp_path):
    finished = trained.fork(tmp_path / "project")
    before, temporary, log = left(finished), tmp_path / "temporary", tmp_path / "log"
    temporary.mkdir()
    env = {"TMPDIR": str(temporary)}
    child = processes.start(finished, log, "pipeline.cli", "reproduce", "1", env=env)
    processes.wait_until(lambda: "model small_cnn" in log.read_text(), log)
    (tree,) = temporary.glob("darkroom-reproduce-*/tree")
    os.killpg(child.pid, signal.SIGINT)
    assert child.wait(60) == 1
    assert log.read_text().endswith("darkroom: interrupted\n")
    assert processes.gone_within(World(tree), 10)
    assert left(finished) == before and leftovers(temporary) == []
