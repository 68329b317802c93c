"""What DVC alone may do (versioning the dataset), and what it keeps: every version's files."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import CommandError, DatasetError
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Cache:
    """DVC's cache: files under the MD5 of their content."""

    root: Path

    def name(self, md5: str) -> str:
        """Return where an object lies, relative to the cache."""
        return f"files/md5/{md5[:2]}/{md5[2:]}"

    def object(self, md5: str) -> Path:
        return self.root / self.name(md5)

    def files(self, version: str) -> dict[str, str]:
        """Return the MD5 of every file of a dataset version, by its path in data/dataset.

        Raises DatasetError where the cache does not hold the version.
        """
        if re.fullmatch(r"[0-9a-f]{32}\.dir", version) is None:
            raise _not_held(version)
        try:
            listed = json.loads(self.object(version).read_bytes())
            return {str(file["relpath"]): str(file["md5"]) for file in listed}
        except (OSError, ValueError, KeyError, TypeError):
            raise _not_held(version) from None


def open_cache(workspace: Workspace) -> Cache:
    return Cache(workspace.root / dvc(workspace, "cache", "dir").strip())


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
        words = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.strip()]
        raise CommandError(
            f"dvc {' '.join(arguments)} failed",
            *words[:2],
            mend="dvc doctor, then the same command again",
        )
    return done.stdout


def _not_held(version: str) -> DatasetError:
    return DatasetError(
        f"DVC's cache does not hold dataset version {version[:12]}",
        "it was made elsewhere, or collected as garbage",
        mend="dvc fetch --all-commits brings what the remote has",
    )
