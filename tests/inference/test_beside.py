"""Figures and pictures beside a batch's rows: of those rows alone, and never in their way."""

import io
import os
import random
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from brightness import png
from PIL import Image

from pipeline.inference import least_certain, timing
from pipeline.inference.answers_plot import draw as draw_answers
from pipeline.inference.beside import ANSWERS, Originals
from pipeline.inference.least_certain import IMAGES, SHEET, SIDE, Doubted, shrink
from pipeline.inference.review import LEAST_CERTAIN, Counts
from pipeline.inference.review import choose as choose_for_review
from pipeline.inference.rows import NewFile
from pipeline.inference.summary import summarise
from pipeline.inference.suspects import Journal
from pipeline.inference.timing import TIMING, Stopwatch, read_timing

ROOT = Path(__file__).parents[2]


def rows(count: int, seed: int) -> pa.Table:
    """Rows of which every third is refused, and some images lie at several paths."""
    dice = random.Random(seed)
    contents = [f"{number:064x}" for number in range(count // 2)]
    made = []
    for number in range(count):
        sha256 = dice.choice(contents)
        confidence = (int(sha256, 16) % 7) / 10 + 0.32  # many are equal
        answered = number % 3 > 0
        made.append(
            {
                "path": f"inbox/{dice.random()}.png",
                "sha256": sha256,
                "label": "cat" if answered else None,
                "confidence": confidence if answered else None,
                "width": 8 if answered else None,
                "height": 8 if answered else None,
                "reason": None if answered else "damaged",
                "abstain_reason": "ambiguous" if answered and confidence < 0.5 else None,
            }
        )
    return pa.Table.from_pylist(made)


@pytest.mark.parametrize("count", [6, 60, 600])
def test_the_sheet_shows_the_images_that_the_review_calls_least_certain(count):
    table = rows(count, seed=count)
    review = choose_for_review("batch", table.to_pylist(), Counts(0, IMAGES, 0))
    shown = least_certain.choose(table)
    assert [(each.path, each.sha256) for each in shown] == [
        (item.path, item.sha256) for item in review if item.because == LEAST_CERTAIN
    ]
    assert 0 < len(shown) <= IMAGES


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (3000, 2), (2, 3000), (640, 480)])
def test_a_picture_on_the_sheet_has_one_size_whatever_it_was(size):
    assert max(shrink(Image.new("RGB", size)).size) == SIDE


@pytest.mark.parametrize("count", [1, 5, 16])
def test_a_sheet_holds_any_names_and_is_the_same_for_the_same_images(count):
    words = ["cat", "日本", "$x$\n" * 50, "x" * 20_000, "", "\u202e\x1b[31m"]
    doubted = [
        Doubted(f"inbox/{words[n % 6]}", f"{n:064x}", words[n % 6], n / 16, 64)
        for n in range(count)
    ]
    pictures = [Image.new("RGB", (SIDE, 90), "red") if n % 2 else "gone" for n in range(count)]
    drawn = least_certain.draw(doubted, pictures, "a title " * 50)
    assert drawn == least_certain.draw(doubted, pictures, "a title " * 50)
    with Image.open(io.BytesIO(drawn)) as sheet:
        assert sheet.format == "JPEG"
        assert sheet.width < 4 * (SIDE + 20) and not sheet.getexif()


def test_a_file_is_shown_only_if_it_is_the_one_that_was_answered(tmp_path):
    data = png(7)
    for name in ("same.png", "deadly.png"):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "changed.png").write_bytes(png(8))
    (tmp_path / "link.png").symlink_to(tmp_path / "same.png")
    os.mkfifo(tmp_path / "pipe.png")
    names = [*(path.name for path in tmp_path.iterdir()), "lost.png", "folder/lost.png"]
    files = {name: NewFile(name, name, len(data), 0) for name in names}
    journal = Journal(tmp_path / "journal")
    journal.deaths["deadly.png"] = 1
    originals = Originals(tmp_path, files, 100_000, journal)
    digest = sha256(data).hexdigest()
    shown = {name: originals.picture(Doubted(name, digest, "dark", 0.5, 64)) for name in names}
    assert shown.pop("same.png").size == (SIDE, SIDE)
    assert shown == {
        "deadly.png": "a run died at it",
        "changed.png": "changed",
        "link.png": "not_a_file",
        "pipe.png": "not_a_file",
        "lost.png": "gone",
        "folder/lost.png": "gone",
    }
    journal.close()


def test_an_image_larger_than_usual_is_shown_if_it_was_answered(tmp_path):
    Image.new("L", (9000, 6000)).save(tmp_path / "large.png")
    data = (tmp_path / "large.png").read_bytes()
    files = {"large.png": NewFile("large.png", "large.png", len(data), 0)}
    originals = Originals(tmp_path, files, 10**6, Journal(tmp_path / "journal"))
    doubted = Doubted("large.png", sha256(data).hexdigest(), "dark", 0.5, 54_000_000)
    assert originals.picture(doubted).size == (SIDE, 107)


def test_a_batch_has_a_sheet_and_a_picture_of_its_answers(place):
    for number in range(20):
        place.put(f"{number}.png", 20 * (number % 12))
    place.put("bad.png", b"text")
    (batch,) = place.classify()
    for name in (SHEET, ANSWERS):
        with Image.open(batch.folder / name) as picture:
            assert picture.width > 500
    assert (batch.summary.images, batch.summary.refused) == (21, {"not_an_image": 1})
    assert read_timing(batch.folder) == batch.timing


def test_a_batch_of_refused_files_has_no_sheet(place):
    place.put("bad.png", b"text")
    (batch,) = place.classify()
    assert not (batch.folder / SHEET).exists()
    assert (batch.folder / ANSWERS).exists()


DEADLY = """
import os, signal, sys
from hashlib import sha256
from pathlib import Path
from pipeline.export.artefact import open_artefact
from pipeline.inference import beside
from pipeline.inference.answering import Model
from pipeline.inference.batch import classify_folder
from pipeline.inference.inbox import find_new
from pipeline.inference.monitoring import Watch
from pipeline.inference.predictions import read_known

def crash(picture):
    if picture.getpixel((0, 0))[0] == 127:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(picture)

whole, beside.shrink = beside.shrink, crash
home, digest = Path(sys.argv[1]), sys.argv[2]
model = Model("m", 1, digest, open_artefact(home.parent / "serving", digest))
known = read_known(home / "predictions", "m")
for folder in find_new(home / "inbox", home, known.describes):
    classify_folder(
        home / "inbox", folder, model, known, home / "predictions",
        batch_size=8, limit=10**6, now="now", watch=Watch(None, 0.05, 2),
    )
"""


def test_a_decoder_that_crashes_at_the_sheet_ends_one_run_and_not_every_one(place):
    for number in (127, 10, 250):
        place.put(f"{number}.png", number)
    command = [sys.executable, "-c", DEADLY, place.home, place.model.serving_digest]
    codes = [subprocess.run(command, cwd=ROOT, check=False).returncode for _ in range(2)]
    assert codes == [-signal.SIGKILL, 0]
    assert place.labels() == {"127.png": "dark", "10.png": "dark", "250.png": "light"}


def test_a_summary_counts_every_row_once():
    table = rows(60, seed=1)
    summary = summarise(table)
    answered = table.filter(table["label"].is_valid())["confidence"].to_pylist()
    assert summary.images == 60 == len(answered) + sum(summary.refused.values())
    assert sum(summary.histogram) == sum(summary.classes.values()) == len(answered)
    assert summary.histogram[6] == sum(0.3 <= value < 0.35 for value in answered)
    assert summary.figures()["abstained.ambiguous"] == sum(value < 0.5 for value in answered)
    assert summary.figures()["confidence.mean"] == pytest.approx(np.mean(answered))


@pytest.mark.parametrize("kept", ["refused", "not a number"])
def test_a_batch_without_a_confidence_has_counts_and_a_picture(kept):
    table = rows(9, seed=1)
    if kept == "refused":
        table = table.filter(table["label"].is_null())
    else:
        nothing = pa.array([float("nan")] * 9)
        table = table.set_column(3, "confidence", nothing)
    summary = summarise(table)
    assert not any(name.startswith("confidence") for name in summary.figures())
    assert draw_answers(summary, "title").startswith(b"\x89PNG")


def test_a_picture_of_answers_is_the_same_for_the_same_answers():
    summary = summarise(rows(60, seed=1))
    assert draw_answers(summary, "$title$") == draw_answers(summary, "$title$")


def test_a_stopwatch_counts_each_image_of_a_part_as_long_as_the_part_took(monkeypatch):
    clock = iter([0.0, 1.0, 4.0, 4.0, 5.0, 10.0])
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=clock.__next__))
    stopwatch = Stopwatch()
    assert stopwatch.figures() == {}
    for images in (3, 1):
        with stopwatch.answering(images):
            pass
    assert stopwatch.figures() == {
        "images_per_second": 4 / 10,
        "latency_p50_ms": 3000,
        "latency_p99_ms": 3000,
    }


SAYS = '{"figures": {}, "cores": 2, "published_at": "%s"}'


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "[" * 100_000, '{"published_at": 1}', SAYS % "now"),
        *(SAYS % "0001-01-01T00:00:00+14:00", SAYS % "1969-01-01T00:00:00+00:00"),
    ],
)
def test_a_damaged_timing_says_nothing(tmp_path, text):
    (tmp_path / TIMING).write_text(text)
    assert read_timing(tmp_path) is None
