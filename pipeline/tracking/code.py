"""Which code ran: the commit, and what had been changed since."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

_OWN_ARTEFACTS = ("dvc.lock", "params.yaml", "data/dataset.dvc")
"""Logged whole, each by its own name."""


@dataclass(frozen=True)
class CodeState:
    commit: str
    patch: bytes
    """`git diff` of what is not committed; empty for a clean tree."""


def code_state(root: Path) -> CodeState | None:
    """Return the state of the git tree at *root*, or None where there is none."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    excluded = [f":(exclude){name}" for name in _OWN_ARTEFACTS]
    difference = ("diff", "--binary", "--no-ext-diff", "--no-color", "HEAD")
    patch = _git(root, *difference, "--", ".", *excluded)
    return CodeState(commit.decode().strip(), patch or b"")


def _git(root: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
