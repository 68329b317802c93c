"""A split's images as arrays: in the order of the rows, or an error that names the image."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.cache import decode, read_image
from pipeline.data.splits import SplitRow
from pipeline.errors import DatasetError

CLASSES = ("cat", "dog")


@pytest.fixture
def rows(tmp_path: Path) -> list[SplitRow]:
    """Fifty grey images in *tmp_path*; the shade of each is its number."""
    made = []
    for shade in range(50):
        file = f"{shade}.png"
        Image.new("L", (9, 7), shade).save(tmp_path / file)
        label = CLASSES[shade % 2]
        made.append(SplitRow(f"{shade:064d}", file, label, 9, 7, "train", None, None))
    return made


def test_images_and_labels_come_in_the_order_of_the_rows(tmp_path, rows):
    backwards = rows[::-1]
    examples = decode(tmp_path, backwards, CLASSES, 4)
    assert examples.pixels.shape == (50, 4, 4, 3)
    assert examples.pixels[:, 0, 0, 0].tolist() == list(range(49, -1, -1))
    assert examples.labels.tolist() == [n % 2 for n in range(49, -1, -1)]
    assert (examples.pixels.dtype, examples.labels.dtype) == (np.uint8, np.int64)


def test_a_label_is_its_place_among_the_classes(tmp_path, rows):
    assert decode(tmp_path, rows[:2], ("ape", "cat", "dog"), 4).labels.tolist() == [1, 2]


def test_no_rows_are_no_images(tmp_path):
    examples = decode(tmp_path, [], CLASSES, 4)
    assert (examples.pixels.shape, examples.labels.shape) == ((0, 4, 4, 3), (0,))


def test_an_image_is_read_as_it_lies(tmp_path, rows):
    assert read_image(tmp_path, rows[3]) == (tmp_path / "3.png").read_bytes()


def test_a_missing_image_is_named(tmp_path, rows):
    (tmp_path / "7.png").unlink()
    with pytest.raises(DatasetError) as caught:
        decode(tmp_path, rows, CLASSES, 4)
    assert str(tmp_path / "7.png") in str(caught.value)


def test_a_damaged_image_is_named(tmp_path, rows):
    (tmp_path / "7.png").write_bytes((tmp_path / "7.png").read_bytes()[:50])
    with pytest.raises(DatasetError) as caught:
        decode(tmp_path, rows, CLASSES, 4)
    assert "7.png" in str(caught.value)
