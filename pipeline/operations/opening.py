"""The test split, opened: a challenger, and the champion beside it, measured and judged on it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.cards import read_card
from pipeline.data.catalogue import read_catalogue
from pipeline.data.splits import LEFT_OUT, USED, Splits
from pipeline.errors import ArtefactError, DatasetError, RegistryError
from pipeline.evaluation.columns import columns_of
from pipeline.evaluation.judging import Judgement, judge
from pipeline.evaluation.measure import Measured, measure, open_variants
from pipeline.evaluation.model_card import Origin
from pipeline.evaluation.start import Contamination
from pipeline.evaluation.timing import as_metrics, time_variants
from pipeline.export.artefact import SealedClassifier, open_artefact
from pipeline.metrics import accuracy
from pipeline.params import Params
from pipeline.serving.abstention import THRESHOLDS
from pipeline.serving.variants import FP32
from pipeline.tracking.dataset import known_images
from pipeline.tracking.loading import fetch_sealed
from pipeline.tracking.registry import Version
from pipeline.tracking.store import Store
from pipeline.workspace import Home, Workspace

Variants = Mapping[str, SealedClassifier]


@dataclass(frozen=True)
class Champion:
    """Who serves now, ready to be measured."""

    version: Version
    variants: Variants
    """Those that answer on this machine."""
    set_aside: Mapping[str, str]
    """Variant → why it does not."""
    knows: frozenset[str]
    """sha256 of the images that it was trained, or fitted, on."""


@dataclass(frozen=True)
class Opened:
    """What the test images have shown."""

    judgement: Judgement
    champion_accuracy: float | None
    """Of its worst variant on all test images."""
    left_out: int
    """Test images that the champion knows."""


def open_champion(
    client: Store, home: Home, present: Version, classes: tuple[str, ...]
) -> Champion:
    """Raises RegistryError where it cannot be measured fairly: nothing may be promoted past it;
    or where it does not tell the same *classes* apart."""
    run_id = client.get_model_version(present.name, str(present.number)).run_id
    try:
        variants, set_aside = _open_here(fetch_sealed(home, present), present.serving_digest)
    except (ArtefactError, RegistryError) as error:
        raise _immeasurable(present, error.what, *error.where[:1]) from None
    _refuse_other_classes(present, variants[FP32].classes, classes)
    knows = _knows(client, run_id) if run_id else None
    if knows is None:
        raise _immeasurable(
            present,
            "its run does not say on which images it was trained: data/splits.parquet is missing, "
            "or not the one that was logged",
        )
    return Champion(present, variants, set_aside, knows)


def open_test(
    workspace: Workspace,
    params: Params,
    splits: Splits,
    serving: Path,
    digest: str,
    champion: Champion | None,
    use: int,
) -> Opened:
    """Measure and judge the artefact in *serving*, and the *champion*, on all test images.

    Raises ArtefactError where a variant does not answer on this machine: what was not measured
    must not serve.
    """
    rows = splits.of("test")
    columns = columns_of(read_catalogue(workspace.catalogue), rows, params.evaluate.slices)
    challenger = open_variants(serving, digest)

    def on_test(variants: Variants) -> dict[str, Measured]:
        size = params.evaluate.batch_size
        return {name: measure(v, workspace.images, rows, size) for name, v in variants.items()}

    latency = None
    if params.gate.latency_p99_ms:
        files = [row.file for row in rows]
        timings = time_variants(serving, digest, list(challenger), workspace.images, files)
        latency = as_metrics(timings)["latency_p99_ms"]
    theirs = on_test(champion.variants) if champion else None
    knows = champion.knows if champion else frozenset()
    known: npt.NDArray[np.bool_] = np.array([row.sha256 in knows for row in rows], np.bool_)
    judgement = judge(
        params.gate,
        on_test(challenger),
        theirs,
        known,
        challenger[FP32].classes,
        columns,
        use=use,
        latency_p99_ms=latency,
    )
    accuracies = [accuracy(each.probabilities, each.labels) for each in (theirs or {}).values()]
    return Opened(judgement, min(accuracies, default=None), int(known.sum()))


def origin_of(
    workspace: Workspace,
    params: Params,
    splits: Splits,
    serving: Path,
    contamination: Contamination,
    champion: Champion | None,
    use: int,
    hashes: Mapping[str, str],
) -> Origin:
    """Read what the card tells of a model besides its figures."""
    trained = read_card(workspace.trained / "card.json")
    training = read_card(workspace.training_report / "card.json")
    counts = Counter((row.split, row.label) for row in splits.rows)
    thresholds = serving / THRESHOLDS
    return Origin(
        name=params.model_name,
        source=Path(params.data.source).name,
        dataset=hashes["dataset"],
        counts={name: {label: counts[name, label] for label in splits.classes} for name in USED},
        left_out=len(splits.of(LEFT_OUT)),
        architecture=trained["architecture"],
        image_size=trained["image_size"],
        num_parameters=trained["num_parameters"],
        best_epoch=trained["best_epoch"],
        params=training["params"],
        start=training.get("start", {}).get("weights", "none"),
        contamination=contamination,
        temperature=read_card(serving / "card.json").get("temperature"),
        coverage=read_card(thresholds)["coverage"] if thresholds.exists() else None,
        test_use=use,
        champion=champion.version.number if champion else None,
        set_aside=champion.set_aside if champion else {},
        hashes=hashes,
    )


def _knows(client: Store, run_id: str) -> frozenset[str] | None:
    try:
        return known_images(client, run_id)
    except DatasetError:  # a table that is damaged
        return None


def _open_here(folder: Path, digest: str) -> tuple[dict[str, SealedClassifier], dict[str, str]]:
    """Open the variants of a champion that answer on this machine, as its loader does; fp32 must.
    Return them, and why the others do not.

    It may have been sealed on another processor.
    """
    names = read_card(folder / "card.json").get("variants", (FP32,))
    opened = {FP32: open_artefact(folder, digest, variant=FP32)}
    set_aside = {}
    for name in names:
        try:
            opened[name] = open_artefact(folder, digest, variant=name)
        except ArtefactError as error:
            set_aside[name] = "; ".join((error.what, *error.where[:1]))
    return opened, set_aside


def _refuse_other_classes(present: Version, theirs: tuple[str, ...], ours: tuple[str, ...]) -> None:
    if theirs != ours:
        raise RegistryError(
            f"the champion of {present.name} (version {present.number}) has other classes",
            f"champion: {', '.join(theirs)}"[:200],
            f"this model: {', '.join(ours)}"[:200],
            mend="set registry.model_name in params.yaml to a new name",
        )


def _immeasurable(present: Version, *why: str) -> RegistryError:
    return RegistryError(
        f"the champion, {present.name} version {present.number}, cannot be measured beside it",
        *why,
        mend="in MLflow, take the alias champion from that version, or delete it: the next model "
        "that passes the other gates is then promoted, compared with none",
    )
