"""Small disks and read-only ones, really mounted; where nobody may, the test is skipped."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGE = 4096
_ROOM = 2**26


@dataclass(frozen=True)
class Disk:
    """A file system in memory, at *folder*."""

    folder: Path

    @property
    def pages(self) -> int:
        """How many are in use."""
        found = os.statvfs(self.folder)
        return found.f_blocks - found.f_bfree

    def leave(self, pages: int) -> None:
        """Let it be full when so many *pages* more are in use."""
        self._remount(f"size={(self.pages + pages) * PAGE}")

    def make_room(self) -> None:
        self._remount(f"rw,size={_ROOM}")

    def lock(self) -> None:
        """Let nobody write to it, root neither."""
        self._remount("ro")

    def _remount(self, options: str) -> None:
        command = ["mount", "-o", f"remount,{options}", str(self.folder)]
        subprocess.run(command, check=True)


@contextmanager
def small_disk(folder: Path, size: str = str(_ROOM)) -> Iterator[Disk]:
    """A file system of *size* at *folder*; skips the test where none may be mounted."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        # Lazily: a client of MLflow keeps its database open as long as its process lives
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
