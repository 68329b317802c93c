"""The only way in for images: all of a source, or nothing; the same source, the same version."""

import csv
import hashlib
import shutil
from pathlib import Path

import catalogues
import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from worlds import World, make_world

from pipeline.data.catalogue import CatalogueRow, read_catalogue
from pipeline.errors import Busy, DatasetError, SourceError
from pipeline.graph import dataset_version
from pipeline.operations.ingest import Ingested, run
from pipeline.params import load_params


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4), np.uint8)
    Image.fromarray(pixels).save(path, "PNG")


def write_classes(source: Path, *labels: str, images: int = 3) -> None:
    for place, label in enumerate(labels):
        for number in range(images):
            write_image(source / label / f"{number}.png", 100 * place + number)


def ingest(world: World) -> Ingested:
    params = load_params(world.workspace.params)
    return run(world.workspace, world.home, params, lambda line: None)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project with two classes of three images, taken in; do not change it: fork it."""
    made = make_world(tmp_path_factory.mktemp("ingest") / "project")
    write_classes(made.root / "source", "cat", "dog")
    made.set(**{"data.source": "source", "data.min_per_class": 2})
    ingest(made)
    return made


@pytest.fixture
def world(ingested: World, tmp_path: Path) -> World:
    """A copy of that project, to be changed."""
    return ingested.fork(tmp_path / "project")


def catalogue_of(world: World) -> dict[str, CatalogueRow]:
    return {row.path: row for row in read_catalogue(world.workspace.catalogue).rows}


def quarantine_of(world: World) -> list[tuple[str, str]]:
    with world.workspace.quarantine.open(newline="") as lines:
        return [(row["path"], row["reason"]) for row in csv.DictReader(lines)]


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def test_the_snapshot_and_dvcs_cache_share_one_copy_on_the_disk(ingested):
    rows = catalogue_of(ingested).values()
    assert len(rows) == 6
    for row in rows:
        image = ingested.workspace.images / row.file
        digest = hashlib.md5(image.read_bytes()).hexdigest()
        cached = ingested.root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
        assert cached.samefile(image)


def test_an_unchanged_source_keeps_the_version_and_the_files(world):
    before = dataset_version(world.workspace)
    first = ingest(world)
    second = ingest(world)
    assert first.version == second.version == before
    assert files_in(world.workspace.images) == {row.file for row in catalogue_of(world).values()}


def test_an_unchanged_source_with_a_file_that_is_no_image_keeps_the_version(world):
    """The first ingest is another process, as it is on every night."""
    (world.root / "source/cat/notes.txt").write_bytes(b"no image")
    world.run("darkroom", "ingest")
    before = dataset_version(world.workspace)
    assert ingest(world).version == before


def test_an_image_that_moves_to_another_class_is_relabelled_and_not_copied_again(world):
    before = catalogue_of(world)["cat/0.png"]
    version = dataset_version(world.workspace)
    (world.root / "source/cat/0.png").rename(world.root / "source/dog/moved.png")
    after = ingest(world)
    row = catalogue_of(world)["dog/moved.png"]
    assert (row.sha256, row.label) == (before.sha256, "dog")
    assert after.version != version
    assert len(files_in(world.workspace.images)) == 6
    assert row.file == before.file


def test_an_image_in_two_classes_is_left_without_a_class(world):
    shutil.copy(world.root / "source/cat/0.png", world.root / "source/dog/again.png")
    shutil.copy(world.root / "source/cat/1.png", world.root / "source/cat/again.png")
    done = ingest(world)
    labels = {path: row.label for path, row in catalogue_of(world).items()}
    assert labels["cat/0.png"] is None
    assert labels["cat/1.png"] == "cat"
    assert done.images == 6
    assert done.refused == {"label_conflict": 2, "duplicate": 1}
    assert quarantine_of(world) == [
        ("cat/0.png", "label_conflict"),
        ("cat/again.png", "duplicate"),
        ("dog/again.png", "label_conflict"),
    ]


def test_images_that_a_killed_ingest_left_behind_are_swept_out(world):
    before = dataset_version(world.workspace)
    write_image(world.workspace.images / f"ab/{'ab' * 32}.png", 7)
    half_written = world.root / "data/.staging" / catalogue_of(world)["cat/0.png"].file
    half_written.parent.mkdir(parents=True)
    half_written.write_bytes(b"half")
    assert ingest(world).version == before
    assert files_in(world.workspace.images) == {row.file for row in catalogue_of(world).values()}
    assert not (world.root / "data/.staging").exists()


def test_a_table_that_a_killed_ingest_left_half_written_is_swept_out(world):
    before = dataset_version(world.workspace)
    (world.workspace.dataset / ".catalogue.parquet.4242").write_bytes(b"PAR1")
    assert ingest(world).version == before


def test_a_file_that_no_ingest_put_into_the_dataset_is_named_and_kept(world):
    mine = world.workspace.dataset / "mine/raw.nef"
    mine.parent.mkdir()
    mine.write_text("the only copy")
    with pytest.raises(DatasetError, match="no ingest put there"):
        ingest(world)
    assert mine.read_text() == "the only copy"


@pytest.mark.parametrize("source", ["data/dataset", "data/dataset/images", "data", "."])
def test_the_dataset_is_no_source_of_itself(world, source):
    before = state_of(world.root / "data")
    world.set(**{"data.source": source})
    with pytest.raises(SourceError):
        ingest(world)
    assert state_of(world.root / "data") == before


def test_an_image_of_the_snapshot_that_was_damaged_is_taken_in_again(world):
    """`train` meets it and says: mend: darkroom ingest."""
    before = dataset_version(world.workspace)
    image = world.workspace.images / catalogue_of(world)["cat/0.png"].file
    image.unlink()
    image.write_bytes(b"damaged")
    assert ingest(world).version == before
    assert image.read_bytes() == (world.root / "source/cat/0.png").read_bytes()


def test_an_image_that_left_the_source_leaves_the_snapshot_and_stays_in_dvcs_cache(world):
    gone = catalogue_of(world)["cat/0.png"]
    digest = hashlib.md5((world.root / "source/cat/0.png").read_bytes()).hexdigest()
    (world.root / "source/cat/0.png").unlink()
    ingest(world)
    assert not (world.workspace.images / gone.file).exists()
    assert (world.root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).exists()


def test_a_second_ingest_at_the_same_time_is_told_to_wait(world):
    with FileLock(world.root / ".dvc/tmp/darkroom-ingest.lock"), pytest.raises(Busy):
        ingest(world)


def test_a_source_under_another_name_is_what_the_catalogue_records(world):
    ingest(world)
    world.set(**{"data.source": str(world.root / "source")})
    assert ingest(world).images == 6
    assert read_catalogue(world.workspace.catalogue).source == str(world.root / "source")


def test_a_source_that_has_shrunk_is_refused_and_changes_nothing(world):
    before = dataset_version(world.workspace)
    for number in (0, 1):
        (world.root / f"source/cat/{number}.png").unlink()
        (world.root / f"source/dog/{number}.png").unlink()
    world.set(**{"data.min_per_class": 1})
    with pytest.raises(SourceError, match="in the last version there were 6"):
        ingest(world)
    assert dataset_version(world.workspace) == before
    world.set(**{"data.max_lost": 1.0})
    assert ingest(world).gone == 4


def test_what_the_cache_held_already_is_linked_to_it_again(world):
    version = dataset_version(world.workspace)
    gone = world.root / "source/cat/0.png"
    kept = gone.read_bytes()
    gone.unlink()
    ingest(world)
    gone.write_bytes(kept)
    assert ingest(world).version == version
    for path in world.workspace.dataset.rglob("*"):
        assert path.is_dir() or path.stat().st_nlink == 2, path


def _nothing_readable(source: Path) -> None:
    for name in ("cat/a.txt", "dog/b.txt"):
        (source / name).parent.mkdir(parents=True)
        (source / name).write_text("text")


def _mostly_unreadable(source: Path) -> None:
    write_classes(source, "cat", "dog", images=2)
    for number in range(5):
        (source / f"cat/{number}.txt").write_text("text")


def _mostly_unreadable_with_a_conflict(source: Path) -> None:
    write_image(source / "cat/a.png", 0)
    write_image(source / "dog/a.png", 0)
    for number in range(4):
        (source / f"cat/{number}.txt").write_text("text")


def _few_of_a_class(source: Path) -> None:
    write_classes(source, "cat", "dog", images=2)
    (source / "dog/1.png").unlink()


def _conflicts_only(source: Path) -> None:
    write_image(source / "cat/a.png", 0)
    write_image(source / "dog/a.png", 0)


@pytest.mark.parametrize(
    ("lay", "what"),
    [
        pytest.param(lambda source: None, "source is missing", id="missing"),
        pytest.param(lambda source: source.touch(), "neither a folder nor a list", id="a file"),
        pytest.param(lambda source: source.mkdir(), "source has no class folder", id="empty"),
        pytest.param(
            lambda source: write_image(source / "a.png", 0),
            "source has no class folder",
            id="no classes",
        ),
        pytest.param(
            lambda source: (source / "cat").mkdir(parents=True),
            "no readable image among 0 files",
            id="no files",
        ),
        pytest.param(_nothing_readable, "no readable image among 2 files", id="no images"),
        pytest.param(_mostly_unreadable, "5 of the 9 files", id="mostly unreadable"),
        pytest.param(
            _mostly_unreadable_with_a_conflict, "4 of the 6 files", id="unreadable and a conflict"
        ),
        pytest.param(lambda source: write_classes(source, "cat"), "1 class", id="one class"),
        pytest.param(_conflicts_only, "0 class", id="conflicts only"),
        pytest.param(_few_of_a_class, "class dog of source has 1", id="few of a class"),
    ],
)
def test_a_bad_source_is_a_named_error_and_changes_nothing(tmp_path, params, lay, what):
    """It never comes to DVC, so that the world is a folder with a snapshot in it."""
    world = World(tmp_path / "project")
    lay_snapshot(world)
    lay(world.root / "source")
    data = params.data.model_copy(update={"source": "source", "min_per_class": 2})
    before = state_of(world.root / "data")
    with pytest.raises(SourceError) as caught:
        run(world.workspace, world.home, params.model_copy(update={"data": data}), print)
    assert what in caught.value.what
    assert len(str(caught.value).splitlines()) <= 5
    assert state_of(world.root / "data") == before


def lay_snapshot(world: World) -> None:
    row = catalogues.image("a")
    write_image(world.workspace.images / row.file, 0)
    catalogues.write(world.workspace.catalogue, [row], "source")
    world.workspace.dataset_dvc.write_text("outs:\n- md5: abc.dir\n  path: dataset\n")


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file's inode and time of writing: what a rewrite with equal bytes changes too."""
    stats = {str(path.relative_to(folder)): path.lstat() for path in folder.rglob("*")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}
