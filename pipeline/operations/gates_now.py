"""The gates as params.yaml has them now, beside those that a version was judged by."""

from pipeline.evaluation.gate import CHAMPION, GateRow, judge_gates
from pipeline.params import GateParams
from pipeline.tracking import aliases
from pipeline.tracking.registry import Version


def have_changed(version: Version, gate: GateParams) -> bool:
    """Whether other gates, or other bounds, than today's judged *version*; False where it does not
    say by which it was judged."""
    judged = {row["name"]: row["bound"] for row in aliases.gates_of(version)}
    today = {row.name: row.bound for row in _judge(version, gate)}
    if judged.get(CHAMPION) is not None:
        today[CHAMPION] = 0.0 - gate.champion.margin * (gate.champion.promote_if == "not_worse")
    return bool(judged) and judged != today


def failed_now(version: Version, gate: GateParams) -> list[GateRow]:
    """Return today's gates that what the test images showed of *version* fails, without any
    champion beside it."""
    return [row for row in _judge(version, gate) if row.verdict == "failed"]


def _judge(version: Version, gate: GateParams) -> tuple[GateRow, ...]:
    figures = {}
    for name in GateParams.model_fields:
        try:
            figures[name] = float(version.tags[f"test.{name}"])
        except (KeyError, ValueError):
            continue
    return judge_gates(gate, figures, None)
