"""Which split an image belongs to, the same on every machine and for ever."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import blake2b

from pipeline.data.catalogue import Catalogue, CatalogueRow, SplitRow, Splits
from pipeline.errors import DatasetError
from pipeline.params import SplitParams

USED = ("train", "validation", "test")


def assign(key: str, params: SplitParams) -> str:
    """Return "test", "validation" or "train" for the image with *key* (its sha256).

    Hashing, rather than shuffling, means that new images never move old ones.
    """
    digest = blake2b(f"{params.seed}:{key}".encode(), digest_size=8)
    share = int.from_bytes(digest.digest()) / 2**64  # uniform in [0, 1)
    if share < params.test:
        return "test"
    return "validation" if share < params.test + params.validation else "train"


def split(
    catalogue: Catalogue,
    params: SplitParams,
    excluded: Mapping[str, str],
    relabelled: Mapping[str, str],
) -> Splits:
    """Assign every image of *catalogue*; *excluded* has reasons and *relabelled* labels by sha256.

    Raises DatasetError where a class has no image in some split.
    """
    rows = tuple(
        _place(replace(row, label=relabelled.get(row.sha256, row.label)), params, excluded)
        for row in catalogue.rows
    )
    splits = Splits(catalogue.source, rows, params.seed, params.validation, params.test)
    _refuse_empty(splits)
    return splits


def check_corrections(catalogue: Catalogue, named: Iterable[str]) -> list[str]:
    """Return the hashes of *named* that the catalogue does not hold (any more)."""
    known = {row.sha256 for row in catalogue.rows}
    return [sha256 for sha256 in named if sha256 not in known]


def _place(row: CatalogueRow, params: SplitParams, excluded: Mapping[str, str]) -> SplitRow:
    if row.sha256 in excluded:
        where, reason = "left_out", f"excluded: {excluded[row.sha256]}"
    elif row.label is None:
        where, reason = "left_out", "label_conflict"
    else:
        where, reason = assign(row.sha256, params), None
    return SplitRow(row.sha256, row.file, row.path, row.label, row.width, row.height, where, reason)


def _refuse_empty(splits: Splits) -> None:
    if len(splits.classes) < 2:
        raise DatasetError(
            f"there must be two classes or more, not {len(splits.classes)}",
            f"classes with images: {', '.join(splits.classes) or 'none'}",
            mend="add a class folder to the source, then: darkroom ingest",
        )
    present = {(row.label, row.split) for row in splits.rows}
    missing = [
        f"class {label} has no image in {name}"
        for label in splits.classes
        for name in USED
        if (label, name) not in present
    ]
    if missing:
        raise DatasetError(
            missing[0],
            *missing[1:3],
            mend="add images of that class, or change split.seed or the shares in params.yaml",
        )
