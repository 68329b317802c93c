"""How often the gate promotes by chance where it judges by another metric than accuracy.

`python benchmarks/gate_metrics.py [METRIC ...]`: draws 5,000 pairs of models that answer 100 images
at alpha 0.05, of three equal classes or of five, of which the smallest have two or three images.
First two of equal quality, either one model with noise of two sorts, or two of which each is better
at a class of its own: how often one is promoted as better. Then two that are seldom apart, of which
one is worse by the whole margin of 0.05: how often it passes as not worse. Beside each, what the
bootstrap's bound alone lets pass. Prints one JSON object a line for each bar; takes eight
minutes for each metric, of those that rank three quarters of an hour.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from gate import ALPHA, by_chance
from scipy.optimize import brentq

from pipeline.evaluation.comparison import Comparison, Verdict, compare
from pipeline.evaluation.difference import Pair, above

METRICS = ("macro_f1", "balanced_accuracy", "weighted_f1", "log_loss")
PAIRS = 5000
IMAGES = 100
CLASSES = {"3 equal classes": (1 / 3, 1 / 3, 1 / 3), "tiny classes": (0.6, 0.3, 0.05, 0.03, 0.02)}
MARGIN = 0.05
MANY = 300_000
"""Images on which two models are made to differ by the margin."""


@dataclass(frozen=True)
class Models:
    """Two that see the same images: what they share, noise of their own, and skill by class."""

    shares: tuple[float, ...]
    skill: tuple[float, ...]
    champion_skill: tuple[float, ...]
    noise: float
    """How far they are apart."""

    def answer(self, generator: np.random.Generator, images: int) -> Pair:
        labels = generator.choice(len(self.shares), images, p=self.shares)
        shape = images, len(self.shares)
        right, shared = np.eye(shape[1])[labels], generator.normal(size=shape)
        ours, theirs = (
            _softmax(shared + self.noise * generator.normal(size=shape) + skill * right)
            for skill in (np.array(s)[labels, None] for s in (self.skill, self.champion_skill))
        )
        return ours, theirs, labels


def main(metrics: list[str]) -> None:
    for metric in metrics:
        for name, shares in CLASSES.items():
            even = (2.5,) * len(shares)
            alike = Models(shares, even, even, noise=0.5)
            _promoted(f"{metric}, equal quality, {name}", metric, alike)
            worse = replace(alike, noise=0.05)
            worse = replace(worse, skill=_worse_by_the_margin(metric, worse))
            _passed(f"{metric}, worse by {MARGIN}, {name}", metric, worse)
        unlike = Models(CLASSES["3 equal classes"], (3.5, 1.5, 2.5), (1.5, 3.5, 2.5), noise=0.5)
        _promoted(f"{metric}, equal quality, better at one class, worse at another", metric, unlike)


def _promoted(name: str, metric: str, models: Models) -> None:
    found = list(_compared(metric, models, margin=0.0))
    _tell_alone(f"{name}: bound above 0", [c.difference.low > 0 for c in found if c.difference])
    better = [c.verdict is Verdict.BETTER for c in found]
    by_chance(f"promoted as better by {name}", _share(better), PAIRS)


def _passed(name: str, metric: str, models: Models) -> None:
    found = list(_compared(metric, models, margin=MARGIN))
    alone = [c.difference.low >= -MARGIN for c in found if c.difference]
    _tell_alone(f"{name}: bound above -margin", alone)
    passed = [c.verdict in (Verdict.BETTER, Verdict.NOT_WORSE) for c in found]
    by_chance(f"passed as not worse by {name}", _share(passed), PAIRS)


def _compared(metric: str, models: Models, margin: float) -> Iterator[Comparison]:
    generator = np.random.default_rng(0)
    known = np.zeros(IMAGES, bool)
    for _ in range(PAIRS):
        pair = models.answer(generator, IMAGES)
        yield compare(*pair, known, metric=metric, alpha=ALPHA, margin=margin, seed=0)


def _worse_by_the_margin(metric: str, models: Models) -> tuple[float, ...]:
    """Return the skill that makes the challenger worse by MARGIN, in all classes alike."""
    ones = np.ones((MANY, 1))

    def lowered(by: float) -> tuple[float, ...]:
        return tuple(skill - by for skill in models.champion_skill)

    def beyond(by: float) -> float:
        lower = replace(models, skill=lowered(by))
        ours, theirs, labels = lower.answer(np.random.default_rng(1), MANY)
        return float(above(metric, (ours, labels, ones), (theirs, labels, ones))[0]) + MARGIN

    return lowered(brentq(beyond, 0.0, 2.0, xtol=1e-3))


def _softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(2 * logits)
    return raised / raised.sum(1, keepdims=True)


def _tell_alone(name: str, found: list[bool]) -> None:
    print(f"  {name}, by the bootstrap alone: {_share(found):.4f}", flush=True)


def _share(found: list[bool]) -> float:
    return float(np.mean(found))


if __name__ == "__main__":
    main(sys.argv[1:] or list(METRICS))
