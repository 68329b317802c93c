"""What a batch came to, in counts: of its rows alone, the same for the same rows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import legible
from pipeline.inference.outputs import MEANING
from pipeline.words import images

BINS = 20
"""Of confidence, of equal width, from 0 to 1; each holds its lower edge, the last its upper too."""
SUMMARISED = ("label", "confidence", "reason", "abstain_reason")
"""The columns that are looked at."""
_FEW = 5
"""Classes that are told one by one."""


@dataclass(frozen=True)
class Summary:
    images: int
    """Files with a row, refused ones included."""
    classes: Mapping[str, int]
    """How many were called what, the commonest first."""
    refused: Mapping[str, int]
    """By reason, the commonest first."""
    abstained: Mapping[str, int]
    """Answers not to be relied on, by reason."""
    histogram: tuple[int, ...]
    """Answers by confidence, in each of BINS."""
    confidence: Mapping[str, float]
    """mean, p10 and p50 (the median); empty where nothing was answered."""

    def figures(self) -> dict[str, float]:
        """By name, for a series over batches; classes apart, of which there may be thousands."""
        found = {"images": float(self.images)}
        for name, counts in (("refused", self.refused), ("abstained", self.abstained)):
            found[name] = float(sum(counts.values()))
            found |= {f"{name}.{reason}": float(count) for reason, count in counts.items()}
        return found | {f"confidence.{name}": value for name, value in self.confidence.items()}


def summarise(rows: pa.Table) -> Summary:
    """*rows* have the columns SUMMARISED."""
    answered = rows.filter(pc.is_valid(rows["label"]))
    confidence = answered["confidence"].to_numpy()
    confidence = confidence[np.isfinite(confidence)]
    histogram, _ = np.histogram(confidence, BINS, (0, 1))
    figures = {}
    if len(confidence):
        p10, p50 = map(float, np.percentile(confidence, (10, 50)))
        figures = {"mean": float(confidence.mean()), "p10": p10, "p50": p50}
    return Summary(
        images=len(rows),
        classes=_counted(answered["label"]),
        refused=_counted(rows["reason"]),
        abstained=_counted(answered["abstain_reason"]),
        histogram=tuple(int(count) for count in histogram),
        confidence=figures,
    )


def describe(summary: Summary) -> Iterator[str]:
    """Yield a line with the counts, and one on the labels not to be relied on, if there are any."""
    parts = [_by_class(summary.classes)] if summary.classes else []
    parts.append(f"{sum(summary.refused.values())} refused")
    yield f"{images(summary.images)}: {', '.join(parts)}"
    if summary.abstained:
        count, of = sum(summary.abstained.values()), sum(summary.classes.values())
        why = ", ".join(
            f"{each} {reason} ({MEANING.get(reason, 'see the rows')})"
            for reason, each in summary.abstained.items()
        )
        yield f"do not rely on {count:,} of {of:,} labels: {why}"


def _by_class(classes: Mapping[str, int]) -> str:
    if len(classes) > _FEW:
        return f"{sum(classes.values()):,} labels of {len(classes):,} classes"
    return ", ".join(f"{count} {legible(name)}" for name, count in classes.items())


def _counted(words: pa.ChunkedArray) -> dict[str, int]:
    found = [(each["values"], each["counts"]) for each in pc.value_counts(words).to_pylist()]
    return dict(sorted(((w, n) for w, n in found if w is not None), key=lambda f: (-f[1], f[0])))
