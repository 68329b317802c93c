"""Calling DVC for what it alone may do: versioning the dataset."""

import os
import subprocess
import sys

from pipeline.errors import CommandError
from pipeline.workspace import Workspace


def dvc(workspace: Workspace, *arguments: str) -> None:
    """Run `dvc` in *workspace*, waiting for its lock; raise CommandError with its last words."""
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
        words = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.strip()]
        raise CommandError(
            f"dvc {' '.join(arguments)} failed",
            *words[:2],
            mend="dvc doctor, then the same command again",
        )
