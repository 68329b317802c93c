"""What a batch says of itself without labels: has its kind of images drifted, how many answers are
likely right, and which images people are to label."""

import hashlib
import heapq
import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.inference import drift, expected_accuracy
from pipeline.inference.drift import Drift, Observed, measure
from pipeline.inference.expected_accuracy import ExpectedAccuracy, expect
from pipeline.inference.reference import Reference
from pipeline.inference.review import audit as audit_of
from pipeline.inference.timing import DAMAGED

MONITORING, PICTURE = "_monitoring.json", "_drift.png"
"""In a batch's folder; what begins with _ is no part of the table that readers see there."""
_APPEARANCE = ("width", "height", "brightness", "sharpness")
OBSERVED = ("path", "sha256", "label", "confidence", *_APPEARANCE)
"""What is looked at of each row."""
_EMBEDDED = 1_000
"""Images of a batch whose embeddings are compared, at most."""


class EmbeddingSample:
    """Embeddings of at most so many images of a batch, drawn by their content: flat memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: list[tuple[int, int, npt.NDArray[np.float32]]] = []
        self._seen = 0

    def add(self, sha256: str, embedding: npt.NDArray[np.float32]) -> None:
        # Not the hash itself: by it, images were put into splits
        draw = -int.from_bytes(hashlib.sha256(sha256.encode()).digest()[:8])
        with self._lock:
            self._seen += 1
            push = heapq.heappush if len(self._kept) < _EMBEDDED else heapq.heappushpop
            push(self._kept, (draw, self._seen, embedding))

    def embeddings(self) -> npt.NDArray[np.float32] | None:
        """Return (m, width), in an order that is the same for the same images."""
        if not self._kept:
            return None
        return np.stack([embedding for _, _, embedding in sorted(self._kept, key=lambda k: k[:2])])


@dataclass(frozen=True)
class Watch:
    """How batches are held against what the model knows."""

    reference: Reference | None
    """None for a model that was sealed without one."""
    alpha: float
    """Largest share of false alarms."""
    audit: int
    """Images of each batch that people are to label."""


@dataclass(frozen=True)
class Monitoring:
    drift: Drift | None
    """None for a model without a reference."""
    expected: ExpectedAccuracy | None
    audit: tuple[str, ...]
    """Paths of the images that people are to label."""

    def figures(self) -> dict[str, float]:
        """By name, for a series over batches."""
        found = self.drift.figures() if self.drift else {}
        if self.expected:
            low, high = self.expected.interval
            found["expected_accuracy"] = self.expected.accuracy
            found |= {"expected_accuracy_low": low, "expected_accuracy_high": high}
        return found

    def lines(self) -> tuple[str, str]:
        """For people: what has drifted, and how often the answers should be right."""
        drifted = self.drift is not None and self.drift.alarm
        return drift.describe(self.drift), expected_accuracy.describe(self.expected, drifted)

    def as_json(self) -> dict[str, Any]:
        drifted = self.drift and asdict(self.drift) | {"drifted": list(self.drift.drifted)}
        return {
            "figures": self.figures(),
            "drift": drifted,
            "expected_accuracy": self.expected and asdict(self.expected),
            "audit": list(self.audit),
        }


def observe(
    rows: pa.Table, classes: Sequence[str], embeddings: npt.NDArray[np.float32] | None
) -> Observed:
    """Return what is known of the answered images among *rows*."""
    answered = rows.filter(pc.is_valid(rows["label"]))
    place = {name: index for index, name in enumerate(classes)}
    measured = {
        name: answered[name].to_numpy().astype(float)
        for name in ("confidence", *_APPEARANCE)
        if answered[name].null_count == 0 and len(answered)
    }
    predicted = np.array([place[label] for label in answered["label"].to_pylist()], np.int64)
    return Observed(predicted, measured, embeddings)


def monitor(
    rows: pa.Table,
    observed: Observed,
    reference: Reference | None,
    *,
    batch: str,
    audit: int,
    alpha: float,
) -> Monitoring:
    """Judge a *batch* by its *rows*; *audit*: how many images are set aside for people."""
    answered = rows.select(["path", "sha256", "label"]).to_pylist()
    drawn = tuple(row["path"] for row in audit_of(batch, answered, audit))
    if reference is None:
        return Monitoring(None, None, drawn)
    confidence = observed.measured.get("confidence", np.empty(0))
    expected = expect(confidence, reference.reliability)
    return Monitoring(measure(reference, observed, alpha), expected, drawn)


def read_figures(batch: Path) -> dict[str, float]:
    """Return the figures that a published batch says of itself; none where it is damaged, or an
    older Darkroom made it."""
    try:
        found = json.loads((batch / MONITORING).read_text(encoding="utf-8"))["figures"]
        return {name: float(value) for name, value in found.items()}
    except (*DAMAGED, KeyError, TypeError, AttributeError):
        return {}
