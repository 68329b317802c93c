"""Which split an image belongs to, the same on every machine and for ever, and no leak."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np

from pipeline.data.catalogue import DISAGREE, Catalogue, CatalogueRow
from pipeline.data.corrections import Corrections
from pipeline.data.grouping import groups
from pipeline.data.near import Hashes, nearest
from pipeline.data.splits import LEFT_OUT, USED, SplitRow, Splits
from pipeline.errors import DatasetError
from pipeline.params import SplitParams

_LEAKS = (
    ("validation", "test", "near_test"),
    ("train", "test", "near_test"),
    ("train", "validation", "near_val"),
)
"""Who gives way to whom, and why."""
_BY_CHOICE = ("excluded", "label_conflict")
"""Reasons for which a class may lose all of its images, and be gone."""


def assign(key: str, params: SplitParams) -> str:
    """Return "test", "validation" or "train" for the images with *key*: a group, or a sha256.

    Hashing, rather than shuffling, means that new images never move old ones.
    """
    digest = blake2b(f"{params.seed}:{key}".encode(), digest_size=8)
    share = int.from_bytes(digest.digest()) / 2**64  # uniform in [0, 1)
    if share < params.test:
        return "test"
    return "validation" if share < params.test + params.validation else "train"


def split(
    catalogue: Catalogue, params: SplitParams, distance: int, corrections: Corrections
) -> Splits:
    """Assign every image of *catalogue*; of near-duplicates (*distance* bits) in two splits, one
    is left out: of train and of validation for test, of train for validation.

    Raises DatasetError where a class has no image in some split, or something leaks.
    """
    group_of = groups(catalogue, params.group_by)
    rows = [_place(row, group_of[row.sha256], params, corrections) for row in catalogue.rows]
    phash = {row.sha256: int(row.phash, 16) for row in catalogue.rows if row.phash is not None}
    for giving_way, kept, reason in _LEAKS:
        rows = _leave_out(rows, giving_way, kept, reason, phash, distance)
    splits = Splits(tuple(rows), params.seed, params.validation, params.test)
    refuse_leaks(splits, group_of, phash, distance, {r.sha256: r.path for r in catalogue.rows})
    _refuse_empty(splits, catalogue, params)
    return splits


def unknown(catalogue: Catalogue, named: Iterable[str]) -> list[str]:
    """Return the hashes of *named* that the catalogue does not hold (any more)."""
    known = {row.sha256 for row in catalogue.rows}
    return [sha256 for sha256 in named if sha256 not in known]


def refuse_leaks(
    splits: Splits,
    group_of: Mapping[str, str],
    phash: Mapping[str, int],
    distance: int,
    paths: Mapping[str, str],
) -> None:
    """The gate: raise DatasetError, naming the pictures, where a near pair or a group is in two
    of the used splits."""
    leaks = [*_near_pairs(splits, phash, distance), *_divided_groups(splits, group_of)]
    if leaks:
        raise DatasetError(
            f"{len(leaks)} images are in another split than one that they belong to",
            *(
                f"{paths[a.sha256]} ({a.split}) and {paths[b.sha256]} ({b.split}): {why}"
                for a, b, why in leaks[:3]
            ),
            mend="in the list, give every image of a group the same split; "
            "or name one of each pair in data/corrections/exclude.csv",
        )


def _place(
    row: CatalogueRow, group: str, params: SplitParams, corrections: Corrections
) -> SplitRow:
    label = corrections.relabelled.get(row.sha256, row.label)
    fixed = row.columns.get("split")
    where, reason, detail = LEFT_OUT, None, None
    if row.sha256 in corrections.excluded:
        reason, detail = "excluded", corrections.excluded[row.sha256]
    elif label is None:
        reason = "label_conflict"
    elif DISAGREE in (group, fixed):
        reason, detail = (
            "copies_disagree",
            "about its " + ("group" if group == DISAGREE else "split"),
        )
    else:
        where = fixed or assign(group, params)
    return SplitRow(row.sha256, row.file, label, row.width, row.height, where, reason, detail)


def _leave_out(
    rows: list[SplitRow],
    giving_way: str,
    kept: str,
    reason: str,
    phash: Mapping[str, int],
    distance: int,
) -> list[SplitRow]:
    near = dict(_near_of(rows, giving_way, kept, phash, distance))
    return [
        replace(row, split=LEFT_OUT, reason=reason, detail=near[row.sha256].sha256)
        if row.sha256 in near
        else row
        for row in rows
    ]


def _near_of(
    rows: Iterable[SplitRow], these: str, those: str, phash: Mapping[str, int], distance: int
) -> list[tuple[str, SplitRow]]:
    """Return the images of *these* that are near one of *those*, each with its nearest."""
    hashed = [row for row in rows if row.sha256 in phash]
    left = [row for row in hashed if row.split == these]
    right = [row for row in hashed if row.split == those]
    places = nearest(_hashes(left, phash), _hashes(right, phash), distance)
    return [(row.sha256, right[p]) for row, p in zip(left, places, strict=True) if p >= 0]


def _hashes(rows: Sequence[SplitRow], phash: Mapping[str, int]) -> Hashes:
    return np.array([phash[row.sha256] for row in rows], np.uint64)


def _near_pairs(
    splits: Splits, phash: Mapping[str, int], distance: int
) -> list[tuple[SplitRow, SplitRow, str]]:
    by_sha = {row.sha256: row for row in splits.rows}
    return [
        (by_sha[sha256], other, "near-duplicates")
        for giving_way, kept, _ in _LEAKS
        for sha256, other in _near_of(splits.rows, giving_way, kept, phash, distance)
    ]


def _divided_groups(
    splits: Splits, group_of: Mapping[str, str]
) -> list[tuple[SplitRow, SplitRow, str]]:
    members: dict[str, dict[str, SplitRow]] = defaultdict(dict)
    for row in splits.rows:
        if row.split != LEFT_OUT:
            members[group_of[row.sha256]].setdefault(row.split, row)
    divided = {group: list(of.values()) for group, of in members.items() if len(of) > 1}
    return [(rows[0], rows[1], f"both of group {group}") for group, rows in divided.items()]


def _refuse_empty(splits: Splits, catalogue: Catalogue, params: SplitParams) -> None:
    if len(splits.classes) < 2:
        raise DatasetError(
            f"there must be two classes or more, not {len(splits.classes)}",
            f"classes with images: {', '.join(splits.classes) or 'none'}",
            mend="add a class folder to the source, then: darkroom ingest",
        )
    present = Counter((row.label, row.split) for row in splits.rows)
    wanted = {row.label for row in splits.rows if row.label and row.reason not in _BY_CHOICE}
    missing = [(k, name) for k in sorted(wanted) for name in USED if not present[k, name]]
    if missing:
        first, *others = [f"class {label} has no image in {name}" for label, name in missing]
        raise DatasetError(
            first,
            *_left_out_of(splits, missing[0][0]),
            *others,
            mend=_mend_of(catalogue, params),
        )


def _mend_of(catalogue: Catalogue, params: SplitParams) -> str:
    columns = {name for row in catalogue.rows[:1] for name in row.columns}
    listed = (row.columns for row in catalogue.rows if not row.columns.get("reviewed_batch"))
    if any(columns.get("split") for columns in listed):
        return "the list's column split fixes it: give that class images there, or empty its cells"
    if params.group_by != "auto" or "group" in columns:
        return (
            "images of a group stay together: the class needs more groups, or split.group_by less"
        )
    return "add images of that class, or change split.seed or the shares in params.yaml"


def _left_out_of(splits: Splits, label: str) -> list[str]:
    """Say why images of a class are in no split, where some are."""
    reasons = Counter(r.reason for r in splits.of(LEFT_OUT) if r.label == label)
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()) if reason)
    return [f"of class {label} are left out: {told}"] if told else []
