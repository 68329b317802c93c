"""Plots are pictures of any number of classes, the same bytes for the same answers."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from pipeline.evaluation.plots import MOST_CONFUSED, PLOTS, draw_all, most_confused
from pipeline.metrics import Labels, Probabilities


def answers(num_classes: int, n: int = 60) -> tuple[Probabilities, Labels]:
    random = np.random.default_rng(0)
    labels = np.arange(n) % num_classes
    logits = random.normal(size=(n, num_classes))
    logits[np.arange(n), labels] += 2
    odds = np.exp(logits)
    return odds / odds.sum(1, keepdims=True), labels


def drawn(folder: Path, classes: list[str], n: int = 60) -> dict[str, bytes]:
    folder.mkdir()
    draw_all(folder, *answers(len(classes), n), classes, "fp32, validation")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("num_classes", [2, 40])
def test_any_number_of_classes_makes_four_pictures_of_bounded_size(tmp_path, num_classes):
    drawn(tmp_path / "plots", [f"class {c}" for c in range(num_classes)], 120)
    for name in PLOTS:
        with Image.open(tmp_path / "plots" / name) as picture:
            assert max(picture.size) < 2000
            assert set(picture.info) <= {"dpi"}


def test_the_same_answers_give_the_same_bytes_whatever_the_users_matplotlibrc_says(tmp_path):
    first = drawn(tmp_path / "first", ["cat", "dog"])
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert drawn(tmp_path / "second", ["cat", "dog"]) == first


@pytest.mark.parametrize("name", ["$x^$", r"\frac{", "猫", "two\nlines\x00", "n" * 300, ""])
def test_any_name_of_a_class_can_be_drawn(tmp_path, name, recwarn):
    assert set(drawn(tmp_path / "plots", [name, "dog"])) == set(PLOTS)
    assert not [w for w in recwarn if "Glyph" in str(w.message)]


def test_images_of_one_class_alone_have_no_curve_but_a_picture(tmp_path):
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]])
    draw_all(tmp_path, probabilities, np.zeros(2, np.int64), ["cat", "dog"], "fp32")
    assert {path.name for path in tmp_path.iterdir()} == set(PLOTS)


def test_of_many_classes_the_most_confused_are_kept_in_their_order():
    counts = np.eye(MOST_CONFUSED + 20, dtype=np.int64) * 9
    counts[3, 40] = counts[40, 11] = 5
    chosen = most_confused(counts)
    assert len(chosen) == MOST_CONFUSED
    assert {3, 11, 40} <= set(chosen)
    assert chosen == sorted(chosen)
    assert most_confused(counts[:5, :5]) == [0, 1, 2, 3, 4]
