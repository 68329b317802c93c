"""A file at which runs die is tried alone, and given up after the third time; no other is."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.inference.suspects import MOST_DEATHS, Journal

ROOT = Path(__file__).parents[2]
DIES_AT_POISON = """
import ctypes, sys
from pathlib import Path
from pipeline.inference.answering import Model
from pipeline.inference.batch import Watch, classify_folder
from pipeline.inference.inbox import find_new
from pipeline.inference.predictions import read_known
from pipeline.serving.classifier import Prediction

class Deadly:
    classes, variant = ("dark", "light"), "fp32"

    def classify(self, images): ...

    def answer(self, images):
        if any(b"poison" in data for data in images):
            ctypes.string_at(0)  # in this thread, at once, as a decoder would
        return [Prediction("dark", 1.0, (1.0, 0.0), None, None) for _ in images]

home, predictions = Path(sys.argv[1]), Path(sys.argv[1]) / "predictions"
known = read_known(predictions, "m")
for folder in find_new(home / "inbox", home, known.describes):
    classify_folder(
        home / "inbox", folder, Model("m", 1, "digest", Deadly()), known, predictions,
        batch_size=64, limit=1000, now="now", watch=Watch(None, 0.05, 2),
    )
"""


def test_a_file_that_kills_its_run_three_times_is_given_up_alone(place):
    for number in range(20):
        place.put(f"{number:02d}.png", b"poison" if number == 9 else b"good")
    for death in range(MOST_DEATHS + 1):
        done = subprocess.run(
            [sys.executable, "-c", DIES_AT_POISON, place.home], cwd=ROOT, check=False
        )
        assert done.returncode == (-signal.SIGSEGV if death < MOST_DEATHS else 0)
        assert bool(place.rows()) == (death == MOST_DEATHS)
    expected = {f"{number:02d}.png": "dark" for number in range(20)}
    assert place.labels() == expected | {"09.png": "deadly"}
    assert [path.name for path in (place.predictions / "model=m").iterdir()] == ["version=1"]
    os.utime(place.inbox / "09.png")  # which does not make it another
    place.put("20.png", b"good")
    for _ in range(2):
        subprocess.run([sys.executable, "-c", DIES_AT_POISON, place.home], cwd=ROOT, check=True)
    assert place.labels() == expected | {"09.png": "deadly", "20.png": "dark"}


def test_a_note_is_of_those_that_were_under_way_and_only_of_them(tmp_path):
    child = os.fork()
    if child == 0:
        journal = Journal(tmp_path)
        with journal.at(["done.png"]):
            pass
        with journal.at(["under way.png", "beside it.png"]):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert Journal(tmp_path).deaths == {"under way.png": 1, "beside it.png": 1}
    assert Journal(tmp_path).deaths == {"under way.png": 1, "beside it.png": 1}, "counted once"


def test_an_error_that_is_told_is_no_death(tmp_path):
    with pytest.raises(OSError), Journal(tmp_path).at(["a.png"]):
        raise OSError
    assert not Journal(tmp_path).deaths


@pytest.mark.parametrize("content", [b"", b"[1", b"\xff\xfe", b"{}", b"3"])
def test_a_torn_note_says_nothing(tmp_path, content):
    (tmp_path / "at-1").write_bytes(content)
    (tmp_path / "deaths.json").write_bytes(b"[]")
    assert not Journal(tmp_path).deaths
