"""Each file is read once and copied under the name of its content, or set aside by a word."""

import hashlib
import io
import os
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from pipeline.data import reading, snapshot
from pipeline.data.records import RECORDS, stamp_of
from pipeline.data.snapshot import take
from pipeline.serving.images import Limits

LIMITS = Limits(bytes=100_000, pixels=10_000)
OUTSIDE = Path("/nowhere")


def image(shade: int, image_format: str = "PNG", size: tuple[int, int] = (4, 4)) -> bytes:
    out = io.BytesIO()
    Image.new("L", size, shade).save(out, image_format)
    return out.getvalue()


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    return tmp_path / "staging"


def taken(
    source: Path, staging: Path, *names: str, images: Path = OUTSIDE
) -> list[dict[str, object]]:
    records = take(names, source, staging, images, LIMITS)
    return [dict(zip(RECORDS.names, record, strict=True)) for record in records]


def test_a_copy_has_the_name_and_the_bytes_of_its_content(lay, staging):
    data = image(7)
    digest = hashlib.sha256(data).hexdigest()
    (record,) = taken(lay({"cat/any name.jpeg": data}), staging, "cat/any name.jpeg")
    assert (record["sha256"], record["file"]) == (digest, f"{digest[:2]}/{digest}.png")
    assert (staging / record["file"]).read_bytes() == data
    assert not (staging / record["file"]).is_symlink()


def test_a_record_says_what_the_picture_is_and_looks_like(lay, staging):
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (60, 40), 51).save(out, "PNG", exif=exif)
    (record,) = taken(lay({"a": out.getvalue()}), staging, "a")
    assert (record["width"], record["height"], record["mode"]) == (40, 60, "L")
    assert (record["brightness"], record["sharpness"]) == (0.2, 0)
    assert len(record["phash"]) == 16
    assert (record["size"], record["reason"]) == (len(out.getvalue()), None)


def test_the_source_is_left_as_it_is(lay, staging):
    source = lay({"a": image(1), "b": b"text"})
    before = {path: (path.stat().st_mtime_ns, path.stat().st_nlink) for path in source.iterdir()}
    taken(source, staging, "a", "b")
    assert {p: (p.stat().st_mtime_ns, p.stat().st_nlink) for p in source.iterdir()} == before


def test_what_the_snapshot_holds_whole_is_not_copied_again(lay, staging, tmp_path):
    source = lay({"a": image(1), "b": image(2), "c": image(3)})
    images = tmp_path / "images"
    a, b, c = (record["file"] for record in taken(source, images, "a", "b", "c"))
    cut_off, other = image(2)[:-1], image(3)[:-1] + b"?"
    (images / b).write_bytes(cut_off)
    (images / c).write_bytes(other)
    again = taken(source, staging, "a", "b", "c", images=images)
    assert [record["file"] for record in again] == [a, b, c]
    assert not (staging / a).exists()
    assert (staging / b).read_bytes() == image(2)
    assert (staging / c).read_bytes() == image(3)
    assert (images / b).read_bytes() == cut_off, "take writes into staging alone"


def test_there_is_one_record_for_each_file_in_their_order(lay, staging):
    names = [f"{number:03d}" for number in range(600)]
    source = lay({name: image(int(name) % 256) if int(name) % 3 else b"text" for name in names})
    records = taken(source, staging, *names[::-1])
    expected = [hashlib.sha256((source / n).read_bytes()).hexdigest() for n in names[::-1]]
    assert [record["sha256"] for record in records] == [
        None if int(name) % 3 == 0 else digest
        for name, digest in zip(names[::-1], expected, strict=True)
    ]


def test_no_more_than_a_few_files_are_read_ahead_of_who_takes_them(lay, staging, monkeypatch):
    monkeypatch.setattr(snapshot, "_IN_FLIGHT", 4)
    asked = []
    source = lay({str(number): image(number) for number in range(20)})
    records = take((asked.append(n) or str(n) for n in range(20)), source, staging, OUTSIDE, LIMITS)
    next(records)
    assert len(asked) == 4
    assert len(list(records)) == 19


def test_every_file_that_is_no_safe_image_is_set_aside_by_a_word(lay, staging):
    expected = {
        "empty.png": ("empty", b""),
        "heavy.png": ("too_large", image(0) + b"\0" * LIMITS.bytes),
        "huge.png": ("too_many_pixels", image(0, size=(101, 100))),
        "half.bmp": ("damaged", image(0, "BMP")[:-4]),
        "text.png": ("not_an_image", b"text"),
    }
    source = lay({name: data for name, (_, data) in expected.items()})
    records = taken(source, staging, *expected)
    assert [each["reason"] for each in records] == [reason for reason, _ in expected.values()]
    assert all(each["detail"] and each["file"] is None for each in records)
    assert not staging.exists()


def test_what_a_file_has_become_since_it_was_listed_is_never_followed(lay, staging, tmp_path):
    source = lay("cat/gone.png")
    (source / "cat/gone.png").unlink()
    (tmp_path / "secret.png").write_bytes(image(1))
    (source / "cat/link.png").symlink_to(tmp_path / "secret.png")
    (source / "cat/folder.png").mkdir()
    os.mkfifo(source / "cat/pipe.png")
    names = [f"cat/{name}.png" for name in ("gone", "link", "folder", "pipe")]
    assert [each["reason"] for each in taken(source, staging, *names)] == [
        "gone",
        *["not_a_file"] * 3,
    ]


def test_a_name_that_is_not_utf_8_is_taken_in(lay, staging):
    name = os.fsdecode(b"cat/\xff.png")
    (record,) = taken(lay({name: image(1)}), staging, name)
    assert record["reason"] is None


def test_the_same_image_in_many_files_at_once_is_copied_whole(lay, staging):
    names = [f"{number:03d}" for number in range(200)]
    records = taken(lay(dict.fromkeys(names, image(1))), staging, *names)
    assert len({record["file"] for record in records}) == 1
    assert (staging / records[0]["file"]).read_bytes() == image(1)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file was written long ago."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 10 * 10**9)


def stamp(record: dict[str, object]) -> tuple[object, ...]:
    return tuple(record[name] for name in ("size", "mtime_ns", "ctime_ns", "inode"))


@pytest.mark.usefixtures("later")
def test_what_is_known_of_a_file_is_known_of_it_as_it_was_opened(lay, staging, monkeypatch):
    source = lay({"a": image(1), "b": b"text"})
    before = [stamp_of((source / name).stat()) for name in "ab"]
    real = snapshot.inspect

    def and_then_it_changes(data: bytes, limits: Limits) -> object:
        for name in "ab":
            (source / name).write_bytes(b"other content")
        return real(data, limits)

    with monkeypatch.context() as patch:
        patch.setattr(snapshot.os, "cpu_count", lambda: 1)
        patch.setattr(snapshot, "inspect", and_then_it_changes)
        (a,) = taken(source, staging, "a")
    assert stamp(a) == before[0] != stamp_of((source / "a").stat())


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize(("data", "reason"), [(b"text", "not_an_image"), (b"", "empty")])
def test_a_file_that_is_no_image_is_known_to_be_none(lay, staging, data, reason):
    source = lay({"a": data})
    (record,) = taken(source, staging, "a")
    assert record["reason"] == reason
    assert stamp(record) == stamp_of((source / "a").stat())


@pytest.mark.usefixtures("later")
def test_a_file_that_may_be_readable_the_next_time_is_not_known(lay, staging, monkeypatch):
    def failing(descriptor: int, size: int) -> bytes:
        raise OSError(5, "Input/output error")

    source = lay({"a": image(1)})
    with monkeypatch.context() as patch:
        patch.setattr(reading, "_read_whole", failing)
        (unreadable,) = taken(source, staging, "a")
    with monkeypatch.context() as patch:
        patch.setattr(reading, "_read_whole", lambda descriptor, size: b"")
        (changing,) = taken(source, staging, "a")
    (gone,) = taken(source, staging, "b")
    records = (unreadable, changing, gone)
    assert [each["reason"] for each in records] == ["unreadable", "changing", "gone"]
    assert {stamp(each) for each in records} == {stamp_of(None)}


def test_giving_up_half_way_closes_the_source_and_ends_the_threads(lay, staging):
    source = lay({str(number): image(number) for number in range(9)})
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    records = take(map(str, range(9)), source, staging, OUTSIDE, LIMITS)
    next(records)
    records.close()
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == before
    assert not [each for each in threading.enumerate() if "ThreadPool" in each.name]
