"""Checkpoints: a training that was killed at any moment goes on from the last one.

`<step>.ckpt` is the SHA-256 of what follows it, then torch's own format, read weights-only. The
last two are kept: the newest may have been cut off.
"""

import hashlib
import io
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from pipeline.errors import Busy
from pipeline.holding import held

_KEPT = 2
_ABANDONED = 8
"""Other trainings that were begun and never ended whose checkpoints are kept, the latest ones."""
_DIGEST = 32
_WRITTEN = "written"


def folder_of(private: Path, key: str) -> Path:
    """Return where the training of *key* leaves its checkpoints."""
    return private / "checkpoints" / key


@contextmanager
def hold(folder: Path) -> Iterator[Path]:
    """Hold *folder* for one trainer; raise Busy where another one of the same key is at work."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    busy = Busy(
        "another process is training exactly this",
        f"checkpoints: {folder}",
        mend="wait until it is done: its result will be taken over",
    )
    with held(Path(f"{folder}.lock"), busy):
        _sweep(folder)
        yield folder


def _sweep(own: Path) -> None:
    """Drop what was begun longest ago and never ended: nobody goes on with it."""
    ages = {}
    for path in own.parent.iterdir():
        with suppress(FileNotFoundError):  # another training has come to its end meanwhile
            if path.is_dir() and path != own:
                ages[path] = path.stat().st_mtime
    for old in sorted(ages, key=ages.__getitem__)[:-_ABANDONED]:
        with suppress(Timeout), FileLock(f"{old}.lock", timeout=0):  # it may be at work
            shutil.rmtree(old, ignore_errors=True)


def save(folder: Path, step: int, state: Mapping[str, Any]) -> None:
    """Write a checkpoint by one rename, then drop all but the last two."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    content = buffer.getbuffer()
    folder.mkdir(exist_ok=True)
    scratch = folder / ".scratch"
    with scratch.open("wb") as file:
        file.write(hashlib.sha256(content).digest())
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(folder / f"{step:012d}.ckpt")
    for old in sorted(folder.glob("*.ckpt"))[:-_KEPT]:
        old.unlink()


def load(folder: Path) -> dict[str, Any] | None:
    """Return the newest checkpoint that is whole; None where there is none."""
    for path in sorted(folder.glob("*.ckpt"), reverse=True):
        content = path.read_bytes()
        if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
            continue
        try:
            state: dict[str, Any] = torch.load(
                io.BytesIO(content[_DIGEST:]), map_location="cpu", weights_only=True
            )
        except Exception:  # noqa: S112, it fails in a dozen ways on what torch did not write
            continue
        if isinstance(state, dict):
            return state
    return None


def mark_written(folder: Path, version: str) -> None:
    """The outputs are written, as *version*. DVC has yet to store them, and may fail at it: until
    it has, the last checkpoint stays, so that they can be written again without any training."""
    (folder / _WRITTEN).write_text(version)


def written(folder: Path) -> str | None:
    """Return the version that the training of *folder* was written as; None before its end."""
    try:
        return (folder / _WRITTEN).read_text()
    except FileNotFoundError:
        return None


def forget(folder: Path) -> None:
    """The outputs are stored: a forced run trains anew."""
    shutil.rmtree(folder, ignore_errors=True)
