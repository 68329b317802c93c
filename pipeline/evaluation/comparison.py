"""Challenger against champion on the same test images: better, not worse, worse, or cannot tell."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

from pipeline.evaluation.difference import Difference, Pair, bounds, by_bootstrap, interval
from pipeline.evaluation.power import ordinal, smallest_difference
from pipeline.evaluation.randomisation import p_value
from pipeline.metrics import LOWER_IS_BETTER, Labels, Probabilities

_RESAMPLES_OF_COUNTS = 10_000  # three numbers each, instead of all images
_WIDE = 0.1
"""A margin above it lets pass what nobody would call as good."""
_SAME = 1e-4  # to which the exported model agrees with the trained one


class Verdict(StrEnum):
    BETTER = "better"
    NOT_WORSE = "not worse"
    WORSE = "worse"
    CANNOT_TELL = "cannot tell"


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
    randomised_p_value: float | None
    """Of any other metric, one-sided, for the side that its bounds are on (randomisation.p_value);
    None where they are on both."""
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
    randomised: float | None = None
    verdict = Verdict.CANNOT_TELL
    if metric == "accuracy" and len(right):
        difference = accuracy_difference(gained, lost, len(right), alpha, seed)
        verdict = judge_accuracy(difference, gained, lost, alpha, margin)
    elif len(right):
        pair = ours, theirs, right
        difference = by_bootstrap(pair, metric, alpha=alpha, margin=margin, seed=seed)
        if difference:
            randomised = _randomised(difference, pair, metric, alpha, seed)
            verdict = _judge(difference, margin, randomised is not None and randomised <= alpha)
    return Comparison(
        metric=metric,
        images=len(right),
        left_out=int(known.sum()),
        only_challenger=gained,
        only_champion=lost,
        p_value=mcnemar(gained, lost),
        randomised_p_value=randomised,
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
    low, high = bounds(drawn, value, alpha)
    low = max(-1, min(low, _tango(only_challenger, only_champion, images, alpha)))
    return Difference(
        value=value,
        interval=interval(drawn),
        low=low,
        high=min(1, max(high, -_tango(only_champion, only_challenger, images, alpha))),
        least=low,
        smallest=smallest_difference(images, (only_challenger + only_champion) / images, alpha),
    )


def judge_accuracy(
    difference: Difference, only_challenger: int, only_champion: int, alpha: float, margin: float
) -> Verdict:
    """As for any metric, with the exact McNemar test for the randomisation test, which it is."""
    side = "greater" if difference.low > 0 else "less"
    return _judge(difference, margin, mcnemar(only_challenger, only_champion, side) <= alpha)


def describe(comparison: Comparison, use: int = 1) -> str:
    """One line for the model's card, in plain words first, then its figures; *use*: how often the
    test images have been opened."""
    c = comparison
    left_out = f"; {c.left_out} that the champion knows are left out" * (c.left_out > 0)
    if c.difference is None:
        return f"cannot tell: {c.images} images do not define {c.metric}{left_out}"
    d = c.difference
    if c.same:
        return f"not worse: the same answers as the champion's on {c.images} images{left_out}"
    shows = "no difference" if d.smallest is None else f"{d.smallest:.4f} or more"
    randomised = (
        "" if c.randomised_p_value is None else f", randomisation p {c.randomised_p_value:.3g}"
    )
    is_up = (d.value >= 0) != (c.metric in LOWER_IS_BETTER)
    return (
        f"{_plain(c, d, use)}{c.metric} {'higher' if is_up else 'lower'} by {abs(d.value):.4f} "
        f"(95% {d.interval[0]:+.4f} to {d.interval[1]:+.4f}, + is better) on {c.images} images"
        f"{left_out}; right alone: challenger {c.only_challenger}, champion {c.only_champion}, "
        f"McNemar p {c.p_value:.3g}{randomised}; at alpha {c.alpha:.2g} this test set shows {shows}"
    )


def _plain(comparison: Comparison, difference: Difference, use: int) -> str:
    """The verdict, and what it means where its name alone would mislead."""
    c, d = comparison, difference
    if c.verdict is Verdict.NOT_WORSE:
        wide = " (a wide margin: much worse models pass it)" * (
            c.margin > _WIDE and c.metric not in LOWER_IS_BETTER
        )
        return f"{c.verdict} by more than {c.margin:g}{wide}: "
    if c.verdict is not Verdict.CANNOT_TELL:
        return f"{c.verdict}: "
    again = f", judged on for the {ordinal(use)} time," * (use > 1)
    if d.value == 0:
        says = f"as good on these {c.images} images{again} but they cannot prove it"
    elif d.interval[0] > 0 or d.interval[1] < 0:
        side = "better" if d.value > 0 else "worse"
        says = f"probably {side}, but these {c.images} images{again} cannot prove it"
    else:
        side = "better" if d.value > 0 else "worse"
        says = f"{side} on these {c.images} images{again} but that may be chance"
    return f"{c.verdict}: {says}; "


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


def _randomised(
    difference: Difference, pair: Pair, metric: str, alpha: float, seed: int
) -> float | None:
    """Costly, so only for what the bounds have found."""
    ours, theirs, labels = pair
    if difference.low > 0:
        return p_value(pair, metric, alpha=alpha, seed=seed)
    if difference.high < 0:
        return p_value((theirs, ours, labels), metric, alpha=alpha, seed=seed)
    return None


def _judge(difference: Difference, margin: float, is_beyond_chance: bool) -> Verdict:
    """*is_beyond_chance*: an exact test, on the side that the bounds are on, finds a difference."""
    if difference.low > 0 and is_beyond_chance:
        return Verdict.BETTER
    if margin > 0 and difference.least >= -margin:
        return Verdict.NOT_WORSE
    if difference.high < 0 and is_beyond_chance:
        return Verdict.WORSE
    return Verdict.CANNOT_TELL
