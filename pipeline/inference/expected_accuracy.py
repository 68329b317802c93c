"""How often a batch's answers are right, before anybody has looked: from their confidences.

Confidence-based performance estimation, as NannyML documents it (nannyml.readthedocs.io, "How it
works: Estimation of Performance of the Monitored Model", CBPE): the expected accuracy is the mean
of calibrated confidences. It follows the images to harder ones, whose confidences are lower; it
does not see that right has come to mean something else, nor images unlike any the model knows.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.inference.reference import Reliability, Values
from pipeline.words import images

Interval = tuple[float, float]

_DRAWS = 10_000
_SHARE = 0.99
"""As NannyML's band of three standard errors, "about 99% of cases" ("Calculating Sampling Error").
A narrower one is left by chance too often by somebody who gets a batch a day."""
_PRIOR = 2.0
"""Validation images as which a confidence itself counts, in its bin."""
_SURE = 1e-6
"""No answer is surer than that, to be right or wrong."""


@dataclass(frozen=True)
class ExpectedAccuracy:
    images: int
    accuracy: float
    """Share of right answers to expect, 0 to 1."""
    interval: Interval
    """Where that share, once measured on all of these images, lies in 99 of 100 batches."""


def expect(confidence: Values, reliability: Reliability | None) -> ExpectedAccuracy | None:
    """Return what to expect of answers with these *confidence*s, (n,); None where there is no
    answer, or the model does not say how often it was right.

    A confidence is calibrated by the validation answers of its bin: as often as they were right
    (with what the model itself says for two more of them). The interval holds both chances:
    which of these images are right, and that few validation images say how often that happens
    (a beta-binomial in each bin, drawn). NaN is no confidence: 0.
    """
    if reliability is None or not len(confidence):
        return None
    said = np.sort(np.nan_to_num(confidence))  # sums are then the same in any order
    bin_of = np.searchsorted(reliability.up_to, said)
    bins = len(reliability.images)
    images = np.bincount(bin_of, minlength=bins)
    said = np.clip(said, _SURE, 1 - _SURE)
    mean = np.bincount(bin_of, said, minlength=bins) / np.maximum(images, 1)
    filled = images > 0
    images, mean = images[filled], mean[filled]
    right = reliability.right[filled] + _PRIOR * mean
    wrong = (reliability.images - reliability.right)[filled] + _PRIOR * (1 - mean)
    random = np.random.default_rng(0)
    shares = random.beta(right, wrong, size=(_DRAWS, len(images)))
    drawn = random.binomial(images, shares).sum(1) / len(confidence)
    low = np.quantile(drawn, (1 - _SHARE) / 2, method="inverted_cdf")
    high = np.quantile(drawn, (1 + _SHARE) / 2, method="inverted_cdf")
    accuracy = float((images * right / (right + wrong)).sum() / len(confidence))
    return ExpectedAccuracy(
        len(confidence), accuracy, (float(min(low, accuracy)), float(max(high, accuracy)))
    )


def describe(expected: ExpectedAccuracy | None, drifted: bool) -> str:
    """One line for people."""
    if expected is None:
        return (
            "no expected accuracy: no image has a label, or the model was sealed before it "
            "recorded how often it is right at which confidence"
        )
    low, high = expected.interval
    known = (
        "but this batch has drifted, which makes that a guess"
        if drifted
        else "if the images are of the kind that it knows"
    )
    return (
        f"expected accuracy {expected.accuracy:.3f} (99%: {low:.3f} to {high:.3f}), {known}: "
        f"{images(expected.images)}"
    )
