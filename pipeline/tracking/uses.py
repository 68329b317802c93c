"""How often the test images have been opened for a name: by it, alpha is spent.

A tag of the registered model holds the looks, oldest first: "2 b1946ac92492 591785b794601/..." are
two that are not named any more, and those that are. It is written before the test split is opened,
and outlives the versions: one that is deleted, or was never made because `register` was killed when
its figures were to be seen already, stays counted.
"""

from collections.abc import Iterable, Sequence

from pipeline.data.catalogue import Catalogue
from pipeline.data.splits import Splits
from pipeline.tracking.registry import Version, ensure_model
from pipeline.tracking.store import Store

_TAG = "darkroom.test_uses."
_LIST = "list"
_NAMED = 100
"""Looks whose names are kept; of older ones, the number. A store may hold 5,000 characters."""
_DIGITS = 12


def chosen_by(splits: Splits, catalogue: Catalogue) -> tuple[str, ...]:
    """Name what chooses the test images: the list that they are in, the split's seed, or both.

    No share is part of it. Those of one seed lie within each other: a test share of 0.16 tests all
    images that 0.15 does (split.assign), and validation has no say at all. What a list's column
    fixes, no seed moves; where it fixes some of them alone, the seed chooses the others.
    """
    fixed = {row.sha256 for row in catalogue.rows if row.columns.get("split") == "test"}
    seed = f"seed-{splits.seed}"
    if not fixed:
        return (seed,)
    by_seed = any(row.sha256 not in fixed for row in splits.of("test"))
    return (_LIST, seed) if by_seed else (_LIST,)


def look(digest: str, champion: Version | None, metric: str) -> str:
    """Name one comparison: another champion, or another metric, has another chance to err."""
    if champion is None:
        return digest[:_DIGITS]
    return "/".join((digest[:_DIGITS], champion.serving_digest[:_DIGITS], metric))


def count(client: Store, name: str, chosen_by: Sequence[str], look: str, at_least: int) -> int:
    """Record that the test images *chosen_by* are opened for *look*; return which use that is.

    They are counted from 1. The same look again is the same use: it shows nothing new. At least
    *at_least* uses came before, whatever the tags say; nor fewer than any count says of images that
    may be the same. A list may hold those of any seed.
    """
    ensure_model(client, name)
    held: dict[str, tuple[int, list[str]]] = {
        tag.removeprefix(_TAG): _read(written)
        for tag, written in client.get_registered_model(name).tags.items()
        if tag.startswith(_TAG)
    }
    known = [
        held[by][0] + held[by][1].index(look) + 1
        for by in chosen_by
        if by in held and look in held[by][1]
    ]
    related = held.keys() if _LIST in chosen_by else held.keys() & {*chosen_by, _LIST}
    before = max([at_least, *(held[by][0] + len(held[by][1]) for by in related)])
    use = known[0] if known else before + 1
    for by in chosen_by:
        looks = held.get(by, (0, []))[1]
        if look not in looks:  # a killed `register` may have written the first alone
            named = [*looks, look][-_NAMED:]
            unnamed = max(use, held.get(by, (0, []))[0] + len(looks) + 1) - len(named)
            client.set_registered_model_tag(name, _TAG + by, " ".join([str(unnamed), *named]))
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
