"""Figures that say how good predictions are; pure, shared by training, evaluation and the gate.

All take at least one image. A class without images has no part in a mean over the classes, and a
figure that the images at hand do not define is left out, never guessed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics

Probabilities = npt.NDArray[np.float64]
"""(n, num_classes); each row sums to 1."""
Labels = npt.NDArray[np.int64]
"""(n,), indices into the classes."""
LOWER_IS_BETTER = frozenset({"log_loss", "calibration_error"})
"""Names in `figures` of which less is better; of all others more is."""
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class ClassFigures:
    """How one class does against all others."""

    support: int
    """Its images."""
    precision: float | None
    """Share of right ones among the images called so; None where none is."""
    recall: float | None
    """Share of its images that are called so; None where it has none."""
    f1: float | None
    """None where it has no images and none is called so."""
    roc_auc: float | None
    """None where it has no images, or all of them."""
    average_precision: float | None
    """None where it has no images."""


def summary(probabilities: Probabilities, labels: Labels) -> dict[str, float]:
    """The headline figures by the names that MLflow, scikit-learn and DVC users expect."""
    return {
        "accuracy": accuracy(probabilities, labels),
        "macro_f1": macro_f1(probabilities, labels),
        "log_loss": log_loss(probabilities, labels),
    }


def figures(probabilities: Probabilities, labels: Labels) -> dict[str, float]:
    """All figures that are one number, the headline ones among them; each is 0 to 1 but log_loss.

    roc_auc and average_precision are one-vs-rest, the mean of the classes that have images, each
    counting alike; roc_auc is left out where a single class has all images. For `top_k_accuracy`
    see `top_ks`. Lower is better for those in LOWER_IS_BETTER.
    """
    by_class = class_figures(probabilities, labels)
    recalls = [c.recall for c in by_class if c.recall is not None]
    areas = [c.roc_auc for c in by_class if c.roc_auc is not None]
    precisions = [c.average_precision for c in by_class if c.average_precision is not None]
    tops = top_ks(probabilities.shape[1])
    return {
        "accuracy": accuracy(probabilities, labels),
        "balanced_accuracy": float(np.mean(recalls)),
        "worst_class_recall": min(recalls),
        "macro_f1": macro_f1(probabilities, labels),
        "weighted_f1": sum((c.f1 or 0) * c.support for c in by_class) / len(labels),
        **{f"top_{k}_accuracy": top_k_accuracy(probabilities, labels, k) for k in tops},
        "log_loss": log_loss(probabilities, labels),
        **({"roc_auc": float(np.mean(areas))} if areas else {}),
        "average_precision": float(np.mean(precisions)),
        "calibration_error": calibration_error(probabilities, labels),
    }


def class_figures(probabilities: Probabilities, labels: Labels) -> tuple[ClassFigures, ...]:
    """The figures of each class against the rest, in the order of the classes."""
    num_classes = probabilities.shape[1]
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        labels, probabilities.argmax(1), labels=range(num_classes), zero_division=np.nan
    )
    return tuple(
        ClassFigures(
            support=int(support[c]),
            precision=_defined(precision[c]),
            recall=_defined(recall[c]),
            f1=_defined(f1[c]),
            roc_auc=_roc_auc(labels == c, probabilities[:, c]),
            average_precision=_average_precision(labels == c, probabilities[:, c]),
        )
        for c in range(num_classes)
    )


def accuracy(probabilities: Probabilities, labels: Labels) -> float:
    """Share of images whose likeliest class is the right one."""
    return float((probabilities.argmax(1) == labels).mean())


def macro_f1(probabilities: Probabilities, labels: Labels) -> float:
    """Mean of the classes' F1 scores, each class counting alike; one that neither has images nor
    is ever answered is left out."""
    predicted = probabilities.argmax(1)
    return float(sklearn_metrics.f1_score(labels, predicted, average="macro", zero_division=0))


def log_loss(probabilities: Probabilities, labels: Labels) -> float:
    """Mean negative log likelihood of the right class, in nats."""
    return float(
        sklearn_metrics.log_loss(labels, probabilities, labels=range(probabilities.shape[1]))
    )


def top_ks(num_classes: int) -> tuple[int, ...]:
    """The k whose accuracy is told: 3 and 5, each only where there are more than 2k classes, since
    among fewer a guess is right every second time or more."""
    return tuple(k for k in (3, 5) if num_classes > 2 * k)


def top_k_accuracy(probabilities: Probabilities, labels: Labels, k: int) -> float:
    """Share of images whose right class is among the *k* likeliest."""
    return float((ranks(probabilities, labels) < k).mean())


def ranks(probabilities: Probabilities, labels: Labels) -> npt.NDArray[np.int64]:
    """(n,): how many classes come before the right one; of equally likely ones the first in the
    order of classes comes first, as in argmax."""
    of_right = np.take_along_axis(probabilities, labels[:, None], axis=1)
    earlier = np.arange(probabilities.shape[1]) < labels[:, None]
    before = (probabilities > of_right) | ((probabilities == of_right) & earlier)
    return np.asarray(before.sum(1), np.int64)


def calibration_error(probabilities: Probabilities, labels: Labels) -> float:
    """Expected calibration error (Guo et al. 2017, On Calibration of Modern Neural Networks,
    equation 3): by how much confidence and accuracy differ, over bins of confidence.

    The bins are 15 of equal width, as there: then published figures compare, many equal
    confidences (a sure model's 1.0) need no rule, and a bin does not depend on the other images,
    so that slices, resamples and two models are held to the same ones. Of few images the figure
    is too high, never too low on average: chance alone moves each bin's accuracy.
    """
    confidence = probabilities.max(1)
    gap = confidence - (probabilities.argmax(1) == labels)
    of_bins = np.bincount(calibration_bins(confidence), gap, CALIBRATION_BINS)
    return float(np.abs(of_bins).sum() / len(labels))


def calibration_bins(confidence: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The bin of each confidence, 0 to 14; each bin holds its upper edge."""
    bins = np.ceil(confidence * CALIBRATION_BINS) - 1
    return np.asarray(np.clip(bins, 0, CALIBRATION_BINS - 1), np.int64)


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


def _roc_auc(is_class: npt.NDArray[np.bool_], score: npt.NDArray[np.float64]) -> float | None:
    if is_class.all() or not is_class.any():
        return None
    return float(sklearn_metrics.roc_auc_score(is_class, score))


def _average_precision(
    is_class: npt.NDArray[np.bool_], score: npt.NDArray[np.float64]
) -> float | None:
    if not is_class.any():
        return None
    return float(sklearn_metrics.average_precision_score(is_class, score))


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
