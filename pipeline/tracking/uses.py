"""How often the test images have been opened for a name: by it, alpha is spent.

A tag of the registered model holds the looks, oldest first: "2 b1946ac92492 591785b794601/..." are
two that are not named any more, and those that are. It is written before the test split is opened,
and outlives the versions: one that is deleted, or was never made because `register` was killed when
its figures were to be seen already, stays counted.
"""

from collections.abc import Iterable

from pipeline.data.catalogue import Catalogue
from pipeline.data.splits import Splits
from pipeline.tracking.registry import Version, ensure_model
from pipeline.tracking.store import Store

_TAG = "darkroom.test_uses"
_NAMED = 100
"""Looks whose names are kept; of older ones, the number. A store may hold 5,000 characters."""
_DIGITS = 12


def chosen_by(splits: Splits, catalogue: Catalogue) -> str:
    """Name what chooses the test images: the split's seed, or the list that they are in.

    No share is part of it. Those of one seed lie within each other: a test share of 0.16 tests all
    images that 0.15 does (split.assign), and validation has no say at all. What a list's column
    fixes, no seed moves.
    """
    fixed = any(row.columns.get("split") == "test" for row in catalogue.rows)
    return "list" if fixed else f"seed-{splits.seed}"


def look(digest: str, champion: Version | None, metric: str) -> str:
    """Name one comparison: another champion, or another metric, has another chance to err."""
    if champion is None:
        return digest[:_DIGITS]
    return "/".join((digest[:_DIGITS], champion.serving_digest[:_DIGITS], metric))


def count(client: Store, name: str, chosen_by: str, look: str, at_least: int) -> int:
    """Record that the test images *chosen_by* are opened for *look*; return which use that is.

    They are counted from 1. The same look again is the same use: it shows nothing new. At least
    *at_least* uses came before, whatever the tag says.
    """
    ensure_model(client, name)
    tag = f"{_TAG}.{chosen_by}"
    unnamed, looks = _read(client.get_registered_model(name).tags.get(tag, ""))
    if look in looks:
        return unnamed + looks.index(look) + 1
    unnamed = max(unnamed, at_least - len(looks))
    use = unnamed + len(looks) + 1
    named = [*looks, look][-_NAMED:]
    client.set_registered_model_tag(name, tag, " ".join([str(use - len(named)), *named]))
    return use


def of_versions(known: Iterable[Version], splits: Splits) -> int:
    """How many uses the versions themselves tell of: an older Darkroom recorded them nowhere else.

    It counted anew for each validation share, so that there may be more versions than the highest
    number; or fewer, where some were deleted.
    """
    seed = f"seed {splits.seed},"
    same = [v.tags for v in known if v.tags.get("darkroom.split", "").startswith(seed)]
    return max(len(same), *(int(tags.get("test_use", 0)) for tags in same), 0)


def _read(written: str) -> tuple[int, list[str]]:
    first, *looks = written.split() or ["0"]
    return (int(first), looks) if first.isdigit() else (0, [first, *looks])
