"""models/serving → a version in the registry: opens the test split, judges, moves aliases.

A repeat for the same serving digest opens nothing: it reads what the version's tags recorded,
and finishes what a crash may have left undone.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

from filelock import FileLock

from pipeline.cards import read_card
from pipeline.data.catalogue import Splits, read_splits
from pipeline.errors import RegistryError
from pipeline.evaluation.gate import judge
from pipeline.evaluation.measure import Measured, measure
from pipeline.export.artefact import SealedClassifier, open_artefact, serving_digest
from pipeline.graph import dataset_version
from pipeline.metrics import accuracy_interval, summary
from pipeline.params import Params
from pipeline.tracking import registry
from pipeline.tracking.publish import publish
from pipeline.tracking.registry import Version
from pipeline.tracking.store import Store, connect, experiment_id, reaching
from pipeline.workspace import Home, Workspace


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
    """Raises StoreUnreachable before any work where MLflow does not answer."""
    client = connect(home, os.environ)
    digest = serving_digest(workspace.serving)
    name = params.model_name
    with reaching(home, os.environ), FileLock(home.private / "register.lock"):
        known = registry.versions(client, name)
        version = next((v for v in known if v.serving_digest == digest), None)
        new = version is None
        if version is None:
            version = _open_test_split(client, workspace, home, params, known)
        registry.settle(client, version, version.tags["darkroom.promoted"] == "true")
        registered = _read(version, new, registry.champion(client, name).number)
    say(_describe(registered))
    return registered


def _open_test_split(
    client: Store, workspace: Workspace, home: Home, params: Params, known: list[Version]
) -> Version:
    """Measure challenger and champion on the test images; record all of it as a new version."""
    name = params.model_name
    challenger = open_artefact(workspace.serving)
    serving = registry.by_alias(client, name, registry.CHAMPION)
    champion = registry.open_version(home, serving) if serving else None
    if serving and champion:
        _refuse_other_classes(serving, champion, challenger)
    run_id = publish(workspace, home, name)
    splits = read_splits(workspace.splits)

    def on_test(classifier: SealedClassifier) -> Measured:
        rows = splits.of("test")
        return measure(classifier, workspace.images, rows, params.evaluate.batch_size)

    measured = on_test(challenger)
    figures = summary(measured.probabilities, measured.labels)
    theirs = None
    if champion:
        other = on_test(champion)
        theirs = summary(other.probabilities, other.labels)
    verdict = judge(figures, theirs)
    low, high = accuracy_interval(figures["accuracy"], len(measured.labels))
    tags = {
        "darkroom.serving_digest": serving_digest(workspace.serving),
        **_identities(workspace),
        "darkroom.split": _split_identity(splits),
        "test_use": str(_uses(known, splits) + 1),
        "test.images": str(len(measured.labels)),
        **{f"test.{key}": repr(value) for key, value in figures.items()},
        "test.accuracy_low": repr(low),
        "test.accuracy_high": repr(high),
        "darkroom.promoted": str(verdict.promoted).lower(),
        "darkroom.verdict": verdict.reason,
    }
    if serving and theirs:
        tags["champion.version"] = str(serving.number)
        tags["champion.test.accuracy"] = repr(theirs["accuracy"])
    return registry.create_version(
        client,
        experiment_id(client, home, name),
        run_id,
        name,
        workspace.serving,
        tags,
        {f"test.{key}": value for key, value in figures.items()},
    )


def _identities(workspace: Workspace) -> dict[str, str]:
    return {
        "darkroom.training_key": read_card(workspace.training_report / "card.json")["training_key"],
        "darkroom.export_key": read_card(workspace.export_report / "card.json")["export_key"],
        "darkroom.dataset": dataset_version(workspace),
    }


def _split_identity(splits: Splits) -> str:
    return f"seed {splits.seed}, validation {splits.validation}, test {splits.test}"


def _uses(known: list[Version], splits: Splits) -> int:
    """How often the test images of this split have been opened, however the set has grown."""
    return sum(v.tags.get("darkroom.split") == _split_identity(splits) for v in known)


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
