"""New folders become batches, whole or not at all; every file has exactly one row."""

import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from brightness import png

from pipeline.errors import StorageError
from pipeline.inference import answering
from pipeline.inference.rows import NewFile
from pipeline.serving.images import HEAVY

ROOT = Path(__file__).parents[2]


def test_every_file_has_exactly_one_row_with_its_own_answer(place):
    expected = {}
    for number, kind in enumerate(["dark", "empty", "light", "light", "not_an_image", "dark"] * 3):
        data = {"dark": png(number), "light": png(255 - number), "empty": b""}.get(kind, b"text")
        expected[place.put(f"{number:02d}.png", data).name] = kind
    (batch,) = place.classify(batch_size=4)
    assert place.labels() == expected
    assert (batch.images, batch.refused) == (18, 6)


def test_a_row_says_what_was_read_and_who_answered(place):
    file = place.put("a.png", 255)
    place.classify()
    (row,) = place.rows()
    confidence = row.pop("confidence")
    assert 0.9 < confidence <= 1
    assert dict(row.pop("probabilities")) == {
        "dark": pytest.approx(1 - confidence, abs=1e-6),
        "light": confidence,
    }
    assert row == {
        "path": "inbox/a.png",
        "row": None,
        "sha256": sha256(file.read_bytes()).hexdigest(),
        "bytes": file.stat().st_size,
        "modified_ns": file.stat().st_mtime_ns,
        "label": "light",
        "reason": None,
        "detail": None,
        "abstain_reason": None,
        "conformal_set": None,
        "ood_score": None,
        "width": 8,
        "height": 8,
        "brightness": 1.0,
        "sharpness": 0.0,
        "metadata": None,
        "model_name": "m",
        "model_version": 1,
        "serving_digest": place.model.serving_digest,
        "variant": "fp32",
        "predicted_at": "2026-01-02T03:04:05+00:00",
    }


def test_an_inbox_outside_home_has_absolute_paths(place, tmp_path):
    place.inbox = tmp_path / "outside"
    file = place.put("a.png", 255)
    place.classify()
    assert place.labels() == {str(file): "light"}
    assert place.classify() == []


def test_only_new_files_are_classified(place):
    place.put("old.png", 0)
    place.classify()
    place.put("new.png", 255)
    (batch,) = place.classify()
    assert batch.images == 1
    assert place.labels() == {"old.png": "dark", "new.png": "light"}


def test_a_changed_file_is_new(place):
    file = place.put("a.png", 0)
    place.classify()
    os.utime(place.put("a.png", 255), ns=(0, file.stat().st_mtime_ns + 1))
    place.classify()
    assert [row["label"] for row in place.rows()] in (["dark", "light"], ["light", "dark"])


def test_nothing_new_makes_no_batch(place):
    assert place.classify() == []
    place.put("a.png", 0)
    place.classify()
    before = sorted(place.predictions.rglob("*"))
    assert place.classify() == []
    assert sorted(place.predictions.rglob("*")) == before


def test_what_is_known_is_not_even_read_again(place, monkeypatch):
    place.put("a.png", 0)
    place.put("bad.png", b"")
    place.classify()
    os.utime(place.inbox / "a.png")
    assert place.classify() == [], "touched"
    monkeypatch.setattr(answering, "read_regular", lambda *file: pytest.fail("it is read again"))
    assert place.classify() == []


def test_another_file_of_the_same_name_size_and_time_is_new(place):
    first, second = png(1), png(2)
    assert len(first) == len(second)
    os.utime(place.put("a.png", first), ns=(7, 7))
    place.classify()
    os.utime(place.put("a.png", second), ns=(7, 7))
    (batch,) = place.classify()
    assert batch.images == 1
    assert {row["sha256"] for row in place.rows()} == {
        sha256(content).hexdigest() for content in (first, second)
    }


@pytest.mark.parametrize("damage", [b"", b"PAR1", None])
def test_where_it_is_forgotten_what_was_looked_at_all_is_read_again_and_nothing_is_new(
    place, damage
):
    place.put("a.png", 0)
    place.classify()
    memory = place.home / "looked.parquet"
    memory.unlink() if damage is None else memory.write_bytes(damage)
    assert place.classify() == []
    assert memory.stat().st_size > 100


def test_a_file_that_was_only_touched_is_not_new(place):
    os.utime(place.put("a.png", 0), ns=(0, 0))
    place.classify()
    before = sorted(place.predictions.rglob("*"))
    os.utime(place.inbox / "a.png", ns=(0, 10**9))
    assert place.classify() == []
    assert sorted(place.predictions.rglob("*")) == before


def test_a_new_version_does_not_repeat_what_an_old_one_answered(place):
    place.put("a.png", 0)
    place.classify()
    place.put("b.png", 0)
    place.model = replace(place.model, version=2)
    (batch,) = place.classify()
    assert batch.folder.parent.name == "version=2"
    assert {row["path"]: row["model_version"] for row in place.rows()} == {
        "inbox/a.png": 1,
        "inbox/b.png": 2,
    }


def test_another_model_answers_for_itself(place):
    place.put("a.png", 0)
    place.classify()
    place.model = replace(place.model, name="other")
    (batch,) = place.classify()
    assert batch.images == 1


def test_what_is_refused_has_a_row_with_its_reason(place):
    place.put("empty.png", b"")
    place.put("text.png", b"hello")
    place.put("cut-off.png", png(0)[:45])
    place.put("large.png", png(0) + bytes(2000))
    (place.inbox / "link.png").symlink_to(place.put("good.png", 255))
    (place.inbox / "linked-folder").symlink_to(place.home)
    os.mkfifo(place.inbox / "pipe.png")
    (batch,) = place.classify(limit=1000)
    assert place.labels() == {
        "empty.png": "empty",
        "text.png": "not_an_image",
        "cut-off.png": "damaged",
        "large.png": "too_large",
        "link.png": "not_a_file",
        "linked-folder": "not_a_file",
        "pipe.png": "not_a_file",
        "good.png": "light",
    }
    assert (batch.images, batch.refused) == (8, 7)
    for row in place.rows():
        assert (row["label"], row["confidence"], row["probabilities"]) == (None, None, None) or (
            row["path"] == "inbox/good.png"
        )
    assert place.classify(limit=1000) == []


def test_a_changed_file_that_is_refused_again_has_a_row_for_what_it_is_now(place):
    place.put("a.png", bytes(2000))
    place.classify(limit=1000)
    place.put("a.png", bytes(3000))
    place.classify(limit=1000)
    assert sorted(row["bytes"] for row in place.rows()) == [2000, 3000]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything: be somebody else for a while."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


def test_a_file_that_could_not_be_read_is_classified_once_it_can_be(place):
    """Its rights may be mended without a trace in its size and time of change."""
    with tempfile.TemporaryDirectory() as scratch:  # which anybody may enter, unlike tmp_path
        place.home, place.inbox = Path(scratch), Path(scratch) / "inbox"
        file = place.put("a.png", 255)
        for folder in (place.home, place.inbox):
            folder.chmod(0o755)
        place.predictions.mkdir()
        place.predictions.chmod(0o777)
        file.chmod(0)
        with as_nobody():
            place.classify()
            assert place.labels() == {"a.png": "unreadable"}
            assert place.classify() == []
        file.chmod(0o644)
        with as_nobody():
            place.classify()
        assert {row["label"] for row in place.rows()} == {None, "light"}


def test_a_folder_that_may_not_be_entered_has_one_row_until_it_may(place):
    with tempfile.TemporaryDirectory() as scratch:
        place.home, place.inbox = Path(scratch), Path(scratch) / "inbox"
        folder = place.put("closed/a.png", 255).parent
        for above in (place.home, place.inbox):
            above.chmod(0o755)
        place.predictions.mkdir()
        place.predictions.chmod(0o777)
        folder.chmod(0)
        with as_nobody():
            place.classify()
            assert place.labels() == {"closed": "unreadable"}
            assert place.classify() == []
        folder.chmod(0o755)
        with as_nobody():
            place.classify()
        assert place.labels() == {"closed": "unreadable", "closed/a.png": "light"}


def test_hidden_files_are_left_alone(place):
    place.put(".DS_Store", b"x")
    place.put(".uploading/a.png", 0)
    place.put("sub/.a.png.part", b"x")
    place.put("a.png", 0)
    place.classify()
    assert place.labels() == {"a.png": "dark"}


def test_every_folder_is_a_batch_of_its_own(place):
    for name in ("a.png", "monday/a.png", "monday/late/a.png", "tuesday/a.png"):
        place.put(name, 0)
    batches = place.classify()
    names = [batch.folder.name.removeprefix("batch=").rpartition("-")[0] for batch in batches]
    assert sorted(names) == ["inbox", "monday", "monday-late", "tuesday"]
    assert [batch.images for batch in batches] == [1, 1, 1, 1]
    assert len(place.labels()) == 4


def test_folders_whose_names_differ_only_in_signs_stay_apart(place):
    for name in ("a b/x.png", "a-b/x.png", "a/b/x.png"):
        place.put(name, 0)
    assert len({batch.folder for batch in place.classify()}) == 3
    assert len(place.labels()) == 3


ODD = [
    "with space.png",
    "quote'\".png",
    "100%=x&y#?.png",
    "-rf.png",
    "日本語 🐈.png",
    "no-extension",
    "é.png",  # one letter
    "é.png",  # two
    "x" * 251 + ".png",
]


def test_odd_names_of_files_are_kept_as_they_are(place):
    for name in ODD:
        place.put(name, 0)
    place.classify()
    assert place.labels() == dict.fromkeys(ODD, "dark")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("new\nline.png", "new\\u000aline.png"),
        ("tab\t.png", "tab\\u0009.png"),
        ("C:\\windows.png", "C:\\\\windows.png"),
    ],
)
def test_a_name_that_does_not_print_is_shown_escaped(place, name, shown):
    place.put(name, 255)
    place.classify()
    assert place.labels() == {shown: "light"}
    assert place.classify() == []


def test_a_name_that_is_no_utf8_is_shown_escaped(place):
    name = os.fsdecode(b"\xff\xfe.png")
    place.put(name, 255)
    place.put(f"{name}-folder/a.png", 0)
    assert len(place.classify()) == 2
    assert place.labels() == {"\\xff\\xfe.png": "light", "\\xff\\xfe.png-folder/a.png": "dark"}
    assert place.classify() == []


@pytest.mark.parametrize("name", ["日本", "model=b", "a=b/version=3", "%2F", "C:", "~", "x..", "-"])
def test_odd_names_of_folders_become_one_plain_folder_of_predictions(place, name):
    place.put(f"{name}/a.png", 255)
    (batch,) = place.classify()
    assert batch.folder.parent == place.predictions / "model=m/version=1"
    assert batch.folder.name.count("=") == 1
    assert batch.folder.name.isascii()
    assert place.labels() == {f"{name}/a.png": "light"}


@pytest.mark.parametrize("name", ["x" * 250, "/".join(["x" * 90] * 4)])
def test_a_folder_with_a_very_long_name_is_classified(place, name):
    place.put(f"{name}/a.png", 255)
    (batch,) = place.classify()
    assert batch.images == 1


def test_a_regular_file_where_predictions_belong_is_a_storage_error(place):
    place.put("a.png", 0)
    place.predictions.write_text("mine")
    with pytest.raises(StorageError) as caught:
        place.classify()
    assert caught.value.retryable
    assert str(place.predictions) in str(caught.value)
    assert place.predictions.read_text() == "mine"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let every write beyond *size* bytes fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_up_leaves_nothing_and_the_next_run_does_it_all(place):
    for name in ("a.png", "b.png", "c.png"):
        place.put(name, 0)
    with largest_file(1000), pytest.raises(StorageError, match="File too large"):
        place.classify()
    assert list((place.predictions / "model=m").iterdir()) == []
    place.classify()
    assert len(place.labels()) == 3


def test_a_full_disk_leaves_the_batches_before_it_alone(place):
    place.put("a.png", 0)
    place.classify()
    before = place.rows()
    place.put("b.png", 0)
    with largest_file(1000), pytest.raises(StorageError):
        place.classify()
    assert place.rows() == before


DEADLY = """
import os, signal, sys
from pathlib import Path
from pipeline.inference.answering import Model
from pipeline.inference.batch import Watch, classify_folder
from pipeline.inference.inbox import find_new
from pipeline.inference.predictions import read_known
from pipeline.serving.classifier import Prediction

class Deadly:
    classes, variant, calls = ("dark", "light"), "fp32", 0

    def classify(self, images):
        self.calls += 1
        if self.calls == 11:  # 10,000 rows were written
            os.kill(os.getpid(), signal.SIGKILL)
        return [Prediction(None, None, None, "empty", "") for _ in images]

home, predictions = Path(sys.argv[1]), Path(sys.argv[1]) / "predictions"
known = read_known(predictions, "m")
for folder in find_new(home / "inbox", home, known.describes):
    model = Model("m", 1, sys.argv[2], Deadly())
    classify_folder(
        home / "inbox", folder, model, known, predictions,
        batch_size=1000, limit=1000, now="now", watch=Watch(None, 0.05, 2),
    )
"""


@pytest.fixture
def killed(place):
    """A run on 10,001 empty files was killed when it had written a part of its rows."""
    for number in range(10_001):
        (place.inbox / f"{number:05d}").touch()
    command = [sys.executable, "-c", DEADLY, place.home, place.model.serving_digest]
    done = subprocess.run(command, cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert [path.name for path in place.predictions.rglob("*.parquet")] == ["part-00000.parquet"]
    return place


def test_a_killed_run_has_published_nothing_and_the_next_goes_on_after_its_last_part(killed):
    assert killed.rows() == []
    (batch,) = killed.classify(batch_size=1000)
    assert batch.images == batch.refused == 10_001
    assert killed.labels() == {f"{number:05d}": "empty" for number in range(10_001)}
    parts = sorted(batch.folder.iterdir())
    assert [path.name for path in parts if path.name[0] != "_"] == [
        *("part-00000.parquet", "part-00001.parquet"),
    ]
    assert {row["predicted_at"] for row in killed.rows()[:10_000]} == {"now"}
    left = [path.name for path in (killed.predictions / "model=m").iterdir()]
    assert left == ["version=1"], "what the killed run left is still there"


def test_what_another_version_staged_is_no_part_of_this_ones_batch(killed):
    killed.model = replace(killed.model, version=2)
    (batch,) = killed.classify(batch_size=1000)
    assert batch.images == 10_001
    assert {row["model_version"] for row in killed.rows()} == {2}
    assert [path.name for path in (killed.predictions / "model=m").iterdir()] == ["version=2"]


def test_what_was_staged_of_one_inbox_is_no_part_of_a_batch_of_another(killed):
    first, killed.inbox = killed.inbox, killed.home / "second"
    killed.put("a.png", 0)
    (batch,) = killed.classify()
    assert batch.images == 1
    killed.inbox = first
    (batch,) = killed.classify(batch_size=1000)
    assert batch.images == 10_001
    assert sum(row["predicted_at"] == "now" for row in killed.rows()) == 10_000


def test_heavy_files_go_one_by_one_by_the_lock_that_their_decoder_has(place, monkeypatch):
    """Else the bytes of some add up with the pixels of another."""
    together, answer = [], place.model.classifier.answer
    monkeypatch.setattr(
        place.model.classifier,
        "answer",
        lambda images: together.append(len(images)) or answer(images),
    )
    for name in "abcd":
        place.put(f"light/{name}.png", 0)
        place.put(f"heavy/{name}.png", png(0) + bytes(HEAVY))
    place.classify(batch_size=64, limit=2 * HEAVY)
    assert sorted(together) == [1, 1, 1, 1, 4]
    assert place.model.turn_for.__module__.startswith("darkroom_served_")


def test_unreadable_files_change_no_answer_of_the_others(place, full):
    """Whichever parts they come in: each readable one is answered as it is alone."""
    images, dice = 1000 if full else 60, random.Random(0)
    broken = set(dice.sample(range(images), images // 10))
    for number in range(images):
        content = dice.choice([b"", b"text", png(7)[:40]]) if number in broken else number % 256
        place.put(f"{number:04d}.png", content)
    place.classify(batch_size=64)
    for row in place.rows():
        data = (place.home / row["path"]).read_bytes()
        (alone,) = place.model.classifier.classify([data])
        assert (row["label"], row["reason"]) == (alone.label, alone.reason)
        assert (row["label"] is None) == (int(Path(row["path"]).stem) in broken)
        if row["label"]:
            assert tuple(dict(row["probabilities"]).values()) == alone.probabilities
    assert len(place.labels()) == images


def test_a_batch_whose_damaged_part_was_moved_away_is_answered_again(place):
    place.put("monday/a.png", 0)
    (batch,) = place.classify()
    part = next(batch.folder.glob("part-*.parquet"))
    part.write_bytes(b"PAR1 half a file")
    with pytest.raises(StorageError, match="cannot be read"):
        place.classify()
    part.rename(place.home / "damaged.parquet")
    (again,) = place.classify()
    assert again.folder == batch.folder
    assert place.labels() == {"monday/a.png": "dark"}
    assert place.classify() == []


@pytest.mark.parametrize("at_once", [1, 2, 5, 64])
@pytest.mark.parametrize("cores", [1, 16])
def test_no_more_files_are_under_way_than_are_asked_for(place, monkeypatch, at_once, cores):
    monkeypatch.setattr(answering, "cores", lambda: cores)
    taken = done = most = 0

    def files() -> Iterator[NewFile]:
        nonlocal taken
        for number in range(200):
            taken += 1
            yield NewFile(str(number), str(number), 1, 1)

    for _ in answering.answer_all(files(), place.model, list, at_once):
        most = max(most, taken - done)
        done += 1
    assert done == 200
    assert at_once / 2 <= most <= at_once
