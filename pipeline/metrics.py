"""Figures that say how good predictions are; pure, shared by training, evaluation and the gate."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics

Probabilities = npt.NDArray[np.float64]
"""(n, num_classes); each row sums to 1."""
Labels = npt.NDArray[np.int64]
"""(n,), indices into the classes."""


def summary(probabilities: Probabilities, labels: Labels) -> dict[str, float]:
    """The headline figures by the names that MLflow, scikit-learn and DVC users expect."""
    return {
        "accuracy": accuracy(probabilities, labels),
        "macro_f1": macro_f1(probabilities, labels),
        "log_loss": log_loss(probabilities, labels),
    }


def accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """Share of images whose likeliest class is the right one."""
    return float((probabilities.argmax(1) == labels).mean())


def macro_f1(probabilities: Probabilities, labels: Labels) -> float:
    """Mean of the classes' F1 scores, each class counting alike."""
    return float(
        sklearn_metrics.f1_score(
            labels,
            probabilities.argmax(1),
            labels=range(probabilities.shape[1]),
            average="macro",
            zero_division=0,
        )
    )


def log_loss(probabilities: Probabilities, labels: Labels) -> float:
    """Mean negative log likelihood of the right class, in nats."""
    return float(
        sklearn_metrics.log_loss(labels, probabilities, labels=range(probabilities.shape[1]))
    )


def confusion_matrix(probabilities: Probabilities, labels: Labels) -> npt.NDArray[np.int64]:
    """Counts (num_classes, num_classes): rows are the right classes, columns the predicted ones."""
    classes = range(probabilities.shape[1])
    counts = sklearn_metrics.confusion_matrix(labels, probabilities.argmax(1), labels=classes)
    return np.asarray(counts, np.int64)


def accuracy_interval(accuracy: float, n: int) -> tuple[float, float]:
    """95% interval of an accuracy over *n* images (Wilson 1927, JASA 22, p. 209)."""
    interval = binomtest(round(accuracy * n), n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def class_indices(labels: Sequence[str], classes: Sequence[str]) -> Labels:
    """Return the position of each of *labels* in *classes*."""
    index = {name: i for i, name in enumerate(classes)}
    return np.array([index[label] for label in labels], np.int64)
