"""Which of a model's graphs may serve: each held against the network that was trained."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.metrics import Labels, Probabilities, accuracy, log_loss
from pipeline.serving.choice import disagreement

_SPREAD = 0.01
"""How far apart two right processors may be, on average: they round sums in their own order."""


@dataclass(frozen=True)
class Bounds:
    accuracy_loss: float
    """Share of the validation images that a variant may get wrong beyond the trained network; one
    image is always allowed, for one image may lie on the border."""
    log_loss: float
    """Nats by which its validation log loss may be higher."""


@dataclass(frozen=True)
class Variant:
    """A row of the table of variants: on validation images, timings apart."""

    name: str
    bytes: int
    """Of its graph."""
    accuracy: float | None
    """As the other figures, None where there is no answer, or one that is no number."""
    log_loss: float | None
    """In nats."""
    agreement: float | None
    """Share of images with fp32's label, 0 to 1."""
    disagreement: float | None
    """Mean total variation distance to fp32's probabilities, 0 to 1."""
    fault: str | None
    """Why it must not serve; None for an admissible one."""

    @property
    def admissible(self) -> bool:
        return self.fault is None

    def row(self) -> dict[str, Any]:
        return {**asdict(self), "admissible": self.admissible}


def judge(
    name: str,
    graph: bytes,
    answers: Probabilities,
    trained: Probabilities,
    fp32: Probabilities,
    labels: Labels,
    bounds: Bounds,
) -> Variant:
    """Hold the *answers* of the variant *name* against those of the *trained* network, in torch,
    and of the *fp32* variant, on the same validation images: each (n, num_classes)."""
    if not np.isfinite(answers).all():
        return not_made(name, "its answers are no numbers")
    return Variant(
        name=name,
        bytes=len(graph),
        accuracy=accuracy(answers, labels),
        log_loss=log_loss(answers, labels),
        agreement=float((answers.argmax(1) == fp32.argmax(1)).mean()),
        disagreement=disagreement(answers, fp32),
        fault=_fault(answers, trained, labels, bounds),
    )


def not_made(name: str, why: str) -> Variant:
    """The row of a variant that there is none of."""
    return Variant(name, 0, None, None, None, None, why)


def self_test_bound(answers: Probabilities, expected: Probabilities) -> float:
    """Return how far a variant may be from fp32 on the self-test, on another processor, and still
    be the one that was judged: twice as far as where it was judged, and what rounding may do."""
    return round(2 * disagreement(answers, expected) + _SPREAD, 4)


def _fault(
    answers: Probabilities, trained: Probabilities, labels: Labels, bounds: Bounds
) -> str | None:
    lost = int((trained.argmax(1) == labels).sum() - (answers.argmax(1) == labels).sum())
    allowed = max(1, int(bounds.accuracy_loss * len(labels) + 1e-9))  # 0.29 × 100 is 28.99…
    if lost > allowed:
        return (
            f"{lost} more of {len(labels)} images are wrong, at most {allowed} may be "
            f"(export.max_accuracy_loss: {bounds.accuracy_loss})"
        )
    rise = log_loss(answers, labels) - log_loss(trained, labels)
    if not rise <= bounds.log_loss:
        return f"log loss rises by {rise:.4f}; export.max_log_loss: {bounds.log_loss}"
    return None
