"""Do two samples come from one source? A distance, and the probability of one as large by chance.

Each test is exact for any size, one image included, where the images are drawn independently:
its p-value is at most p with a probability of p. Those by resampling are the same every time.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

from pipeline.serving.abstention import Floats, unit_length

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]

_RESAMPLES = 1999
"""p-values end at 0.0005."""
_EXACT = 1000
"""Values up to which SciPy counts paths; above, its limit distribution is as good."""
_EMBEDDINGS = 1000
"""Of a larger batch, a sample of so many is compared: memory and time grow with the square."""
_BINS = 10
_EMPTY = 1e-4
"""Share that stands for an empty bin in the PSI, whose logarithm is else infinite."""


@dataclass(frozen=True)
class Tested:
    distance: float
    """0 where the two samples are alike."""
    p_value: float
    """Of a distance as large, were there but one source."""


def kolmogorov_smirnov(reference: Values, values: Values) -> Tested:
    """The largest difference between the shares of both samples that lie below some value, 0 to 1
    (SciPy's test; with ties its p-value is too large, never too small).

    NaN counts as larger than any number.
    """
    ours, theirs = _ordered(values), _ordered(reference)
    method = "exact" if max(len(ours), len(theirs)) <= _EXACT else "asymp"
    with warnings.catch_warnings():  # where rounding makes p a little more than 1
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful")
        found = ks_2samp(ours, theirs, method=method)
    return Tested(float(found.statistic), float(min(1, found.pvalue)))


def same_shares(reference: Counts, counts: Counts) -> Tested:
    """The total variation distance of two counts by class, 0 to 1; tested by Pearson's chi-square,
    of which the p-value comes from drawing the smaller sample out of both again: the limit
    distribution is wrong where classes are rare or images few."""
    pooled = reference + counts
    known = pooled > 0
    expected = counts.sum() * pooled[known] / pooled.sum()

    def chi_square(drawn: Counts) -> Values:
        squares: Values = ((drawn[..., known] - expected) ** 2 / expected).sum(-1)
        return squares

    random = np.random.default_rng(0)
    drawn = random.multivariate_hypergeometric(
        pooled, int(counts.sum()), size=_RESAMPLES, method="marginals"
    )
    shares = reference / reference.sum() - counts / counts.sum()
    p_value = _share_of(chi_square(drawn), float(chi_square(counts)), tolerance=1e-9)
    return Tested(float(np.abs(shares).sum() / 2), p_value)


def energy(reference: Floats, embeddings: Floats) -> Tested:
    """The energy distance of two sets of embeddings, (m, width) and (n, width), each put to length
    1 (Székely and Rizzo 2013, "Energy statistics: a class of statistics based on distances"); its
    p-value by permutation. It is 0 only where the two distributions are one, and, unlike a
    Gaussian kernel's MMD, it has no width to choose.

    Lengths are left out, as in the score of strangeness. What is no number is as far from all
    others as can be.
    """
    random = np.random.default_rng(0)
    if len(embeddings) > _EMBEDDINGS:
        chosen = np.sort(random.choice(len(embeddings), _EMBEDDINGS, replace=False))
        embeddings = embeddings[chosen]
    distances = _distances(np.concatenate([embeddings, reference]).astype(np.float32))
    ours = np.zeros((1 + _RESAMPLES, len(distances)), np.float32)
    ours[:, : len(embeddings)] = 1
    ours[1:] = random.permuted(ours[1:], axis=1)
    found = _energies(distances, ours)
    p_value = _share_of(found[1:], float(found[0]), tolerance=1e-5 * float(distances.mean()))
    return Tested(max(0.0, float(found[0])), p_value)


def psi(reference: Values, values: Values) -> float:
    """The population stability index over the reference's deciles, and what lies beyond its ends.

    It has no p-value: of few images it is large by chance.
    """
    theirs = _ordered(reference)
    ends = np.quantile(theirs, np.linspace(0, 1, _BINS + 1), method="inverted_cdf")
    edges = np.unique([*ends, np.nextafter(ends[-1], np.inf)])  # the largest is inside
    binned = [
        np.bincount(np.searchsorted(edges, each, side="right"), minlength=len(edges) + 1)
        for each in (theirs, _ordered(values))
    ]
    return psi_of_counts(*binned)


def psi_of_counts(reference: Counts, counts: Counts) -> float:
    before, after = (np.maximum(each / each.sum(), _EMPTY) for each in (reference, counts))
    return float(((after - before) * np.log(after / before)).sum())


def _energies(distances: npt.NDArray[np.float32], ours: npt.NDArray[np.float32]) -> Values:
    """Return the energy distance of each row of *ours* (k, n + m), 1 for the one sample, 0 for the
    other, given the *distances* of all to all."""
    n = int(ours[0].sum())
    m = ours.shape[1] - n
    to_ours = ours @ distances
    within = (to_ours * ours).sum(1, dtype=np.float64)
    from_ours = to_ours.sum(1, dtype=np.float64)
    others = distances.sum(dtype=np.float64) - 2 * from_ours + within
    found: Values = 2 * (from_ours - within) / (n * m) - within / n**2 - others / m**2
    return found


def _share_of(drawn: Values, found: float, tolerance: float) -> float:
    """The p-value of *found* among as many *drawn* by chance; equal but for rounding is equal."""
    return float((1 + (drawn >= found - tolerance).sum()) / (1 + len(drawn)))


def _ordered(values: Values) -> Values:
    """To six digits: where one machine's sure network says 1, another's says 0.99999994, by the
    order in which it adds, and that is no drift."""
    numbers = np.asarray(values, np.float64)
    rounded: Values = np.where(np.isnan(numbers), np.inf, numbers).round(6)
    return rounded


def _distances(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return those of all directions to all, 0 to 2; in half precision, as a model keeps its own,
    whose length is 1 already."""
    finite = np.isfinite(embeddings).all(axis=1, keepdims=True)
    unit = unit_length(np.where(finite, embeddings, np.float32(0)))
    directions = unit.astype(np.float16).astype(np.float32)
    found: npt.NDArray[np.float32] = np.sqrt(np.maximum(2 - 2 * directions @ directions.T, 0))
    found[finite != finite.T] = 2
    found[~finite & ~finite.T] = 0
    np.fill_diagonal(found, 0)
    return found
