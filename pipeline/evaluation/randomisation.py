"""Whether one model is above another beyond chance, by any metric: a paired randomisation test.

If the two are exchangeable, each image's two answers may as well have come the other way round. So
they are swapped, image by image, at random: the p-value is the share of swaps after which the first
is at least as far above, the observed order among them (Fisher 1935, The Design of Experiments,
section 21; Noreen 1989, Computer-Intensive Methods for Testing Hypotheses; Yeh 2000, More accurate
tests for the statistical significance of result differences, COLING). Its level holds in samples of
any size, however small a class is. Of accuracy it is McNemar's exact test.
"""

from collections.abc import Iterator

import numpy as np

from pipeline.evaluation.difference import Pair, above
from pipeline.evaluation.resampled import RANKING, Counts, Values

_LEAST_DRAWS = 10_000
_DRAWS_BY_ALPHA = 10
"""Draws times alpha: with 10, a true p-value of half of alpha is missed 3 times in 100."""
_DRAWS_AT_ONCE = 1000
"""At most: then it is asked whether more are needed."""
_WORK = 5 * 10**8
"""Images × draws, and × classes for those that rank: a minute or two."""
_ELEMENTS = 2_000_000
"""Of one array of counts, 16 MB."""
_EQUAL = 1e-9
"""Less than this, and only the order of a sum tells two differences apart."""


def p_value(pair: Pair, metric: str, *, alpha: float, seed: int) -> float:
    """Return the one-sided p-value of the first model's being above the second.

    Draws end as soon as it cannot be at most *alpha* any more; where it is, it rests on all.
    Both models must define the *metric*.
    """
    first, second, labels = pair
    n, num_classes = first.shape
    answers, twice = np.concatenate([first, second]), np.tile(labels, 2)

    def swapped(kept: Counts) -> Values:
        """The difference for each column of *kept*, (n, some): 0 where an image is swapped."""
        ours, theirs = np.concatenate([kept, 1 - kept]), np.concatenate([1 - kept, kept])
        return above(metric, (answers, twice, ours), (answers, twice, theirs))

    observed = swapped(np.ones((n, 1)))[0]
    total = draws_for(alpha, n * num_classes if metric in RANKING else n)
    as_far = drawn = 0
    for kept in _swaps(n, total, seed):
        as_far += int((swapped(kept) >= observed - _EQUAL).sum())
        drawn += kept.shape[1]
        if 1 + as_far > alpha * (1 + total):
            break
    return (1 + as_far) / (1 + drawn)


def draws_for(alpha: float, work: int) -> int:
    """Return how many swaps to draw, each of which costs *work*; with fewer than 1 / alpha no
    p-value could be so small."""
    wanted = max(_LEAST_DRAWS, int(_DRAWS_BY_ALPHA / alpha))
    return max(int(1 / alpha), min(wanted, _WORK // work))


def _swaps(n: int, total: int, seed: int) -> Iterator[Counts]:
    """Some columns of zeros and ones at a time, so that memory stays small; the same for a seed."""
    generator = np.random.default_rng(seed)
    at_once = max(1, min(_DRAWS_AT_ONCE, _ELEMENTS // (2 * n)))
    for start in range(0, total, at_once):
        some = min(at_once, total - start)
        yield generator.integers(2, size=(n, some)).astype(np.float64)
