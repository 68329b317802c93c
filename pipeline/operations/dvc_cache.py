"""What DVC keeps: the files of every dataset version, under the MD5 of their content."""

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.data.catalogue import is_catalogue
from pipeline.errors import DatasetError
from pipeline.graph import dataset_version
from pipeline.operations.dvc import dvc
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


def link_to_cache(workspace: Workspace) -> None:
    """Let every file of the dataset that DVC has left a copy of its own share its cached bytes.

    DVC links what it adds, but not what its cache holds already.
    """
    alone = list(_alone(workspace.dataset))
    if not alone:
        return
    cache = open_cache(workspace)
    files = cache.files(dataset_version(workspace))
    for path in alone:
        cached = cache.object(files[path.relative_to(workspace.dataset).as_posix()])
        if md5_of(cached) == md5_of(path) is not None:
            replace_by_link(path, cached, workspace.staging)


def _alone(dataset: Path) -> Iterator[Path]:
    """Yield the files that share their bytes with no other."""
    for folder, _, names in os.walk(dataset):
        for name in names:
            found = os.lstat(f"{folder}/{name}")
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                yield Path(folder, name)


def replace_by_link(path: Path, source: Path, staging: Path) -> None:
    """Put a hard link of *source*, or a copy, in the place of *path*, by one rename; read-only, as
    DVC leaves its files."""
    for folder in (staging, path.parent):
        folder.mkdir(parents=True, exist_ok=True)
    scratch = staging / f"link-{path.name}"
    scratch.unlink(missing_ok=True)
    try:
        scratch.hardlink_to(source)
    except OSError:  # another file system
        shutil.copyfile(source, scratch)
    scratch.chmod(0o444)
    scratch.replace(path)


def md5_of(path: Path) -> str | None:
    """Return the MD5 of a file; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, _md5).hexdigest()
    except OSError:
        return None


def _md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)


def refuse_other_version(workspace: Workspace, cache: Cache, files: Mapping[str, str]) -> None:
    """Raise DatasetError where data/dataset is not what data/dataset.dvc names: an ingest was cut
    off, or git has switched branches. (A catalogue that is a link into the cache is that
    version's, whatever has become of its bytes.)"""
    md5 = files.get("catalogue.parquet", "")
    cached = cache.object(md5)
    here = workspace.catalogue
    if here.exists() and cached.exists() and here.samefile(cached):
        return
    if md5_of(here) == md5 or not is_catalogue(here):
        return
    raise DatasetError(
        "data/dataset is not the version that data/dataset.dvc names",
        "an ingest was cut off before its end, or git has switched to another version",
        mend="darkroom ingest (the source as it is now), or dvc checkout data/dataset.dvc",
    )


def open_cache(workspace: Workspace) -> Cache:
    return Cache(workspace.root / dvc(workspace, "cache", "dir").strip())


def _not_held(version: str) -> DatasetError:
    return DatasetError(
        f"DVC's cache does not hold dataset version {version[:12]}",
        "it was made elsewhere, or collected as garbage",
        mend="dvc fetch --all-commits brings what the remote has",
    )
