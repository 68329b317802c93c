"""A source that changes while it is taken in, and an ingest that is killed: nothing half-done is
ever trained on, and the next ingest needs nobody's help."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from worlds import World, can_trace, environment, make_world

from pipeline.data.splits import read_splits
from pipeline.graph import dataset_version

CLASSES = ("cat", "dog", "fox")


def write_noise(path: Path, seed: int) -> None:
    """In place: a reader may find the file empty, or half of it."""
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG")


def write_source(source: Path, numbers: range) -> None:
    for number in numbers:
        write_noise(source / CLASSES[number % 3] / f"{number}.png", number)


def make_project(root: Path, source: Path) -> World:
    world = make_world(root)
    world.set(**{"data.source": str(source), "data.min_per_class": 2})
    return world


def held(world: World) -> dict[str, str]:
    """The snapshot's images, by name, and what they really contain."""
    images = world.workspace.images
    return {
        path.relative_to(images).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in images.rglob("*")
        if not path.is_dir()
    }


def named(world: World) -> dict[str, str]:
    rows = pq.read_table(world.workspace.catalogue).to_pylist()
    return {row["file"]: row["sha256"] for row in rows}


class Fire:
    """Adds, deletes, renames and rewrites files of *source*, at 100 Hz."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._dice = random.Random(7)
        self.done = 0

    @contextmanager
    def burning(self) -> Iterator[None]:
        over = threading.Event()
        thread = threading.Thread(target=self._burn, args=(over,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _burn(self, over: threading.Event) -> None:
        due = time.monotonic()
        while not over.is_set():
            self._act()
            self.done += 1
            due += 0.01
            time.sleep(max(0, due - time.monotonic()))

    def _act(self) -> None:
        files = sorted(self._source.rglob("*.png"))
        some, fresh = self._dice.choice(files), 10**6 + self.done
        aim = self._source / self._dice.choice(CLASSES) / f"{fresh}.png"
        act = self._dice.choice(("add", "delete", "rename", "rewrite"))
        if act == "add":
            write_noise(aim, fresh)
        elif act == "delete":
            some.unlink()
        elif act == "rename":
            some.rename(aim)
        else:
            write_noise(some, fresh)


def test_a_source_that_changes_all_the_while_is_taken_in_whole_by_the_next_ingest(tmp_path):
    source = tmp_path / "source"
    write_source(source, range(1500))
    world = make_project(tmp_path / "project", source)
    fire = Fire(source)
    for _ in range(2):
        with fire.burning():
            world.run("darkroom", "ingest")
        assert held(world) == named(world)
    assert fire.done > 100
    world.run("darkroom", "ingest")
    fresh = make_project(tmp_path / "fresh", source)
    fresh.run("darkroom", "ingest")
    catalogue, expected = (pq.read_table(w.workspace.catalogue) for w in (world, fresh))
    assert catalogue.equals(expected)
    assert len(catalogue) == len(list(source.rglob("*.png")))
    assert held(world) == named(world)
    assert dataset_version(world.workspace) == dataset_version(fresh.workspace)


@dataclass(frozen=True)
class Prepared:
    world: World
    """Has taken the source in as it was; since then it has changed. To be forked."""
    before: dict[str, str]
    """What its catalogue names."""
    after: dict[str, str]
    """What it names after an ingest that nobody stops."""
    version: str
    """The dataset's, after such an ingest."""
    seconds: float
    """That such an ingest takes."""
    dvc_seconds: float
    """For how many of them DVC is at work."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("killed")
    source = folder / "source"
    write_source(source, range(400))
    world = make_project(folder / "project", source)
    world.run("darkroom", "ingest")
    for number in range(100):
        (source / CLASSES[number % 3] / f"{number}.png").unlink()
    write_source(source, range(400, 700))
    for number in range(100, 150):  # under another class
        name = f"{number}.png"
        (source / CLASSES[number % 3] / name).rename(source / CLASSES[(number + 1) % 3] / name)
    whole = world.fork(folder / "whole")
    started = time.monotonic()
    ingest = start_ingest(whole)
    wait_for_dvc(ingest)
    dvc_started = time.monotonic()
    assert ingest.wait(120) == 0
    ended = time.monotonic()
    return Prepared(
        world,
        named(world),
        named(whole),
        dataset_version(whole.workspace),
        ended - started,
        ended - dvc_started,
    )


def start_ingest(world: World) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "ingest"],
        cwd=world.root,
        env=environment(world.root),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def children(pid: int) -> list[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for t in threads for child in (t / "children").read_text().split()]
    except OSError:
        return []


def wait_for_dvc(ingest: subprocess.Popen) -> None:
    while ingest.poll() is None and not children(ingest.pid):
        time.sleep(0.005)


def kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it was done
            continue


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    "moment", [pytest.param(n, marks=pytest.mark.full if n >= 2 else ()) for n in range(20)]
)
def test_a_killed_ingest_is_never_trained_on_and_the_next_one_needs_no_help(
    prepared, tmp_path, moment
):
    world = prepared.world.fork(tmp_path / "project")
    share = random.Random(moment).random()
    victim = ("dvc", "ingest", "both")[moment % 3]
    ingest = start_ingest(world)
    if victim == "dvc":
        wait_for_dvc(ingest)
        time.sleep(share * prepared.dvc_seconds)
    else:
        time.sleep((0.2 + 0.8 * share) * prepared.seconds)
    dvc = children(ingest.pid)
    kill({"dvc": dvc, "ingest": [ingest.pid], "both": [ingest.pid, *dvc]}[victim])
    ingest.wait(60)
    if moment % 2 == 0:
        split_by_hand(world, prepared, dvc)
    the_next_ingest_is_whole(world, prepared)


@pytest.mark.skipif(not can_trace(), reason="needs strace, and the right to use it")
@pytest.mark.parametrize(
    ("call", "count", "refused"),
    [
        pytest.param("rename", 9, True, marks=pytest.mark.full, id="some images moved in"),
        pytest.param("rename", 150, True, id="half of them"),
        pytest.param("rmdir", 1, True, marks=pytest.mark.full, id="all of them"),
        pytest.param("unlink", 1, True, id="and the catalogue"),
        pytest.param("unlink", 99, True, marks=pytest.mark.full, id="old ones swept out"),
        pytest.param("rmdir", 2, False, id="all of them, and DVC not told"),
    ],
)
def test_an_ingest_that_is_killed_between_two_changes_is_refused_until_the_next(
    prepared, tmp_path, call, count, refused
):
    """Moments of less than a millisecond: strace kills instead of the so-manieth call."""
    world = prepared.world.fork(tmp_path / "project")
    at = f"inject={call}:signal=KILL:when={count}"
    ingest = [sys.executable, "-m", "pipeline.cli", "ingest"]
    killed = world.run("strace", "-o", os.devnull, "-e", at, *ingest, ok=False)
    assert killed.returncode == -signal.SIGKILL
    split = world.run("dvc", "repro", "split", ok=False)
    if refused:
        assert split.returncode != 0
        assert "the snapshot's images are not those that its catalogue names" in split.stderr
        assert not world.workspace.splits.exists()
    else:
        assert split.returncode == 0
        assert named(world) == held(world) == prepared.after
    the_next_ingest_is_whole(world, prepared)


def the_next_ingest_is_whole(world: World, prepared: Prepared) -> None:
    world.run("darkroom", "ingest")
    assert named(world) == held(world) == prepared.after
    assert dataset_version(world.workspace) == prepared.version
    world.run("dvc", "repro", "split")
    assert {row.file for row in read_splits(world.workspace.splits).rows} == set(prepared.after)


def split_by_hand(world: World, prepared: Prepared, dvc: list[int]) -> None:
    """While the killed ingest's DVC may still be at work."""
    done = world.run("dvc", "repro", "split", ok=False)
    assert "Traceback" not in done.stderr
    if done.returncode != 0:
        assert not world.workspace.splits.exists()
        assert "mend: " in done.stderr or "lock" in done.stderr, done.stderr
        return
    images = {row.file: row.sha256 for row in read_splits(world.workspace.splits).rows}
    assert images in (prepared.before, prepared.after)
    wait_for_the_end_of(dvc)
    assert held(world) == images


def wait_for_the_end_of(orphans: list[int]) -> None:
    """Nobody may have waited for a process that is over: it has no command any more."""
    for pid in orphans:
        command = Path(f"/proc/{pid}/cmdline")
        while command.exists() and command.read_bytes():
            time.sleep(0.05)
