"""A store that does not answer is a named error, soon, and gives no password away."""

import base64
import json
import os
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from disks import small_disk

from pipeline.errors import (
    Busy,
    DarkroomError,
    ProjectError,
    StorageError,
    StoreRefused,
    StoreUnreachable,
)
from pipeline.tracking.store import connect, experiment_id, reaching, tracking_uri
from pipeline.workspace import Home


def fail(
    home: Path, uri: str, kind: type[DarkroomError] = StoreUnreachable, within: float = 12
) -> DarkroomError:
    """Connect to *uri*, which must fail in this way and in time, in seconds; return the error."""
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        connect(Home(home), {"MLFLOW_TRACKING_URI": uri})
    assert time.monotonic() - started < within
    return caught.value


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A port that accepts; what it answers is up to the test."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def address(server: socket.socket) -> str:
    return f"127.0.0.1:{server.getsockname()[1]}"


class Mlflow(BaseHTTPRequestHandler):
    """The two questions that `connect` asks a server; the second one needs a login."""

    login: str | None = None
    """What came as user:password."""

    def do_GET(self) -> None:
        self.answer(b"OK")

    def do_POST(self) -> None:
        kind, _, encoded = self.headers.get("Authorization", "").partition(" ")
        type(self).login = base64.b64decode(encoded).decode() if kind == "Basic" else None
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(json.dumps({"experiments": []}).encode())

    def answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mlflow_server() -> Iterator[tuple[str, type[Mlflow]]]:
    handler = type("Handler", (Mlflow,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield address(server.socket), handler
        server.shutdown()


def test_a_port_that_refuses_is_unreachable_at_once(tmp_path, listening):
    where = address(listening)
    listening.close()
    started = time.monotonic()
    error = fail(tmp_path, f"http://{where}")
    assert time.monotonic() - started < 2
    assert where in error.what
    assert error.retryable
    assert "MLFLOW_TRACKING_URI" in error.mend


def test_a_port_that_accepts_and_never_answers_is_unreachable_soon(tmp_path, listening):
    fail(tmp_path, f"http://{address(listening)}")


@pytest.mark.full
def test_a_server_that_falls_silent_after_the_probe_is_unreachable_soon(tmp_path, mlflow_server):
    where, handler = mlflow_server
    handler.do_POST = lambda self: time.sleep(40)
    fail(tmp_path, f"http://{where}", within=30)


def test_a_port_that_speaks_another_language_is_unreachable(tmp_path, listening):
    def greet() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
            connection.recv(1000)

    threading.Thread(target=greet, daemon=True).start()
    fail(tmp_path, f"http://{address(listening)}")


@pytest.mark.parametrize(
    "uri",
    [
        "http://",
        "http://127.0.0.1:port",
        "postgresql://127.0.0.1:1/mlflow",  # nobody there, or no driver installed
    ],
)
def test_an_address_that_cannot_be_one_is_unreachable(tmp_path, monkeypatch, uri):
    monkeypatch.chdir(tmp_path)
    fail(tmp_path, uri)


@pytest.mark.parametrize("uri", ["gopher://127.0.0.1", "mlruns"])
def test_an_address_that_mlflow_does_not_take_is_refused(tmp_path, monkeypatch, uri):
    monkeypatch.chdir(tmp_path)
    assert not fail(tmp_path, uri, StoreRefused).retryable


def test_a_file_that_is_no_database_is_unreachable(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    assert "mlflow.db" in fail(tmp_path, f"sqlite:///{tmp_path}/mlflow.db").what


@pytest.mark.parametrize("scheme", ["http", "postgresql"])
def test_a_password_is_not_shown(tmp_path, listening, scheme):
    where = address(listening)
    listening.close()
    error = fail(tmp_path, f"{scheme}://somebody:s3cr3t@{where}/x")
    assert "s3cr3t" not in str(error)
    assert "somebody" in error.what


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (lambda handler: handler.answer(b"no such page", status=404), StoreRefused),
        (lambda handler: handler.connection.shutdown(socket.SHUT_RDWR), StoreUnreachable),
    ],
    ids=["an error", "hanging up"],
)
def test_a_password_is_not_shown_when_the_server_answers_the_probe_alone(
    tmp_path, mlflow_server, answer, kind
):
    where, handler = mlflow_server
    handler.do_POST = answer
    assert "s3cr3t" not in str(fail(tmp_path, f"http://somebody:s3cr3t@{where}", kind))


def test_a_login_in_the_address_reaches_the_server(tmp_path, mlflow_server):
    where, handler = mlflow_server
    connect(Home(tmp_path), {"MLFLOW_TRACKING_URI": f"http://somebody:s3cr3t@{where}"})
    assert handler.login == "somebody:s3cr3t"


def test_the_store_is_the_projects_own_unless_the_environment_names_another(tmp_path):
    home = Home(tmp_path)
    assert tracking_uri(home, {}) == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert tracking_uri(home, {"MLFLOW_TRACKING_URI": ""}) == tracking_uri(home, {})
    assert tracking_uri(home, {"MLFLOW_TRACKING_URI": "http://there"}) == "http://there"


def test_two_homes_in_one_process_have_a_store_each(home, client, tmp_path):
    for name in ("first", "second"):
        database = Home(tmp_path / name).mlflow_database
        database.parent.mkdir(parents=True)
        shutil.copy(home.mlflow_database, database)
        connected = connect(Home(tmp_path / name), os.environ)
        assert connected.tracking_uri == f"sqlite:///{database}"


def test_a_database_that_another_program_holds_is_busy(home, client, tmp_path):
    mine = Home(tmp_path)
    mine.mlflow_database.parent.mkdir(parents=True)
    shutil.copy(home.mlflow_database, mine.mlflow_database)
    with closing(sqlite3.connect(mine.mlflow_database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Busy, match="another program holds MLflow's store"):
            connect(mine, {})


def test_an_experiment_is_made_once_and_keeps_its_artefacts_at_home(client, home, name):
    made = experiment_id(client, home, name)
    assert experiment_id(client, home, name) == made
    location = client.get_experiment(made).artifact_location
    assert location == (home.mlflow_artifacts / name).as_uri()


def copy_with_a_dangling_link(folder: Path) -> None:
    (folder / "gone").symlink_to(folder / "no-such-file")
    shutil.copytree(folder, folder.with_name("copy"))


@pytest.mark.parametrize(
    "work",
    [
        lambda folder: shutil.copytree(folder / "gone", folder / "copy"),
        lambda folder: (folder / "gone").read_bytes(),
        copy_with_a_dangling_link,
    ],
)
def test_a_file_that_is_missing_beside_the_store_is_named_and_not_called_its_silence(
    tmp_path, work
):
    (tmp_path / "work").mkdir()
    with pytest.raises(ProjectError) as caught, reaching(Home(tmp_path), {}):
        work(tmp_path / "work")
    assert caught.value.where == (str(tmp_path / "work/gone"),)
    assert "No such file or directory" in caught.value.what
    assert "MLflow" not in str(caught.value) and not caught.value.retryable


@pytest.mark.parametrize("error", [ImportError, BrokenPipeError, OSError, ValueError])
def test_what_fails_beside_the_store_stays_what_it_is(tmp_path, error):
    """A child that died, a picture that is cut off, a mistake of ours."""
    with pytest.raises(error, match="ours"), reaching(Home(tmp_path), {}):
        raise error("ours")


def test_a_store_that_loses_its_tables_half_way_is_still_told_as_the_stores_fault(
    client, home, tmp_path
):
    here = Home(tmp_path)
    here.mlflow_database.parent.mkdir()
    shutil.copy(home.mlflow_database, here.mlflow_database)
    broken = connect(here, {})
    with pytest.raises(StoreUnreachable, match="does not answer"), reaching(here, {}):
        with sqlite3.connect(here.mlflow_database) as database:
            database.execute("DROP TABLE registered_models")
        broken.search_registered_models()


def test_a_store_whose_disk_is_full_is_named_without_a_traceback_of_mlflows(
    client, home, tmp_path, caplog
):
    here = Home(tmp_path)
    here.mlflow_database.parent.mkdir()
    with small_disk(here.mlflow_database.parent) as disk:
        shutil.copy(home.mlflow_database, here.mlflow_database)
        full = connect(here, {})
        disk.leave(0)
        with pytest.raises(StorageError, match="disk is full") as caught, reaching(here, {}):
            full.create_experiment("one more")
    assert str(here.mlflow_database) in str(caught.value) and caught.value.retryable
    assert not caplog.records


@pytest.mark.full
def test_a_store_that_another_program_holds_for_long_is_called_so(home, tmp_path):
    here = Home(tmp_path)
    here.mlflow_database.parent.mkdir()
    shutil.copy(home.mlflow_database, here.mlflow_database)
    with closing(sqlite3.connect(here.mlflow_database, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Busy, match="another program holds MLflow's store") as caught:
            connect(here, {})
    assert caught.value.where == (f"sqlite:///{here.mlflow_database}",)
