"""What a run of inference came to, at a glance: Markdown for whoever shows it."""

from collections.abc import Iterator, Sequence

from pipeline.evaluation.markdown import code, table, text
from pipeline.inference import drift
from pipeline.inference.batch import Batch

_HEAD = ("batch", "images", "refused", "drift", "expected accuracy")


def glance(model_name: str, version: int | None, batches: Sequence[Batch]) -> str:
    """Return a line for each batch: how many images, how many refused, what it says of itself."""
    told = f"{code(model_name)} version {version}, {len(batches)} new batches\n\n"
    return told + "\n".join(table(_HEAD, _rows(batches))) + "\n"


def _rows(batches: Sequence[Batch]) -> Iterator[tuple[str, ...]]:
    for batch in batches:
        expected = batch.monitoring.expected
        yield (
            code(batch.folder.name.removeprefix("batch=")),
            str(batch.images),
            str(batch.refused),
            text(drift.describe(batch.monitoring.drift), 200),
            f"{expected.accuracy:.3f}" if expected else "",
        )
