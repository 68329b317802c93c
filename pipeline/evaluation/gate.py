"""Whether a challenger may serve."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.evaluation.comparison import Comparison, Verdict
from pipeline.metrics import LOWER_IS_BETTER
from pipeline.params import ChampionGate, GateParams

_LESS_IS_BETTER = LOWER_IS_BETTER | {"latency_p99_ms", "mean_set_size", "abstained"}


@dataclass(frozen=True)
class GateRow:
    """One gate, judged."""

    name: str
    """A figure, or `champion`."""
    value: float | None
    """What was measured; of champion, how far the challenger is above it."""
    bound: float | None
    """The least or greatest value that passes; None where there is no champion."""
    passed: bool
    verdict: str
    """`passed`, `failed` or `not measured`; of champion the comparison's, or `no champion`."""


def judge_gates(
    gate: GateParams, figures: Mapping[str, float], comparison: Comparison | None
) -> tuple[GateRow, ...]:
    """Judge every declared gate; a figure that is missing or no number does not pass.

    *figures* are those of metrics.figures and latency_p99_ms, of the worst variant; *comparison*
    is None where there is no champion.
    """
    rows = []
    for name in GateParams.model_fields:
        bounds = getattr(gate, name)
        if name == "champion" or bounds is None:
            continue
        value = figures.get(name)
        at_most = name in _LESS_IS_BETTER
        bound = bounds.max if at_most else bounds.min
        passed = value is not None and (value <= bound if at_most else value >= bound)
        word = "passed" if passed else "not measured" if value is None else "failed"
        rows.append(GateRow(name, value, bound, passed, word))
    return (*rows, _champion_row(gate.champion, comparison))


def promoted(rows: Iterable[GateRow]) -> bool:
    return all(row.passed for row in rows)


def worst(variants: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The worst value of each figure over a model's variants; one that any lacks is left out."""
    every = list(variants)
    names = [name for name in every[0] if all(name in figures for figures in every)]
    return {
        name: (max if name in _LESS_IS_BETTER else min)(figures[name] for figures in every)
        for name in names
    }


def _champion_row(gate: ChampionGate, comparison: Comparison | None) -> GateRow:
    if comparison is None:
        return GateRow("champion", None, None, True, "no champion")
    enough = {Verdict.BETTER}
    if gate.promote_if == "not_worse":
        enough.add(Verdict.NOT_WORSE)
    return GateRow(
        name="champion",
        value=comparison.difference.value if comparison.difference else None,
        bound=-gate.margin if gate.promote_if == "not_worse" else 0.0,
        passed=comparison.verdict in enough,
        verdict=str(comparison.verdict),
    )


@dataclass(frozen=True)
class Judgement:
    promoted: bool
    reason: str


def judge(challenger: dict[str, float], champion: dict[str, float] | None) -> Judgement:
    """Compare figures measured on the same test images: accuracy first, log loss among equals."""
    if champion is None:
        return Judgement(True, "there was no champion")
    ours, theirs = challenger["accuracy"], champion["accuracy"]
    if ours != theirs:
        word = "above" if ours > theirs else "below"
        return Judgement(ours > theirs, f"accuracy {ours:.4f}, {word} the champion's {theirs:.4f}")
    ours, theirs = challenger["log_loss"], champion["log_loss"]
    word = "below" if ours < theirs else "not below"
    return Judgement(
        ours < theirs, f"equal accuracy; log loss {ours:.4f}, {word} the champion's {theirs:.4f}"
    )
