"""What a sealed model answers on labelled images: one piece of code for validation and test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.cards import read_card
from pipeline.data.cache import read_image
from pipeline.data.splits import SplitRow
from pipeline.errors import DatasetError
from pipeline.export.artefact import (
    SealedClassifier,
    SealedPrediction,
    check_digest,
    open_artefact,
)
from pipeline.metrics import Labels, Probabilities, class_indices
from pipeline.serving.variants import FP32

Members = npt.NDArray[np.bool_]
"""(n, num_classes): whether a class is in an image's set."""


@dataclass(frozen=True)
class Reliance:
    """How far the model says that each answer can be relied on; see serving/abstention.py."""

    conformal: Members
    class_conditional: Members
    ood_scores: npt.NDArray[np.float64]
    """(n,); NaN where the model has none."""
    abstained: npt.NDArray[np.bool_]
    """(n,)."""


@dataclass(frozen=True)
class Measured:
    probabilities: Probabilities
    labels: Labels
    reliance: Reliance | None = None
    """None for a model that was sealed without thresholds."""


def open_variants(folder: Path, digest: str) -> dict[str, SealedClassifier]:
    """Open each graph of the model in *folder* by its name, fp32 first.

    Raises ArtefactError where the model is not the one of *digest*, or a variant does not answer
    on this machine as it did where it was sealed: it could not be measured.
    """
    check_digest(folder, digest)
    names = read_card(folder / "card.json").get("variants", (FP32,))
    return {name: open_artefact(folder, digest, variant=name) for name in names}


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
        reliance=_reliance(answers, classifier.classes),
    )


def _reliance(answers: Sequence[SealedPrediction], classes: Sequence[str]) -> Reliance | None:
    """A model of an older Darkroom says nothing of it: its answers may lack the very fields."""
    found = [getattr(answer, "conformal_set", None) for answer in answers]
    if not found or any(each is None for each in found):
        return None

    def members(name: str) -> Members:
        sets = [frozenset(getattr(answer, name)) for answer in answers]
        return np.array([[each in chosen for each in classes] for chosen in sets], np.bool_)

    scores = [getattr(answer, "ood_score", None) for answer in answers]
    return Reliance(
        conformal=members("conformal_set"),
        class_conditional=members("class_conditional_set"),
        ood_scores=np.array([np.nan if score is None else score for score in scores]),
        abstained=np.array(
            [getattr(answer, "abstain_reason", None) is not None for answer in answers]
        ),
    )
