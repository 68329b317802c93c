"""The registered versions of this project's model, for a table."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.errors import RegistryError, legible
from pipeline.evaluation.comparison import Verdict
from pipeline.evaluation.gate import describe_row
from pipeline.evaluation.judging import BEWARE
from pipeline.operations.gates_now import failed_now
from pipeline.params import GateParams, Params
from pipeline.tracking import aliases, registry
from pipeline.tracking.registry import Version
from pipeline.tracking.store import connect, reaching
from pipeline.workspace import Home


@dataclass(frozen=True)
class Listed:
    number: int
    aliases: tuple[str, ...]
    registered: str
    """When, to the minute, UTC."""
    accuracy: str
    """On the test images, with its 95% interval."""
    verdict: str
    dataset: str
    digest: str


def run(home: Home, params: Params) -> list[Listed]:
    """Return all versions, the newest first; raise RegistryError where there is none."""
    client, name = connect(home, os.environ), params.model_name
    with reaching(home, os.environ):
        versions = registry.versions(client, name)
        if not versions:
            raise RegistryError(
                f"there is no version of {name} yet", mend="darkroom run, or darkroom register"
            )
        held = registry.aliases(client, name)
    return [
        _listed(
            version,
            tuple(sorted(a for a, n in held.items() if n == version.number)),
            params.gate,
        )
        for version in reversed(versions)
    ]


def _listed(version: Version, names: tuple[str, ...], gate: GateParams) -> Listed:
    tags = version.tags
    when = datetime.fromtimestamp(version.created / 1000, UTC)
    return Listed(
        number=version.number,
        aliases=names,
        registered=when.strftime("%Y-%m-%d %H:%M"),
        accuracy=_accuracy(tags),
        verdict=legible(_verdict(version) + _since(version, names, gate)),
        dataset=legible(tags.get("darkroom.dataset", "-")[:8]),
        digest=legible(version.serving_digest[:12]) or "-",
    )


def _accuracy(tags: dict[str, str]) -> str:
    try:
        found = [float(tags[f"test.accuracy{end}"]) for end in ("", "_low", "_high")]
    except (KeyError, ValueError):
        return "-"
    return "{:.4f} ({:.4f} to {:.4f})".format(*found)


def _verdict(version: Version) -> str:
    """In a few words: what it failed at, or how it stood against the champion of its day."""
    rows = aliases.gates_of(version)
    said = str(version.tags.get(aliases.VERDICT, "-"))
    if not rows:
        return said[:60]
    warning = f"{BEWARE}, may be guessing; " if aliases.may_be_guessing(version) else ""
    champion = next((_against(r) for r in rows if r["name"] == "champion"), "")
    failed = [r["name"] for r in rows if not r["passed"] and r["name"] != "champion"]
    if failed:
        return f"{warning}not promoted: {', '.join(failed)}; {champion}"
    return f"{warning}{'promoted' if aliases.passed(version) else 'not promoted'}: {champion}"


def _against(row: dict[str, Any]) -> str:
    within = row["verdict"] == Verdict.NOT_WORSE and row.get("bound")
    return f"{row['verdict']} by more than {-row['bound']:g}" if within else str(row["verdict"])


def _since(version: Version, names: tuple[str, ...], gate: GateParams) -> str:
    """What serves was judged by the gates of its day."""
    failed = failed_now(version, gate) if registry.CHAMPION in names else []
    return "".join(f"; fails today's gate: {describe_row(row)}" for row in failed)
