"""Every error that a person is meant to read: what happened, where, and what to do.

Imports nothing of ours, so that every layer, and the code sealed into a model, can raise them.
"""

import errno
import os
from pathlib import Path


class DarkroomError(Exception):
    """Printed as at most five lines: what, up to three lines of where, and the mend."""

    code = "error"
    retryable = False

    def __init__(self, what: str, *where: str, mend: str) -> None:
        super().__init__(what)
        self.what = _one_line(what)
        self.where = tuple(map(_one_line, where[:3]))
        self.mend = _one_line(mend)

    def __str__(self) -> str:
        return "\n".join([self.what, *(f"  {line}" for line in self.where), f"  mend: {self.mend}"])


class ProjectError(DarkroomError):
    """The folder is not a Darkroom project, or a file of it is damaged."""

    code = "project"


class ParamsError(DarkroomError):
    """params.yaml says something that it must not."""

    code = "params"


class SourceError(DarkroomError):
    """The source of images cannot make a dataset."""

    code = "source"


class DatasetError(DarkroomError):
    """The snapshot, its catalogue and params.yaml do not belong together."""

    code = "dataset"


class ReviewError(DarkroomError):
    """There is nothing to review, or decisions do not fit the batch that they speak of."""

    code = "review"


class TrainingError(DarkroomError):
    """Training cannot start or go on."""

    code = "training"


class TrainingStopped(TrainingError):
    """Somebody wants it to end before its time; it can go on later."""

    code = "training_stopped"


class ArtefactError(DarkroomError):
    """A model's files are not what they were when it was sealed."""

    code = "artefact"


class StoreUnreachable(DarkroomError):
    """MLflow does not answer."""

    code = "store_unreachable"
    retryable = True


class StoreRefused(DarkroomError):
    """MLflow answers, and says no."""

    code = "store_refused"


class RegistryError(DarkroomError):
    """The registry holds no model that fits what was asked."""

    code = "registry"


class Busy(DarkroomError):
    """Somebody else is doing the same."""

    code = "busy"
    retryable = True


class StorageError(DarkroomError):
    """A disk is full, read-only or gone."""

    code = "storage"
    retryable = True


class CommandError(DarkroomError):
    """A program that Darkroom drives (dvc, git) failed in a way that it did not explain."""

    code = "command"


class UnreadableImage(Exception):
    """One image is refused; the others go on. *reason* is a word that rows and tables carry."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def of_the_disk(error: OSError) -> StorageError | None:
    """Return what a full, failing or forbidden disk is to a person; None for any other fault."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO):
        return None
    return StorageError(
        os.strerror(error.errno),
        str(error.filename or f"while writing for {Path.cwd()}"),
        mend="free space, or give the folder back its rights, and run the same command again",
    )


def of_the_system(error: OSError) -> StorageError | None:
    """Return what the disk's faults are to a person, or that something else lies in the place of a
    file or folder; None for any other fault."""
    if error.errno not in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
        return of_the_disk(error)
    return StorageError(
        os.strerror(error.errno),
        str(error.filename or f"below {Path.cwd()}"),
        mend="move away what lies there in the place of something else, and run it again",
    )


def legible(text: str) -> str:
    """Return *text* with a ? for each letter that steers a terminal, or turns the order of others:
    names of files and what a store says may hold any."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _one_line(text: str) -> str:
    """A file's name may hold line breaks."""
    return legible(" ".join(text.splitlines()))
