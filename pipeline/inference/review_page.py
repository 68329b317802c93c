"""The page on which a person decides about images of one batch: one file, its script included.

For the audit, the prediction is not shown: who sees it first tends to agree, and the accuracy
that is measured so flatters the model. So that no order tells it either, classes stand in the
same order for every image.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pipeline.data.pages import render_page, short
from pipeline.data.thumbnails import Thumbnail
from pipeline.inference.review import BECAUSE, Item

SIDE = 256
"""Pixels of a picture's shorter side, at most."""
_TOP = 5
"""Classes whose probability is shown."""


@dataclass(frozen=True)
class Review:
    """What a person is shown of one batch."""

    batch: str
    model_name: str
    model_version: int
    audit: int
    """Images that were drawn for the audit, those that cannot be shown included."""
    classes: tuple[str, ...]
    """The model's, in its order."""
    items: tuple[Item, ...]
    probabilities: Mapping[str, Mapping[str, float]]
    """sha256 of an item → class → probability."""

    def count(self, because: str) -> int:
        return sum(item.because == because for item in self.items)


def render(review: Review, pictures: Mapping[str, Thumbnail]) -> str:
    """Return the page; *pictures*: sha256 → thumbnail, for every item."""
    page = Path(__file__)
    script = page.with_suffix(".js").read_text(encoding="utf-8")
    return render_page(
        page.with_suffix(".html"),
        review=review,
        counts={because: review.count(because) for because in BECAUSE},
        data=_data(review, pictures),
        script=Markup(script),  # noqa: S704, our own file: the policy names it by its hash
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _data(review: Review, pictures: Mapping[str, Thumbnail]) -> dict[str, Any]:
    return {
        "batch": review.batch,
        "model_name": review.model_name,
        "model_version": review.model_version,
        "audit": review.audit,
        "classes": review.classes,
        "items": [
            _entry(item, review.probabilities[item.sha256], pictures[item.sha256])
            for item in review.items
        ],
    }


def _entry(item: Item, probabilities: Mapping[str, float], picture: Thumbnail) -> dict[str, Any]:
    likeliest = sorted(probabilities.items(), key=lambda each: (-each[1], each[0]))
    return {
        "path": item.path,
        "shown_path": short(item.path),
        "sha256": item.sha256,
        "because": item.because,
        "label": item.label,
        "top": likeliest[:_TOP],
        "uri": picture.uri,
        "width": picture.width,
        "height": picture.height,
        "is_tiny": picture.is_tiny,
    }
