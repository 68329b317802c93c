"""Who serves, by a person's word: a version that has passed its gates, or the last champion."""

import os
from collections.abc import Callable

from pipeline.errors import RegistryError
from pipeline.evaluation.gate import GateRow, describe_row
from pipeline.operations.gates_now import have_changed
from pipeline.operations.lock import registry_lock
from pipeline.params import GateParams, Params
from pipeline.tracking import aliases, registry
from pipeline.tracking.loading import open_version
from pipeline.tracking.registry import CHAMPION, Version
from pipeline.tracking.store import connect, reaching
from pipeline.workspace import Home


def promote(home: Home, params: Params, number: int, say: Callable[[str], None]) -> None:
    """Make version *number* the champion.

    Raises RegistryError where there is no such version, or it did not pass every gate;
    ArtefactError where its files are not what was registered.
    """
    client, name = connect(home, os.environ), params.model_name
    with reaching(home, os.environ), registry_lock(home):
        version = registry.named(client, f"models:/{name}/{number}")
        _refuse_unpassed(version, params.gate)
        before = registry.by_alias(client, name, CHAMPION)
        if before and before.number == number:
            say(f"{name} version {number} is the champion already")
            return
        open_version(home, version)  # what does not load must not serve
        aliases.promote(client, version)
    say(f"{name}: champion: version {number}; before: {_named(before)}")


def rollback(home: Home, params: Params, say: Callable[[str], None]) -> None:
    """Make the previous champion champion again; raise RegistryError where there is none."""
    client, name = connect(home, os.environ), params.model_name
    with reaching(home, os.environ), registry_lock(home):
        present = registry.champion(client, name)
        target = aliases.previous(client, name)
        if target is None:
            raise RegistryError(
                f"{name} has no champion before version {present.number} to go back to",
                mend="darkroom models shows all versions; darkroom promote VERSION takes another",
            )
        open_version(home, target)
        aliases.roll_back(client, name)
    say(f"{name}: champion: version {target.number} again; before: version {present.number}")


def _refuse_unpassed(version: Version, gate: GateParams) -> None:
    if aliases.passed(version):
        return
    failed = [describe_row(GateRow(**r)) for r in aliases.gates_of(version) if not r["passed"]]
    where = failed[:2] or ["it was not registered by Darkroom, or by one that had no gates"]
    if have_changed(version, gate):
        where.append("`gate` in params.yaml has changed since: that judges new models alone")
    raise RegistryError(
        f"{version.name} version {version.number} did not pass its gates",
        *where,
        mend="train another one (any change of `train`, such as its seed, makes a new model) and "
        "register it: a known model is not judged again, whatever `gate` becomes",
    )


def _named(version: Version | None) -> str:
    return f"version {version.number}" if version else "none"
