"""What `data.source` says becomes a source, or an error that says what it must be."""

import pytest

from pipeline.data.sources import open_source
from pipeline.errors import SourceError
from pipeline.workspace import Home


def test_a_relative_source_starts_at_home(tmp_path, source, lay):
    lay("cat/a.png")
    opened = open_source("source", Home(tmp_path))
    assert (opened.name, opened.root, opened.listing) == ("source", source, None)
    assert [entry.path for entry in opened.entries()] == ["cat/a.png"]


@pytest.mark.parametrize("name", ["list.csv", "list.CSV"])
def test_a_list_is_a_source_whose_root_is_its_own_folder(tmp_path, source, lay, name):
    lay("a.png", {name: b"path,label,day\na.png,cat,1\n"})
    opened = open_source(f"source/{name}", Home(tmp_path))
    assert (opened.root, opened.listing, opened.columns) == (source, source / name, ("day",))
    assert [(entry.path, entry.columns) for entry in opened.entries()] == [("a.png", ("1",))]


def test_a_list_that_is_none_is_refused_before_anything_is_read(tmp_path, lay):
    lay({"list.csv": b"name,class\n"})
    with pytest.raises(SourceError, match="no column path"):
        open_source("source/list.csv", Home(tmp_path))


def test_a_folder_that_is_named_like_a_list_is_a_folder(tmp_path, lay):
    lay("photos.csv/cat/a.png")
    assert open_source("source/photos.csv", Home(tmp_path)).listing is None


def test_the_digits_lie_in_homes_private_folder(tmp_path):
    opened = open_source("digits", Home(tmp_path))
    assert opened.root.is_relative_to(Home(tmp_path).private)
    assert {entry.label for entry in opened.entries()} == set("0123456789")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone", "is missing"),
        ("gone.csv", "is missing"),
        ("file.txt", "is neither a folder nor a list of images"),
        ("flat", "has no class folder"),
        ("hidden", "has no class folder"),
        ("empty", "has no class folder"),
    ],
)
def test_a_source_that_cannot_be_one_is_a_named_error(source, lay, name, words):
    lay("file.txt", "flat/a.png", "hidden/.git/config")
    (source / "empty").mkdir()
    with pytest.raises(SourceError) as caught:
        open_source(name, Home(source))
    assert caught.value.what == f"the source {name} {words}"
    assert str(source / name) in caught.value.where[0]
