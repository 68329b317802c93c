"""A disk that is full or may not be written to: a named error, nothing that was published is
lost, and once there is room the next run completes it."""

import pytest
from desks import NAME, all_is_shown_once, lost_or_repeated, put
from disks import small_disk
from refusals import refused
from worlds import World

pytestmark = pytest.mark.timeout(900)
IMAGES = 600


def published(desk: World) -> dict[str, bytes]:
    """Every file of every published batch, with its content."""
    place = desk.home.predictions / f"model={NAME}"
    return {str(path): path.read_bytes() for path in place.glob("version=*/batch=*/*")}


def classified(done) -> None:
    assert done.returncode == 0, done.stdout
    assert "not shown" not in done.stdout


def test_a_disk_that_is_full_at_any_page_costs_a_run_and_no_row(desk, darkroom, tmp_path, full):
    world = desk.fork(tmp_path / "project")
    world.home.predictions.mkdir()
    with small_disk(world.home.predictions) as disk:
        put(world, "before", IMAGES)
        classified(darkroom(world, "classify"))
        needed = disk.pages
        assert needed > 10
        steps = 10 if full else 2
        for step in range(steps):
            before = published(world)
            put(world, f"step-{step}", IMAGES)
            disk.leave(needed * step // steps)
            words = ("predictions cannot be written", "No space left", str(disk.folder))
            refused(darkroom(world, "classify"), *words)
            assert published(world) == before
            disk.make_room()
            classified(darkroom(world, "classify"))
            assert lost_or_repeated(world) == {}
            assert all_is_shown_once(world)
            assert before.items() <= published(world).items()


def test_a_folder_of_predictions_that_may_not_be_written_to_is_named(desk, darkroom, tmp_path):
    world = desk.fork(tmp_path / "project")
    world.home.predictions.mkdir()
    with small_disk(world.home.predictions) as disk:
        put(world, "monday", 3)
        classified(darkroom(world, "classify"))
        before = published(world)
        put(world, "tuesday", 3)
        disk.lock()
        words = ("predictions cannot be written", "Read-only", str(disk.folder))
        refused(darkroom(world, "classify"), *words)
        assert published(world) == before
        disk.make_room()
        classified(darkroom(world, "classify"))
        assert lost_or_repeated(world) == {}


def test_a_home_that_is_full_at_any_page_costs_a_run_and_no_row(desk, darkroom, tmp_path, full):
    """MLflow's store, the locks and the predictions share a disk."""
    (tmp_path / "disk").mkdir()
    with small_disk(tmp_path / "disk") as disk:
        world = desk.fork(disk.folder / "project")
        for folder in ("first", "second"):
            put(world, folder, IMAGES)
            used = disk.pages
            classified(darkroom(world, "classify"))
        needed = disk.pages - used
        steps = 10 if full else 2
        for step in range(steps):
            put(world, f"step-{step}", IMAGES)
            before = published(world)
            disk.leave(needed * step // steps)
            done = darkroom(world, "classify")
            assert "Traceback" not in done.stdout
            if done.returncode == 0:
                assert "not shown in MLflow: " in done.stdout
            else:
                refused(done, str(disk.folder))
            assert before.items() <= published(world).items()
            disk.make_room()
            classified(darkroom(world, "classify"))
            assert lost_or_repeated(world) == {}
            assert all_is_shown_once(world)
