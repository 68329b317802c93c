"""One folder of new images → one batch of predictions, which appears whole or not at all."""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.reading import read_regular
from pipeline.errors import StorageError, UnreadableImage
from pipeline.export.artefact import SealedClassifier, SealedPrediction
from pipeline.inference.inbox import NewFile, NewFolder
from pipeline.inference.metadata import Columns, metadata_of
from pipeline.inference.predictions import Known, PredictionRow, model_folder
from pipeline.inference.staging import Staging
from pipeline.inference.stream import in_order
from pipeline.inference.suspects import MOST_DEATHS, Journal
from pipeline.params import slug

_PART = 4
"""Files that one thread reads, decodes and answers at once."""
_LABEL = 100
"""Letters of the folder's name in the batch's, which may have 255."""


@dataclass(frozen=True)
class Model:
    """The one version that a run of inference uses."""

    name: str
    version: int
    serving_digest: str
    classifier: SealedClassifier

    @property
    def identity(self) -> str:
        what = f"{self.version} {self.serving_digest} {self.classifier.variant}"
        return hashlib.sha256(what.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Batch:
    """A published folder of rows."""

    folder: Path
    images: int
    refused: int


@dataclass(frozen=True)
class _Read:
    """A file as it was read: its bytes, or the reason for which there are none."""

    new: NewFile
    data: bytes
    sha256: str | None
    error: UnreadableImage | None


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
) -> Batch | None:
    """Classify a *folder* of *inbox* and publish its rows by one rename; None where nothing in it
    is new. Where a run was killed at it, go on after the last part that was staged.

    One caller at a time for a model: the caller holds its lock. *batch_size*: files that are under
    way at most; *limit*: the largest that is read, in bytes. Raises SourceError where its metadata
    cannot be read, StorageError where *predictions* cannot be written: nothing is published then.
    """
    metadata = metadata_of(inbox, folder.relative)
    root = model_folder(predictions, model.name)
    place = hashlib.sha256(os.fsencode(folder.relative)).hexdigest()[:16]
    aside = root / ".staging" / f"{model.identity}-{place}"
    try:
        staging = Staging(aside)
        known |= staging.known
        files = [f for f in folder.files if (f.path, f.bytes, f.modified_ns) not in known.states]
        with closing(Journal(aside.with_suffix(".journal"))) as journal:
            reader = _Reader(inbox, model, known, metadata, limit, now, journal)
            for row in _rows(files, reader, batch_size):
                staging.add(row)
        journal.forget()
        if not staging.images:
            return None
        target = root / f"version={model.version}" / _batch_name(folder, model, staging.identity)
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
    return Batch(target, staging.images, staging.refused)


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


@dataclass(frozen=True)
class _Reader:
    """From files to rows, in whichever thread."""

    inbox: Path
    model: Model
    known: Known
    metadata: Mapping[str, Columns]
    limit: int
    now: str
    journal: Journal

    def rows(self, files: Sequence[NewFile]) -> list[PredictionRow]:
        with self.journal.at([file.path for file in files]):
            fresh = [read for file in files if _is_news(read := self._read(file), self.known)]
            answers = iter(self._answer([read.data for read in fresh if read.error is None]))
            return [self._row(read, None if read.error else next(answers)) for read in fresh]

    @property
    def _answer(self) -> Callable[[Sequence[bytes]], Sequence[SealedPrediction]]:
        classifier = self.model.classifier
        return getattr(classifier, "answer", classifier.classify)

    def _read(self, new: NewFile) -> _Read:
        if self.journal.deaths[new.path] >= MOST_DEATHS:
            detail = f"a run died {MOST_DEATHS} times while it was at this file"
            return _Read(new, b"", None, UnreadableImage("deadly", detail))
        try:
            data = read_regular(self.inbox / new.relative, self.limit)
        except UnreadableImage as error:
            return _Read(new, b"", None, error)
        return _Read(new, data, hashlib.sha256(data).hexdigest(), None)

    def _row(self, read: _Read, answer: SealedPrediction | None) -> PredictionRow:
        said = answer if answer is not None else read.error
        probabilities = getattr(said, "probabilities", None)
        classifier = self.model.classifier
        return PredictionRow(
            path=read.new.path,
            row=None,
            sha256=read.sha256,
            bytes=read.new.bytes,
            modified_ns=read.new.modified_ns,
            label=getattr(said, "label", None),
            confidence=getattr(said, "confidence", None),
            probabilities=probabilities
            and dict(zip(classifier.classes, probabilities, strict=True)),
            reason=getattr(said, "reason", None),
            detail=getattr(said, "detail", None),
            abstain_reason=getattr(said, "abstain_reason", None),
            conformal_set=getattr(said, "conformal_set", None),
            ood_score=getattr(said, "ood_score", None),
            metadata=self.metadata.get(read.new.relative),
            model_name=self.model.name,
            model_version=self.model.version,
            serving_digest=self.model.serving_digest,
            variant=classifier.variant,
            predicted_at=self.now,
        )


def _rows(files: Sequence[NewFile], reader: _Reader, batch_size: int) -> Iterator[PredictionRow]:
    """Answer *files*, side by side; those at which a run has died come last, each alone."""
    deaths = reader.journal.deaths
    suspects = [file for file in files if deaths[file.path]]
    others = [file for file in files if not deaths[file.path]]
    has_threads = not hasattr(reader.model.classifier, "answer")  # an older model's own
    at_once = batch_size if has_threads else min(_PART, batch_size)
    parts = (others[at : at + at_once] for at in range(0, len(others), at_once))
    threads = 1 if has_threads else len(os.sched_getaffinity(0))
    ahead = max(1, batch_size // at_once)
    for rows in in_order(reader.rows, parts, threads=threads, ahead=ahead):
        yield from rows
    for suspect in suspects:
        yield from reader.rows([suspect])


def _is_news(read: _Read, known: Known) -> bool:
    new = read.new
    if read.error is None:
        return (new.path, read.sha256) not in known.contents
    if read.error.reason == "changing":
        return False  # the next run takes it
    return (new.path, new.bytes, new.modified_ns) not in known.unread
