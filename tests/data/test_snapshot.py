"""Each file is read once and copied under the name of its content, or set aside by a word."""

import hashlib
import io
import os
import threading
from pathlib import Path

import pytest
from PIL import Image

from pipeline.data.catalogue import Refusal
from pipeline.data.snapshot import Taken, read_regular, resolve, take
from pipeline.data.sources import entries
from pipeline.errors import UnreadableImage
from pipeline.serving.images import Limits

LIMITS = Limits(bytes=100_000, pixels=10_000)


def image(shade: int, image_format: str = "PNG", side: int = 4) -> bytes:
    out = io.BytesIO()
    Image.new("L", (side, side), shade).save(out, image_format)
    return out.getvalue()


def lay(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    return tmp_path / "staging"


def taken(source: Path, staging: Path, images: Path | None = None) -> list[Taken | Refusal]:
    return list(take(entries(source), staging, images or source.parent / "no-images", LIMITS))


def reasons(source: Path, staging: Path) -> dict[str, str]:
    return {
        record.path: record.reason
        for record in taken(source, staging)
        if isinstance(record, Refusal)
    }


def test_a_copy_has_the_name_and_the_bytes_of_its_content(source, staging):
    data = image(7)
    digest = hashlib.sha256(data).hexdigest()
    lay(source, {"cat/any name.jpeg": data})
    (record,) = taken(source, staging)
    assert isinstance(record, Taken)
    assert record.sha256 == digest
    assert record.file == f"{digest[:2]}/{digest}.png"
    assert record.bytes == len(data)
    assert (staging / record.file).read_bytes() == data
    assert not (staging / record.file).is_symlink()


def test_what_the_snapshot_holds_whole_is_not_copied_again(source, staging, tmp_path):
    lay(source, {"cat/a.png": image(1), "cat/b.png": image(2), "cat/c.png": image(3)})
    a, b, c = (record.file for record in taken(source, tmp_path / "images"))
    cut_off, other = image(2)[:-1], image(3)[:-1] + b"?"
    lay(tmp_path / "images", {b: cut_off, c: other})
    again = taken(source, staging, tmp_path / "images")
    assert [record.file for record in again] == [a, b, c]
    assert not (staging / a).exists()
    assert (staging / b).read_bytes() == image(2)
    assert (staging / c).read_bytes() == image(3)
    assert (tmp_path / "images" / b).read_bytes() == cut_off, "take writes into staging alone"


def test_there_is_one_record_for_each_file_in_their_order(source, staging):
    lay(source, {f"cat/{n:03d}": image(n % 256) if n % 3 else b"text" for n in range(600)})
    records = taken(source, staging)
    paths = [
        record.path if isinstance(record, Refusal) else record.entry.path for record in records
    ]
    assert paths == [f"cat/{n:03d}" for n in range(600)]


def test_every_file_that_is_no_safe_image_is_set_aside_by_a_word(source, staging):
    lay(
        source,
        {
            "loose.png": image(0),
            "cat/empty.png": b"",
            "cat/heavy.png": image(0) + b"\0" * LIMITS.bytes,
            "cat/huge.png": image(0, side=101),
            "cat/half.bmp": image(0, "BMP")[:-4],
            "cat/text.png": b"text",
            "cat/whole.png": image(0),
        },
    )
    (source / "cat/link.png").symlink_to(source / "cat/whole.png")
    (source / "cat/dangling.png").symlink_to("nowhere")
    (source / "cat/folder.png").symlink_to(source)
    assert reasons(source, staging) == {
        "loose.png": "no_class",
        "cat/empty.png": "empty",
        "cat/heavy.png": "too_large",
        "cat/huge.png": "too_many_pixels",
        "cat/half.bmp": "damaged",
        "cat/text.png": "not_an_image",
        "cat/link.png": "not_a_file",
        "cat/dangling.png": "not_a_file",
        "cat/folder.png": "not_a_file",
    }
    assert len([path for path in staging.rglob("*") if path.is_file()]) == 1


def test_a_pipe_is_refused_and_not_waited_for(source):
    pipe = source / "pipe.png"
    os.mkfifo(pipe)
    reasons = []

    def read() -> None:
        try:
            read_regular(pipe, 100)
        except UnreadableImage as error:
            reasons.append(error.reason)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(5)
    if reader.is_alive():  # let it go, so that this test fails and does not hang
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        pytest.fail("it waits for somebody to write into the pipe")
    assert reasons == ["not_a_file"]


def test_a_file_that_goes_away_is_set_aside(source, staging):
    lay(source, {"cat/a.png": image(1), "cat/b.png": image(2)})
    found = list(entries(source))
    (source / "cat/a.png").unlink()
    gone, there = take(found, staging, staging.parent / "no-images", LIMITS)
    assert isinstance(gone, Refusal)
    assert isinstance(there, Taken)


def test_a_name_that_is_not_utf_8_is_taken_in(source, staging):
    lay(source, {"cat/" + os.fsdecode(b"\xff.png"): image(1)})
    (row,), _ = resolve(taken(source, staging))
    assert row.path == r"cat/\xff.png"


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("file", "reason"), [("/proc/self/status", "changing"), ("/proc/self/mem", "unreadable")]
)
def test_a_file_that_is_not_what_the_disk_says_is_refused(file, reason):
    with pytest.raises(UnreadableImage) as caught:
        read_regular(Path(file), 10**6)
    assert caught.value.reason == reason


def test_a_link_is_not_followed_out_of_the_source(tmp_path, source):
    (tmp_path / "secret").write_bytes(b"secret")
    (source / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(UnreadableImage) as caught:
        read_regular(source / "link", 100)
    assert caught.value.reason == "not_a_file"


def test_the_same_image_twice_in_one_class_is_kept_once(source, staging):
    lay(source, {"cat/a.png": image(1), "cat/b.png": image(1), "cat/c.png": image(2)})
    rows, refusals = resolve(taken(source, staging))
    assert sorted((row.path, row.label) for row in rows) == [
        ("cat/a.png", "cat"),
        ("cat/c.png", "cat"),
    ]
    assert refusals == [Refusal("cat/b.png", "duplicate", "same content as cat/a.png")]


def test_the_same_image_in_two_classes_is_kept_without_a_class(source, staging):
    lay(source, {"cat/a.png": image(1), "dog/a.png": image(1), "dog/b.png": image(2)})
    rows, refusals = resolve(taken(source, staging))
    assert {row.label for row in rows if row.path == "cat/a.png"} == {None}
    assert {row.label for row in rows if row.path == "dog/b.png"} == {"dog"}
    assert len(rows) == 2
    assert [(refusal.path, refusal.reason) for refusal in refusals] == [
        ("cat/a.png", "label_conflict"),
        ("dog/a.png", "label_conflict"),
    ]


def test_each_side_of_a_label_conflict_names_the_other(source, staging):
    lay(source, {"cat/a.png": image(1), "dog/b.png": image(1)})
    _, (cat, dog) = resolve(taken(source, staging))
    assert cat.detail == "same content as dog/b.png"
    assert dog.detail == "same content as cat/a.png"


def test_rows_are_sorted_by_content_and_refusals_by_path(source, staging):
    lay(source, {f"{label}/{n}.png": image(n) for n in range(20) for label in ("cat", "dog")})
    lay(source, {f"cat/{n}.txt": b"text" for n in range(5)})
    rows, refusals = resolve(taken(source, staging))
    assert [row.sha256 for row in rows] == sorted(row.sha256 for row in rows)
    assert [refusal.path for refusal in refusals] == sorted(refusal.path for refusal in refusals)


def test_a_row_tells_the_size_of_the_upright_image(source, staging):
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (6, 4)).save(out, "PNG", exif=exif)
    lay(source, {"cat/a.png": out.getvalue()})
    (row,), _ = resolve(taken(source, staging))
    assert (row.width, row.height, row.mode, row.bytes) == (4, 6, "L", len(out.getvalue()))


def test_no_file_is_no_row(source, staging):
    assert resolve(taken(source, staging)) == ([], [])
