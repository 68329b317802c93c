"""What the test images say of a challenger: every variant's figures, the gates, the comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.assess import Assessment, Column, assess, worst
from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.comparison import Comparison, Verdict, compare, describe
from pipeline.evaluation.gate import (
    CHAMPION,
    GateRow,
    describe_row,
    judge_gates,
    promoted,
)
from pipeline.evaluation.measure import Measured
from pipeline.evaluation.power import spent
from pipeline.params import ChampionGate, GateParams
from pipeline.serving.variants import FP32

_WORST_FIRST = (Verdict.WORSE, Verdict.CANNOT_TELL, Verdict.NOT_WORSE, Verdict.BETTER)
BEWARE = "BEWARE"
"""Begins the verdict on a model that may be guessing."""
_SEED = 0
"""Of the bootstrap: equal answers are judged equally."""


@dataclass(frozen=True)
class Judgement:
    assessed: Mapping[str, Assessment]
    """By variant, fp32 first."""
    figures: Mapping[str, float]
    """The worst of each over the variants; and latency_p99_ms, where it was measured."""
    intervals: Mapping[str, Interval]
    """95%, of those, each of the variant that is worst."""
    comparisons: Mapping[str, Comparison]
    """By variant of the challenger; none where there is no champion."""
    gates: tuple[GateRow, ...]
    commonest: float
    """What always naming the commonest class would reach."""
    use: int
    """How often these test images have been opened."""

    @property
    def comparison(self) -> Comparison | None:
        """The one that decides: the worst of all variants'."""
        return min(self.comparisons.values(), key=_standing, default=None)

    @property
    def promoted(self) -> bool:
        return promoted(self.gates)

    @property
    def images(self) -> int:
        return next(iter(self.assessed.values())).images

    def as_json(self) -> dict[str, Any]:
        return {
            "variants": {name: each.as_json() for name, each in self.assessed.items()},
            "champion": {name: asdict(each) for name, each in self.comparisons.items()},
            "gates": [asdict(row) for row in self.gates],
            "promoted": self.promoted,
        }


def judge(
    gate: GateParams,
    challenger: Mapping[str, Measured],
    champion: Mapping[str, Measured] | None,
    known: npt.NDArray[np.bool_],
    classes: Sequence[str],
    columns: Mapping[str, Column],
    *,
    use: int,
    latency_p99_ms: float | None = None,
) -> Judgement:
    """Judge the *challenger*'s variants on n test images, of which the champion *known*, (n,).

    *use*: how often these test images have been opened, this time included.
    """
    assessed = {name: assess(found, classes, columns) for name, found in challenger.items()}
    figures = worst(each.figures for each in assessed.values())
    intervals = {
        name: each.intervals[name]
        for name, value in figures.items()
        for each in reversed(assessed.values())
        if each.figures[name] == value and name in each.intervals
    }
    if latency_p99_ms is not None:
        figures["latency_p99_ms"] = latency_p99_ms
    compared = compare_variants(gate.champion, challenger, champion, known, use) if champion else {}
    decisive = min(compared.values(), key=_standing, default=None)
    labels = challenger[FP32].labels
    return Judgement(
        assessed=assessed,
        figures=figures,
        intervals=intervals,
        comparisons=compared,
        gates=judge_gates(gate, figures, decisive),
        commonest=float(np.bincount(labels).max() / len(labels)),
        use=use,
    )


def compare_variants(
    gate: ChampionGate,
    challenger: Mapping[str, Measured],
    champion: Mapping[str, Measured],
    known: npt.NDArray[np.bool_],
    use: int,
) -> dict[str, Comparison]:
    """Compare each variant of the *challenger* with the champion's of that name, else its fp32.

    Which of them serves is settled on another machine, so all must pass, and the worst verdict
    counts. Each is judged at the whole level of this use: to pass all of several tests is never
    likelier by chance than to pass one (intersection-union test; Berger 1982, Technometrics 24,
    p. 295). To choose the worst variant of each by its test figure, and to compare these two,
    would favour the challenger: the lowest of a champion's figures is too low by chance.
    """
    alpha = spent(gate.alpha, use)
    return {
        name: compare(
            ours.probabilities,
            champion.get(name, champion[FP32]).probabilities,
            ours.labels,
            known,
            metric=gate.metric,
            alpha=alpha,
            margin=gate.margin,
            seed=_SEED,
        )
        for name, ours in challenger.items()
    }


def verdict(judgement: Judgement) -> str:
    """One line: a warning where it may be guessing, whether it is promoted, and why."""
    failed = [describe_row(r) for r in judgement.gates if not r.passed and r.name != CHAMPION]
    comparison = judgement.comparison
    against = describe(comparison, judgement.use) if comparison else "there was no champion"
    line = "; ".join(["promoted" if judgement.promoted else "not promoted", *failed, against])
    if judgement.intervals["accuracy"][0] <= judgement.commonest:
        line = (
            f"{BEWARE}: not surely better than always naming the commonest class "
            f"({judgement.commonest:.4f}); {line}"
        )
    return line


def _standing(comparison: Comparison) -> tuple[int, float]:
    low = comparison.difference.low if comparison.difference else -np.inf
    return _WORST_FIRST.index(comparison.verdict), low
