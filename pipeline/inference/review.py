"""Which images of a batch a person looks at, and why: the same choice for the same rows.

The audit is drawn blindly: what it says of accuracy holds for the whole batch. The others are
where a look pays most; their accuracy says nothing of the batch's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.inference.audit import audit_sample
from pipeline.serving.abstention import OUT_OF_DISTRIBUTION

AUDIT, LEAST_CERTAIN, STRANGE = "audit", "least_certain", "strange"
BECAUSE = (AUDIT, LEAST_CERTAIN, STRANGE)
"""Why an image is shown; of several reasons, the first."""
MOST = 200
"""Images on a page."""

Row = Mapping[str, Any]
"""By the columns of `read_batch`; one that it does not have is None everywhere."""


@dataclass(frozen=True)
class Counts:
    """How many images are wanted for each reason."""

    audit: int
    least_certain: int
    strange: int

    @property
    def together(self) -> int:
        return self.audit + self.least_certain + self.strange


@dataclass(frozen=True)
class Item:
    """One image for a person to decide on."""

    path: str
    sha256: str
    because: str
    """One of BECAUSE."""
    label: str
    """What the model says."""
    confidence: float


def choose(batch: str, rows: Iterable[Row], counts: Counts) -> tuple[Item, ...]:
    """Return the images to be shown: the audit, then the least certain, then the strangest of the
    others. An image that lies at several paths is shown once."""
    predicted = list(_distinct(rows))
    chosen = {row["sha256"]: _item(row, AUDIT) for row in audit(batch, predicted, counts.audit)}
    doubted = sorted(predicted, key=lambda row: (row["confidence"], row["sha256"]))
    strange = sorted(
        (row for row in predicted if row.get("abstain_reason") == OUT_OF_DISTRIBUTION),
        key=lambda row: (-(row.get("ood_score") or 0.0), row["sha256"]),
    )
    for because, among, count in (
        (LEAST_CERTAIN, doubted, counts.least_certain),
        (STRANGE, strange, counts.strange),
    ):
        fresh = [row for row in among if row["sha256"] not in chosen][:count]
        chosen |= {row["sha256"]: _item(row, because) for row in fresh}
    return tuple(chosen.values())


def audit(batch: str, rows: Iterable[Row], count: int) -> list[Row]:
    """Return *count* of the rows with a prediction, drawn by batch and content, whatever the model
    said of them."""
    predicted = list(_distinct(rows))
    places = audit_sample([row["sha256"] for row in predicted], batch, count)
    return [predicted[place] for place in places]


def _distinct(rows: Iterable[Row]) -> Iterable[Row]:
    by_content: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row["path"]):
        if row["label"] is not None and row["sha256"] is not None:
            by_content.setdefault(row["sha256"], row)
    return by_content.values()


def _item(row: Row, because: str) -> Item:
    return Item(
        path=row["path"],
        sha256=row["sha256"],
        because=because,
        label=row["label"],
        confidence=row["confidence"],
    )
