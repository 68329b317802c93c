"""The weights that a training started from: their terms, and what they know of the test images.

A model's own training never sees a test image; a model that it started from, of another dataset,
or of another split of this one, may have.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.evaluation.markdown import text

NONE = "none"
_IMAGENET = re.compile(r"IMAGENET1K|_in(1|12|21|22)k", re.IGNORECASE)


@dataclass(frozen=True)
class Contamination:
    line: tuple[str, ...] = ()
    """Registered versions whose images are known: the start, then what that one started from."""
    first: str = NONE
    """What the last of these started from, or the training itself where there is none: `none`,
    `torchvision NAME`, `timm NAME`, or a file."""
    images: int = 0
    """Test images that the line was trained, or chosen, on."""

    @property
    def is_whole(self) -> bool:
        """Whether no more than *images* are known to the start."""
        return self.first == NONE

    def as_tag(self) -> dict[str, int | bool]:
        return {"images": self.images, "whole": self.is_whole}


def is_published(start: str) -> bool:
    """Whether *start* names a library's weights, and not a file."""
    return start.startswith(("torchvision ", "timm ")) and not start.endswith(".safetensors")


def licence(start: str) -> str:
    """Return what is known of the terms of the weights that a training started from."""
    if start in ("none", ""):
        return "trained from scratch: no one else's weights"
    if not is_published(start):
        return "a file of your own: its terms are not known here"
    if start.startswith("torchvision "):
        return (
            "torchvision states no licence for its pretrained weights; they may be under terms of "
            "the data that they were trained on (ImageNet's allow research alone)"
        )
    return "its own licence: see the card of that model at huggingface.co/timm"


def seen(tag: Mapping[str, int | bool] | None, is_first_use: bool = True) -> str:
    """Return what may be said of the test images in a few words, after their number; *tag* is
    `as_tag`'s, None where nobody has recorded it.
    Earlier models were judged on them where this use of them is not the first."""
    images, whole = (tag["images"], tag["whole"]) if tag else (0, False)
    if images:
        return f"images, {'' if whole else 'at least '}{images} of which its starting weights know"
    if whole:
        return f"images that {'nothing else' if is_first_use else 'no training'} looked at"
    return "images that its own training did not look at (its starting weights may have)"


def told(found: Contamination) -> Iterator[str]:
    """Yield a sentence on what the versions of the line know, and one on what came before them."""
    if found.line:
        many = f"{found.images} of the test images are" if found.images else "No test image is"
        yield (
            f"{many} among those that the weights that it started from "
            f"({', '.join(map(text, found.line))}) were trained or chosen on"
            f"{': its figures flatter it' if found.images else ''}."
        )
    whose = "the first of these" if found.line else "it"
    if is_published(found.first):
        data = "ImageNet" if _IMAGENET.search(found.first) else "images that are not known here"
        yield (
            f"The weights that {whose} started from ({text(found.first)}) are published ones, "
            f"trained on {data}: they have seen any test image that is also there; how many are "
            "cannot be known here."
        )
    elif not found.is_whole:
        yield (
            f"The weights that {whose} started from ({text(found.first)}) may have seen test "
            "images: on which images they were trained cannot be known here."
        )
