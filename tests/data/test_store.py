"""The folder data/dataset is ingest's own: nobody's file is lost in it, and no leftover stays."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.data.store import held, holds, move_in, sweep
from pipeline.errors import DatasetError


def name(digit: str, suffix: str = ".png") -> str:
    return f"{digit * 2}/{digit * 64}{suffix}"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two images, of 1 and 2 bytes, and both tables."""
    folder = tmp_path / "dataset"
    put(folder / "images" / name("a"), b"1")
    put(folder / "images" / name("b", ".jpg"), b"12")
    put(folder / "catalogue.parquet", b"")
    put(folder / "quarantine.csv", b"")
    return folder


def put(path: Path, data: bytes = b"mine") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def texts(*values: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.string())])


def test_what_is_held_are_the_images_with_their_sizes(dataset):
    rows = held(dataset).to_pylist()
    assert sorted((row["file"], row["size"]) for row in rows) == [
        (name("a"), 1),
        (name("b", ".jpg"), 2),
    ]


def test_where_there_is_no_dataset_nothing_is_held(tmp_path):
    assert len(held(tmp_path / "dataset")) == 0


@pytest.mark.parametrize(
    "foreign",
    [
        "raw.nef",
        "mine/raw.nef",
        "images/a.png",
        "images/aa/mine.png",
        f"images/aa/deep/{'a' * 64}.png",
        f"images/{'a' * 64}.png",
        name("c"),
        "images/catalogue.parquet",
        "catalogue.parquet.4242",
        ".gitignore",
        "images/line\nbreak.png",
    ],
)
def test_a_file_that_no_ingest_put_there_is_named_and_kept(dataset, foreign):
    put(dataset / foreign)
    with pytest.raises(DatasetError) as caught:
        held(dataset)
    assert caught.value.what == "data/dataset holds 1 files that no ingest put there"
    assert " ".join(str(dataset / foreign).splitlines()) in caught.value.where
    assert (dataset / foreign).read_bytes() == b"mine"


def test_a_link_in_the_dataset_is_foreign_and_not_followed(dataset, tmp_path):
    put(tmp_path / "elsewhere" / name("c"))
    (dataset / "images/link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="1 files"):
        held(dataset)


def test_a_link_under_the_name_of_an_image_does_not_hold_what_it_points_to(dataset, tmp_path):
    put(tmp_path / "elsewhere", b"12345")
    (dataset / "images/cc").mkdir()
    (dataset / "images" / name("c")).symlink_to(tmp_path / "elsewhere")
    held_now = held(dataset)
    assert holds(held_now, texts(name("c")), pa.chunked_array([[5]])).to_pylist() == [False]


@pytest.mark.parametrize(
    ("file", "size", "expected"),
    [
        (name("a"), 1, True),
        (name("a"), 2, False),
        (name("c"), 1, False),
        (None, 0, None),
        (None, None, None),
    ],
)
def test_an_image_is_held_where_it_lies_with_its_whole_size(dataset, file, size, expected):
    sizes = pa.chunked_array([pa.array([size], pa.int64())])
    assert holds(held(dataset), texts(file), sizes).to_pylist() == [expected]


def test_staged_images_are_moved_in_beside_those_that_are_there(dataset, tmp_path):
    put(tmp_path / "staging" / name("a"), b"new")
    put(tmp_path / "staging" / name("c"), b"123")
    move_in(tmp_path / "staging", dataset / "images")
    assert (dataset / "images" / name("a")).read_bytes() == b"new"
    assert (dataset / "images" / name("c")).read_bytes() == b"123"
    assert (dataset / "images" / name("b", ".jpg")).exists()
    assert files_in(tmp_path / "staging") == set()


def test_an_image_that_is_replaced_leaves_its_hard_link_in_dvcs_cache_alone(dataset, tmp_path):
    os.link(dataset / "images" / name("a"), tmp_path / "cached")
    put(tmp_path / "staging" / name("a"), b"new")
    move_in(tmp_path / "staging", dataset / "images")
    assert (tmp_path / "cached").read_bytes() == b"1"


def test_where_nothing_was_staged_the_folder_of_images_is_there_all_the_same(tmp_path):
    move_in(tmp_path / "staging", tmp_path / "dataset/images")
    assert list((tmp_path / "dataset/images").iterdir()) == []


def test_what_the_catalogue_does_not_name_is_swept_out_and_its_empty_folder_too(dataset):
    before = held(dataset)
    put(dataset / "images" / name("c"))  # moved in since
    sweep(dataset, before, texts(name("a"), name("c")))
    assert files_in(dataset) == {
        f"images/{name('a')}",
        f"images/{name('c')}",
        "catalogue.parquet",
        "quarantine.csv",
    }
    assert {path.name for path in (dataset / "images").iterdir()} == {"aa", "cc"}


def test_half_a_table_that_a_killed_run_left_is_no_foreign_file_and_is_swept_out(dataset):
    for left in (".catalogue.parquet.4242", ".quarantine.csv.7"):
        put(dataset / left)
    before = files_in(dataset)
    now = held(dataset)
    sweep(dataset, now, now["file"])
    assert before - files_in(dataset) == {".catalogue.parquet.4242", ".quarantine.csv.7"}
