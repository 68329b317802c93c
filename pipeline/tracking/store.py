"""Reaching MLflow: one address, one probe, and a named error where nobody answers."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeGuard
from urllib.parse import urlsplit

import mlflow
import requests
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import StorageError, StoreUnreachable
from pipeline.workspace import Home

Store = MlflowClient
"""What the rest of Darkroom is handed: MLflow's client, bound to one store."""

_PROBE_SECONDS = (2, 3)
"""To connect, and to wait for an answer."""
FAULTS = (MlflowException, RequestException, SQLAlchemyError, OSError, ImportError)
"""What MLflow's client raises when its store fails it (or its database has no driver here)."""


def tracking_uri(home: Home, environ: Mapping[str, str]) -> str:
    """Return MLFLOW_TRACKING_URI where set, else the SQLite store in mlruns/."""
    return environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home.mlflow_database}"


def connect(home: Home, environ: Mapping[str, str]) -> Store:
    """Return a client of a store that answers; raise StoreUnreachable within about 10 seconds."""
    uri = tracking_uri(home, environ)
    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with _named(uri):
        if urlsplit(uri).scheme in ("http", "https"):
            _probe(uri)
        else:
            home.mlflow_database.parent.mkdir(parents=True, exist_ok=True)
        home.private.mkdir(parents=True, exist_ok=True)
        _bind(uri)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        with FileLock(home.private / "mlflow.lock"):  # the first to come creates the tables
            client.search_experiments(max_results=1)
    return client


@contextmanager
def reaching(home: Home, environ: Mapping[str, str]) -> Iterator[None]:
    """Turn a store that fails half-way into StoreUnreachable."""
    with _named(tracking_uri(home, environ)):
        yield


def experiment_id(client: Store, home: Home, name: str) -> str:
    """Return the id of experiment *name*, made where there is none yet."""
    with FileLock(home.private / "mlflow.lock"):
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        local = urlsplit(str(client.tracking_uri)).scheme == "sqlite"
        location = (home.mlflow_artifacts / name).as_uri() if local else None
        return str(client.create_experiment(name, artifact_location=location))


def _probe(uri: str) -> None:
    """Ask whether anybody speaks HTTP there; what a server answers is the client's to judge."""
    requests.get(f"{uri.rstrip('/')}/health", timeout=_PROBE_SECONDS)


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
    except FAULTS as error:
        if _is_of_the_disk(error):
            raise StorageError(
                f"MLflow's files cannot be reached: {error.strerror}",
                str(error.filename or uri),
                mend="free space, or give the folder back its rights",
            ) from None
        parts = urlsplit(uri)
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        if parts.password:
            uri, told = (text.replace(parts.password, "***") for text in (uri, told))
        raise StoreUnreachable(
            f"MLflow does not answer at {uri}",
            told[:200],
            mend="start the server, or set MLFLOW_TRACKING_URI (unset: the store in mlruns/)",
        ) from None


def _is_of_the_disk(error: Exception) -> TypeGuard[OSError]:
    network = (RequestException, ConnectionError, TimeoutError)
    return isinstance(error, OSError) and not isinstance(error, network)
