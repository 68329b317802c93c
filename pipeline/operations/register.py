"""models/serving → a version in the registry: opens the test split, judges, moves aliases.

A repeat for the same serving digest opens nothing: it reads what the version's tags recorded,
and finishes what a crash may have left undone.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from pipeline.cards import read_card
from pipeline.data.splits import Splits, read_splits
from pipeline.errors import ArtefactError, ProjectError, RegistryError
from pipeline.evaluation.gate import judge
from pipeline.evaluation.measure import Measured, measure
from pipeline.export.artefact import SealedClassifier, check_digest, open_artefact
from pipeline.graph import dataset_version, stage_key, training_key
from pipeline.metrics import accuracy_interval, summary
from pipeline.params import Params
from pipeline.tracking import registry
from pipeline.tracking.loading import open_version
from pipeline.tracking.publish import publish
from pipeline.tracking.record import WEIGHTS
from pipeline.tracking.registry import Version
from pipeline.tracking.store import Store, connect, experiment_id, reaching
from pipeline.workspace import Home, Workspace

_LOCK_SECONDS = 30


@dataclass(frozen=True)
class Registered:
    """What a version's tags record of it."""

    name: str
    number: int
    new: bool
    champion: int
    """Number of the version that serves now."""
    accuracy: float
    interval: tuple[float, float]
    """Of the accuracy, 95%."""
    images: int
    verdict: str


def run(workspace: Workspace, home: Home, params: Params, say: Callable[[str], None]) -> Registered:
    """Raises StoreUnreachable before any work where MLflow does not answer, ProjectError where
    the model at hand was not made of the splits and parameters at hand."""
    client = connect(home, os.environ)
    _refuse_stale(workspace, home, params)
    name = params.model_name
    with (
        reaching(home, os.environ),
        FileLock(home.private / "register.lock", timeout=_LOCK_SECONDS),
        tempfile.TemporaryDirectory() as scratch,
    ):
        serving = Path(scratch) / "serving"  # what is measured is what is registered
        shutil.copytree(workspace.serving, serving)
        digest = read_card(workspace.export_report / "card.json")["serving_digest"]
        check_digest(serving, digest)
        known = registry.versions(client, name)
        version = next((v for v in known if v.serving_digest == digest), None)
        new = version is None
        if version is None:
            version = _register(client, workspace, home, params, serving, digest, known)
        registry.settle(client, version, _has_earned(client, version))
        _refill(client, version)
        registered = _read(version, new, registry.champion(client, name).number)
    say(_describe(registered))
    return registered


def _register(
    client: Store,
    workspace: Workspace,
    home: Home,
    params: Params,
    serving: Path,
    digest: str,
    known: list[Version],
) -> Version:
    """Upload the artefact, then open the test split, then record what it showed as a version."""
    name = params.model_name
    challenger = open_artefact(serving, digest)
    present = registry.by_alias(client, name, registry.CHAMPION)
    champion = _open_champion(home, present) if present else None
    if present and champion:
        _refuse_other_classes(present, champion, challenger)
    run_id = publish(workspace, home, name)
    uploaded = registry.upload(client, experiment_id(client, home, name), run_id, name, serving)
    splits = read_splits(workspace.splits)
    tags = {
        "darkroom.serving_digest": digest,
        **uploaded.tags,
        **_identities(workspace),
        "darkroom.split": _split_identity(splits),
        "test_use": str(_uses(known, splits) + 1),
    }

    def on_test(classifier: SealedClassifier) -> Measured:
        rows = splits.of("test")
        return measure(classifier, workspace.images, rows, params.evaluate.batch_size)

    ours = on_test(challenger)
    theirs = on_test(champion) if champion else None
    figures = summary(ours.probabilities, ours.labels)
    tags |= _findings(figures, len(ours.labels))
    if present and theirs:
        their_figures = summary(theirs.probabilities, theirs.labels)
        tags |= _verdict(figures, their_figures)
        tags["champion.version"] = str(present.number)
        tags["champion.test.accuracy"] = repr(their_figures["accuracy"])
        if present.tags.get("darkroom.split") != _split_identity(splits):
            tags["darkroom.verdict"] += "; it was split otherwise, and may know some of the images"
    else:
        tags |= _verdict(figures, None)
    commonest = max(Counter(ours.labels.tolist()).values()) / len(ours.labels)
    if float(tags["test.accuracy_low"]) <= commonest:
        tags["darkroom.verdict"] += (
            f"; BEWARE: not surely better than always naming the commonest class ({commonest:.4f})"
        )
    metrics = {f"test.{key}": value for key, value in figures.items()}
    return registry.create_version(client, run_id, uploaded.model_id, name, tags, metrics)


def _open_champion(home: Home, present: Version) -> SealedClassifier:
    try:
        return open_version(home, present)
    except (ArtefactError, RegistryError) as error:
        raise RegistryError(
            f"the champion, {present.name} version {present.number}, cannot be measured beside it",
            error.what,
            *error.where[:1],
            mend="in MLflow, take the alias champion from that version, or delete it",
        ) from None


def _findings(figures: dict[str, float], images: int) -> dict[str, str]:
    low, high = accuracy_interval(figures["accuracy"], images)
    return {
        "test.images": str(images),
        **{f"test.{key}": repr(value) for key, value in figures.items()},
        "test.accuracy_low": repr(low),
        "test.accuracy_high": repr(high),
    }


def _verdict(figures: dict[str, float], champion: dict[str, float] | None) -> dict[str, str]:
    verdict = judge(figures, champion)
    return {
        "darkroom.promoted": str(verdict.promoted).lower(),
        "darkroom.verdict": verdict.reason,
    }


def _has_earned(client: Store, version: Version) -> bool:
    """Whether *version* was promoted, over the champion that is still there.

    A run that was cut off after the version was made is finished by a later one; in between
    another may have become champion, with whom this one was never compared.
    """
    present = registry.by_alias(client, version.name, registry.CHAMPION)
    compared = version.tags.get("champion.version")
    same = compared == (str(present.number) if present else None)
    return same and version.tags["darkroom.promoted"] == "true"


def _refill(client: Store, version: Version) -> None:
    """Where somebody took the champion away, a version that was promoted once may serve again."""
    vacant = registry.by_alias(client, version.name, registry.CHAMPION) is None
    if vacant and version.tags["darkroom.promoted"] == "true":
        registry.promote(client, version)


def _refuse_stale(workspace: Workspace, home: Home, params: Params) -> None:
    """The test images of one split may be the training images of another."""
    training = read_card(workspace.training_report / "card.json").get("training_key")
    export = read_card(workspace.export_report / "card.json").get("export_key")
    for stage, recorded, key in (
        ("train", training, training_key(workspace, home, params.train)),
        ("export", export, stage_key(workspace, "export")),
    ):
        if recorded != key:
            raise ProjectError(
                "the model at hand was not made of the files and parameters at hand",
                f"since stage {stage} ran, something that it depends on was changed",
                mend="dvc repro, then darkroom register",
            )


def _identities(workspace: Workspace) -> dict[str, str]:
    exported = read_card(workspace.export_report / "card.json")
    return {
        "darkroom.training_key": read_card(workspace.training_report / "card.json")["training_key"],
        "darkroom.export_key": exported["export_key"],
        WEIGHTS: exported["weights_sha256"],
        "darkroom.dataset": dataset_version(workspace),
    }


def _split_identity(splits: Splits) -> str:
    return f"seed {splits.seed}, validation {splits.validation}, test {splits.test}"


def _uses(known: list[Version], splits: Splits) -> int:
    """How often the test images of this split have been opened, however the set has grown."""
    same = [v.tags for v in known if v.tags.get("darkroom.split") == _split_identity(splits)]
    return max((int(tags.get("test_use", 0)) for tags in same), default=0)


def _refuse_other_classes(
    serving: Version, champion: SealedClassifier, challenger: SealedClassifier
) -> None:
    if champion.classes != challenger.classes:
        raise RegistryError(
            f"the champion of {serving.name} (version {serving.number}) has other classes",
            f"champion: {', '.join(champion.classes)}"[:200],
            f"this model: {', '.join(challenger.classes)}"[:200],
            mend="set registry.model_name in params.yaml to a new name",
        )


def _read(version: Version, new: bool, champion: int) -> Registered:
    tags = version.tags
    return Registered(
        name=version.name,
        number=version.number,
        new=new,
        champion=champion,
        accuracy=float(tags["test.accuracy"]),
        interval=(float(tags["test.accuracy_low"]), float(tags["test.accuracy_high"])),
        images=int(tags["test.images"]),
        verdict=tags["darkroom.verdict"],
    )


def _describe(registered: Registered) -> str:
    low, high = registered.interval
    return (
        f"{registered.name} version {registered.number} ({'new' if registered.new else 'known'}): "
        f"test accuracy {registered.accuracy:.4f} [{low:.4f}, {high:.4f}] "
        f"on {registered.images} images; {registered.verdict}; "
        f"champion: version {registered.champion}"
    )
