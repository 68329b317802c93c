"""Versions and aliases of a model in MLflow's registry."""

import hashlib
import json
import re
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlflow.entities import LoggedModel, LoggedModelOutput, Metric
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from pipeline.errors import ArtefactError, RegistryError
from pipeline.tracking.packaging import file_tags, package
from pipeline.tracking.publish import ARTEFACTS
from pipeline.tracking.record import WEIGHTS
from pipeline.tracking.store import Store

_NEEDED = {"training/model.safetensors", "training/card.json"}
CHAMPION, CHALLENGER = "champion", "challenger"
_VERSIONS = "mlflow.modelVersions"
"""MLflow's own tag of a stored model."""


@dataclass(frozen=True)
class Version:
    """One registered version."""

    name: str
    number: int
    serving_digest: str
    tags: dict[str, str]
    created: int = field(default=0, compare=False)
    """When, in milliseconds since 1970."""

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


def aliases(client: Store, name: str) -> dict[str, int]:
    """Return where each alias of *name* points."""
    held = client.get_registered_model(name).aliases
    return {alias: int(number) for alias, number in held.items()}


def champion(client: Store, name: str) -> Version:
    """Return the version that serves; raise RegistryError where there is none."""
    found = by_alias(client, name, CHAMPION)
    if found is None:
        raise RegistryError(
            f"model {name} has no champion yet",
            "classify, serve and rollback need a registered version with the alias `champion`",
            mend="darkroom run, or darkroom register; darkroom models says which gates failed",
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
            mend="darkroom models shows this project's versions and aliases; make ui, all models",
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
    with (got / "model.safetensors").open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
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


def upload(
    client: Store, experiment_id: str, run_id: str, name: str, serving: Path, example: bytes
) -> Uploaded:
    """Store the artefact in *serving*, a folder of that name, as a model.

    *example* is an image file, shown as the model's input example.
    """
    model = client.create_logged_model(
        experiment_id,
        name=name.replace(".", "-"),  # which MLflow forbids there, though not in the registry
        source_run_id=run_id,
        model_type="classifier",
    )
    with tempfile.TemporaryDirectory(dir=serving.parent) as scratch:
        folder = Path(scratch) / "model"
        package(folder, serving, example)
        tags = file_tags(folder)
        client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return Uploaded(str(model.model_id), tags)


def sweep(client: Store, experiment_id: str, run_id: str, name: str) -> None:
    """Delete what registrations of *run_id* that were cut off have uploaded: models that became no
    version of *name*."""
    held = client.search_model_versions(f"name = '{name}' AND run_id = '{run_id}'")
    kept = {_model_id(version) for version in held}
    found = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    for model in found:
        if model.model_id not in kept:
            client.delete_logged_model(model.model_id)


def ensure_model(client: Store, name: str) -> None:
    """Make the registered model *name*, without any version, where there is none."""
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def create_version(
    client: Store,
    run_id: str,
    model_id: str,
    name: str,
    tags: Mapping[str, str],
    description: str,
) -> Version:
    """Register an uploaded model as a new version of *name*, in one step with its tags and its
    *description*; no alias points to it yet."""
    ensure_model(client, name)
    created = client.create_model_version(
        name,
        source=f"models:/{model_id}",
        run_id=run_id,
        tags=dict(tags),
        description=description,
        model_id=model_id,
    )
    tell_version(client, client.get_logged_model(model_id), name, int(created.version))
    return _version(created)


def tell_version(client: Store, model: LoggedModel, name: str, number: int) -> None:
    """Let a stored model say which version it is: by that, MLflow's pages of the model, and of
    runs that it went into, link to the version."""
    if _VERSIONS not in model.tags:
        said = json.dumps([{"name": name, "version": str(number)}])
        client.set_logged_model_tags(model.model_id, {_VERSIONS: said})


def show_figures(client: Store, version: Version, figures: Mapping[str, float]) -> None:
    """Log *figures* for the version's run and model, where MLflow compares them; once."""
    found = client.get_model_version(version.name, str(version.number))
    model_id = _model_id(found)
    if not (found.run_id and model_id):
        return
    held = {each.key for each in client.get_logged_model(model_id).metrics or ()}
    now = int(time.time() * 1000)
    missing = [
        Metric(key, value, now, 0, model_id=model_id, run_id=found.run_id)
        for key, value in figures.items()
        if key not in held
    ]
    client.log_batch(found.run_id, metrics=missing)


def stored_model(client: Store, name: str, number: int) -> LoggedModel | None:
    """Return what MLflow stores of a version; None where it was deleted, or never had a model."""
    try:
        model_id = _model_id(client.get_model_version(name, str(number)))
        return client.get_logged_model(model_id) if model_id else None
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
            return None
        raise


def _model_id(version: ModelVersion) -> str | None:
    """MLflow's store keeps it in the source alone."""
    found = re.fullmatch("models:/([^/]+)", version.source or "")
    return found[1] if found else None


def _version(found: ModelVersion) -> Version:
    tags = dict(found.tags)
    digest = tags.get("darkroom.serving_digest", "")
    return Version(found.name, int(found.version), digest, tags, int(found.creation_timestamp or 0))
