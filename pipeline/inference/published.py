"""One published batch, found by its name."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.folders import printable
from pipeline.errors import ReviewError, StorageError
from pipeline.inference.predictions import batch_folders, read_batch
from pipeline.inference.timing import read_timing

_BATCH = "batch="


@dataclass(frozen=True)
class Published:
    name: str
    """Of its folder, without `batch=`."""
    folder: Path
    table: pa.Table
    """As `read_batch` returns it."""

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """All but the probabilities: a thousand classes of each row would fill the memory."""
        rows: list[dict[str, Any]] = self.table.drop_columns(["probabilities"]).to_pylist()
        return rows

    @property
    def model_version(self) -> int:
        return int(self.rows[0]["model_version"])

    @property
    def classes(self) -> tuple[str, ...]:
        """The model's, in its order; none where it has predicted nothing."""
        predicted = self.table.filter(pc.is_valid(self.table["label"])).slice(0, 1)
        return tuple(name for row in predicted["probabilities"].to_pylist() for name, _ in row)

    def probabilities(self, hashes: Collection[str]) -> dict[str, dict[str, float]]:
        """Return sha256 → class → probability, for the predicted rows of *hashes*."""
        wanted = pc.is_in(self.table["sha256"], value_set=pa.array(list(hashes), pa.string()))
        found = self.table.filter(wanted).filter(pc.field("label").is_valid())
        return {
            sha256: dict(each)
            for sha256, each in zip(
                found["sha256"].to_pylist(), found["probabilities"].to_pylist(), strict=True
            )
        }


def find(predictions: Path, model_name: str, wanted: str | None) -> Published:
    """Return the batch of that name, with or without `batch=` and the folders above it; None
    takes the newest. Raises ReviewError where there is none."""
    folders = batch_folders(predictions, model_name)
    if not folders:
        raise nothing_predicted(predictions, model_name)
    if wanted is None:
        folder = max(folders, key=_age)
    else:
        name = _BATCH + Path(wanted).name.removeprefix(_BATCH)
        named = [folder for folder in folders if folder.name == name]
        if not named:
            raise _unknown(model_name, name.removeprefix(_BATCH), folders)
        folder = named[-1]
    return Published(folder.name.removeprefix(_BATCH), folder, read_batch(folder))


def newest(predictions: Path, model_name: str) -> Path | None:
    """Return the folder of the newest batch; None where there is none."""
    return max(batch_folders(predictions, model_name), key=_age, default=None)


def published_at(folder: Path) -> datetime:
    """When the batch in *folder* was; an older Darkroom's, about when. Raises StorageError where it
    cannot be read."""
    timing = read_timing(folder)
    return timing.published_at if timing else begun_at(read_batch(folder, ["predicted_at"]))


def begun_at(rows: pa.Table) -> datetime:
    """When the run began that completed the batch of these *rows*; 1970 where they do not say."""
    try:
        return datetime.fromisoformat(pc.max(rows["predicted_at"]).as_py()).astimezone(UTC)
    except (ValueError, OverflowError, TypeError):
        return datetime.fromtimestamp(0, UTC)


def _age(folder: Path) -> tuple[datetime, str]:
    try:
        return published_at(folder), folder.name
    except StorageError:  # it will be named when it is read
        return datetime.fromtimestamp(0, UTC), folder.name


def _unknown(model_name: str, name: str, folders: list[Path]) -> ReviewError:
    newest = sorted(folders, key=_age, reverse=True)[:3]
    return ReviewError(
        f"model {model_name} has no batch {printable(name[:100])}",
        "the newest: " + ", ".join(folder.name.removeprefix(_BATCH) for folder in newest),
        mend="name one of those that lie in predictions/, or none: then it is the newest",
    )


def nothing_predicted(predictions: Path, model_name: str) -> ReviewError:
    return ReviewError(
        f"model {model_name} has no batch of predictions",
        f"looked in {predictions}",
        mend="put images into the inbox, then: darkroom classify",
    )
