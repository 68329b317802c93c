"""Same, nearly, different: what is compared to the byte, and what by how much."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from pipeline.operations.sameness import (
    TOLERANCE,
    Row,
    Sameness,
    curve_rows,
    figure_rows,
    figures_of,
    relative,
    weights_row,
)

NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
EPOCHS = "epoch,train_loss\n1,0.5\n2,0.25\n"


def verdict(difference: float) -> Sameness:
    return Row("x", "", "", difference).verdict


@given(NUMBERS, NUMBERS)
def test_a_difference_is_the_same_from_either_side_and_none_only_of_equals(a, b):
    assert relative(a, b) == relative(b, a) >= 0
    equal = a == b or (math.isnan(a) and math.isnan(b))
    assert (verdict(relative(a, b)) is Sameness.SAME) == equal


@given(st.floats(1e-300, 1e300), st.floats(0, 1e-3))
def test_what_is_within_tolerance_is_relative(a, share):
    found = verdict(relative(a, a * (1 + share)))
    if share < 0.9 * TOLERANCE:
        assert found in (Sameness.SAME, Sameness.NEAR)
    if share > 1.1 * TOLERANCE:
        assert found is Sameness.DIFFERENT


def test_a_figure_that_is_missing_is_different():
    rows = {row.name: row.verdict for row in figure_rows({"a": 1.0, "b": 2.0}, {"b": 2.0, "c": 3})}
    assert rows == {"a": Sameness.DIFFERENT, "b": Sameness.SAME, "c": Sameness.DIFFERENT}


def test_every_number_of_a_metrics_file_is_a_figure(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text(
        '{"validation": {"accuracy": 0.5, "interval": [0.25, 1], "of": "x", "y": null}}'
    )
    assert figures_of(path) == {
        "validation.accuracy": 0.5,
        "validation.interval.0": 0.25,
        "validation.interval.1": 1.0,
    }


@pytest.fixture
def curves(tmp_path):
    """Return the verdicts on EPOCHS and another file."""

    def compare(other: str) -> dict[str, Sameness]:
        (tmp_path / "a.csv").write_text(EPOCHS)
        (tmp_path / "b.csv").write_text(other)
        rows = curve_rows(tmp_path / "a.csv", tmp_path / "b.csv")
        return {row.name: row.verdict for row in rows}

    return compare


def test_an_epoch_in_the_middle_counts_like_the_last(curves):
    assert set(curves(EPOCHS).values()) == {Sameness.SAME}
    found = curves(EPOCHS.replace("0.5", "0.6"))
    assert found == {"epochs": Sameness.SAME, "train_loss": Sameness.DIFFERENT}


@pytest.mark.parametrize("other", ["epoch,train_loss\n1,0.5\n", "epoch,train_loss\n", ""])
def test_fewer_epochs_are_different(curves, other):
    assert set(curves(other).values()) == {Sameness.DIFFERENT}


def weights(path: Path, **tensors: list[float]) -> Path:
    save_file({name: np.array(values, np.float32) for name, values in tensors.items()}, path)
    return path


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"w": [1.0, -4.0], "b": [0.0]}, Sameness.SAME),
        ({"w": [1.0, -4.000001], "b": [0.0]}, Sameness.NEAR),
        ({"w": [1.0, -4.0], "b": [1e-9]}, Sameness.DIFFERENT),  # by its own tensor's scale
        ({"w": [1.0, -4.1], "b": [0.0]}, Sameness.DIFFERENT),
        ({"w": [1.0, -4.0, 0.0], "b": [0.0]}, Sameness.DIFFERENT),
        ({"w": [1.0, -4.0]}, Sameness.DIFFERENT),
        ({"w": [1.0, math.nan], "b": [0.0]}, Sameness.DIFFERENT),
    ],
)
def test_weights_are_compared_by_their_bytes_and_else_by_their_largest(tmp_path, other, expected):
    ours = weights(tmp_path / "a", w=[1.0, -4.0], b=[0.0])
    assert weights_row(ours, weights(tmp_path / "b", **other)).verdict is expected


def test_equal_values_in_other_bytes_are_within_tolerance(tmp_path):
    ours = weights(tmp_path / "a", w=[1.0])
    save_file({"w": np.array([1.0], np.float32)}, tmp_path / "b", metadata={"by": "another"})
    assert weights_row(ours, tmp_path / "b").verdict is Sameness.NEAR
