"""A source is untrusted: whatever lies in it is listed, and no link is followed."""

import os
from pathlib import Path

import pytest

from pipeline.data.sources import entries, open_source, printable, write_digits_inbox
from pipeline.errors import SourceError
from pipeline.workspace import Home


def lay(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"content")
    return root


def listed(folder: Path) -> list[tuple[str, str]]:
    return [(entry.path, entry.label) for entry in entries(folder)]


def test_a_file_has_the_class_of_the_folder_at_the_top(tmp_path):
    lay(tmp_path, "cat/a.png", "cat/2024/may/b.png", "dog/a.png")
    assert listed(tmp_path) == [
        ("cat/2024/may/b.png", "cat"),
        ("cat/a.png", "cat"),
        ("dog/a.png", "dog"),
    ]


def test_a_file_outside_any_class_folder_has_no_class(tmp_path):
    lay(tmp_path, "a.png")
    assert listed(tmp_path) == [("a.png", "")]


def test_names_that_begin_with_a_dot_are_left_alone(tmp_path):
    lay(tmp_path, ".DS_Store", ".git/config", "cat/.thumb.png", "cat/.cache/a.png", "cat/a.png")
    assert listed(tmp_path) == [("cat/a.png", "cat")]


def test_a_linked_folder_is_listed_and_not_entered(tmp_path):
    lay(tmp_path / "elsewhere", "secret.png")
    lay(tmp_path / "source", "cat/a.png")
    (tmp_path / "source/cat/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "source/dog").symlink_to(tmp_path / "elsewhere")
    assert listed(tmp_path / "source") == [("cat/a.png", "cat"), ("cat/link", "cat"), ("dog", "")]


def test_a_link_to_the_folder_above_ends(tmp_path):
    lay(tmp_path, "cat/a.png")
    (tmp_path / "cat/up").symlink_to(tmp_path)
    assert listed(tmp_path) == [("cat/a.png", "cat"), ("cat/up", "cat")]


def test_what_is_no_regular_file_is_listed_so_that_it_can_be_refused(tmp_path):
    lay(tmp_path, "cat/a.png")
    os.mkfifo(tmp_path / "cat/pipe")
    (tmp_path / "cat/dangling").symlink_to("nowhere")
    assert [path for path, _ in listed(tmp_path)] == ["cat/a.png", "cat/dangling", "cat/pipe"]


def test_a_name_that_is_not_utf_8_can_be_printed_and_opened(tmp_path):
    folder = os.fsencode(tmp_path) + b"/K\xf6ln"
    os.mkdir(folder)  # noqa: PTH102 - a name of bytes
    Path(os.fsdecode(folder + b"/\xff.png")).write_bytes(b"content")
    (entry,) = entries(tmp_path)
    assert entry.path.encode() == rb"K\xf6ln/\xff.png"
    assert entry.label.encode() == rb"K\xf6ln"
    assert entry.file.read_bytes() == b"content"


def test_a_name_in_any_script_is_kept(tmp_path):
    lay(tmp_path, "Katze/Mieze im Schnee é.png")
    assert listed(tmp_path) == [("Katze/Mieze im Schnee é.png", "Katze")]
    assert printable(Path("猫/a.png")) == "猫/a.png"


def test_the_order_does_not_depend_on_the_order_of_making(tmp_path):
    names = [f"{label}/{n}.png" for label in "cba" for n in (10, 9, 1)]
    lay(tmp_path / "one", *names)
    lay(tmp_path / "other", *reversed(names))
    assert (
        listed(tmp_path / "one") == listed(tmp_path / "other") == sorted(listed(tmp_path / "one"))
    )


def test_a_relative_source_starts_at_home(tmp_path):
    lay(tmp_path / "home/photos", "cat/a.png")
    assert open_source("photos", Home(tmp_path / "home")) == tmp_path / "home/photos"


@pytest.mark.parametrize(
    ("name", "words"),
    [("gone", "is missing"), ("file", "is not a folder"), ("flat", "has no class folder")],
)
def test_a_source_that_cannot_be_one_is_a_named_error(tmp_path, name, words):
    lay(tmp_path, "file", "flat/a.png")
    with pytest.raises(SourceError) as caught:
        open_source(name, Home(tmp_path))
    assert caught.value.what == f"the source {name} {words}"
    assert str(tmp_path / name) in caught.value.where[0]


def test_no_digit_of_the_inbox_is_in_the_source(tmp_path):
    folder = open_source("digits", Home(tmp_path))
    assert write_digits_inbox(tmp_path / "inbox")
    source = [path for path, _ in listed(folder)]
    inbox = [path for path, _ in listed(tmp_path / "inbox")]
    assert len(inbox) == 179
    assert not {Path(path).name for path in source} & set(inbox)
    assert len(source) + len(inbox) == 1797
    assert {label for _, label in listed(folder)} == set("0123456789")


def test_the_digits_are_written_once(tmp_path):
    folder = open_source("digits", Home(tmp_path))
    removed = next(entries(folder)).file
    removed.unlink()
    assert open_source("digits", Home(tmp_path)) == folder
    assert not removed.exists()


def test_an_inbox_that_is_there_is_left_as_it_is(tmp_path):
    (tmp_path / "inbox").mkdir()
    assert not write_digits_inbox(tmp_path / "inbox")
    assert not list((tmp_path / "inbox").iterdir())
