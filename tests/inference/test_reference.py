"""What a sealed model remembers comes back; of an older one what there is."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.export.fitting import answer_files
from pipeline.inference.reference import read_reference

N = 40
RANDOM = np.random.default_rng(0)
PROBABILITIES = RANDOM.dirichlet([1, 1, 1], N)
EMBEDDINGS = RANDOM.normal(size=(N, 6))
LABELS = RANDOM.integers(0, 3, N)
SEEN = {"brightness": RANDOM.random(N), "width": np.full(N, 32.0)}
OLD = {"images": N, "predicted": [30, 10, 0]}


def seal(folder: Path, variant: str, probabilities: np.ndarray = PROBABILITIES) -> None:
    files = answer_files(
        *(variant, probabilities, EMBEDDINGS, LABELS, SEEN), coverage=0.8, in_distribution=0.9
    )
    for name, content in files.items():
        (folder / name).write_bytes(content)


def test_what_was_sealed_is_what_is_read(tmp_path):
    seal(tmp_path, "fp32")
    found = read_reference(tmp_path)
    assert found.images == N
    assert found.predicted.tolist() == np.bincount(PROBABILITIES.argmax(1), minlength=3).tolist()
    assert found.sample["confidence"].tolist() == PROBABILITIES.max(1).tolist()
    assert found.sample["width"].tolist() == [32] * N
    assert found.embeddings.shape == (N, 6)
    assert found.reliability.images.sum() == N
    assert found.reliability.right.sum() == (PROBABILITIES.argmax(1) == LABELS).sum()


def test_int8_is_held_against_its_own_answers(tmp_path):
    seal(tmp_path, "fp32")
    seal(tmp_path, "int8", PROBABILITIES[::-1])
    found = read_reference(tmp_path, "int8")
    assert found.sample["confidence"].tolist() == PROBABILITIES[::-1].max(1).tolist()


def test_a_model_without_a_reference_has_none(tmp_path):
    assert read_reference(tmp_path) is None
    assert read_reference(tmp_path, "int8") is None


@pytest.mark.parametrize("images", [1, 2, 40, 101, 5000])
def test_an_older_model_has_percentiles_and_no_accuracy_by_confidence(tmp_path, images):
    percentiles = {"confidence": np.linspace(0.5, 1, 101).tolist()}
    old = {"images": images, "predicted": [images, 0], "percentiles": percentiles}
    (tmp_path / "reference.json").write_text(json.dumps(old))
    found = read_reference(tmp_path)
    assert len(found.sample["confidence"]) == min(images, 101)
    assert set(found.sample["confidence"]) <= set(percentiles["confidence"])
    assert found.reliability is None
    assert found.embeddings is None


def test_int8_of_an_older_model_is_not_held_against_the_answers_of_fp32(tmp_path):
    values = np.linspace(0, 1, 101).tolist()
    old = {**OLD, "percentiles": {"confidence": values, "brightness": values}}
    (tmp_path / "reference.json").write_text(json.dumps(old))
    found = read_reference(tmp_path, "int8")
    assert set(found.sample) == {"brightness"}
    assert found.predicted is None
    assert found.reliability is None
