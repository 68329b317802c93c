"""What a run of inference came to, at a glance: Markdown for whoever shows it."""

from collections.abc import Iterator, Mapping, Sequence

from pipeline.evaluation.markdown import code, table, text
from pipeline.inference import drift
from pipeline.inference.batch import Batch
from pipeline.words import counted

_HEAD = (
    "batch",
    "images",
    "drift",
    "answers",
    "not to be relied on",
    "refused",
    "expected accuracy",
    "confidence, 0 to 1",
    "images/s, latency",
)
_MOST = 4
_BARS = "▁▂▃▄▅▆▇█"


def glance(model_name: str, version: int | None, batches: Sequence[Batch]) -> str:
    """Return a line for each batch: what came, what was answered how surely and how fast, and what
    it says of itself."""
    new = counted(len(batches), "new batch", "new batches")
    told = f"{code(model_name)} version {version}, {new}\n\n"
    return told + "\n".join(table(_HEAD, _rows(batches))) + "\n"


def _rows(batches: Sequence[Batch]) -> Iterator[tuple[str, ...]]:
    for batch in batches:
        summary, expected = batch.summary, batch.monitoring.expected
        mean = summary.confidence.get("mean")
        yield (
            code(batch.folder.name.removeprefix("batch=")),
            str(batch.images),
            text(drift.describe(batch.monitoring.drift), 200),
            _counts(summary.classes),
            _told(summary.abstained),
            _told(summary.refused),
            f"{expected.accuracy:.3f}" if expected else "",
            "" if mean is None else f"{mean:.3f} {_bars(summary.histogram)}",
            _pace(batch.timing.figures),
        )


def _told(counts: Mapping[str, int]) -> str:
    return f"{sum(counts.values())} ({_counts(counts)})" if counts else "0"


def _counts(counts: Mapping[str, int]) -> str:
    """The commonest first."""
    shown = [f"{count} {text(name, 20)}" for name, count in list(counts.items())[:_MOST]]
    rest = sum(list(counts.values())[_MOST:])
    return ", ".join([*shown, *([f"{rest} others"] if rest else [])])


def _bars(histogram: Sequence[int]) -> str:
    """Two bins to a bar."""
    counts = [sum(histogram[place : place + 2]) for place in range(0, len(histogram), 2)]
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // max(counts))] for count in counts)


def _pace(figures: Mapping[str, float]) -> str:
    if not figures:
        return ""
    return f"{figures['images_per_second']:.3g}, {figures['latency_p50_ms']:.3g} ms"
