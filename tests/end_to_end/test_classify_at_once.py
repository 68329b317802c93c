"""Two runs at once: one does the work, the other waits or leaves by a named error; each file has
one row, and MLflow one finished run for each batch."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from classifies import at_once
from desks import all_is_shown_once, half_written, lost_or_repeated, put
from processes import free_port, start, wait_until
from worlds import World, environment

pytestmark = pytest.mark.timeout(1500)
IMAGES = 300
BUSY = "another run is classifying for model brightness"


def run_two(desk: World, *command: str, env: dict[str, str] | None = None) -> list[tuple[int, str]]:
    """Run a module twice, both let go by the same closed pipe; return how each ended, and what it
    said."""
    hold, gate = os.pipe()
    runs = [
        subprocess.Popen(
            ["bash", "-c", 'read; exec "$@" </dev/null', "-", sys.executable, "-m", *command],
            cwd=desk.root,
            env=environment(desk.root) | (env or {}),
            stdin=hold,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    os.close(hold)
    os.close(gate)
    said = [run.communicate(timeout=240)[0] for run in runs]
    return [(run.returncode, text) for run, text in zip(runs, said, strict=True)]


def both_did_well(ends: list[tuple[int, str]]) -> None:
    assert 0 in [code for code, _ in ends], ends
    for code, text in ends:
        assert "Traceback" not in text, text
        assert code == 0 or (code == 1 and BUSY in text), text


def each_file_has_one_row(desk: World) -> None:
    assert lost_or_repeated(desk) == {}
    assert half_written(desk) == []
    assert all_is_shown_once(desk)


def test_two_processes_at_once_leave_each_file_one_row(desk, tmp_path, full):
    world = desk.fork(tmp_path / "project")
    for number in range(20 if full else 2):
        put(world, f"round-{number}", IMAGES)
        both_did_well(run_two(world, "pipeline.cli", "classify"))
        each_file_has_one_row(world)


@pytest.fixture(scope="module")
def prefect_server(desk: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real one's API."""
    folder, port = tmp_path_factory.mktemp("prefect"), free_port()
    server = start(
        *(desk, folder / "log", "prefect", "server", "start", "--port", str(port)),
        env={"PREFECT_HOME": str(folder)},
    )
    api = f"http://127.0.0.1:{port}/api"
    try:
        wait_until(lambda: answers(f"{api}/health"), folder / "log")
        yield api
    finally:
        server.terminate()
        server.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False


@pytest.mark.full
def test_so_do_two_flows(desk, tmp_path, prefect_server):
    world = desk.fork(tmp_path / "project")
    for number in range(20):
        put(world, f"round-{number}", IMAGES)
        both_did_well(run_two(world, "flows.inference", env={"PREFECT_API_URL": prefect_server}))
        each_file_has_one_row(world)


def test_so_do_two_that_begin_in_the_same_millisecond_and_neither_has_the_model_yet(
    desk, processes, tmp_path, full
):
    """Children that have imported everything wait for each other, and then both fetch it."""
    world = desk.fork(tmp_path / "project")
    for number in range(40 if full else 2):
        put(world, f"round-{number}", 3)
        if number % 2:
            shutil.rmtree(world.home.private / "models", ignore_errors=True)
        else:
            damage_what_was_fetched(world)
        ends = race(processes, world)
        assert "" in ends
        assert set(ends) <= {"", BUSY}
        each_file_has_one_row(world)


def damage_what_was_fetched(desk: World) -> None:
    for graph in desk.home.private.glob("models/**/fp32.onnx"):
        graph.write_bytes(b"damaged")


def race(processes, desk: World) -> list[str]:
    barrier, report = processes.Barrier(2), processes.Queue()
    racing = [
        processes.Process(target=at_once, args=(desk.root, barrier, report)) for _ in range(2)
    ]
    for child in racing:
        child.start()
    ends = [report.get(timeout=120) for _ in racing]
    for child in racing:
        child.join()
    return ends
