"""The files of a stored model: listed by name, kind and size, and fetched one by one.

Nobody vouches for the store. So nothing is fetched that was not asked for by its name, no link is
followed in a store on this disk, and no file is fetched that is larger than it may be.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import scandir
from pathlib import Path, PurePosixPath
from stat import S_ISDIR, S_ISREG

from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

LARGEST = 2 * 2**30
"""Bytes of a file whose size nobody states: no ONNX graph is larger."""


@dataclass(frozen=True)
class Stored:
    """One entry of a store."""

    kind: str
    """file, folder, or other: a link, a pipe, a device."""
    size: int | None = None
    """Bytes; None where the store does not say."""


def open_store(uri: str) -> ArtifactRepository:
    """Return where the files of models:/NAME/VERSION lie."""
    found = get_artifact_repository(uri)
    while (inner := getattr(found, "repo", None)) is not None:  # of a version: of its model
        found = inner
    return found


def differences(
    store: ArtifactRepository, wanted: Mapping[str, int | None], within: str = ""
) -> dict[str, list[str]]:
    """Return how the *store* differs from the files *wanted*, name → bytes (None: not known), in
    the folder *within* and below: `changed` (no file, or of another size), `added`, `missing`.

    Folders that hold nothing wanted are not looked into.
    """
    parents = {parent.as_posix() for name in wanted for parent in PurePosixPath(name).parents}
    folders = {"" if each == "." else each for each in parents}
    folders = {each for each in folders if PurePosixPath(each).is_relative_to(within)}
    found = _list(store, folders)
    files = {name: each for name, each in found.items() if name not in folders}
    not_folders = [n for n, each in found.items() if n in folders and each.kind != "folder"]
    wrong = {
        "changed": [
            *not_folders,
            *(n for n in files.keys() & wanted.keys() if not _fits(files[n], wanted[n])),
        ],
        "added": [*files.keys() - wanted.keys()],
        "missing": [*wanted.keys() - files.keys()],
    }
    return {how: sorted(names) for how, names in wrong.items() if names}


def fetch(store: ArtifactRepository, name: str, target: Path) -> None:
    """Copy one file of the *store*, of which `differences` found nothing wrong."""
    target.parent.mkdir(parents=True, exist_ok=True)
    # The public one lists, and shows a bar, for each file
    store._download_file(name, str(target))  # type: ignore[no-untyped-call]


def _fits(stored: Stored, size: int | None) -> bool:
    if stored.kind != "file":
        return False
    return stored.size is None or (stored.size <= LARGEST if size is None else stored.size == size)


def _list(store: ArtifactRepository, folders: Iterable[str]) -> dict[str, Stored]:
    if isinstance(store, LocalArtifactRepository):
        return _list_here(Path(store.artifact_dir), folders)
    return {
        entry.path: Stored("folder" if entry.is_dir else "file", entry.file_size)
        for folder in folders
        for entry in store.list_artifacts(folder or None)
    }


def _list_here(root: Path, folders: Iterable[str]) -> dict[str, Stored]:
    """MLflow's own list follows links."""
    found: dict[str, Stored] = {}
    for folder in folders:
        inside = PurePosixPath(folder)
        way = [root / each for each in (inside, *inside.parents)]
        if any(each.is_symlink() or not each.is_dir() for each in way):
            continue
        with scandir(root / folder) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                kind = "file" if S_ISREG(status.st_mode) else "other"
                kind = "folder" if S_ISDIR(status.st_mode) else kind
                name = (PurePosixPath(folder) / entry.name).as_posix()
                found[name] = Stored(kind, status.st_size)
    return found
