"""A registered version → a checked MLflow model at home, for `mlflow models serve`."""

import os
from pathlib import Path

from pipeline.params import Params
from pipeline.tracking import registry
from pipeline.tracking.loading import fetch_version, open_version
from pipeline.tracking.registry import CHAMPION, Version
from pipeline.tracking.store import connect, reaching
from pipeline.workspace import Home


def fetch(home: Home, params: Params, version: str) -> tuple[Version, Path]:
    """Return the *version* asked for, a number or an alias, and where its checked copy lies.

    Raises StoreUnreachable, RegistryError where there is none, ArtefactError where its files are
    not what its tags say, or it cannot run here.
    """
    found = find(home, params, version)
    with reaching(home, os.environ):
        folder = fetch_version(home, found)
        open_version(home, found, **params.serving.model_dump())  # what fails has a name here
    return found, folder


def find(home: Home, params: Params, version: str) -> Version:
    """Return the *version* asked for, a number or an alias.

    Raises StoreUnreachable, RegistryError where there is none.
    """
    client, name = connect(home, os.environ), params.model_name
    with reaching(home, os.environ):
        if version == CHAMPION:
            return registry.champion(client, name)
        kind = "/" if version.isdecimal() else "@"
        return registry.named(client, f"models:/{name}{kind}{version}")
