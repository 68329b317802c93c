"""`darkroom serve`: a real server on a checked copy; nothing at all on one that fails the check."""

import base64
import io
import json
import re
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from attacks import ATTACKS
from brightness import png
from processes import free_port, start, wait_until
from versions import register_brightness, stored_model
from worlds import ROOT, World, environment, make_world

from pipeline.tracking import aliases, registry
from pipeline.tracking.store import connect

NAME = "brightness"
PARQUET = "application/vnd.apache.parquet"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project whose registry holds a champion, and a model of an older Darkroom."""
    made = make_world(tmp_path_factory.mktemp("serve") / "project")
    made.set(**{"registry.model_name": NAME})
    client = connect(made.home, {})
    aliases.promote(client, register_brightness(client, made.home, NAME))
    register_brightness(client, made.home, NAME, older=True)
    return made


@dataclass(frozen=True)
class Server:
    port: int
    log: Path

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=5) as got:
                return bool(got.status == 200)
        except OSError:
            return False

    def ask(self, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
        """Return the status and what was answered."""
        url = f"http://127.0.0.1:{self.port}/invocations"
        request = urllib.request.Request(url, body, {"Content-Type": kind})
        try:
            with urllib.request.urlopen(request, timeout=60) as got:
                return got.status, json.loads(got.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def serving(project: World, log: Path, *arguments: str) -> Iterator[Server]:
    """Serve on a free port; end it as a service manager would, and see that it is gone."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = Server(free.getsockname()[1], log)
    process = start(project, log, "pipeline.cli", "serve", *arguments, "--port", str(server.port))
    try:
        wait_until(lambda: server.answers() or process.poll() is not None, log)
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    wait_until(lambda: not server.answers(), log, 20)


@pytest.fixture(scope="module")
def server(project: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from serving(project, tmp_path_factory.mktemp("server") / "log.txt")


def body(*images: bytes | str) -> bytes:
    encoded = [i if isinstance(i, str) else base64.b64encode(i).decode() for i in images]
    return json.dumps({"dataframe_records": [{"image": image} for image in encoded]}).encode()


def labels(answer: tuple[int, Any]) -> list[str]:
    assert answer[0] == 200, answer
    return [row["label"] for row in answer[1]["predictions"]]


def test_the_champion_is_served_as_base64_and_as_bytes(server):
    assert "brightness version 1, checked" in server.log.read_text()
    assert labels(server.ask(body(png(0), png(255)))) == ["dark", "light"]
    parquet = io.BytesIO()
    pd.DataFrame({"image": [png(255), png(0)]}).to_parquet(parquet)
    assert labels(server.ask(parquet.getvalue(), PARQUET)) == ["light", "dark"]


def test_the_example_in_the_docs_is_answered(server, project):
    (example,) = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/serving.md").read_text(), re.DOTALL)
    (project.root / "photo.png").write_bytes(png(0))
    done = subprocess.run(
        ["bash", "-c", example.replace("5001", str(server.port))],
        cwd=project.root,
        env=environment(project.root),
        capture_output=True,
        check=True,
    )
    (answer,) = json.loads(done.stdout)["predictions"]
    assert answer["label"] == "dark"
    assert set(answer) == {
        "label", "confidence", "probabilities", "conformal_set", "abstain_reason"
    }  # fmt: skip


NOISE = np.random.default_rng(0).bytes(20_000_000)


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (body(png(0), b"no image", png(0)), "row 1: not_an_image"),
        (body(png(0), "no base64!"), "row 1: not base64"),
        (body(png(0), b"\x89PNG" + NOISE), "row 1: too_large"),
        (body(), "no row"),
        (b'{"dataframe_records": [{"image"', "valid JSON"),
        (b'{"dataframe_records": [{"picture": ""}]}', "no column `image`"),
        (b'{"images": []}', "exactly one of the input fields"),
    ],
    ids=["no image", "no base64", "huge", "empty", "no JSON", "no column", "no format"],
)
def test_a_bad_request_gets_status_400_in_few_lines_and_the_server_goes_on(server, sent, says):
    status, told = server.ask(sent)
    assert status == 400 and says in json.loads(told)["message"]
    assert "Traceback" not in told and len(told) < 1500
    assert labels(server.ask(body(png(255)))) == ["light"]


def test_serving_leaves_the_checked_copy_as_it_was(server, project):
    """A second check finds every file as it was registered: no bytecode beside the code."""
    labels(server.ask(body(png(0))))
    (copy,) = filter(Path.is_dir, (project.home.private / "models").iterdir())
    assert not list(copy.rglob("__pycache__"))


def test_a_port_that_is_taken_is_a_named_error(server, project):
    done = project.run("darkroom", "serve", "--port", str(server.port), ok=False)
    assert done.returncode == 1 and "mend: choose another: --port" in done.stderr
    assert "Traceback" not in done.stderr


def alive(log: Path) -> bool:
    """Whether the server that wrote *log* is still there."""
    (number,) = re.findall(r"Started server process \[(\d+)\]", log.read_text())
    try:
        return "Z" not in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2]
    except OSError:
        return False


def test_a_server_that_is_ended_while_a_request_runs_is_gone_within_seconds(project, tmp_path):
    log = tmp_path / "log.txt"
    for server in serving(project, log):
        waiting = socket.create_connection(("127.0.0.1", server.port))
        waiting.sendall(b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{")
        assert server.answers()  # and so it has taken up the other one
    wait_until(lambda: not alive(log), log, 30)
    waiting.close()


@pytest.mark.full
def test_a_version_of_an_older_darkroom_is_served_by_its_own_code(project, tmp_path):
    for server in serving(project, tmp_path / "log.txt", "2"):
        assert labels(server.ask(body(png(0), png(255)))) == ["dark", "light"]
        assert "row 0: not_an_image" in server.ask(body(b"no image"))[1]


@pytest.mark.full
def test_what_cannot_be_served_is_a_named_error_before_any_server_starts(project, tmp_path):
    forked = project.fork(tmp_path / "project")
    done = forked.run("darkroom", "serve", "nobody", ok=False)
    assert done.returncode == 1 and "holds no models:/brightness@nobody" in done.stderr
    forked.set(**{"serving.variant": "int8"})
    done = forked.run("darkroom", "serve", "2", ok=False)
    assert done.returncode == 1 and "no variant int8" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def plain(project: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Another project with the same registry: no copy of a model has been fetched here."""
    made = project.fork(tmp_path_factory.mktemp("plain") / "project")
    shutil.rmtree(made.home.private / "models", ignore_errors=True)
    return made


QUICK = ("MLmodel's loader",)


@pytest.mark.parametrize(
    "attack",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.full) for name in ATTACKS],
)
def test_a_model_that_was_tampered_with_starts_no_server(plain, tmp_path, attack):
    tamper, says = ATTACKS[attack]
    client = connect(plain.home, {})
    model = stored_model(client, registry.champion(client, NAME))
    assert model.is_relative_to(plain.root)
    kept = shutil.copytree(model, tmp_path / "kept")
    tamper(model, tmp_path / "canary")
    try:
        done = plain.run("darkroom", "serve", "--port", str(free_port()), ok=False, timeout=60)
    finally:
        shutil.rmtree(model)
        shutil.copytree(kept, model)
    assert done.returncode == 1 and re.search(says, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert "checked" not in done.stdout and "uvicorn" not in done.stdout + done.stderr
    assert not (tmp_path / "canary").exists()
