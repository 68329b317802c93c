"""Challenger against champion on the same test images: better, not worse, worse, or cannot tell."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

from pipeline.evaluation.bootstrap import Interval, draws
from pipeline.evaluation.power import POWER, smallest_difference
from pipeline.evaluation.resampled import RANKING, Values, counting, ranking
from pipeline.metrics import LOWER_IS_BETTER, Labels, Probabilities

RESAMPLES = 2000
_RESAMPLES_OF_COUNTS = 10_000  # three numbers each, instead of all images
_SAME = 1e-4  # to which the exported model agrees with the trained one


class Verdict(StrEnum):
    BETTER = "better"
    NOT_WORSE = "not worse"
    WORSE = "worse"
    CANNOT_TELL = "cannot tell"


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
    smallest: float | None
    """The smallest true difference that this test set shows with power 0.8; None: it shows none."""


@dataclass(frozen=True)
class Comparison:
    metric: str
    images: int
    """Compared on."""
    left_out: int
    """Test images that the champion knows."""
    only_challenger: int
    """Images that the challenger alone gets right."""
    only_champion: int
    p_value: float
    """Of equal accuracy, two-sided: McNemar's exact test (McNemar 1947, Psychometrika 12)."""
    alpha: float
    """Level of this comparison, one-sided."""
    margin: float
    """By which "not worse" may be worse."""
    same: bool
    """The two give the same probabilities, to 0.0001."""
    difference: Difference | None
    """Of the metric; None where no image is left, or they do not define it."""
    verdict: Verdict


def compare(
    challenger: Probabilities,
    champion: Probabilities,
    labels: Labels,
    known: npt.NDArray[np.bool_],
    *,
    metric: str,
    alpha: float,
    margin: float,
    seed: int,
) -> Comparison:
    """Compare two models, (n, num_classes) each, on the images not in *known*, (n,).

    *known* are those that the champion was trained or validated on; *alpha* is this use's share
    (power.spent); *metric* is a name in metrics.figures. A model that answers like the champion is
    not worse, whatever the margin.
    """
    ours, theirs, right = challenger[~known], champion[~known], labels[~known]
    hit, champion_hit = ours.argmax(1) == right, theirs.argmax(1) == right
    gained, lost = int((hit & ~champion_hit).sum()), int((~hit & champion_hit).sum())
    # On all images: that two models are one is no estimate, so known images may tell it too
    same = len(right) > 0 and bool(np.allclose(challenger, champion, rtol=0, atol=_SAME))
    difference: Difference | None = None
    verdict = Verdict.CANNOT_TELL
    if metric == "accuracy" and len(right):
        difference = accuracy_difference(gained, lost, len(right), alpha, seed)
        verdict = judge_accuracy(difference, gained, lost, alpha, margin)
    elif len(right):
        difference = _difference(ours, theirs, right, metric, alpha, seed)
        verdict = _judge(difference, margin) if difference else verdict
    return Comparison(
        metric=metric,
        images=len(right),
        left_out=int(known.sum()),
        only_challenger=gained,
        only_champion=lost,
        p_value=mcnemar(gained, lost),
        alpha=alpha,
        margin=margin,
        same=same,
        difference=difference,
        verdict=Verdict.NOT_WORSE if same else verdict,
    )


def mcnemar(only_challenger: int, only_champion: int, alternative: str = "two-sided") -> float:
    """Return the exact p-value of equal accuracy; `greater`: against the challenger's being above.

    It is 1 where the two are right on the same images.
    """
    discordant = only_challenger + only_champion
    if discordant == 0:
        return 1.0
    return float(binomtest(only_challenger, discordant, 0.5, alternative=alternative).pvalue)


def accuracy_difference(
    only_challenger: int, only_champion: int, images: int, alpha: float, seed: int
) -> Difference:
    """The difference of accuracies: the paired bootstrap, and bounds that hold in small samples.

    A resample of the images is a multinomial draw of the three counts. The bounds are the wider of
    the bootstrap's and of Tango's score interval (1998, Statistics in Medicine 17, p. 891). The
    bootstrap alone let a model worse by all of a margin of 0.02 pass at alpha 0.05 in 12% of 2,000
    sets of 100 images with 2% discordance, Tango's in 5% at most.
    """
    counts = np.array([only_challenger, only_champion, images - only_challenger - only_champion])
    generator = np.random.default_rng(seed)
    drawn_counts = generator.multinomial(images, counts / images, _RESAMPLES_OF_COUNTS)
    drawn = (drawn_counts[:, 0] - drawn_counts[:, 1]) / images
    value = (only_challenger - only_champion) / images
    low, high = _bounds(drawn, value, alpha)
    return Difference(
        value=value,
        interval=_interval(drawn),
        low=max(-1, min(low, _tango(only_challenger, only_champion, images, alpha))),
        high=min(1, max(high, -_tango(only_champion, only_challenger, images, alpha))),
        smallest=smallest_difference(images, (only_challenger + only_champion) / images, alpha),
    )


def judge_accuracy(
    difference: Difference, only_challenger: int, only_champion: int, alpha: float, margin: float
) -> Verdict:
    """As for any metric; better and worse need the exact McNemar test beside the bound."""
    verdict = _judge(difference, margin)
    above = mcnemar(only_challenger, only_champion, "greater") <= alpha
    below = mcnemar(only_challenger, only_champion, "less") <= alpha
    if verdict is Verdict.BETTER and not above:
        verdict = Verdict.NOT_WORSE if margin > 0 else Verdict.CANNOT_TELL
    if verdict is Verdict.WORSE and not below:
        verdict = Verdict.CANNOT_TELL
    return verdict


def describe(comparison: Comparison) -> str:
    """One line for the model's card."""
    c = comparison
    left_out = f"; {c.left_out} that the champion knows are left out" * (c.left_out > 0)
    if c.difference is None:
        return f"cannot tell: {c.images} images do not define {c.metric}{left_out}"
    d = c.difference
    if c.same:
        return f"not worse: the same answers as the champion's on {c.images} images{left_out}"
    shows = "no difference" if d.smallest is None else f"{d.smallest:.4f} or more"
    is_up = (d.value >= 0) != (c.metric in LOWER_IS_BETTER)
    return (
        f"{c.verdict}: {c.metric} {'higher' if is_up else 'lower'} by {abs(d.value):.4f} "
        f"(95% {d.interval[0]:+.4f} to {d.interval[1]:+.4f}, + is better) on {c.images} images"
        f"{left_out}; right alone: challenger {c.only_challenger}, champion {c.only_champion}, "
        f"McNemar p {c.p_value:.3g}; at alpha {c.alpha:.2g} this test set shows {shows}"
    )


def _difference(
    ours: Probabilities, theirs: Probabilities, labels: Labels, metric: str, alpha: float, seed: int
) -> Difference | None:
    measure = ranking if metric in RANKING else counting
    sign = -1 if metric in LOWER_IS_BETTER else 1

    def of(counts: Values) -> Values:
        above, below = (measure(p, labels, counts).figures[metric] for p in (ours, theirs))
        return sign * (above - below)

    value = float(of(np.ones((len(labels), 1)))[0])
    if np.isnan(value):
        return None
    drawn = np.concatenate([of(counts) for counts in draws(len(labels), RESAMPLES, seed)])
    drawn = drawn[~np.isnan(drawn)]  # a resample of one class defines no roc_auc
    low, high = _bounds(drawn, value, alpha)
    needed = float((norm.isf(alpha) + norm.ppf(POWER)) * drawn.std())
    return Difference(value, _interval(drawn), low, high, needed)


def _bounds(drawn: Values, value: float, alpha: float) -> tuple[float, float]:
    """The wider of the percentile and the normal bounds: far tails, for a spent alpha, are not
    among a few thousand resamples (Efron and Tibshirani 1993, chapters 12 and 13)."""
    low, high = np.quantile(drawn, (alpha, 1 - alpha))
    reach = norm.isf(alpha) * drawn.std()
    return float(min(low, value - reach)), float(max(high, value + reach))


def _interval(drawn: Values) -> Interval:
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(low), float(high)


def _tango(gained: int, lost: int, images: int, alpha: float) -> float:
    """Lower one-sided bound of (gained - lost) / images."""

    def lacking(bound: float) -> float:
        b = (2 * images - gained + lost) * bound - gained - lost
        free = lost * bound * (1 - bound)
        share = (np.sqrt(b**2 + 8 * images * free) - b) / (4 * images)
        spread = np.sqrt(images * (2 * share + bound * (1 - bound)))
        return float((gained - lost - images * bound) / spread - norm.isf(alpha))

    value, least = (gained - lost) / images, -1 + 1e-9
    if lacking(least) <= 0:
        return -1.0
    return float(brentq(lacking, least, value - 1e-12))


def _judge(difference: Difference, margin: float) -> Verdict:
    if difference.low > 0:
        return Verdict.BETTER
    if margin > 0 and difference.low >= -margin:
        return Verdict.NOT_WORSE
    return Verdict.WORSE if difference.high < 0 else Verdict.CANNOT_TELL
