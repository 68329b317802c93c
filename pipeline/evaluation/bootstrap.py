"""95% percentile bootstrap intervals of all figures (Efron and Tibshirani 1993, An Introduction to
the Bootstrap, section 13.3)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.resampled import Counts, Resampled, Values, counting, ranking
from pipeline.metrics import Labels, Probabilities

RESAMPLES = 1000
_RANKING_WORK = 10**9
"""Images × classes × resamples that roc_auc and average_precision may cost: some seconds."""
_LEAST_RESAMPLES = 100
_ELEMENTS = 2_000_000
"""Of one array of counts, 16 MB."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Intervals:
    figures: dict[str, Interval]
    """By the names of metrics.figures."""
    classes: tuple[dict[str, Interval], ...]
    """Of each class, by the names of metrics.ClassFigures; without those that are not defined."""
    ranking_resamples: int
    """On which roc_auc and average_precision rest; all others on RESAMPLES."""


def intervals(probabilities: Probabilities, labels: Labels, seed: int) -> Intervals:
    """Draw the images again, with replacement, RESAMPLES times.

    A resample without any image of a class says nothing of that class. The ends are widened to
    the figure itself where it lies outside, as calibration_error's and worst_class_recall's may:
    chance moves them one way only, and a resample adds to what the test set has already. Figures
    without a mistake to draw (accuracy 1.0, one image) get no width: for accuracy,
    metrics.accuracy_interval has one.
    """
    n, num_classes = probabilities.shape
    fewer = ranking_resamples(n, num_classes)
    figures: dict[str, Interval] = {}
    classes: list[dict[str, Interval]] = [{} for _ in range(num_classes)]
    for measure, resamples in ((counting, RESAMPLES), (ranking, fewer)):
        whole = measure(probabilities, labels, np.ones((n, 1)))
        parts = [measure(probabilities, labels, counts) for counts in draws(n, resamples, seed)]
        drawn = joined(parts)
        for name, values in drawn.figures.items():
            _put(figures, name, whole.figures[name][0], values)
        for name, by_class in drawn.classes.items():
            for c in range(num_classes):
                _put(classes[c], name, whole.classes[name][c, 0], by_class[c])
    return Intervals(figures, tuple(classes), fewer)


def ranking_resamples(n: int, num_classes: int) -> int:
    """RESAMPLES, or fewer where images × classes are more than a million, down to 100."""
    return max(_LEAST_RESAMPLES, min(RESAMPLES, _RANKING_WORK // (n * num_classes)))


def draws(n: int, resamples: int, seed: int) -> Iterator[Counts]:
    """Resamples of *n* images, some at a time so that memory stays small; the same for a seed."""
    generator = np.random.default_rng(seed)
    at_once = max(1, _ELEMENTS // n)
    for start in range(0, resamples, at_once):
        some = min(at_once, resamples - start)
        places = generator.integers(n, size=(n, some)) * some + np.arange(some)
        counts = np.bincount(places.ravel(), minlength=n * some).reshape(n, some)
        yield counts.astype(np.float64)


def joined(parts: list[Resampled]) -> Resampled:
    """The same figures of all resamples, in their order."""
    return Resampled(
        {name: np.concatenate([p.figures[name] for p in parts]) for name in parts[0].figures},
        {name: np.concatenate([p.classes[name] for p in parts], 1) for name in parts[0].classes},
    )


def _put(into: dict[str, Interval], name: str, figure: float, values: Values) -> None:
    if np.isnan(figure):
        return
    defined = np.append(values[~np.isnan(values)], figure)  # never empty
    low, high = np.percentile(defined, (2.5, 97.5))
    into[name] = (float(min(low, figure)), float(max(high, figure)))
