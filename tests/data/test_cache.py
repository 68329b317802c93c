"""Decoded images: each file decoded once, in the order of the rows, or an error that names it."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import PIL
import pytest
from PIL import Image
from worlds import ROOT

from pipeline.data import cache as module
from pipeline.data.cache import decoded, labels_of, read_image
from pipeline.data.splits import SplitRow
from pipeline.errors import DatasetError

SIDE = 4


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for shade in range(50):
        Image.new("L", (9, 7), shade).save(folder / f"{shade}.png")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "home/.darkroom/decoded"


def rows(*shades: int) -> list[SplitRow]:
    """Grey images; the shade of each is its name."""
    return [
        SplitRow(
            hashlib.sha256(str(shade).encode()).hexdigest(),
            f"{shade}.png",
            ("cat", "dog")[shade % 2],
            *(9, 7, "train", None, None),
        )
        for shade in shades
    ]


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The names of the files that were opened, as they are."""
    names: list[str] = []

    def reading(folder: Path, row: SplitRow) -> bytes:
        names.append(row.file)
        return read_image(folder, row)

    monkeypatch.setattr(module, "read_image", reading)
    return names


def shades(pixels: np.ndarray) -> list[int]:
    assert (pixels == pixels[:, :1, :1, :1]).all(), "each image is of one shade"
    return pixels[:, 0, 0, 0].tolist()


def arrays(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.is_dir()]


def test_images_come_in_the_order_of_the_rows(images, cache):
    backwards = list(range(49, -1, -1))
    pixels = decoded(images, rows(*backwards), SIDE, cache)
    assert (pixels.shape, pixels.dtype) == ((50, SIDE, SIDE, 3), np.uint8)
    assert shades(pixels) == backwards


def test_no_rows_are_no_images(images, cache):
    assert decoded(images, [], SIDE, cache).shape == (0, SIDE, SIDE, 3)


def test_each_file_is_opened_once_for_all_trainings(images, cache, read):
    wanted = rows(*range(50))
    first = decoded(images, wanted, SIDE, cache)
    assert sorted(read) == sorted(row.file for row in wanted)
    read.clear()
    shutil.rmtree(images)
    assert np.array_equal(decoded(images, wanted, SIDE, cache), first)
    assert read == []


def test_it_is_said_how_many_images_are_decoded(images, cache):
    said: list[str] = []
    decoded(images, rows(*range(20)), SIDE, cache, said.append)
    decoded(images, rows(*range(30)), SIDE, cache, said.append)
    decoded(images, rows(*range(30)), SIDE, cache, said.append)
    assert said == ["decoding 20 images to 4 px, once", "decoding 10 images to 4 px, once"]


def test_of_a_dataset_that_grew_only_the_new_images_are_decoded(images, cache, read):
    decoded(images, rows(*range(20)), SIDE, cache)
    decoded(images, rows(*range(20, 30)), SIDE, cache)
    read.clear()
    wanted = [45, *range(29, -1, -1), 44]
    assert shades(decoded(images, rows(*wanted), SIDE, cache)) == wanted
    assert sorted(read) == ["44.png", "45.png"]


def test_the_same_images_in_another_order_are_an_array_of_their_own(images, cache):
    assert shades(decoded(images, rows(1, 2), SIDE, cache)) == [1, 2]
    assert shades(decoded(images, rows(2, 1), SIDE, cache)) == [2, 1]


@pytest.mark.parametrize("what", ["the side", "Pillow", "our decoder"])
def test_what_changes_the_pixels_decodes_anew(images, cache, read, monkeypatch, tmp_path, what):
    decoded(images, rows(1, 2), SIDE, cache)
    read.clear()
    side = 5 if what == "the side" else SIDE
    if what == "Pillow":
        monkeypatch.setattr(PIL, "__version__", "0.1")
    if what == "our decoder":
        other = tmp_path / "images.py"
        other.write_text(Path(module.decoder.__file__).read_text() + "\n# it sees other pixels\n")
        monkeypatch.setattr(module.decoder, "__file__", str(other))
    assert decoded(images, rows(1, 2), side, cache).shape == (2, side, side, 3)
    assert sorted(read) == ["1.png", "2.png"]
    assert len(arrays(cache)) == 2


def test_who_writes_into_the_array_changes_it_for_nobody_else(images, cache):
    mine = decoded(images, rows(7), SIDE, cache)
    mine[:] = 255
    assert shades(decoded(images, rows(7), SIDE, cache)) == [7]


def test_old_arrays_go_and_the_latest_used_stay(images, cache, read):
    in_use = decoded(images, rows(0), SIDE, cache)
    often = rows(1)
    for shade in range(2, 20):
        decoded(images, rows(shade), SIDE, cache)
        for age, path in enumerate(sorted(arrays(cache), key=lambda p: -p.stat().st_mtime)):
            os.utime(path, (10**9 - age, 10**9 - age))  # clocks may be coarse
        decoded(images, often, SIDE, cache)
    assert len(arrays(cache)) == 7
    assert read.count("1.png") == 1
    assert read.count("0.png") == 1
    assert shades(in_use) == [0], "who has an array open keeps it"
    decoded(images, rows(0), SIDE, cache)
    assert read.count("0.png") == 2, "it was gone"


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


DAMAGES = {
    "pixels of zero bytes": lambda folder: cut(folder / "pixels.npy", 0),
    "half a head": lambda folder: cut(folder / "pixels.npy", 40),
    "half the pixels": lambda folder: cut(folder / "pixels.npy", 200),
    "no pixels": lambda folder: (folder / "pixels.npy").unlink(),
    "a head that is none": lambda folder: (folder / "pixels.npy").write_bytes(
        b"\x93NUMPY\x01\x00\x76\x00" + b"{" * 500
    ),
    "another shape": lambda folder: np.save(
        folder / "pixels.npy", np.zeros((3, SIDE + 1, SIDE, 3), np.uint8)
    ),
    "fewer images": lambda folder: np.save(
        folder / "pixels.npy", np.zeros((2, SIDE, SIDE, 3), np.uint8)
    ),
    "another type": lambda folder: np.save(
        folder / "pixels.npy", np.zeros((3, SIDE, SIDE, 3), np.float32)
    ),
    "names of zero bytes": lambda folder: cut(folder / "names.json", 0),
    "half the names": lambda folder: cut(folder / "names.json", 100),
    "names that are none": lambda folder: (folder / "names.json").write_text("3"),
    "no names": lambda folder: (folder / "names.json").unlink(),
    "names of others": lambda folder: (folder / "names.json").write_text('["a", "b", "c"]'),
    "nothing at all": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_array_is_made_anew(images, cache, read, damage):
    decoded(images, rows(1, 2, 3), SIDE, cache)
    (folder,) = arrays(cache)
    read.clear()
    DAMAGES[damage](folder)
    assert shades(decoded(images, rows(1, 2, 3), SIDE, cache)) == [1, 2, 3]
    assert sorted(read) == ["1.png", "2.png", "3.png"]
    read.clear()
    assert shades(decoded(images, rows(1, 2, 3), SIDE, cache)) == [1, 2, 3]
    assert read == []


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name != "names of others"])
def test_nothing_is_taken_from_a_damaged_array_of_another_training(images, cache, damage):
    decoded(images, rows(1, 2, 3), SIDE, cache)
    (folder,) = arrays(cache)
    DAMAGES[damage](folder)
    assert shades(decoded(images, rows(2, 3, 4), SIDE, cache)) == [2, 3, 4]


def test_what_would_fill_the_disk_is_held_in_memory(images, cache, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 2 * 3 * SIDE * SIDE * 3 - 1))
    pixels = decoded(images, rows(3, 4, 5), SIDE, cache)
    assert shades(pixels) == [3, 4, 5]
    assert not isinstance(pixels, np.memmap)
    assert arrays(cache) == []
    assert isinstance(decoded(images, rows(3, 4), SIDE, cache), np.memmap)


PROGRAM = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from pipeline.data import cache as module
from {name} import rows
read = module.read_image
def reading(folder, row):
    with open({log!r}, "a") as log:
        log.write(row.file + "\\n")
    if row.file == {fatal!r}:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(folder, row)
module.read_image = reading
pixels = module.decoded(Path({images!r}), rows(*range(50)), {side}, Path({cache!r}))
print(*pixels[:, 0, 0, 0])
"""


def start_decoding(images: Path, cache: Path, log: Path, fatal: str = "") -> subprocess.Popen:
    """Decode all fifty in a process of its own, noting each file; *fatal* is the one it dies of."""
    program = PROGRAM.format(
        **{"root": str(ROOT), "tests": str(Path(__file__).parent), "name": Path(__file__).stem},
        **{"log": str(log), "fatal": fatal, "images": str(images), "cache": str(cache)},
        side=SIDE,
    )
    command = [sys.executable, "-c", program]
    env = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def test_two_at_once_share_the_work_and_the_array(images, cache, tmp_path):
    log = tmp_path / "log"
    both = [start_decoding(images, cache, log) for _ in range(2)]
    printed = {process.communicate(timeout=120)[0] for process in both}
    assert printed == {" ".join(map(str, range(50))) + "\n"}
    assert sorted(log.read_text().split()) == sorted(f"{n}.png" for n in range(50))


def test_what_a_killed_build_left_is_not_taken_for_whole(images, cache, tmp_path, read):
    killed = start_decoding(images, cache, tmp_path / "log", fatal="30.png")
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert len(arrays(cache)) == 1, "it had begun"
    wanted = list(range(50))
    assert shades(decoded(images, rows(*wanted), SIDE, cache)) == wanted
    assert len(read) == 50
    assert len(arrays(cache)) == 1, "and what was left is swept"


def test_what_a_killed_build_left_is_swept_by_another_training(images, cache, tmp_path):
    start_decoding(images, cache, tmp_path / "log", fatal="30.png").communicate(timeout=120)
    (half,) = arrays(cache)
    decoded(images, rows(0), SIDE, cache)
    assert not half.exists()
    assert len(arrays(cache)) == 1


def test_a_label_is_its_place_among_the_classes():
    labels = labels_of(rows(0, 1, 2), ("ape", "cat", "dog"))
    assert (labels.tolist(), labels.dtype) == ([1, 2, 1], np.int64)


def test_an_image_is_read_as_it_lies(images):
    assert read_image(images, rows(3)[0]) == (images / "3.png").read_bytes()


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_an_image_that_is_not_there_is_named_and_leaves_no_half_array(images, cache, fault):
    path = images / "7.png"
    content = path.read_bytes()
    path.unlink() if fault == "missing" else path.write_bytes(content[:50])
    with pytest.raises(DatasetError) as caught:
        decoded(images, rows(*range(50)), SIDE, cache)
    assert str(path) in str(caught.value)
    assert arrays(cache) == []
    path.write_bytes(content)
    assert shades(decoded(images, rows(*range(50)), SIDE, cache)) == list(range(50))
