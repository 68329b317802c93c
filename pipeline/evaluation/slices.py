"""The same figures by slice: where a model is good on the whole and bad on the dark photos."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.metrics import Labels, Probabilities, accuracy_interval, figures

SMALL = 30
"""Images under which a slice is small: 27 of 30 right may be a true accuracy of 0.74 or 0.97."""
_GROUPS = 4
_MOST_VALUES = 20
_MISSING = "missing"


@dataclass(frozen=True)
class Slice:
    column: str
    value: str
    """Of a categorical column; the least and greatest of a numeric one; `missing`; or `others`,
    all values but the 20 commonest together."""
    images: int
    small: bool
    figures: dict[str, float]
    """metrics.figures of its images; macro figures are of the classes that it has."""
    accuracy_interval: tuple[float, float]
    """95%, Wilson's."""


def slices_of(
    column: str,
    values: Sequence[float | None] | Sequence[str | None],
    probabilities: Probabilities,
    labels: Labels,
) -> tuple[Slice, ...]:
    """Slice by quarters where all *values*, (n,), that are known are numbers, else by value."""
    if all(value is None or isinstance(value, int | float) for value in values):
        numbers = [np.nan if value is None else float(value) for value in values]
        return by_quantile(column, np.array(numbers), probabilities, labels)
    words = [None if value is None else str(value) for value in values]
    return by_value(column, words, probabilities, labels)


def by_quantile(
    column: str, values: npt.NDArray[np.float64], probabilities: Probabilities, labels: Labels
) -> tuple[Slice, ...]:
    """Slice by quarters of a numeric column, (n,), lowest first; NaN is missing.

    Equal values stay together, so that there are fewer slices where one value is common.
    """
    known = ~np.isnan(values)
    slices = []
    if known.any():
        edges = np.quantile(values[known], np.arange(1, _GROUPS) / _GROUPS)
        group = np.searchsorted(np.unique(edges), values)
        for g in range(_GROUPS):
            chosen = known & (group == g)
            if chosen.any():
                low, high = values[chosen].min(), values[chosen].max()
                name = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
                slices.append(_slice(column, name, chosen, probabilities, labels))
    if not known.all():
        slices.append(_slice(column, _MISSING, ~known, probabilities, labels))
    return tuple(slices)


def by_value(
    column: str, values: Sequence[str | None], probabilities: Probabilities, labels: Labels
) -> tuple[Slice, ...]:
    """Slice by the values of a categorical column, (n,), commonest first; None is missing."""
    counts = Counter(value for value in values if value is not None)
    names = sorted(counts, key=lambda name: (-counts[name], name))[:_MOST_VALUES]
    place = {name: i for i, name in enumerate(names)}
    groups = [*names, "others", _MISSING]
    group = np.array(
        [len(names) + 1 if value is None else place.get(value, len(names)) for value in values]
    )
    return tuple(
        _slice(column, name, group == g, probabilities, labels)
        for g, name in enumerate(groups)
        if (group == g).any()
    )


def _slice(
    column: str,
    value: str,
    chosen: npt.NDArray[np.bool_],
    probabilities: Probabilities,
    labels: Labels,
) -> Slice:
    found = figures(probabilities[chosen], labels[chosen])
    images = int(chosen.sum())
    interval = accuracy_interval(found["accuracy"], images)
    return Slice(column, value, images, images < SMALL, found, interval)
