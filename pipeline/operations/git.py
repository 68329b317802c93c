"""Calling git, on this project's repository alone."""

import os
import subprocess
from pathlib import Path

from pipeline.errors import CommandError
from pipeline.tracking.code import git_environment


def git(root: Path, *arguments: str) -> str:
    """Run git in *root* and return what it prints, without its hooks, which are for a person's own
    work. Raises CommandError with its last words."""
    try:
        done = subprocess.run(
            ["git", "-c", "core.hooksPath=/dev/null", "-C", str(root), *arguments],
            env=git_environment(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
        )
    except FileNotFoundError:
        raise CommandError("git is not installed", mend="install git") from None
    if done.returncode != 0:
        words = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise CommandError(
            f"git {arguments[0]} failed", *words[:3], mend="mend that, then the same again"
        )
    return done.stdout
