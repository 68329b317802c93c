"""Which labels a model contradicts: confident learning over out-of-sample probabilities.

The few lines, and not cleanlab: 2.9 is under Apache-2.0, but brings tqdm and termcolor, and 10,000
lines for these. On simulated noise the two named the same images but for 2 of 60.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.metrics import Labels, Probabilities

PROPOSALS = "relabel_proposed.csv"
TRUSTED = 0.9
"""Accuracy of a model below which what it contradicts may mostly be its own mistakes."""


@dataclass(frozen=True)
class Suspect:
    """An image whose label the model contradicts."""

    sha256: str
    given: str
    suggested: str
    score: float
    """Probability of the suggested class minus that of the given one, 0 to 1."""


def find_suspects(
    probabilities: Probabilities,
    labels: Labels,
    sha256s: Sequence[str],
    classes: Sequence[str],
) -> list[Suspect]:
    """Return the labels that may be wrong, the likeliest first (Northcutt, Jiang and Chuang 2021,
    "Confident learning: estimating uncertainty in dataset labels", section 3).

    The *probabilities* (n, num_classes) come from a model that was not trained on the images. As
    many labels are suspect, of each given and each other class, as the confident joint says are
    wrong: those by which the other class is likelier by most ("prune by noise rate", section 3.2,
    method 4).
    """
    margins = probabilities - probabilities[np.arange(len(labels)), labels][:, None]
    wrong = np.rint(_wrong_labels(probabilities, labels)).astype(np.int64)
    best: dict[int, tuple[float, int]] = {}
    for given, other in zip(*np.nonzero(wrong), strict=True):
        members = np.flatnonzero((labels == given) & (margins[:, other] > 0))
        strongest = members[np.argsort(-margins[members, other], kind="stable")]
        for place in strongest[: wrong[given, other]]:
            found = (float(margins[place, other]), int(other))
            best[int(place)] = max(best.get(int(place), found), found)
    ranked = sorted(best.items(), key=lambda item: (-item[1][0], item[0]))
    return [
        Suspect(sha256s[i], classes[labels[i]], classes[other], score)
        for i, (score, other) in ranked
    ]


def _wrong_labels(probabilities: Probabilities, labels: Labels) -> Probabilities:
    """Estimate how many images of each given class (rows) are of each other class (columns).

    An image counts to a class where it is at least as likely as that class is, on average, among
    its own images, and to the likeliest of several (equations 1 and 2); each row is then scaled
    to the images that its class was given (equation 3).
    """
    num_classes = probabilities.shape[1]
    given = np.bincount(labels, minlength=num_classes)
    own = probabilities[np.arange(len(labels)), labels]
    sums = np.bincount(labels, own, minlength=num_classes)
    mean = np.where(given > 0, sums / np.maximum(given, 1), np.inf)
    confident = probabilities >= mean
    sure = confident.any(1)
    counted = np.where(confident, probabilities, -1.0).argmax(1)
    joint = np.zeros((num_classes, num_classes))
    np.add.at(joint, (labels[sure], counted[sure]), 1)
    joint *= (given / np.maximum(joint.sum(1), 1))[:, None]
    np.fill_diagonal(joint, 0)
    return joint


def write_proposals(folder: Path, suspects: Sequence[Suspect], accuracy: float) -> Path:
    """Write *suspects* as lines that a person can move into data/corrections/relabel.csv, once
    they have looked at the pictures; that file itself is theirs alone. *accuracy*: the model's, so
    that each line says how far to believe it."""
    path = folder / PROPOSALS
    with path.open("w", newline="", encoding="utf-8") as out:
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(("sha256", "label", "reason"))
        for each in suspects:
            reason = (
                f"contradicted by a model that is right in {accuracy:.0%}: "
                f"{each.given} by {each.score:.2f} less likely"
            )
            lines.writerow((each.sha256, each.suggested, reason))
    return path
