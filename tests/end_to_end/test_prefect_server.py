"""The schedule, for real: a Prefect server, a worker, a deployment that fires by itself."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from processes import free_port
from worlds import environment

pytestmark = pytest.mark.timeout(400)


def test_a_schedule_fires_and_the_api_tells_its_state_and_its_lines(demo, tmp_path):
    world = demo.fork(tmp_path / "project")
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    env = environment(world.root) | {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": api,
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "3",
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
    }
    with (
        running(world.root, env, "server", "start", "--port", str(port), log=tmp_path / "server"),
    ):
        wait_for(lambda: httpx.get(f"{api}/health").is_success, 90)
        prefect(world, env, "work-pool", "create", "--type", "process", "darkroom")
        prefect(world, env, "--no-prompt", "deploy", "--all")
        prefect(world, env, "--no-prompt", "deploy", "-n", "inference", "--interval", "10")
        with running(world.root, env, "worker", "start", "--pool", "darkroom", log=tmp_path / "w"):
            run = wait_for(lambda: finished_run(api), 150)
            assert run["state"]["type"] == "COMPLETED", run["state"]["message"]
            # A run sends its last lines after its state: its worker must live until they came
            wait_for(lambda: "nothing new in" in logs_of(api, run["id"]), 30)
        assert run["created_by"]["type"] == "SCHEDULE"
        schedules = {d["name"]: d["schedules"] for d in post(f"{api}/deployments/filter", {})}
        assert schedules["training"][0]["schedule"]["cron"] == "0 2 * * *"


def finished_run(api: str) -> dict | None:
    runs = post(
        f"{api}/flow_runs/filter",
        {"flows": {"name": {"any_": ["darkroom-inference"]}}, "sort": "EXPECTED_START_TIME_ASC"},
    )
    ended = [run for run in runs if run["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED")]
    return ended[0] if ended else None


def logs_of(api: str, flow_run: str) -> str:
    """The run's lines as the API has them; they come in by and by."""
    wanted = {"logs": {"flow_run_id": {"any_": [flow_run]}}}
    return "\n".join(log["message"] for log in post(f"{api}/logs/filter", wanted))


def post(url: str, body: dict) -> list[dict]:
    return httpx.post(url, json=body).raise_for_status().json()


def prefect(world, env: dict[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        cwd=world.root,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def running(root: Path, env: dict[str, str], *arguments: str, log: Path) -> Iterator[None]:
    """Run `prefect ...` for as long as the block lasts; end its whole group afterwards."""
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=root,
            env=env,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait(10)


def wait_for(ask, seconds: float):
    """Ask until the answer is true; return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if answer := ask():
                return answer
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"nothing came within {seconds} s")
