"""From files to rows: every core reads, decodes and answers a few files at a time.

So no core ever waits for another, and reading, decoding and inference share them as they need; a
batch that went through in steps would end each of them on one core.
"""

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from pipeline.data.reading import read_regular
from pipeline.errors import UnreadableImage
from pipeline.export.artefact import SealedClassifier, SealedPrediction
from pipeline.inference.rows import NewFile, PredictionRow
from pipeline.serving.engine import PART, cores
from pipeline.serving.images import HEAVY, turn_for
from pipeline.stream import in_order


@dataclass(frozen=True)
class Model:
    """The one version that a run of inference uses."""

    name: str
    version: int | None
    """None for a model that is not registered."""
    serving_digest: str
    classifier: SealedClassifier

    @property
    def identity(self) -> str:
        what = f"{self.version} {self.serving_digest} {self.classifier.variant}"
        return hashlib.sha256(what.encode()).hexdigest()[:12]

    @property
    def answers_on_one_core(self) -> bool:
        """Models of an older Darkroom have threads of their own."""
        return hasattr(self.classifier, "answer")

    @property
    def turn_for(self) -> Callable[[int], AbstractContextManager[object]]:
        """That of the decoder sealed in the model, which takes its turns by a lock of its own;
        but where it decodes in threads of its own, they would wait for ours."""
        place = type(self.classifier).__module__.rpartition(".")[0]
        images = sys.modules.get(f"{place}.images") if self.answers_on_one_core else None
        found: Callable[[int], AbstractContextManager[object]]
        found = getattr(images, "turn_for", turn_for)
        return found


@dataclass(frozen=True)
class Read:
    """A file as it was read: its bytes, or the reason for which there are none."""

    new: NewFile
    data: bytes
    sha256: str | None
    error: UnreadableImage | None


def _is_news(read: Read) -> bool:
    return True


def _overlook(sha256: str, embedding: Any) -> None:
    pass


@dataclass(frozen=True)
class Answering:
    """What makes rows of files, in whichever thread."""

    model: Model
    root: Path
    """Where relative names begin."""
    limit: int
    """The largest file that is read, in bytes."""
    now: str
    is_news: Callable[[Read], bool] = _is_news
    """What is no news has no row."""
    metadata: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By relative name."""
    see: Callable[[str, Any], None] = _overlook
    """Is shown the sha256 and the embedding of each image that was answered."""

    def rows(self, files: Sequence[NewFile]) -> list[PredictionRow]:
        """Heavy files are read one after the other: their bytes would add up."""
        largest = max(file.bytes for file in files)
        with self.model.turn_for(largest):
            parts = [[file] for file in files] if largest > HEAVY else [files]
            return [row for part in parts for row in self._rows(part)]

    def _rows(self, files: Sequence[NewFile]) -> list[PredictionRow]:
        fresh = [read for file in files if self.is_news(read := self._read(file))]
        classifier = self.model.classifier
        answer: Callable[[Sequence[bytes]], Sequence[SealedPrediction]]
        answer = getattr(classifier, "answer", classifier.classify)
        answers = iter(answer([read.data for read in fresh if read.error is None]))
        return [self.row(read, None if read.error else next(answers)) for read in fresh]

    def refused(self, file: NewFile, error: UnreadableImage) -> PredictionRow:
        """Return the row of a *file* that is not answered. It names its content, where that can be
        read: the same file is not new again."""
        return self.row(replace(self._read(file), error=error), None)

    def row(self, read: Read, answer: SealedPrediction | None) -> PredictionRow:
        said = answer if answer is not None else read.error
        if read.sha256 and (embedding := getattr(said, "embedding", None)) is not None:
            self.see(read.sha256, embedding)
        classifier, probabilities = self.model.classifier, getattr(said, "probabilities", None)
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
            width=getattr(said, "width", None),
            height=getattr(said, "height", None),
            brightness=getattr(said, "brightness", None),
            sharpness=getattr(said, "sharpness", None),
            metadata=self.metadata.get(read.new.relative),
            model_name=self.model.name,
            model_version=self.model.version,
            serving_digest=self.model.serving_digest,
            variant=classifier.variant,
            predicted_at=self.now,
        )

    def _read(self, new: NewFile) -> Read:
        if new.refusal is not None:
            return Read(new, b"", None, UnreadableImage(*new.refusal))
        try:
            data = read_regular(self.root / new.relative, self.limit)
        except UnreadableImage as error:
            return Read(new, b"", None, error)
        return Read(new, data, hashlib.sha256(data).hexdigest(), None)


def answer_all(
    files: Iterable[NewFile],
    model: Model,
    work: Callable[[Sequence[NewFile]], list[PredictionRow]],
    at_once: int,
) -> Iterator[PredictionRow]:
    """Yield the rows that *work* makes of *files*, in order; at most *at_once* are under way."""
    part: int = getattr(model.classifier, "part", PART)
    threads = min(cores(), at_once) if model.answers_on_one_core else 1
    size = min(part, at_once // threads) if model.answers_on_one_core else at_once
    for rows in in_order(work, _parts(files, size), threads=threads, ahead=at_once // size):
        yield from rows


def _parts(files: Iterable[NewFile], size: int) -> Iterator[list[NewFile]]:
    remaining = iter(files)
    while part := list(islice(remaining, size)):
        yield part
