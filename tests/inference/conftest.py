"""A home with an inbox, a model that tells dark from light, and one call that classifies."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from brightness import png, seal_brightness

from pipeline.export.artefact import open_artefact
from pipeline.inference.answering import Model
from pipeline.inference.batch import Batch, Watch, classify_folder, sweep
from pipeline.inference.inbox import NewFolder, find_new
from pipeline.inference.looked import Looked
from pipeline.inference.predictions import batch_folders, read_batch, read_known


@dataclass
class Place:
    home: Path
    inbox: Path
    model: Model

    @property
    def predictions(self) -> Path:
        return self.home / "predictions"

    def put(self, name: str, data: bytes | int) -> Path:
        """Lay a file down in the inbox; a number is the brightness of an image."""
        path = self.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(data) if isinstance(data, int) else data)
        return path

    def classify(self, **options: Any) -> list[Batch]:
        """Do what one run of inference does with the inbox as it is now."""
        known = read_known(self.predictions, self.model.name)
        sweep(self.predictions, self.model)
        looked = Looked(self.home / "looked.parquet")
        folders = find_new(self.inbox, self.home, lambda f: known.has(f) and looked.at(f))
        batches = self.classify_these(folders, **options)
        for folder in folders:
            looked.add(folder.files)
        looked.save()
        return batches

    def classify_these(self, folders: list[NewFolder], **options: Any) -> list[Batch]:
        """The same with the inbox as it was when these *folders* were found in it."""
        known = read_known(self.predictions, self.model.name)
        watch = Watch(reference=None, alpha=0.05, audit=2)
        settings = {"batch_size": 2, "limit": 100_000, "now": "2026-01-02T03:04:05+00:00"}
        settings |= {"watch": watch}
        batches = [
            classify_folder(
                self.inbox, folder, self.model, known, self.predictions, **(settings | options)
            )
            for folder in folders
        ]
        return [batch for batch in batches if batch]

    def rows(self) -> list[dict[str, Any]]:
        """Every published row, of all batches."""
        folders = batch_folders(self.predictions, self.model.name)
        return [row for folder in folders for row in read_batch(folder).to_pylist()]

    def labels(self) -> dict[str, str | None]:
        """Name of the file in the inbox → label, or the reason for which it has none."""
        rows = self.rows()
        found = {row["path"].removeprefix("inbox/"): row["label"] or row["reason"] for row in rows}
        assert len(found) == len(rows), "a file has two rows"
        return found


@pytest.fixture
def place(tmp_path: Path) -> Place:
    digest = seal_brightness(tmp_path / "serving")
    classifier = open_artefact(tmp_path / "serving", digest)
    inbox = tmp_path / "home/inbox"
    inbox.mkdir(parents=True)
    return Place(inbox.parent, inbox, Model("m", 1, digest, classifier))
