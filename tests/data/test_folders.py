"""A source is untrusted: whatever lies in it is listed, no link is followed, nothing is opened."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.folders import entries, printable


def listed(folder: Path) -> list[tuple[str, str]]:
    return [(entry.path, entry.label) for entry in entries(folder)]


def refused(folder: Path) -> dict[str, str]:
    return {entry.path: entry.refusal[0] for entry in entries(folder) if entry.refusal}


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def lay_deep(folder: Path, depth: int) -> None:
    """Lay a file down so many folders below; its path is longer than a system call takes."""
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 100, dir_fd=here)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("deep.png", os.O_CREAT, dir_fd=here))
    os.close(here)


def test_a_file_has_the_class_of_the_folder_at_the_top(lay):
    source = lay("cat/a.png", "cat/2024/may/b.png", "dog/a.png")
    assert listed(source) == [
        ("cat/2024/may/b.png", "cat"),
        ("cat/a.png", "cat"),
        ("dog/a.png", "dog"),
    ]


def test_a_file_outside_any_class_folder_has_no_class(lay):
    assert listed(lay("a.png")) == [("a.png", "")]


def test_an_empty_folder_lists_nothing(source):
    (source / "cat").mkdir()
    assert listed(source) == []


def test_names_that_begin_with_a_dot_are_left_alone(lay):
    source = lay(".DS_Store", ".git/config", "cat/.thumb.png", "cat/.cache/a.png", "cat/a.png")
    assert listed(source) == [("cat/a.png", "cat")]


def test_what_file_managers_leave_behind_is_left_alone_however_it_is_written(lay):
    source = lay("cat/Thumbs.db", "cat/thumbs.db", "Desktop.ini", "cat/thumbs.db.png")
    assert listed(source) == [("cat/thumbs.db.png", "cat")]


def test_the_stat_of_a_file_is_its_own_and_not_that_of_what_it_links_to(lay):
    source = lay({"cat/a.png": b"four"})
    (source / "cat/link").symlink_to("a.png")
    a, link = entries(source)
    assert a.stat.st_size == 4
    assert link.stat.st_ino == (source / "cat/link").lstat().st_ino


def test_a_linked_folder_is_listed_and_not_entered(tmp_path, lay):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret.png").touch()
    source = lay("cat/a.png")
    (source / "cat/link").symlink_to(tmp_path / "elsewhere")
    (source / "dog").symlink_to(tmp_path / "elsewhere")
    assert listed(source) == [("cat/a.png", "cat"), ("cat/link", "cat"), ("dog", "")]


def test_a_folder_that_becomes_a_link_while_the_source_is_listed_is_not_entered(tmp_path, lay):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret.png").touch()
    source = lay("ant/1.png", "bee/1.png")
    walk = entries(source)
    found = [next(walk)]
    (source / "bee").rename(tmp_path / "bee")
    (source / "bee").symlink_to(tmp_path / "elsewhere")
    found += walk
    assert [entry.path for entry in found] == ["ant/1.png", "bee"]


def test_the_source_itself_may_be_a_link(tmp_path, lay):
    (tmp_path / "link").symlink_to(lay("cat/a.png"))
    assert listed(tmp_path / "link") == [("cat/a.png", "cat")]


def test_a_link_to_the_folder_above_ends(lay):
    source = lay("cat/a.png")
    (source / "cat/up").symlink_to(source)
    assert listed(source) == [("cat/a.png", "cat"), ("cat/up", "cat")]


def test_what_is_no_regular_file_is_listed_so_that_it_can_be_refused(lay):
    source = lay("cat/a.png")
    os.mkfifo(source / "cat/pipe")
    (source / "cat/dangling").symlink_to("nowhere")
    assert [path for path, _ in listed(source)] == ["cat/a.png", "cat/dangling", "cat/pipe"]


def test_a_file_that_goes_away_while_the_source_is_listed_is_gone(lay, monkeypatch):
    source = lay("cat/a.png", "cat/b.png")
    names = os.listdir

    def and_then_it_goes(folder: int) -> list[str]:
        found = names(folder)
        if "a.png" in found:
            (source / "cat/a.png").unlink()
        return found

    monkeypatch.setattr(os, "listdir", and_then_it_goes)
    assert refused(source) == {"cat/a.png": "gone"}


def test_a_folder_that_cannot_be_entered_is_set_aside_and_the_others_are_listed(lay, monkeypatch):
    source = lay("cat/a.png", "dog/a.png")
    real = os.open

    def forbidden(path, flags, **options):
        if path == "cat":
            raise PermissionError(13, "Permission denied")
        return real(path, flags, **options)

    monkeypatch.setattr(os, "open", forbidden)
    assert listed(source) == [("cat", "cat"), ("dog/a.png", "dog")]
    assert refused(source) == {"cat": "unreadable"}


def test_what_lies_in_a_folder_that_may_only_be_listed_is_unreadable_and_not_gone(lay, monkeypatch):
    source, real = lay("cat/a.png"), os.stat

    def forbidden(path, **options):
        if path == "a.png":
            raise PermissionError(13, "Permission denied")
        return real(path, **options)

    monkeypatch.setattr(os, "stat", forbidden)
    assert refused(source) == {"cat/a.png": "unreadable"}


def test_folders_are_entered_so_deep_and_no_deeper(source):
    lay_deep(source / "cat", 62)
    lay_deep(source / "dog", 63)
    deep, too_deep = entries(source)
    assert deep.path.endswith("/deep.png")
    assert deep.refusal is None
    assert too_deep.refusal == ("too_deep", "more than 64 folders deep")


def test_every_folder_is_closed_again_even_where_the_listing_is_given_up(lay):
    source = lay("cat/2024/may/a.png", "cat/2024/may/b.png")
    before = open_files()
    walk = entries(source)
    next(walk)
    walk.close()
    assert open_files() == before


def test_a_name_that_is_not_utf_8_can_be_printed_and_opened(source):
    folder = os.fsencode(source) + b"/K\xf6ln"
    os.mkdir(folder)  # noqa: PTH102 - a name of bytes
    Path(os.fsdecode(folder + b"/\xff.png")).write_bytes(b"content")
    (entry,) = entries(source)
    assert entry.path.encode() == rb"K\xf6ln/\xff.png"
    assert entry.label.encode() == rb"K\xf6ln"
    assert (source / entry.relative).read_bytes() == b"content"


@pytest.mark.parametrize("name", ["-rf", "a\nb", "tab\tbed", "\u202egnp.a", "'\"`$(id)", "n" * 255])
def test_a_name_that_is_hard_to_say_is_listed_and_can_be_opened(lay, name):
    source = lay(f"cat/{name}")
    (entry,) = entries(source)
    assert entry.path.isprintable()
    assert (source / entry.relative).read_bytes() == b"content"


def test_a_name_in_any_script_is_kept(lay):
    source = lay("Katze/Mieze im Schnee é.png")
    assert listed(source) == [("Katze/Mieze im Schnee é.png", "Katze")]
    assert printable("猫/a.png") == "猫/a.png"


def test_the_order_does_not_depend_on_the_order_of_making(tmp_path):
    names = [f"{label}/{n}.png" for label in "cba" for n in (10, 9, 1)]
    for place, order in (("one", names), ("other", names[::-1])):
        for name in order:
            (tmp_path / place / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place / name).touch()
    one, other = listed(tmp_path / "one"), listed(tmp_path / "other")
    assert one == other == sorted(one)


any_names = st.one_of(
    st.binary().map(os.fsdecode),
    st.text(st.sampled_from("\\xdcuff0eé\n\x1b\udcff\udc5c\u202e\U0010ffff")),
)


@given(any_names, any_names)
def test_no_two_names_become_one(one, other):
    assert (printable(one) == printable(other)) == (one == other)


@given(any_names)
def test_any_name_becomes_text_that_any_table_and_terminal_can_hold(name):
    assert printable(name).isprintable()
    assert printable(name).encode().decode() == printable(name)
