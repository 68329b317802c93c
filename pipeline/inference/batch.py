"""One folder of new images → one batch of predictions, which appears whole or not at all."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.errors import StorageError, UnreadableImage, legible
from pipeline.inference.answering import Answering, Model, Read, answer_all
from pipeline.inference.beside import Originals, lay_beside
from pipeline.inference.inbox import NewFolder
from pipeline.inference.metadata import Metadata, metadata_of
from pipeline.inference.monitoring import EmbeddingSample, Monitoring, Watch
from pipeline.inference.predictions import Known, model_folder
from pipeline.inference.rows import NewFile, PredictionRow
from pipeline.inference.staging import Staging
from pipeline.inference.summary import Summary
from pipeline.inference.suspects import MOST_DEATHS, Journal
from pipeline.inference.timing import Stopwatch, Timing
from pipeline.params import slug

_LABEL = 100
"""Letters of the folder's name in the batch's, which may have 255."""


@dataclass(frozen=True)
class Batch:
    """A published folder of rows."""

    folder: Path
    monitoring: Monitoring
    summary: Summary
    timing: Timing
    unlisted: str = ""
    """How many of its files the metadata.csv that counts does not name, if any."""

    @property
    def images(self) -> int:
        """Files with a row."""
        return self.summary.images

    @property
    def refused(self) -> int:
        return sum(self.summary.refused.values())


def classify_folder(
    inbox: Path,
    folder: NewFolder,
    model: Model,
    known: Known,
    predictions: Path,
    *,
    batch_size: int,
    limit: int,
    now: str,
    watch: Watch,
) -> Batch | None:
    """Classify a *folder* of *inbox* and publish its rows by one rename; None where nothing in it
    is new. Where a run was killed at it, go on after the last part that was staged.

    One caller at a time for a model: the caller holds its lock. *batch_size*: files that are under
    way at most; *limit*: the largest that is read, in bytes; *watch*: how it is held against what
    the model knows. Raises SourceError where its metadata cannot be read, StorageError where
    *predictions* cannot be written: nothing is published then.
    """
    metadata = metadata_of(inbox, folder.relative, [file.relative for file in folder.files])
    root = model_folder(predictions, model.name)
    place = hashlib.sha256(os.fsencode(inbox / folder.relative)).hexdigest()[:16]
    aside = root / ".staging" / f"{model.identity}-{place}"
    try:
        staging, embeddings, stopwatch = Staging(aside), EmbeddingSample(), Stopwatch()
        known |= staging.known
        files = [file for file in folder.files if not staging.known.describes(file)]
        with closing(Journal(aside.with_suffix(".journal"))) as journal:
            news = partial(_is_news, known=known)
            answering = Answering(model, inbox, limit, now, news, metadata.columns, embeddings.add)
            for row in _rows(files, answering, journal, stopwatch, batch_size):
                staging.add(row)
            name = _batch_name(folder, model, staging.identity)
            if staging.images:
                places = {file.path: file for file in folder.files}
                originals = Originals(inbox, places, limit, journal)
                title = name.removeprefix("batch=")
                beside = lay_beside(staging, model, watch, embeddings, stopwatch, originals, title)
        journal.forget()
        if not staging.images:
            return None
        target = root / f"version={model.version}" / name
        staging.publish(target)
    except OSError as error:
        raise StorageError(
            f"predictions cannot be written: {os.strerror(error.errno or errno.EIO)}",
            f"to {predictions}",
            "nothing of this folder was published; batches published before it stay",
            mend="free space or mend the folder's rights, then: darkroom classify",
        ) from None
    finally:
        _drop_empty(aside)
    unlisted = _unlisted(files, metadata)
    return Batch(target, beside.monitoring, beside.summary, beside.timing, unlisted)


def _unlisted(files: Sequence[NewFile], metadata: Metadata) -> str:
    left = sum(file.relative not in metadata.columns for file in files)
    if metadata.file is None or not left:
        return ""
    return f"{legible(str(metadata.file))} has no line for {left} of {len(files)} files"


def sweep(predictions: Path, model: Model) -> None:
    """Drop what was staged by other versions: a batch is of one."""
    for aside in (model_folder(predictions, model.name) / ".staging").glob("*"):
        if not aside.name.startswith(model.identity):
            shutil.rmtree(aside, ignore_errors=True)


def _batch_name(folder: NewFolder, model: Model, rows: str) -> str:
    label = "inbox" if folder.name == "." else slug(folder.name)[:_LABEL]
    whole = hashlib.sha256(f"{model.name}/{model.version} {rows}".encode()).hexdigest()
    return f"batch={label}-{whole[:12]}"


def _drop_empty(aside: Path) -> None:
    """Leave what the next run goes on with, and no empty folder."""
    for folder in (aside, aside.with_suffix(".journal"), aside.parent):
        with suppress(OSError):
            folder.rmdir()


def _rows(
    files: Sequence[NewFile],
    answering: Answering,
    journal: Journal,
    stopwatch: Stopwatch,
    at_once: int,
) -> Iterator[PredictionRow]:
    """Answer *files*, side by side; those at which a run has died come last, each alone."""

    def work(part: Sequence[NewFile]) -> list[PredictionRow]:
        with journal.at([file.path for file in part]), stopwatch.answering(len(part)):
            return answering.rows(part)

    deaths = journal.deaths
    others = (file for file in files if not deaths[file.path])
    yield from answer_all(others, answering.model, work, at_once)
    for file in files:
        if deaths[file.path] >= MOST_DEATHS:
            detail = f"a run died {MOST_DEATHS} times while it was at this file"
            yield answering.refused(file, UnreadableImage("deadly", detail))
        elif deaths[file.path]:
            yield from work([file])


def _is_news(read: Read, known: Known) -> bool:
    new = read.new
    if read.error is None:
        return (new.path, read.sha256) not in known.contents
    if read.error.reason == "changing":
        return False  # the next run takes it
    return (new.path, new.bytes, new.modified_ns) not in known.unread
