"""A registered version → a checked MLflow model at home, for `mlflow models serve`."""

import os
from pathlib import Path

from pipeline.params import Params
from pipeline.tracking import registry
from pipeline.tracking.loading import fetch_version, open_version
from pipeline.tracking.registry import CHAMPION, Version
from pipeline.tracking.store import Store, connect, reaching
from pipeline.workspace import Home


def fetch(home: Home, params: Params, version: str) -> tuple[Version, Path]:
    """Return the *version* asked for, a number or an alias, and where its checked copy lies.

    Raises StoreUnreachable, RegistryError where there is none, ArtefactError where its files are
    not what its tags say, or it cannot run here.
    """
    client = connect(home, os.environ)
    with reaching(home, os.environ):
        found = _find(client, params.model_name, version)
        folder = fetch_version(home, found)
        open_version(home, found, variant=params.serving.variant)  # what fails has a name here
    return found, folder


def _find(client: Store, name: str, version: str) -> Version:
    if version == CHAMPION:
        return registry.champion(client, name)
    return registry.named(client, f"models:/{name}{'/' if version.isdecimal() else '@'}{version}")
