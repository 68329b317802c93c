"""A page is made of the files that were predicted, and of no others."""

import os
from pathlib import Path

import pytest
import reviews
from brightness import png
from pages import Page

from pipeline.errors import ReviewError
from pipeline.inference.review import Counts
from pipeline.operations.review import page as make
from pipeline.workspace import Home

COUNTS = Counts(4, 4, 4)
IMAGES = {f"{number}.png": 20 * number + 8 for number in range(12)}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return reviews.publish(tmp_path / "home", IMAGES)


def test_the_same_batch_gives_the_same_bytes(home, params):
    first = make(home, params, None, COUNTS, print).read_bytes()
    assert make(home, params, None, COUNTS, print).read_bytes() == first


def test_the_newest_batch_is_taken_unless_another_is_named(home, params):
    older = reviews.batch_of(home).name
    reviews.publish(home.root, {"new/13.png": 3})
    newer = make(home, params, None, COUNTS, print)
    assert newer.stem.startswith("new-")
    for wanted in (older, f"batch={older}", f"predictions/model=digits/version=1/batch={older}/"):
        assert make(home, params, wanted, COUNTS, print).stem == older


def test_an_unknown_batch_is_a_named_error(home, params):
    with pytest.raises(ReviewError, match="has no batch other"):
        make(home, params, "other", COUNTS, print)


def test_without_any_batch_that_is_a_named_error(tmp_path, params):
    with pytest.raises(ReviewError, match="has no batch of predictions"):
        make(Home(tmp_path), params, None, COUNTS, print)


def test_images_that_are_gone_changed_or_pipes_are_named_and_not_shown(home, params):
    inbox, batch = home.inbox("digits"), reviews.batch_of(home).name
    for name in IMAGES:
        (inbox / name).unlink()
    (inbox / "0.png").write_bytes(b"other")
    os.mkfifo(inbox / "1.png")
    with pytest.raises(ReviewError, match="no image of batch"):
        make(home, params, batch, COUNTS, print)
    said: list[str] = []
    (inbox / "2.png").write_bytes(png(48))
    make(home, params, batch, Counts(12, 0, 0), said.append)
    assert any(line.startswith("not as predicted any more: 11 images, ") for line in said)


def test_a_batch_of_refused_files_is_a_named_error(tmp_path, params):
    home = reviews.publish(tmp_path / "home", {"a.png": b"none"})
    with pytest.raises(ReviewError, match="has no image with a prediction"):
        make(home, params, None, COUNTS, print)


def test_a_name_that_does_not_print_is_found_again(tmp_path, params):
    names = (os.fsdecode(b"\xff.png"), "a\nb.png", "back\\slash.png", "\x1b[31m/x.png")
    home = reviews.publish(tmp_path / "home", dict(zip(names, (8, 40, 90, 200), strict=True)))
    said: list[str] = []
    for path in (home.predictions / "model=digits").glob("version=*/batch=*"):
        make(home, params, path.name, Counts(9, 0, 0), said.append)
    assert not any("not as predicted" in line for line in said)


def test_text_from_files_ends_no_script(tmp_path, params):
    home = reviews.publish(tmp_path / "home", {"<script>alert(1)<!--.png": 8, "'\"&amp;.png": 200})
    page = Page(make(home, params, None, COUNTS, print).read_text())
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]
    assert len(scripts) == 2
    assert scripts[0]["type"] == "application/json"
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
