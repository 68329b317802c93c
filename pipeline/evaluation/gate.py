"""Whether a challenger may serve."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.evaluation.assess import LESS_IS_BETTER
from pipeline.evaluation.comparison import Comparison, Verdict
from pipeline.params import ChampionGate, GateParams

CHAMPION = "champion"


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
        if name == CHAMPION or bounds is None:
            continue
        value = figures.get(name)
        at_most = name in LESS_IS_BETTER
        bound = bounds.max if at_most else bounds.min
        passed = value is not None and (value <= bound if at_most else value >= bound)
        word = "passed" if passed else "not measured" if value is None else "failed"
        rows.append(GateRow(name, value, bound, passed, word))
    return (*rows, _champion_row(gate.champion, comparison))


def promoted(rows: Iterable[GateRow]) -> bool:
    return all(row.passed for row in rows)


def _champion_row(gate: ChampionGate, comparison: Comparison | None) -> GateRow:
    if comparison is None:
        return GateRow(CHAMPION, None, None, True, "no champion")
    enough = {Verdict.BETTER}
    if gate.promote_if == "not_worse":
        enough.add(Verdict.NOT_WORSE)
    return GateRow(
        name=CHAMPION,
        value=comparison.difference.value if comparison.difference else None,
        bound=0.0 - gate.margin if gate.promote_if == "not_worse" else 0.0,
        passed=comparison.verdict in enough,
        verdict=str(comparison.verdict),
    )


def describe_row(row: GateRow) -> str:
    """A few words for a table or an error: `worst_class_recall 0.5000, at least 0.8000: failed`."""
    if row.name == CHAMPION:
        return f"{row.name}: {row.verdict}"
    value = "-" if row.value is None else f"{row.value:.4f}"
    return f"{row.name} {value}, {bound_words(row)}: {row.verdict}"


def bound_words(row: GateRow) -> str:
    """`at least 0.8000`, or `at most 50.0000`; of champion by what it may be worse."""
    if row.bound is None:
        return ""
    return f"at {'most' if row.name in LESS_IS_BETTER else 'least'} {row.bound:.4f}"
