"""Calling DVC, for what it alone may do."""

import os
import subprocess
import sys

from pipeline.errors import CommandError
from pipeline.workspace import Workspace


def has_remote(workspace: Workspace) -> bool:
    return bool(dvc(workspace, "remote", "list").strip())


def dvc(workspace: Workspace, *arguments: str) -> str:
    """Run `dvc` in *workspace*, waiting for its lock, and return what it prints.

    Raises CommandError with its last words.
    """
    environment = {k: v for k, v in os.environ.items() if k != "DVC_ROOT"}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments],
        cwd=workspace.root,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise CommandError(
            f"dvc {' '.join(arguments)} failed",
            *_words(done.stderr),
            mend="mend that, then the same command again; where no other dvc runs, "
            ".dvc/tmp/rwlock may be removed",
        )
    return done.stdout


def _words(stderr: str) -> list[str]:
    """DVC's own errors, without its invitations to ask for help."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or [line for line in lines if "dvc.org" not in line])[:2]
