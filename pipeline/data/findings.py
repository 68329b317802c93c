"""What a person should see of single images: what was left out, doubled, corrected or refused."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.data.catalogue import Catalogue, CatalogueRow, Refusal
from pipeline.data.splits import LEFT_OUT, SplitRow, Splits

SHOWN = 100
"""Findings of one kind that are shown; the rest is counted."""
EXAMPLES = 25
"""Refused files of one reason, and copies of one image, that are named."""
NOT_REFUSED = ("duplicate", "label_conflict")
"""Reasons of the quarantine that do not mean that a file could not be read."""

_LEFT_OUT = {
    "near_test": (
        "Nearly the same as a test image",
        "Left out of train and validation: the model would be tested on what it has seen.",
    ),
    "near_val": (
        "Nearly the same as a validation image",
        "Left out of train: the epoch that is kept would be chosen on what it has seen.",
    ),
    "label_conflict": (
        "The same image in two classes",
        "Left out until a line of data/corrections/relabel.csv names its class.",
    ),
    "copies_disagree": (
        "Copies that contradict one another",
        "The list names the same image twice, with another group or split: left out.",
    ),
    "excluded": ("Excluded by a person", "In data/corrections/exclude.csv, with the reason given."),
    "no_group": ("Without a group", "Nothing says which group it belongs to: left out."),
}
"""By the reason in data/splits.parquet: a heading, and what it means."""
_REFUSED = {
    "changing": "was written to each time that it was read",
    "damaged": "an image whose pixels cannot all be decoded: cut off, or bits are wrong",
    "empty": "a file without a byte",
    "gone": "went away before it was read, or is named by the list alone",
    "in_source": "reviewed, and in the source as well: it stays what it is there",
    "listed_twice": "named by an earlier line of the list",
    "new_class": "reviewed as a class of which the source has no image to validate and test on",
    "no_class": "neither a class folder nor the list says what it shows",
    "not_a_file": "a link, a pipe, a socket or a device: never followed, never opened",
    "not_an_image": "neither JPEG, PNG, GIF, BMP, WEBP nor TIFF by its content",
    "outside": "leads out of the list's folder",
    "too_deep": "in too many folders, one in the other",
    "too_large": "more bytes than data.max_megabytes allows",
    "too_many_pixels": "more pixels than data.max_megapixels allows",
    "unreadable": "could not be opened or read: rights, or the disk",
}
"""By the reason in quarantine.csv: what it means."""
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Picture:
    sha256: str
    file: str
    path: str
    label: str | None
    """None where the source names two."""
    split: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Case:
    """One image, or two side by side, and what is to be said of them."""

    pictures: tuple[Picture, ...]
    says: str | None = None
    places: tuple[tuple[str, str], ...] = ()
    """Where the same bytes lie, and what is to be said of each place."""
    more: int = 0
    """Places that are not named."""
    is_alarming: bool = False
    """Two pictures that are nearly the same, in two classes."""


@dataclass(frozen=True)
class Finding:
    key: str
    title: str
    about: str
    total: int
    cases: tuple[Case, ...]
    """The first SHOWN of them."""
    alarming: int = 0


@dataclass(frozen=True)
class Refused:
    reason: str
    about: str
    total: int
    examples: tuple[Refusal, ...]


def pictures_of(catalogue: Catalogue, splits: Splits) -> dict[str, Picture]:
    """Lay the two tables side by side, by sha256."""
    split_of = {row.sha256: row for row in splits.rows}
    return {
        row.sha256: _picture(row, split_of[row.sha256])
        for row in catalogue.rows
        if row.sha256 in split_of
    }


def left_out(
    catalogue: Catalogue,
    splits: Splits,
    refusals: Iterable[Refusal],
    pictures: Mapping[str, Picture],
) -> tuple[Finding, ...]:
    """Say of every image that no split uses why; of a near-duplicate, beside which one."""
    by_reason: dict[str, list[SplitRow]] = defaultdict(list)
    for row in splits.of(LEFT_OUT):
        by_reason[row.reason or "left_out"].append(row)
    rows = {row.sha256: row for row in catalogue.rows}
    told = {each.path: each.detail for each in refusals if each.reason == "label_conflict"}
    order = [*_LEFT_OUT, *sorted(set(by_reason) - set(_LEFT_OUT))]
    found = []
    for reason in filter(by_reason.__contains__, order):
        cases = [_left_out(row, rows, told, pictures) for row in by_reason[reason]]
        cases.sort(key=lambda case: not case.is_alarming)
        title, about = _LEFT_OUT.get(reason, (reason, ""))
        alarming = sum(case.is_alarming for case in cases)
        found.append(Finding(reason, title, about, len(cases), tuple(cases[:SHOWN]), alarming))
    return tuple(found)


def doubled(catalogue: Catalogue, pictures: Mapping[str, Picture]) -> Finding:
    """Images that were found more than once within one class; most copies first."""
    rows = [row for row in catalogue.rows if row.copies and row.label is not None]
    rows.sort(key=lambda row: -len(row.copies))
    return Finding(
        "doubled",
        "The same image more than once",
        "Kept once, under the first of its names. The copies change nothing.",
        len(rows),
        tuple(_with_places(pictures[row.sha256], row.copies) for row in rows[:SHOWN]),
    )


def relabelled(catalogue: Catalogue, pictures: Mapping[str, Picture]) -> Finding:
    rows = [row for row in catalogue.rows if pictures[row.sha256].label != row.label]
    return Finding(
        "relabelled",
        "Relabelled by a person",
        "In data/corrections/relabel.csv. The source is as it was.",
        len(rows),
        tuple(
            Case((pictures[row.sha256],), says=f"was {row.label or 'in two classes'}")
            for row in rows[:SHOWN]
        ),
    )


def refused(refusals: Iterable[Refusal]) -> tuple[Refused, ...]:
    """Group the files that could not be taken in by their reason, the commonest first."""
    by_reason: dict[str, list[Refusal]] = defaultdict(list)
    for refusal in refusals:
        if refusal.reason not in NOT_REFUSED:
            by_reason[refusal.reason].append(refusal)
    return tuple(
        Refused(reason, _REFUSED.get(reason, ""), len(files), tuple(files[:EXAMPLES]))
        for reason, files in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    )


def evenly(pictures: Sequence[Picture], count: int) -> tuple[Picture, ...]:
    """Return *count* of *pictures*, evenly over their order."""
    count = min(count, len(pictures))
    return tuple(pictures[i * len(pictures) // count] for i in range(count))


def _picture(row: CatalogueRow, split: SplitRow) -> Picture:
    size = (row.width, row.height)
    return Picture(row.sha256, row.file, row.path, split.label, split.split, size)


def _left_out(
    split: SplitRow,
    rows: Mapping[str, CatalogueRow],
    told: Mapping[str, str],
    pictures: Mapping[str, Picture],
) -> Case:
    row, picture = rows[split.sha256], pictures[split.sha256]
    partner = pictures.get(split.detail or "")
    if partner is not None:
        differ = picture.label != partner.label
        says = f"{_bits(row, rows[partner.sha256])} of the 64 bits of their hashes differ"
        return Case((picture, partner), says, is_alarming=differ)
    if split.reason == "label_conflict":
        return _with_places(picture, (row.path, *row.copies), told)
    if split.reason == "copies_disagree":
        return _with_places(picture, (row.path, *row.copies), says=split.detail)
    return Case((picture,), split.detail)


def _with_places(
    picture: Picture,
    paths: Sequence[str],
    told: Mapping[str, str] = _NOTHING,
    says: str | None = None,
) -> Case:
    places = tuple((path, told.get(path, "")) for path in paths[:EXAMPLES])
    return Case((picture,), says, places, max(0, len(paths) - EXAMPLES))


def _bits(one: CatalogueRow, other: CatalogueRow) -> int:
    """Return by how many bits two perceptual hashes differ."""
    return (int(one.phash or "0", 16) ^ int(other.phash or "0", 16)).bit_count()
