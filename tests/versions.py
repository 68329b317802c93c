"""Small registered versions: the brightness model, of this Darkroom and of an older one."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from brightness import CARD, graph, png, seal_brightness

from pipeline import serving
from pipeline.export.artefact import seal
from pipeline.tracking import registry
from pipeline.tracking.registry import Version
from pipeline.tracking.store import Store, experiment_id
from pipeline.workspace import Home

OLDER = Path(__file__).parent / "older"
"""Classifier and engine as they were at 5b72e48, before there were thresholds and variants."""


def register_brightness(
    client: Store, home: Home, name: str, *, older: bool = False, **card: Any
) -> Version:
    """Register a version of *name*, its card changed by *card*; an *older* one has the code and
    the tags of its time."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "serving"
        digest = seal_older(folder) if older else seal_brightness(folder, **card)
        experiment = experiment_id(client, home, name)
        run_id = client.create_run(experiment).info.run_id
        uploaded = registry.upload(client, experiment, run_id, name, folder, png(200))
    tags = {"darkroom.serving_digest": digest, "test_use": "1"}
    tags |= {} if older else uploaded.tags
    made = registry.create_version(client, run_id, uploaded.model_id, name, tags, "# A card")
    registry.show_figures(client, made, {"test.accuracy": 0.75})
    return made


def seal_older(folder: Path) -> str:
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        code = Path(scratch) / "serving"
        code.mkdir()
        for name in ("__init__.py", "images.py"):
            shutil.copy(Path(serving.__path__[0]) / name, code)
        for module in OLDER.glob("*.py"):
            shutil.copy(module, code)
        patch.setattr(serving, "__path__", [str(code)])
        return seal(folder, graph(), CARD)


def stored_model(client: Store, version: Version) -> Path:
    """Return the folder in which MLflow's store holds *version*."""
    uri = client.get_model_version_download_uri(version.name, str(version.number))
    return Path(str(uri).removeprefix("file://"))
