"""Versions and aliases of a model in MLflow's registry."""

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import LoggedModelOutput
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.errors import ArtefactError, RegistryError
from pipeline.tracking.packaging import file_tags, package
from pipeline.tracking.publish import ARTEFACTS
from pipeline.tracking.record import WEIGHTS
from pipeline.tracking.store import Store

_NEEDED = {"training/model.safetensors", "training/card.json"}
CHAMPION, CHALLENGER = "champion", "challenger"
_SETTLED = "darkroom.settled"
"""Tag: the aliases have been moved; a person may have moved them since."""


@dataclass(frozen=True)
class Version:
    """One registered version."""

    name: str
    number: int
    serving_digest: str
    tags: dict[str, str]

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.number}"


def versions(client: Store, name: str) -> list[Version]:
    """Return all versions of *name*, oldest first; none where the name is new."""
    found = client.search_model_versions(f"name = '{name}'", max_results=10_000)
    return sorted((_version(version) for version in found), key=lambda v: v.number)


def by_alias(client: Store, name: str, alias: str) -> Version | None:
    try:
        return _version(client.get_model_version_by_alias(name, alias))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def champion(client: Store, name: str) -> Version:
    """Return the version that serves; raise RegistryError where there is none."""
    found = by_alias(client, name, CHAMPION)
    if found is None:
        raise RegistryError(
            f"model {name} has no champion yet",
            "classifying needs a registered version with the alias `champion`",
            mend="darkroom run, or dvc repro and then darkroom register",
        )
    return found


def named(client: Store, uri: str) -> Version:
    """Return the version that models:/NAME/VERSION or models:/NAME@ALIAS names.

    Raises RegistryError where there is none.
    """
    parts = re.fullmatch(r"models:/([^/@]+)(?:/(\d+)|/?@(.+)|/(.+))", uri)
    if parts is None:
        raise RegistryError(
            f"{uri} names no registered version",
            mend="name one as models:/NAME/VERSION or models:/NAME@champion",
        )
    name, number = parts[1], parts[2]
    known = versions(client, name)
    if number is None:
        found = by_alias(client, name, parts[3] or parts[4])
    else:
        found = next((version for version in known if version.number == int(number)), None)
    if found is None:
        shown = ", ".join(str(version.number) for version in known[-10:])
        raise RegistryError(
            f"the registry holds no {uri}",
            f"versions of {name}: {shown or 'none'}",
            mend="make ui shows all models, their versions and aliases",
        )
    return found


def download_training(client: Store, version: Version, folder: Path) -> Path:
    """Copy what *version* was exported from, weights and their card, into *folder*; return where.

    Raises RegistryError where its run does not hold it, ArtefactError where the weights are not
    what the version's tag says.
    """
    run_id = client.get_model_version(version.name, str(version.number)).run_id
    expected = version.tags.get(WEIGHTS) or _published_hash(client, run_id)
    held = {file.path for file in client.list_artifacts(run_id, "training")} if run_id else set()
    if not (run_id and expected and held >= _NEEDED):
        raise RegistryError(
            f"{version.name} version {version.number} has no torch weights on record",
            "it was not registered by Darkroom, or its run has lost them",
            mend="choose a version whose run has training/model.safetensors (make ui shows them)",
        )
    got = Path(client.download_artifacts(run_id, "training", str(folder)))
    found = hashlib.sha256((got / "model.safetensors").read_bytes()).hexdigest()
    if not found.startswith(expected):
        raise ArtefactError(
            f"the weights of {version.name} version {version.number} are not those on record",
            f"training/model.safetensors of run {run_id} has SHA-256 {found}",
            f"on record: {expected}",
            mend="choose another version; or put that artefact of the run back",
        )
    return got


def _published_hash(client: Store, run_id: str | None) -> str:
    """What a version of an older Darkroom has: the first digits, on its run."""
    tags = client.get_run(run_id).data.tags if run_id else {}
    held = json.loads(tags.get(ARTEFACTS, "{}"))
    return str(held.get("training/model.safetensors", ""))


@dataclass(frozen=True)
class Uploaded:
    """A stored model that is no version yet."""

    model_id: str
    tags: dict[str, str]
    """For the version: what its files are."""


def upload(client: Store, experiment_id: str, run_id: str, name: str, serving: Path) -> Uploaded:
    """Store the artefact in *serving*, a folder of that name, as a model."""
    model = client.create_logged_model(
        experiment_id,
        name=name.replace(".", "-"),  # which MLflow forbids there, though not in the registry
        source_run_id=run_id,
        model_type="classifier",
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        package(folder, serving)
        tags = file_tags(folder)
        client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return Uploaded(str(model.model_id), tags)


def create_version(
    client: Store,
    run_id: str,
    model_id: str,
    name: str,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
) -> Version:
    """Register an uploaded model as a new version of *name*; no alias points to it yet."""
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    created = client.create_model_version(
        name, source=f"models:/{model_id}", run_id=run_id, tags=dict(tags), model_id=model_id
    )
    for key, value in metrics.items():
        client.log_metric(run_id, key, value, model_id=model_id)
    return _version(created)


def settle(client: Store, version: Version, promoted: bool) -> None:
    """Move the aliases that *version* has earned, once: what a person moves later stays."""
    if version.tags.get(_SETTLED) == "true":
        return
    client.set_registered_model_alias(version.name, CHALLENGER, str(version.number))
    if promoted:
        promote(client, version)
    client.set_model_version_tag(version.name, str(version.number), _SETTLED, "true")


def promote(client: Store, version: Version) -> None:
    client.set_registered_model_alias(version.name, CHAMPION, str(version.number))


def _version(found: ModelVersion) -> Version:
    tags = dict(found.tags)
    return Version(found.name, int(found.version), tags.get("darkroom.serving_digest", ""), tags)
