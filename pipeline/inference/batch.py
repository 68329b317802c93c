"""One folder of new images → one batch of predictions, which appears whole or not at all."""

import errno
import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.folders import Entry, entries, printable
from pipeline.data.reading import read_regular
from pipeline.errors import StorageError, UnreadableImage
from pipeline.export.artefact import SealedClassifier
from pipeline.inference.predictions import Known, PredictionRow, model_folder, write_part
from pipeline.params import slug

_ROWS_A_PART = 10_000
_LABEL = 100
"""Letters of the folder's name in the batch's, which may have 255."""


@dataclass(frozen=True)
class Model:
    """The one version that a run of inference uses."""

    name: str
    version: int
    serving_digest: str
    classifier: SealedClassifier


@dataclass(frozen=True)
class NewFile:
    path: str
    """As the rows name it."""
    file: Path
    bytes: int
    modified_ns: int


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


def find_new(inbox: Path, home: Path, known: Known) -> dict[str, list[NewFile]]:
    """Return the files below *inbox* that no row describes as they are now, by folder.

    Names that begin with a dot are left alone; the inbox's own files are the folder ".".
    """
    found: dict[str, list[NewFile]] = defaultdict(list)
    for entry in entries(inbox):
        new = _stat(entry, inbox, home)
        if new is not None and (new.path, new.bytes, new.modified_ns) not in known.states:
            found[printable(str(Path(entry.relative).parent))].append(new)
    return dict(found)


def classify_folder(
    name: str,
    files: Sequence[NewFile],
    model: Model,
    known: Known,
    predictions: Path,
    *,
    batch_size: int,
    limit: int,
    now: str,
) -> Batch | None:
    """Classify *files* and publish their rows by one rename; None where none of them is new.

    One caller at a time for a model: the caller holds its lock. *limit* is the largest file that
    is read, in bytes. Raises StorageError where *predictions* cannot be written; then nothing is
    left of the batch.
    """
    staging = model_folder(predictions, model.name) / ".staging"
    identities = hashlib.sha256(f"{model.name}/{model.version}".encode())
    images = refused = 0
    try:
        shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
        staging.mkdir(parents=True)
        rows: list[PredictionRow] = []
        part = 0
        for answered in _classify(files, model, known, batch_size, limit, now):
            rows.append(answered)
            images += 1
            refused += answered.reason is not None
            identities.update(_identity(answered))
            if len(rows) == _ROWS_A_PART:
                _write_part(staging, part, rows)
                part, rows = part + 1, []
        if rows:
            _write_part(staging, part, rows)
        if not images:
            return None
        label = "inbox" if name == "." else slug(name)[:_LABEL]
        target = staging.parent / f"version={model.version}"
        target /= f"batch={label}-{identities.hexdigest()[:12]}"
        _publish(staging, target)
    except OSError as error:
        raise StorageError(
            f"predictions cannot be written: {os.strerror(error.errno or errno.EIO)}",
            f"to {predictions}",
            "nothing of this folder was published; batches published before it stay",
            mend="free space or mend the folder's rights, then: darkroom classify",
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Batch(target, images, refused)


def _classify(
    files: Sequence[NewFile],
    model: Model,
    known: Known,
    batch_size: int,
    limit: int,
    now: str,
) -> Iterator[PredictionRow]:
    for start in range(0, len(files), batch_size):
        some = [_read(file, limit) for file in files[start : start + batch_size]]
        fresh = [read for read in some if _is_news(read, known)]
        answers = iter(model.classifier.classify([r.data for r in fresh if r.error is None]))
        for read in fresh:
            yield _row(read, None if read.error else next(answers), model, now)


def _identity(row: PredictionRow) -> bytes:
    content = row.sha256 or f"{row.bytes} bytes of {row.modified_ns}"
    return f"\n{row.path}\0{content}".encode()


def _is_news(read: _Read, known: Known) -> bool:
    new = read.new
    if read.error is None:
        return (new.path, read.sha256) not in known.contents
    if read.error.reason == "changing":
        return False  # the next run takes it
    return (new.path, new.bytes, new.modified_ns) not in known.unread


def _read(new: NewFile, limit: int) -> _Read:
    try:
        data = read_regular(new.file, limit)
    except UnreadableImage as error:
        return _Read(new, b"", None, error)
    return _Read(new, data, hashlib.sha256(data).hexdigest(), None)


def _row(read: _Read, answer: object | None, model: Model, now: str) -> PredictionRow:
    said = answer if answer is not None else read.error
    probabilities = getattr(said, "probabilities", None)
    return PredictionRow(
        path=read.new.path,
        row=None,
        sha256=read.sha256,
        bytes=read.new.bytes,
        modified_ns=read.new.modified_ns,
        label=getattr(said, "label", None),
        confidence=getattr(said, "confidence", None),
        probabilities=probabilities
        and dict(zip(model.classifier.classes, probabilities, strict=True)),
        reason=getattr(said, "reason", None),
        detail=getattr(said, "detail", None),
        model_name=model.name,
        model_version=model.version,
        serving_digest=model.serving_digest,
        variant=model.classifier.variant,
        predicted_at=now,
    )


def _stat(entry: Entry, inbox: Path, home: Path) -> NewFile | None:
    """Return None for a file that went away since it was listed."""
    if entry.stat is None:
        return None
    file = inbox / entry.relative
    shown = printable(str(file.relative_to(home) if file.is_relative_to(home) else file))
    return NewFile(shown, file, entry.stat.st_size, entry.stat.st_mtime_ns)


def _write_part(folder: Path, number: int, rows: Sequence[PredictionRow]) -> None:
    path = folder / f"part-{number:05d}.parquet"
    write_part(path, rows)
    _fsync(path)


def _publish(staging: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    _fsync(staging)
    staging.rename(target)
    _fsync(target.parent)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
