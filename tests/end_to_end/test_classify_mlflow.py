"""A store that goes away, comes back, or is held by somebody else while `classify` is at work:
predictions stand, and MLflow shows each batch once in the end."""

import multiprocessing.process
import os
import signal
import sqlite3
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from classifies import Moment, held_up
from desks import all_is_shown_once, lost_or_repeated, published, put
from processes import free_port, start, wait_until
from refusals import refused
from worlds import World

pytestmark = pytest.mark.timeout(900)
IMAGES = 3
NOT_SHOWN = "not shown in MLflow: MLflow does not answer at http://127.0.0.1"
LOCKED_SECONDS = 10
JUST_TOO_LONG = 6
"""For SQLite, which by itself waits for five."""


@dataclass
class Server:
    """A real one, over the desk's own store, on a port that it keeps."""

    world: World
    log: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        store = f"sqlite:///{self.world.home.mlflow_database}"
        artefacts = str(self.world.root / "mlruns/served")
        command = ["server", "--backend-store-uri", store, "--artifacts-destination", artefacts]
        command += ["--workers", "1", "--host", "127.0.0.1", "--port", str(self.port)]
        alone = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self.process = start(self.world, self.log, "mlflow", *command, env=alone)
        wait_until(self.answers, self.log, 300)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as got:
                return bool(got.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """With its workers."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)
            self.process = None


@pytest.fixture
def server(desk: World, tmp_path: Path) -> Iterator[Server]:
    made = Server(desk.fork(tmp_path / "project"), tmp_path / "log")
    try:
        yield made
    finally:
        made.kill()


@dataclass(frozen=True)
class HeldUp:
    """A `darkroom classify` that waits at some moment of telling MLflow."""

    process: multiprocessing.process.BaseProcess
    output: Path
    go: object

    def ends(self) -> tuple[int, str]:
        """Let it go on; return its exit status and what it printed."""
        self.go.set()
        self.process.join(120)
        return self.process.exitcode, self.output.read_text()


def hold_up(
    processes, world: World, moment: Moment, output: Path, server: Server | None = None
) -> HeldUp:
    reached, go = processes.Event(), processes.Event()
    environ = {"MLFLOW_TRACKING_URI": server.uri} if server else {}
    arguments = (world.root, output, environ, moment, reached, go)
    process = processes.Process(target=held_up, args=arguments)
    process.start()
    assert reached.wait(120), output.read_text()
    return HeldUp(process, output, go)


def complete(server: Server) -> None:
    """Each file has one row, each batch one finished run, in the store that the server shows."""
    assert lost_or_repeated(server.world) == {}
    assert all_is_shown_once(server.world)


def test_with_the_server_down_nothing_begins_and_nothing_is_lost(server, darkroom):
    """Though its champion was fetched before: which version serves, the server alone knows."""
    put(server.world, "monday", IMAGES)
    assert darkroom(server.world, "classify").returncode == 0
    before = published(server.world)
    put(server.world, "tuesday", IMAGES)
    done = darkroom(server.world, "classify", MLFLOW_TRACKING_URI=server.uri)
    refused(done, f"MLflow does not answer at {server.uri}")
    assert published(server.world) == before
    assert darkroom(server.world, "classify").returncode == 0
    complete(server)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("before get_experiment_by_name:1", id="before anything is told"),
        pytest.param("after create_run:1", id="a run is begun", marks=pytest.mark.full),
        pytest.param("before log_table:1", id="half of it is told", marks=pytest.mark.full),
        pytest.param("before set_terminated:1", id="the end is not", marks=pytest.mark.full),
        pytest.param("after set_terminated:1", id="all of one batch", marks=pytest.mark.full),
    ],
)
def test_a_server_that_dies_after_the_predictions_is_told_later(
    server, processes, darkroom, tmp_path, moment, full
):
    for folder in ("monday", "tuesday"):
        put(server.world, folder, IMAGES)
    server.start()
    run = hold_up(processes, server.world, moment, tmp_path / "held", server)
    assert len(published(server.world)) == 2
    server.kill()
    status, said = run.ends()
    assert status == 0 and NOT_SHOWN in said and "Traceback" not in said, said
    assert lost_or_repeated(server.world) == {}
    environ = {}
    if full:  # else its store is reached without it, which takes less time
        server.start()
        environ = {"MLFLOW_TRACKING_URI": server.uri}
    done = darkroom(server.world, "classify", **environ)
    assert done.returncode == 0 and "not shown" not in done.stdout, done.stdout
    complete(server)


@pytest.mark.full
@pytest.mark.parametrize("moment", ["before create_run:1", "before log_artifact:1"])
def test_a_server_that_is_started_again_in_the_meantime_is_told_by_the_same_run(
    server, processes, tmp_path, moment
):
    put(server.world, "monday", IMAGES)
    server.start()
    run = hold_up(processes, server.world, moment, tmp_path / "held", server)
    server.kill()
    server.start()
    status, said = run.ends()
    assert status == 0 and "not shown" not in said, said
    complete(server)


@pytest.mark.full
def test_a_server_that_falls_silent_is_given_up_within_a_minute(
    server, processes, darkroom, tmp_path
):
    put(server.world, "monday", IMAGES)
    server.start()
    run = hold_up(processes, server.world, "before create_run:1", tmp_path / "held", server)
    os.killpg(server.process.pid, signal.SIGSTOP)
    begun = time.monotonic()
    status, said = run.ends()
    assert time.monotonic() - begun < 60
    assert status == 0 and NOT_SHOWN in said, said
    os.killpg(server.process.pid, signal.SIGCONT)  # now it does what it was asked for
    done = darkroom(server.world, "classify", MLFLOW_TRACKING_URI=server.uri)
    assert done.returncode == 0 and "not shown" not in done.stdout, done.stdout
    complete(server)


@contextmanager
def locked(database: Path, seconds: float) -> Iterator[None]:
    """Hold SQLite's lock on *database* for so long, as another program would."""
    holder = sqlite3.connect(database, check_same_thread=False, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(seconds, holder.execute, ("ROLLBACK",))
    release.start()
    try:
        yield
    finally:
        release.join()
        holder.close()


def test_a_store_that_another_program_holds_for_a_while_is_waited_for(
    desk, darkroom, tmp_path, full
):
    world = desk.fork(tmp_path / "project")
    put(world, "monday", IMAGES)
    with locked(world.home.mlflow_database, LOCKED_SECONDS if full else JUST_TOO_LONG):
        done = darkroom(world, "classify")
    assert done.returncode == 0 and "not shown" not in done.stdout, done.stdout
    assert lost_or_repeated(world) == {}
    assert all_is_shown_once(world)


@pytest.mark.full
def test_so_is_one_that_is_held_when_the_predictions_are_made(desk, processes, tmp_path):
    world = desk.fork(tmp_path / "project")
    put(world, "monday", IMAGES)
    run = hold_up(processes, world, "before create_run:1", tmp_path / "held")
    with locked(world.home.mlflow_database, LOCKED_SECONDS):
        status, said = run.ends()
    assert status == 0 and "not shown" not in said, said
    assert lost_or_repeated(world) == {}
    assert all_is_shown_once(world)
