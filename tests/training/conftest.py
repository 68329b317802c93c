"""A home, and parameters of a training that starts from weights."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.params import Params, TrainParams
from pipeline.workspace import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def train(params: Params) -> Callable[..., TrainParams]:
    def with_values(weights: str, sha256: str = "") -> TrainParams:
        return params.train.model_copy(update={"weights": weights, "weights_sha256": sha256})

    return with_values
