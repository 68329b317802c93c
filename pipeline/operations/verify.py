"""Is every file of the dataset what its name says? A damaged one is named and had back.

DVC trusts a cached file that is read-only, whatever bytes are in it, and its hard links make an
accident in one place an accident in both: only hashing everything again can tell.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.catalogue import Catalogue, CatalogueRow, read_catalogue
from pipeline.data.reading import opened_folder, read_beneath
from pipeline.data.sources import open_source
from pipeline.errors import DarkroomError, DatasetError, UnreadableImage
from pipeline.graph import dataset_version
from pipeline.operations.dvc import Cache, dvc, open_cache
from pipeline.operations.lock import dataset_lock
from pipeline.workspace import Home, Workspace

Watch = Callable[[int, int], None]
"""Is shown how many files have been hashed, of how many."""


@dataclass(frozen=True)
class Verified:
    version: str
    files: int
    mended: tuple[str, ...]
    """Those that were damaged or missing, and are whole again."""


@dataclass(frozen=True)
class Held:
    """One file of the dataset, and the two places that hold it, hard links of one another."""

    name: str
    """Relative to data/dataset."""
    md5: str
    place: Path
    cached: Path

    def faults(self) -> list[Path]:
        """Return the places that do not hold its content."""
        linked = self.place.exists() and self.cached.exists() and self.place.samefile(self.cached)
        if linked:
            return [] if _md5(self.place) == self.md5 else [self.place, self.cached]
        return [place for place in (self.place, self.cached) if _md5(place) != self.md5]

    def is_held(self) -> bool:
        return len(self.faults()) < 2


def run(
    workspace: Workspace,
    home: Home,
    say: Callable[[str], None],
    watch: Watch = lambda done, of: None,
) -> Verified:
    """Hash the whole dataset, in the workspace and in DVC's cache; mend what is damaged from the
    other one of the two, from the source, or from a DVC remote.

    What is damaged is set aside, so that nothing trains on it. Raises DatasetError naming what
    could not be had back, Busy where an ingest is at work.
    """
    with dataset_lock(workspace):
        version = dataset_version(workspace)
        files = _files(workspace, open_cache(workspace), version)
        damaged = _damaged(files, watch)
        if damaged:
            _mend(workspace, home, damaged, say)
    mended = tuple(sorted(file.name for file in damaged))
    say(
        f"dataset {version[:12]}: all {len(files)} files are what their names say"
        + (f"; {len(mended)} had to be mended" if mended else "")
    )
    return Verified(version, len(files), mended)


def _files(workspace: Workspace, cache: Cache, version: str) -> list[Held]:
    try:
        listed = cache.files(version)
    except DatasetError:
        listed = _have_list_back(workspace, cache, version)
    return [
        Held(name, md5, workspace.dataset / name, cache.object(md5)) for name, md5 in listed.items()
    ]


def _have_list_back(workspace: Workspace, cache: Cache, version: str) -> dict[str, str]:
    """The cache may have been emptied: the workspace, or a remote, can fill it again."""
    before = workspace.dataset_dvc.read_bytes()
    with suppress(DarkroomError):
        dvc(workspace, "add", "--quiet", "data/dataset")
    if workspace.dataset_dvc.read_bytes() != before:
        workspace.dataset_dvc.write_bytes(before)
        with suppress(DarkroomError):
            dvc(workspace, "fetch", "--quiet", "data/dataset.dvc")
    try:
        return cache.files(version)
    except DatasetError as error:
        raise DatasetError(
            error.what,
            "the files in data/dataset are not that version either, and no remote has it",
            mend="darkroom ingest takes the dataset anew from the source, as it is now",
        ) from None


def _damaged(files: Sequence[Held], watch: Watch) -> dict[Held, list[Path]]:
    found = {}
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        results = zip(files, threads.map(Held.faults, files), strict=True)
        for done, (file, faults) in enumerate(results, 1):
            if faults:
                found[file] = faults
            watch(done, len(files))
    return found


def _mend(
    workspace: Workspace,
    home: Home,
    damaged: dict[Held, list[Path]],
    say: Callable[[str], None],
) -> None:
    paths = _paths(workspace)
    for file, faults in damaged.items():
        say(f"damaged or missing: {file.name}{_shown(paths.get(_sha256_of(file)))}")
        for place in faults:
            _set_aside(place, home.private / "damaged")
    lost = [file for file in damaged if not file.is_held()]
    _from_source(workspace, home, {_sha256_of(file): file for file in lost})
    lost = [file for file in lost if not file.is_held()]
    if lost:
        with suppress(DarkroomError):  # no remote, or one that lacks them: told below
            dvc(workspace, "fetch", "--quiet", "data/dataset.dvc")
    for file in damaged:
        _complete(file)
    lost = [file for file in damaged if not file.is_held()]
    if lost:
        raise DatasetError(
            f"{len(lost)} files of the dataset are damaged, and neither source nor remote has them",
            *(f"{file.name}{_shown(paths.get(_sha256_of(file)))}" for file in lost[:3]),
            mend="darkroom ingest takes the dataset anew from the source, as it is now",
        )


def _paths(workspace: Workspace) -> dict[str, CatalogueRow]:
    return {row.sha256: row for row in _catalogue(workspace).rows}


def _catalogue(workspace: Workspace) -> Catalogue:
    """The catalogue may be what is damaged."""
    try:
        return read_catalogue(workspace.catalogue)
    except DatasetError:
        return Catalogue("", ())


def _shown(row: CatalogueRow | None) -> str:
    return "" if row is None else f" ({row.path})"


def _sha256_of(file: Held) -> str:
    return Path(file.name).stem


def _from_source(workspace: Workspace, home: Home, wanted: dict[str, Held]) -> None:
    """Copy what the source still has into the workspace."""
    catalogue = _catalogue(workspace)
    by_path = {
        path: wanted[row.sha256]
        for row in catalogue.rows
        if row.sha256 in wanted
        for path in (row.path, *row.copies)
    }
    if not by_path:
        return
    with suppress(DarkroomError, OSError):  # the source may be gone
        source = open_source(catalogue.source, home)
        with opened_folder(source.root) as folder:
            for entry in source.entries():
                file = by_path.get(entry.path)
                if file is not None and not file.is_held():
                    with suppress(UnreadableImage):
                        data, _ = read_beneath(folder, entry.relative, 2**40)
                        _write(file, data, workspace.staging)


def _write(file: Held, data: bytes, staging: Path) -> None:
    if hashlib.md5(data, usedforsecurity=False).hexdigest() == file.md5:
        for folder in (staging, file.place.parent):
            folder.mkdir(parents=True, exist_ok=True)
        (staging / file.place.name).write_bytes(data)
        (staging / file.place.name).replace(file.place)


def _complete(file: Held) -> None:
    """Let both places hold what one of them does."""
    for have, lack in ((file.cached, file.place), (file.place, file.cached)):
        if _md5(have) == file.md5 and not lack.exists():
            lack.parent.mkdir(parents=True, exist_ok=True)
            try:
                lack.hardlink_to(have)
            except OSError:
                shutil.copyfile(have, lack)
            lack.chmod(0o444)  # as DVC leaves them


def _set_aside(place: Path, folder: Path) -> None:
    if place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.move(place, folder / place.name)


def _md5(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, _new_md5).hexdigest()
    except OSError:
        return None


def _new_md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)
