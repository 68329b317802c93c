"""The source → data/dataset, a new dataset version: the only way in for images.

The order makes every moment safe to be killed at: images are staged outside the snapshot, moved
in, then the catalogue that names them replaces the old one by rename, then what it does not name
is swept out, then DVC is told. `split` refuses a snapshot that is between two of these.
"""

import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from pipeline.data.catalogue import (
    Catalogue,
    CatalogueRow,
    Refusal,
    write_catalogue,
    write_quarantine,
)
from pipeline.data.limits import image_limits
from pipeline.data.snapshot import resolve, take
from pipeline.data.sources import DIGITS, entries, open_source, write_digits_inbox
from pipeline.errors import Busy, SourceError
from pipeline.graph import dataset_version
from pipeline.operations.dvc import dvc
from pipeline.params import DataParams, Params
from pipeline.workspace import Home, Workspace

_NOT_AN_IMAGE_FAULT = ("duplicate", "label_conflict")
"""Reasons of the quarantine that do not mean that a file could not be read."""


@dataclass(frozen=True)
class Ingested:
    version: str
    images: int
    refused: Counter[str]
    """Lines of the quarantine by reason."""


def run(workspace: Workspace, home: Home, params: Params, say: Callable[[str], None]) -> Ingested:
    """Raises SourceError where the source cannot make a dataset; then nothing has changed."""
    try:
        with FileLock(workspace.root / ".dvc/tmp/darkroom-ingest.lock", timeout=0):
            source = open_source(params.data.source, home)
            return _ingest(workspace, home, params, source, say)
    except Timeout:
        raise Busy(
            "another ingest is at work in this project", mend="wait until it is done"
        ) from None


def _ingest(
    workspace: Workspace, home: Home, params: Params, source: Path, say: Callable[[str], None]
) -> Ingested:
    _refuse_foreign(workspace, source)
    staging = workspace.root / "data/.staging"
    shutil.rmtree(staging, ignore_errors=True)
    limits = image_limits(params.data)
    try:
        records = list(take(entries(source), staging, workspace.images, limits))
        rows, refusals = resolve(records)
        _refuse_poor(len(records), rows, refusals, params.data)
        _move_in(staging, workspace.images)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    write_quarantine(workspace.quarantine, refusals)
    write_catalogue(workspace.catalogue, Catalogue(params.data.source, tuple(rows)))
    _sweep(workspace, rows)
    dvc(workspace, "add", "--quiet", "data/dataset")
    if params.data.source == DIGITS:
        inbox = home.inbox(params.model_name)
        if write_digits_inbox(inbox):
            say(f"laid down {len(list(inbox.iterdir()))} unlabelled digits in {inbox}")
    ingested = Ingested(
        version=dataset_version(workspace),
        images=len(rows),
        refused=Counter(refusal.reason for refusal in refusals),
    )
    say(_describe(ingested))
    return ingested


def _refuse_poor(
    files: int, rows: list[CatalogueRow], refusals: list[Refusal], params: DataParams
) -> None:
    unreadable = [r for r in refusals if r.reason not in _NOT_AN_IMAGE_FAULT]
    examples = [f"{r.path}: {r.reason}" for r in unreadable]
    if not rows:
        raise SourceError(
            f"the source {params.source} has no readable image among {files} files",
            *examples[:3],
            mend="set data.source in params.yaml to a folder of class folders with images",
        )
    if len(unreadable) > params.max_refused * files:
        raise SourceError(
            f"{len(unreadable)} of the {files} files of {params.source} cannot be read",
            *examples[:3],
            mend=f"look at them, or raise data.max_refused ({params.max_refused}) in params.yaml",
        )
    counts = Counter(row.label for row in rows if row.label is not None)
    if len(counts) < 2:
        raise SourceError(
            f"{params.source} has images of {len(counts)} class; there must be two or more",
            f"found: {', '.join(counts) or 'none'}",
            mend="put the images into one folder for each class, such as cat/ and dog/",
        )
    label, fewest = min(counts.items(), key=lambda item: (item[1], item[0]))
    if fewest < params.min_per_class:
        raise SourceError(
            f"class {label} of {params.source} has {fewest} readable images; "
            f"a class needs {params.min_per_class} to be split",
            f"refused in all: {len(unreadable)}",
            mend="add images of it, or take its folder out of the source"
            + (f", or set data.min_per_class: {fewest}" if fewest > 2 else ""),
        )


def _move_in(staging: Path, images: Path) -> None:
    """By rename: a file of the snapshot may share its bytes with DVC's cache, by a hard link."""
    images.mkdir(parents=True, exist_ok=True)
    for staged in sorted(staging.glob("*/*")):
        target = images / staged.relative_to(staging)
        target.parent.mkdir(exist_ok=True)
        staged.replace(target)


def _sweep(workspace: Workspace, rows: list[CatalogueRow]) -> None:
    """Remove what the catalogue does not name; DVC's cache keeps older versions."""
    named = {workspace.images / row.file for row in rows}
    for path in _ours(workspace):
        if path not in named:
            path.unlink()
    for folder in workspace.images.iterdir():
        if not any(folder.iterdir()):
            folder.rmdir()


def _ours(workspace: Workspace) -> list[Path]:
    """What an ingest may have left in the snapshot, finished or not, the two tables apart."""
    images = [p for p in workspace.images.glob("??/*") if re.fullmatch("[0-9a-f]{64}", p.stem)]
    return [*images, *workspace.dataset.glob(".*.parquet.*"), *workspace.dataset.glob(".*.csv.*")]


def _refuse_foreign(workspace: Workspace, source: Path) -> None:
    """The snapshot is ingest's own: it is swept, so that nobody else's file may lie in it."""
    dataset = workspace.dataset
    if dataset.is_symlink():
        raise SourceError(
            "data/dataset is a link", f"to {dataset.resolve()}", mend="remove the link"
        )
    inside, around = source.resolve(), dataset.resolve()
    if inside.is_relative_to(around) or around.is_relative_to(inside):
        raise SourceError(
            "the source and the project's own data/dataset lie in one another",
            f"source: {inside}",
            mend="put the images into a folder outside data/dataset, and name that",
        )
    ours = {*_ours(workspace), workspace.catalogue, workspace.quarantine}
    foreign = [p for p in dataset.rglob("*") if not p.is_dir() and p not in ours]
    if foreign:
        raise SourceError(
            f"data/dataset holds {len(foreign)} files that no ingest put there",
            *map(str, foreign[:3]),
            mend="move them out of data/dataset; images belong into the source",
        )


def _describe(ingested: Ingested) -> str:
    refused = ", ".join(f"{count} {reason}" for reason, count in sorted(ingested.refused.items()))
    return f"dataset {ingested.version[:12]}: {ingested.images} images" + (
        f"; set aside: {refused} (data/dataset/quarantine.csv)" if refused else ""
    )
