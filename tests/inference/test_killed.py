"""Whatever dies when: no row is missing, none comes twice, and no reader sees a part of a batch."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.inference.predictions import batch_folders, read_batch

ROOT = Path(__file__).parents[2]
FOLDERS, IMAGES = ("monday", "tuesday"), 150
CLASSIFY = """
import os, signal, sys
from pathlib import Path
from pipeline.export.artefact import open_artefact
from pipeline.inference import staging
from pipeline.inference.answering import Model
from pipeline.inference.batch import Watch, classify_folder, sweep
from pipeline.inference.inbox import find_new
from pipeline.inference.predictions import read_known

staging._ROWS_A_PART = 40
home, digest, killed_in = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
if killed_in:
    name, when = killed_in.split(":")
    whole, calls = getattr(os, name), []

    def deadly(*arguments, **options):
        calls.append(arguments)
        if len(calls) == int(when):
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*arguments, **options)

    setattr(os, name, deadly)
model = Model("m", 1, digest, open_artefact(home.parent / "serving", digest))
predictions, inbox = home / "predictions", home / "inbox"
print("ready", flush=True)
known = read_known(predictions, "m")
sweep(predictions, model)
for folder in find_new(inbox, home, known.describes):
    classify_folder(
        inbox, folder, model, known, predictions,
        batch_size=16, limit=10**6, now="now", watch=Watch(None, 0.05, 2),
    )
"""


@pytest.fixture
def filled(place):
    for folder in FOLDERS:
        for number in range(IMAGES):
            content = b"text" if number % 25 == 0 else number
            place.put(f"{folder}/{number:03d}.png", content)
    return place


def start(place, killed_in: str = "") -> subprocess.Popen:
    command = [sys.executable, "-c", CLASSIFY, place.home, place.model.serving_digest, killed_in]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert run.stdout.readline() == b"ready\n"
    return run


class Reader(threading.Thread):
    """Reads what is published, all the while."""

    def __init__(self, place) -> None:
        super().__init__()
        self.place, self.over, self.faults = place, threading.Event(), []

    def run(self) -> None:
        while not self.over.is_set():
            for folder in batch_folders(self.place.predictions, "m"):
                try:
                    rows: object = len(read_batch(folder))
                except StorageError as error:
                    rows = error
                if rows != IMAGES:
                    self.faults.append((folder, rows))
            time.sleep(0.005)


def every_file_has_one_row(place) -> None:
    paths = Counter(row["path"] for row in place.rows())
    expected = {
        f"inbox/{folder}/{number:03d}.png" for folder in FOLDERS for number in range(IMAGES)
    }
    assert set(paths) == expected
    assert set(paths.values()) == {1}
    assert [path.name for path in (place.predictions / "model=m").iterdir()] == ["version=1"]


@pytest.mark.parametrize(
    "moment", [pytest.param(n, marks=pytest.mark.full if n >= 2 else ()) for n in range(50)]
)
def test_killed_at_any_moment_every_file_has_one_row_in_the_end(filled, moment):
    reader, dice = Reader(filled), random.Random(moment)
    reader.start()
    try:
        for _ in range(dice.randint(1, 3)):
            run = start(filled)
            time.sleep(dice.uniform(0, 0.6))
            run.kill()
            run.wait(60)
        assert start(filled).wait(120) == 0
    finally:
        reader.over.set()
        reader.join()
    assert reader.faults == []
    every_file_has_one_row(filled)


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("fsync:1", id="before the first part is on the disk"),
        pytest.param("rename:1", id="before it has its name", marks=pytest.mark.full),
        pytest.param("rename:2", id="after a part", marks=pytest.mark.full),
        pytest.param("fsync:5", id="before the monitoring is on the disk", marks=pytest.mark.full),
        pytest.param("fsync:9", id="before the folder is", marks=pytest.mark.full),
        pytest.param("rename:5", id="before the batch appears"),
        pytest.param("fsync:10", id="after it appeared", marks=pytest.mark.full),
        pytest.param("rename:6", id="in the second batch", marks=pytest.mark.full),
    ],
)
def test_killed_at_a_named_point_every_file_has_one_row_in_the_end(filled, point):
    assert start(filled, point).wait(60) == -signal.SIGKILL
    assert start(filled).wait(120) == 0
    every_file_has_one_row(filled)


def test_a_batch_that_was_cut_off_between_its_parts_has_the_name_of_one_that_was_not(filled):
    assert start(filled, "rename:3").wait(60) == -signal.SIGKILL
    assert start(filled).wait(120) == 0
    found = sorted(folder.name for folder in batch_folders(filled.predictions, "m"))
    filled.predictions.rename(filled.home / "before")
    assert start(filled).wait(120) == 0
    assert sorted(folder.name for folder in batch_folders(filled.predictions, "m")) == found
