"""A file, and what is said of it. (Tables of such rows: predictions.py.)"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NewFile:
    path: str
    """As the rows name it."""
    relative: str
    """Below the folder that is read, as the system names it; or absolute."""
    bytes: int
    modified_ns: int
    changed_ns: int = 0
    """When the system last changed it (ctime); 0 where that does not matter."""
    refusal: tuple[str, str] | None = None
    """Reason and detail, where it is refused already."""


@dataclass(frozen=True)
class PredictionRow:
    """What one version of a model said of one image."""

    path: str
    """Relative to the project's home where it lies there, else absolute."""
    row: int | None
    """Position within the file; None for images."""
    sha256: str | None
    """Of the file's bytes; None where they could not be read."""
    bytes: int
    modified_ns: int
    """The file's time of change, in nanoseconds since 1970."""
    label: str | None
    confidence: float | None
    probabilities: dict[str, float] | None
    """By class."""
    reason: str | None
    """Why the file was refused; None for a predicted one."""
    detail: str | None
    abstain_reason: str | None
    """Why *label* should not be relied on: out_of_distribution, ambiguous, no_class."""
    conformal_set: tuple[str, ...] | None
    """The classes that are possible."""
    ood_score: float | None
    """Distance from the images that the model knows, 0 to 2."""
    width: int | None
    """Of the image, upright, in pixels."""
    height: int | None
    brightness: float | None
    """Of the square that the network saw, 0 to 1."""
    sharpness: float | None
    metadata: Mapping[str, str] | None
    """What a metadata.csv beside the image says of it."""
    model_name: str
    model_version: int | None
    """None for a model that is not registered."""
    serving_digest: str
    variant: str
    predicted_at: str
    """UTC, ISO 8601."""
