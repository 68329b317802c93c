"""Is a batch unlike the images that the model was validated on? One alarm, and what caused it.

Pure: arrays in, figures out. Several things are looked at, so each is judged the more strictly
(Holm 1979, "A simple sequentially rejective multiple test procedure"): of batches that are drawn
as the validation images were, a share of at most alpha alarms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.inference.reference import Reference, Values
from pipeline.inference.two_samples import (
    Tested,
    energy,
    kolmogorov_smirnov,
    psi,
    psi_of_counts,
    same_shares,
)
from pipeline.serving.abstention import Floats
from pipeline.words import images

CLASSES, EMBEDDING = "classes", "embedding"
NO_REFERENCE = "no drift figures: the model was sealed without a reference"


@dataclass(frozen=True)
class Observed:
    """What is known of the images of one batch that were answered; refused ones have no part."""

    predicted: npt.NDArray[np.int64]
    """Place of each answer among the classes, (n,)."""
    measured: Mapping[str, Values]
    """Confidence, width, brightness, ... of each, by the names of the reference's sample: (n,)."""
    embeddings: Floats | None = None
    """(n, width)."""


@dataclass(frozen=True)
class Feature:
    """One thing that is compared."""

    name: str
    """classes, embedding, or a name of the sample."""
    distance: float
    """Total variation of classes, energy distance of embeddings, else Kolmogorov-Smirnov's: 0 for
    none. It says how large a drift is; the p-value, how sure."""
    psi: float | None
    """Population stability index; None for embeddings."""
    p_value: float
    """Of this feature by itself."""
    adjusted: float
    """By Holm, over all features: at most alpha where this one has drifted."""


@dataclass(frozen=True)
class Drift:
    images: int
    alpha: float
    """Largest share of false alarms."""
    features: tuple[Feature, ...]
    """Empty where no image was answered."""
    not_compared: tuple[str, ...]
    """What the model remembers and the batch lacks, or the other way round."""

    @property
    def drifted(self) -> tuple[str, ...]:
        """The features that alarm, the surest first."""
        surest = sorted(self.features, key=lambda f: (f.p_value, -f.distance))
        return tuple(f.name for f in surest if f.adjusted <= self.alpha)

    @property
    def alarm(self) -> bool:
        return bool(self.drifted)

    def figures(self) -> dict[str, float]:
        """Return all figures by name, for a series over batches."""
        if not self.features:
            return {}
        found = {"drift.alarm": float(self.alarm)}
        for f in self.features:
            found |= {
                f"drift.{f.name}.distance": f.distance,
                f"drift.{f.name}.p_value": f.p_value,
            }
            if f.psi is not None:
                found[f"drift.{f.name}.psi"] = f.psi
        return found


def measure(reference: Reference, observed: Observed, alpha: float) -> Drift:
    """Hold a batch against the *reference* of the model that answered it."""
    n = len(observed.predicted)
    measured = observed.measured
    both = [name for name in reference.sample if name in measured]
    tested: dict[str, tuple[Tested, float | None]] = {}
    if n and reference.predicted is not None:
        counts = np.bincount(observed.predicted, minlength=len(reference.predicted))
        shares = same_shares(reference.predicted, counts)
        tested[CLASSES] = shares, psi_of_counts(reference.predicted, counts)
    for name in both if n else ():
        ours, theirs = measured[name], reference.sample[name]
        tested[name] = kolmogorov_smirnov(theirs, ours), psi(theirs, ours)
    if n and reference.embeddings is not None and observed.embeddings is not None:
        tested[EMBEDDING] = energy(reference.embeddings, observed.embeddings), None
    adjusted = holm([each.p_value for each, _ in tested.values()])
    return Drift(
        images=n,
        alpha=alpha,
        features=tuple(
            Feature(name, each.distance, index, each.p_value, p)
            for (name, (each, index)), p in zip(tested.items(), adjusted, strict=True)
        ),
        not_compared=tuple(sorted(_names(reference, measured) - set(tested))) if n else (),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Return each p-value as it stands after all were looked at: with those at most alpha taken for
    found, the probability that any is so by chance is at most alpha, however they depend."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[i])
        adjusted[i] = min(1.0, largest)
    return adjusted


def describe(drift: Drift | None) -> str:
    """One line for people; None stands for a model without a reference."""
    if drift is None:
        return NO_REFERENCE
    if not drift.features:
        return "no drift figures: no image has a label"
    by_name = {f.name: f for f in drift.features}
    if drift.alarm:
        found = [by_name[name] for name in drift.drifted]
        told = (f"{f.name} by {f.distance:.3f} (p {f.p_value:.2g})" for f in found)
        return f"DRIFT in {', '.join(told)}: {images(drift.images)}"
    least = min(f.adjusted for f in drift.features)
    return (
        f"no drift in {', '.join(by_name)}: {images(drift.images)}, "
        f"smallest p {least:.2g} after Holm"
    )


def _names(reference: Reference, measured: Mapping[str, Values]) -> set[str]:
    return {CLASSES, EMBEDDING, *reference.sample, *measured}
