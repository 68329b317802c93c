"""A picture of each thing that was compared: the reference, the batch over it, and its p-value."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.inference.drift import CLASSES, EMBEDDING, Drift, Feature, Observed
from pipeline.inference.plotting import ALARM, MAIN, SOFT, look, make_panels, png, short
from pipeline.inference.reference import Reference, Values
from pipeline.serving.abstention import unit_length

_BINS = 30
_MOST_CLASSES = 10
"""Of more, those whose share has changed most."""


def draw(
    reference: Reference, observed: Observed, drift: Drift, classes: Sequence[str], title: str
) -> bytes | None:
    """Return a PNG, the same for the same figures; None where nothing was compared."""
    if not drift.features:
        return None
    with look():
        figure, panels = make_panels(len(drift.features), title)
        for axes, feature in zip(panels, drift.features, strict=True):
            if feature.name == CLASSES:
                _draw_shares(axes, reference, observed, classes)
            elif feature.name == EMBEDDING:
                _draw_values(axes, *_along_the_difference(reference, observed))
            else:
                name = feature.name
                _draw_values(axes, reference.sample[name], observed.measured[name])
            alarms = feature.adjusted <= drift.alpha
            axes.set_title(_titled(feature, alarms), color=ALARM if alarms else "black")
            axes.set_yticks([])
        panels[0].legend(fontsize=8.5)
        return png(figure)


def _titled(feature: Feature, alarms: bool) -> str:
    found = f"{feature.name}: p {feature.p_value:.2g}, distance {feature.distance:.3f}"
    return f"{found}: drift" if alarms else found


def _draw_shares(
    axes: Any, reference: Reference, observed: Observed, classes: Sequence[str]
) -> None:
    known = reference.predicted if reference.predicted is not None else np.zeros(len(classes))
    before = known / known.sum()
    now = np.bincount(observed.predicted, minlength=len(known)) / len(observed.predicted)
    shown = np.sort(np.argsort(-np.abs(now - before), kind="stable")[:_MOST_CLASSES])
    places = np.arange(len(shown))
    axes.bar(places - 0.2, before[shown], 0.4, color=SOFT, label="validation")
    axes.bar(places + 0.2, now[shown], 0.4, color=MAIN, label="this batch")
    names = [short(classes[c]) for c in shown]
    axes.set_xticks(places, names, rotation=0 if len(shown) < 4 else 90)


def _draw_values(axes: Any, before: Values, now: Values) -> None:
    before, now = before[np.isfinite(before)], now[np.isfinite(now)]
    both = np.concatenate([before, now])
    edges = np.histogram_bin_edges(both, _BINS) if len(both) else np.linspace(0, 1, _BINS + 1)
    for values, colour, label, alpha in (
        (before, SOFT, "validation", 1.0),
        (now, MAIN, "this batch", 0.6),
    ):
        weights = np.full(len(values), 1 / max(1, len(values)))
        axes.hist(values, edges, weights=weights, color=colour, alpha=alpha, label=label)


def _along_the_difference(reference: Reference, observed: Observed) -> tuple[Values, Values]:
    """Return the places of all embeddings along the line through the two means."""
    known = np.asarray(reference.embeddings, np.float64)
    values: npt.NDArray[np.float32] = np.asarray(observed.embeddings, np.float32)
    new = unit_length(values[np.isfinite(values).all(1)]).astype(np.float64)
    line = new.mean(0) - known.mean(0) if len(new) else np.zeros(known.shape[1])
    line /= max(float(np.linalg.norm(line)), 1e-12)
    return known @ line, new @ line
