"""A sealed model on labelled images: in order, whole, and loud about what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from brightness import png, seal_brightness
from evaluable import GREYS, make_evaluable, seal_two

from pipeline.data.splits import SplitRow, read_splits
from pipeline.errors import ArtefactError, DatasetError
from pipeline.evaluation.measure import Measured, measure, open_variants
from pipeline.export.artefact import SealedClassifier, open_artefact

BRIGHTNESS = (0, 255, 30, 200, 100)


@pytest.fixture
def classifier(tmp_path: Path) -> SealedClassifier:
    seal_brightness(tmp_path / "serving")
    return open_artefact(tmp_path / "serving")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for brightness in BRIGHTNESS:
        (tmp_path / f"{brightness}.png").write_bytes(png(brightness))
    return tmp_path


def row(name: str, label: str) -> SplitRow:
    return SplitRow("0" * 64, f"{name}.png", label, 8, 8, "test", None, None)


ROWS = [row(str(b), "light" if b > 127 else "dark") for b in BRIGHTNESS]


def test_answers_keep_the_order_of_the_rows(classifier, images):
    measured = measure(classifier, images, ROWS, batch_size=2)
    assert measured.labels.tolist() == [0, 1, 0, 1, 0]
    light = measured.probabilities[:, 1]
    assert np.argsort(light).tolist() == np.argsort(BRIGHTNESS).tolist()


def test_the_batch_size_changes_nothing(classifier, images):
    def by(batch_size: int) -> Measured:
        return measure(classifier, images, ROWS, batch_size)

    for batch_size in (1, 2, 5, 100):
        np.testing.assert_allclose(by(batch_size).probabilities, by(3).probabilities, atol=1e-6)


def test_probabilities_sum_to_one_in_float64(classifier, images):
    measured = measure(classifier, images, ROWS, batch_size=64)
    assert measured.probabilities.dtype == np.float64
    np.testing.assert_allclose(measured.probabilities.sum(axis=1), 1, rtol=0, atol=1e-15)


def test_a_wrong_label_is_measured_not_mended(classifier, images):
    measured = measure(classifier, images, [row("255", "dark")], batch_size=1)
    assert (measured.labels[0], measured.probabilities.argmax()) == (0, 1)


def test_an_image_that_the_model_refuses_is_named(classifier, images):
    (images / "30.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="empty") as caught:
        measure(classifier, images, ROWS, batch_size=2)
    assert "30.png" in str(caught.value)


def test_an_image_that_is_not_there_is_named(classifier, images):
    (images / "200.png").unlink()
    with pytest.raises(DatasetError, match=r"200\.png"):
        measure(classifier, images, ROWS, batch_size=2)


def test_a_model_without_thresholds_says_nothing_of_its_reliance(classifier, images):
    assert measure(classifier, images, ROWS, batch_size=2).reliance is None


def test_what_a_model_says_of_its_reliance_stands_in_the_order_of_rows_and_classes(tmp_path):
    made = make_evaluable(tmp_path)
    rows = read_splits(made.splits).of("validation")
    measured = measure(open_artefact(made.serving, variant="fp32"), made.images, rows, 7)
    found, probabilities = measured.reliance, measured.probabilities
    assert found is not None
    np.testing.assert_array_equal(found.conformal, np.round(1 - probabilities, 6) <= 0.3)
    assert (found.class_conditional >= found.conformal).all()
    np.testing.assert_array_equal(found.abstained, found.conformal.sum(1) != 1)
    assert 0 < found.abstained.sum() < len(GREYS)
    assert found.ood_scores.shape == (len(GREYS),)


def test_every_variant_is_opened_by_its_name_fp32_first(tmp_path):
    digest = seal_two(tmp_path / "serving")
    found = open_variants(tmp_path / "serving", digest)
    assert [(name, each.variant) for name, each in found.items()] == [
        ("fp32", "fp32"),
        ("int8", "int8"),
    ]


def test_a_model_of_before_there_were_variants_has_one(tmp_path):
    digest = seal_brightness(tmp_path / "serving")
    assert list(open_variants(tmp_path / "serving", digest)) == ["fp32"]


def test_no_variant_of_another_model_is_opened(tmp_path):
    seal_two(tmp_path / "serving")
    with pytest.raises(ArtefactError, match="not the one"):
        open_variants(tmp_path / "serving", "0" * 64)
