"""How far one model is above another by any metric: a paired bootstrap, and its bounds."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from pipeline.evaluation.bootstrap import Interval, draws
from pipeline.evaluation.power import POWER
from pipeline.evaluation.resampled import RANKING, Counts, Values, counting, losses, ranking
from pipeline.metrics import LOWER_IS_BETTER, Labels, Probabilities

RESAMPLES = 2000

Pair = tuple[Probabilities, Probabilities, Labels]
"""The challenger's and the champion's answers, each (n, num_classes), and what is right, (n,)."""
Counted = tuple[Probabilities, Labels, Counts]


@dataclass(frozen=True)
class Difference:
    """How far the challenger is above the champion; negative where it is worse, always."""

    value: float
    interval: Interval
    """95%, paired percentile bootstrap."""
    low: float
    """One-sided bound at the level of the comparison: the true difference is surely above."""
    high: float
    """The other one-sided bound."""
    least: float
    """As `low`, with room for what these images have not shown: a margin is held against it."""
    smallest: float | None
    """The smallest true difference that this test set shows with power 0.8; None: it shows none."""


def by_bootstrap(
    pair: Pair, metric: str, *, alpha: float, margin: float, seed: int
) -> Difference | None:
    """Of any metric; None where the images do not define it. For accuracy there are better bounds:
    comparison.accuracy_difference."""
    value, drawn = _drawn(pair, metric, seed)
    if np.isnan(value):
        return None
    low, high = bounds(drawn, value, alpha)
    least = low
    if margin > 0 and -margin <= low:  # elsewhere it decides nothing
        value_of_more, drawn_of_more = _drawn(with_one_more(pair, metric), metric, seed)
        least = min(low, bounds(drawn_of_more, value_of_more, alpha)[0])
    smallest = float((norm.isf(alpha) + norm.ppf(POWER)) * drawn.std())
    return Difference(value, interval(drawn), low, high, least, smallest)


def with_one_more(pair: Pair, metric: str) -> Pair:
    """Add one image, the least favourable to the challenger.

    A bootstrap draws from what the images have shown: of two models that answer alike on all of
    them it says that they always do, and so of a class of three. One image more of the smallest
    class, of which the champion is right and sure, and the challenger wrong and sure, leaves about
    the room of the rule of three (Hanley and Lippman-Hand 1983, JAMA 249, p. 1743; added counts for
    matched pairs: Agresti and Min 2005, Statistics in Medicine 24, p. 729). Log loss has no least
    favourable image: it gets another one like that on which the challenger is furthest behind.
    """
    ours, theirs, labels = pair
    if metric == "log_loss":
        behind = np.argmax(losses(ours, labels) - losses(theirs, labels))
        more = ours[behind], theirs[behind], labels[behind]
    else:
        support, sure = np.bincount(labels, minlength=ours.shape[1]), np.eye(ours.shape[1])
        smallest = np.where(support > 0, support, support.max() + 1).argmin()
        support[smallest] = -1
        more = sure[support.argmax()], sure[smallest], smallest
    return (
        np.concatenate([ours, more[0][None]]),
        np.concatenate([theirs, more[1][None]]),
        np.append(labels, more[2]),
    )


def above(metric: str, ours: Counted, theirs: Counted) -> Values:
    """By how much *ours* is above *theirs*, for each column of counts; negative where below."""
    measure = ranking if metric in RANKING else counting
    difference = measure(*ours).figures[metric] - measure(*theirs).figures[metric]
    return -difference if metric in LOWER_IS_BETTER else difference


def bounds(drawn: Values, value: float, alpha: float) -> tuple[float, float]:
    """The wider of the percentile and the normal bounds: far tails, for a spent alpha, are not
    among a few thousand resamples (Efron and Tibshirani 1993, chapters 12 and 13)."""
    low, high = np.quantile(drawn, (alpha, 1 - alpha))
    reach = norm.isf(alpha) * drawn.std()
    return float(min(low, value - reach)), float(max(high, value + reach))


def interval(drawn: Values) -> Interval:
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def _drawn(pair: Pair, metric: str, seed: int) -> tuple[float, Values]:
    """The difference on these images, and on resamples of them."""
    ours, theirs, labels = pair

    def of(counts: Counts) -> Values:
        return above(metric, (ours, labels, counts), (theirs, labels, counts))

    value = float(of(np.ones((len(labels), 1)))[0])
    drawn = np.concatenate([of(counts) for counts in draws(len(labels), RESAMPLES, seed)])
    return value, drawn[~np.isnan(drawn)]  # a resample of one class defines no roc_auc
