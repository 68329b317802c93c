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


def parse_json(text: str) -> Any:
    """Raise ValueError where *text*, whoever wrote it, is no JSON, or nests too deeply to be
    read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def read_json(path: Path) -> Any:
    """Raise ValueError where *path* is missing, no file (a pipe would be waited for) or no JSON."""
    if not path.is_file():
        raise ValueError("there is something else than a file" if path.exists() else "no file")
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(error.strerror) from None


def read_card(path: Path) -> dict[str, Any]:
    """Raise ProjectError where *path* is missing or no JSON object."""
    try:
        card = read_json(path)
        if not isinstance(card, dict):
            raise ValueError("it is no JSON object")
        return card
    except ValueError as error:
        raise ProjectError(
            f"{'/'.join(path.parts[-3:])} is missing or damaged",
            str(error)[:200],
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
