"""What is fitted on validation images and sealed into the model.

Pure: arrays in, numbers and bytes out. The answering side is pipeline/serving/abstention.py.
"""

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import chi2

from pipeline.serving.abstention import (
    Floats,
    Thresholds,
    nonconformity,
    ood_scores,
    unit_length,
)

Labels = npt.NDArray[np.int64]
"""(n,), indices into the classes."""

_HOTTEST = 20.0
"""No network that is of use is further from calibrated, either way."""
_TOLD_APART = float(chi2.ppf(0.95, 1)) / 2
"""Nats, over all images."""
REFERENCE = "reference.json"
_KNOWN = 1000
"""Images that a model remembers, at most: 2 MB of embeddings of 1,024 values each."""
_NEIGHBOURS = 5
"""k; small, so that a rare class is near itself."""
_IN_A_BIN, _BINS = 50, 20
"""Images that say how often an answer of some confidence is right: to seven points (one standard
error) or better. And the most bins."""


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """Return the temperature by which *logits* (n, num_classes) are divided (Guo et al. 2017, "On
    calibration of modern neural networks", section 4.2), 1/20 to 20; 1 unless these images tell the
    two apart (the likelihood-ratio test, Wilks 1938, at 5%): of a few hundred images, a fit is
    otherwise as likely to harm the next ones.

    SciPy's minimiser, and not scikit-learn's `CalibratedClassifierCV(method="temperature")`: that
    one wants an estimator around the logits, every class among the labels, and has no bound. Where
    every image is right there is nothing to learn how often the network errs: 1.
    """
    values = np.asarray(logits, np.float64)
    if bool((values.argmax(1) == labels).all()):
        return 1.0

    def loss(log_temperature: float) -> float:
        return log_loss(values / math.exp(log_temperature), labels)

    limit = math.log(_HOTTEST)
    found = minimize_scalar(loss, bounds=(-limit, limit), options={"xatol": 1e-6})
    gained = len(labels) * (loss(0.0) - float(found.fun))
    return math.exp(found.x) if gained > _TOLD_APART else 1.0


def log_loss(logits: Floats, labels: Labels) -> float:
    """Mean negative log likelihood of the right classes, in nats."""
    return -float(log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())


def fit_thresholds(
    probabilities: Floats,
    embeddings: Floats,
    labels: Labels,
    *,
    coverage: float,
    in_distribution: float,
) -> tuple[Thresholds, npt.NDArray[np.float16]]:
    """Return what answers are held against, and the embeddings for it, (at most 1,000, width).

    *coverage* is the share of conformal sets that hold the right class, *in_distribution* that of
    validation images near enough to the others. The images stand in an order that says nothing of
    them (that of their hashes): the first embeddings are as good a sample as any.

    The score is LAC's: no other has smaller sets on average, and its coverage is exact without
    drawing lots, which a served model must not do; APS (Romano, Sesia and Candès 2020) covers
    more than was asked unless it does.

    Strangeness is the distance to the k-th nearest, and not Mahalanobis' (Lee et al. 2018): it
    tells as well (AUROC 0.98, unseen digits), and each image can be left out of its own
    neighbours. A covariance of 512 values from 200 images knows those too well: it called every
    new photo a stranger.
    """
    rows = np.arange(len(labels))
    scores = nonconformity(probabilities)[rows, labels]
    sample = unit_length(embeddings[:_KNOWN]).astype(np.float16)
    distances = ood_scores(sample, sample, _NEIGHBOURS, themselves=True)
    thresholds = Thresholds(
        coverage=coverage,
        overall=conformal_quantile(scores, coverage),
        per_class=tuple(
            conformal_quantile(scores[labels == each], coverage)
            for each in range(probabilities.shape[1])
        ),
        neighbours=_NEIGHBOURS,
        distance=_share(distances, in_distribution),
    )
    return thresholds, sample


def conformal_quantile(scores: npt.NDArray[np.float64], coverage: float) -> float:
    """Return the ⌈(n + 1) coverage⌉-th smallest of n scores (Angelopoulos and Bates 2021, "A gentle
    introduction to conformal prediction", section 1): a new score of the same source is at most
    that, with a probability of *coverage* or more. Infinity where n is too small to promise it.
    """
    rank = math.ceil(round((len(scores) + 1) * coverage, 9))  # 100 × 0.07 is 7.000000000000001
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def _share(distances: npt.NDArray[np.float64], share: float) -> float:
    """No promise as a conformal one is: for that, 99% would need 99 images, and fewer are better
    held against the farthest of them than against nothing."""
    if not len(distances):
        return math.inf
    return float(np.quantile(distances, share, method="higher"))


def drift_reference(
    predicted: Labels, num_classes: int, measured: Mapping[str, Floats]
) -> dict[str, Any]:
    """Return, as plain JSON, what later batches are compared with.

    *measured*: name → (n,) values, one for each image (confidence, width, brightness, ...). Of
    each, the values of the first images, those of the embeddings, are kept as they are: an exact
    test of two samples needs a sample, and says less of a summary of one.
    """
    return {
        "images": len(predicted),
        "predicted": np.bincount(predicted, minlength=num_classes).tolist(),
        "sample": {
            name: values[:_KNOWN].astype(np.float64).tolist() for name, values in measured.items()
        },
    }


def accuracy_by_confidence(confidence: Floats, right: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Return, as plain JSON, how many of the answers of which confidence were *right*, (n,) each.

    The bins hold as many images each, as nearly as ties allow. `up_to` are the highest
    confidences of all bins but the last, which has no end.
    """
    values = np.asarray(confidence, np.float64)
    bins = min(_BINS, max(1, len(values) // _IN_A_BIN))
    ends = np.quantile(values, np.arange(1, bins) / bins, method="inverted_cdf")
    up_to = np.unique(ends[ends < values.max()])
    bin_of = np.searchsorted(up_to, values)
    return {
        "up_to": up_to.tolist(),
        "images": np.bincount(bin_of, minlength=len(up_to) + 1).tolist(),
        "right": np.bincount(bin_of[right], minlength=len(up_to) + 1).tolist(),
    }


def array_bytes(array: npt.NDArray[Any]) -> bytes:
    """Return *array* as the bytes of an .npy file, without pickle: equal arrays, equal bytes."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()
