"""A damaged file of the dataset is found, named, set aside, and had back where it can be."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from worlds import World, make_world, write_digits

from pipeline.data.reviewed import Reviewed, place_of, put, write_reviewed
from pipeline.errors import Busy, DatasetError
from pipeline.graph import dataset_version
from pipeline.operations import ingest, verify
from pipeline.params import load_params


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Twenty digits of two classes, taken in; do not change it: fork it."""
    made = make_world(tmp_path_factory.mktemp("verify") / "project")
    write_digits(made.root / "all", range(150))
    for label in "01":
        shutil.copytree(made.root / "all" / label, made.root / "source" / label)
    shutil.rmtree(made.root / "all")
    made.set(**{"data.source": "source", "data.min_per_class": 2})
    params = load_params(made.workspace.params)
    ingest.run(made.workspace, made.home, params, lambda line: None)
    return made


@pytest.fixture
def world(ingested: World, tmp_path: Path) -> World:
    """A copy, its snapshot linked to its cache as DVC leaves it."""
    forked = ingested.fork(tmp_path / "project")
    for place in files_of(forked):
        cached = cached_of(forked, place)
        place.unlink()
        os.link(cached, place)
    return forked


def files_of(world: World) -> list[Path]:
    return sorted(path for path in world.workspace.dataset.rglob("*") if path.is_file())


def cached_of(world: World, place: Path) -> Path:
    digest = hashlib.md5(place.read_bytes()).hexdigest()
    return world.root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def one_image(world: World) -> Path:
    return next(path for path in files_of(world) if path.suffix == ".png")


def damage(path: Path) -> None:
    """As a failing disk does it: same size, same time, same rights."""
    before = path.stat()
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    path.chmod(0o444)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def checked(world: World) -> tuple[verify.Verified, list[str]]:
    told: list[str] = []
    return verify.run(world.workspace, world.home, told.append), told


def test_a_whole_dataset_is_left_alone(world):
    before = {path: path.stat().st_ctime_ns for path in files_of(world)}
    done, told = checked(world)
    assert (done.files, done.mended) == (len(before), ())
    assert {path: path.stat().st_ctime_ns for path in files_of(world)} == before
    assert told == [
        f"dataset {done.version[:12]}: all {len(before)} files are what their names say"
    ]


def test_an_image_damaged_in_place_and_cache_alike_is_had_back_from_the_source(world):
    """DVC itself takes it for whole: it is read-only, and as old as it was."""
    image = one_image(world)
    cached, content = cached_of(world, image), image.read_bytes()
    damage(image)
    assert cached.read_bytes() != content
    done, told = checked(world)
    assert done.mended == (str(image.relative_to(world.workspace.dataset)),)
    assert image.read_bytes() == cached.read_bytes() == content
    assert image.samefile(cached)
    assert image.stat().st_mode & 0o222 == 0
    assert told[0].startswith(f"damaged or missing: {done.mended[0]} (")
    assert checked(world)[0].mended == ()
    assert (world.root / ".darkroom/damaged" / image.name).read_bytes() != content
    assert done.version == dataset_version(world.workspace)


def test_dvc_does_not_notice_what_verify_does(world):
    image = one_image(world)
    world.run("dvc", "status", "data/dataset.dvc")  # so that DVC knows every file
    damage(image)
    assert "up to date" in world.run("dvc", "status", "data/dataset.dvc").stdout
    assert checked(world)[0].mended != ()


@pytest.mark.parametrize("which", ["place", "cached"])
@pytest.mark.parametrize("harm", [damage, Path.unlink])
def test_one_place_mends_the_other(world, which, harm):
    shutil.rmtree(world.root / "source")
    image = one_image(world)
    cached, content = cached_of(world, image), image.read_bytes()
    image.unlink()
    shutil.copyfile(cached, image)
    harm(image if which == "place" else cached)
    done, _ = checked(world)
    assert len(done.mended) == 1
    assert image.read_bytes() == cached.read_bytes() == content


def test_a_remote_has_it_back_where_the_source_is_gone(world, tmp_path):
    world.run("dvc", "remote", "add", "--default", "--local", "store", str(tmp_path / "remote"))
    world.run("dvc", "push")
    shutil.rmtree(world.root / "source")
    before = {path: path.read_bytes() for path in files_of(world)}
    for path in (one_image(world), world.workspace.catalogue):
        damage(path)
    done, _ = checked(world)
    assert len(done.mended) == 2
    assert {path: path.read_bytes() for path in files_of(world)} == before


def test_what_nobody_has_any_more_is_an_error_and_is_not_trained_on(world):
    image = one_image(world)
    shutil.rmtree(world.root / "source")
    damage(image)
    with pytest.raises(DatasetError) as caught:
        checked(world)
    assert image.name in caught.value.where[0]
    assert not image.exists()
    world.run("darkroom", "split", ok=False)
    assert not world.workspace.splits.exists()


def reviewed(world: World) -> tuple[Path, Path]:
    """Let one image have come from a review; return where it lies there, and in the dataset."""
    write_digits(world.root / "new", range(200, 240))
    data = next((world.root / "new/1").iterdir()).read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    place, folder = place_of("1", sha256, ".png"), world.home.reviewed
    put(folder, place, data)
    about = ("0", "audit", "inbox-0123", "source", "1", "2026-01-02T00:00:00+00:00", "inbox/1.png")
    write_reviewed(folder, [Reviewed(place, "1", sha256, *about)])
    ingest.run(world.workspace, world.home, load_params(world.workspace.params), print)
    (image,) = world.workspace.images.glob(f"*/{sha256}.png")
    return folder / place, image


def test_a_reviewed_image_is_had_back_from_data_reviewed(world):
    """The source, which is gone, never had it."""
    origin, image = reviewed(world)
    content = image.read_bytes()
    shutil.rmtree(world.root / "source")
    damage(image)
    done, told = checked(world)
    assert done.mended == (str(image.relative_to(world.workspace.dataset)),)
    assert f"({origin.relative_to(world.root)})" in told[0]
    assert image.read_bytes() == cached_of(world, image).read_bytes() == content


def test_what_lies_in_data_reviewed_now_is_not_taken_for_what_was_reviewed(world):
    origin, image = reviewed(world)
    damage(image)
    shutil.copyfile(image, origin)
    with pytest.raises(DatasetError, match="no source has them"):
        checked(world)


def test_another_picture_under_the_old_name_is_not_taken_for_it(world):
    image = one_image(world)
    damage(image)
    other = image.read_bytes()
    for path in (world.root / "source").rglob("*.png"):
        path.write_bytes(other)
    with pytest.raises(DatasetError):
        checked(world)


def test_an_emptied_cache_is_filled_from_the_workspace(world):
    shutil.rmtree(world.root / ".dvc/cache")
    done, _ = checked(world)
    assert done.mended == ()
    assert all(cached_of(world, path).exists() for path in files_of(world))


def test_a_version_that_nobody_has_is_a_named_error_and_stays_named(world):
    shutil.rmtree(world.root / ".dvc/cache")
    one_image(world).unlink()
    before = world.workspace.dataset_dvc.read_bytes()
    with pytest.raises(DatasetError, match="does not hold"):
        checked(world)
    assert world.workspace.dataset_dvc.read_bytes() == before


def test_an_image_that_was_versioned_damaged_is_not_called_whole(world):
    """`dvc repro` makes a version of whatever lies there."""
    image = one_image(world)
    content = image.read_bytes()
    image.unlink()
    image.write_bytes(content + b"more")
    world.run("dvc", "add", "data/dataset")
    with pytest.raises(DatasetError, match="damaged before this dataset version"):
        checked(world)
    assert "another size" in world.run("darkroom", "split", ok=False).stderr
    world.run("darkroom", "ingest", "--rescan")
    assert checked(world)[0].mended == ()


def test_a_failure_leaves_gits_index_as_it_was(world):
    world.commit()
    shutil.rmtree(world.root / ".dvc/cache")
    one_image(world).unlink()
    with pytest.raises(DatasetError):
        checked(world)
    assert world.run("git", "status", "--porcelain", "data/dataset.dvc").stdout == ""


def test_a_clone_that_has_nothing_yet_is_filled_from_its_remote(world, tmp_path):
    world.run("dvc", "remote", "add", "--default", "store", str(tmp_path / "remote"))
    world.run("dvc", "push")
    before = {path: path.read_bytes() for path in files_of(world)}
    shutil.rmtree(world.workspace.dataset)
    shutil.rmtree(world.root / ".dvc/cache")
    checked(world)
    assert {path: path.read_bytes() for path in files_of(world)} == before


def test_another_version_in_the_workspace_is_not_called_damage(world):
    """After `git checkout` without `dvc checkout`, or an ingest that was cut off."""
    text = world.workspace.dataset_dvc.read_text()
    (next((world.root / "source/0").iterdir())).unlink()
    world.run("darkroom", "ingest")
    world.workspace.dataset_dvc.write_text(text)
    before = world.workspace.catalogue.read_bytes()
    with pytest.raises(DatasetError, match="is not the version"):
        checked(world)
    assert world.workspace.catalogue.read_bytes() == before


def test_a_strangers_file_in_the_dataset_is_named(world):
    (world.workspace.dataset / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match="no ingest put there"):
        checked(world)


def test_nobody_verifies_while_an_ingest_is_at_work(world):
    with FileLock(world.root / ".dvc/tmp/darkroom-ingest.lock"), pytest.raises(Busy):
        checked(world)
