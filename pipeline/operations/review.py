"""A published batch → review/<batch>.html, on which a person decides, or tasks for Label Studio."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.data.limits import image_limits
from pipeline.data.tables import scratch_beside
from pipeline.data.thumbnails import Thumbnail, thumbnail
from pipeline.errors import ReviewError, UnreadableImage
from pipeline.inference import label_studio
from pipeline.inference.originals import read_original
from pipeline.inference.published import find
from pipeline.inference.review import AUDIT, Counts, Item, choose
from pipeline.inference.review_page import SIDE, Review, render
from pipeline.params import Params
from pipeline.words import images
from pipeline.workspace import Home


def page(
    home: Home, params: Params, batch: str | None, counts: Counts, say: Callable[[str], None]
) -> Path:
    """Write the page of *batch*, the newest where that is None; return where.

    Raises ReviewError where there is no such batch, or none of its images can be shown.
    """
    review, pictures = _prepare(home, params, batch, counts, say)
    path = home.review / f"{review.batch}.html"
    _write(path, render(review, pictures))
    size = path.stat().st_size / 2**20
    told = f"{size:.1f} MiB" if size >= 1 else f"{1024 * size:.0f} KiB"
    say(f"{images(len(review.items))} of {review.batch}: {path} ({told})")
    say(
        f"then, where the browser saves to: "
        f"darkroom review apply ~/Downloads/{review.batch}.decisions.json"
    )
    return path


def export_label_studio(
    home: Home, params: Params, batch: str | None, counts: Counts, say: Callable[[str], None]
) -> Path:
    """Write the same images as tasks for Label Studio, and the labelling interface beside them.

    Raises ReviewError as `page` does.
    """
    review, pictures = _prepare(home, params, batch, counts, say)
    tasks = home.review / f"{review.batch}.label-studio.json"
    interface = tasks.with_suffix(".xml")
    _write(interface, label_studio.config(review.classes))
    _write(tasks, json.dumps(label_studio.tasks(review, pictures), indent=1))
    say(f"{images(len(review.items))} of {review.batch}: {tasks}")
    say(f"their labelling interface, for Settings > Labeling Interface > Code: {interface}")
    say("then export as JSON, and: darkroom review apply FILE")
    return tasks


def _prepare(
    home: Home, params: Params, batch: str | None, counts: Counts, say: Callable[[str], None]
) -> tuple[Review, dict[str, Thumbnail]]:
    """Choose the images and read them; say which cannot be shown."""
    published = find(home.predictions, params.model_name, batch)
    items = choose(published.name, published.rows, counts)
    if not items:
        raise ReviewError(
            f"batch {published.name} has no image with a prediction",
            f"its {len(published.rows)} files were refused, or none was asked for",
            mend="name another batch: darkroom review page BATCH",
        )
    pictures, lost = _pictures(home, params, items)
    if not pictures:
        raise ReviewError(
            f"no image of batch {published.name} can be shown",
            *(f"{item.path}: {error.reason}, {error.detail}" for item, error in lost[:3]),
            mend="put the images back where they lay; or name another batch: "
            "darkroom review page BATCH",
        )
    if lost:
        audited = sum(item.because == AUDIT for item, _ in lost)
        item, error = lost[0]
        say(
            f"not as predicted any more: {images(len(lost))}, {audited} of the audit "
            f"(open, as if skipped): {item.path}: {error.reason}"
        )
    shown = tuple(item for item in items if item.sha256 in pictures)
    review = Review(
        batch=published.name,
        model_name=params.model_name,
        model_version=published.model_version,
        audit=counts.audit,
        classes=published.classes,
        items=shown,
        probabilities=published.probabilities(pictures),
    )
    return review, pictures


def _pictures(
    home: Home, params: Params, items: tuple[Item, ...]
) -> tuple[dict[str, Thumbnail], list[tuple[Item, UnreadableImage]]]:
    limits, archive = image_limits(params.data), home.archive(params.model_name)

    def picture(item: Item) -> Thumbnail | UnreadableImage:
        try:
            data = read_original(home.root, archive, item.path, item.sha256, limits.bytes)
            return thumbnail(data, SIDE, limits)
        except UnreadableImage as error:
            return error

    with ThreadPoolExecutor() as threads:
        made = list(zip(items, threads.map(picture, items), strict=True))
    shown = {item.sha256: each for item, each in made if isinstance(each, Thumbnail)}
    return shown, [(item, each) for item, each in made if isinstance(each, UnreadableImage)]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = scratch_beside(path)
    try:
        scratch.write_text(text, encoding="utf-8", errors="backslashreplace")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
