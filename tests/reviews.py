"""A home with one published batch, by the model that tells dark from light; decisions on it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from brightness import png, seal_brightness

from pipeline.export.artefact import open_artefact
from pipeline.inference.answering import Model
from pipeline.inference.batch import Watch, classify_folder
from pipeline.inference.inbox import find_new
from pipeline.inference.predictions import read_known
from pipeline.inference.published import Published, find
from pipeline.inference.review import AUDIT, LEAST_CERTAIN, audit
from pipeline.workspace import Home

NAME = "digits"
"""Of the model: the template's own."""
_BEGUN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def publish(
    root: Path,
    images: Mapping[str, int | bytes],
    classes: tuple[str, str] = ("dark", "light"),
    name: str = NAME,
    version: int = 1,
) -> Home:
    """Lay *images* (name → brightness, 0 to 255, or a file's bytes) into the inbox of a home at
    *root* and classify them."""
    home = Home(root)
    inbox = home.inbox(name)
    for file, made in images.items():
        (inbox / file).parent.mkdir(parents=True, exist_ok=True)
        (inbox / file).write_bytes(png(made) if isinstance(made, int) else made)
    folder = root / "serving"
    if not folder.exists():
        (root / "digest").write_text(seal_brightness(folder, classes=list(classes)))
    digest = (root / "digest").read_text()
    model = Model(name, version, digest, open_artefact(folder, digest))
    known = read_known(home.predictions, name)
    for new in find_new(inbox, root, known.describes):
        now = (_BEGUN + timedelta(seconds=len(known.contents))).isoformat()
        options: dict[str, Any] = {"batch_size": 8, "limit": 2**26, "now": now}
        watch = Watch(None, 0.05, 20)
        classify_folder(inbox, new, model, known, home.predictions, watch=watch, **options)
    return home


def batch_of(home: Home, name: str = NAME) -> Published:
    return find(home.predictions, name, None)


def decisions_on(
    batch: Published, labels: Mapping[str, str | None], audited: int, **others: Any
) -> dict[str, Any]:
    """Return the file that the page saves: *labels* by the image's name, None for a skip."""
    drawn = {row["sha256"] for row in audit(batch.name, batch.rows, audited)}
    by_name = {Path(row["path"]).name: row for row in batch.rows}
    items = []
    for name, label in labels.items():
        row = by_name[name]
        predicted = row["label"]
        kind = "skip" if label is None else "accept" if label == predicted else "correct"
        items.append(
            {
                "path": row["path"],
                "sha256": row["sha256"],
                "because": AUDIT if row["sha256"] in drawn else LEAST_CERTAIN,
                "predicted": predicted,
                "decision": kind,
                "label": label,
                "decided_at": "2026-01-03T00:00:00.000Z",
            }
        )
    return {
        "format": "darkroom decisions 1",
        "batch": batch.name,
        "model_name": NAME,
        "model_version": batch.model_version,
        "audit": audited,
        "items": items,
    } | others


def write(path: Path, decisions: object) -> Path:
    path.write_text(json.dumps(decisions), encoding="utf-8")
    return path
