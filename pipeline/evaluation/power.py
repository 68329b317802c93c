"""What a test set can show: alpha spent over its uses, and the power of the exact McNemar test."""

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom

POWER = 0.8


def spent(alpha: float, use: int) -> float:
    """Return the level for the *use*-th look at one test set, from 1: alpha / (use · (use + 1)).

    The levels of all looks, however many there will be, sum to *alpha*, so that all together
    promote by chance with at most that probability: alpha-spending (Tian and Ramdas 2021, Online
    control of the familywise error rate, Statistical Methods in Medical Research 30(4)). That
    asks only that each p-value be valid by itself, not that they be independent. A challenger
    made by looking at the test images, or tuned on earlier verdicts, has no valid one.
    """
    return alpha / (use * (use + 1))


def ordinal(use: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, ... for the number of a use."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(use % 10, "th")
    return f"{use}{'th' if use % 100 in (11, 12, 13) else ending}"


def power(images: int, discordance: float, difference: float, alpha: float) -> float:
    """Return how often an accuracy higher by *difference* is shown, at the one-sided level *alpha*.

    *discordance* is the share of images that exactly one of the two models gets right; it is at
    least *difference*. Summed exactly over the discordant images that may turn up (Connor 1987,
    Biometrics 43, p. 207, has the approximation).
    """
    discordance = max(discordance, difference)
    if discordance == 0:
        return 0.0
    low, high = binom.interval(1 - 1e-9, images, discordance)
    discordant = np.arange(max(low, 1), high + 1)
    needed = binom.isf(alpha, discordant, 0.5) + 1
    of_challenger = 0.5 + difference / discordance / 2
    shown = binom.sf(needed - 1, discordant, of_challenger)
    return float((binom.pmf(discordant, images, discordance) * shown).sum())


def smallest_difference(images: int, discordance: float, alpha: float) -> float | None:
    """Return the difference in accuracy that is shown with POWER; None where no difference is."""

    def lacking(difference: float) -> float:
        return power(images, discordance, difference, alpha) - POWER

    if images == 0 or lacking(1.0) < 0:
        return None
    return float(brentq(lacking, 0.0, 1.0, xtol=1e-6))
