"""Who serves: the aliases of a model, and the order in which its champions came.

That order is a tag of the registered model, "1 3 7". It is written before the alias is moved, and
read by where the alias is: a crash in between, or a person who moves an alias in MLflow, leaves it
true. Whoever has the lock of the registry (pipeline/operations/lock.py) may write here.
"""

import json
from typing import Any

from pipeline.evaluation.judging import BEWARE
from pipeline.tracking.registry import CHALLENGER, CHAMPION, Version, by_alias, versions
from pipeline.tracking.store import Store

GATE, PROMOTED, VERDICT = "darkroom.gate", "darkroom.promoted", "darkroom.verdict"
"""Tags: the judged gates, as JSON; whether all were passed; what that comes to, in words."""
CHAMPIONS = "darkroom.champions"
_REMEMBERED = 100
_SETTLED = "darkroom.settled"
"""Tag: the aliases have been moved; a person may have moved them since."""


def passed(version: Version) -> bool:
    """Whether *version* passed every gate when it was registered."""
    return version.tags.get(PROMOTED) == "true"


def may_be_guessing(version: Version) -> bool:
    """Whether its verdict warned that it is not surely better than the commonest class."""
    return BEWARE in str(version.tags.get(VERDICT, ""))


def gates_of(version: Version) -> list[dict[str, Any]]:
    """Return the judged gates, each as a GateRow's fields; an older Darkroom's version has none."""
    try:
        rows = json.loads(version.tags.get(GATE, "[]"))
        return [row for row in rows if isinstance(row, dict)]
    except (ValueError, TypeError, RecursionError):
        return []


def settle(client: Store, version: Version, earned: bool) -> None:
    """Move the aliases that *version* has earned, once: what a person moves later stays."""
    if version.tags.get(_SETTLED) == "true":
        return
    client.set_registered_model_alias(version.name, CHALLENGER, str(version.number))
    if earned:
        promote(client, version)
    _settled(client, version)


def promote(client: Store, version: Version) -> None:
    """Make *version* the champion, and remember whose place it takes."""
    present = by_alias(client, version.name, CHAMPION)
    if present and present.number == version.number:
        return
    before = _champions(client, version.name)
    if present:
        _settled(client, present)
        before = [*_up_to(before, present.number), present.number]
    order = " ".join(map(str, [*before[-_REMEMBERED:], version.number]))
    client.set_registered_model_tag(version.name, CHAMPIONS, order)
    _point(client, version)


def roll_back(client: Store, name: str) -> Version | None:
    """Make the champion before the present one champion again; None where there was none.

    One that was deleted, or has not passed its gates, is passed over. What it takes the place of
    is no champion to go back to any more.
    """
    target = previous(client, name)
    if target:
        if present := by_alias(client, name, CHAMPION):
            _settled(client, present)
        _point(client, target)
    return target


def previous(client: Store, name: str) -> Version | None:
    """Return whom `roll_back` would make champion."""
    present = by_alias(client, name, CHAMPION)
    before = _champions(client, name)
    if present:
        before = _up_to(before, present.number)
    known = {version.number: version for version in versions(client, name)}
    held = (known[number] for number in reversed(before) if number in known)
    return next((version for version in held if passed(version)), None)


def _point(client: Store, version: Version) -> None:
    client.set_registered_model_alias(version.name, CHAMPION, str(version.number))


def _champions(client: Store, name: str) -> list[int]:
    written = client.get_registered_model(name).tags.get(CHAMPIONS, "")
    return [int(word) for word in written.split() if word.isdigit()]


def _up_to(order: list[int], number: int) -> list[int]:
    """Return those that came before *number* did last; all, where it never came."""
    if number not in order:
        return order
    return order[: len(order) - 1 - order[::-1].index(number)]


def _settled(client: Store, version: Version) -> None:
    """No `register` moves an alias to *version* any more."""
    client.set_model_version_tag(version.name, str(version.number), _SETTLED, "true")
