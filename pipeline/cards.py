"""The small JSON files that say what a folder of results holds."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import DarkroomError, ProjectError


def write_card(path: Path, card: Mapping[str, Any] | list[Any]) -> None:
    """Write *card*, keys sorted, so that equal cards are equal files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(card, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_card(path: Path) -> dict[str, Any]:
    """Raise ProjectError where *path* is missing or no JSON object."""
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(card, dict):
            raise ValueError("it is no JSON object")
        return card
    except (OSError, ValueError, TypeError) as error:
        raise ProjectError(
            f"{'/'.join(path.parts[-3:])} is missing or damaged",
            f"{type(error).__name__}: {error}".splitlines()[0][:200],
            mend="dvc repro (in a clone: dvc pull first)",
        ) from None


def write_error(path: Path, error: DarkroomError) -> None:
    """Leave *error* for the process that started this one."""
    facts = {
        "code": error.code,
        "what": error.what,
        "where": list(error.where),
        "mend": error.mend,
        "retryable": error.retryable,
    }
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(facts), encoding="utf-8")
    scratch.replace(path)


def read_error(path: Path) -> DarkroomError:
    facts = json.loads(path.read_text(encoding="utf-8"))
    error = DarkroomError(facts["what"], *facts["where"], mend=facts["mend"])
    error.code, error.retryable = facts["code"], facts["retryable"]
    return error
