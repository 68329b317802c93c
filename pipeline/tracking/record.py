"""What a workspace's files say about its run: everything that MLflow is to show, as values."""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.cards import read_card
from pipeline.data.catalogue import read_source
from pipeline.data.splits import LEFT_OUT, USED, Splits, read_splits
from pipeline.errors import DarkroomError, ProjectError
from pipeline.evaluation.timing import read_timings
from pipeline.export.artefact import serving_digest
from pipeline.graph import dataset_version
from pipeline.tracking.code import CodeState, code_state
from pipeline.workspace import Workspace

TRAINING_KEY = "darkroom.training_key"
EXPORT_KEY = "darkroom.export_key"
WEIGHTS = "darkroom.weights_sha256"
"""Tag: of the torch weights that were exported, on the run and on the registered version."""
PRECISION, COMPILED = "darkroom.precision", "darkroom.compiled"
"""Tags: what `auto` came to on the machine that trained."""


@dataclass(frozen=True)
class DatasetRecord:
    name: str
    digest: str
    """DVC's hash, as in data/dataset.dvc."""
    source: str
    profile: dict[str, Any]
    """Counts by split and by class."""


@dataclass(frozen=True)
class RunRecord:
    """One training and what became of it."""

    training_key: str
    export_key: str | None
    """None until the training was exported."""
    dataset: DatasetRecord
    code: CodeState | None
    params: dict[str, str]
    tags: dict[str, str] = field(default_factory=dict)
    metrics: tuple[tuple[str, int, float], ...] = ()
    """(key, step, value)."""
    artefacts: dict[str, Path] = field(default_factory=dict)
    """Name in MLflow → file."""


def starting_record(
    workspace: Workspace, card: Mapping[str, Any], origin: Mapping[str, Any]
) -> RunRecord:
    """What is known when training begins: the two cards are not written yet."""
    splits = read_splits(workspace.splits)
    source = read_source(workspace.catalogue)
    return RunRecord(
        training_key=origin["training_key"],
        export_key=None,
        dataset=_dataset(workspace, splits, source),
        code=code_state(workspace.root),
        params=_training_params(card, origin, splits, source),
        tags=_choices(origin),
    )


def read_record(workspace: Workspace, final: bool) -> RunRecord:
    """Read all that the files hold. *final*: the stages are done, so that dvc.lock belongs to it.

    Raises ProjectError or DatasetError where there is no training yet, or a file is damaged.
    """
    try:
        return _read_record(workspace, final)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ProjectError(
            "a card or table of the results is damaged",
            f"{type(error).__name__}: {error}",
            "in models/trained, reports/training, reports/export or reports/evaluation",
            mend="dvc checkout, or dvc repro --force",
        ) from None


def _read_record(workspace: Workspace, final: bool) -> RunRecord:
    trained = read_card(workspace.trained / "card.json")
    origin = read_card(workspace.training_report / "card.json")
    splits = read_splits(workspace.splits)
    source = read_source(workspace.catalogue)
    artefacts = {
        "params.yaml": workspace.params,
        "data/dataset.dvc": workspace.dataset_dvc,
        "data/splits.parquet": workspace.splits,
        "training/model.safetensors": workspace.trained / "model.safetensors",
        "training/card.json": workspace.trained / "card.json",
        "training/epochs.csv": workspace.trained / "epochs.csv",
    }
    of_late = {  # a workspace of an older Darkroom has none
        "data/index.html": workspace.data_report / "index.html",
        "training/augmented.png": workspace.training_report / "augmented.png",
    }
    artefacts |= {name: path for name, path in of_late.items() if path.exists()}
    if final and workspace.dvc_lock.exists():
        artefacts["dvc.lock"] = workspace.dvc_lock
    params = _training_params(trained, origin, splits, source)
    metrics = _epoch_metrics(workspace.trained / "epochs.csv")
    metrics.append(("best_epoch", 0, float(trained["best_epoch"])))
    tags = _choices(origin)

    exported = _export_card(workspace)
    if exported:
        params |= {f"export.{key}": str(value) for key, value in exported["params"].items()}
        metrics.append(("parity.largest_difference", 0, exported["parity"]["largest_difference"]))
        metrics += _export_metrics(exported)
        table = workspace.export_report / "variants.json"
        artefacts |= {"export/variants.json": table} if table.exists() else {}
        tags["darkroom.serving_digest"] = exported["serving_digest"]
        tags[WEIGHTS] = exported["weights_sha256"]
        if _is_evaluation_of(workspace, exported["serving_digest"]):
            figures = read_card(workspace.evaluation / "metrics.json")["validation"]
            metrics += [(f"validation.{key}", 0, value) for key, value in flat(figures)]
            artefacts |= {
                f"evaluation/{path.name}": path for path in sorted(workspace.evaluation.iterdir())
            }
    return RunRecord(
        training_key=origin["training_key"],
        export_key=exported["export_key"] if exported else None,
        dataset=_dataset(workspace, splits, source),
        code=code_state(workspace.root),
        params=params,
        tags=tags,
        metrics=tuple(metrics),
        artefacts=artefacts,
    )


def with_timings(record: RunRecord, private: Path) -> RunRecord:
    """Add what the evaluated model took on this machine, which is in no stage's output."""
    if not any(key.startswith("validation.") for key, _, _ in record.metrics):
        return record
    found = read_timings(private, record.tags["darkroom.serving_digest"])
    timings = tuple((f"validation.{key}", 0, value) for key, value in found.items())
    return replace(record, metrics=record.metrics + timings)


def flat(figures: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield each figure by the name that DVC gives it: {"int8": {"accuracy": 0.9}} is
    int8.accuracy."""
    for key, value in figures.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}.{name}", inner) for name, inner in flat(value))
        else:
            yield key, float(value)


def epoch_metrics(epoch: Mapping[str, Any]) -> list[tuple[str, int, float]]:
    """Turn one line of epochs.csv into metrics: its step is the epoch."""
    step = int(epoch["epoch"])
    return [(key, step, float(value)) for key, value in epoch.items() if key != "epoch"]


def _epoch_metrics(path: Path) -> list[tuple[str, int, float]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return [metric for epoch in csv.DictReader(lines) for metric in epoch_metrics(epoch)]


def _training_params(
    card: Mapping[str, Any], origin: Mapping[str, Any], splits: Splits, source: str
) -> dict[str, str]:
    return {
        **{f"train.{key}": str(value) for key, value in origin["params"].items()},
        **{f"split.{key}": str(getattr(splits, key)) for key in ("seed", "validation", "test")},
        "data.source": source,
        **{f"start.{key}": value for key, value in origin.get("start", {}).items() if value},
        "device": origin["device"],
        "architecture": card["architecture"],
        "image_size": str(card["image_size"]),
        "num_classes": str(len(card["classes"])),
        "num_parameters": str(card["num_parameters"]),
    }


def _choices(origin: Mapping[str, Any]) -> dict[str, str]:
    chosen = {PRECISION: origin.get("precision"), COMPILED: origin.get("compiled")}
    return {tag: str(value).lower() for tag, value in chosen.items() if value is not None}


def _dataset(workspace: Workspace, splits: Splits, source: str) -> DatasetRecord:
    counts = Counter((row.split, row.label or "") for row in splits.rows)
    by_split = {name: {label: counts[name, label] for label in splits.classes} for name in USED}
    left_out = len(splits.of(LEFT_OUT))
    return DatasetRecord(
        name=Path(source).name,
        digest=dataset_version(workspace),
        source=source,
        profile={"images": len(splits.rows), "left_out": left_out, **by_split},
    )


def _export_card(workspace: Workspace) -> dict[str, Any] | None:
    """Return the export's card where models/serving was made of these very weights."""
    try:
        card = read_card(workspace.export_report / "card.json")
        digest = serving_digest(workspace.serving)
    except DarkroomError:
        return None
    weights = (workspace.trained / "model.safetensors").read_bytes()
    found = (hashlib.sha256(weights).hexdigest(), digest)
    return card if found == (card["weights_sha256"], card["serving_digest"]) else None


def _export_metrics(card: Mapping[str, Any]) -> list[tuple[str, int, float]]:
    """What the variants are like, and what pruning did; a card of an older Darkroom has neither."""
    parts = dict(card.get("variants", {})) | {"pruning": card.get("pruning", {})}
    return [
        (f"export.{part}.{key}", 0, float(value))
        for part, figures in parts.items()
        for key, value in figures.items()
        if isinstance(value, (int, float))
    ]


def _is_evaluation_of(workspace: Workspace, digest: str) -> bool:
    try:
        return bool(read_card(workspace.evaluation / "card.json")["serving_digest"] == digest)
    except DarkroomError:
        return False
