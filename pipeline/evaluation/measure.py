"""What a sealed model answers on labelled images: one piece of code for validation and test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.cache import read_image
from pipeline.data.splits import SplitRow
from pipeline.errors import DatasetError
from pipeline.export.artefact import SealedClassifier, SealedPrediction
from pipeline.metrics import Labels, Probabilities, class_indices


@dataclass(frozen=True)
class Measured:
    probabilities: Probabilities
    labels: Labels


def measure(
    classifier: SealedClassifier, images: Path, rows: Sequence[SplitRow], batch_size: int
) -> Measured:
    """Classify *rows*, all of them labelled, whose files lie in *images*."""
    answers: list[SealedPrediction] = []
    for start in range(0, len(rows), batch_size):
        some = rows[start : start + batch_size]
        answers += classifier.classify([read_image(images, row) for row in some])
    for row, answer in zip(rows, answers, strict=True):
        if answer.reason is not None:
            raise DatasetError(
                f"the model refuses an image of the dataset: {answer.reason}",
                f"{row.file}: {answer.detail}",
                mend="darkroom ingest, or exclude it in data/corrections/exclude.csv",
            )
    probabilities = np.array([answer.probabilities for answer in answers], np.float64)
    return Measured(
        probabilities=probabilities / probabilities.sum(axis=1, keepdims=True),  # float32 sums
        labels=class_indices([row.label or "" for row in rows], classifier.classes),
    )
