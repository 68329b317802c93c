"""Is every file of the dataset what its name says? A damaged one is named and had back.

DVC trusts a cached file that is read-only, whatever bytes are in it, and its hard links make an
accident in one place an accident in both: only hashing everything again can tell.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.catalogue import Catalogue, CatalogueRow, read_catalogue
from pipeline.data.folders import Entry
from pipeline.data.reading import opened_folder, read_beneath
from pipeline.data.reviewed import read_reviewed
from pipeline.data.sources import open_source
from pipeline.data.store import held
from pipeline.data.supplement import Supplement
from pipeline.errors import CommandError, DarkroomError, DatasetError, UnreadableImage
from pipeline.graph import dataset_version, listing_of
from pipeline.operations.dvc import dvc, has_remote
from pipeline.operations.dvc_cache import (
    Cache,
    md5_of,
    open_cache,
    refuse_other_version,
    replace_by_link,
)
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
class DatasetFile:
    """One file of the dataset, and the two places that hold it, hard links of one another."""

    name: str
    """Relative to data/dataset."""
    md5: str
    place: Path
    cached: Path

    @property
    def sha256(self) -> str | None:
        """Of an image's content: its name; None for the two tables."""
        stem = Path(self.name).stem
        return stem if self.name.startswith("images/") else None

    def faults(self) -> list[Path]:
        """Return the places that do not hold its content."""
        linked = self.place.exists() and self.cached.exists() and self.place.samefile(self.cached)
        if linked:
            return [] if self.is_content(self.place) else [self.place, self.cached]
        return [place for place in (self.place, self.cached) if not self.is_content(place)]

    def is_content(self, place: Path) -> bool:
        if self.sha256 is None:
            return md5_of(place) == self.md5
        try:
            with place.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except OSError:
            return False


def run(
    workspace: Workspace,
    home: Home,
    say: Callable[[str], None],
    watch: Watch = lambda done, of: None,
) -> Verified:
    """Hash the whole dataset, in the workspace and in DVC's cache; mend what is damaged from the
    other one of the two, from the source or data/reviewed, or from a DVC remote.

    What is damaged is set aside, so that nothing trains on it. Raises DatasetError naming what
    could not be had back, Busy where an ingest is at work.
    """
    with dataset_lock(workspace):
        version = dataset_version(workspace)
        cache = open_cache(workspace)
        held(workspace.dataset)  # nobody else's file may lie there
        files = _files(workspace, cache, version)
        refuse_other_version(workspace, cache, {file.name: file.md5 for file in files})
        damaged = _damaged(files, watch)
        _refuse_a_damaged_version(damaged)
        if damaged:
            _mend(workspace, home, damaged, say)
        shutil.rmtree(workspace.staging, ignore_errors=True)
    mended = tuple(sorted(file.name for file in damaged))
    say(
        f"dataset {version[:12]}: all {len(files)} files are what their names say"
        + (f"; {len(mended)} had to be mended" if mended else "")
    )
    return Verified(version, len(files), mended)


def _files(workspace: Workspace, cache: Cache, version: str) -> list[DatasetFile]:
    try:
        listed = cache.files(version)
    except DatasetError:
        listed = _have_list_back(workspace, cache, version)
    return [
        DatasetFile(name, md5, workspace.dataset / name, cache.object(md5))
        for name, md5 in listed.items()
    ]


def _have_list_back(workspace: Workspace, cache: Cache, version: str) -> dict[str, str]:
    """The cache may be empty: the workspace or a remote knows the list."""
    dataset = workspace.dataset
    here = {
        path.relative_to(dataset).as_posix(): md5_of(path) or ""
        for path in dataset.rglob("*")
        if path.is_file()
    }
    content = listing_of(here)
    if f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}.dir" == version:
        for name, md5 in here.items():
            replace_by_link(cache.object(md5), dataset / name, workspace.staging)
        return here
    told = _fetch(workspace)
    try:
        return cache.files(version)
    except DatasetError as error:
        raise DatasetError(
            error.what,
            f"the files in data/dataset are not that version, and {told}",
            mend="dvc pull where another remote has it, or darkroom ingest, which takes the "
            "source as it is now",
        ) from None


def _fetch(workspace: Workspace) -> str:
    """Ask the remote for what the cache lacks; return, in words, how that went."""
    if not has_remote(workspace):
        return "there is no remote"
    try:
        dvc(workspace, "fetch", "data/dataset.dvc")
    except CommandError as error:
        return f"the remote did not give it: {'; '.join(error.where) or error.what}"
    return "the remote does not have it"


def _refuse_a_damaged_version(damaged: dict[DatasetFile, list[Path]]) -> None:
    """`dvc repro` makes a version of whatever lies in data/dataset, damaged files too."""
    made_so = [
        file for file, faults in damaged.items() if any(md5_of(p) == file.md5 for p in faults)
    ]
    if made_so:
        raise DatasetError(
            f"{len(made_so)} images were damaged before this dataset version was made of them",
            *(file.name for file in made_so[:3]),
            mend="darkroom ingest --rescan takes them anew from the source; "
            "git log data/dataset.dvc names older versions",
        )


def _damaged(files: Sequence[DatasetFile], watch: Watch) -> dict[DatasetFile, list[Path]]:
    found = {}
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        results = zip(files, threads.map(DatasetFile.faults, files), strict=True)
        for done, (file, faults) in enumerate(results, 1):
            if faults:
                found[file] = faults
            watch(done, len(files))
    return found


def _mend(
    workspace: Workspace,
    home: Home,
    damaged: dict[DatasetFile, list[Path]],
    say: Callable[[str], None],
) -> None:
    """Each file is replaced by one rename: a mending that is cut off leaves none missing."""
    paths = _paths(workspace)
    aside = home.private / "damaged"
    for file in damaged:
        say(f"damaged or missing: {file.name}{_shown(paths.get(file.sha256 or ''))}")
    lost = {file for file, faults in damaged.items() if len(faults) == 2}
    told = "there is no remote"
    if lost:
        _from_sources(workspace, {file.sha256: file for file in lost if file.sha256}, aside, home)
        lost = {file for file in lost if len(file.faults()) == 2}
    if lost:
        for file in lost:
            _set_aside(file.cached, aside, keep=False)  # DVC fetches what its cache lacks
        told = _fetch(workspace)
    for file in damaged:
        faults = file.faults()
        if len(faults) == 1:
            good = file.cached if faults[0] == file.place else file.place
            _set_aside(faults[0], aside)
            replace_by_link(faults[0], good, workspace.staging)
    lost = {file for file in lost if len(file.faults()) == 2}
    for file in lost:
        _set_aside(file.place, aside, keep=False)
    if lost:
        names = sorted(f"{f.name}{_shown(paths.get(f.sha256 or ''))}" for f in lost)
        raise DatasetError(
            f"{len(lost)} files of the dataset are damaged, and no source has them",
            *names[:2],
            told,
            mend="dvc pull where another remote has them; darkroom ingest goes on without them",
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


def _from_sources(
    workspace: Workspace, wanted: dict[str, DatasetFile], aside: Path, home: Home
) -> None:
    """Put what the source or data/reviewed still has into the workspace's place."""
    catalogue = _catalogue(workspace)
    by_path = {
        path: wanted[row.sha256]
        for row in catalogue.rows
        if row.sha256 in wanted
        for path in (row.path, *row.copies)
    }

    def take(root: Path, entries: Iterable[Entry]) -> None:
        with opened_folder(root) as folder:
            for entry in entries:
                file = by_path.get(entry.path)
                if file is not None and entry.stat is not None:
                    with suppress(UnreadableImage):
                        data, _ = read_beneath(folder, entry.relative, entry.stat.st_size)
                        _put(file, data, workspace.staging, aside)

    with suppress(DarkroomError, OSError):  # the source may be gone
        source = open_source(catalogue.source, home)
        take(source.root, source.entries())
    with suppress(DarkroomError, OSError):
        reviewed = Supplement(home.reviewed, tuple(read_reviewed(home.reviewed)))
        take(reviewed.root, reviewed.entries(()))


def _put(file: DatasetFile, data: bytes, staging: Path, aside: Path) -> None:
    if hashlib.sha256(data).hexdigest() == file.sha256 and not file.is_content(file.place):
        for folder in (staging, file.place.parent):
            folder.mkdir(parents=True, exist_ok=True)
        (staging / file.place.name).write_bytes(data)
        _set_aside(file.place, aside)
        (staging / file.place.name).replace(file.place)


def _set_aside(place: Path, folder: Path, *, keep: bool = True) -> None:
    """Keep what is damaged, for whoever wants to look; with *keep* it stays in its place, too."""
    if place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(place, folder / place.name)
        if not keep:
            place.unlink()
