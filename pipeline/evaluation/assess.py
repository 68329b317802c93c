"""All that is said of a model's answers on one set of labelled images: the same for validation,
where `evaluate` looks, and for test, where `register` does."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.evaluation.bootstrap import Interval, intervals
from pipeline.evaluation.measure import Measured, Reliance
from pipeline.evaluation.slices import Slice, slices_of
from pipeline.metrics import (
    LOWER_IS_BETTER,
    ClassFigures,
    Labels,
    accuracy_interval,
    class_figures,
    figures,
)

Column = Sequence[float | None] | Sequence[str | None]
"""What is known of each image besides: numbers are sliced by quarters, words by value."""
LESS_IS_BETTER = LOWER_IS_BETTER | {"latency_p99_ms", "mean_set_size", "abstained"}
_SEED = 0
"""Of the bootstrap: equal answers have equal intervals."""


@dataclass(frozen=True)
class Assessment:
    """Of one variant on one set of images."""

    images: int
    figures: dict[str, float]
    """Those of metrics.figures; and, where the model says it, `coverage`, `mean_set_size`,
    `worst_class_coverage` and `abstained` of its conformal sets."""
    intervals: dict[str, Interval]
    """95%, by the same names; those of the conformal sets have none. Of accuracy, and of a class's
    recall and precision, Wilson's, which has a width where no mistake was made and a resample has
    none to draw; of all others the bootstrap's."""
    classes: dict[str, dict[str, Any]]
    """Of each class: support, precision, recall, f1, roc_auc, average_precision (null where the
    images do not define one), `coverage`, and `intervals` of them."""
    slices: tuple[Slice, ...]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "slices": [asdict(each) for each in self.slices]}


def assess(measured: Measured, classes: Sequence[str], columns: Mapping[str, Column]) -> Assessment:
    """Assess answers to n images; *columns*: name → n values by which they are sliced."""
    probabilities, labels = measured.probabilities, measured.labels
    found = figures(probabilities, labels)
    drawn = intervals(probabilities, labels, _SEED)
    by_class = class_figures(probabilities, labels)
    called = np.bincount(probabilities.argmax(1), minlength=len(classes))
    conformal, of_classes = _conformal(measured.reliance, labels, len(classes))
    return Assessment(
        images=len(labels),
        figures={**found, **conformal},
        intervals={**drawn.figures, "accuracy": accuracy_interval(found["accuracy"], len(labels))},
        classes={
            name: {
                **asdict(by_class[c]),
                **of_classes[c],
                "intervals": drawn.classes[c] | _shares(by_class[c], int(called[c])),
            }
            for c, name in enumerate(classes)
        },
        slices=tuple(
            each
            for name, values in columns.items()
            for each in slices_of(name, values, probabilities, labels)
        ),
    )


def _shares(found: ClassFigures, called: int) -> dict[str, Interval]:
    """Return the intervals of a class's recall and precision; *called*: images called so."""
    shares = {"recall": (found.recall, found.support), "precision": (found.precision, called)}
    return {
        name: accuracy_interval(share, n)
        for name, (share, n) in shares.items()
        if share is not None
    }


def worst(variants: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The worst value of each figure over a model's variants; one that any lacks is left out."""
    every = list(variants)
    names = [name for name in every[0] if all(name in figures for figures in every)]
    return {
        name: (max if name in LESS_IS_BETTER else min)(figures[name] for figures in every)
        for name in names
    }


def _conformal(
    reliance: Reliance | None, labels: Labels, num_classes: int
) -> tuple[dict[str, float], list[dict[str, float | None]]]:
    """Return the figures of the conformal sets, and those of each class."""
    if reliance is None:
        return {}, [{} for _ in range(num_classes)]
    rows = np.arange(len(labels))
    covered = reliance.conformal[rows, labels]
    in_class = reliance.class_conditional[rows, labels]
    shares = [
        float(in_class[labels == c].mean()) if (labels == c).any() else None
        for c in range(num_classes)
    ]
    return {
        "coverage": float(covered.mean()),
        "worst_class_coverage": min(share for share in shares if share is not None),
        "mean_set_size": float(reliance.conformal.sum(1).mean()),
        "abstained": float(reliance.abstained.mean()),
    }, [{"coverage": share} for share in shares]
