"""The figures of many resamples at once: those of pipeline.metrics, with images counted.

A resample is a column of counts, how often it holds each image. So a thousand resamples are a few
matrix products, and one sorting for each class, instead of a thousand calls of scikit-learn;
counts of one give what pipeline.metrics gives (a test holds them together).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from pipeline.metrics import (
    CALIBRATION_BINS,
    Labels,
    Probabilities,
    calibration_bins,
    ranks,
    top_ks,
)

Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.float64]
"""(n, resamples): how often each resample holds each image."""
RANKING = frozenset({"roc_auc", "average_precision"})
"""The figures of `ranking`, which cost num_classes times as much as all others together."""


@dataclass(frozen=True)
class Resampled:
    figures: dict[str, Values]
    """By name, (resamples,); NaN where a resample does not define it."""
    classes: dict[str, Values]
    """By name, (num_classes, resamples); NaN likewise."""


def counting(probabilities: Probabilities, labels: Labels, counts: Counts) -> Resampled:
    """All figures but those in RANKING."""
    n, num_classes = probabilities.shape
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    right = (predicted == labels).astype(np.float64)
    ones = np.ones(n)
    support = _summed(labels, ones, num_classes, counts)
    called = _summed(predicted, ones, num_classes, counts)
    hits = _summed(labels, right, num_classes, counts)
    gaps = _summed(calibration_bins(confidence), confidence - right, CALIBRATION_BINS, counts)
    recall, f1 = _ratio(hits, support), _ratio(2 * hits, support + called)
    rank = ranks(probabilities, labels)
    size = counts.sum(0)
    figures = {
        "accuracy": right @ counts / size,
        "balanced_accuracy": _mean_over_classes(recall),
        "worst_class_recall": np.nanmin(recall, axis=0),
        "macro_f1": _mean_over_classes(f1),
        "weighted_f1": (np.nan_to_num(f1) * support).sum(0) / size,
        **{f"top_{k}_accuracy": (rank < k) @ counts / size for k in top_ks(num_classes)},
        "log_loss": losses(probabilities, labels) @ counts / size,
        "calibration_error": np.abs(gaps).sum(0) / size,
    }
    return Resampled(figures, {"precision": _ratio(hits, called), "recall": recall, "f1": f1})


def ranking(probabilities: Probabilities, labels: Labels, counts: Counts) -> Resampled:
    """The figures in RANKING."""
    pairs = [
        _areas(probabilities[:, c], labels == c, counts) for c in range(probabilities.shape[1])
    ]
    roc_auc, average_precision = (np.array(areas) for areas in zip(*pairs, strict=True))
    by_class = {"roc_auc": roc_auc, "average_precision": average_precision}
    return Resampled({name: _mean_over_classes(v) for name, v in by_class.items()}, by_class)


def _areas(score: Values, is_class: npt.NDArray[np.bool_], counts: Counts) -> tuple[Values, Values]:
    """ROC AUC (ties count half) and average precision of one class, each (resamples,).

    Both are sums over the different scores, highest first, that an image of the class has.
    """
    order = np.argsort(-score, kind="stable")
    ordered, sorted_score = is_class[order], score[order]
    held = _cumulated(counts[order])
    held_of_class = _cumulated(counts[order[ordered]])
    edges = np.flatnonzero(np.diff(sorted_score)) + 1
    starts, ends = np.append(0, edges), np.append(edges, len(score))
    of_class = np.append(0, np.cumsum(ordered))  # images of the class before each place
    some = of_class[ends] > of_class[starts]
    starts, ends = starts[some], ends[some]

    positives, negatives = held_of_class[-1], held[-1] - held_of_class[-1]
    true_before, true = held_of_class[of_class[starts]], held_of_class[of_class[ends]]
    gained = true - true_before
    false_before, false = held[starts] - true_before, held[ends] - true
    beaten = negatives - (false_before + false) / 2
    precision = np.divide(true, held[ends], out=np.zeros_like(true), where=held[ends] > 0)
    return (
        _ratio((gained * beaten).sum(0), positives * negatives),
        _ratio((gained * precision).sum(0), positives),
    )


def _cumulated(counts: Counts) -> Values:
    """(n + 1, resamples): the sum of the counts before each place."""
    sums = np.zeros((len(counts) + 1, counts.shape[1]))
    np.cumsum(counts, axis=0, out=sums[1:])
    return sums


def _summed(group: Labels, value: Values, groups: int, counts: Counts) -> Values:
    """(groups, resamples): the sum of *value*, (n,), over each group's counted images."""
    n = len(group)
    return np.asarray(csr_array((value, (group, np.arange(n))), shape=(groups, n)) @ counts)


def losses(probabilities: Probabilities, labels: Labels) -> Values:
    """(n,), in nats; held off infinity as scikit-learn's log_loss does."""
    epsilon = np.finfo(probabilities.dtype).eps
    of_right = probabilities[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.clip(of_right, epsilon, 1 - epsilon)))


def _ratio(part: Values, whole: Values) -> Values:
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)


def _mean_over_classes(values: Values) -> Values:
    """Of the classes where it is defined; NaN where it is of none."""
    return _ratio(np.nansum(values, axis=0), (~np.isnan(values)).sum(0).astype(np.float64))
