"""The picture of a batch: there is one for any batch, and the same figures give the same one."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.inference.drift import Observed, measure
from pipeline.inference.drift_plot import draw
from pipeline.inference.reference import Reference


def seen(n: int, seed: int, classes: int) -> Observed:
    random = np.random.default_rng(seed)
    measured = {"confidence": random.uniform(0.5, 1, n), "width": np.full(n, 32.0)}
    embeddings = random.normal(size=(n, 4)).astype(np.float32)
    return Observed(random.integers(0, classes, n), measured, embeddings)


def drawn(batch: Observed, classes: int = 2) -> bytes | None:
    known = seen(100, 99, classes)
    reference = Reference(
        100,
        np.bincount(known.predicted, minlength=classes),
        known.measured,
        np.asarray(known.embeddings),
        None,
    )
    drift = measure(reference, batch, alpha=0.05)
    names = [f"$class\n{c} with a long name$" for c in range(classes)]
    return draw(reference, batch, drift, names, "photos version 3, inbox-0123")


@pytest.mark.parametrize(("n", "classes"), [(1, 2), (50, 2), (50, 30)])
def test_a_batch_has_a_picture_and_always_the_same(n, classes):
    picture = drawn(seen(n, 0, classes), classes)
    assert Image.open(io.BytesIO(picture)).size == (1210, 682)
    assert picture == drawn(seen(n, 0, classes), classes)


def test_what_is_no_number_is_left_out_of_the_picture():
    batch = seen(20, 0, 2)
    nothing = {name: np.full(20, np.nan) for name in batch.measured}
    assert drawn(Observed(batch.predicted, nothing, np.full((20, 4), np.nan, np.float32)))


def test_where_nothing_was_compared_there_is_no_picture():
    assert drawn(seen(0, 0, 2)) is None
