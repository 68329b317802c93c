"""Whether an answer can be relied on: its conformal set, and how strange the image is.

What is compared with was fitted on validation images (pipeline/export/calibrate.py) and is sealed
beside the network: thresholds.json and embeddings.npy, of fp32; int8.thresholds.json and
int8.embeddings.npy, since INT8's embeddings lie elsewhere. A model without them answers all the
same.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .variants import FP16, FP32

Floats = npt.NDArray[np.float16] | npt.NDArray[np.float32] | npt.NDArray[np.float64]

THRESHOLDS, EMBEDDINGS = "thresholds.json", "embeddings.npy"

OUT_OF_DISTRIBUTION = "out_of_distribution"
AMBIGUOUS = "ambiguous"
NO_CLASS = "no_class"
"""Reasons to abstain: the image is unlike the validation images; several classes are possible;
none is likely enough."""


@dataclass(frozen=True)
class Thresholds:
    """A class is in the conformal set where its nonconformity is at most the threshold.

    Infinity stands for too few validation images: then every class is in the set.
    """

    coverage: float
    """Share of images whose set holds the right class, 0 to 1."""
    overall: float
    """Covers that share over all classes together."""
    per_class: tuple[float, ...]
    """Each covers that share of its own class (Mondrian; Vovk 2012, "Conditional validity of
    inductive conformal predictors", section 4)."""
    neighbours: int
    """k of the distance to the k-th nearest validation image."""
    distance: float
    """Above it, an image is out of distribution; infinity: none is."""

    def as_json(self) -> dict[str, Any]:
        """JSON knows no infinity: null stands for it."""
        return {
            "coverage": self.coverage,
            "overall": _finite(self.overall),
            "per_class": [_finite(each) for each in self.per_class],
            "neighbours": self.neighbours,
            "distance": _finite(self.distance),
        }


@dataclass(frozen=True)
class Known:
    """What the answers of a sealed model are held against."""

    thresholds: Thresholds
    embeddings: Floats
    """Of validation images, (n, width), each of length 1."""


@dataclass(frozen=True)
class Reliance:
    """How far one answer can be relied on; classes are named by their place."""

    conformal_set: tuple[int, ...]
    class_conditional_set: tuple[int, ...]
    ood_score: float | None
    """None where the model knows too few images to have one."""
    abstain_reason: str | None


def of_variant(name: str, variant: str) -> str:
    """Return the name of *variant*'s own THRESHOLDS or EMBEDDINGS; fp16's are fp32's."""
    return name if variant in (FP32, FP16) else f"{variant}.{name}"


def read_known(folder: Path, variant: str = FP32) -> Known | None:
    """Return what *variant*'s answers are held against; None for a model that was sealed without
    thresholds."""
    file = folder / of_variant(THRESHOLDS, variant)
    if not file.exists():
        return None
    read = json.loads(file.read_text(encoding="utf-8"))
    thresholds = Thresholds(
        coverage=read["coverage"],
        overall=_threshold(read["overall"]),
        per_class=tuple(map(_threshold, read["per_class"])),
        neighbours=read["neighbours"],
        distance=_threshold(read["distance"]),
    )
    embeddings = np.load(folder / of_variant(EMBEDDINGS, variant), allow_pickle=False)
    return Known(thresholds, embeddings.astype(np.float32))


def rely(probabilities: Floats, embeddings: Floats, known: Known) -> list[Reliance]:
    """Judge each of n answers by probabilities (n, num_classes) and embeddings (n, width)."""
    scores = nonconformity(probabilities)
    thresholds = known.thresholds
    sets = scores <= thresholds.overall
    class_conditional = scores <= np.array(thresholds.per_class)
    distances = ood_scores(embeddings, known.embeddings, thresholds.neighbours)
    return [
        Reliance(
            conformal_set=_places(sets[i]),
            class_conditional_set=_places(class_conditional[i]),
            ood_score=float(distance) if math.isfinite(distance) else None,
            abstain_reason=_reason(int(sets[i].sum()), float(distance), thresholds.distance),
        )
        for i, distance in enumerate(distances)
    ]


def nonconformity(probabilities: Floats) -> npt.NDArray[np.float64]:
    """Return how ill each class fits, 0 to 1: one minus its probability (LAC; Sadinle, Lei and
    Wasserman 2019, "Least ambiguous set-valued classifiers with bounded error levels").

    To six digits: whether an image at the threshold is in must not hang on the order in which a
    machine adds.
    """
    return np.round(1 - np.asarray(probabilities, np.float64), 6)


def ood_scores(
    embeddings: Floats, known: Floats, neighbours: int, themselves: bool = False
) -> npt.NDArray[np.float64]:
    """Return the distance of each embedding (n, width) to the k-th nearest of the *known* ones
    (m, width), all of length 1 (Sun et al. 2022, "Out-of-distribution detection with deep nearest
    neighbors", section 3): 0 to 2, the larger the stranger; infinity where there are fewer than k.
    To six digits, as `nonconformity`.

    With *themselves*, the two are the same images, and none is its own neighbour.
    """
    cosines = unit_length(embeddings) @ np.asarray(known, np.float32).T
    if themselves:
        np.fill_diagonal(cosines, -np.inf)
    if cosines.shape[1] - themselves < neighbours:
        return np.full(len(embeddings), np.inf)
    nearest = -np.partition(-cosines, neighbours - 1, axis=1)[:, neighbours - 1]
    distances: npt.NDArray[np.float64] = np.sqrt(np.maximum(2 - 2 * nearest.astype(np.float64), 0))
    return distances.round(6)


def unit_length(embeddings: Floats) -> npt.NDArray[np.float32]:
    """Return *embeddings* (n, width), each divided by its length; zeros stay zeros."""
    values = np.asarray(embeddings, np.float32)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = values / np.maximum(lengths, np.float32(1e-12))
    return unit


def _reason(classes: int, distance: float, limit: float) -> str | None:
    if not distance <= limit:  # NaN is near nothing
        return OUT_OF_DISTRIBUTION
    if classes != 1:
        return AMBIGUOUS if classes else NO_CLASS
    return None


def _places(members: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(map(int, np.flatnonzero(members)))


def _finite(threshold: float) -> float | None:
    return threshold if math.isfinite(threshold) else None


def _threshold(read: float | None) -> float:
    return math.inf if read is None else float(read)
