"""What changed between two versions of a dataset: images added, removed, relabelled."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.data.catalogue import CatalogueRow

NO_CLASS = "(no class)"
"""Stands for the class of an image that two classes claim."""


@dataclass(frozen=True)
class Version:
    """A dataset as somebody trained on it: with a person's corrections."""

    name: str
    """For people: a revision, a run, "now"."""
    digest: str
    """DVC's hash of it."""
    rows: Mapping[str, CatalogueRow]
    """By sha256."""
    labels: Mapping[str, str | None]
    """By sha256; None for an image that two classes claim."""


@dataclass(frozen=True)
class Change:
    row: CatalogueRow
    """Of the version that has the image; the later one's where both have it."""
    before: str | None
    after: str | None
    """Its class in either version."""


@dataclass(frozen=True)
class Diff:
    before: Version
    after: Version
    added: tuple[Change, ...]
    removed: tuple[Change, ...]
    relabelled: tuple[Change, ...]
    """Each sorted by class, then by path."""

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.removed or self.relabelled)


@dataclass(frozen=True)
class ClassChange:
    label: str
    before: int
    after: int
    """Images of the class in either version."""
    added: int
    removed: int
    gained: int
    """Relabelled to this class."""
    lost: int
    """Relabelled from this class."""


def diff(before: Version, after: Version) -> Diff:
    """Compare two versions image by image; an image is its content, whatever its path."""
    old, new = before.rows.keys(), after.rows.keys()
    return Diff(
        before,
        after,
        added=_sorted(Change(after.rows[k], None, after.labels[k]) for k in new - old),
        removed=_sorted(Change(before.rows[k], before.labels[k], None) for k in old - new),
        relabelled=_sorted(
            Change(after.rows[k], before.labels[k], after.labels[k])
            for k in old & new
            if before.labels[k] != after.labels[k]
        ),
    )


def by_class(found: Diff) -> list[ClassChange]:
    """Return one line for each class of either version, sorted; NO_CLASS is one of them."""
    before = Counter(map(_shown, found.before.labels.values()))
    after = Counter(map(_shown, found.after.labels.values()))
    added = Counter(_shown(change.after) for change in found.added)
    removed = Counter(_shown(change.before) for change in found.removed)
    gained = Counter(_shown(change.after) for change in found.relabelled)
    lost = Counter(_shown(change.before) for change in found.relabelled)
    return [
        ClassChange(
            label,
            before[label],
            after[label],
            added[label],
            removed[label],
            gained[label],
            lost[label],
        )
        for label in sorted(before.keys() | after.keys())
    ]


def _shown(label: str | None) -> str:
    return label or NO_CLASS


def _sorted(changes: Iterable[Change]) -> tuple[Change, ...]:
    return tuple(sorted(changes, key=lambda c: (c.after or "", c.before or "", c.row.path)))
