"""What `classify` does and says around the batches."""

import pytest
import reviews
from desks import NAME, put, rows
from disks import small_disk
from refusals import refused
from worlds import World

from pipeline.operations.classify import _name_strays, _remind
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


def test_a_file_one_level_too_high_is_named_and_other_inboxes_are_not(tmp_path):
    inbox = tmp_path / "inbox" / "photos"
    for folder in (inbox, inbox.with_name("digits")):
        folder.mkdir(parents=True)
    _name_strays(inbox, pytest.fail)
    (inbox.parent / "oops.jpg").touch()
    (inbox.parent / ".DS_Store").touch()
    said: list[str] = []
    _name_strays(inbox, said.append)
    assert said == [
        f"not looked at: oops.jpg, beside the inbox in {inbox.parent}; it belongs into photos/"
    ]


@pytest.mark.parametrize("inbox", [".", "data", ".."])
def test_an_inbox_that_holds_what_darkroom_keeps_is_refused(desk: World, darkroom, tmp_path, inbox):
    world = desk.fork(tmp_path / "project")
    world.set(**{"inference.inbox": inbox, "inference.after": "archive"})
    refused(darkroom(world, "classify"), "holds what Darkroom itself keeps", "inference.inbox")
    assert not world.home.archive(NAME).exists()


def test_an_inbox_by_another_name_is_the_same_one(desk: World, darkroom, tmp_path):
    world = desk.fork(tmp_path / "project")
    put(world, "monday", 2)
    (world.root / "link").symlink_to(world.home.inbox(NAME))
    world.set(**{"inference.inbox": f"data/../link/../{NAME}"})
    for arguments in ((), ("--inbox", "link"), ("--inbox", str(world.home.inbox(NAME)))):
        assert darkroom(world, "classify", *arguments).returncode == 0
    assert len(rows(world)) == 2


def test_a_full_disk_is_named_before_a_metadata_csv_that_keeps_its_folder_waiting(
    desk: World, darkroom, tmp_path
):
    world = desk.fork(tmp_path / "project")
    for folder in ("a", "b"):
        put(world, folder, 2)
    (world.home.inbox(NAME) / "a/metadata.csv").write_text("camera\nnorth\n")
    world.home.predictions.mkdir(exist_ok=True)
    with small_disk(world.home.predictions) as disk:
        disk.lock()
        done = darkroom(world, "classify")
    refused(done, "predictions cannot be written")
    assert f"passed by: {world.home.inbox(NAME)}/a: " in done.stdout
