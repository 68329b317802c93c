"""Single images that a person should look at: the surest wrong answers, the suspect labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.splits import SplitRow
from pipeline.evaluation.suspects import Suspect
from pipeline.metrics import Labels, Probabilities


@dataclass(frozen=True)
class Mistake:
    """A wrong answer."""

    sha256: str
    file: str
    """Relative to the snapshot's images/."""
    path: str
    """Relative to the source."""
    label: str
    answer: str
    confidence: float
    """Probability of *answer*, 0 to 1."""
    of_label: float
    """Probability of *label*."""


@dataclass(frozen=True)
class Doubted:
    """A suspect label, and where its picture lies."""

    suspect: Suspect
    file: str
    path: str


@dataclass(frozen=True)
class Confused:
    """Images of one class that are called another."""

    label: str
    answer: str
    images: int
    share: float
    """Of the images of *label*."""


def surest_mistakes(
    probabilities: Probabilities,
    labels: Labels,
    rows: Sequence[SplitRow],
    classes: Sequence[str],
    paths: Mapping[str, str],
    most: int,
) -> tuple[Mistake, ...]:
    """Return up to *most* wrong answers, the surest first; *paths*: sha256 → path."""
    answers = probabilities.argmax(1)
    wrong = np.flatnonzero(answers != labels)
    ordered = wrong[np.argsort(-probabilities.max(1)[wrong], kind="stable")]
    return tuple(
        Mistake(
            sha256=rows[i].sha256,
            file=rows[i].file,
            path=paths[rows[i].sha256],
            label=classes[labels[i]],
            answer=classes[answers[i]],
            confidence=float(probabilities[i, answers[i]]),
            of_label=float(probabilities[i, labels[i]]),
        )
        for i in ordered[:most]
    )


def doubted(
    suspects: Sequence[Suspect], rows: Sequence[SplitRow], paths: Mapping[str, str]
) -> tuple[Doubted, ...]:
    """Return *suspects* with their pictures, in their order."""
    files = {row.sha256: row.file for row in rows}
    return tuple(Doubted(each, files[each.sha256], paths[each.sha256]) for each in suspects)


def most_confused_pairs(
    probabilities: Probabilities, labels: Labels, classes: Sequence[str], most: int
) -> tuple[Confused, ...]:
    """Return up to *most* (class, answer) that are mixed up, those of most images first."""
    answers = probabilities.argmax(1)
    wrong = answers != labels
    pairs, counts = np.unique(np.stack([labels[wrong], answers[wrong]]), axis=1, return_counts=True)
    support = np.bincount(labels, minlength=len(classes))
    return tuple(
        Confused(
            label=classes[pairs[0, i]],
            answer=classes[pairs[1, i]],
            images=int(counts[i]),
            share=float(counts[i] / support[pairs[0, i]]),
        )
        for i in np.argsort(-counts, kind="stable")[:most]
    )
