"""How often the gate promotes by chance, and what it can show: `python benchmarks/gate.py`.

Draws 2,000 pairs of models whose true accuracies are equal, for test sets of 100 and 1,000 images
of which 5 to 25% are discordant (one model alone is right), and has the gate compare them at alpha
0.05: once, as the first use of a test set, and in 20 uses with alpha spent, where a test set
counts as failed when any use promotes. Beside it, what "not worse" lets pass when the challenger
is worse by the whole margin, and the power table. Prints one JSON object a line for each bar; takes
about two minutes. Other metrics: benchmarks/gate_metrics.py.
"""

import json
from functools import cache
from math import sqrt

import numpy as np

from pipeline.evaluation.comparison import (
    Verdict,
    accuracy_difference,
    judge_accuracy,
    mcnemar,
)
from pipeline.evaluation.power import POWER, power, smallest_difference, spent

ALPHA = 0.05
PAIRS = 2000
USES = 20
SIZES = (100, 1000)
DISCORDANCES = (0.05, 0.10, 0.15, 0.20, 0.25)
MARGIN = 0.02
SHOWN = 300
"""Pairs for each cell of the power table."""


def main() -> None:
    generator = np.random.default_rng(0)
    for images in SIZES:
        for discordance in DISCORDANCES:
            name = f"promoted as better, equal accuracy, n={images}, {discordance:.0%} discordant"
            drawn = _pairs(generator, images, discordance, 0.0)
            once = [_is_better(b, c, images, ALPHA) for b, c in drawn]
            by_chance(f"{name}, alpha whole", float(np.mean(once)))
            by_chance(f"{name}, any of {USES} uses", _any_use(generator, images, discordance))
    for images in SIZES:
        for discordance in (0.02, 0.05, 0.15):
            drawn = _pairs(generator, images, discordance, -MARGIN)
            passed = [
                _verdict(b, c, images, ALPHA, MARGIN) in (Verdict.BETTER, Verdict.NOT_WORSE)
                for b, c in drawn
            ]
            name = f"passed as not worse, worse by {MARGIN}, n={images}, {discordance:.0%} apart"
            by_chance(name, float(np.mean(passed)))
    _power_table(generator)


def _any_use(generator: np.random.Generator, images: int, discordance: float) -> float:
    """Share of test sets on which one of USES equally accurate challengers is promoted.

    The uses share the set: each image is one that the champion gets right or not, for all of them.
    """
    failed = 0
    for _ in range(PAIRS):
        known = generator.binomial(images, 0.8)  # the champion's right ones, of this set
        lost = generator.binomial(known, discordance / 2 / 0.8, USES)
        gained = generator.binomial(images - known, discordance / 2 / 0.2, USES)
        failed += any(
            _is_better(int(b), int(c), images, spent(ALPHA, use))
            for use, (b, c) in enumerate(zip(gained, lost, strict=True), 1)
        )
    return failed / PAIRS


def _power_table(generator: np.random.Generator) -> None:
    """The smallest difference shown with power 0.8, and how often the whole gate shows it."""
    print(f"smallest difference shown with power {POWER}, at alpha {ALPHA} spent; simulated power")
    print("  images  discordant  use 1            use 5            use 20")
    shown_all = []
    for images in SIZES:
        for discordance in DISCORDANCES:
            cells = []
            for use in (1, 5, USES):
                alpha = spent(ALPHA, use)
                smallest = smallest_difference(images, discordance, alpha)
                drawn = _pairs(generator, images, max(discordance, smallest), smallest)[:SHOWN]
                shown = float(np.mean([_is_better(b, c, images, alpha) for b, c in drawn]))
                shown_all.append(abs(shown - power(images, discordance, smallest, alpha)))
                cells.append(f"{smallest:.4f} ({shown:.3f})")
            print(f"  {images:6}  {discordance:10.0%}  " + "  ".join(cells), flush=True)
    _tell(
        "power table, largest gap to the simulated power",
        max(shown_all),
        4 * sqrt(POWER * (1 - POWER) / SHOWN),
    )


def _pairs(
    generator: np.random.Generator, images: int, discordance: float, difference: float
) -> list[tuple[int, int]]:
    """Images that the challenger, and that the champion, alone gets right."""
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    return [(int(b), int(c)) for b, c, _ in generator.multinomial(images, shares, PAIRS)]


def _is_better(gained: int, lost: int, images: int, alpha: float) -> bool:
    if _p_value(gained, lost) > alpha:  # the gate needs this test, so that its bounds can be spared
        return False
    return _verdict(gained, lost, images, alpha, 0.0) is Verdict.BETTER


@cache
def _p_value(gained: int, lost: int) -> float:
    return mcnemar(gained, lost, "greater")


@cache
def _verdict(gained: int, lost: int, images: int, alpha: float, margin: float) -> Verdict:
    difference = accuracy_difference(gained, lost, images, alpha, seed=0)
    return judge_accuracy(difference, gained, lost, alpha, margin)


def by_chance(name: str, value: float, pairs: int = PAIRS) -> None:
    """Hold a share of *pairs* against ALPHA, and two standard errors of such a share."""
    _tell(name, value, ALPHA + 2 * sqrt(ALPHA * (1 - ALPHA) / pairs))


def _tell(name: str, value: float, bar: float) -> None:
    told = {"name": name, "value": round(value, 4), "bar": round(bar, 4), "met": bool(value <= bar)}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
