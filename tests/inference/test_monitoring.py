"""What a batch says of itself: the same for the same rows, and beside them."""

import json
import random

import numpy as np
import pytest

from pipeline.inference import monitoring
from pipeline.inference.batch import Watch
from pipeline.inference.monitoring import EmbeddingSample, read_figures
from pipeline.inference.published import find
from pipeline.inference.reference import Reference
from pipeline.inference.review import audit


def test_of_many_embeddings_the_same_few_are_kept_in_whatever_order_they_come(monkeypatch):
    monkeypatch.setattr(monitoring, "_EMBEDDED", 10)
    images = [(f"{number:064x}", np.full(3, number, np.float32)) for number in range(50)]
    kept = []
    for seed in (1, 2):
        sample = EmbeddingSample()
        for sha256, embedding in random.Random(seed).sample(images, 50):
            sample.add(sha256, embedding)
        kept.append(sample.embeddings())
    assert kept[0].shape == (10, 3)
    np.testing.assert_array_equal(*kept)
    assert EmbeddingSample().embeddings() is None


def test_the_audit_is_the_one_that_the_review_draws(place):
    for number in range(20):
        place.put(f"{number}.png", number)
    (batch,) = place.classify()
    published = find(place.predictions, "m", None)
    drawn = [row["path"] for row in audit(published.name, published.rows, 2)]
    assert json.loads((batch.folder / "_monitoring.json").read_text())["audit"] == drawn
    assert len(drawn) == 2


@pytest.mark.parametrize(("now", "alarm"), [(100, 0.0), (250, 1.0)])
def test_a_batch_is_held_against_what_the_model_knows(place, now, alarm):
    random = np.random.default_rng(0)
    reference = Reference(
        images=200,
        predicted=None,
        sample={"brightness": random.integers(60, 140, 200) / 255},
        embeddings=None,
        reliability=None,
    )
    for number in range(40):
        place.put(f"{number}.png", int(now + random.integers(-40, 1 if now > 200 else 40)))
    (batch,) = place.classify(watch=Watch(reference, 0.05, 2))
    assert read_figures(batch.folder)["drift.alarm"] == alarm
    assert (batch.folder / "_drift.png").read_bytes().startswith(b"\x89PNG")


def test_a_batch_of_refused_files_alone_says_so_in_figures_that_json_can_hold(place):
    place.put("a.png", b"text")
    (batch,) = place.classify(watch=Watch(Reference(9, None, {}, None, None), 0.05, 2))
    said = json.loads((batch.folder / "_monitoring.json").read_text())
    assert (said["figures"], said["audit"]) == ({}, [])


def test_a_batch_of_an_older_darkroom_says_nothing(tmp_path):
    assert read_figures(tmp_path) == {}


@pytest.mark.parametrize(
    "text", ["[]", '{"figures": null}', '{"figures": {"a": "x"}}', "[" * 100_000, "1" * 10_000]
)
def test_nor_does_a_damaged_one(tmp_path, text):
    (tmp_path / "_monitoring.json").write_text(text)
    assert read_figures(tmp_path) == {}
