"""What lies beside a batch's rows: figures and pictures of it, made when all is answered.

Names that begin with _ are no part of the table that readers of a partitioned folder see. MLflow
and Prefect show these files.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.errors import UnreadableImage
from pipeline.inference import least_certain
from pipeline.inference.answering import Model
from pipeline.inference.least_certain import SHEET, Doubted, shrink
from pipeline.inference.monitoring import (
    MONITORING,
    OBSERVED,
    PICTURE,
    EmbeddingSample,
    Monitoring,
    Watch,
    monitor,
    observe,
)
from pipeline.inference.originals import read_same
from pipeline.inference.rows import NewFile
from pipeline.inference.staging import Staging
from pipeline.inference.summary import SUMMARISED, Summary, summarise
from pipeline.inference.suspects import Journal
from pipeline.inference.timing import TIMING, Stopwatch, Timing, taken
from pipeline.serving.engine import cores
from pipeline.serving.images import Limits, inspect, turn_for
from pipeline.stream import in_order

ANSWERS = "_answers.png"
FILES = (MONITORING, PICTURE, ANSWERS, SHEET, TIMING)


@dataclass(frozen=True)
class Beside:
    monitoring: Monitoring
    summary: Summary
    timing: Timing


@dataclass(frozen=True)
class Originals:
    """Where the files of a batch lie, while it is made."""

    inbox: Path
    files: Mapping[str, NewFile]
    """By the path that rows name."""
    limit: int
    """The largest that is read, in bytes."""
    journal: Journal

    def picture(self, doubted: Doubted) -> Image.Image | str:
        """Return the image as the sheet shows it; or, in a few words, why it cannot."""
        file = self.files.get(doubted.path)
        if file is None:
            return "gone"
        if self.journal.deaths[doubted.path]:
            return "a run died at it"
        # So many pixels were decoded when it was answered
        limits = Limits(self.limit, max(Limits.pixels, doubted.pixels))
        try:
            with self.journal.at([doubted.path]), turn_for(file.bytes):
                data = read_same(self.inbox / file.relative, doubted.sha256, self.limit)
                return shrink(inspect(data, limits).picture)
        except UnreadableImage as error:
            return error.reason


def lay_beside(
    staging: Staging,
    model: Model,
    watch: Watch,
    embeddings: EmbeddingSample,
    stopwatch: Stopwatch,
    originals: Originals,
    name: str,
) -> Beside:
    """Write FILES of the batch *name* into *staging*, drift's picture where it was measured."""
    from pipeline.inference import answers_plot, drift_plot  # matplotlib, for those who need it

    timing = taken(stopwatch, cores())
    rows = staging.columns(sorted({*OBSERVED, *SUMMARISED}))
    summary, classes = summarise(rows), model.classifier.classes
    observed = observe(rows, classes, embeddings.embeddings())
    monitoring = monitor(
        rows, observed, watch.reference, batch=name, audit=watch.audit, alpha=watch.alpha
    )
    _put_json(staging, MONITORING, monitoring.as_json())
    if watch.reference and monitoring.drift:
        picture = drift_plot.draw(watch.reference, observed, monitoring.drift, classes, name)
        if picture:
            staging.put(PICTURE, picture)
    staging.put(ANSWERS, answers_plot.draw(summary, name))
    if sheet := _sheet(least_certain.choose(rows), originals, summary, name):
        staging.put(SHEET, sheet)
    _put_json(staging, TIMING, timing.as_json())
    return Beside(monitoring, summary, timing)


def _sheet(
    doubted: Sequence[Doubted], originals: Originals, summary: Summary, name: str
) -> bytes | None:
    if not doubted:
        return None
    count = cores()
    pictures = list(in_order(originals.picture, doubted, threads=count, ahead=count))
    answered = sum(summary.classes.values())
    title = f"the {len(doubted)} least certain of {answered} answers: {name}"
    return least_certain.draw(doubted, pictures, title)


def _put_json(staging: Staging, name: str, said: Mapping[str, Any]) -> None:
    staging.put(name, json.dumps(said, indent=1, allow_nan=False).encode())
