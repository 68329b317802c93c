"""Reaching MLflow: one address, one probe, and a named error where nobody answers."""

import getpass
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from traceback import walk_tb
from urllib.parse import urlsplit

import mlflow
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from requests.exceptions import RequestException
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import (
    Busy,
    DarkroomError,
    ProjectError,
    StorageError,
    StoreRefused,
    StoreUnreachable,
    of_the_disk,
)
from pipeline.workspace import Home

Store = MlflowClient
"""What the rest of Darkroom is handed: MLflow's client, bound to one store."""

_PROBE_SECONDS = 4
_LOCK_SECONDS = 20
_PASSING = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")
"""Codes of MLflow's client for a server that is gone or at a loss; all others are refusals."""
FAULTS = (MlflowException, RequestException, SQLAlchemyError, OSError, ImportError)
"""What MLflow's client raises when its store fails it (or its database has no driver here)."""
_FULL = ("database or disk is full", "attempt to write a readonly database")
"""What SQLite says of its file's disk."""
_LOCKED = "database is locked"
_CLIENT = ("mlflow.tracking", "mlflow.store", "mlflow.utils.rest_utils")
"""The modules of MLflow that a call to a store goes through."""


def tracking_uri(home: Home, environ: Mapping[str, str]) -> str:
    """Return MLFLOW_TRACKING_URI where set, else the SQLite store in mlruns/."""
    return environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home.mlflow_database}"


def connect(home: Home, environ: Mapping[str, str], *, brief: bool = False) -> Store:
    """Return a client of a store that answers; raise StoreUnreachable within about 10 seconds.

    *brief* is for a stage, whose outcome waits for no store: it gives up at the first silence.
    """
    if brief:
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "4"
    uri, patience = tracking_uri(home, environ), 4 if brief else _LOCK_SECONDS
    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)  # what fails is told by us, in brief
    with _named(uri):
        if urlsplit(uri).scheme in ("http", "https"):
            _probe(uri)
        else:
            home.mlflow_database.parent.mkdir(parents=True, exist_ok=True)
            _wait_for_database(uri, patience)
        home.private.mkdir(parents=True, exist_ok=True)
        _bind(uri)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        # The first to come creates the tables
        with FileLock(home.private / "mlflow.lock", timeout=patience):
            client.search_experiments(max_results=1)
    return client


@contextmanager
def reaching(home: Home, environ: Mapping[str, str]) -> Iterator[None]:
    """Turn what a store does half-way into StoreUnreachable or StoreRefused, and a local file
    that cannot be used into an error of its own; anything else stays what it is."""
    with _named(tracking_uri(home, environ)):
        yield


def experiment_id(client: Store, home: Home, name: str) -> str:
    """Return the id of experiment *name*, made where there is none yet."""
    with FileLock(home.private / "mlflow.lock", timeout=_LOCK_SECONDS):
        found = client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "deleted":
            raise StoreRefused(
                f"the experiment {name} was deleted in MLflow",
                mend=f"mlflow experiments restore --experiment-id {found.experiment_id}",
            )
        if found is not None:
            return str(found.experiment_id)
        local = urlsplit(str(client.tracking_uri)).scheme == "sqlite"
        location = (home.mlflow_artifacts / name).as_uri() if local else None
        return str(client.create_experiment(name, artifact_location=location))


def _probe(uri: str) -> None:
    """Ask whether anybody answers there, by MLflow's own means (certificates, logins)."""
    login: Callable[[str], object] = get_default_host_creds
    asked: Callable[..., object] = http_request
    asked(login(uri), "/health", "GET", timeout=_PROBE_SECONDS, max_retries=0)


def _wait_for_database(uri: str, seconds: float) -> None:
    """Wait until SQLite's file can be read: MLflow waits for it too, but not as it opens it."""
    file = make_url(uri).database if urlsplit(uri).scheme == "sqlite" else None
    if file is None or not Path(file).is_file():
        return
    with closing(sqlite3.connect(file, timeout=seconds)) as database:
        try:
            database.execute("SELECT count(*) FROM sqlite_master")
        except sqlite3.Error as error:  # all else, MLflow is about to tell
            if _LOCKED in str(error):
                raise _held_by_another(uri) from None


def _held_by_another(uri: str) -> Busy:
    return Busy("another program holds MLflow's store", uri, mend="wait until it is done")


def _bind(uri: str) -> None:
    """Tell MLflow's own defaults, which it also writes into the environment: taken back there."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    if before is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = before


@contextmanager
def _named(uri: str) -> Iterator[None]:
    try:
        yield
    except Timeout:
        raise Busy(
            "another run holds MLflow's lock of this project", mend="wait until it is done"
        ) from None
    except FAULTS as error:
        if isinstance(error, OSError) and (local := of_the_disk(error) or _of_a_file(error)):
            raise local from None
        if not _is_the_stores(error):
            raise
        raise _error(uri, error) from None


def _of_a_file(error: OSError) -> DarkroomError | None:
    """Return what a missing or misplaced file is to a person; what a network raises names none."""
    name, why = error.filename, error.strerror
    if isinstance(error, shutil.Error):  # of a folder that was copied: one for each file
        name, _, why = error.args[0][0]
    if name is None:
        return None
    return ProjectError(
        f"a file cannot be used: {why or type(error).__name__}",
        str(name),
        mend="put it back (dvc checkout, where a stage has written it), then the same again",
    )


def _is_the_stores(error: Exception) -> bool:
    """Whether *error* comes out of a call to MLflow's store, and not out of the code around it."""
    frames = (frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__))
    return any(f"{name}.".startswith(tuple(f"{each}." for each in _CLIENT)) for name in frames)


def _error(uri: str, error: Exception) -> DarkroomError:
    told = f"{type(error).__name__}: {error}".splitlines()[0]
    if password := urlsplit(uri).password:
        uri, told = (text.replace(password, "***") for text in (uri, told))
    is_file = urlsplit(uri).scheme == "sqlite"
    if is_file and any(why in str(error) for why in _FULL):
        return StorageError(
            "MLflow's store cannot be written: its disk is full, or read-only",
            uri,
            mend="free space, or give the file back its rights, then the same again",
        )
    if is_file and _LOCKED in str(error):
        return _held_by_another(uri)
    if isinstance(error, MlflowException) and error.error_code not in _PASSING:
        return StoreRefused(
            f"MLflow refuses at {uri}", told[:200], mend="mend what it names, then the same again"
        )
    return StoreUnreachable(
        f"MLflow does not answer at {uri}",
        told[:200],
        mend="start the server, or set MLFLOW_TRACKING_URI (unset: the store in mlruns/)",
    )


def user() -> str:
    """Return who runs this; in a container, a number may have no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
