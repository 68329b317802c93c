"""Rows of predictions as they are published, without a model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.inference.predictions import table_of, write_part
from pipeline.inference.rows import PredictionRow

NAME = "digits"
"""Of the model: the template's own."""
_ANSWERED = PredictionRow(
    path="",
    row=None,
    sha256="a" * 64,
    bytes=100,
    modified_ns=1_767_323_045_123_456_789,
    label="cat",
    confidence=0.75,
    probabilities={"cat": 0.75, "dog": 0.25},
    reason=None,
    detail=None,
    abstain_reason=None,
    conformal_set=("cat", "dog"),
    ood_score=0.25,
    width=32,
    height=24,
    brightness=0.5,
    sharpness=100.0,
    metadata=None,
    model_name=NAME,
    model_version=1,
    serving_digest="d" * 64,
    variant="fp32",
    predicted_at="2026-03-01T03:04:05+00:00",
)


def answered(
    path: str, label: str = "cat", confidence: float = 0.75, **others: Any
) -> PredictionRow:
    return replace(_ANSWERED, path=path, label=label, confidence=confidence, **others)


def refused(path: str, reason: str = "damaged", **others: Any) -> PredictionRow:
    values = [name for name, value in vars(_ANSWERED).items() if isinstance(value, float)]
    values += ["label", "probabilities", "conformal_set", "sha256", "width", "height"]
    nothing: dict[str, Any] = dict.fromkeys(values)
    said = nothing | {"reason": reason, "detail": "why"} | others
    return replace(_ANSWERED, path=path, **said)


def publish(
    predictions: Path, batch: str, *rows: PredictionRow, version: int = 1, day: str = "2026-03-01"
) -> Path:
    """Lay *rows* down as a batch of *version*, classified on *day*; return its part."""
    folder = predictions / f"model={NAME}/version={version}/batch={batch}"
    folder.mkdir(parents=True)
    at = f"{day}T03:04:05+00:00"
    given = [replace(row, model_version=version, predicted_at=at) for row in rows]
    write_part(folder / "part-00000.parquet", table_of(given))
    return folder / "part-00000.parquet"
