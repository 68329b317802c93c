"""An ingest reads what is new or changed and nothing else, and its history leaves no trace.

DVC is a stand-in here, so that a world is a few files in one folder.
"""

import hashlib
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data import reading, snapshot
from pipeline.data.catalogue import CatalogueRow, read_catalogue, read_quarantine
from pipeline.operations import ingest
from pipeline.operations.ingest import Ingested
from pipeline.params import Params
from pipeline.workspace import Home, Workspace


@dataclass
class Project:
    root: Path
    params: Params
    read: list[str]
    """Names of the files that the latest ingest opened."""

    @property
    def source(self) -> Path:
        return self.root / "source"

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    def put(self, name: str, seed: int | bytes) -> Path:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(seed, bytes):
            path.write_bytes(seed)
        else:  # BMP: another seed is another content of the same size
            pixels = np.random.default_rng(seed).integers(0, 256, (4, 4), np.uint8)
            Image.fromarray(pixels).save(path, "BMP")
        return path

    def set(self, **data: Any) -> None:
        update = self.params.data.model_copy(update=data)
        self.params = self.params.model_copy(update={"data": update})

    def ingest(self, **options: Any) -> Ingested:
        self.read.clear()
        home = Home(self.root)
        return ingest.run(self.workspace, home, self.params, lambda line: None, **options)

    def reads(self, **options: Any) -> list[str]:
        """Ingest; return the files that were opened, each once."""
        done = self.ingest(**options)
        assert done.read == len(self.read)
        return sorted(self.read)

    def rows(self) -> dict[str, CatalogueRow]:
        return {row.path: row for row in read_catalogue(self.workspace.catalogue).rows}

    def copy_of(self, path: str) -> Path:
        return self.workspace.images / self.rows()[path].file

    def refused(self) -> dict[str, str]:
        return {each.path: each.reason for each in read_quarantine(self.workspace.quarantine)}

    def tables(self) -> tuple[bytes, bytes]:
        return self.workspace.catalogue.read_bytes(), self.workspace.quarantine.read_bytes()


def version_of(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [str(path.relative_to(folder)).encode() + path.read_bytes() for path in files]
    return hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()


@pytest.fixture
def make(tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Project]:
    """Make projects whose files were all written long ago, and see what they open."""
    now, real = time.time_ns, snapshot.read_beneath
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10 * 10**9)
    opened: list[str] = []

    def read(root: int, name: str, limit: int) -> object:
        opened.append(name)
        return real(root, name, limit)

    def dvc(workspace: Workspace, *arguments: str) -> None:
        text = f"outs:\n- md5: {version_of(workspace.dataset)}.dir\n  path: dataset\n"
        workspace.dataset_dvc.write_text(text)

    monkeypatch.setattr(snapshot, "read_beneath", read)
    monkeypatch.setattr(ingest, "dvc", dvc)
    monkeypatch.setattr(ingest, "link_to_cache", lambda workspace: None)

    def made(name: str = "project") -> Project:
        project = Project(tmp_path / name, params, opened)
        project.set(source="source", min_per_class=1, max_refused=1.0)
        return project

    return made


IMAGES = {
    f"{label}/{n}.bmp": 10 * c + n for c, label in enumerate(("cat", "dog")) for n in range(3)
}


@pytest.fixture
def project(make: Callable[..., Project]) -> Project:
    """Two classes of three images, taken in."""
    made = make()
    for name, seed in IMAGES.items():
        made.put(name, seed)
    assert made.reads() == sorted(IMAGES)
    return made


def test_an_unchanged_source_opens_no_file_and_touches_nothing(project):
    before = {path: path.lstat() for path in (project.root / "data").rglob("*")}
    first = project.ingest()
    assert (first.read, first.images, project.read) == (0, 6, [])
    after = {path: path.lstat() for path in (project.root / "data").rglob("*")}
    assert {p: (s.st_ino, s.st_mtime_ns) for p, s in before.items()} == {
        p: (s.st_ino, s.st_mtime_ns) for p, s in after.items()
    }


def _rewrite_in_secret(project: Project) -> None:
    """Other bytes of the same size, and the time put back."""
    path = project.source / "cat/1.bmp"
    before = path.stat()
    project.put("cat/1.bmp", 99)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def _replace(project: Project) -> None:
    """The same bytes with the same times, in another file."""
    path = project.source / "cat/1.bmp"
    shutil.copy2(path, project.source / "copy")
    (project.source / "copy").replace(path)


CHANGES = {
    "written in secret": _rewrite_in_secret,
    "replaced": _replace,
    "touched": lambda project: os.utime(project.source / "cat/1.bmp", (9, 9)),
    "its copy deleted": lambda project: project.copy_of("cat/1.bmp").unlink(),
    "its copy cut off": lambda project: os.truncate(project.copy_of("cat/1.bmp"), 9),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_may_have_changed_is_read_again_and_no_other(project, change):
    change(project)
    assert project.reads() == ["cat/1.bmp"]
    content = (project.source / "cat/1.bmp").read_bytes()
    assert project.copy_of("cat/1.bmp").read_bytes() == content
    assert project.rows()["cat/1.bmp"].sha256 == hashlib.sha256(content).hexdigest()
    assert project.reads() == []


def test_a_file_that_moves_to_another_class_is_read_again_and_no_other(project):
    (project.source / "cat/1.bmp").rename(project.source / "dog/9.bmp")
    assert project.reads() == ["dog/9.bmp"]
    assert project.rows()["dog/9.bmp"].label == "dog"


def test_a_class_that_is_renamed_costs_its_own_files_alone(project):
    (project.source / "dog").rename(project.source / "wolf")
    assert project.reads() == [f"wolf/{n}.bmp" for n in range(3)]


def test_a_list_that_only_says_something_else_costs_no_reading(project):
    def listed(label: str) -> None:
        lines = [f"{name},{label if n else 'other'}" for n, name in enumerate(sorted(IMAGES))]
        (project.source / "list.csv").write_text("\n".join(["path,label", *lines]))

    project.set(source="source/list.csv")
    listed("cat")
    assert project.reads() == []  # it is the same folder
    listed("dog")
    assert project.reads() == []
    assert {row.label for row in project.rows().values()} == {"dog", "other"}


def test_with_other_limits_every_file_is_read_again(project):
    project.set(max_megapixels=1.0)
    assert project.reads() == sorted(IMAGES)


def test_rescan_reads_every_file_again_and_mends_a_copy_that_is_damaged_in_secret(project):
    before = project.tables()
    copy = project.copy_of("cat/1.bmp")
    copy.write_bytes(bytes(copy.stat().st_size))
    assert project.reads() == []
    assert project.reads(rescan=True) == sorted(IMAGES)
    assert copy.read_bytes() == (project.source / "cat/1.bmp").read_bytes()
    assert project.tables() == before


@pytest.mark.parametrize(
    "damage",
    [Path.unlink, lambda path: path.write_bytes(b"PAR1"), lambda path: os.truncate(path, 200)],
)
def test_a_damaged_memory_costs_one_reading_and_no_error(project, damage):
    before = project.tables()
    (memory,) = (project.root / ".darkroom/ingest").iterdir()
    damage(memory)
    assert project.reads() == sorted(IMAGES)
    assert project.tables() == before
    assert project.reads() == []


@pytest.mark.parametrize("lost", ["catalogue", "quarantine", "dataset_dvc"])
def test_a_table_that_was_lost_is_written_again_from_memory(project, lost):
    before = project.tables()
    getattr(project.workspace, lost).unlink()
    assert project.reads() == []
    assert project.tables() == before
    assert project.workspace.dataset_dvc.exists()


def test_a_file_written_just_now_is_read_once_more(project, monkeypatch):
    monkeypatch.undo()  # the clock is the real one again
    monkeypatch.setattr(ingest, "dvc", lambda workspace, *arguments: None)
    monkeypatch.setattr(ingest, "link_to_cache", lambda workspace: None)
    project.put("cat/new.bmp", 50)
    assert project.ingest().read == 1
    assert project.ingest().read == 1


def test_a_refused_file_is_not_read_again(project):
    project.put("cat/notes.txt", b"text")
    project.put("cat/empty.png", b"")
    project.put("loose.bmp", 77)
    project.put("cat/heavy.png", bytes(2 * 2**20))
    (project.source / "cat/link.png").symlink_to("0.bmp")
    os.mkfifo(project.source / "cat/pipe.png")
    project.set(max_megabytes=1.0)
    refused = {
        "cat/empty.png": "empty",
        "cat/heavy.png": "too_large",
        "cat/link.png": "not_a_file",
        "cat/notes.txt": "not_an_image",
        "cat/pipe.png": "not_a_file",
        "loose.bmp": "no_class",
    }
    assert project.reads() == sorted([*IMAGES, "cat/empty.png", "cat/notes.txt"])
    assert project.refused() == refused
    assert project.reads() == []
    assert project.refused() == refused


def test_a_file_that_may_be_readable_now_is_read_again(project, monkeypatch):
    project.put("cat/new.bmp", 50)
    with monkeypatch.context() as patch:
        patch.setattr(reading, "_read_whole", lambda descriptor, size: b"")
        project.ingest()
    assert project.refused() == {"cat/new.bmp": "changing"}
    assert project.reads() == ["cat/new.bmp"]
    assert project.refused() == {}
    assert project.reads() == []


def test_an_image_that_left_and_came_back_is_there_again(project):
    before = project.tables()
    (project.source / "cat/1.bmp").rename(project.root / "away")
    project.ingest()
    assert len(project.rows()) == 5
    (project.root / "away").rename(project.source / "cat/1.bmp")
    assert project.reads() == ["cat/1.bmp"]
    assert project.tables() == before


def test_sources_do_not_share_their_memory(project):
    shutil.copytree(project.source, project.root / "other")
    before = project.tables()
    project.set(source="other")
    assert project.reads() == sorted(IMAGES)
    project.set(source="source")
    assert project.reads() == []
    assert project.tables() == before


def test_the_one_who_watches_sees_every_file_that_is_read(project):
    project.put("cat/new.bmp", 50)
    project.put("cat/text.bmp", b"text")
    seen = []
    project.ingest(watch=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize("seed", range(4))
def test_equal_sources_make_equal_datasets_whatever_came_before(make, seed):
    """One is laid down in another order, in several ingests, with detours; the other at once."""
    files: dict[str, int | bytes] = IMAGES | {
        "cat/again.bmp": 0,
        "dog/conflict.bmp": 1,
        "dog/again.bmp": 12,
        "cat/notes.txt": b"text",
        "猫/\udcff.bmp": 30,
    }
    straight, winding = make("straight"), make("winding")
    for name, content in files.items():
        straight.put(name, content)
    straight.ingest()
    chance = random.Random(seed)
    names = chance.sample(sorted(files), len(files))
    winding.put("cat/detour.bmp", 40)
    winding.put("dog/detour.bmp", 41)
    for name in names:
        winding.put(name, chance.choice([files[name], 60, b"other"]))
        if chance.random() < 0.4:
            winding.ingest(rescan=chance.random() < 0.3)
    for name in chance.sample(names, len(names)):
        winding.put(name, files[name])
    shutil.rmtree(winding.source / "cat", ignore_errors=True)
    winding.ingest()
    for name in names:
        winding.put(name, files[name])
    (winding.source / "dog/detour.bmp").unlink()
    winding.ingest()
    assert winding.tables() == straight.tables()
    assert version_of(winding.workspace.dataset) == version_of(straight.workspace.dataset)
