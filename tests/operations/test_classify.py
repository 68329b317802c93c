"""What `classify` says when there is nothing to do."""

import pytest
import reviews

from pipeline.operations.classify import _remind
from pipeline.workspace import Home

GOOD, BAD = 200, b"no image"


def test_who_runs_it_again_after_too_many_were_refused_hears_of_it_again(tmp_path):
    home = reviews.publish(tmp_path, {"a.png": BAD, "b.png": BAD, "c.png": GOOD})
    said: list[str] = []
    _remind(home, reviews.NAME, 0.5, said.append)
    (line,) = said
    assert line.startswith("of the newest batch, 2 of 3 files were refused: ")


def test_of_a_batch_within_the_limit_nothing_is_said(tmp_path):
    home = reviews.publish(tmp_path, {"a.png": BAD, "b.png": GOOD})
    _remind(home, reviews.NAME, 0.5, pytest.fail)
    _remind(Home(tmp_path / "new"), reviews.NAME, 0.5, pytest.fail)
