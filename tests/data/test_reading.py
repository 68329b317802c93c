"""Of other people's files only regular ones are read, through no link, whole or not at all."""

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.data import reading
from pipeline.data.reading import read_beneath, read_regular
from pipeline.errors import UnreadableImage


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read(source: Path, name: str, limit: int = 100) -> bytes:
    with opened(source) as root:
        return read_beneath(root, name, limit)[0]


def reason(source: Path, name: str, limit: int = 100) -> str:
    with pytest.raises(UnreadableImage) as caught:
        read(source, name, limit)
    return caught.value.reason


def while_reading(monkeypatch: pytest.MonkeyPatch, change: Callable[[int], None]) -> None:
    """Call *change* with 1, 2, ... each time that a file has been read, before it is trusted."""
    real, calls = reading._read_whole, iter(range(1, 100))

    def read_and_change(descriptor: int, size: int) -> bytes:
        data = real(descriptor, size)
        change(next(calls))
        return data

    monkeypatch.setattr(reading, "_read_whole", read_and_change)


def test_a_file_comes_with_what_it_was_when_it_was_opened(lay):
    source = lay({"cat/2024/a.png": b"pixels"})
    with opened(source) as root:
        data, found = read_beneath(root, "cat/2024/a.png", 100)
    assert data == b"pixels"
    now = (source / "cat/2024/a.png").stat()
    what_it_was = [(s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in (found, now)]
    assert what_it_was[0] == what_it_was[1]  # not its atime: reading moves that


def test_a_file_at_the_limit_is_read_and_one_above_it_is_not(lay):
    source = lay({"a": b"12345"})
    assert read(source, "a", limit=5) == b"12345"
    assert reason(source, "a", limit=4) == "too_large"


def test_an_empty_file_is_read(lay):
    assert read(lay({"a": b""}), "a") == b""


def test_a_link_is_not_followed(tmp_path, lay):
    (tmp_path / "secret").write_bytes(b"secret")
    source = lay("cat/a.png")
    (source / "cat/link").symlink_to(tmp_path / "secret")
    (source / "cat/near").symlink_to("a.png")
    assert reason(source, "cat/link") == reason(source, "cat/near") == "not_a_file"
    with pytest.raises(UnreadableImage, match="not_a_file"):
        read_regular(source / "cat/link", 100)


@pytest.mark.parametrize("swapped", ["cat", "cat/2024", "cat/2024/may"])
def test_a_folder_that_was_swapped_for_a_link_is_not_followed(tmp_path, lay, swapped):
    source = lay({"cat/2024/may/a.png": b"mine"})
    shutil.copytree(source, tmp_path / "elsewhere")
    with opened(source) as root:
        (source / swapped).rename(tmp_path / "away")
        (source / swapped).symlink_to(tmp_path / "elsewhere" / swapped)
        assert (source / "cat/2024/may/a.png").exists(), "an open that follows links finds it"
        with pytest.raises(UnreadableImage, match="not_a_file"):
            read_beneath(root, "cat/2024/may/a.png", 100)


def test_the_folder_of_a_single_file_may_be_a_link(tmp_path, lay):
    (tmp_path / "link").symlink_to(lay({"a": b"mine"}))
    assert read_regular(tmp_path / "link/a", 100) == b"mine"


def test_a_file_that_is_now_a_folder_or_its_folder_a_file_is_not_a_file(lay):
    source = lay("cat/a.png/b.png", "dog")
    assert reason(source, "cat/a.png") == "not_a_file"
    assert reason(source, "dog/b.png") == "not_a_file"


@pytest.mark.parametrize("name", ["cat/b.png", "dog/a.png"])
def test_a_file_that_went_away_is_gone(lay, name):
    assert reason(lay("cat/a.png"), name) == "gone"


def test_a_file_without_the_right_to_read_it_is_unreadable(lay, monkeypatch):
    source = lay("cat/a.png")
    real = os.open

    def forbidden(path, flags, **options):
        if path == "a.png":
            raise PermissionError(13, "Permission denied")
        return real(path, flags, **options)

    monkeypatch.setattr(os, "open", forbidden)
    assert reason(source, "cat/a.png") == "unreadable"


def test_a_disk_that_fails_under_a_file_makes_it_unreadable(lay, monkeypatch):
    def failing(descriptor: int, size: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(reading, "_read_whole", failing)
    assert reason(lay("a"), "a") == "unreadable"


def test_a_pipe_is_refused_and_not_waited_for(source):
    os.mkfifo(source / "pipe.png")
    reasons = []
    reader = threading.Thread(
        target=lambda: reasons.append(reason(source, "pipe.png")), daemon=True
    )
    reader.start()
    reader.join(5)
    if reader.is_alive():  # let it go, so that this test fails and does not hang
        os.close(os.open(source / "pipe.png", os.O_WRONLY | os.O_NONBLOCK))
        pytest.fail("it waits for somebody to write into the pipe")
    assert reasons == ["not_a_file"]


def test_a_socket_is_refused(source, monkeypatch):
    monkeypatch.chdir(source)  # its address has room for a short path alone
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket.png")
        assert reason(source, "socket.png") == "not_a_file"


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("file", "reason"), [("/proc/self/status", "changing"), ("/proc/self/mem", "unreadable")]
)
def test_a_file_that_is_not_what_the_disk_says_is_refused(file, reason):
    with pytest.raises(UnreadableImage) as caught:
        read_regular(Path(file), 10**6)
    assert caught.value.reason == reason


CHANGES = {
    "appended to": lambda file: file.open("ab").write(b"more"),
    "cut off": lambda file: os.truncate(file, 2),
    "rewritten in its own length": lambda file: file.write_bytes(b"PIXELS"),
    "rewritten, its time put back": lambda file: (
        file.write_bytes(b"PIXELS"),
        os.utime(file, (9, 9)),
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("times", [1, 2])
def test_a_file_that_changes_while_it_is_read_is_read_again(lay, monkeypatch, change, times):
    source = lay({"a": b"pixels"})
    os.utime(source / "a", (9, 9))
    while_reading(monkeypatch, lambda time: time <= times and change(source / "a"))
    assert read(source, "a") == (source / "a").read_bytes()


def test_a_file_that_never_stops_changing_is_refused_after_three_readings(lay, monkeypatch):
    source, readings = lay({"a": b"pixels"}), []

    def grow(time: int) -> None:
        readings.append(time)
        (source / "a").write_bytes(b"pixels" * (time + 1))

    while_reading(monkeypatch, grow)
    assert reason(source, "a") == "changing"
    assert readings == [1, 2, 3]


def test_a_file_that_grows_beyond_the_limit_while_it_is_read_is_too_large(lay, monkeypatch):
    source = lay({"a": b"pixels"})
    while_reading(monkeypatch, lambda time: (source / "a").write_bytes(b"x" * 1000))
    assert reason(source, "a") == "too_large"


def test_no_file_stays_open(tmp_path, lay):
    source = lay("cat/2024/a.png")
    (source / "link").symlink_to(tmp_path)
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    read(source, "cat/2024/a.png")
    for name in ("cat/2024/b.png", "cat/2024", "cat/2024/a.png/b", "link/a"):
        reason(source, name)
    reason(source, "cat/2024/a.png", limit=1)
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == before
