"""How the rows of a batch came out, in a line or two for whoever ran it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from pipeline.data.concerns import images
from pipeline.inference.outputs import MEANING

COLUMNS = ("label", "reason", "abstain_reason")
_FEW = 10
"""Classes that are told one by one."""


@dataclass(frozen=True)
class Summary:
    labels: Mapping[str, int]
    """Images by predicted class."""
    abstained: Mapping[str, int]
    """Of them, those whose label should not be relied on, by the reason."""
    refused: int

    @property
    def images(self) -> int:
        return sum(self.labels.values()) + self.refused


def summarise(rows: Iterable[Mapping[str, str | None]]) -> Summary:
    """*rows*: those of COLUMNS."""
    labels: Counter[str] = Counter()
    abstained: Counter[str] = Counter()
    refused = 0
    for row in rows:
        if row["label"] is None:
            refused += 1
            continue
        labels[row["label"]] += 1
        if row["abstain_reason"]:
            abstained[row["abstain_reason"]] += 1
    return Summary(labels, abstained, refused)


def describe(summary: Summary) -> Iterator[str]:
    """Yield a line with the counts, and one on the labels not to be relied on, if there are any."""
    parts = [_by_class(summary.labels)] if summary.labels else []
    yield f"{images(summary.images)}: {', '.join([*parts, f'{summary.refused} refused'])}"
    if summary.abstained:
        count, of = sum(summary.abstained.values()), sum(summary.labels.values())
        why = ", ".join(
            f"{each} {reason} ({MEANING.get(reason, 'see the rows')})"
            for reason, each in _largest_first(summary.abstained)
        )
        yield f"do not rely on {count:,} of {of:,} labels: {why}"


def _by_class(labels: Mapping[str, int]) -> str:
    if len(labels) > _FEW:
        return f"{sum(labels.values()):,} labels of {len(labels):,} classes"
    return ", ".join(f"{count} {name}" for name, count in _largest_first(labels))


def _largest_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))
