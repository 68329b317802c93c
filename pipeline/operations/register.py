"""models/serving → a version in the registry: opens the test split, judges, moves aliases.

A repeat for the same serving digest opens nothing: it reads what the version's tags recorded,
and finishes what a crash may have left undone. The order of the writes makes that possible: the
model is uploaded; the opening is counted, before anything of it can be seen; the version comes into
being in one step, with its verdict, tags and card; then the figures, @challenger, @champion.
Whatever is missing can be made from the tags.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from pipeline.cards import read_card
from pipeline.data.cache import read_image
from pipeline.data.catalogue import read_catalogue
from pipeline.data.splits import Splits, read_splits
from pipeline.errors import ProjectError, legible
from pipeline.evaluation.judging import verdict
from pipeline.evaluation.model_card import model_card, shortened
from pipeline.evaluation.power import ordinal
from pipeline.evaluation.start import seen
from pipeline.export.artefact import check_digest, open_artefact
from pipeline.graph import dataset_version
from pipeline.operations.at_hand import copy_at_hand, refuse_stale
from pipeline.operations.gates_now import have_changed
from pipeline.operations.lock import registry_lock
from pipeline.operations.opening import Champion, Opened, open_champion, open_test, origin_of
from pipeline.params import Params
from pipeline.tracking import aliases, registry, uses
from pipeline.tracking.aliases import GATE, PROMOTED, VERDICT
from pipeline.tracking.ancestry import contamination
from pipeline.tracking.publish import is_as_logged, publish
from pipeline.tracking.record import EXPORT_KEY, WEIGHTS
from pipeline.tracking.registry import Version
from pipeline.tracking.store import Store, connect, experiment_id, reaching
from pipeline.workspace import Home, Workspace, fresh

_VARIANTS = "test.variants"
_SEEN = "darkroom.start_knows"
"""Tag: how many test images the starting weights know, and whether these are all, as JSON."""


@dataclass(frozen=True)
class Registered:
    """What a version's tags record of it."""

    name: str
    number: int
    new: bool
    champion: int | None
    """Number of the version that serves now; None where none has passed its gates."""
    accuracy: float
    interval: tuple[float, float]
    """Of the accuracy, 95%."""
    images: int
    seen: str
    """Of these test images, in a few words: whether anything else may have seen them."""
    verdict: str


def run(workspace: Workspace, home: Home, params: Params, say: Callable[[str], None]) -> Registered:
    """Raises StoreUnreachable before any work where MLflow does not answer, ProjectError where
    the model at hand was not made of the splits and parameters at hand."""
    client = connect(home, os.environ)
    name = params.model_name
    with reaching(home, os.environ), registry_lock(home), _copied(workspace, home) as copy:
        refuse_stale(copy, home, params)
        digest = str(read_card(copy.export_report / "card.json").get("serving_digest"))
        check_digest(copy.serving, digest)
        known = registry.versions(client, name)
        version = next((v for v in known if v.serving_digest == digest), None)
        new = version is None
        if version is None:
            run_id = publish(workspace, home, name)
            _refuse_another_run(client, run_id, copy)
            version = _register(client, copy, home, params, run_id, digest, known, say)
        registry.show_figures(client, version, _shown(version.tags))
        aliases.settle(client, version, _has_earned(client, version))
        present = registry.by_alias(client, name, registry.CHAMPION)
        registered = _read(version, new, present.number if present else None)
    say(_describe(registered))
    if not new and have_changed(version, params.gate):
        say(
            "`gate` in params.yaml has changed since: a known model is not judged again, "
            "only a new one is"
        )
    return registered


@contextmanager
def _copied(workspace: Workspace, home: Home) -> Iterator[Workspace]:
    """Copy what is at hand to one place at home: what a killed `register` left there is swept."""
    folder = fresh(home.private / "registering")
    try:
        yield copy_at_hand(workspace, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _register(
    client: Store,
    workspace: Workspace,
    home: Home,
    params: Params,
    run_id: str,
    digest: str,
    known: list[Version],
    say: Callable[[str], None],
) -> Version:
    """Upload the artefact, count the use, open the test split, make a version of what it showed.

    *workspace* is a copy that nobody else knows: what is measured is what is registered.
    """
    name, serving = params.model_name, workspace.serving
    present = registry.by_alias(client, name, registry.CHAMPION)
    classes = open_artefact(serving, digest).classes
    champion = open_champion(client, home, present, classes) if present else None
    for variant, why in champion.set_aside.items() if champion else ():
        say(f"the champion's {variant} is set aside on this processor: {why}")
    splits = read_splits(workspace.splits)
    start = read_card(workspace.training_report / "card.json").get("start", {})
    known_to_start = contamination(client, start, [row.sha256 for row in splits.of("test")])
    experiment = experiment_id(client, home, name)
    registry.sweep(client, experiment, run_id, name)
    example = read_image(workspace.images, splits.of("validation")[0])
    uploaded = registry.upload(client, experiment, run_id, name, serving, example)
    chosen_by = uses.chosen_by(splits, read_catalogue(workspace.catalogue))
    look = uses.look(digest, present, params.gate.champion.metric)
    use = uses.count(client, name, chosen_by, look, uses.of_versions(known, splits))
    opened = open_test(workspace, params, splits, serving, digest, champion, use)
    identities = _identities(client, workspace, run_id, digest)
    hashes = {key.removeprefix("darkroom."): value for key, value in identities.items()}
    origin = origin_of(workspace, params, splits, serving, known_to_start, champion, use, hashes)
    card = model_card(origin, opened.judgement)
    client.log_text(run_id, card, "test/model_card.md")
    client.log_dict(run_id, opened.judgement.as_json(), "test/judgement.json")
    tags = {
        **identities,
        **uploaded.tags,
        "darkroom.split": _split_identity(splits),
        "test_use": str(use),
        _SEEN: json.dumps(known_to_start.as_tag()),
        **_findings(opened),
        **(_compared(champion, opened) if champion else {}),
    }
    return registry.create_version(client, run_id, uploaded.model_id, name, tags, shortened(card))


def _findings(opened: Opened) -> dict[str, str]:
    """What the test images have shown, as tags: all that a repeat reads."""
    judgement = opened.judgement
    return {
        GATE: json.dumps([asdict(row) for row in judgement.gates]),
        PROMOTED: str(judgement.promoted).lower(),
        VERDICT: verdict(judgement),
        "test.images": str(judgement.images),
        **{f"test.{key}": repr(value) for key, value in judgement.figures.items()},
        **{f"test.{key}_low": repr(low) for key, (low, _) in judgement.intervals.items()},
        **{f"test.{key}_high": repr(high) for key, (_, high) in judgement.intervals.items()},
        _VARIANTS: json.dumps({name: each.figures for name, each in judgement.assessed.items()}),
    }


def _compared(champion: Champion, opened: Opened) -> dict[str, str]:
    return {
        "champion.version": str(champion.version.number),
        "champion.test.accuracy": repr(opened.champion_accuracy),
        "champion.left_out": str(opened.left_out),
    }


def _shown(tags: Mapping[str, str]) -> dict[str, float]:
    """The test.* figures of a version for MLflow's comparisons, each variant's under its name."""
    of_variants = json.loads(tags.get(_VARIANTS, "{}"))
    # In the order in which they are judged: MLflow's table of models keeps it
    names = dict.fromkeys(["images", *(name for each in of_variants.values() for name in each)])
    figures = {
        f"test.{name}{bound}": float(tags[f"test.{name}{bound}"])
        for name in names
        for bound in ("", "_low", "_high")
        if f"test.{name}{bound}" in tags
    }
    for variant, of_variant in of_variants.items():
        figures |= {f"test.{variant}.{key}": float(value) for key, value in of_variant.items()}
    return figures


def _has_earned(client: Store, version: Version) -> bool:
    """Whether *version* was promoted, over the champion that is still there.

    A run that was cut off after the version was made is finished by a later one; in between
    another may have become champion, with whom this one was never compared.
    """
    present = registry.by_alias(client, version.name, registry.CHAMPION)
    compared = version.tags.get("champion.version")
    same = compared == (str(present.number) if present else None)
    return same and aliases.passed(version)


def _refuse_another_run(client: Store, run_id: str, copy: Workspace) -> None:
    """The run says on which images a model was trained, so it must be of what was copied."""
    run, exported = client.get_run(run_id), read_card(copy.export_report / "card.json")
    same = run.data.tags.get(EXPORT_KEY) == exported["export_key"]
    if not (same and is_as_logged(run, "data/splits.parquet", copy.splits)):
        raise ProjectError(
            "the files at hand were changed while the model was registered",
            "no test image was opened",
            mend="wait until dvc repro is done, then darkroom register",
        )


def _identities(client: Store, workspace: Workspace, run_id: str, digest: str) -> dict[str, str]:
    exported = read_card(workspace.export_report / "card.json")
    of_run = client.get_run(run_id).data.tags
    taken = {
        "darkroom.git_commit": of_run.get("mlflow.source.git.commit"),
        "darkroom.dvc_experiment": of_run.get("darkroom.dvc_experiment"),
    }
    return {
        "darkroom.serving_digest": digest,
        "darkroom.dataset": dataset_version(workspace),
        "darkroom.training_key": read_card(workspace.training_report / "card.json")["training_key"],
        "darkroom.export_key": exported["export_key"],
        WEIGHTS: exported["weights_sha256"],
        **{key: value for key, value in taken.items() if value},
    }


def _split_identity(splits: Splits) -> str:
    return f"seed {splits.seed}, validation {splits.validation}, test {splits.test}"


def _read(version: Version, new: bool, champion: int | None) -> Registered:
    tags = version.tags
    return Registered(
        name=version.name,
        number=version.number,
        new=new,
        champion=champion,
        accuracy=float(tags["test.accuracy"]),
        interval=(float(tags["test.accuracy_low"]), float(tags["test.accuracy_high"])),
        images=int(tags["test.images"]),
        seen=_seen(tags),
        verdict=legible(tags[VERDICT]),
    )


def _seen(tags: Mapping[str, str]) -> str:
    use = int(tags.get("test_use", "1"))
    again = "" if use == 1 else f", opened for the {ordinal(use)} time"
    return seen(json.loads(tags.get(_SEEN, "null")), use == 1) + again


def _describe(registered: Registered) -> str:
    low, high = registered.interval
    return (
        f"{registered.name} version {registered.number} ({'new' if registered.new else 'known'}): "
        f"test accuracy {registered.accuracy:.4f} [{low:.4f}, {high:.4f}] "
        f"on {registered.images} images; {registered.verdict}; "
        f"champion: {f'version {registered.champion}' if registered.champion else 'none'}"
    )
